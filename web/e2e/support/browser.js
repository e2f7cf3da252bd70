import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach } from "node:test";
import { chromium } from "playwright-core";
import { FLAGS } from "./chromium.js";
import { steering } from "./hub.js";

if (!process.env.E2E) throw new Error("run these tests with: npm run e2e --prefix web");

/** What `run.js` started and made. */
export const shared = JSON.parse(process.env.E2E);
export const facts = shared.facts;
export const hub = steering(shared.hub);
export const viewerUrl = `${shared.site}/some/where/`;

let browser;
const open = new Set();

/**
 * A page of its own for each test of a file. After each, it is checked that no request went to
 * anyone but the site and the Hub, that nothing was thrown, and that the policy was kept.
 */
export function useBrowser() {
  before(async () => {
    browser = await chromium.launch({ executablePath: shared.chromium, args: FLAGS });
  });
  after(() => browser?.close());
  beforeEach(() => hub.reset());
  afterEach(async () => {
    const pages = [...open];
    open.clear();
    for (const { context } of pages) await context.close();
    for (const { strangers, faults } of pages) {
      for (const one of faults) console.log(`# ${one}`);
      assert.deepEqual(strangers, [], "requests to a third party");
      assert.deepEqual(faults, [], "faults of the page");
    }
  });
}

/**
 * A new page. `allowed` are patterns of faults that the test causes on purpose, `known` origins
 * that it may ask.
 */
export async function newPage({ allowed = [], known: more = [], ...options } = {}) {
  const context = await browser.newContext({
    viewport: { width: 1280, height: 800 },
    reducedMotion: "reduce",
    ...options,
  });
  const page = await context.newPage();
  page.setDefaultTimeout(10_000);
  const strangers = [];
  const faults = [];
  const requests = [];
  const known = [shared.site, hub.hub, hub.cdn, ...more];
  context.on("request", (request) => {
    const url = request.url();
    requests.push(request);
    const local = /^(blob|data|about):/.test(url);
    if (!local && !known.includes(new URL(url).origin)) strangers.push(url);
  });
  const fault = (text) => {
    if (!allowed.some((pattern) => pattern.test(text))) faults.push(text);
  };
  page.on("pageerror", (error) => fault(`thrown: ${error.stack ?? error}`));
  page.on("console", (message) => {
    // What a server refuses is the test's own doing, and Chromium writes it down.
    if (
      message.type() === "error" &&
      !/^Failed to load resource|blocked by CORS/.test(message.text())
    )
      fault(`console: ${message.text()}`);
  });
  open.add({ context, strangers, faults });
  return { page, context, requests };
}

/** The file of a repository of the Hub, as an address. */
export function resolveUrl(repo, path, revision = "main") {
  return `${hub.hub}/${repo}/resolve/${revision}/${path}`;
}
