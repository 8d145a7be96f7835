// Measures the page on a long recording, in Debian's Chromium without a screen: how soon it
// can be used, frames a second while the strip zooms and moves, how soon a search shows what
// it found, and how soon it is cancelled. docs/WEB.md has the command and the numbers.

import { openBrowser, Page } from "./browser.mjs";

const url = process.argv[2];
const kSeconds = 5;

/// Seconds of the processor that all processes of the browser have used.
async function processorTime() {
  const { processInfo } = await control.send("SystemInfo.getProcessInfo");
  return processInfo.reduce((sum, one) => sum + one.cpuTime, 0);
}

/// Counts the frames of the browser while `work` goes on.
async function frames(page, name, work) {
  await page.evaluate(() => {
    const { strip } = globalThis.chronovisor;
    const seen = { stamps: [], before: { ...strip.painted } };
    globalThis.seen = seen;
    const tick = (now) => {
      seen.stamps.push(now);
      if (globalThis.seen === seen) requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  });
  const used = await processorTime();
  const until = performance.now() + kSeconds * 1000;
  for (let n = 0; performance.now() < until; n++) await work(n);
  const cost = (await processorTime()) - used;
  const { stamps, painted, ms } = await page.evaluate(() => {
    const { stamps: all, before } = globalThis.seen;
    globalThis.seen = null;
    const { painted: now } = globalThis.chronovisor.strip;
    return { stamps: all, painted: now.frames - before.frames, ms: now.ms - before.ms };
  });
  const gaps = stamps.slice(1).map((at, n) => at - stamps[n]).sort((a, b) => a - b);
  const seconds = (stamps.at(-1) - stamps[0]) / 1000;
  console.log(`${name}: ${(painted / seconds).toFixed(1)} frames of the strip a second, ` +
    `${(ms / painted).toFixed(2)} ms each, ${((cost * 1000) / painted).toFixed(1)} ms of the processor for all of the browser; 95 % of the browser's frames within ${gaps[Math.floor(gaps.length * 0.95)].toFixed(0)} ms`);
}

const browser = await openBrowser();
const control = await browser.newBrowserCDPSession();
const began = performance.now();
const page = await Page.open(browser, url);
const usable = performance.now() - began;
const spent = await processorTime();
await page.settled();
console.log(`usable after ${(usable / 1000).toFixed(2)} s, for which the browser has used ${spent.toFixed(2)} s of the processor; ` +
  `with the terminal after ${((performance.now() - began) / 1000).toFixed(2)} s`);
const { tab } = page;
console.log(`${await page.evaluate(() => globalThis.chronovisor.session.info.end)} steps`);

const box = await tab.locator("#strip-canvas").boundingBox();
const middle = [box.x + box.width * 0.6, box.y + box.height / 2];
await tab.mouse.move(...middle);
await frames(page, "zooming in and out", (n) => tab.mouse.wheel(0, n % 160 < 80 ? -60 : 60));
await page.evaluate(() => globalThis.chronovisor.strip.view.show(4e9, 4.1e9));
await frames(page, "moving", async (n) => {
  if (n % 100 === 0) {
    await tab.mouse.up();
    await tab.mouse.move(...middle);
    await tab.mouse.down();
  }
  await tab.mouse.move(middle[0] - (n % 100) * 5, middle[1]);
});
await tab.mouse.up();
await page.idle();

/// Milliseconds until the first mark is on the strip, of which so many from when it was found;
/// a search that is at work a second and a half later is cancelled.
async function search(what) {
  return page.evaluate(async (asked) => {
    const { search: it, jobs, rpc } = globalThis.chronovisor;
    const since = performance.now();
    const running = it.run(asked);
    while (!it.first && !jobs.idle) await new Promise((go) => setTimeout(go, 5));
    const mark = await it.first;
    // What the way from the server takes is no more than a question and its answer take.
    const sent = performance.now();
    await rpc.call("version");
    const way = performance.now() - sent;
    await new Promise((go) => setTimeout(go, 1500));
    const at = performance.now();
    const working = jobs.cancelLatest();
    await running;
    return { first: mark ? mark.at - since : null, ago: mark?.ago == null ? null : mark.ago + way, found: it.results.length,
      cancelled: working ? performance.now() - at : null };
  }, what);
}
for (const [name, what] of [["changes of jiffies_64", { kind: "values", address: "jiffies_64", length: 8 }],
  ["executions of the timer's interrupt", { kind: "executes", address: "asm_sysvec_apic_timer_interrupt", length: 1 }],
  ["writes of what is never written", { kind: "writes", address: "system_state", length: 4 }]]) {
  const { first, ago, found, cancelled } = await search(what);
  const marked = first === null ? "nothing found" : `the first mark after ${(first / 1000).toFixed(2)} s` +
    (ago === null ? "" : `, ${ago.toFixed(0)} ms after it was found`);
  console.log(`${name}: ${marked}; ${found} after 1.5 s more; ` +
    (cancelled === null ? "complete" : `cancelled within ${cancelled.toFixed(0)} ms`));
}
await page.close();
await browser.close();
