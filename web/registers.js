// Owns the register view: values, what they point to, and what changed since the view was
// drawn before.

import { byId, el, fill } from "./dom.js";
import { addressLike, nearby } from "./format.js";

const kGeneral = ["rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11",
  "r12", "r13", "r14", "r15", "rip"];
const kControl = ["cr0", "cr2", "cr3", "cr4", "efer"];
const kSegments = ["cs", "ss", "ds", "es", "fs", "gs"];
const kFlags = [[0, "CF"], [2, "PF"], [4, "AF"], [6, "ZF"], [7, "SF"], [8, "TF"], [9, "IF"], [10, "DF"],
  [11, "OF"], [14, "NT"], [16, "RF"], [17, "VM"], [18, "AC"], [21, "ID"]];

export class Registers extends EventTarget {
  #rpc;
  #before = null;
  node = byId("registers");
  latest = null;

  constructor(rpc) {
    super();
    this.#rpc = rpc;
  }
  visible() {
    return true;
  }

  async refresh(signal) {
    const now = await this.#rpc.call("registers", {}, { signal });
    const pointers = kGeneral.filter((name) => addressLike(BigInt(now[name])));
    const names = await this.#rpc.each(pointers.map((name) => ["symbol", { address: now[name] }]), { signal });
    if (signal.aborted) return;
    this.latest = now;
    const symbols = new Map(pointers.map((name, n) => [name, nearby(names[n]?.symbol)]));
    const before = this.#before;
    this.#before = now;
    const shown = document.activeElement?.dataset?.register;
    fill(this.node,
      el("table", { class: "registers", "aria-label": "Registers" }, el("tbody", {},
        ...kGeneral.map((name) => this.#row(name, now[name], before?.[name], symbols.get(name))),
        this.#row("rflags", now.rflags, before?.rflags, flagsText(BigInt(now.rflags))),
        ...kSegments.map((name) => this.#row(name, now[name].selector, before?.[name].selector,
          name === "fs" || name === "gs" ? `base ${now[name].base}` : "")),
        ...kControl.map((name) => this.#row(name, now[name], before?.[name], "")))));
    if (shown) this.node.querySelector(`[data-register="${shown}"]`)?.focus();
    this.dispatchEvent(new Event("shown"));
  }

  #row(name, value, before, says) {
    const changed = before !== undefined && before !== value;
    const pointer = addressLike(BigInt(value)) && !kControl.includes(name);
    const shown = pointer
      ? el("button", { type: "button", class: "link", text: value, data: { register: name },
        title: `Show the memory at ${name}`, "aria-label": `${name} ${value}: show the memory there`,
        on: { click: () => this.dispatchEvent(new CustomEvent("follow", { detail: { address: BigInt(value), name } })) } })
      : el("span", { text: value });
    return el("tr", { class: changed ? "changed" : "" },
      el("th", { scope: "row", text: name }),
      el("td", {}, shown),
      // What does not fit is in the title.
      el("td", { class: "says", title: [says, changed ? `was ${before}` : ""].filter(Boolean).join("; ") },
        says ? el("span", { text: `${says} ` }) : "", changed ? el("span", { class: "was", text: `was ${before}` }) : ""));
  }
}

function flagsText(flags) {
  const set = kFlags.filter(([bit]) => (flags >> BigInt(bit)) & 1n).map(([, name]) => name);
  const iopl = (flags >> 12n) & 3n;
  return [...set, ...(iopl ? [`IOPL=${iopl}`] : [])].join(" ");
}
