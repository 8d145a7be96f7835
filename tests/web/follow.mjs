// A gdb on the same session: what one of them goes to, the other shows.

import { spawn } from "node:child_process";
import { check, Page } from "./browser.mjs";

const kWaitMs = 15000;

class Gdb {
  #said = "";

  constructor(door) {
    this.process = spawn("gdb", ["-nx", "-q", "--interpreter=mi3", "-ex", "set debuginfod enabled off"], { env: { ...process.env, LC_ALL: "C.UTF-8" } });
    this.process.stdout.on("data", (data) => (this.#said += data));
    this.process.stderr.on("data", (data) => (this.#said += data));
    this.door = door;
  }
  /// A command's console output.
  async ask(command) {
    const begin = this.#said.length;
    this.process.stdin.write(`7-interpreter-exec console ${JSON.stringify(command)}\n`);
    const since = Date.now();
    while (!/^7\^(done|error|running|connected)/m.test(this.#said.slice(begin))) {
      check(Date.now() - since < kWaitMs, `gdb does not answer ${command}: ${this.#said.slice(begin)}`);
      await new Promise((go) => setTimeout(go, 20));
    }
    return this.#said.slice(begin);
  }
  async connect() {
    await this.ask("set confirm off");
    await this.ask("set architecture i386:x86-64");
    const said = await this.ask(`target remote ${this.door}`);
    check(!/\^error/.test(said), `gdb does not get in: ${said}`);
  }
  close() {
    this.process.stdin.write("-gdb-exit\n");
  }
}

export async function follow(browser, url, door) {
  const page = await Page.open(browser, url);
  const gdb = new Gdb(door);
  try {
    await gdb.connect();
    await gdb.ask("monitor seek 1400000000");
    await gdb.ask("continue");
    await page.tab.waitForFunction(() => globalThis.chronovisor.session.where.position === 1400000000);
    await page.idle();
    check((await page.text("#position")) === "1,400,000,000", "the page says another position");
    const rip = (await page.evaluate(() => globalThis.chronovisor.session.where.pc)).slice(2);
    check((await page.text("#code")).includes(rip), "the code is of elsewhere");
    // The other way.
    await page.evaluate(() => globalThis.chronovisor.session.seek(1300000000));
    await page.idle();
    const when = await gdb.ask("monitor when");
    check(/1,?300,?000,?000/.test(when), `gdb is elsewhere: ${when}`);
    await gdb.ask("maintenance flush register-cache");
    const pc = BigInt(await page.evaluate(() => globalThis.chronovisor.session.where.pc)).toString(16);
    const shown = await gdb.ask("print/x $pc");
    check(shown.includes(pc), `gdb's registers are of elsewhere: ${shown}, not ${pc}`);
    // A function is a place in both of them.
    await page.tab.fill("#go-place", "start_kernel");
    await page.tab.press("#go-place", "Enter");
    await page.tab.waitForFunction(() => globalThis.chronovisor.session.where.symbol === "start_kernel");
    await page.idle();
    const armed = await gdb.ask("monitor seek start_kernel");
    const { position } = await page.evaluate(() => globalThis.chronovisor.session.where);
    check(armed.replaceAll(",", "").includes(String(position)), `gdb has start_kernel elsewhere than at ${position}: ${armed}`);
  } finally {
    gdb.close();
  }
  await page.close();
}
