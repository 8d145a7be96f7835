// Every view is shown once, in light and in dark: axe-core finds nothing to complain of, all
// of it fits 1,280 by 800, and pictures are kept for whoever looks at them.

import fs from "node:fs";
import { check, Page } from "./browser.mjs";

const kTabs = ["Console", "Screen", "Kernel log", "Tasks", "Symbols", "Found", "Breakpoints", "Bookmarks", "About"];

/// Of rows that look alike, the first ones are looked at; the others are out of the page
/// meanwhile, since axe-core goes through all that is there.
async function axeIsContent(page, where, rules) {
  const found = await page.evaluate(async ([within, only]) => {
    const alike = [...document.querySelectorAll("tbody tr:nth-child(n+9)")].filter((row) => !row.className.trim());
    const places = alike.map((row) => {
      const place = document.createComment("");
      row.replaceWith(place);
      return [place, row];
    });
    const { violations } = await globalThis.axe.run({ include: [document.querySelector(within)] },
      { resultTypes: ["violations"], ...(only ? { runOnly: only } : {}) });
    for (const [place, row] of places) place.replaceWith(row);
    return violations.map((one) => `${one.id}: ${one.nodes[0].html} ${one.nodes[0].failureSummary}`);
  }, [where, rules]);
  check(found.length === 0, `${where}: ${found.join("\n")}`);
}

/// Nearby every system call is counted, and has the name that the kernel has for it.
async function systemCalls(page) {
  await page.tab.keyboard.press("z");
  await page.tab.waitForFunction(() => [...document.querySelectorAll("#strip-labels li")].some((row) => row.textContent === "system calls"));
  const names = await page.evaluate(async () => {
    const { end } = globalThis.chronovisor.session.info;
    const { samples } = await globalThis.chronovisor.rpc.call("activity", { from: String(end - 2e6), to: "end", bins: 4 });
    return samples.flatMap((sample) => sample.calls.map((call) => call.name));
  });
  check(names.length > 0 && !names.includes(null), `system calls are called ${names}`);
  await page.picture("system-calls");
}

export async function looks(browser, url, axe) {
  const page = await Page.open(browser, url);
  const { tab } = page;
  await page.evaluate(fs.readFileSync(axe, "utf8"));
  await page.evaluate(() => globalThis.chronovisor.session.seek("end"));
  // A breakpoint and a bookmark, so that their lists are seen with something in them.
  await tab.keyboard.press("b");
  await tab.keyboard.press("k");
  await tab.keyboard.type("<b>the end</b>");
  await tab.keyboard.press("Enter");
  await page.evaluate(() => globalThis.chronovisor.search.run({ kind: "values", address: "system_state", length: 4 }));
  await tab.keyboard.press("/");
  await tab.keyboard.type("audit");
  await page.idle();
  for (const theme of ["light", "dark"]) {
    for (const name of kTabs) {
      await tab.getByRole("tab", { name: new RegExp(`^${name}`) }).click();
      await page.idle();
      if (theme === "light" || name === "Found") await page.picture(`${name.toLowerCase().replace(" ", "-")}-${theme}`);
      // The whole page once, then the part that changes; in the other theme the colours.
      await axeIsContent(page, name === kTabs[0] ? "body" : `[role="tabpanel"]:not([hidden])`, theme === "dark" ? ["color-contrast"] : null);
    }
    await tab.keyboard.press("?");
    await page.picture(`help-${theme}`);
    await axeIsContent(page, "#help", theme === "dark" ? ["color-contrast"] : null);
    await tab.getByRole("button", { name: "Close" }).click();
    await tab.locator("#theme").click();
  }
  await systemCalls(page);
  const overflow = await page.evaluate(() => [document.documentElement.scrollWidth - innerWidth, document.documentElement.scrollHeight - innerHeight]);
  check(overflow.every((pixels) => pixels <= 0), `the page is larger than the window by ${overflow}`);
  await page.close();
}
