// Owns searches of the whole recording: what is looked for, results as they stream in, and
// which positions are marked on the strip. A search can be cancelled; what it found stays.

import { button, el, fill, labelled } from "./dom.js";
import { amount, count } from "./format.js";
import { List } from "./list.js";
import { Plot } from "./plot.js";

const kMost = 20000;
const kKinds = { writes: "writes of memory", executes: "executions of code", values: "changes of a variable",
  events: "interrupts, exceptions and inputs" };

export class Search extends EventTarget {
  #rpc;
  #jobs;
  #session;
  #strip;
  #tabs;
  #list;
  #plot;
  #results = [];
  #early = [];     // positions that were told before the answer that has them
  #running = null;
  /// Of the latest search: when its first mark was on the strip, and how long before that the
  /// server had seen it: for whoever measures.
  first = null;
  #fields = {};
  #summary = el("p", { class: "summary", role: "status" });
  node;

  constructor(rpc, session, jobs, tabs, strip) {
    super();
    this.node = tabs.add("search", "Found");
    this.#rpc = rpc;
    this.#session = session;
    this.#jobs = jobs;
    this.#tabs = tabs;
    this.#strip = strip;
    this.#list = new List({ label: "What was found", columns: ["position", "by", "what"],
      cells: (entry) => [count(entry.position), entry.symbol ?? entry.device ?? entry.pc ?? "", whatText(entry)],
      mark: (entry) => (entry.position === session.where.position ? "here" : ""),
      act: (entry) => session.seek(entry.position) });
    this.#plot = new Plot((position) => session.seek(position));
    fill(this.node, this.#form(), this.#summary, el("div", { class: "results" }, this.#list.node, this.#plot.node));
    this.#show();
  }

  #form() {
    const kind = el("select", {}, ...Object.entries(kKinds).map(([value, text]) => el("option", { value, text })));
    const address = el("input", { placeholder: "address or symbol", spellcheck: "false" });
    const length = el("input", { type: "number", min: "1", max: "65536", value: "8" });
    const where = el("select", {}, el("option", { value: "all", text: "whole recording" }),
      el("option", { value: "view", text: "what the strip shows" }));
    this.#fields = { kind, address, length, where };
    kind.addEventListener("change", () => {
      if (kind.value === "events") where.value = "view";
      address.disabled = length.disabled = kind.value === "events";
    });
    return el("form", { class: "row", on: { submit: (event) => {
      event.preventDefault();
      this.run({ kind: kind.value, address: address.value.trim(), length: Number(length.value), view: where.value === "view" });
    } } }, labelled("Search for", kind), labelled("at", address), labelled("bytes", length, { class: "field narrow" }),
    labelled("in", where), el("button", { type: "submit", text: "Search", class: "main" }),
    button("Clear", () => this.clear(), { title: "Take the marks off the strip" }));
  }

  recolour() {
    this.#plot.recolour();
  }

  clear() {
    this.#running?.abort();
    this.#results = [];
    this.#early = [];
    this.first = null;
    this.#summary.textContent = "";
    this.#show();
  }

  /// In order of position, as far as it has got.
  get results() {
    return this.#results;
  }

  /// `what`: {kind, address, length, view}.
  async run(what) {
    this.clear();
    this.#tabs.select("search");
    const { kind, address, length, where } = this.#fields;
    kind.value = what.kind;
    if (what.address) address.value = what.address;
    length.value = what.length || 1;
    where.value = what.view ? "view" : "all";
    const controller = new AbortController();
    this.#running = controller;
    const target = what.kind === "events" ? "" : ` of ${what.address}`;
    try {
      await this.#jobs.run(`Searching ${kKinds[what.kind]}${target}`,
        (options) => this.#pages(what, controller, options));
    } catch (error) {
      if (controller !== this.#running) return;
      if (error.cancelled) this.#say(what, "cancelled");
      else this.#jobs.fail(error);
    }
  }

  async #pages(what, controller, { signal, progress }) {
    signal.addEventListener("abort", () => controller.abort());
    const from = what.view ? String(Math.floor(this.#strip.view.from)) : "start";
    const to = what.view ? String(Math.min(this.#session.info.end, Math.ceil(this.#strip.view.to))) : "end";
    const question = { from, to, limit: 1000 };
    if (what.kind !== "events") Object.assign(question, { address: what.address, length: what.length || 1 });
    const key = what.kind === "events" ? "events" : "results";
    let cursor = "";
    this.#say(what, "searching");
    const told = (done, total, found, age) => {
      progress(done, total);
      if (found.length > 0) this.#mark(found, age);
    };
    while (cursor !== null && this.#results.length < kMost) {
      const answer = await this.#rpc.call(what.kind, { ...question, cursor }, { signal: controller.signal, progress: told });
      this.#results.push(...answer[key]);
      this.#early = [];
      cursor = answer.next;
      this.#say(what, cursor === null ? "" : "searching");
      this.#show();
    }
    if (cursor !== null) this.#say(what, "there are more: search a part of the recording for those");
  }

  /// Marks what the answer will have later.
  #mark(positions, age) {
    this.#early.push(...positions);
    this.#strip.setFound([...this.#results.map((entry) => entry.position), ...this.#early]);
    const at = performance.now();
    this.first ??= this.#strip.painting.then(() => ({ at: performance.now(), ago: performance.now() - at + age }));
  }

  #say(what, state) {
    const number = this.#results.length;
    const found = what.kind === "events" ? `${count(number)} ${kKinds.events}`
      : `${amount(number, kKinds[what.kind].split(" ")[0])} of ${what.address}`;
    this.#summary.textContent = `${found}${state ? ` (${state})` : ""}`;
  }

  #show() {
    this.#strip.setFound(this.#results.map((entry) => entry.position));
    if (this.#results.length > 0) this.first ??= this.#strip.painting.then(() => ({ at: performance.now(), ago: null }));
    this.#list.set(this.#results);
    this.#list.node.hidden = this.#results.length === 0;
    this.#tabs.rename("search", this.#results.length > 0 ? `Found (${count(this.#results.length)})` : "Found");
    this.#plot.set(this.#results.filter((entry) => entry.after !== undefined));
  }

  /// The nearest result in this direction.
  go(by) {
    const here = this.#session.where.position;
    const positions = this.#results.map((entry) => entry.position);
    const next = by > 0 ? positions.find((at) => at > here) : positions.findLast((at) => at < here);
    if (next !== undefined) this.#session.seek(next);
    else this.#jobs.say(by > 0 ? "Nothing was found after here." : "Nothing was found before here.");
  }
}

function whatText(entry) {
  if (entry.after !== undefined) return `${entry.before ?? "?"} → ${entry.after ?? "?"}`;
  if (entry.kind === "input") return `input: ${entry.what}${entry.device ? ` ${entry.device}` : ""}`;
  if (entry.kind === "delivery") return `delivered: ${entry.vectors.map((one) => `vector ${one}`).join(", ") || "?"}`;
  if (entry.address) return `${entry.address} by ${entry.by}${entry.request ? `, ${entry.request}` : ""}`;
  return entry.cr3 ? `in address space ${entry.cr3}` : "";
}
