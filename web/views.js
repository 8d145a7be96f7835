// Owns which parts show the machine as it stands, and when they ask for it again: all that
// can be seen, whenever the machine moved; what is hidden, once it is shown. An answer that
// comes after the next move is never drawn.

import { fill, note } from "./dom.js";

/// Tells by "settled" when all that can be seen shows where the machine stands.
export class Views extends EventTarget {
  #views = [];
  #running = 0;
  #controller = new AbortController();
  #session;

  constructor(session) {
    super();
    this.#session = session;
    session.addEventListener("moved", () => this.refresh());
  }

  /// `view`: {node, visible(), refresh(signal)}.
  add(view) {
    this.#views.push({ view, fresh: false, running: null });
    return view;
  }

  refresh() {
    this.#controller.abort();
    this.#controller = new AbortController();
    for (const entry of this.#views) entry.fresh = false;
    this.shown();
  }

  /// One view alone: what it shows was changed by the person.
  again(view) {
    for (const entry of this.#views) if (entry.view === view) entry.fresh = false;
    this.shown();
  }

  /// Something else can be seen now.
  shown() {
    if (!this.#session.where) return;
    for (const entry of this.#views) {
      if (entry.fresh || !entry.view.visible()) continue;
      entry.fresh = true;
      this.#run(entry, this.#controller.signal);
    }
  }

  async #run(entry, signal) {
    const { view } = entry;
    view.node.setAttribute("aria-busy", "true");
    this.#running++;
    try {
      await view.refresh(signal);
    } catch (error) {
      if (!signal.aborted && !error.cancelled) fill(view.node, note(error.message));
    } finally {
      if (!signal.aborted) view.node.removeAttribute("aria-busy");
      if (--this.#running === 0) this.dispatchEvent(new Event("settled"));
    }
  }
}
