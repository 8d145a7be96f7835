// Owns the console's tab: a terminal that shows what it showed at the moment, and the lines
// of the whole recording, each of which leads to when it was written.

import { el, fill, labelled, note } from "./dom.js";
import { ConsoleText, plain } from "./console_text.js";
import { count } from "./format.js";
import { List } from "./list.js";

export class Console {
  #session;
  #text;
  #channel = null;
  #select = el("select");
  #screen = el("div", { class: "terminal" });
  #terminal = null;
  #written = 0;
  #list;
  #tabs;
  node;

  constructor(rpc, session, jobs, tabs) {
    this.#session = session;
    this.#tabs = tabs;
    this.node = tabs.add("console", "Console");
    this.#text = new ConsoleText(rpc);
    this.#list = new List({ label: "Lines of the console", columns: ["position", "line"],
      cells: (line) => [el("span", { class: "position", text: count(line.position) }), el("span", { class: "mono", text: plain(line.text) })],
      mark: (line) => (line.position > this.#session.where.position ? "future" : ""),
      act: (line) => this.#session.seek(line.position) });
    this.#select.addEventListener("change", () => {
      this.#channel = this.#select.value;
      this.#written = -1;
      this.#draw();
    });
    this.#list.node.classList.add("console-lines");
    this.#field = labelled("Console", this.#select);
    this.#empty = note("The guest has written nothing yet.");
    fill(this.node, this.#field, el("div", { class: "split" }, this.#screen, el("div", { class: "lines" }, this.#empty, this.#list.node)));
    this.#field.hidden = true;
    this.#list.node.hidden = true;
    this.#open();
    session.addEventListener("begun", () => this.#text.load().catch((error) => jobs.fail(error)));
    this.#text.addEventListener("more", () => this.#draw());
  }
  #field;
  #empty;

  visible() {
    return this.#tabs.shows("console");
  }
  async refresh() {
    this.#draw();
  }

  /// xterm.js where the server has it: a script of its own, which makes a global.
  #open() {
    if (!globalThis.Terminal || !globalThis.CanvasAddon || !globalThis.FitAddon) {
      this.#plain = el("pre", { class: "plain-terminal", tabindex: "0", role: "region", "aria-label": "Console at this moment" });
      this.#screen.append(this.#plain);
      return;
    }
    this.#terminal = new globalThis.Terminal({ cols: 80, rows: 12, disableStdin: true, scrollback: 5000,
      fontSize: 12, fontFamily: "ui-monospace, 'DejaVu Sans Mono', monospace", cursorBlink: false,
      theme: { background: "#101418", foreground: "#e6e9ec" } });
    // Drawn on a canvas: the other way needs style sheets made by scripts, which this page forbids.
    this.#terminal.loadAddon(new globalThis.CanvasAddon.CanvasAddon());
    this.#fitting = new globalThis.FitAddon.FitAddon();
    this.#terminal.loadAddon(this.#fitting);
    // It is for looking at: no key is its own, or Tab would not lead out of it.
    this.#terminal.attachCustomKeyEventHandler(() => false);
  }
  #plain = null;
  #fitting = null;
  #opened = false;

  #fit() {
    if (!this.#terminal || this.#screen.clientWidth === 0) return;
    if (!this.#opened) {
      this.#terminal.open(this.#screen);
      this.#opened = true;
      this.#screen.querySelector("textarea")?.setAttribute("aria-label", "Console at this moment, a terminal");
    }
    this.#fitting.fit();
  }

  #draw() {
    if (!this.#session.where) return;
    const { channels } = this.#text;
    this.#channel ??= channels.includes("serial0") ? "serial0" : channels[0] ?? null;
    if (this.#select.options.length !== channels.length) {
      fill(this.#select, ...channels.map((name) => el("option", { value: name, text: name, selected: name === this.#channel })));
    }
    this.#field.hidden = channels.length < 2;
    const lines = this.#text.lines(this.#channel);
    this.#empty.hidden = lines.length > 0;
    this.#list.node.hidden = lines.length === 0;
    this.#fit();
    const { position } = this.#session.where;
    const upTo = this.#text.countUpTo(this.#channel, position);
    this.#write(upTo);
    const next = lines.findIndex((line) => line.position > position);
    this.#list.set(lines, { near: next < 0 ? lines.length : next });
    if (lines.length > 0) this.#list.reveal(Math.max(0, (next < 0 ? lines.length : next) - 1));
  }

  #write(upTo) {
    if (this.#plain) {
      this.#plain.textContent = plain(this.#text.text(this.#channel, 0, upTo));
      this.#plain.scrollTop = this.#plain.scrollHeight;
      return;
    }
    if (!this.#opened) return;
    if (upTo < this.#written || this.#written < 0) {
      this.#terminal.reset();
      this.#written = 0;
    }
    this.#terminal.write(this.#text.text(this.#channel, this.#written, upTo));
    this.#written = upTo;
  }
}
