// Owns the call stack: one row a frame; choosing one shows its code.

import { byId, fill, note } from "./dom.js";
import { List } from "./list.js";

const kHow = { registers: "", orc: "unwind tables", "frame-pointer": "frame pointer" };

export class Stack extends EventTarget {
  #rpc;
  #list;
  node = byId("stack");

  constructor(rpc) {
    super();
    this.#rpc = rpc;
    this.#list = new List({ label: "Call stack", columns: ["", "function", "at", "found by"],
      cells: (frame) => [String(frame.number), frame.symbol ?? "?", frame.pc,
        frame.interrupted ? "interrupted" : kHow[frame.by] ?? frame.by],
      act: (frame) => this.dispatchEvent(new CustomEvent("code", { detail: frame.pc })) });
  }
  visible() {
    return true;
  }
  async refresh(signal) {
    const { frames, why } = await this.#rpc.call("backtrace", { limit: 64 }, { signal });
    if (signal.aborted) return;
    this.#list.set(frames.map((frame, number) => ({ number, ...frame })));
    fill(this.node, frames.length > 0 ? this.#list.node : note("There is no frame here."),
      why ? note(`No more: ${why}.`) : null);
  }
}
