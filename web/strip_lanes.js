// Owns which rows the strip has, in which order, and what they are called. A row that once
// was there stays, so that nothing jumps. Knows no canvas.

import { amount, count, vector } from "./format.js";

const kMostVectors = 4;
const kNames = { space: "who runs", mode: "▨ kernel ■ user", calls: "system calls", marks: "bookmarks", search: "found" };

export class StripLanes {
  #lanes = new Map();      // name -> {kind, unit}
  #vectors = new Map();    // number -> {count, kind, name}
  #letters = new Map();    // address space -> letter
  #tasks = new Map();      // address space -> name of a task seen in it
  #known = new WeakSet();
  #calls = false;          // system calls were seen

  /// Takes note of what a tile has.
  learn(tile) {
    if (!this.#known.has(tile)) {
      this.#known.add(tile);
      for (const lane of tile.lanes) {
        if (!this.#lanes.has(lane.name)) this.#lanes.set(lane.name, { kind: lane.kind, unit: lane.unit });
      }
    }
    if (!tile.samples || this.#known.has(tile.samples)) return;
    this.#known.add(tile.samples);
    for (const sample of tile.samples) {
      for (const { space } of sample.spaces) this.letter(space);
      this.#calls ||= sample.all_calls > 0;
      for (const one of sample.vectors) {
        const seen = this.#vectors.get(one.vector) ?? { count: 0, kind: one.kind, name: one.name };
        seen.count += one.count;
        this.#vectors.set(one.vector, seen);
      }
    }
  }

  /// A, B, ... Z, A1: address spaces in the order in which they were seen.
  letter(space) {
    if (!this.#letters.has(space)) {
      const n = this.#letters.size;
      this.#letters.set(space, String.fromCharCode(65 + (n % 26)) + (n < 26 ? "" : Math.floor(n / 26)));
    }
    return this.#letters.get(space);
  }
  colour(space) {
    return [...this.#letters.keys()].indexOf(space) % 8;
  }
  /// "B init", where a task was seen there.
  spaceName(space) {
    const task = this.#tasks.get(space);
    return task ? `${this.letter(space)} ${task}` : this.letter(space);
  }
  nameSpace(space, task) {
    this.#tasks.set(space, task);
  }

  /// {kind, name, label, ...} from top to bottom.
  rows() {
    const rows = [{ kind: "space" }, { kind: "mode" }];
    const of = (kind) => [...this.#vectors].filter(([, seen]) => seen.kind === kind)
      .sort(([, a], [, b]) => b.count - a.count);
    if (of("exception").length > 0) {
      rows.push({ kind: "vectors", vectors: null, of: "exception", label: "exceptions" });
    }
    if (this.#calls) rows.push({ kind: "calls" });
    const interrupts = of("interrupt");
    for (const [number, seen] of interrupts.slice(0, kMostVectors).sort(([a], [b]) => a - b)) {
      rows.push({ kind: "vectors", vectors: [number], of: "interrupt",
        label: `irq ${number}${seen.name ? ` ${seen.name}` : ""}` });
    }
    if (interrupts.length > kMostVectors) {
      rows.push({ kind: "vectors", vectors: interrupts.slice(kMostVectors).map(([number]) => number),
        of: "interrupt", label: "other irqs" });
    }
    for (const [name, { kind, unit }] of this.#lanes) {
      rows.push({ kind: "counts", name, lane: kind, unit, label: name });
    }
    rows.push({ kind: "marks" }, { kind: "search" });
    return rows.map((row) => ({ ...row, label: row.label ?? kNames[row.kind] }));
  }
}

/// What a lane says of one column.
export function laneText(lane, number) {
  return lane.name === lane.unit ? amount(number, lane.unit) : `${lane.name}: ${amount(number, lane.unit)}`;
}

/// What a sample says, in words: first of which stretch, since it may not be the one where the
/// machine or the cursor is. Shares are of some looks at the processor in that stretch.
export function sampleText(sample, exact, lanes) {
  const parts = [`${exact ? "in the" : "sample of"} ${amount(sample.steps, "steps")} from ${count(sample.position)}`];
  for (const { space, share } of sample.spaces.slice(0, 3)) parts.push(`${lanes.spaceName(space)} ${share} %`);
  parts.push(`kernel ${sample.kernel} %, user ${sample.user} %` + (sample.halted ? `, halted ${sample.halted} %` : ""));
  for (const one of sample.vectors.slice(0, 4)) parts.push(`${vector(one.vector)} ×${one.count}`);
  for (const one of sample.calls.slice(0, 3)) parts.push(`${one.name ?? `system call ${one.number}`} ×${one.count}`);
  return parts.join("; ").replace("; ", ": ");
}
