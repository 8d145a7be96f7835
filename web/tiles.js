// Owns what the server said about stretches of the recording: a cache of tiles, each 512
// columns of a power of two of steps. What a view needs is asked for, the nearest first;
// meanwhile the next coarser tile that is there serves. Samples of who runs come from
// coarse to fine, only while nothing else wants the server.

const kColumns = 512;
const kBins = 128;  // of activity in one tile: each is a short run at the server
const kFirstLook = 32;
const kMostTiles = 600;
const kMostAtOnce = 3;
const kStillMs = 250;  // samples are asked for when the view has not changed for so long

export class Tiles extends EventTarget {
  #rpc;
  #jobs;
  #start = 0;
  #end = 1;
  #tiles = new Map();
  #wanted = [];
  #inFlight = new Map();
  #active = false;
  #activity = null;
  #changed = -Infinity;  // when what is looked at last did
  #looked = "";

  constructor(rpc, jobs) {
    super();
    this.#rpc = rpc;
    this.#jobs = jobs;
    jobs.addEventListener("idle", () => this.#pump());
  }

  bounds(start, end) {
    this.#start = start;
    this.#end = end;
    this.clear();
  }
  clear() {
    for (const { controller } of this.#inFlight.values()) controller.abort();
    this.#tiles.clear();
    this.#wanted = [];
  }

  /// The most that there can be: one tile, or two, of this level hold everything.
  get #topLevel() {
    return Math.max(0, Math.ceil(Math.log2((this.#end - this.#start + 1) / kColumns)));
  }

  /// How much there is of what is wanted, from 0 to 1: the counts of the log, and samples, of
  /// which there are many more.
  get share() {
    let there = 0;
    for (const key of this.#wanted) {
      const tile = this.#tiles.get(key);
      if (tile) there += 0.05 + 0.95 * (tile.cursor === null ? 1 : Number(tile.cursor ?? 0) / (tile.bins ?? kBins));
    }
    return this.#wanted.length === 0 ? 1 : Math.min(1, there / this.#wanted.length);
  }

  /// Says what is looked at. Tiles that are missing are fetched, others no longer.
  want(from, to, level) {
    const wanted = this.#keys(this.#start, this.#end, this.#topLevel);
    wanted.push(...this.#keys(from, to, Math.min(level, this.#topLevel)));
    this.#wanted = [...new Set(wanted)];
    const looked = `${from} ${to}`;
    // The first look is at once.
    if (this.#looked && looked !== this.#looked) this.#changed = performance.now();
    this.#looked = looked;
    for (const [key, { controller }] of this.#inFlight) {
      if (!this.#wanted.includes(key)) controller.abort();
    }
    if (this.#activity && !this.#wanted.includes(this.#activity.key)) this.#activity.controller.abort();
    this.#pump();
  }

  #keys(from, to, level) {
    const span = kColumns * 2 ** level;
    const keys = [];
    for (let n = Math.floor(from / span); n * span <= to && keys.length < 16; n++) {
      if ((n + 1) * span > this.#start && n * span <= this.#end) keys.push(`${level}:${n}`);
    }
    return keys;
  }

  /// What to draw for [from, to]: stretches that follow each other, each with the best tile
  /// there is: {from, to, tile}.
  cover(from, to, level, has) {
    const found = [];
    for (const key of this.#keys(from, to, Math.min(level, this.#topLevel))) {
      let [at, n] = key.split(":").map(Number);
      const span = kColumns * 2 ** at;
      const piece = { from: n * span, to: (n + 1) * span };
      for (; at <= this.#topLevel; at++, n = Math.floor(n / 2)) {
        const tile = this.#tiles.get(`${at}:${n}`);
        if (!tile || !has(tile)) continue;
        tile.used = performance.now();
        found.push({ ...piece, tile });
        break;
      }
    }
    return found;
  }

  #stretch(key) {
    const [level, n] = key.split(":").map(Number);
    const span = kColumns * 2 ** level;
    const from = Math.max(n * span, this.#start);
    const to = Math.min((n + 1) * span, this.#end);
    return { from, to, columns: Math.max(1, Math.ceil((to - from) / 2 ** level)) };
  }

  #later = 0;
  #pump() {
    for (const key of this.#wanted) {
      if (this.#inFlight.size >= kMostAtOnce) return;
      if (!this.#tiles.has(key) && !this.#inFlight.has(key)) this.#fetch(key);
    }
    if (this.#inFlight.size > 0) return;
    const still = this.#changed + kStillMs - performance.now();
    if (still <= 0) return this.#sample();
    // They need the processor, which painting needs more.
    clearTimeout(this.#later);
    this.#later = setTimeout(() => this.#pump(), still);
  }

  async #fetch(key) {
    const controller = new AbortController();
    this.#inFlight.set(key, { controller });
    const { from, to, columns } = this.#stretch(key);
    try {
      const answer = await this.#rpc.call("lanes",
        { from: String(from), to: String(to), bins: columns }, { signal: controller.signal });
      const lanes = answer.lanes.map((lane) => ({ ...lane, most: Math.max(0, ...lane.counts) }));
      this.#tiles.set(key, { key, from, to, columns, lanes, marks: answer.marks, samples: null,
        cursor: undefined, used: performance.now() });
      this.#evict();
      this.dispatchEvent(new Event("more"));
    } catch (error) {
      if (!error.cancelled) {
        this.#wanted = this.#wanted.filter((other) => other !== key);
        this.dispatchEvent(new CustomEvent("trouble", { detail: error }));
      }
    } finally {
      this.#inFlight.delete(key);
      this.#pump();
    }
  }

  /// A first look at the whole recording, then what is in view, then the rest of the whole.
  #nextSampled() {
    const top = `${this.#topLevel}:`;
    const rank = (key) => (!key.startsWith(top) ? 1 : (this.#tiles.get(key).samples?.length ?? 0) < kFirstLook ? 0 : 2);
    return this.#wanted.filter((key) => this.#tiles.has(key) && this.#tiles.get(key).cursor !== null)
      .sort((a, b) => rank(a) - rank(b))[0];
  }

  /// The next page of samples for what is in view.
  async #sample() {
    if (this.#active || !this.#jobs.idle) return;
    const key = this.#nextSampled();
    if (!key) return;
    this.#active = true;
    const tile = this.#tiles.get(key);
    const bins = Math.min(kBins, tile.columns);
    try {
      await this.#jobs.background(async (signal) => {
        this.#activity = { key, controller: new AbortController() };
        signal.addEventListener("abort", () => this.#activity?.controller.abort());
        const question = { from: String(tile.from), to: String(tile.to), bins };
        if (tile.cursor) question.cursor = tile.cursor;
        const answer = await this.#rpc.call("activity", question, { signal: this.#activity.controller.signal });
        tile.samples = [...(tile.samples ?? []), ...answer.samples].sort((a, b) => a.bin - b.bin);
        Object.assign(tile, { bins: answer.bins ?? bins, exact: answer.exact, cursor: answer.next });
      });
      this.dispatchEvent(new Event("more"));
    } catch (error) {
      if (!error.cancelled) tile.cursor = null;
    } finally {
      this.#active = false;
      this.#activity = null;
      if (this.#jobs.idle) setTimeout(() => this.#pump());
    }
  }

  #evict() {
    if (this.#tiles.size <= kMostTiles) return;
    const oldest = [...this.#tiles.values()].filter((tile) => !this.#wanted.includes(tile.key))
      .sort((a, b) => a.used - b.used);
    for (const tile of oldest.slice(0, kMostTiles / 4)) this.#tiles.delete(tile.key);
  }
}
