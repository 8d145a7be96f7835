// Owns a table whose rows can be chosen and acted on: one row takes part in the tab order,
// arrow keys move between rows, Enter does a row's first action. Shows a window of at most
// kMostRows of what may be a long list.

import { button, el, fill } from "./dom.js";
import { count } from "./format.js";

const kMostRows = 250;

export class List {
  #rows = [];
  #first = 0;
  #chosen = -1;
  #body = el("tbody");
  #more = el("p", { class: "more" });
  #columns;
  #cells;
  #act;
  node;

  /// `columns`: titles. `cells(row)`: texts or elements, one a column. `act(row)`: what a
  /// click on it or Enter does. `mark(row)`: a class for the row, or "".
  constructor({ label, columns, cells, act = null, mark = () => "" }) {
    this.#columns = columns;
    this.#cells = cells;
    this.#act = act;
    this.mark = mark;
    this.table = el("table", { class: "list", "aria-label": label },
      el("thead", {}, el("tr", {}, ...columns.map((title) => el(title ? "th" : "td", title ? { scope: "col", text: title } : {})))), this.#body);
    this.node = el("div", { class: "list-box" }, this.table, this.#more);
    this.#body.addEventListener("keydown", (event) => this.#key(event));
  }

  set(rows, { near = null } = {}) {
    this.#rows = rows;
    if (near !== null) this.#first = Math.max(0, Math.min(near - kMostRows / 2, rows.length - kMostRows));
    else this.#first = Math.max(0, Math.min(this.#first, rows.length - 1));
    this.#show();
  }
  get rows() {
    return this.#rows;
  }

  #show() {
    const last = Math.min(this.#rows.length, this.#first + kMostRows);
    const shown = this.#rows.slice(this.#first, last);
    const focused = this.#body.contains(document.activeElement);
    if (this.#chosen < this.#first || this.#chosen >= last) this.#chosen = this.#first;
    fill(this.#body, ...shown.map((row, n) => {
      const number = this.#first + n;
      return el("tr", { class: this.mark(row), tabindex: number === this.#chosen ? "0" : "-1",
        data: { number }, on: { click: (event) => this.#clicked(event, number), focus: () => this.#choose(number) } },
        ...this.#cells(row).map((cell) => el("td", {}, cell)));
    }));
    if (focused) this.#row(this.#chosen)?.focus();
    const moves = [];
    if (this.#first > 0) moves.push(button("Earlier rows", () => this.#turn(-kMostRows)));
    if (last < this.#rows.length) moves.push(button("Later rows", () => this.#turn(kMostRows)));
    fill(this.#more, moves.length > 0 ? `${count(this.#first + 1)} to ${count(last)} of ${count(this.#rows.length)} ` : "",
      ...moves);
  }
  #turn(by) {
    this.#first = Math.max(0, Math.min(this.#first + by, this.#rows.length - 1));
    this.#show();
  }

  #row(number) {
    return this.#body.querySelector(`tr[data-number="${number}"]`);
  }
  #choose(number) {
    this.#row(this.#chosen)?.setAttribute("tabindex", "-1");
    this.#chosen = number;
    this.#row(number)?.setAttribute("tabindex", "0");
  }
  #clicked(event, number) {
    this.#choose(number);
    if (event.target.closest("button, a, input")) return;
    this.#act?.(this.#rows[number]);
  }
  #key(event) {
    if (event.target.tagName !== "TR") return;
    const by = { ArrowDown: 1, ArrowUp: -1, PageDown: 12, PageUp: -12, Home: -Infinity, End: Infinity }[event.key];
    if (by !== undefined) {
      const last = Math.min(this.#rows.length, this.#first + kMostRows) - 1;
      const next = Math.max(this.#first, Math.min(this.#chosen + by, last));
      this.#row(next)?.focus();
    } else if (event.key === "Enter" && this.#act) {
      this.#act(this.#rows[this.#chosen]);
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  /// Brings the row into view; the first of the window is 0.
  reveal(number) {
    this.#choose(number);
    this.#row(number)?.scrollIntoView({ block: "center" });
  }
}
