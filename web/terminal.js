// Owns what a terminal would show: by xterm.js where the server has it, which is loaded when
// the page can be used already; until then, and without it, as plain text.

import { el } from "./dom.js";
import { plain } from "./console_text.js";

const kScripts = ["vendor/xterm.js", "vendor/addon-canvas.js", "vendor/addon-fit.js"];

/// Appends an element that loads something; whether that was there.
function loaded(node) {
  return new Promise((resolve) => {
    node.addEventListener("load", () => resolve(true));
    node.addEventListener("error", () => resolve(false));
    document.head.append(node);
  });
}

export class TerminalView {
  #plain = el("pre", { class: "plain-terminal", tabindex: "0", role: "region", "aria-label": "Console at this moment" });
  #terminal = null;
  #fitting = null;
  #opened = false;
  node = el("div", { class: "terminal" }, this.#plain);

  /// Whether it is an emulator, which is given what is new alone.
  get emulates() {
    return this.#opened;
  }

  /// Gets the emulator. Whether there is one.
  async load() {
    const all = await Promise.all([
      loaded(el("link", { rel: "stylesheet", href: "vendor/xterm.css" })),
      ...kScripts.map((src) => loaded(el("script", { src })))]);
    if (all.includes(false)) return false;
    this.#terminal = new globalThis.Terminal({ cols: 80, rows: 12, disableStdin: true, scrollback: 5000,
      fontSize: 12, fontFamily: "ui-monospace, 'DejaVu Sans Mono', monospace", cursorBlink: false,
      theme: { background: "#101418", foreground: "#e6e9ec" } });
    // Drawn on a canvas: the other way needs style sheets made by scripts, which this page forbids.
    this.#terminal.loadAddon(new globalThis.CanvasAddon.CanvasAddon());
    this.#fitting = new globalThis.FitAddon.FitAddon();
    this.#terminal.loadAddon(this.#fitting);
    // It is for looking at: no key is its own, or Tab would not lead out of it.
    this.#terminal.attachCustomKeyEventHandler(() => false);
    return true;
  }

  /// Takes the room that it has, the emulator's place when that is there and can be seen.
  fit() {
    if (!this.#terminal || this.node.clientWidth === 0) return;
    if (!this.#opened) {
      this.#plain.remove();
      this.#terminal.open(this.node);
      this.#opened = true;
      this.node.querySelector("textarea")?.setAttribute("aria-label", "Console at this moment, a terminal");
    }
    this.#fitting.fit();
  }

  reset() {
    this.#terminal?.reset();
  }
  write(text) {
    this.#terminal.write(text);
  }
  /// Without an emulator: all of it.
  show(text) {
    this.#plain.textContent = plain(text);
    this.#plain.scrollTop = this.#plain.scrollHeight;
  }
}
