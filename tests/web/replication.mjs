// The tab of a replicated run: it is there where the server has somebody to ask, says how the
// run stands, and when that is not known any more.

import fs from "node:fs";
import { check, Page } from "./browser.mjs";

/// `told`: the file whose text the run's control socket answers with.
export async function replication(browser, url, told) {
  const run = JSON.parse(fs.readFileSync(told, "utf8"));
  const page = await Page.open(browser, url);
  await page.tab.getByRole("tab", { name: "Replication" }).click();
  const says = (text) => page.tab.waitForFunction((wanted) =>
    document.getElementById("panel-replication").textContent.includes(wanted), text);
  await says("Primary, guarded: a backup holds the log");
  await says("18,077 made, 18,070 have left, 7 wait");
  check((await page.tab.getByRole("table", { name: "Backups" }).textContent()).includes("unix:/run/b"), "its backup is not shown");
  await page.picture("replication");
  fs.writeFileSync(told, JSON.stringify({ ...run, state: "claiming", reason: "500 ms of silence" }));
  await says("Primary, claiming: 500 ms of silence");
  fs.writeFileSync(told, "no JSON");
  await says("It is not known how the run stands");
  await page.close();
}

export async function noReplication(browser, url) {
  const page = await Page.open(browser, url);
  check((await page.tab.getByRole("tab", { name: "Replication" }).count()) === 0, "a tab of a run that nobody has named");
  await page.close();
}
