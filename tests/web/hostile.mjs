// What a guest writes, and what its symbols are called, stays text: nothing of it becomes an
// element, runs, or is fetched.

import { check, Page } from "./browser.mjs";

export async function hostile(browser, url) {
  const page = await Page.open(browser, url);
  await page.evaluate(() => globalThis.chronovisor.session.seek("end"));
  for (const name of ["Console", "Symbols", "Found"]) {
    await page.tab.getByRole("tab", { name: new RegExp(`^${name}`) }).click();
    await page.idle();
    await page.picture(`hostile-${name.toLowerCase()}`);
  }
  await page.tab.getByRole("tab", { name: "Symbols" }).click();
  await page.tab.getByText("<img src=x onerror").first().waitFor();
  await page.evaluate(() => globalThis.chronovisor.actions.arrival(
    BigInt(document.querySelector("#panel-symbols tbody td:nth-child(2)").textContent), "backward"));
  await page.tab.waitForFunction(() => document.querySelector("#strip-filling").hidden);
  const lines = await page.text(".console-lines");
  check(lines.includes("<script>globalThis.taken=1</script>"), `the console does not show it: ${lines}`);
  const { taken, elements } = await page.evaluate(() => ({ taken: globalThis.taken,
    elements: document.querySelectorAll("main script, main img:not(.picture), main svg").length }));
  check(taken === undefined && elements === 0, `the guest got into the page: ${taken}, ${elements} elements`);
  await page.close();
}

/// The timeline's arithmetic, at the longest and the shortest stretch it has to show.
export async function arithmetic(browser, url) {
  const page = await Page.open(browser, url);
  const said = await page.evaluate(async () => {
    const { StripView } = await import("/strip_view.js");
    const view = new StripView();
    view.width = 1100;
    view.bounds(0, 1e11);
    const aim = 73_123_456_789;
    const x = view.xOf(aim);
    for (let n = 0; n < 100; n++) {
      view.zoom(aim, 0.7);
      if (Math.abs(view.xOf(aim) - x) > 1) return `it slips to ${view.xOf(aim)} in step ${n}`;
    }
    if (view.span !== 16 || view.positionAt(view.xOf(aim)) !== aim) return `${view.span} steps, ${view.positionAt(x)}`;
    if (view.level !== 0 || view.ticks(110).step !== 2) return `level ${view.level}, marks every ${view.ticks(110).step}`;
    view.pan(-1e12);
    if (view.from !== 0) return `it begins at ${view.from}`;
    view.zoom(5, 1e30);
    if (view.from !== 0 || view.to !== 1e11) return `all of it is ${view.from} to ${view.to}`;
    const { laneText } = await import("/strip_lanes.js");
    const said = [[1, "checkpoints"], [2, "checkpoints"], [1, "serial0", "bytes"], [1500, "net0 sent", "packets"]]
      .map(([number, name, unit = name]) => laneText({ name, unit }, number)).join(" | ");
    if (said !== "1 checkpoint | 2 checkpoints | serial0: 1 byte | net0 sent: 1,500 packets") return said;
    if (2 ** view.level < 1e11 / 1100 || 2 ** view.level > 2e11 / 1100) return `level ${view.level}`;
    return "";
  });
  check(said === "", said);
  await page.close();
}

export async function screen(browser, url) {
  const page = await Page.open(browser, url);
  await page.evaluate(() => globalThis.chronovisor.session.seek("end"));
  await page.tab.getByRole("tab", { name: "Screen" }).click();
  await page.tab.locator("img.picture").waitFor();
  const width = await page.evaluate(() => document.querySelector("img.picture").naturalWidth);
  check(width >= 320, `the picture is ${width} wide`);
  await page.picture("screen");
  await page.close();
}

/// A report for a bug is one file: it opens from disk, without a script and without the network.
export async function report(browser, file) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  await context.setOffline(true);
  const tab = await context.newPage();
  const asked = [];
  tab.on("request", (request) => asked.push(request.url()));
  const complaints = [];
  tab.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  await tab.goto(`file://${file}`);
  const text = await tab.textContent("body");
  check(text.includes("poweroff") && text.includes("cannot have said"), "the report says nothing of the run");
  const others = asked.filter((url) => !url.startsWith("data:") && url !== `file://${file}`);
  check(others.length === 0 && complaints.length === 0, `it asked for ${others}; ${complaints}`);
  if (process.env.PICTURES) await tab.screenshot({ path: `${process.env.PICTURES}/report.png` });
  await context.close();
}
