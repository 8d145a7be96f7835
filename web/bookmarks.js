// Owns bookmarks: those of the recording, and, where the server allows no changes, those of
// this page alone.

import { button, el, fill, labelled, note } from "./dom.js";
import { count } from "./format.js";
import { List } from "./list.js";

export class Bookmarks extends EventTarget {
  #rpc;
  #session;
  #jobs;
  #tabs;
  #list;
  #name = el("input", { required: true, maxlength: "64", spellcheck: "false" });
  #own = [];
  #recorded = [];
  #where = note("");
  node;

  constructor(rpc, session, jobs, tabs) {
    super();
    this.#rpc = rpc;
    this.#session = session;
    this.#jobs = jobs;
    this.#tabs = tabs;
    this.node = tabs.add("bookmarks", "Bookmarks");
    this.#list = new List({ label: "Bookmarks", columns: ["name", "position", "kept", ""],
      cells: (mark) => [mark.name, count(mark.position), mark.own ? "in this page" : "in the recording",
        mark.own || session.allowsChanges ? button("Delete", () => this.#delete(mark), { "aria-label": `Delete ${mark.name}` }) : ""],
      act: (mark) => session.seek(mark.position) });
    fill(this.node, el("form", { class: "row", on: { submit: (event) => {
      event.preventDefault();
      this.#add(this.#name.value.trim());
      this.#name.value = "";
    } } }, labelled("Name for this moment", this.#name), el("button", { type: "submit", text: "Add" })),
    this.#where, this.#list.node);
    rpc.addEventListener("changed", (event) => event.detail.what === "bookmarks" && this.load());
    session.addEventListener("begun", () => {
      this.#where.textContent = session.allowsChanges ? ""
        : "The server was started without --allow-changes: what you add here is gone when the page is.";
      this.load();
    });
  }

  visible() {
    return false;
  }
  focus() {
    this.#tabs.select("bookmarks");
    this.#name.focus();
  }

  async load() {
    try {
      this.#recorded = [];
      let cursor = "";
      while (cursor !== null) {
        const answer = await this.#rpc.call("bookmarks", { limit: 1000, cursor });
        this.#recorded.push(...answer.bookmarks);
        cursor = answer.next;
      }
    } catch (error) {
      this.#jobs.fail(error);
    }
    this.#show();
  }
  #show() {
    const all = [...this.#recorded, ...this.#own].sort((a, b) => a.position - b.position);
    this.#list.set(all);
    this.#list.node.hidden = all.length === 0;
    this.#tabs.rename("bookmarks", all.length > 0 ? `Bookmarks (${all.length})` : "Bookmarks");
    this.dispatchEvent(new CustomEvent("changed", { detail: all }));
  }

  async #add(name) {
    if (!name) return;
    if (!this.#session.allowsChanges) {
      this.#own = this.#own.filter((mark) => mark.name !== name);
      this.#own.push({ name, position: this.#session.where.position, own: true });
      this.#show();
      return;
    }
    try {
      await this.#rpc.call("set_bookmark", { name });
      await this.load();
    } catch (error) {
      this.#jobs.fail(error);
    }
  }
  async #delete(mark) {
    if (mark.own) {
      this.#own = this.#own.filter((each) => each !== mark);
      this.#show();
      return;
    }
    try {
      await this.#rpc.call("delete_bookmark", { name: mark.name });
      await this.load();
    } catch (error) {
      this.#jobs.fail(error);
    }
  }
}
