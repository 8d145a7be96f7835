// Owns the browser of the tests: Debian's Chromium on the page of a server, at 1,280 by 800,
// and what the tests ask of the page. Whatever the browser complains of fails the test.

import fs from "node:fs";
import path from "node:path";
import { chromium } from "playwright-core";

export function check(condition, message) {
  if (!condition) throw new Error(message);
}

export async function openBrowser() {
  const sandbox = process.getuid() === 0 ? ["--no-sandbox"] : [];
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: sandbox });
}

export class Page {
  complaints = [];

  static async open(browser, url, options = {}) {
    const page = new Page();
    page.pictures = process.env.PICTURES ?? null;
    page.context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
    page.tab = await page.context.newPage();
    page.tab.on("pageerror", (error) => page.complaints.push(error.message));
    page.tab.on("console", (message) => {
      // A build without what others wrote has no terminal, and says so.
      if (message.type() === "error" && !/404/.test(message.text())) page.complaints.push(message.text());
    });
    page.tab.on("request", (request) => {
      const from = new URL(request.url());
      if (from.protocol !== "data:" && from.host !== new URL(url).host) page.complaints.push(`asked ${request.url()}`);
    });
    page.tab.setDefaultTimeout(60000);
    await page.tab.goto(url);
    await page.idle();
    return page;
  }

  /// Until nothing is at work and every view shows where the machine stands.
  async idle() {
    await this.tab.waitForFunction(() => globalThis.chronovisor?.session.where && globalThis.chronovisor.jobs.idle &&
      !document.querySelector("[aria-busy]"));
  }
  /// Until what comes last is there, too: the terminal, where this build has one.
  async settled() {
    await this.idle();
    await this.tab.waitForFunction(() => globalThis.chronovisor.console.settled);
  }
  evaluate(...given) {
    return this.tab.evaluate(...given);
  }
  get position() {
    return this.evaluate(() => globalThis.chronovisor.session.where.position);
  }
  text(selector) {
    return this.tab.textContent(selector);
  }
  async picture(name) {
    if (!this.pictures) return;
    await this.settled();
    fs.mkdirSync(this.pictures, { recursive: true });
    await this.tab.screenshot({ path: path.join(this.pictures, `${name}.png`) });
  }
  async close() {
    await this.context.close();
    check(this.complaints.length === 0, `the browser complains: ${this.complaints.join("\n")}`);
  }
}
