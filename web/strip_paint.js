// Owns how the strip is painted: from tiles and marks to pixels. Reads, and changes nothing.
// Nothing is told by colour alone: each kind has its row, kernel code is hatched, address
// spaces have letters, marks have shapes.

import { short } from "./format.js";

export const kRowHeight = 14;
export const kRulerHeight = 18;
export const kOverviewHeight = 14;

/// The colours of the page as it is now, light or dark.
export function readColours() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(`--${name}`).trim();
  return {
    text: of("text"), faint: of("faint"), line: of("line"), panel: of("panel"), back: of("back"),
    accent: of("accent"), warn: of("warn"), bar: of("bar"), here: of("here"), find: of("find"),
    spaces: Array.from({ length: 8 }, (_, n) => of(`space-${n}`)),
  };
}

export class StripPaint {
  #hatches = new Map();

  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    this.colours = readColours();
  }

  recolour() {
    this.colours = readColours();
    this.#hatches.clear();
  }

  size(width, height) {
    const ratio = window.devicePixelRatio || 1;
    const pixels = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.canvas.width !== pixels[0] || this.canvas.height !== pixels[1]) {
      [this.canvas.width, this.canvas.height] = pixels;
    }
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.width = width;
    this.height = height;
  }

  /// Diagonal lines, for kernel code.
  #hatch(colour) {
    if (!this.#hatches.has(colour)) {
      const tile = new OffscreenCanvas(6, 6);
      const context = tile.getContext("2d");
      context.strokeStyle = colour;
      context.lineWidth = 1.6;
      context.beginPath();
      for (const at of [-6, 0, 6]) {
        context.moveTo(at, 6);
        context.lineTo(at + 6, 0);
      }
      context.stroke();
      this.#hatches.set(colour, this.context.createPattern(tile, "repeat"));
    }
    return this.#hatches.get(colour);
  }

  /// `model`: {view, tiles, lanes, rows, marks, found, here, cursor, stops}.
  paint(model) {
    const { context, colours, width, height } = this;
    const { view, rows } = model;
    context.fillStyle = colours.panel;
    context.fillRect(0, 0, width, height);
    context.font = "11px system-ui, sans-serif";
    context.textBaseline = "middle";
    this.#overview(model);
    this.#ruler(model);
    const level = view.level;
    const counted = model.tiles.cover(view.from, view.to, level, () => true);
    const sampled = model.tiles.cover(view.from, view.to, level, (tile) => tile.samples?.length);
    const top = kOverviewHeight + kRulerHeight;
    rows.forEach((row, n) => {
      const y = top + n * kRowHeight;
      context.fillStyle = colours.line;
      context.fillRect(0, y + kRowHeight - 1, width, 1);
      if (["space", "mode"].includes(row.kind) && sampled.length === 0) this.#notYet(y);
      else if (row.kind === "space") this.#spaces(model, sampled, y);
      else if (row.kind === "mode") this.#modes(view, sampled, y);
      else if (row.kind === "vectors" || row.kind === "calls") this.#rates(view, sampled, row, y);
      else if (row.kind === "counts") this.#counts(view, counted, row, y);
      else if (row.kind === "marks") this.#marks(view, model.marks, y);
      else this.#found(view, model.found, y);
    });
    this.#needles(model, top);
  }

  #ruler({ view, here }) {
    const { context, colours, width } = this;
    const needle = view.xOf(here);
    const { step, all } = view.ticks(110);
    context.fillStyle = colours.back;
    context.fillRect(0, kOverviewHeight, width, kRulerHeight);
    context.fillStyle = colours.faint;
    for (const at of all) {
      const x = Math.round(view.xOf(at));
      context.fillRect(x, kOverviewHeight, 1, kRulerHeight);
      const text = short(at, step);
      // What the machine's needle would cover is left out.
      if (needle > x - 4 && needle < x + 10 + context.measureText(text).width) continue;
      context.fillText(text, x + 4, kOverviewHeight + kRulerHeight / 2);
    }
  }

  /// The whole recording, and which part of it is shown below.
  #overview({ view, tiles, here, marks, found, lanes }) {
    const { context, colours, width } = this;
    const whole = view.end - view.start;
    const xOf = (position) => ((position - view.start) / whole) * width;
    context.fillStyle = colours.back;
    context.fillRect(0, 0, width, kOverviewHeight);
    for (const { tile } of tiles.cover(view.start, view.end, 60, (each) => each.samples?.length)) {
      for (const sample of tile.samples) {
        const x = xOf(binFrom(tile, sample.bin));
        const across = Math.max(1, (xOf(tile.to) - xOf(tile.from)) / tile.bins);
        const space = sample.spaces[0];
        context.fillStyle = space ? colours.spaces[lanes.colour(space.space)] : colours.line;
        context.fillRect(x, 4, across, kOverviewHeight - 8);
      }
    }
    context.fillStyle = colours.find;
    for (const position of found.slice(0, 2000)) context.fillRect(xOf(position), 0, 1, 4);
    context.fillStyle = colours.warn;
    for (const mark of marks) context.fillRect(xOf(mark.position) - 1, kOverviewHeight - 4, 2, 4);
    context.fillStyle = colours.here;
    context.fillRect(xOf(here) - 1, 0, 2, kOverviewHeight);
    context.strokeStyle = colours.text;
    const left = xOf(view.from);
    context.strokeRect(left + 0.5, 0.5, Math.max(3, xOf(view.to) - left - 1), kOverviewHeight - 1);
  }

  /// Calls `paint(sample, x, across)` for all samples in view.
  #samples(view, sampled, paint) {
    for (const piece of sampled) {
      const { tile } = piece;
      const ordered = tile.samples;
      for (let n = 0; n < ordered.length; n++) {
        const from = binFrom(tile, ordered[n].bin);
        // Up to the next that is known; where nothing finer is, it stands for what follows.
        const to = n + 1 < ordered.length ? binFrom(tile, ordered[n + 1].bin) : tile.to;
        const left = Math.max(from, piece.from, view.from);
        const right = Math.min(to, piece.to, view.to);
        if (right <= left) continue;
        const x = view.xOf(left);
        paint(ordered[n], x, Math.max(1, view.xOf(right) - x), tile);
      }
    }
  }

  /// A row of which nothing is known yet.
  #notYet(y) {
    const { context, colours } = this;
    context.fillStyle = colours.faint;
    context.fillText("not looked at yet", 4, y + kRowHeight / 2);
  }

  #spaces({ view, lanes }, sampled, y) {
    const { context, colours } = this;
    let run = null;
    const flush = () => {
      if (!run) return;
      const colour = colours.spaces[lanes.colour(run.space)];
      context.fillStyle = colour;
      context.fillRect(run.x, y + 2, run.right - run.x, kRowHeight - 4);
      context.fillStyle = colours.panel;
      context.fillRect(run.x, y + 2, 0.5, kRowHeight - 4);
      const name = lanes.spaceName(run.space);
      const room = run.right - run.x;
      if (room > 14) {
        context.fillStyle = colours.back;
        const fits = room > 8 + context.measureText(name).width ? name : lanes.letter(run.space);
        context.fillText(fits, run.x + 4, y + kRowHeight / 2);
      }
      run = null;
    };
    this.#samples(view, sampled, (sample, x, across) => {
      const space = sample.spaces[0]?.space;
      if (run && (run.space !== space || x > run.right + 1)) flush();
      if (!space) return;
      run ??= { space, x, right: x };
      run.right = x + across;
    });
    flush();
  }

  #modes(view, sampled, y) {
    const { context, colours } = this;
    const room = kRowHeight - 3;
    const hatch = this.#hatch(colours.text);
    this.#samples(view, sampled, (sample, x, across) => {
      const user = (sample.user / 100) * room;
      const kernel = (sample.kernel / 100) * room;
      context.fillStyle = colours.accent;
      context.fillRect(x, y + 1 + room - user, across, user);
      context.fillStyle = hatch;
      context.fillRect(x, y + 1 + room - user - kernel, across, kernel);
    });
  }

  /// What happened so often: interrupts, exceptions, system calls.
  #rates(view, sampled, row, y) {
    const { context, colours } = this;
    context.fillStyle = row.of === "exception" ? colours.warn : colours.bar;
    this.#samples(view, sampled, (sample, x, across, tile) => {
      let all = row.kind === "calls" ? sample.all_calls : 0;
      for (const one of row.kind === "calls" ? [] : sample.vectors) {
        if (row.vectors ? row.vectors.includes(one.vector) : one.kind === row.of) all += one.count;
      }
      if (all === 0) return;
      // Where it was looked at all: so many in a hundred thousand steps decide the height.
      const rate = (all / Math.max(1, sample.steps)) * 1e5;
      const high = Math.min(1, 0.3 + 0.2 * Math.log2(1 + rate)) * (kRowHeight - 3);
      const wide = tile.exact ? Math.max(1, across - 0.5) : Math.max(1, Math.min(across, 2));
      context.fillRect(x, y + kRowHeight - 1 - high, wide, high);
    });
  }

  #counts(view, counted, row, y) {
    const { context, colours } = this;
    context.fillStyle = row.lane === "checkpoint" ? colours.faint : colours.bar;
    for (const piece of counted) {
      const { tile } = piece;
      const lane = tile.lanes.find((each) => each.name === row.name);
      if (!lane || lane.most === 0) continue;
      const per = (tile.to - tile.from) / tile.columns;
      const first = Math.max(0, Math.floor((Math.max(piece.from, view.from) - tile.from) / per));
      const last = Math.min(tile.columns - 1, Math.floor((Math.min(piece.to, view.to) - tile.from) / per));
      const across = Math.max(1, per / view.stepsPerPixel);
      const scale = (kRowHeight - 6) / Math.log1p(lane.most);
      for (let n = first; n <= last; n++) {
        const amount = lane.counts[n];
        if (!amount) continue;
        const high = 3 + Math.log1p(amount) * scale;
        context.fillRect(view.xOf(tile.from + n * per), y + kRowHeight - 1 - high, across, high);
      }
    }
  }

  #marks(view, marks, y) {
    const { context, colours } = this;
    let free = -Infinity;
    for (const mark of marks) {
      if (!view.holds(mark.position)) continue;
      const x = view.xOf(mark.position);
      const middle = y + kRowHeight / 2;
      context.fillStyle = mark.kind === "bookmark" ? colours.accent : colours.warn;
      context.beginPath();
      if (mark.kind === "bookmark") {
        context.moveTo(x - 4, y + 2);
        context.lineTo(x + 4, y + 2);
        context.lineTo(x, y + kRowHeight - 2);
      } else {
        context.moveTo(x, y + 1);
        context.lineTo(x + 6, middle);
        context.lineTo(x, y + kRowHeight - 2);
        context.lineTo(x - 6, middle);
      }
      context.fill();
      if (x < free) continue;
      context.fillStyle = colours.text;
      const wide = context.measureText(mark.name).width;
      const left = x + 8 + wide > this.width ? x - 10 - wide : x + 8;
      context.fillText(mark.name, left, middle);
      free = x + 14 + wide;
    }
  }

  #found(view, found, y) {
    const { context, colours } = this;
    context.fillStyle = colours.find;
    let drawn = -Infinity;
    for (const position of found) {
      if (!view.holds(position)) continue;
      const x = Math.round(view.xOf(position));
      if (x <= drawn) continue;
      drawn = x;
      context.fillRect(x, y + 2, 2, kRowHeight - 4);
    }
  }

  /// Where the machine stands, and the strip's own cursor.
  #needles({ view, here, cursor, drag }, top) {
    const { context, colours, height } = this;
    if (drag) {
      context.globalAlpha = 0.25;
      context.fillStyle = colours.accent;
      context.fillRect(Math.min(drag.x0, drag.x1), kOverviewHeight, Math.abs(drag.x1 - drag.x0), height);
      context.globalAlpha = 1;
    }
    if (cursor !== null && view.holds(cursor)) {
      const x = Math.round(view.xOf(cursor)) + 0.5;
      context.strokeStyle = colours.text;
      context.setLineDash([2, 3]);
      context.beginPath();
      context.moveTo(x, kOverviewHeight);
      context.lineTo(x, height);
      context.stroke();
      context.setLineDash([]);
    }
    if (view.holds(here)) {
      const x = Math.round(view.xOf(here));
      context.fillStyle = colours.here;
      context.fillRect(x - 1, kOverviewHeight, 2, height);
      context.beginPath();
      context.moveTo(x - 6, kOverviewHeight);
      context.lineTo(x + 6, kOverviewHeight);
      context.lineTo(x, top - 6);
      context.fill();
    }
  }
}

function binFrom(tile, bin) {
  return tile.from + ((tile.to - tile.from) * bin) / tile.bins;
}
