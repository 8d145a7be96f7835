// Owns the tab that says what was recorded, what this build of the page lacks, and whose
// code is in it.

import { el, fill } from "./dom.js";
import { count, size } from "./format.js";

export class About {
  node;

  constructor(session, tabs) {
    this.node = tabs.add("about", "About");
    session.addEventListener("begun", () => this.#show(session));
  }

  async #show({ info, version }) {
    const ended = info.ended
      ? `${info.ended.reason}${info.ended.code ? `, code ${info.ended.code}` : ""}` : "it has no end: its recorder was killed";
    const facts = [["file", info.file], ["size", size(info.bytes)], ["recorded", info.created_utc], ["on", info.host],
      ["booted", info.kernel], ["command line", info.command_line], ["memory", size(info.memory_bytes)],
      ["engine", info.engine], ["positions", `${count(info.start)} to ${count(info.end)}`],
      ["checkpoints", count(info.checkpoints)], ["inputs", count(info.inputs)], ["ended", ended],
      ["damage", (info.damage ?? []).join("; ")], ["program", `${version.program} ${version.version}, interface ${version.api}`],
      ["changes", version.allow_changes ? "allowed" : "not allowed (--allow-changes)"]];
    const rows = facts.filter(([, value]) => value).map(([name, value]) =>
      [el("dt", { text: name }), el("dd", { text: String(value) })]);
    const lacks = el("ul");
    fill(this.node, el("dl", { class: "facts" }, ...rows.flat()), lacks,
      el("p", {}, el("a", { href: "licences", target: "_blank", rel: "noopener", text: "Whose code is in this page, and its licences" })));
    try {
      const build = await (await fetch("build.json")).json();
      fill(lacks, ...(build.lacks ?? []).map((text) => el("li", { text })));
    } catch {
      if (!globalThis.Terminal) fill(lacks, el("li", { text: "xterm.js was not there: the console is plain text." }));
    }
  }
}
