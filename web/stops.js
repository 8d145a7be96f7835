// Owns breakpoints and watchpoints: the server's list, which all clients share, and its tab.

import { button, el, fill, labelled, note } from "./dom.js";
import { number } from "./format.js";
import { List } from "./list.js";

export class Stops extends EventTarget {
  #rpc;
  #jobs;
  #list;
  #panel;
  #tabs;
  all = [];

  constructor(rpc, jobs, tabs) {
    super();
    this.#rpc = rpc;
    this.#jobs = jobs;
    this.#tabs = tabs;
    this.#panel = tabs.add("stops", "Breakpoints");
    this.#list = new List({ label: "Breakpoints and watchpoints",
      columns: ["stops when", "address", "symbol", "bytes", "condition", ""],
      cells: (stop) => [stop.kind, stop.address, stop.symbol ?? "", stop.kind === "execute" ? "" : String(stop.length),
        stop.condition, button("Delete", () => this.remove(stop.id), { "aria-label": `Delete the one at ${stop.address}` })],
      act: (stop) => this.dispatchEvent(new CustomEvent("follow", { detail: stop })) });
    fill(this.#panel, this.#form(), this.#list.node);
    rpc.addEventListener("changed", (event) => {
      if (event.detail.what === "breakpoints") this.load();
    });
  }

  #form() {
    const kind = el("select", {}, ...[["execute", "executes"], ["write", "writes"], ["read", "reads"],
      ["access", "reads or writes"]].map(([value, text]) => el("option", { value, text })));
    const address = el("input", { required: true, placeholder: "address or symbol", spellcheck: "false" });
    const length = el("input", { type: "number", min: "1", max: "1048576", value: "8" });
    const condition = el("input", { placeholder: "$rax == 5 && u32[0x1000] > 3", spellcheck: "false" });
    return el("form", { class: "row", on: { submit: (event) => {
      event.preventDefault();
      this.set({ kind: kind.value, address: address.value.trim(), condition: condition.value,
        ...(kind.value === "execute" ? {} : { length: Number(length.value) }) });
    } } }, labelled("Stop when the guest", kind), labelled("address", address), labelled("bytes", length, { class: "field narrow" }),
    labelled("only if", condition), el("button", { type: "submit", text: "Add" }));
  }

  async load() {
    try {
      const { breakpoints } = await this.#rpc.call("breakpoints");
      const names = await this.#rpc.each(breakpoints.map((stop) => ["symbol", { address: stop.address }]));
      this.all = breakpoints.map((stop, n) => ({ ...stop, symbol: names[n]?.symbol }));
    } catch (error) {
      this.#jobs.fail(error);
      return;
    }
    this.#list.set(this.all);
    this.#list.node.hidden = this.all.length === 0;
    this.#empty().hidden = this.all.length > 0;
    this.#tabs.rename("stops", this.all.length > 0 ? `Breakpoints (${this.all.length})` : "Breakpoints");
    this.dispatchEvent(new Event("changed"));
  }
  #empty() {
    let text = this.#panel.querySelector(".note");
    if (!text) {
      text = note("None yet. Click the circle beside an instruction, choose bytes and press Watch, or add one here. A gdb has its own.");
      this.#panel.append(text);
    }
    return text;
  }

  /// The one of this kind there, or for memory the one that covers the byte.
  at(address, kind) {
    const wanted = number(address);
    return this.all.find((stop) => {
      if ((stop.kind === "execute") !== (kind === "execute")) return false;
      const first = BigInt(stop.address);
      return wanted >= first && wanted < first + BigInt(stop.length);
    });
  }
  async set(stop) {
    try {
      await this.#rpc.call("set_breakpoint", stop);
      await this.load();
    } catch (error) {
      this.#jobs.fail(error);
    }
  }
  async remove(id) {
    try {
      await this.#rpc.call("delete_breakpoint", { id });
      await this.load();
    } catch (error) {
      this.#jobs.fail(error);
    }
  }
  toggle(address) {
    const there = this.at(address, "execute");
    return there ? this.remove(there.id) : this.set({ kind: "execute", address });
  }
  toggleWatch(address, length) {
    const there = this.at(address, "write");
    return there ? this.remove(there.id) : this.set({ kind: "write", address, length });
  }
}
