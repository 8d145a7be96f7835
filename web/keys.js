// Owns the keys of the whole page, and the sheet that lists them. Keys of one part (the
// strip's arrows, a list's) stay with the part, which tells here what it has.

import { byId, el, fill, takesText } from "./dom.js";

export class Keys {
  #groups = new Map();
  #actions = new Map();
  #dialog = byId("help");

  constructor() {
    document.addEventListener("keydown", (event) => this.#press(event));
    byId("help-close").addEventListener("click", () => this.#dialog.close());
  }

  /// `key`: as KeyboardEvent.key has it, so "S" is with shift. `action` may be left out for
  /// a key that a part handles itself.
  add(group, key, text, action = null) {
    if (!this.#groups.has(group)) this.#groups.set(group, []);
    this.#groups.get(group).push({ key, text });
    if (action) this.#actions.set(key, action);
  }

  /// A key that the sheet has under another.
  bind(key, action) {
    this.#actions.set(key, action);
  }

  #press(event) {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey) return;
    if (event.key === "Escape" && takesText(event.target)) {
      event.target.blur();
      return;
    }
    if (takesText(event.target) || this.#dialog.open) return;
    const action = this.#actions.get(event.altKey ? `Alt+${event.key}` : event.key);
    if (!action) return;
    event.preventDefault();
    action(event);
  }

  help() {
    fill(byId("help-keys"), ...[...this.#groups].map(([group, keys]) => el("section", {},
      el("h3", { text: group }),
      el("dl", {}, ...keys.flatMap(({ key, text }) => [
        el("dt", {}, ...key.split(" ").map((one) => el("kbd", { text: one }))),
        el("dd", { text })])))));
    this.#dialog.showModal();
  }
}
