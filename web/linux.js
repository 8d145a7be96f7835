// Owns the tabs that know a Linux guest: its processes, and its kernel's log.

import { el, fill, note } from "./dom.js";
import { List } from "./list.js";

const kMostTasks = 1000;
const kStates = { R: "running", S: "sleeping", D: "waiting", I: "idle", T: "stopped", t: "traced", Z: "zombie", X: "dead", P: "parked" };

export class Tasks extends EventTarget {
  #rpc;
  #tabs;
  #list;
  node;

  constructor(rpc, tabs) {
    super();
    this.#rpc = rpc;
    this.#tabs = tabs;
    this.node = tabs.add("tasks", "Tasks");
    this.#list = new List({ label: "Tasks", columns: ["", "pid", "name", "state", "parent", "threads", "task_struct"],
      cells: (task) => [task.on_cpu ? "▶ on the processor" : "", String(task.pid), task.kernel_thread ? `[${task.name}]` : task.name,
        kStates[task.state] ?? task.state, String(task.parent), String(task.threads), task.task_struct],
      mark: (task) => (task.on_cpu ? "here" : ""),
      act: (task) => this.dispatchEvent(new CustomEvent("memory", { detail: BigInt(task.task_struct) })) });
  }
  visible() {
    return this.#tabs.shows("tasks");
  }
  async refresh(signal) {
    const { tasks } = await this.#rpc.call("linux_tasks", { limit: kMostTasks }, { signal });
    if (signal.aborted) return;
    tasks.sort((a, b) => Number(b.on_cpu) - Number(a.on_cpu));
    this.#list.set(tasks);
    fill(this.node, this.#list.node);
    const running = tasks.find((task) => task.on_cpu);
    if (running) this.dispatchEvent(new CustomEvent("running", { detail: running.name }));
  }
}

export class Log {
  #rpc;
  #tabs;
  node;

  constructor(rpc, tabs) {
    this.#rpc = rpc;
    this.#tabs = tabs;
    this.node = tabs.add("log", "Kernel log");
  }
  visible() {
    return this.#tabs.shows("log");
  }
  async refresh(signal) {
    const { lines, total } = await this.#rpc.call("linux_log", { limit: 1000 }, { signal });
    if (signal.aborted) return;
    const text = lines.map((line) => `[${(line.time_ns / 1e9).toFixed(6).padStart(12)}] ${line.text}`).join("\n");
    const view = el("pre", { class: "log", tabindex: "0", role: "region", "aria-label": "Kernel log", text });
    fill(this.node, total > lines.length ? note(`The last ${lines.length} of ${total} lines.`) : null, view);
    this.node.scrollTop = this.node.scrollHeight;
  }
}
