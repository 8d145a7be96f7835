// Owns which stretch of the recording the strip shows, and how positions and pixels belong
// together. Plain numbers; knows no canvas and no server.

/// So many steps at least: then one has the room of a word.
const kLeastSteps = 16;

export class StripView {
  start = 0;
  end = 1;
  from = 0;
  to = 1;
  width = 1;

  /// Of the whole recording.
  bounds(start, end) {
    this.start = start;
    this.end = Math.max(end, start + 1);
    this.whole();
  }
  whole() {
    this.show(this.start, this.end);
  }
  get span() {
    return this.to - this.from;
  }
  get stepsPerPixel() {
    return this.span / this.width;
  }

  xOf(position) {
    return ((position - this.from) / this.span) * this.width;
  }
  positionAt(x) {
    const exact = this.from + (x / this.width) * this.span;
    return Math.round(Math.min(Math.max(exact, this.start), this.end));
  }

  /// As near to [from, to] as the recording and the least stretch allow.
  show(from, to) {
    const most = Math.max(this.end - this.start, kLeastSteps);
    const span = Math.min(Math.max(to - from, kLeastSteps), most);
    const middle = (from + to) / 2;
    this.from = Math.max(this.start, Math.min(middle - span / 2, this.start + most - span));
    this.to = this.from + span;
  }
  pan(steps) {
    const span = this.span;
    const from = Math.min(Math.max(this.from + steps, this.start), Math.max(this.start, this.end - span));
    this.from = from;
    this.to = from + span;
  }
  /// `position` stays at its pixel; a factor below 1 shows less.
  zoom(position, factor) {
    const span = Math.min(Math.max(this.span * factor, kLeastSteps), Math.max(this.end - this.start, kLeastSteps));
    const share = (position - this.from) / this.span;
    this.from = position - share * span;
    this.to = this.from + span;
    this.pan(0);
  }
  /// Moves as little as it takes to have the position inside.
  reveal(position) {
    const margin = this.span * 0.05;
    if (position < this.from) this.pan(position - margin - this.from);
    else if (position > this.to) this.pan(position + margin - this.to);
  }
  holds(position) {
    return position >= this.from && position <= this.to;
  }

  /// Steps in one column of a tile: a power of two, with columns of one to two pixels.
  get level() {
    return Math.max(0, Math.ceil(Math.log2(this.stepsPerPixel)));
  }

  /// Round positions to write at a ruler, some `pixels` apart.
  ticks(pixels) {
    const raw = this.stepsPerPixel * pixels;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = Math.max(1, [1, 2, 5, 10].find((factor) => factor * power >= raw) * power);
    const all = [];
    for (let at = Math.ceil(this.from / step) * step; at <= this.to; at += step) all.push(at);
    return { step, all };
  }
}
