// Owns what is at work for the user: long calls with their progress, and cancelling. At most
// one of them travels; searches run beside. Background work (for the strip) gives way at once.

import { button, byId, el, fill } from "./dom.js";

export class Jobs extends EventTarget {
  #jobs = new Set();
  #bar = byId("jobs");
  #background = null;

  /// Runs `work({signal, progress})` and shows it as `name` until it ends. `exclusive`: moves
  /// the machine; refused (null) while another one does.
  async run(name, work, { exclusive = false } = {}) {
    if (exclusive && this.travelling) {
      // A key that is held down asks for the same again and again.
      if (this.travelling.name !== name) this.say(`${this.travelling.name} is at work: Escape cancels it`);
      return null;
    }
    this.yieldBackground();
    const controller = new AbortController();
    const job = { name, exclusive, controller, done: 0, total: 0, since: performance.now() };
    this.#jobs.add(job);
    const timer = setTimeout(() => this.#show(), 120);
    try {
      return await work({
        signal: controller.signal,
        progress: (done, total) => {
          Object.assign(job, { done, total });
          this.#show();
        },
      });
    } finally {
      clearTimeout(timer);
      this.#jobs.delete(job);
      this.#show();
      if (this.#jobs.size === 0) this.dispatchEvent(new Event("idle"));
    }
  }

  get travelling() {
    return [...this.#jobs].find((job) => job.exclusive) ?? null;
  }
  get idle() {
    return this.#jobs.size === 0;
  }

  /// The latest of them; whether there was one.
  cancelLatest() {
    const job = [...this.#jobs].at(-1);
    job?.controller.abort();
    return Boolean(job);
  }

  /// Work for nobody in particular: it is cancelled as soon as anything else wants to run.
  async background(work) {
    this.yieldBackground();
    const controller = new AbortController();
    this.#background = controller;
    try {
      return await work(controller.signal);
    } finally {
      if (this.#background === controller) this.#background = null;
    }
  }
  yieldBackground() {
    this.#background?.abort();
    this.#background = null;
  }

  #show() {
    fill(this.#bar, ...[...this.#jobs].map((job) => {
      const share = job.total > 0 ? Math.min(1, job.done / job.total) : null;
      const bar = el("progress", { max: 1, "aria-label": job.name });
      if (share !== null) bar.value = share;
      const percent = share === null ? "" : ` ${Math.floor(100 * share)} %`;
      return el("span", { class: "job" }, el("span", { text: job.name + percent }), bar,
        button("Cancel", () => job.controller.abort(), { "aria-label": `Cancel: ${job.name}` }));
    }));
  }

  /// One line for everybody, screen readers included.
  say(text, kind = "") {
    const line = byId("status");
    line.className = kind;
    line.textContent = text;
  }
  fail(error) {
    if (error?.cancelled) this.say("cancelled");
    else this.say(error?.message ?? String(error), "error");
  }
}
