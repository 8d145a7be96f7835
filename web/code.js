// Owns the disassembly: instructions around one address, which of them is chosen, and what
// can be asked of the chosen one. Follows the machine unless told to stay.

import { button, byId, el, fill } from "./dom.js";
import { hex } from "./format.js";

const kShown = 60;
const kBefore = 512;   // bytes of the function before the machine that are shown
const kGuess = 40;     // bytes looked at where no function is known

export class Code extends EventTarget {
  #rpc;
  #session;
  #stops;
  #actions;
  #lines = [];
  #chosen = -1;
  #address = null;   // null: follow the machine
  #sources = new Map();
  #take = false;     // the keyboard is to be here once there is something
  node = byId("code");

  constructor(rpc, session, stops, actions) {
    super();
    this.#rpc = rpc;
    this.#session = session;
    this.#stops = stops;
    this.#actions = actions;
    stops.addEventListener("changed", () => this.#draw());
    const at = byId("code-address");
    byId("code-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.show(at.value.trim());
      this.#take = true;
    });
    fill(byId("code-buttons"),
      button("Here", () => this.follow(), { title: "Show where the machine stands (h)" }),
      button("Break", () => this.toggle(), { title: "Breakpoint at the chosen line (b)" }),
      button("Run to", () => this.runTo(), { title: "Run to the chosen line (u)" }),
      button("Back to", () => this.runTo("backward"), { title: "Run back to the chosen line (U)" }),
      button("Last time", () => this.arrival("backward"),
        { title: "When was the chosen line executed last? Goes there (l)" }),
      button("Next time", () => this.arrival("forward"),
        { title: "When is the chosen line executed next? Goes there (n)" }),
      button("All times", () => this.all(), { title: "All times the chosen line is executed, as marks on the strip (e)" }));
    this.node.addEventListener("keydown", (event) => this.#key(event));
  }

  visible() {
    return true;
  }
  /// The machine stands elsewhere: what was shown meanwhile is left.
  arrived() {
    this.#address = null;
    byId("code-address").value = "";
  }
  follow() {
    this.#address = null;
    byId("code-address").value = "";
    this.dispatchEvent(new Event("wanted"));
  }
  /// An address or a symbol.
  show(address) {
    this.#address = address || null;
    byId("code-address").value = this.#address ?? "";
    this.dispatchEvent(new Event("wanted"));
  }

  async refresh(signal) {
    const here = BigInt(this.#session.where.pc);
    const wanted = this.#address ?? hex(here);
    const found = await this.#rpc.call("symbol", { address: wanted }, { signal });
    const address = BigInt(found.address);
    const from = await this.#beginning(address, found.offset, signal);
    const answer = await this.#rpc.call("disassemble",
      { address: hex(from), count: Math.min(400, kShown + Number(address - from)) }, { signal });
    if (signal.aborted) return;
    const at = answer.instructions.findIndex((line) => BigInt(line.address) >= address);
    this.#lines = answer.instructions.slice(Math.max(0, at - 150), at + kShown);
    this.#chosen = Math.max(0, this.#lines.findIndex((line) => BigInt(line.address) === address));
    this.#draw();
    await this.#source(signal);
    if (signal.aborted) return;
    this.#row(this.#chosen)?.scrollIntoView({ block: "center" });
    if (this.#take) this.focus();
    this.#take = false;
  }

  /// The last address at or before from which the instructions lead to `address`.
  async #beginning(address, offset, signal) {
    if (offset !== null && offset <= kBefore) return address - BigInt(offset);
    for (let back = kGuess; back > kGuess - 16; back--) {
      const from = BigInt.asUintN(64, address - BigInt(back));
      const answer = await this.#rpc.call("disassemble", { address: hex(from), count: kGuess }, { signal }).catch(() => null);
      const lines = answer?.instructions ?? [];
      const upTo = lines.findIndex((line) => BigInt(line.address) === address);
      if (upTo > 0 && lines.slice(0, upTo).every((line) => line.text && !line.text.includes("(bad)"))) return from;
    }
    return address;
  }

  /// Where the lines of source begin, by address; without debug information there are none.
  async #source(signal) {
    this.#sources = new Map();
    const first = BigInt(this.#lines[0]?.address ?? 0);
    const last = BigInt(this.#lines.at(-1)?.address ?? 0);
    try {
      const answer = await this.#rpc.call("source",
        { address: hex(first), length: Math.min(0xffff, Number(last - first) + 1) }, { signal });
      if (signal.aborted) return;
      for (const { address, file, line, text } of answer.lines) {
        this.#sources.set(BigInt(address) < first ? hex(first) : address, { place: `${file}:${line}`, text });
      }
    } catch {
      return;
    }
    if (this.#sources.size > 0) this.#draw();
  }

  #draw() {
    const focused = this.node.contains(document.activeElement);
    let symbol = null;
    let from = null;
    const rows = this.#lines.flatMap((line, n) => {
      const name = (line.symbol ?? "").replace(/\+0x[0-9a-f]+$/, "");
      const heading = name && name !== symbol ? [el("tr", { class: "function" }, el("td", { colspan: "4", text: `${name}:` }))] : [];
      symbol = name;
      const source = this.#sources.get(line.address);
      const told = source && source.place !== from ? [this.#sourceLine(source)] : [];
      from = source?.place ?? from;
      return [...heading, ...told, this.#line(line, n)];
    });
    fill(this.node, el("table", { class: "code", "aria-label": "Disassembly" }, el("tbody", {}, ...rows)));
    if (focused) this.#row(this.#chosen)?.focus();
  }

  /// The text of the line, where the server may show it; else where it is.
  #sourceLine({ place, text }) {
    const shown = text === undefined ? [place] :
      [el("span", { class: "source-text", text }), el("span", { class: "source-place", text: place.replace(/^.*\//, "") })];
    return el("tr", { class: "source" }, el("td"), el("td", { colspan: "3", title: place }, ...shown));
  }

  #line(line, n) {
    const here = line.address === this.#session.where.pc || line.here;
    const stop = this.#stops.at(line.address, "execute");
    const [, mnemonic, operands] = /^(\S*)\s*(.*)$/.exec(line.text ?? "not mapped");
    return el("tr", { class: (here ? "here " : "") + (n === this.#chosen ? "chosen" : ""),
      tabindex: n === this.#chosen ? "0" : "-1", data: { n },
      on: { click: () => this.#choose(n), focus: () => this.#choose(n) } },
      el("td", { class: "gutter" }, el("button", { type: "button", class: "stop",
        text: (stop ? "●" : "○") , tabindex: "-1", "aria-pressed": String(Boolean(stop)),
        "aria-label": `Breakpoint at ${line.address}`, title: stop ? "Take the breakpoint off" : "Break here",
        on: { click: (event) => { event.stopPropagation(); this.#stops.toggle(line.address); } } }),
      el("span", { class: "arrow", text: here ? "▶" : "", "aria-label": here ? "here" : null, role: here ? "img" : null })),
      el("td", { class: "address", text: line.address.slice(2).padStart(line.address.length > 10 ? 16 : 8, "0"), title: line.symbol ?? "" }),
      el("td", { class: "mnemonic", text: mnemonic }),
      el("td", { class: "operands", text: operands }));
  }

  #row(n) {
    return this.node.querySelector(`tr[data-n="${n}"]`);
  }
  #choose(n) {
    if (n === this.#chosen) return;
    const old = this.#row(this.#chosen);
    old?.classList.remove("chosen");
    old?.setAttribute("tabindex", "-1");
    this.#chosen = n;
    const row = this.#row(n);
    row?.classList.add("chosen");
    row?.setAttribute("tabindex", "0");
  }
  #key(event) {
    const by = { ArrowDown: 1, ArrowUp: -1, PageDown: 12, PageUp: -12 }[event.key];
    if (!by || event.target.tagName !== "TR") return;
    this.#row(Math.max(0, Math.min(this.#chosen + by, this.#lines.length - 1)))?.focus();
    event.preventDefault();
    event.stopPropagation();
  }

  get chosen() {
    return this.#lines[this.#chosen]?.address ?? null;
  }
  toggle() {
    if (this.chosen) this.#stops.toggle(this.chosen);
  }
  runTo(direction = "forward") {
    if (this.chosen) this.#actions.runTo(BigInt(this.chosen), direction);
  }
  arrival(direction) {
    if (this.chosen) this.#actions.arrival(BigInt(this.chosen), direction);
  }
  all() {
    if (!this.chosen) return;
    this.dispatchEvent(new CustomEvent("search", { detail: { kind: "executes", address: this.chosen, length: 1 } }));
  }
  focus() {
    this.#row(this.#chosen)?.focus();
  }
}
