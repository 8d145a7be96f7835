// Owns the console's tab: a terminal that shows what it showed at the moment, and the lines
// of the whole recording, each of which leads to when it was written.

import { el, fill, labelled, note } from "./dom.js";
import { ConsoleText, plain } from "./console_text.js";
import { count } from "./format.js";
import { List } from "./list.js";
import { TerminalView } from "./terminal.js";

export class Console {
  #session;
  #text;
  #channel = null;
  #select = el("select");
  #terminal = new TerminalView();
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
    fill(this.node, this.#field, el("div", { class: "split" }, this.#terminal.node, el("div", { class: "lines" }, this.#empty, this.#list.node)));
    this.#field.hidden = true;
    this.#list.node.hidden = true;
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

  /// Gets a terminal emulator, if the server has one: when nothing else is to be done.
  async emulate() {
    if (await this.#terminal.load()) this.#draw();
    this.settled = true;
  }
  /// Whether it is known if there is one.
  settled = false;

  #draw() {
    if (!this.#session.where) return;
    const { channels } = this.#text;
    this.#channel ??= channels.includes("serial0") ? "serial0" : channels[0] ?? null;
    if (this.#select.options.length !== channels.length) {
      fill(this.#select, ...channels.map((name) => el("option", { value: name, text: name, selected: name === this.#channel })));
    }
    this.#field.hidden = channels.length < 2;
    const lines = this.#text.lines(this.#channel);
    const { complete, cut } = this.#text;
    this.#empty.textContent = !complete ? `Reading what was written: ${count(lines.length)} lines so far …`
      : cut ? `The first ${count(lines.length)} lines; there are more.` : "The guest has written nothing.";
    this.#empty.hidden = lines.length > 0 && complete && !cut;
    this.#list.node.hidden = lines.length === 0;
    this.#terminal.fit();
    const { position } = this.#session.where;
    const upTo = this.#text.countUpTo(this.#channel, position);
    this.#write(upTo);
    const next = lines.findIndex((line) => line.position > position);
    this.#list.set(lines, { near: next < 0 ? lines.length : next });
    if (lines.length > 0) this.#list.reveal(Math.max(0, (next < 0 ? lines.length : next) - 1));
  }

  #write(upTo) {
    if (!this.#terminal.emulates) {
      this.#terminal.show(this.#text.text(this.#channel, 0, upTo));
      return;
    }
    if (upTo < this.#written || this.#written < 0) {
      this.#terminal.reset();
      this.#written = 0;
    }
    this.#terminal.write(this.#text.text(this.#channel, this.#written, upTo));
    this.#written = upTo;
  }
}
