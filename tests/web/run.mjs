// Runs the tests of the page in one browser, against servers that tests/e2e/web_page.py has
// started. usage: run.mjs JSON [PART], with what is where, and a part of a test's name.

import { openBrowser } from "./browser.mjs";
import { withKeys, withMouse } from "./culprit.mjs";
import { follow } from "./follow.mjs";
import { arithmetic, hostile, report, screen } from "./hostile.mjs";
import { noReplication, replication } from "./replication.mjs";
import { looks } from "./looks.mjs";

const { demo, door, evil, display, told, file, axe } = JSON.parse(process.argv[2]);
const tests = {
  "the culprit by the mouse": (browser) => withMouse(browser, demo),
  "the culprit by the keyboard": (browser) => withKeys(browser, demo),
  "gdb and the page follow each other": (browser) => follow(browser, demo, door),
  "every view, light and dark": (browser) => looks(browser, demo, axe),
  "hostile text": (browser) => hostile(browser, evil),
  "the timeline's arithmetic": (browser) => arithmetic(browser, evil),
  "a screen": (browser) => screen(browser, display),
  "a replicated run": async (browser) => {
    await replication(browser, display, told);
    await noReplication(browser, evil);
  },
  "a report without network": (browser) => report(browser, file),
};
const browser = await openBrowser();
let failed = 0;
for (const [name, test] of Object.entries(tests)) {
  if (!name.includes(process.argv[3] ?? "")) continue;
  const began = performance.now();
  try {
    const said = await test(browser);
    console.log(`${name}: ok${said ? ` (${said})` : ""}, ${((performance.now() - began) / 1000).toFixed(1)} s`);
  } catch (error) {
    failed++;
    console.log(`FAILED ${name}: ${error.stack}`);
  }
}
await browser.close();
process.exit(failed > 0 ? 1 : 0);
