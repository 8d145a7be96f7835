// Owns the timeline strip: what the mouse and the keys do with it, its labels, and the line
// below it that says in words what is under its cursor. Positions are chosen here; going
// there is the session's affair.

import { button, byId, el, fill } from "./dom.js";
import { amount, count } from "./format.js";
import { StripLanes, laneText, sampleText } from "./strip_lanes.js";
import { kOverviewHeight, kRowHeight, kRulerHeight, StripPaint } from "./strip_paint.js";
import { StripView } from "./strip_view.js";
import { Tiles } from "./tiles.js";

const kClickPixels = 4;
const kSnapPixels = 6;
const kSlowMs = 100;

export class Strip extends EventTarget {
  #session;
  #jobs;
  #canvas = byId("strip-canvas");
  #labels = byId("strip-labels");
  #readout = byId("strip-readout");
  #filling = byId("strip-filling");
  #paint = new StripPaint(this.#canvas);
  #tiles;
  #frame = 0;
  #cursor = null;
  #drag = null;
  #found = [];
  #bookmarks = [];
  #labelText = "";
  view = new StripView();
  lanes = new StripLanes();
  /// Frames painted, and milliseconds spent on it: for whoever measures.
  painted = { frames: 0, ms: 0 };
  #toldPainted = null;

  constructor(rpc, session, jobs) {
    super();
    this.#session = session;
    this.#jobs = jobs;
    this.#tiles = new Tiles(rpc, jobs);
    this.#tiles.addEventListener("more", () => this.draw());
    this.#tiles.addEventListener("trouble", (event) => jobs.fail(event.detail));
    session.addEventListener("begun", () => {
      const { start, end } = session.info;
      this.view.bounds(start, end);
      this.#tiles.bounds(start, end);
      this.#canvas.setAttribute("aria-valuemin", start);
      this.#canvas.setAttribute("aria-valuemax", end);
      this.draw();
    });
    session.addEventListener("moved", () => {
      this.#cursor = null;
      if (!this.#drag) this.view.reveal(session.where.position);
      this.draw();
    });
    new ResizeObserver(() => this.draw()).observe(byId("strip-stage"));
    this.#listen();
    fill(byId("strip-buttons"),
      button("All", () => this.whole(), { title: "Show the whole recording (0)", "aria-label": "Show all" }),
      button("In", () => this.zoom(0.25), { title: "Zoom in (+)", "aria-label": "Zoom in" }),
      button("Out", () => this.zoom(4), { title: "Zoom out (-)", "aria-label": "Zoom out" }),
      button("Here", () => this.around(), { title: "Zoom to where the machine stands (z)" }));
  }

  /// Positions that a search found, in any order.
  setFound(positions) {
    this.#found = Float64Array.from(positions).sort();
    this.draw();
  }
  setBookmarks(marks) {
    this.#bookmarks = marks;
    this.draw();
  }
  /// A task was seen in this address space.
  nameSpace(space, task) {
    this.lanes.nameSpace(space, task);
    this.draw();
  }
  recolour() {
    this.#paint.recolour();
    this.draw();
  }
  reload() {
    this.#tiles.clear();
    this.draw();
  }

  whole() {
    this.view.whole();
    this.draw();
  }
  zoom(factor) {
    this.view.zoom(this.cursor, factor);
    this.draw();
  }
  /// A stretch of a million steps, or a sixteenth of what is shown, around the machine.
  around() {
    const here = this.#session.where.position;
    const span = Math.max(16, Math.min(this.view.span / 16, 1e6));
    this.view.show(here - span / 2, here + span / 2);
    this.draw();
  }
  get cursor() {
    return this.#cursor ?? this.#session.where?.position ?? this.view.from;
  }
  get marks() {
    const all = new Map();
    for (const { tile } of this.#tiles.cover(this.view.start, this.view.end, 60, () => true)) {
      for (const mark of tile.marks) all.set(`${mark.name} ${mark.position}`, mark);
    }
    for (const mark of this.#bookmarks) {
      const key = `${mark.name} ${mark.position}`;
      if (!all.has(key)) all.set(key, { kind: "bookmark", ...mark });
    }
    return [...all.values()].sort((a, b) => a.position - b.position);
  }

  draw() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#drawNow();
    });
  }

  /// Until the next frame is painted.
  get painting() {
    return new Promise((resolve) => {
      const before = this.#toldPainted;
      this.#toldPainted = () => {
        before?.();
        resolve();
      };
      this.draw();
    });
  }

  #drawNow() {
    if (!this.#session.where || !this.#session.info) return;
    const began = performance.now();
    const stage = byId("strip-stage");
    this.view.width = Math.max(100, stage.clientWidth);
    this.#soon("tiles", () => this.#tiles.want(this.view.from, this.view.to, this.view.level));
    for (const { tile } of this.#tiles.cover(this.view.from, this.view.to, this.view.level, () => true)) {
      this.lanes.learn(tile);
    }
    for (const { tile } of this.#tiles.cover(this.view.from, this.view.to, this.view.level,
      (each) => each.samples?.length)) this.lanes.learn(tile);
    const rows = this.lanes.rows();
    const height = kOverviewHeight + kRulerHeight + rows.length * kRowHeight;
    this.#showLabels(rows, height);
    this.#paint.size(this.view.width, height);
    this.#paint.paint({ view: this.view, tiles: this.#tiles, lanes: this.lanes, rows, marks: this.marks,
      found: this.#found, here: this.#session.where.position, cursor: this.#cursor,
      drag: this.#drag?.selecting ? this.#drag : null });
    byId("strip").classList.add("painted");
    this.#soon("words", () => this.#describe());
    this.#toldPainted?.();
    this.#toldPainted = null;
    this.painted.frames++;
    this.painted.ms += performance.now() - began;
  }

  /// At once when it was not done lately, else a little later: what need not keep up with
  /// every frame.
  #soon(name, action) {
    if (this.#timers.has(name)) return;
    const wait = Math.max(0, (this.#done.get(name) ?? -Infinity) + kSlowMs - performance.now());
    this.#timers.set(name, setTimeout(() => {
      this.#timers.delete(name);
      this.#done.set(name, performance.now());
      action();
    }, wait));
  }
  #timers = new Map();
  #done = new Map();

  #showLabels(rows, height) {
    const text = rows.map((row) => row.label).join("\n");
    if (text === this.#labelText) return;
    this.#labelText = text;
    this.#canvas.style.height = `${height}px`;
    fill(this.#labels, ...rows.map((row) => el("li", { text: row.label, title: row.label })));
  }

  /// In words, what is at the cursor: for those who cannot see or tell colours, and for all.
  #describe() {
    const at = this.#cursor ?? this.#session.where.position;
    const { cpl, halted } = this.#session.where;
    const mode = halted ? "halted" : cpl === 0 ? "kernel" : cpl === 3 ? "user" : `ring ${cpl}`;
    const parts = [this.#cursor === null ? `here: ${count(at)}, ${mode}` : `cursor: ${count(at)}`];
    const level = this.view.level;
    const [counted] = this.#tiles.cover(at, at, level, () => true);
    const [sampled] = this.#tiles.cover(at, at, level, (tile) => tile.samples?.length);
    if (sampled) {
      const { tile } = sampled;
      const bin = Math.floor(((at - tile.from) / (tile.to - tile.from)) * tile.bins);
      const sample = tile.samples.findLast((each) => each.bin <= bin);
      if (sample) parts.push(sampleText(sample, tile.exact, this.lanes));
    }
    if (counted) {
      const { tile } = counted;
      const n = Math.min(tile.columns - 1, Math.floor(((at - tile.from) / (tile.to - tile.from)) * tile.columns));
      for (const lane of tile.lanes) {
        if (lane.counts[n]) parts.push(laneText(lane, lane.counts[n]));
      }
    }
    const near = this.#nearestMark(at);
    if (near) parts.push(near.name);
    parts.push(`shown: ${amount(Math.round(this.view.span), "steps")}`);
    const text = parts.join(" · ");
    this.#readout.textContent = this.#readout.title = text;
    this.#canvas.setAttribute("aria-valuenow", Math.round(at));
    this.#canvas.setAttribute("aria-valuetext", text);
    this.#showFilling();
  }

  /// That the rows are not what they will be: what samples show comes in later.
  #showFilling() {
    const share = this.#tiles.share;
    this.#filling.hidden = share === 1;
    if (share === 1) return;
    this.#filling.lastElementChild.value = share;
    this.#filling.firstElementChild.textContent = `still looking: ${Math.floor(100 * share)} %`;
  }

  #nearestMark(position) {
    const reach = this.view.stepsPerPixel * kSnapPixels;
    let best = null;
    for (const mark of this.marks) {
      const away = Math.abs(mark.position - position);
      if (away <= reach && (!best || away < Math.abs(best.position - position))) best = mark;
    }
    return best;
  }
  /// Marks and what was found are clicked on exactly, however far out one is.
  #snapped(position) {
    const mark = this.#nearestMark(position);
    if (mark) return mark.position;
    const reach = this.view.stepsPerPixel * kSnapPixels;
    let best = null;
    for (const found of this.#found) {
      if (Math.abs(found - position) <= reach &&
          (best === null || Math.abs(found - position) < Math.abs(best - position))) best = found;
    }
    return best ?? position;
  }

  #listen() {
    const canvas = this.#canvas;
    const xOf = (event) => event.clientX - canvas.getBoundingClientRect().left;
    const yOf = (event) => event.clientY - canvas.getBoundingClientRect().top;
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const across = event.shiftKey ? event.deltaY : event.deltaX;
      if (Math.abs(across) > 0) this.view.pan(across * this.view.stepsPerPixel);
      else this.view.zoom(this.view.from + (xOf(event) / this.view.width) * this.view.span,
        Math.exp(Math.max(-240, Math.min(240, event.deltaY)) * 0.004));
      this.draw();
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      canvas.setPointerCapture(event.pointerId);
      const x = xOf(event);
      this.#drag = { x0: x, x1: x, from: this.view.from, moved: false, selecting: event.shiftKey,
        overview: yOf(event) < kOverviewHeight };
      if (this.#drag.overview) this.#toOverview(x);
    });
    canvas.addEventListener("pointermove", (event) => {
      const x = xOf(event);
      if (this.#drag) {
        this.#drag.x1 = x;
        this.#drag.moved ||= Math.abs(x - this.#drag.x0) > kClickPixels;
        if (this.#drag.overview) this.#toOverview(x);
        else if (this.#drag.moved && !this.#drag.selecting) {
          this.view.pan(this.#drag.from - (x - this.#drag.x0) * this.view.stepsPerPixel - this.view.from);
        }
      }
      this.#cursor = this.view.positionAt(x);
      this.draw();
    });
    canvas.addEventListener("pointerup", (event) => {
      const drag = this.#drag;
      this.#drag = null;
      if (!drag || drag.overview) return;
      if (drag.selecting && drag.moved) {
        const ends = [drag.x0, drag.x1].map((x) => this.view.positionAt(x)).sort((a, b) => a - b);
        this.view.show(...ends);
      } else if (!drag.moved) {
        this.#session.seek(this.#snapped(this.view.positionAt(xOf(event))));
      }
      this.draw();
    });
    canvas.addEventListener("pointercancel", () => (this.#drag = null));
    canvas.addEventListener("pointerleave", () => {
      if (this.#drag) return;
      this.#cursor = null;
      this.draw();
    });
    canvas.addEventListener("keydown", (event) => {
      if (!this.#key(event)) return;
      event.preventDefault();
      event.stopPropagation();
      this.draw();
    });
  }

  #toOverview(x) {
    const { start, end, span } = this.view;
    const middle = start + (x / this.view.width) * (end - start);
    this.view.show(middle - span / 2, middle + span / 2);
    this.draw();
  }

  /// The cursor's keys; whether it was one.
  #key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return false;
    const pixels = event.shiftKey ? 100 : 4;
    const step = Math.max(1, Math.round(this.view.stepsPerPixel * pixels));
    const moves = {
      ArrowLeft: () => this.#moveCursor(-step), ArrowRight: () => this.#moveCursor(step),
      PageUp: () => this.#moveCursor(-Math.round(this.view.span)),
      PageDown: () => this.#moveCursor(Math.round(this.view.span)),
      Home: () => this.#moveCursor(-Infinity), End: () => this.#moveCursor(Infinity),
      ArrowUp: () => this.view.zoom(this.cursor, 0.5), ArrowDown: () => this.view.zoom(this.cursor, 2),
      Enter: () => this.#session.seek(this.#snapped(this.cursor)),
      " ": () => this.#session.seek(this.#snapped(this.cursor)),
    };
    if (!moves[event.key]) return false;
    moves[event.key]();
    return true;
  }
  #moveCursor(by) {
    this.#cursor = Math.max(this.view.start, Math.min(this.cursor + by, this.view.end));
    this.view.reveal(this.#cursor);
  }
}
