// Owns the tab that says how the replicated run stands which makes this recording. It is there
// where the server was told whom to ask (--control), and asks again while it is shown.

import { el, fill } from "./dom.js";
import { count, size } from "./format.js";
import { List } from "./list.js";

const kAgainMs = 500;

const steps = (n) => `${count(n)} steps`;
const ms = (n) => `${n < 10 ? n.toFixed(2) : n.toFixed(0)} ms`;

export class Replication {
  #rpc;
  #tabs;
  #node = null;
  #facts = el("dl", { class: "facts" });
  #state = el("p", { class: "run-state", role: "status" });
  #backups = new List({ label: "Backups", columns: ["backup", "state", "behind", "not sent yet", "digest compared at", "why"],
    cells: (peer) => [peer.address, peer.state, `${steps(peer.lag_steps)}, ${ms(peer.lag_ms)}`, size(peer.lag_bytes),
      peer.digest_compared ? count(peer.digest_compared) : "none yet", peer.reason] });

  constructor(rpc, session, tabs) {
    this.#rpc = rpc;
    this.#tabs = tabs;
    session.addEventListener("begun", () => this.#begin());
    tabs.addEventListener("selected", () => this.#ask());
  }

  async #begin() {
    if (this.#node) return;
    try {
      const { asked } = await this.#rpc.call("replication");
      if (!asked || this.#node) return;
    } catch {
      return;
    }
    this.#node = this.#tabs.add("replication", "Replication");
    fill(this.#node, this.#state, this.#backups.node, this.#facts);
    setInterval(() => this.#ask(), kAgainMs);
  }

  async #ask() {
    if (!this.#node || !this.#tabs.shows("replication")) return;
    try {
      const { run, trouble } = await this.#rpc.call("replication");
      if (run) this.#show(run);
      else this.#say(`It is not known how the run stands: ${trouble}`);
    } catch (error) {
      this.#say(error.message);
    }
  }

  /// Only what is new is written: a screen reader reads it then.
  #say(text) {
    if (this.#state.textContent !== text) this.#state.textContent = text;
  }

  #show(run) {
    this.#say(`${run.role === "primary" ? "Primary" : "Backup"}, ${run.state}: ${run.reason}`);
    const lag = `${steps(run.lag_steps)}, ${ms(run.lag_ms)}${run.lag_bytes === undefined ? "" : `, ${size(run.lag_bytes)} not sent yet`}`;
    const facts = [["position", count(run.position)], ["behind", lag]];
    if (run.outputs) {
      const { made, released, held, held_bytes, median_held_ms, longest_held_ms } = run.outputs;
      facts.push(["outputs", `${count(made)} made, ${count(released)} have left, ${count(held)} wait (${size(held_bytes)})`],
        ["they waited", `${ms(median_held_ms)} at the median, ${ms(longest_held_ms)} at most`],
        ["sent", size(run.sent_bytes)], ["slowed for", ms(run.slowed_ms)], ["longest stop", ms(run.longest_stop_ms)],
        ["processor time", ms(run.processor_ms)]);
    } else {
      facts.push(["primary at", count(run.primary_position)], ["digest compared at", run.digest_compared ? count(run.digest_compared) : "none yet"]);
    }
    fill(this.#facts, ...facts.flatMap(([name, value]) => [el("dt", { text: name }), el("dd", { text: value })]));
    this.#backups.set(run.backups ?? []);
    this.#backups.node.hidden = !run.backups;
    if (run.backups?.length === 0) this.#say(`${this.#state.textContent}; no --replicate says where a backup is`);
  }
}
