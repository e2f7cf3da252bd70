/** Finding a tensor, and looking at its values. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { facts, hub, newPage, resolveUrl, useBrowser } from "./support/browser.js";
import {
  at,
  checkHistogram,
  checkPixels,
  checkStats,
  expand,
  heatmap,
  link,
  number,
  openTensor,
  rawValues,
  rowNames,
  shot,
  value,
  visit,
} from "./support/viewer.js";

useBrowser();
const { minilm, zoo } = facts;
const ZOO = resolveUrl("org/zoo", "zoo.deathtensors");
const QUERY = "encoder.layer.0.attention.self.query.weight";

// --- finding

test("search finds by words and says how many", async () => {
  const { page } = await newPage();
  await visit(page, { source: resolveUrl("org/minilm", "plain.deathtensors") });
  await at(page, "tab-table").click();
  await at(page, "search").fill("query.weight");
  await page.waitForFunction(
    () => document.querySelectorAll('[data-testid="table-row"]').length === 6,
  );
  const names = await rowNames(page);
  assert.ok(names.every((name) => name.includes("query.weight")));
  assert.match(await at(page, "search-count").textContent(), /6/);
});

test("a dtype filter leaves that dtype only", async () => {
  const { page } = await newPage();
  await visit(page, { source: resolveUrl("org/minilm", "plain.deathtensors") });
  await at(page, "tab-table").click();
  await at(page, "dtype-chip", '[data-dtype="I64"]').click();
  await page.waitForFunction(
    () => document.querySelectorAll('[data-testid="table-row"]').length === 1,
  );
  assert.deepEqual(await rowNames(page), ["embeddings.position_ids"]);
});

test("columns sort both ways, and numbers in names sort as numbers", async () => {
  const { page } = await newPage();
  await visit(page, { source: ZOO });
  await at(page, "tab-table").click();
  await at(page, "sort-bytes").click();
  const first = (await rowNames(page))[0];
  await at(page, "sort-bytes").click();
  const last = (await rowNames(page))[0];
  assert.deepEqual([first, last].sort(), ["empty", "positive"]);
  await at(page, "sort-name").click();
  let names = await rowNames(page);
  if (names[0] === "positive") {
    await at(page, "sort-name").click();
    names = await rowNames(page);
  }
  const [two, ten] = [names.indexOf("layer.2.w"), names.indexOf("layer.10.w")];
  assert.ok(two >= 0 && ten >= 0);
  assert.equal(Math.abs(two - ten), 1);
  const ascending = names.indexOf("brain") < names.indexOf("scalar");
  assert.equal(two < ten, ascending, "layer.10 does not follow layer.2");
});

test("the tree opens along dotted names", async () => {
  const { page } = await newPage();
  await visit(page, { source: resolveUrl("org/minilm", "plain.deathtensors") });
  await at(page, "tab-tree").click();
  await expand(page, "embeddings");
  await expand(page, "embeddings.LayerNorm");
  await at(page, "tree-row", '[data-name="embeddings.LayerNorm.weight"]').click();
  await at(page, "tensor-title", '[data-name="embeddings.LayerNorm.weight"]').waitFor();
  await checkStats(page, minilm.measures["embeddings.LayerNorm.weight"]);
});

// --- figures

for (const file of ["plain.deathtensors", "digests.deathtensors", "model.safetensors"]) {
  test(`figures of a real weight agree with NumPy's: ${file}`, async () => {
    const { page } = await newPage();
    await visit(page, { source: resolveUrl("org/minilm", file) });
    await openTensor(page, QUERY);
    await checkStats(page, minilm.measures[QUERY]);
    await checkHistogram(page, minilm.measures[QUERY]);
    const picture = await heatmap(page);
    checkPixels(picture, rawValues(minilm.raw[QUERY]));
    assert.equal(picture.map, "diverging");
    await shot(page, `tensor-${file}`);
  });
}

test("a large tensor is sampled, says so, and is read whole on request", async () => {
  const { page } = await newPage();
  const name = "embeddings.word_embeddings.weight";
  await visit(page, { source: resolveUrl("org/minilm", "digests.deathtensors"), tensor: name });
  await at(page, "sample-share").first().waitFor();
  const share = await number(page, "sample-share");
  assert.ok(share > 0 && share < 1, `the share is ${share}`);
  const sampled = await number(page, "meter-bytes");
  assert.ok(sampled < 20e6, `${sampled} bytes for a sample`);
  await at(page, "read-all").first().click();
  const all = `[data-value="${minilm.measures[name].count}"]`;
  await at(page, "stat-count", all).waitFor({ timeout: 60_000 });
  await checkStats(page, minilm.measures[name]);
  await checkHistogram(page, minilm.measures[name]);
});

for (const name of Object.keys(zoo.measures)) {
  test(`figures agree with NumPy's: ${name}`, async () => {
    const { page } = await newPage();
    await visit(page, { source: ZOO, tensor: name });
    await checkStats(page, zoo.measures[name]);
    if (
      !["scalar", "constant", "large"].includes(name) &&
      zoo.measures[name].min !== zoo.measures[name].max
    ) {
      await checkHistogram(page, zoo.measures[name]);
    }
  });
}

test("a tensor without elements says so", async () => {
  const { page } = await newPage();
  await visit(page, { source: ZOO, tensor: "empty" });
  assert.match(
    await at(page, "tensor-page").textContent(),
    /0\s*×\s*4|empty|no (values|elements)/i,
  );
});

// --- the heatmap

test("any slice of three dimensions can be seen, and its link restores it", async () => {
  const { page } = await newPage();
  await visit(page, { source: ZOO, tensor: "cube", axes: "0,2", index: "0,7,0" });
  const value_ = rawValues(zoo.raw.cube);
  const picture = await heatmap(page);
  assert.deepEqual([picture.rows, picture.columns], [5, 20]);
  checkPixels(picture, (row, column) => value_(row, 7, column));
  await at(page, "index-1").fill("3");
  await at(page, "index-1").press("Enter");
  await page.waitForFunction(() => /index=[^&]*3/.test(location.hash));
  const address = page.url();
  assert.match(address, /tensor=cube/);
  const { page: second } = await newPage();
  await second.goto(address);
  checkPixels(await heatmap(second), (row, column) => value_(row, 3, column));
  await at(second, "tensor-title", '[data-name="cube"]').waitFor();
});

test("the value under the pointer is the value", async () => {
  const { page } = await newPage();
  await visit(page, { source: ZOO, tensor: "positive" });
  const picture = await heatmap(page);
  assert.equal(picture.map, "sequential");
  const values = rawValues(zoo.raw.positive);
  checkPixels(picture, values);
  await at(page, "heatmap").scrollIntoViewIfNeeded();
  const box = await at(page, "heatmap").boundingBox();
  for (const [row, column] of [
    [0, 0],
    [10, 50],
    [63, 63],
  ]) {
    await page.mouse.move(
      box.x + ((column + 0.5) * box.width) / picture.columns,
      box.y + ((row + 0.5) * box.height) / picture.rows,
    );
    await at(page, "heatmap-value", `[data-row="${row}"][data-column="${column}"]`).waitFor();
    assert.equal(await number(page, "heatmap-value"), values(row, column));
  }
});

test("NaN and infinities have colours that nothing else has", async () => {
  const { page } = await newPage();
  await visit(page, { source: ZOO, tensor: "odd" });
  const places = checkPixels(await heatmap(page), rawValues(zoo.raw.odd));
  const others = new Set(
    [...places].filter(([key]) => typeof key === "number").flatMap(([, seen]) => seen.map(String)),
  );
  const special = ["NaN", "Infinity", "-Infinity"].map((key) => String(places.get(key)[0]));
  assert.equal(new Set(special).size, 3);
  for (const one of special) assert.ok(!others.has(one));
});

test("the table of values, statistics of rows, and a download agree with NumPy", async () => {
  const { page } = await newPage();
  await visit(page, { source: ZOO, tensor: "cube" });
  await at(page, "tab-values").click();
  const cell = at(page, "value-cell", '[data-row="2"][data-column="3"]').first();
  await cell.waitFor();
  const values = rawValues(zoo.raw.cube);
  const found = Number(await cell.getAttribute("data-value"));
  const first = [0, 0, 0];
  const candidates = [values(0, 2, 3), values(2, 3, 0), values(2, 0, 3)];
  assert.ok(candidates.includes(found), `${found} is at none of ${candidates}; ${first}`);
  await at(page, "tab-channels").click();
  await at(page, "channels").waitFor();
  for (const [name, path] of Object.entries(zoo.npy)) {
    if (name !== "cube") await openTensor(page, name);
    const [download] = await Promise.all([
      page.waitForEvent("download"),
      at(page, "npy-button").click(),
    ]);
    assert.match(download.suggestedFilename(), /\.npy$/);
    assert.deepEqual(npy(readFileSync(await download.path())), npy(readFileSync(path)), name);
  }
});

/** The parts of a .npy file that carry meaning. */
function npy(bytes) {
  assert.equal(bytes.subarray(0, 6).toString("latin1"), "\x93NUMPY");
  const wide = bytes[6] > 1;
  const length = wide ? bytes.readUInt32LE(8) : bytes.readUInt16LE(8);
  const start = (wide ? 12 : 10) + length;
  const header = bytes.subarray(wide ? 12 : 10, start).toString("latin1");
  const say = (pattern) => pattern.exec(header)[1].replace(/\s/g, "").replace(/,\)$/, ")");
  return {
    descr: say(/'descr':\s*('[^']*')/),
    order: say(/'fortran_order':\s*(\w+)/),
    shape: say(/'shape':\s*(\([^)]*\))/),
    data: bytes.subarray(start).toString("hex"),
  };
}

// --- moving around

test("back and forward move between tensors, and brackets to the next", async () => {
  const { page } = await newPage();
  await visit(page, { source: ZOO });
  await openTensor(page, "half");
  await openTensor(page, "brain");
  await page.goBack();
  await at(page, "tensor-title", '[data-name="half"]').waitFor();
  await page.goForward();
  await at(page, "tensor-title", '[data-name="brain"]').waitFor();
  assert.equal((await hub.log()).filter((one) => one.method === "OPTIONS").length, 0);
});

test("a link to a tensor opens it at once", async () => {
  const { page } = await newPage();
  await page.goto(link({ source: "hf://org/minilm/digests.deathtensors", tensor: QUERY }));
  await at(page, "tensor-title", `[data-name="${QUERY}"]`).waitFor();
  await checkStats(page, minilm.measures[QUERY]);
  assert.equal(await value(page, "stat-count"), String(384 * 384));
});
