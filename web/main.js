// Owns how the parts of the page are put together: who hears of what. The parts do not know
// each other.

import { About } from "./about.js";
import { Actions } from "./actions.js";
import { Bookmarks } from "./bookmarks.js";
import { Code } from "./code.js";
import { Console } from "./console.js";
import { greeting, rpc } from "./connection.js";
import { byId, enter } from "./dom.js";
import { Jobs } from "./jobs.js";
import { Keys } from "./keys.js";
import { Log, Tasks } from "./linux.js";
import { Memory } from "./memory.js";
import { Registers } from "./registers.js";
import { Replication } from "./replication.js";
import { Screen } from "./screen.js";
import { Search } from "./search.js";
import { Session } from "./session.js";
import { Stack } from "./stack.js";
import { Stops } from "./stops.js";
import { Strip } from "./strip.js";
import { Symbols } from "./symbols.js";
import { Tabs } from "./tabs.js";
import { Theme } from "./theme.js";
import { Toolbar } from "./toolbar.js";
import { Views } from "./views.js";

const jobs = new Jobs();
const session = new Session(rpc, jobs);
const keys = new Keys();
const tabs = new Tabs();
const views = new Views(session);
const strip = new Strip(rpc, session, jobs);
const actions = new Actions(session, jobs);

const console_ = views.add(new Console(rpc, session, jobs, tabs));
const screen = views.add(new Screen(rpc, tabs));
const log = views.add(new Log(rpc, tabs));
const tasks = views.add(new Tasks(rpc, tabs));
const symbols = views.add(new Symbols(rpc, jobs, tabs, actions));
const search = new Search(rpc, session, jobs, tabs, strip);
const stops = new Stops(rpc, jobs, tabs);
const bookmarks = new Bookmarks(rpc, session, jobs, tabs);
const about = new About(session, tabs);
new Replication(rpc, session, tabs);

const registers = views.add(new Registers(rpc));
const stack = views.add(new Stack(rpc));
const code = views.add(new Code(rpc, session, stops, actions));
const memory = views.add(new Memory(rpc, session, stops, actions));

const theme = new Theme(byId("theme"));
new Toolbar(session, () => keys.help());

theme.addEventListener("changed", () => {
  strip.recolour();
  search.recolour();
});
tabs.addEventListener("selected", () => views.shown());
registers.addEventListener("follow", (event) => memory.show(event.detail.address));
stack.addEventListener("code", (event) => code.show(event.detail));
symbols.addEventListener("code", (event) => code.show(event.detail));
for (const part of [symbols, tasks]) part.addEventListener("memory", (event) => memory.show(event.detail));
stops.addEventListener("follow", ({ detail }) =>
  detail.kind === "execute" ? code.show(detail.address) : memory.show(BigInt(detail.address), detail.length));
code.addEventListener("wanted", () => views.again(code));
memory.addEventListener("wanted", () => views.again(memory));
for (const part of [code, memory]) part.addEventListener("search", (event) => search.run(event.detail));
bookmarks.addEventListener("changed", (event) => strip.setBookmarks(event.detail));
// The task that runs gives the address space its name.
tasks.addEventListener("running", (event) => {
  if (registers.latest) strip.nameSpace(registers.latest.cr3, event.detail);
});
session.addEventListener("moved", () => code.arrived());

// The emulator is large: it comes when all that can be seen stands there.
views.addEventListener("settled", () => console_.emulate(), { once: true });

async function connected({ state, reason }) {
  const banner = byId("connection");
  banner.hidden = state === "open";
  if (state !== "open") {
    banner.textContent = session.where
      ? `The connection to the server was lost${reason ? `: ${reason}` : ""}. Trying again.`
      : "The server does not let this page in: open the address that it printed, with its token.";
    return;
  }
  try {
    session.begin(await greeting());
    stops.load();
  } catch (error) {
    jobs.fail(error);
  }
}
rpc.addEventListener("state", ({ detail }) => connected(detail));
// What it was before anybody listened.
if (rpc.state !== "connecting") connected({ state: rpc.state });

const panels = ["strip-canvas", "code", "registers", "stack", "memory", "dock-tabs"];
/// To the next part of the page, or the one before.
function cyclePanels(by) {
  const at = panels.findIndex((id) => byId(id).contains(document.activeElement));
  const next = byId(panels.at((at + by + panels.length) % panels.length));
  const inside = next.matches("[tabindex]") ? next : next.querySelector('[tabindex="0"], button, a');
  inside?.focus();
}

const group = (name, rows) => rows.forEach(([key, text, action]) => keys.add(name, key, text, action));
group("Travel", [
  ["s", "step", () => session.step(1)],
  ["S", "step back", () => session.step(-1)],
  ["r", "run to the next breakpoint or watchpoint", () => session.run("forward")],
  ["R", "run back to the one before", () => session.run("backward")],
  ["u", "run to the chosen line of code", () => code.runTo("forward")],
  ["U", "run back to it", () => code.runTo("backward")],
  ["g", "go to a position, a bookmark, a function, +N or -N", () => enter(byId("go-place"))],
  ["Home", "to the start", () => session.seek("start")],
  ["End", "to the end", () => session.seek("end")],
  ["[", "where this page was before", () => session.visit(-1)],
  ["]", "where it was after that", () => session.visit(1)],
  ["Escape", "cancel what is at work", () => jobs.cancelLatest()],
]);
group("Questions", [
  ["w", "who wrote the chosen bytes?", () => memory.lastWrite()],
  ["W", "the next write of them", () => memory.nextWrite()],
  ["a", "all writes of them", () => memory.search("writes")],
  ["v", "the history of their value", () => memory.search("values")],
  ["l", "when was the chosen line executed last?", () => code.arrival("backward")],
  ["n", "when is it executed next?", () => code.arrival("forward")],
  ["e", "all times it is executed", () => code.all()],
  [",", "to what was found before here", () => search.go(-1)],
  [".", "to what was found after here", () => search.go(1)],
  ["b", "breakpoint at the chosen line", () => code.toggle()],
  ["p", "watchpoint on the chosen bytes", () => memory.watch()],
]);
group("Timeline", [
  ["+", "zoom in", () => strip.zoom(0.25)],
  ["-", "zoom out", () => strip.zoom(4)],
  ["0", "the whole recording", () => strip.whole()],
  ["z", "zoom to where the machine stands", () => strip.around()],
  ["← →", "(in the strip) move its cursor, by more with Shift"],
  ["↑ ↓", "(in the strip) zoom at its cursor"],
  ["Enter", "(in the strip) go to its cursor"],
]);
group("Page", [
  ["/", "find a function or variable", () => symbols.focus()],
  ["m", "show memory at an address", () => enter(byId("memory-address"))],
  ["c", "show code at an address", () => enter(byId("code-address"))],
  ["h", "show the code where the machine stands", () => code.follow()],
  ["k", "bookmark this moment", () => bookmarks.focus()],
  ["1 … 9", "the tabs below"],
  ["x", "more or less room for the tabs below", () => document.body.classList.toggle("tall-dock")],
  ["f", "to the next part of the page", () => cyclePanels(1)],
  ["F", "to the part before", () => cyclePanels(-1)],
  ["t", "light or dark", () => theme.toggle()],
  ["?", "this sheet", () => keys.help()],
]);
for (let n = 1; n <= 9; n++) keys.bind(String(n), () => tabs.number(n - 1));

// For tests and for the curious at the browser's prompt.
globalThis.chronovisor = { rpc, session, strip, search, memory, code, jobs, views, actions, about, console: console_, screen, log };
