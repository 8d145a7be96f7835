// Owns what the guest wrote to its consoles, all of it, fetched in the background: as lines,
// each with the position at which it began, and as the text up to any moment. Knows no view.

const kPage = 1 << 18;
const kMostText = 16 << 20;
const kTail = 1 << 16;

export class ConsoleText extends EventTarget {
  #rpc;
  #channels = new Map();
  complete = false;
  cut = false;

  constructor(rpc) {
    super();
    this.#rpc = rpc;
  }

  async load() {
    let cursor = "";
    let length = 0;
    for (;;) {
      const answer = await this.#rpc.call("console", { limit: kPage, cursor });
      for (const piece of answer.pieces) {
        this.#add(piece);
        length += piece.text.length;
      }
      cursor = answer.next;
      this.cut = Boolean(cursor) && length > kMostText;
      this.complete = !cursor || this.cut;
      this.dispatchEvent(new Event("more"));
      if (this.complete) return;
    }
  }

  #add({ position, channel, text }) {
    if (!this.#channels.has(channel)) this.#channels.set(channel, { positions: [], texts: [], lines: [], open: null });
    const all = this.#channels.get(channel);
    all.positions.push(position);
    all.texts.push(text);
    for (const part of text.split(/(?<=\n)/)) {
      if (!all.open) {
        all.open = { position, text: "" };
        all.lines.push(all.open);
      }
      all.open.text += part;
      if (part.endsWith("\n")) all.open = null;
    }
  }

  get channels() {
    return [...this.#channels.keys()];
  }
  lines(channel) {
    return this.#channels.get(channel)?.lines ?? [];
  }

  /// How many pieces were written before `position` was passed.
  countUpTo(channel, position) {
    const { positions } = this.#channels.get(channel) ?? { positions: [] };
    let low = 0;
    let high = positions.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (positions[middle] < position) low = middle + 1;
      else high = middle;
    }
    return low;
  }
  /// The pieces [from, to) as one text: no more than the last 64 KiB of it.
  text(channel, from, to) {
    const texts = this.#channels.get(channel)?.texts.slice(from, to) ?? [];
    return texts.join("").slice(-kTail);
  }
}

/// Without the sequences that move cursors and set colours.
export function plain(text) {
  return text
    .replace(/\x1b\[[0-9;?]*[ -/]*[@-~]/g, "")
    .replace(/\x1b\][^\x07\x1b]*(\x07|\x1b\\)/g, "")
    .replace(/\x1b[ -/]*[0-~]/g, "")
    .replace(/[\x00-\x08\x0b-\x1f\x7f]/g, "");
}
