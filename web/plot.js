// Owns the plot of a variable's history: steps of its value over positions. The list beside
// it has the same as text.

import { el } from "./dom.js";
import { count, short } from "./format.js";
import { readColours } from "./strip_paint.js";

const kHeight = 110;
const kLeft = 84;
const kBottom = 16;

export class Plot {
  #go;
  #points = [];
  #at = -1;
  #canvas = el("canvas", { class: "plot", role: "img", tabindex: "0" });
  #readout = el("p", { class: "faint plot-readout", text: "" });
  node = el("div", { class: "plot-box", hidden: true }, this.#canvas, this.#readout);

  constructor(go) {
    this.#go = go;
    new ResizeObserver(() => this.#draw()).observe(this.node);
    this.#canvas.addEventListener("pointermove", (event) => this.#choose(this.#nearest(event)));
    this.#canvas.addEventListener("click", () => this.#at >= 0 && this.#go(this.#points[this.#at].position));
    this.#canvas.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
      if (by) this.#choose(Math.max(0, Math.min(this.#at + by, this.#points.length - 1)));
      else if (event.key === "Enter" && this.#at >= 0) this.#go(this.#points[this.#at].position);
      else return;
      event.preventDefault();
    });
  }

  /// `entries`: {position, before, after} in order; where `after` is null nothing is known.
  set(entries) {
    this.#points = entries.filter((entry) => entry.after !== null);
    this.#at = -1;
    this.node.hidden = this.#points.length === 0;
    this.#canvas.setAttribute("aria-label", `Values over time: ${count(this.#points.length)} changes. Left and right go through them, Enter goes there.`);
    this.#readout.textContent = "";
    this.#draw();
  }
  recolour() {
    this.#draw();
  }

  #scale() {
    const values = this.#points.map((point) => Number(BigInt(point.after)));
    if (this.#points[0]?.before) values.push(Number(BigInt(this.#points[0].before)));
    let low = Math.min(...values);
    let high = Math.max(...values);
    if (low === high) high = low + 1;
    const first = this.#points[0].position;
    const last = Math.max(this.#points.at(-1).position, first + 1);
    const width = this.node.clientWidth;
    return { low, high, first, last, width,
      x: (position) => kLeft + ((position - first) / (last - first)) * (width - kLeft - 12),
      y: (value) => 6 + (1 - (value - low) / (high - low)) * (kHeight - kBottom - 12) };
  }

  #nearest(event) {
    if (this.#points.length === 0) return -1;
    const { x } = this.#scale();
    const at = event.clientX - this.#canvas.getBoundingClientRect().left;
    let best = 0;
    this.#points.forEach((point, n) => {
      if (Math.abs(x(point.position) - at) < Math.abs(x(this.#points[best].position) - at)) best = n;
    });
    return best;
  }
  #choose(n) {
    if (n === this.#at || n < 0) return;
    this.#at = n;
    const point = this.#points[n];
    this.#readout.textContent = `${count(point.position)}: ${point.before ?? "?"} → ${point.after}` +
      `${point.symbol ? ` by ${point.symbol}` : ""}`;
    this.#draw();
  }

  #draw() {
    if (this.#points.length === 0 || this.node.clientWidth === 0) return;
    const colours = readColours();
    const { low, high, first, last, width, x, y } = this.#scale();
    const ratio = window.devicePixelRatio || 1;
    Object.assign(this.#canvas, { width: width * ratio, height: kHeight * ratio });
    this.#canvas.style.width = `${width}px`;
    this.#canvas.style.height = `${kHeight}px`;
    const context = this.#canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = colours.panel;
    context.fillRect(0, 0, width, kHeight);
    context.font = "11px system-ui, sans-serif";
    context.fillStyle = colours.faint;
    context.textBaseline = "middle";
    context.textAlign = "right";
    for (const value of [low, high]) context.fillText(value < 1e15 ? short(value) : value.toExponential(2), kLeft - 6, y(value));
    context.textAlign = "left";
    context.fillText(short(first, (last - first) / 10), kLeft, kHeight - 7);
    context.textAlign = "right";
    context.fillText(short(last, (last - first) / 10), width - 12, kHeight - 7);
    context.textAlign = "left";
    context.strokeStyle = colours.line;
    for (const value of [low, high]) {
      context.beginPath();
      context.moveTo(kLeft, y(value));
      context.lineTo(width - 12, y(value));
      context.stroke();
    }
    context.strokeStyle = colours.bar;
    context.lineWidth = 1.5;
    context.beginPath();
    let level = this.#points[0].before ? Number(BigInt(this.#points[0].before)) : Number(BigInt(this.#points[0].after));
    context.moveTo(x(first), y(level));
    for (const point of this.#points) {
      context.lineTo(x(point.position), y(level));
      level = Number(BigInt(point.after));
      context.lineTo(x(point.position), y(level));
    }
    context.lineTo(width - 12, y(level));
    context.stroke();
    if (this.#at >= 0) {
      const point = this.#points[this.#at];
      context.fillStyle = colours.here;
      context.beginPath();
      context.arc(x(point.position), y(Number(BigInt(point.after))), 4, 0, 7);
      context.fill();
    }
  }
}
