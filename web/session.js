// Owns where the machine stands, as this page knows it, and all that moves it. Others (a
// gdb, another page) move it too: the server says so, and every view follows the event
// "moved" {where, before}. Knows no view.

import { count, place } from "./format.js";

const kMostVisited = 200;
const kOthers = { gdb: "A gdb", page: "Another page", agent: "An agent", program: "A program" };

export class Session extends EventTarget {
  #rpc;
  #jobs;
  #visited = [];
  #visit = -1;
  #visiting = null;  // where it goes within its own history
  where = null;
  info = null;
  version = null;

  constructor(rpc, jobs) {
    super();
    this.#rpc = rpc;
    this.#jobs = jobs;
    rpc.addEventListener("moved", ({ detail: { where, by } }) => {
      const elsewhere = this.where && this.where.position !== where.position;
      this.#arrive(where, "followed");
      if (elsewhere && kOthers[by]) jobs.say(`${kOthers[by]} went to ${count(where.position)}.`);
    });
  }

  /// With every new connection, and what was answered first on it.
  begin({ version, info, where }) {
    const known = this.info !== null;
    Object.assign(this, { version, info });
    if (!known) this.dispatchEvent(new Event("begun"));
    this.#arrive(where, "begun");
  }

  get allowsChanges() {
    return Boolean(this.version?.allow_changes);
  }

  #arrive(where, how) {
    const before = this.where;
    const same = before && before.position === where.position &&
      before.deliveries === where.deliveries && before.whereabouts === where.whereabouts &&
      before.pc === where.pc;
    this.where = where;
    if (same && how !== "changed") return;
    if (where.position !== this.#visiting) this.#remember(where);
    this.dispatchEvent(new CustomEvent("moved", { detail: { where, before, how } }));
  }

  #remember(where) {
    if (where.whereabouts !== "timeline") return;
    if (this.#visited[this.#visit] === where.position) return;
    this.#visited = this.#visited.slice(0, this.#visit + 1).slice(-kMostVisited);
    this.#visited.push(where.position);
    this.#visit = this.#visited.length - 1;
  }

  /// A call that moves the machine, as the job `name`; its answer, or null when it failed.
  async travel(name, method, params) {
    try {
      return await this.#jobs.run(name, async (options) => {
        const answer = await this.#rpc.call(method, params, options);
        const where = answer.where ?? (answer.position !== undefined && answer.pc !== undefined &&
          answer.whereabouts !== undefined ? answer : await this.#rpc.call("where"));
        this.#arrive(where, "moved");
        this.#jobs.say("");
        return answer;
      }, { exclusive: true });
    } catch (error) {
      this.#jobs.fail(error);
      return null;
    }
  }

  seek(to) {
    const text = typeof to === "number" ? String(to) : place(to);
    return this.travel(`Go to ${typeof to === "number" ? count(to) : text}`, "seek", { place: text });
  }
  step(steps = 1) {
    return this.travel(steps < 0 ? "Step back" : "Step", "step",
      { count: Math.abs(steps), direction: steps < 0 ? "backward" : "forward" });
  }
  async run(direction = "forward", extra = {}) {
    const answer = await this.travel(direction === "forward" ? "Run" : "Run back", "run",
      { direction, ...extra });
    if (answer) this.#jobs.say(stopText(answer));
    return answer;
  }
  discard() {
    return this.travel("Back to the recording", "discard", {});
  }

  /// Through the places where this page has been.
  get canGoBack() {
    return this.#visit > 0;
  }
  get canGoForward() {
    return this.#visit < this.#visited.length - 1;
  }
  async visit(by) {
    const next = this.#visit + by;
    if (next < 0 || next >= this.#visited.length) return;
    this.#visiting = this.#visited[next];
    if (await this.seek(this.#visiting)) {
      this.#visit = next;
      this.dispatchEvent(new Event("visited"));
    }
    this.#visiting = null;
  }

  /// The machine stands where it stood, and is another: memory was written, a branch begun.
  async changed() {
    this.#arrive(await this.#rpc.call("where"), "changed");
  }
}

function stopText(answer) {
  const words = {
    arrived: "Arrived.",
    breakpoint: `Stopped at a breakpoint${answer.address ? ` at ${answer.address}` : ""}.`,
    watchpoint: `Stopped at a watchpoint: ${answer.address ?? "memory"} was ${answer.wrote ? "written" : "read"}` +
      `${answer.device ? ` by ${answer.device}` : ""}.`,
    start: "This is where the recording begins.",
    end: "This is where the recording ends.",
    "guest-ended": "The guest has ended.",
  };
  return words[answer.stop] ?? answer.stop;
}
