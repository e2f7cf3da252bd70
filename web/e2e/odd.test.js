/** Values, names, files and circumstances at the ends of what there can be. */

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { safetensors, shardIndex } from "../test/files.js";
import { hub, newPage, resolveUrl, shared, useBrowser, viewerUrl } from "./support/browser.js";
import {
  at,
  failure,
  fixturePath,
  heatmap,
  link,
  number,
  shot,
  value,
  visit,
} from "./support/viewer.js";

useBrowser();
const ZOO = resolveUrl("org/zoo", "zoo.deathtensors");
const MINILM = resolveUrl("org/minilm", "digests.deathtensors");

/** A page with a file of this machine that holds these tensors, open at the first. */
async function pick(tensors, options) {
  const { page } = await newPage(options);
  await page.goto(viewerUrl);
  await at(page, "file-page").waitFor();
  await at(page, "file-picker").setInputFiles(upload("odd.safetensors", tensors));
  await at(page, "file-name", ':has-text("odd.safetensors")').waitFor();
  const show = async (name) => {
    await page.evaluate((name) => {
      const row = (hook) => document.querySelectorAll(`[data-testid="${hook}"]`);
      [...row("tree-row")].find((one) => one.dataset.name === name)?.click();
    }, name);
    await page.waitForFunction(
      (name) => document.querySelector('[data-testid="tensor-title"]')?.dataset.name === name,
      name,
    );
  };
  await show(tensors[0][0]);
  return { page, show };
}

const upload = (name, tensors) => ({ name, mimeType: "", buffer: safetensors(tensors) });
const floats = (...values) => Float32Array.from(values);
const cells = (page) =>
  at(page, "value-cell", "[data-value]").evaluateAll((all) =>
    all.map(({ dataset, textContent }) => [dataset.value, textContent.replaceAll("\u202f", "")]),
  );

// --- values

test("64-bit integers are shown to the last digit, in table, picture and differences", async () => {
  const ids = BigInt64Array.of(2n ** 53n + 1n, 2n ** 62n + 1n, -(2n ** 63n), 3n);
  const { page } = await pick([["ids", "I64", [2, 2], ids]]);
  await at(page, "value-cell", '[data-value="4611686018427387905"]').waitFor();
  await at(page, "values-grid", '[data-long="true"]').waitFor();
  assert.deepEqual(await cells(page), [
    ["9007199254740993", "9007199254740993"],
    ["4611686018427387905", "4611686018427387905"],
    ["-9223372036854775808", "−9223372036854775808"],
    ["3", "3"],
  ]);
  await heatmap(page);
  await at(page, "heatmap").focus();
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowRight");
  assert.equal(await value(page, "heatmap-value"), "4611686018427387905");
  await shot(page, "integers");
  const others = BigInt64Array.from(ids, (one, i) => one + BigInt(i === 1));
  await at(page, "compare-button").click();
  await at(page, "compare-picker").setInputFiles(
    upload("b.safetensors", [["ids", "I64", [2, 2], others]]),
  );
  await at(page, "diff-row", '[data-kind="values"]').locator("button").click();
  await at(page, "heatmap-mode").waitFor();
  await heatmap(page);
  await at(page, "heatmap").focus();
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowRight");
  assert.equal(await number(page, "heatmap-value"), 1);
});

test("values at the ends of what doubles hold are measured and drawn", async () => {
  const tensors = [
    ["ends", "F64", [2, 2], Float64Array.of(1.79e308, -1.79e308, 5e-324, 0)],
    ["nan", "F32", [2, 2], floats(NaN, NaN, NaN, NaN)],
    ["inf", "F32", [2], floats(Infinity, -Infinity)],
    ["same", "F32", [2, 2], floats(-7, -7, -7, -7)],
    ["cell", "F32", [], floats(2.5)],
    ["none", "F32", [4, 0, 3], floats()],
    ["deep", "F32", Array(64).fill(1), floats(1)],
    ["complex", "C64", [2], floats(3, 4, 0, 1)],
  ];
  const { page, show } = await pick(tensors);
  for (const [name] of tensors) {
    await show(name);
    if (name !== "none") await heatmap(page);
    if (name === "ends") {
      await at(page, "histogram").waitFor();
      assert.equal(await number(page, "stat-max"), 1.79e308);
    }
    if (name === "nan") assert.equal(await number(page, "stat-nan"), 4);
    if (name === "complex") assert.match(await at(page, "tensor-page").textContent(), /magnitude/);
    if (name === "deep") assert.equal(await at(page, "index-0").count(), 0);
    await at(page, "tab-channels").click();
    await at(page, "tab-details").click();
    assert.equal(await at(page, "error").count(), 0, name);
  }
});

test("no table sticks out of a phone", async () => {
  const tensors = [
    ["a", "F32", [1000], new Float32Array(1000)],
    ["b", "C64", [84], new Uint8Array(672)],
    ["c", "BOOL", [400], new Uint8Array(400)],
  ];
  const { page } = await pick(tensors, { viewport: { width: 360, height: 740 } });
  await at(page, "drawer-toggle").click();
  await at(page, "file-button").click();
  await at(page, "dtype-distribution").waitFor();
  const right = await at(page, "dtype-distribution").evaluate(
    (table) => table.getBoundingClientRect().right,
  );
  assert.ok(right <= 360, `it ends at ${right}`);
});

// --- the picture is moved and zoomed

test("the picture is dragged, zoomed and moved by keys, and a link restores where it is", async () => {
  const [rows, columns] = [1000, 2000];
  const values = Float32Array.from({ length: rows * columns }, (_, i) => i % 9973);
  const { page } = await pick([["large", "F32", [rows, columns], values]]);
  const seen = async () => {
    const { rowStart, rowStep, columnStart, columnStep, rows, columns } = await heatmap(page);
    return { rowStart, rowStep, columnStart, columnStep, rows, columns };
  };
  const changed = async (work) => {
    const [before, shown] = [page.url(), await seen()];
    await work();
    await page.waitForFunction((before) => location.href !== before, before);
    // The address of the step before may have come late: this step is over when it is shown.
    for (;;) {
      const now = await seen();
      if (!isDeepStrictEqual(now, shown)) return now;
      await page.waitForTimeout(20);
    }
  };
  assert.deepEqual((({ rowStep, columnStep }) => [rowStep, columnStep])(await seen()), [3, 4]);
  let now = await changed(() => at(page, "zoom-in").click());
  assert.deepEqual([now.rowStart, now.rowStep, now.columnStart], [250, 2, 500]);
  for (let i = 0; i < 5; i++) now = await changed(() => at(page, "zoom-in").click());
  assert.equal(now.columnStep, 1);
  const canvas = at(page, "heatmap");
  await canvas.scrollIntoViewIfNeeded();
  const box = await canvas.boundingBox();
  const cell = box.width / now.columns;
  const before = now;
  now = await changed(async () => {
    await page.mouse.move(box.x + 8 * cell, box.y + 3 * cell);
    await page.mouse.down();
    await page.mouse.move(box.x + 3 * cell, box.y + 5 * cell, { steps: 4 });
    await page.mouse.up();
  });
  assert.deepEqual([now.rowStart - before.rowStart, now.columnStart - before.columnStart], [-2, 5]);
  await canvas.focus();
  now = await changed(() => page.keyboard.press("Shift+ArrowDown"));
  assert.equal(now.rowStart, before.rowStart - 2 + Math.floor(before.rows / 2));
  const wide = await changed(() => page.keyboard.press("-"));
  assert.ok(wide.columns > now.columns);
  await page.mouse.move(box.x + 2, box.y + 2);
  await page.keyboard.down("Control");
  const close = await changed(() => page.mouse.wheel(0, -120));
  await page.keyboard.up("Control");
  assert.ok(close.columns < wide.columns);
  await page.mouse.move(box.x + 1.5, box.y + 1.5);
  await at(page, "heatmap-value", "[data-value]").waitFor();
  const [row, column] = await at(page, "heatmap-value").evaluate(({ dataset }) => [
    Number(dataset.row),
    Number(dataset.column),
  ]);
  assert.equal(await number(page, "heatmap-value"), values[row * columns + column]);
  await shot(page, "zoomed");
});

// --- circumstances

test("verifying reads every byte once, and says so in the meter", async () => {
  const { page } = await newPage();
  await visit(page, { source: MINILM });
  await at(page, "verify-button").first().click();
  await at(page, "verify-status", '[data-state="sound"]').waitFor({ timeout: 60_000 });
  await page.waitForTimeout(300);
  const size = await number(page, "fact-size");
  const bytes = await number(page, "meter-bytes");
  // The header came with the opening, and is the only thing that may have been let go.
  assert.ok(bytes <= size + (64 << 10), `${bytes} of ${size} bytes`);
  assert.ok((await number(page, "meter-requests")) < 20);
});

test("opening that was cancelled says so, and can be taken up again", async () => {
  const { page } = await newPage();
  await hub.fail({ delay: 20, times: null });
  await page.goto(link({ source: ZOO }));
  await at(page, "opening").waitFor();
  await at(page, "cancel").first().click();
  await at(page, "given-up").waitFor();
  await fetch(`${hub.hub}/__test__/faults`, { method: "DELETE" });
  await at(page, "given-up").locator("button").click();
  await at(page, "file-page").waitFor();
  assert.equal(await at(page, "given-up").count(), 0);
});

test("offline is said once, and passes", async () => {
  const { page, context } = await newPage();
  await visit(page, { source: MINILM });
  await context.setOffline(true);
  await at(page, "tree-row", "[data-name]").first().click();
  const { code } = await failure(page);
  assert.equal(code, "network.offline");
  assert.equal(await at(page, "error").count(), 1);
  await context.setOffline(false);
  await at(page, "again").click();
  await heatmap(page);
  assert.equal(await at(page, "error").count(), 0);
});

test("reading a tensor is cancelled, and begun again", async () => {
  const { page } = await newPage();
  await visit(page, { source: MINILM });
  await hub.fail({ origin: "cdn", pace: 20_000, times: null });
  await at(page, "tree-row", "[data-name]").first().click();
  await at(page, "cancel").first().click();
  await at(page, "again").waitFor();
  await fetch(`${hub.hub}/__test__/faults`, { method: "DELETE" });
  await at(page, "again").click();
  await heatmap(page);
});

test("where no worker may be started, the page does the work itself", async () => {
  const { page } = await newPage({ allowed: [/Content Security Policy/] });
  await page.route(viewerUrl, async (route) => {
    const response = await route.fetch();
    const body = (await response.text()).replace("worker-src 'self' blob:", "worker-src 'none'");
    await route.fulfill({ response, body });
  });
  // The page's own sample, since requests to others do not pass through a page that is rewritten.
  await page.goto(link({ tensor: "vision.filters" }));
  await heatmap(page);
  await at(page, "file-button").click();
  await at(page, "verify-button").first().click();
  await at(page, "verify-status", '[data-state="sound"]').waitFor();
});

test("another file may be asked for while one is on its way", async () => {
  const { page } = await newPage();
  await hub.fail({ path: "digests", delay: 1.5, times: null });
  await page.goto(link({ source: MINILM }));
  await at(page, "opening").waitFor();
  await at(page, "source-input").fill(ZOO);
  await at(page, "open-button").click();
  await at(page, "file-name", ':has-text("zoo")').waitFor();
  await page.waitForTimeout(2000);
  assert.match(await at(page, "file-name").textContent(), /zoo/);
  await page.goBack();
  await at(page, "file-name", ':has-text("digests")').waitFor();
});

// --- drops

test("two files are compared, shards open by their index, a link is followed", async () => {
  const { page } = await newPage();
  await page.goto(viewerUrl);
  await at(page, "file-page").waitFor();
  const picker = at(page, "file-picker");
  await picker.setInputFiles(["old", "new"].map((one) => fixturePath(`pair/${one}.deathtensors`)));
  await at(page, "diff-summary", '[data-equal="false"]').waitFor();
  const shards = [
    ["m-00001-of-00002.safetensors", ["a"]],
    ["m-00002-of-00002.safetensors", ["b"]],
  ];
  const index = { name: "m.safetensors.index.json", mimeType: "", buffer: shardIndex(shards) };
  const parts = shards.map(([file, [name]]) => upload(file, [[name, "F32", [1], floats(1)]]));
  await picker.setInputFiles([...parts, index]);
  await at(page, "file-name", ':has-text("m.safetensors.index.json")').waitFor();
  assert.equal(await number(page, "fact-tensors"), 2);
  await picker.setInputFiles([parts[0], index]);
  const { text } = await failure(page);
  assert.match(text, /m-00002-of-00002/);
  const transfer = await page.evaluateHandle((link) => {
    const transfer = new DataTransfer();
    transfer.setData("text/uri-list", link);
    return transfer;
  }, ZOO);
  await at(page, "drop-zone").dispatchEvent("drop", { dataTransfer: transfer });
  await at(page, "file-name", ':has-text("zoo")').waitFor();
});

// --- what must be refused

test("every refused conformance vector is refused in the page, with its code", async () => {
  const { page } = await newPage();
  await page.goto(viewerUrl);
  await at(page, "file-page").waitFor();
  const folder = join(shared.root, "tests/vectors/refused");
  const names = readdirSync(folder).filter((name) => name.endsWith(".deathtensors"));
  assert.ok(names.length > 200);
  const wrong = [];
  for (const name of names) {
    const { code } = JSON.parse(
      readFileSync(join(folder, name.replace(".deathtensors", ".json")), "utf8"),
    );
    await at(page, "file-picker").setInputFiles(join(folder, name));
    await page.waitForFunction((name) => {
      const say = (hook) => document.querySelector(`[data-testid="${hook}"]`);
      return say("error")?.textContent.includes(name) || say("file-name")?.textContent === name;
    }, name);
    if ((await at(page, "error").count()) === 0) {
      await at(page, "verify-button").click();
      await page.waitForFunction(() =>
        document.querySelector('[data-testid="verify-errors"], [data-testid="error"]'),
      );
    }
    const codes = await page.evaluate(() =>
      [...document.querySelectorAll("[data-code]")].map((one) => one.dataset.code),
    );
    if (!codes.includes(code)) wrong.push(`${name}: ${codes} instead of ${code}`);
  }
  assert.deepEqual(wrong, []);
});
