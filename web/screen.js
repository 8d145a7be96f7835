// Owns the screen's tab: the picture that the guest showed at the moment, and its characters.

import { el, fill } from "./dom.js";

export class Screen {
  #rpc;
  #tabs;
  node;

  constructor(rpc, tabs) {
    this.#rpc = rpc;
    this.#tabs = tabs;
    this.node = tabs.add("screen", "Screen");
  }
  visible() {
    return this.#tabs.shows("screen");
  }
  async refresh(signal) {
    const { width, height, text, png } = await this.#rpc.call("screen", {}, { signal });
    if (signal.aborted) return;
    const picture = el("img", { class: "picture", width, height, src: `data:image/png;base64,${png}`,
      alt: `The guest's screen, ${width} by ${height} pixels` });
    const characters = text.length > 0 && el("pre", { text: text.join("\n"), tabindex: "0", role: "region",
      "aria-label": "Characters of the screen" });
    fill(this.node, el("div", { class: "screen" }, picture, characters || null));
  }
}
