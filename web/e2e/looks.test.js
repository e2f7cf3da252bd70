/** Light and dark, phone and wide, keyboard and screen reader, and what the first load weighs. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { facts, newPage, resolveUrl, useBrowser, viewerUrl } from "./support/browser.js";
import { at, checkStats, compare, heatmap, link, shot, visit } from "./support/viewer.js";

useBrowser();
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const MINILM = resolveUrl("org/minilm", "digests.deathtensors");
const QUERY = "encoder.layer.0.attention.self.query.weight";
/** No violation of WCAG 2.2 AA that axe-core can see. */
async function checkAccess(page, where) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() =>
    window.axe.run(document, {
      runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"],
    }),
  );
  const found = violations.map(
    ({ id, nodes }) =>
      `${id}: ${nodes.map((one) => `${one.html.slice(0, 200)} ${one.any?.[0]?.message ?? ""}`).join(" | ")}`,
  );
  assert.deepEqual(found, [], where);
}

for (const colorScheme of ["light", "dark"]) {
  test(`every view keeps WCAG AA, ${colorScheme}`, async () => {
    const { page } = await newPage({ colorScheme });
    await visit(page, { source: MINILM });
    assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), colorScheme);
    for (const tab of ["tab-tree", "tab-table", "tab-map"]) {
      await at(page, tab).click();
      await checkAccess(page, tab);
    }
    await shot(page, `file-${colorScheme}`);
    await visit(page, { source: MINILM, tensor: QUERY });
    await heatmap(page);
    for (const tab of ["tab-values", "tab-channels", "tab-details"]) {
      await at(page, tab).click();
      await page.waitForTimeout(200);
      await checkAccess(page, tab);
    }
    await shot(page, `tensor-${colorScheme}`);
    await compare(page, "old.deathtensors", "new.deathtensors");
    await checkAccess(page, "compare");
    await shot(page, `compare-${colorScheme}`);
    await page.goto(link({ source: resolveUrl("org/broken", "picture.deathtensors") }));
    await at(page, "error").first().waitFor();
    await checkAccess(page, "failure");
    await at(page, "help-button").click();
    await at(page, "help").waitFor();
    await checkAccess(page, "help");
  });
}

test("the theme can be changed, is kept, and the picture with it", async () => {
  const { page } = await newPage({ colorScheme: "light" });
  await visit(page, { source: MINILM, tensor: QUERY });
  const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const [day, picture] = [await background(), (await heatmap(page)).pixels.join()];
  await at(page, "theme-toggle").click();
  await page.waitForFunction(() => document.documentElement.dataset.theme === "dark");
  assert.notEqual(await background(), day);
  assert.notEqual((await heatmap(page)).pixels.join(), picture);
  await page.reload();
  await at(page, "tensor-page").waitFor();
  assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), "dark");
});

test("everything can be done with the keyboard alone", async () => {
  const { page } = await newPage();
  const press = (...keys) =>
    keys.reduce((done, key) => done.then(() => page.keyboard.press(key)), Promise.resolve());
  await page.goto(link({}));
  await at(page, "file-page").waitFor();
  // The box for a source is reached by Tab, and focus is seen wherever it is.
  for (let i = 0; i < 15; i++) {
    await press("Tab");
    if (await page.evaluate(() => document.activeElement.dataset.testid === "source-input")) break;
    const seen = await page.evaluate(() => {
      const style = getComputedStyle(document.activeElement);
      return style.outlineStyle !== "none" || style.boxShadow !== "none";
    });
    assert.ok(seen, "focus cannot be seen");
  }
  await press("ControlOrMeta+a");
  await page.keyboard.type(MINILM);
  await press("Enter");
  await at(page, "file-name", ':has-text("digests")').waitFor();
  await press("Escape");
  await page.evaluate(() => document.activeElement.blur());
  await press("/");
  await page.waitForFunction(() => document.activeElement.dataset.testid === "search");
  await page.keyboard.type("layer.5.output.LayerNorm.bias");
  await page.waitForTimeout(300);
  // The one that was found stands below the branches that lead to it.
  await press("ArrowDown", "End", "Enter");
  await at(page, "tensor-title", '[data-name="encoder.layer.5.output.LayerNorm.bias"]').waitFor();
  await checkStats(page, facts.minilm.measures["encoder.layer.5.output.LayerNorm.bias"]);
  await page.evaluate(() => document.activeElement.blur());
  await press("/");
  await page.waitForFunction(() => document.activeElement.dataset.testid === "search");
  await press("ControlOrMeta+a", "Delete");
  await page.evaluate(() => document.activeElement.blur());
  await press("]");
  await at(
    page,
    "tensor-title",
    ':not([data-name="encoder.layer.5.output.LayerNorm.bias"])',
  ).waitFor();
  await press("[");
  await at(page, "tensor-title", '[data-name="encoder.layer.5.output.LayerNorm.bias"]').waitFor();
  await press("?");
  await at(page, "help").waitFor();
  await press("Escape");
  await at(page, "help").waitFor({ state: "hidden" });
  await press("v");
  await at(page, "verify-status", '[data-state="sound"]').first().waitFor({ timeout: 60_000 });
});

test("on a phone nothing is lost and nothing sticks out", async () => {
  const { page } = await newPage({
    viewport: { width: 360, height: 740 },
    hasTouch: true,
    isMobile: true,
  });
  // Not against innerWidth, which grows with what sticks out.
  const checkWidth = async (where) => {
    const out = await page.evaluate((width) => {
      if (document.documentElement.scrollWidth <= width) return [];
      const wide = [...document.querySelectorAll("body *")].filter(
        (one) => one.getBoundingClientRect().right > width + 1,
      );
      return wide.slice(0, 5).map((one) => one.outerHTML.slice(0, 80));
    }, 360);
    assert.deepEqual(out, [], `${where} is wider than a screen of 360`);
  };
  await visit(page, { source: MINILM });
  await checkWidth("the file's page");
  await shot(page, "phone-file");
  await at(page, "drawer-toggle").click();
  await at(page, "tab-table").click();
  await at(page, "search").fill("layer.5.output.LayerNorm.bias");
  await shot(page, "phone-drawer");
  await at(page, "table-row").first().click();
  await at(page, "tensor-page").waitFor();
  await checkStats(page, facts.minilm.measures["encoder.layer.5.output.LayerNorm.bias"]);
  await checkWidth("a tensor's page");
  await visit(page, { source: MINILM, tensor: QUERY });
  await heatmap(page);
  await checkWidth("a tensor's page");
  await shot(page, "phone-tensor");
  await compare(page, "old.deathtensors", "new.deathtensors");
  await checkWidth("the comparison");
  await shot(page, "phone-compare");
  await checkAccess(page, "phone");
});

test("wide screens are used", async () => {
  const { page } = await newPage({ viewport: { width: 2200, height: 1200 } });
  await visit(page, { source: MINILM, tensor: QUERY });
  await heatmap(page);
  await shot(page, "wide");
});

test("the first load is at most 300 KB gzipped", async () => {
  const { page, requests } = await newPage();
  await page.goto(viewerUrl);
  await at(page, "file-page").waitFor();
  await page.waitForTimeout(300);
  let total = 0;
  let sample = 0;
  const lines = [];
  for (const url of new Set(
    requests.map((one) => one.url()).filter((one) => one.startsWith(viewerUrl)),
  )) {
    const body = Buffer.from(await (await fetch(url)).arrayBuffer());
    const size = gzipSync(body, { level: 9 }).length;
    if (url.endsWith(".deathtensors")) sample += size;
    else total += size;
    lines.push(
      `#   ${url.slice(viewerUrl.length) || "index.html"}: ${body.length}, gzipped ${size}`,
    );
  }
  console.log(
    [`# first load: ${total} bytes gzipped, and ${sample} of the sample`, ...lines].join("\n"),
  );
  assert.ok(total <= 300_000, `${total} bytes`);
});
