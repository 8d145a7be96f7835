// Owns the memory view: bytes around an address, which of them are chosen, what changed
// since the machine stood elsewhere, and which words are pointers.

import { button, byId, el, fill, note } from "./dom.js";
import { addressLike, bytes as bytesOf, hex, little, nearby, number, printable } from "./format.js";

const kBytes = 288;        // shown at once
const kMostLeads = 40;     // each costs two questions
const kWide = 640;         // pixels from which a row has 16 bytes, not 8

export class Memory extends EventTarget {
  #rpc;
  #session;
  #stops;
  #actions;
  #address = null;
  #told = false;             // which address; until then it is the stack's
  #bytes = new Uint8Array();
  #before = null;            // {address, bytes} as shown where the machine stood before
  #changed = new Set();
  #pointers = new Map();     // offset of a word -> {address, text}
  #chosen = { from: 0n, length: 1 };
  #anchor = null;
  #unit = el("select", { "aria-label": "Bytes that a click chooses", title: "Bytes that a click chooses" },
    ...[1, 2, 4, 8].map((bytes) => el("option", { value: bytes, text: `by ${bytes}`, selected: bytes === 4 })));
  node = byId("memory");

  constructor(rpc, session, stops, actions) {
    super();
    this.#rpc = rpc;
    this.#session = session;
    this.#stops = stops;
    this.#actions = actions;
    stops.addEventListener("changed", () => this.#draw());
    session.addEventListener("moved", () => {
      if (this.#address !== null) this.#before = { address: this.#address, bytes: this.#bytes };
    });
    byId("memory-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#take = true;
      this.show(byId("memory-address").value.trim());
    });
    fill(byId("memory-buttons"),
      button("Who wrote this?", () => this.lastWrite(), { class: "main", title: "The latest write of the chosen bytes: goes there (w)" }),
      button("Next write", () => this.nextWrite(), { title: "Goes to the next write of the chosen bytes (W)" }),
      button("All writes", () => this.search("writes"), { title: "All writes of the chosen bytes, as marks on the strip (a)" }),
      button("Values", () => this.search("values"), { title: "The history of the chosen variable, as a plot (v)" }),
      button("Watch", () => this.watch(), { title: "Stop where the chosen bytes are written (p)" }));
    this.#unit.addEventListener("change", () => this.#choose(this.#offset));
    fill(byId("memory-page"), this.#unit,
      button("▲", () => this.turn(-1), { "aria-label": "Earlier memory" }),
      button("▼", () => this.turn(1), { "aria-label": "Later memory" }));
    this.node.addEventListener("keydown", (event) => this.#key(event));
    this.node.addEventListener("pointerdown", (event) => this.#press(event));
    this.node.addEventListener("pointerover", (event) => this.#dragOver(event));
  }

  visible() {
    return true;
  }

  /// An address (BigInt or text) or a symbol; `length` bytes there are chosen.
  show(address, length = null) {
    byId("memory-address").value = typeof address === "bigint" ? hex(address) : address;
    this.#address = address;
    this.#told = true;
    this.wantedLength = length;
    this.#before = null;
    this.dispatchEvent(new Event("wanted"));
  }

  async refresh(signal) {
    if (!this.#told) {
      const { rsp } = await this.#rpc.call("registers", {}, { signal });
      if (signal.aborted) return;
      this.#address = BigInt(rsp);
      byId("memory-address").value = rsp;
    }
    let address = typeof this.#address === "bigint" ? this.#address : number(this.#address);
    if (address === null) address = BigInt((await this.#rpc.call("symbol", { address: this.#address }, { signal })).address);
    this.#wide = this.node.clientWidth < kWide ? 8 : 16;
    const first = address & ~0xfn;
    const answer = await this.#rpc.call("read_memory", { address: hex(first), length: kBytes }, { signal });
    if (signal.aborted) return;
    const fresh = this.#first !== first;
    this.#first = first;
    this.#address = address;
    this.#bytes = bytesOf(answer.bytes);
    if (fresh || this.wantedLength !== null) this.#chosen = { from: address, length: this.wantedLength ?? 1 };
    this.wantedLength = null;
    this.#compare();
    this.#pointers = new Map();
    this.#draw();
    await this.#findPointers(signal);
    if (signal.aborted) return;
    if (this.#pointers.size > 0) this.#draw();
    if (this.#take) this.focus();
    this.#take = false;
  }
  #take = false;     // the keyboard is to be here once there is something
  #first = null;
  #wide = 16;

  #compare() {
    this.#changed = new Set();
    if (!this.#before || typeof this.#before.address !== "bigint") return;
    if ((this.#before.address & ~0xfn) !== this.#first) return;
    this.#bytes.forEach((byte, n) => {
      if (n < this.#before.bytes.length && this.#before.bytes[n] !== byte) this.#changed.add(n);
    });
  }

  /// Words that lead somewhere get a button: to a symbol, or to mapped memory.
  async #findPointers(signal) {
    const words = [];
    const word = this.#word;
    for (let at = 0; at + word <= this.#bytes.length; at += word) {
      const value = little(this.#bytes, at, word);
      if (addressLike(value)) words.push([at, value]);
    }
    words.splice(kMostLeads);
    const asked = words.flatMap(([, value]) => [["symbol", { address: hex(value) }], ["translate", { address: hex(value) }]]);
    const answers = await this.#rpc.each(asked, { signal });
    words.forEach(([at, value], n) => {
      const name = nearby(answers[2 * n]?.symbol);
      if (answers[2 * n + 1]?.physical) this.#pointers.set(at, { address: value, text: name || hex(value) });
    });
  }

  #draw() {
    if (this.#first === null) return;
    if (this.#bytes.length === 0) {
      fill(this.node, note(`There is no memory at ${hex(this.#address)} here.`));
      return;
    }
    const focused = this.node.contains(document.activeElement) && document.activeElement.dataset.byte !== undefined;
    const rows = [];
    for (let at = 0; at < this.#bytes.length; at += this.#wide) rows.push(this.#row(at));
    fill(this.node, el("table", { class: "memory", role: "grid", "aria-label": "Memory" }, el("tbody", {}, ...rows)));
    if (focused) this.#cell(this.#offset)?.focus();
  }

  #row(at) {
    const cells = [];
    let text = "";
    for (let n = at; n < Math.min(at + this.#wide, this.#bytes.length); n++) {
      cells.push(this.#byte(n));
      text += printable(this.#bytes[n]);
    }
    while (cells.length < this.#wide) cells.push(el("td", { text: "  " }));
    const leads = Array.from({ length: this.#wide / this.#word }, (_, n) => this.#pointers.get(at + n * this.#word))
      .filter(Boolean);
    return el("tr", {},
      el("th", { scope: "row", text: hex(this.#first + BigInt(at)).slice(2).padStart(12, "0") }),
      ...cells,
      el("td", { class: "characters", text }),
      el("td", { class: "leads" }, ...leads.map((lead) => el("button", { type: "button", class: "link",
        text: `→ ${lead.text}`, title: `${lead.text}: follow the pointer to ${hex(lead.address)}`,
        on: { click: () => this.show(lead.address, 4) } }))));
  }

  #byte(n) {
    const address = this.#first + BigInt(n);
    const { from, length } = this.#chosen;
    const chosen = address >= from && address < from + BigInt(length);
    const watched = this.#stops.at(hex(address), "write");
    const changed = this.#changed.has(n);
    const value = this.#bytes[n].toString(16).padStart(2, "0");
    const words = [value, changed ? "changed" : "", watched ? "watched" : ""].filter(Boolean).join(", ");
    return el("td", { role: "gridcell", data: { byte: n }, text: value, "aria-label": `${hex(address)}: ${words}`,
      tabindex: address === from ? "0" : "-1", "aria-selected": String(chosen),
      title: changed ? `was ${this.#before.bytes[n].toString(16).padStart(2, "0")}` : null,
      class: [chosen ? "chosen" : "", changed ? "changed" : "", watched ? "watched" : "", n % 8 === 0 ? "word" : ""].join(" ") });
  }

  #cell(n) {
    return this.node.querySelector(`td[data-byte="${n}"]`);
  }
  /// Bytes of a pointer, as the processor is.
  get #word() {
    return this.#session.where.mode === "64-bit" ? 8 : 4;
  }
  /// Of the first chosen byte, within what is shown.
  get #offset() {
    return Number(this.#chosen.from - this.#first);
  }
  /// The units from one byte's to another's, in either order.
  #choose(one, other = one) {
    const unit = Number(this.#unit.value);
    const from = Math.floor(Math.min(one, other) / unit) * unit;
    const to = Math.min(Math.floor(Math.max(one, other) / unit) * unit + unit, this.#bytes.length);
    this.#chosen = { from: this.#first + BigInt(from), length: to - from };
    this.#draw();
    this.#cell(from)?.focus();
  }
  #press(event) {
    const cell = event.target.closest("td[data-byte]");
    if (!cell || event.button !== 0) return;
    event.preventDefault();
    const n = Number(cell.dataset.byte);
    if (event.shiftKey && this.#anchor !== null) this.#choose(this.#anchor, n);
    else {
      this.#anchor = n;
      this.#choose(n);
    }
  }
  #dragOver(event) {
    const cell = event.target.closest("td[data-byte]");
    if (cell && event.buttons === 1 && this.#anchor !== null) this.#choose(this.#anchor, Number(cell.dataset.byte));
  }
  #key(event) {
    if (event.target.dataset.byte === undefined) return;
    const unit = Number(this.#unit.value);
    const by = { ArrowLeft: -unit, ArrowRight: unit, ArrowUp: -this.#wide, ArrowDown: this.#wide }[event.key];
    if (by) {
      const end = event.shiftKey ? this.#offset + this.#chosen.length - 1 : this.#offset;
      const next = end + by;
      if (next < 0 || next >= this.#bytes.length) this.turn(Math.sign(by));
      else if (event.shiftKey) this.#choose(this.#offset, Math.max(this.#offset, next));
      else {
        this.#anchor = next;
        this.#choose(next);
      }
    } else if (event.key === "PageUp" || event.key === "PageDown") this.turn(event.key === "PageUp" ? -1 : 1);
    else if (event.key === "Enter") this.followPointer();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  turn(pages) {
    if (this.#first === null) return;
    this.show(BigInt.asUintN(64, this.#first + BigInt(pages * (kBytes - 2 * this.#wide))));
  }
  followPointer() {
    const word = Math.floor(this.#offset / this.#word) * this.#word;
    const lead = this.#pointers.get(word);
    if (lead) this.show(lead.address, 4);
  }
  /// What was chosen; one byte that begins a pointer stands for all of it.
  get chosen() {
    const { from, length } = this.#chosen;
    const pointer = length === 1 && this.#pointers.has(Number(from - this.#first));
    return { address: from, length: pointer ? this.#word : length };
  }
  lastWrite() {
    this.#actions.lastWrite(this.chosen);
  }
  nextWrite() {
    this.#actions.nextWrite(this.chosen);
  }
  watch() {
    this.#stops.toggleWatch(hex(this.chosen.address), this.chosen.length);
  }
  search(kind) {
    const { address, length } = this.chosen;
    const whole = kind === "values" ? [1, 2, 4, 8].find((each) => each >= length) ?? 8 : length;
    this.dispatchEvent(new CustomEvent("search", { detail: { kind, address: hex(address), length: whole } }));
  }
  focus() {
    this.#cell(this.#offset)?.focus();
  }
}
