// The demo's culprit, found by the mouse alone in under ten clicks, and by the keyboard alone.
// From the check that failed to who stored the reading, to who destroyed the pointer.

import { check, Page } from "./browser.mjs";

const kReadings = 32;  // of struct channel, in demo/gateway/channel.h
const kSlot = 3;       // the reading that the console complains of

async function isCulprit(page) {
  const said = await page.text("#status");
  check(/written by copy_text/.test(said), `that is no culprit: ${said}`);
  check(/copy_text/.test(await page.text("#whereabouts")), "the machine stands elsewhere");
}

export async function withMouse(browser, url) {
  const page = await Page.open(browser, url);
  // Of a recording as long as this one not all is looked at yet, and that can be seen.
  check(await page.tab.locator("#strip-filling").isVisible(), "nothing says that rows are still being filled in");
  let clicks = 0;
  const click = async (what) => {
    await what.click();
    clicks++;
    await page.idle();
  };
  const { tab } = page;
  const byte = async (offset) => {
    const first = await tab.locator("#memory th").first().textContent();
    const shown = await tab.inputValue("#memory-address");
    return tab.locator(`#memory td[data-byte="${Number(shown) - parseInt(first, 16) + offset}"]`);
  };
  await click(tab.getByRole("tab", { name: "Symbols" }));
  await page.picture("symbols");
  // The check that failed was made once.
  await click(tab.getByRole("button", { name: "Last time: when was audit_failed executed last?" }));
  check((await page.text("#code")).includes("static void audit_failed(const struct channel* channel"), "the code has no lines of source");
  await click(tab.locator('[data-register="rdi"]'));
  await page.picture("channel");
  // Its first pointer are the readings.
  await click(tab.locator("#memory .leads button").first());
  await click(await byte(4 * kSlot));
  await click(tab.getByRole("button", { name: "Who wrote this?" }));
  check(/written by channel_store/.test(await page.text("#status")), "the reading was stored by another");
  await page.picture("who-wrote-this");
  await click(tab.locator('[data-register="rdi"]'));
  await click(await byte(kReadings));
  await click(tab.getByRole("button", { name: "Who wrote this?" }));
  await isCulprit(page);
  // What is said beside that speaks of the machine, or says what it is of.
  await page.tab.waitForFunction(() => /^here: [\d,]+, user · (in the|sample of) [\d,]+ steps? from [\d,]+: /
    .test(document.querySelector("#strip-readout").textContent));
  check(/user/.test(await page.text("#whereabouts")), "the title says something else");
  check(/keeps no frame pointer/.test(await page.text("#stack")), "the stack does not say why it ends");
  await page.picture("culprit");
  check(clicks < 10, `it took ${clicks} clicks`);
  await page.close();
  return clicks;
}

export async function withKeys(browser, url) {
  const page = await Page.open(browser, url);
  const { keyboard } = page.tab;
  let keys = 0;
  const press = async (...all) => {
    for (const key of all) {
      await keyboard.press(key);
      keys++;
    }
    await page.idle();
  };
  const type = async (text) => {
    await keyboard.type(text);
    keys += text.length;
  };
  await press("End", "/");
  await type("audit_failed");
  await press("Enter");
  await page.tab.waitForFunction(() => document.querySelector("#status").textContent !== "");
  await page.idle();
  check(/audit_failed/.test(await page.text("#whereabouts")), `not there: ${await page.text("#status")}`);
  const follow = async (register) => {
    const value = await page.text(`[data-register="${register}"]`);
    await press("Escape", "m");
    await type(value);
    await press("Enter");
  };
  await follow("rdi");
  // Down to the pointer, along it, right to the reading.
  await press("ArrowDown", "ArrowDown", "ArrowDown", "ArrowDown", "Enter");
  await press("f");
  for (let n = 0; n < 6 && !(await inMemory(page)); n++) await press("f");
  for (let n = 0; n < kSlot; n++) await press("ArrowRight");
  await press("w");
  check(/written by channel_store/.test(await page.text("#status")), `stored by another: ${await page.text("#status")}`);
  await follow("rdi");
  await press("ArrowDown", "ArrowDown", "ArrowDown", "ArrowDown", "w");
  await isCulprit(page);
  await press("t");
  await page.picture("culprit-dark");
  await page.close();
  return keys;
}

function inMemory(page) {
  return page.evaluate(() => document.activeElement.dataset.byte !== undefined);
}
