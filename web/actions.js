// Owns the questions about the past and the future that several views offer: who wrote
// this, when was it executed. Goes where the answer leads, and says what it was.

import { count, hex } from "./format.js";

export class Actions {
  #session;
  #jobs;

  constructor(session, jobs) {
    this.#session = session;
    this.#jobs = jobs;
  }

  /// `range`: {address (BigInt), length}.
  async lastWrite(range) {
    const answer = await this.#session.travel("Who wrote this?", "last_write",
      { address: hex(range.address), length: range.length, go: true });
    if (!answer) return;
    const { write } = answer;
    const who = write.device ? `by ${write.device}` : `by ${write.symbol ?? write.pc}`;
    this.#jobs.say(`${write.address} was last written ${who} at ${count(write.position)}: ` +
      `${write.before ?? "?"} → ${write.after ?? "?"}`, "found");
  }

  async nextWrite(range) {
    const answer = await this.#session.travel("Next write", "find_write",
      { address: hex(range.address), length: range.length, direction: "forward", go: true });
    if (answer) this.#jobs.say(`${hex(range.address)} was written by ${answer.symbol ?? answer.pc ?? "a device"}.`, "found");
  }

  /// `direction`: "backward" (when was it executed last?) or "forward" (when is it next?).
  async arrival(address, direction) {
    const name = direction === "backward" ? "When was this executed?" : "When is this executed next?";
    const answer = await this.#session.travel(name, "find_arrival",
      { address: hex(address), direction, go: true });
    if (answer) this.#jobs.say(`Here ${answer.symbol ?? hex(address)} is about to be executed.`, "found");
  }

  runTo(address, direction = "forward") {
    return this.#session.run(direction, { until: hex(address) });
  }
}
