// Owns the tab of functions and variables: find one by a part of its name, and go to where
// it was executed, to its code, or to its memory.

import { button, el, fill, labelled } from "./dom.js";
import { amount, count } from "./format.js";
import { List } from "./list.js";

const kMost = 200;
const kTypingMs = 200;

export class Symbols extends EventTarget {
  #rpc;
  #jobs;
  #list;
  #input = el("input", { type: "search", spellcheck: "false", placeholder: "a part of the name" });
  #total = el("span", { class: "faint", role: "status" });
  #timer = 0;
  #controller = null;
  #asked = false;
  #tabs;
  #cursors = [""];
  #pager = el("span");
  node;

  constructor(rpc, jobs, tabs, actions) {
    super();
    this.#rpc = rpc;
    this.#jobs = jobs;
    this.#tabs = tabs;
    this.node = tabs.add("symbols", "Symbols");
    this.#list = new List({ label: "Symbols", columns: ["name", "address", "bytes", ""],
      cells: (one) => [one.name, one.address, one.size ? count(one.size) : "",
        el("span", { class: "row-actions" },
          button("Last time", () => actions.arrival(BigInt(one.address), "backward"),
            { title: "Go to when it was executed last", "aria-label": `Last time: when was ${one.name} executed last?` }),
          button("Next time", () => actions.arrival(BigInt(one.address), "forward"),
            { title: "Go to when it is executed next", "aria-label": `Next time: when is ${one.name} executed next?` }),
          button("Code", () => this.#tell("code", one.address), { "aria-label": `Code of ${one.name}` }),
          button("Memory", () => this.#tell("memory", BigInt(one.address)), { "aria-label": `Memory of ${one.name}` }))],
      act: (one) => this.#tell("code", one.address) });
    this.#input.addEventListener("input", () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#first(), kTypingMs);
    });
    this.#input.addEventListener("keydown", async (event) => {
      if (event.key !== "Enter") return;
      // What was typed may not have been looked for yet.
      clearTimeout(this.#timer);
      await this.#first();
      if (this.#list.rows.length === 0) return;
      actions.arrival(BigInt(this.#list.rows[0].address), event.shiftKey ? "forward" : "backward");
    });
    fill(this.node, el("div", { class: "row" }, labelled("Find", this.#input), this.#total, this.#pager,
      el("span", { class: "faint", text: "Enter: when was the first one executed last?" })), this.#list.node);
  }

  #tell(what, detail) {
    this.dispatchEvent(new CustomEvent(what, { detail }));
  }
  visible() {
    return this.#tabs.shows("symbols") && !this.#asked;
  }
  /// Symbols do not depend on the moment, once there are some.
  async refresh() {
    await this.#first();
  }
  focus() {
    this.#tabs.select("symbols");
    this.#input.focus();
    this.#input.select();
  }

  #first() {
    this.#cursors = [""];
    return this.#load();
  }

  async #load() {
    this.#controller?.abort();
    this.#controller = new AbortController();
    const { signal } = this.#controller;
    try {
      const match = this.#input.value.trim();
      const answer = await this.#rpc.call("symbols", { match, limit: kMost, cursor: this.#cursors.at(-1) }, { signal });
      if (signal.aborted) return;
      // The name itself comes before those it is a part of.
      const rank = (one) => (one.name === match ? 0 : one.name.startsWith(match) ? 1 : 2);
      const symbols = match ? answer.symbols.sort((a, b) => rank(a) - rank(b)) : answer.symbols;
      this.#asked = answer.total > 0 || match !== "";
      this.#total.textContent = answer.total === 0 ? "none here" : amount(answer.total, "symbols");
      this.#list.set(symbols, { near: 0 });
      fill(this.#pager,
        this.#cursors.length > 1 ? button("Before", () => { this.#cursors.pop(); this.#load(); }) : null,
        answer.next ? button("More", () => { this.#cursors.push(answer.next); this.#load(); }) : null);
    } catch (error) {
      if (!error.cancelled) this.#jobs.fail(error);
    }
  }
}
