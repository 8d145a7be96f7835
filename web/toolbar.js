// Owns the buttons at the top: travelling, where the machine stands in words, and going to
// a place that is typed.

import { button, byId, fill } from "./dom.js";
import { count, seconds } from "./format.js";

export class Toolbar {
  #session;
  #back;
  #forward;
  #discard;

  constructor(session, help) {
    this.#session = session;
    this.#back = button("↶", () => session.visit(-1), { "aria-label": "Where this page was before", title: "Where this page was before ([)" });
    this.#forward = button("↷", () => session.visit(1), { "aria-label": "Where this page was after that", title: "Where this page was after that (])" });
    this.#discard = button("Leave the branch", () => session.discard(), { class: "main", hidden: true });
    const travel = (symbol, name, key, action) =>
      button("", action, { "aria-label": name, title: `${name} (${key})`, class: "icon", data: { symbol } });
    fill(byId("travel"),
      travel("|◀", "To the start", "Home", () => session.seek("start")),
      travel("◀◀", "Run back", "R", () => session.run("backward")),
      travel("◀", "Step back", "S", () => session.step(-1)),
      travel("▶", "Step", "s", () => session.step(1)),
      travel("▶▶", "Run", "r", () => session.run("forward")),
      travel("▶|", "To the end", "End", () => session.seek("end")),
      this.#back, this.#forward, this.#discard);
    for (const each of byId("travel").querySelectorAll("[data-symbol]")) each.textContent = each.dataset.symbol;
    const place = byId("go-place");
    byId("go-form").addEventListener("submit", async (event) => {
      event.preventDefault();
      if (!place.value.trim() || !(await session.seek(place.value.trim()))) return;
      place.value = "";
      place.blur();
    });
    byId("help-open").addEventListener("click", help);
    session.addEventListener("begun", () => this.#begin());
    session.addEventListener("moved", () => this.#show());
    session.addEventListener("visited", () => this.#show());
    this.#show();
  }

  #begin() {
    const name = this.#session.info.file.split("/").at(-1);
    byId("title").textContent = name;
    document.title = `${name} - Chronovisor`;
  }

  #show() {
    this.#back.disabled = !this.#session.canGoBack;
    this.#forward.disabled = !this.#session.canGoForward;
    const { where } = this.#session;
    if (!where) return;
    this.#discard.hidden = where.whereabouts !== "branch";
    const parts = [where.symbol ?? where.pc, where.cpl === 0 ? "kernel" : where.cpl === 3 ? "user" : `ring ${where.cpl}`];
    if (where.mode !== "64-bit") parts.push(where.mode);
    if (where.halted) parts.push("halted");
    if (where.guest_ended) parts.push(`the guest ended: ${where.guest_ended.reason}`);
    if (where.whereabouts !== "timeline") parts.push(`on a ${where.whereabouts}`);
    byId("position").textContent = count(where.position);
    byId("position").title = `of ${count(where.end)}; ${where.deliveries} deliveries here`;
    byId("whereabouts").textContent = `${parts.join(" · ")} · ${seconds(where.virtual_ns)}`;
  }
}
