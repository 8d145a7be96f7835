// Owns a row of tabs and their panels (the pattern of the ARIA Authoring Practices): arrow
// keys move between tabs, one panel is shown.

import { byId, el } from "./dom.js";

export class Tabs extends EventTarget {
  #tabs = [];
  #list = byId("dock-tabs");
  #panels = byId("dock-panels");
  selected = null;

  constructor() {
    super();
    this.#list.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      const at = this.#tabs.findIndex((tab) => tab.name === this.selected);
      if (by) this.select(this.#tabs.at((at + by) % this.#tabs.length).name, true);
      else if (event.key === "Home") this.select(this.#tabs[0].name, true);
      else if (event.key === "End") this.select(this.#tabs.at(-1).name, true);
      else return;
      event.preventDefault();
    });
  }

  /// The panel's element, to be filled.
  add(name, title) {
    const tab = el("button", { type: "button", role: "tab", id: `tab-${name}`, text: title,
      "aria-controls": `panel-${name}`, "aria-selected": "false", tabindex: "-1",
      on: { click: () => this.select(name) } });
    const panel = el("div", { role: "tabpanel", id: `panel-${name}`, "aria-labelledby": `tab-${name}`,
      tabindex: "0", hidden: true, class: "dock-panel" });
    this.#list.append(tab);
    this.#panels.append(panel);
    this.#tabs.push({ name, tab, panel });
    if (!this.selected) this.select(name);
    return panel;
  }

  select(name, focus = false) {
    for (const each of this.#tabs) {
      const chosen = each.name === name;
      each.tab.setAttribute("aria-selected", String(chosen));
      each.tab.tabIndex = chosen ? 0 : -1;
      each.panel.hidden = !chosen;
      if (chosen && focus) each.tab.focus();
    }
    this.selected = name;
    this.dispatchEvent(new Event("selected"));
  }
  number(n) {
    const each = this.#tabs[n];
    if (each) this.select(each.name, true);
  }
  shows(name) {
    return this.selected === name;
  }
  /// "Found (12)".
  rename(name, title) {
    const each = this.#tabs.find((tab) => tab.name === name);
    if (each) each.tab.textContent = title;
  }
}
