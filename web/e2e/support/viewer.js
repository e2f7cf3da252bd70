import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { hub, resolveUrl, shared, viewerUrl } from "./browser.js";

/** An element by its hook. */
export const at = (page, hook, more = "") => page.locator(`[data-testid="${hook}"]${more}`);

/** The exact value that an element carries. */
export async function value(page, hook, more = "") {
  const text = await at(page, hook, more).first().getAttribute("data-value");
  assert.notEqual(text, null, `${hook} carries no value`);
  return text;
}

export const number = async (page, hook, more) => Number(await value(page, hook, more));

/** The address of a view. */
export function link(place) {
  const parts = Object.entries({ hub: hub.hub, ...place });
  return `${viewerUrl}#${parts.map(([key, text]) => `${key}=${encodeURIComponent(text)}`).join("&")}`;
}

/** Goes to a view and waits until what it shows is there. */
export async function visit(page, place) {
  await page.goto(link(place));
  await at(page, place.tensor === undefined ? "file-page" : "tensor-page").waitFor();
}

/** Types a source into the box. */
export async function enter(page, source) {
  await at(page, "source-input").fill(source);
  await at(page, "open-button").click();
}

/** Opens a tensor through the search, as a person would. */
export async function openTensor(page, name) {
  await at(page, "tab-table").click();
  await at(page, "search").fill(name);
  await at(page, "table-row", `[data-name="${name}"]`).click();
  await at(page, "tensor-title", `[data-name="${name}"]`).waitFor();
}

/** Opens a branch of the tree unless it is open. */
export async function expand(page, path) {
  const row = at(page, "tree-row", `[data-path="${path}"]`).first();
  await row.waitFor();
  if ((await row.getAttribute("aria-expanded")) === "false") await row.click();
}

/** Compares two files of a repository, as a person would. */
export async function compare(page, first, second, repo = "org/pair") {
  await visit(page, { source: resolveUrl(repo, first) });
  await at(page, "compare-button").first().click();
  await at(page, "compare-input").fill(resolveUrl(repo, second));
  await at(page, "compare-open").click();
  await at(page, "diff-summary", "[data-equal]").waitFor();
}

/** Waits for the failure, and checks that it says what failed and what to do. */
export async function failure(page) {
  const card = at(page, "error").first();
  await card.waitFor();
  const advice = await at(page, "error-advice").first().textContent();
  assert.ok(advice.length > 20, "the failure gives no advice");
  return {
    code: await card.getAttribute("data-code"),
    kind: await card.getAttribute("data-kind"),
    text: await card.textContent(),
  };
}

/** What the table says of each row that is on the screen. */
export const rowNames = (page) =>
  at(page, "table-row").evaluateAll((rows) =>
    rows
      .sort((a, b) => Number(a.dataset.index) - Number(b.dataset.index))
      .map((row) => row.dataset.name),
  );

/** The numbers of `count`, `min` and so on agree with NumPy's. */
export async function checkStats(page, wanted) {
  await at(page, "stat-count").waitFor();
  const close = async (hook, expected, tolerance) => {
    const found = await number(page, hook);
    const scale = Math.max(Math.abs(expected), Number(wanted.absmax) * 1e-3, Number.MIN_VALUE);
    assert.ok(
      Math.abs(found - expected) <= tolerance * scale,
      `${hook} is ${found}, expected ${expected}`,
    );
  };
  for (const name of ["count", "zeros", "nan", "inf"]) {
    assert.equal(await number(page, `stat-${name}`), wanted[name], name);
  }
  for (const name of ["min", "max", "absmax"]) {
    const found = await value(page, `stat-${name}`);
    if (/^-?\d{17,}$/.test(wanted[name])) assert.equal(found, wanted[name], name);
    else assert.equal(Number(found), Number(wanted[name]), name);
  }
  for (const name of ["mean", "stddev", "l2"]) await close(`stat-${name}`, wanted[name], 1e-9);
}

/** The bins agree with NumPy's, but for values that lie on an edge. */
export async function checkHistogram(page, wanted) {
  await at(page, "histogram-bin").first().waitFor();
  const counts = await at(page, "histogram-bin").evaluateAll((bins) =>
    bins.map((bin) => Number(bin.dataset.count)),
  );
  const expected = wanted.histograms[counts.length];
  assert.ok(expected, `no histogram of ${counts.length} bins was made by NumPy`);
  const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
  assert.equal(sum(counts), sum(expected));
  const off = counts.reduce((total, n, i) => total + Math.abs(n - expected[i]), 0);
  assert.ok(off <= 2 + sum(expected) * 1e-5, `${off} values are in other bins than NumPy's`);
}

/** What the heatmap shows: pixels as RGBA, and which values they stand for. */
export async function heatmap(page) {
  await at(page, "heatmap", '[data-ready="true"]').waitFor();
  const seen = await at(page, "heatmap").evaluate((canvas) => {
    const { width, height, dataset } = canvas;
    const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
    const say = (name) => Number(dataset[name]);
    return {
      width,
      height,
      pixels: btoa(Array.from(data, (one) => String.fromCharCode(one)).join("")),
      map: dataset.map,
      rows: say("rows"),
      columns: say("columns"),
      low: say("low"),
      high: say("high"),
      rowStart: say("rowStart"),
      rowStep: say("rowStep"),
      columnStart: say("columnStart"),
      columnStep: say("columnStep"),
    };
  });
  return { ...seen, pixels: Buffer.from(seen.pixels, "base64") };
}

/**
 * Every pixel is a function of its value, and the function is a scale from `low` to `high`:
 * values at the same place of the scale look the same, values far apart do not, and lightness
 * goes one way (sequential) or one way from the middle (diverging).
 */
export function checkPixels(picture, valueAt) {
  const { width, height, pixels, map, low, high } = picture;
  assert.deepEqual([width, height], [picture.columns, picture.rows]);
  assert.ok(low < high);
  const places = new Map();
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const v = valueAt(
        picture.rowStart + row * picture.rowStep,
        picture.columnStart + column * picture.columnStep,
      );
      const colour = pixels.readUIntBE((row * width + column) * 4, 3);
      const t = Math.min(1, Math.max(0, (v - low) / (high - low)));
      const key = Number.isFinite(v) ? Math.round(t * 255) : String(v);
      const seen = places.get(key);
      if (!seen) places.set(key, [colour]);
      else if (!seen.includes(colour)) seen.push(colour);
    }
  }
  for (const [key, seen] of places) places.set(key, seen.map(parts));
  // A value between two steps may be rounded either way.
  for (const [key, seen] of places) {
    assert.ok(seen.length <= 3, `${seen.length} colours for values at ${key} of the scale`);
    for (const rgb of seen) assert.ok(far(rgb, seen[0]) < 30, `unlike colours at ${key}`);
  }
  const steps = [...places].filter(([key]) => typeof key === "number").sort(([a], [b]) => a - b);
  const light = steps.map(([key, [rgb]]) => [key, lightness(rgb)]);
  for (let i = 1; i < light.length; i++) {
    const [key, now] = light[i];
    const rising = now - light[i - 1][1];
    if (map === "sequential") assert.ok(rising > -2, `darker at ${key}`);
    else if (Math.abs(key - 127.5) > 4) {
      const outward = dark(steps) ? rising : -rising;
      assert.ok(key > 127.5 ? outward > -2 : outward < 2, `lightness turns at ${key}`);
    }
  }
  if (steps.length > 1) {
    const [[, [first]], [, [last]]] = [steps[0], steps.at(-1)];
    assert.ok(far(first, last) > 60, "the ends of the scale look alike");
  }
  return places;
}

/** Whether the middle of a diverging scale is darker than its end. */
function dark(steps) {
  const middle = steps.reduce((a, b) => (Math.abs(a[0] - 127.5) < Math.abs(b[0] - 127.5) ? a : b));
  return lightness(middle[1][0]) < lightness(steps.at(-1)[1][0]);
}

const parts = (colour) => [colour >> 16, (colour >> 8) & 255, colour & 255];

function far(a, b) {
  return Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);
}

/** CIE lightness, 0 to 100. */
function lightness([red, green, blue]) {
  const linear = (part) =>
    part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4;
  const y = 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
  return y > 0.008856 ? 116 * Math.cbrt(y) - 16 : 903.3 * y;
}

/** A tensor's values as NumPy wrote them. */
export function rawValues({ path, shape }) {
  const bytes = readFileSync(path);
  const values = new Float64Array(new Uint8Array(bytes).buffer);
  const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1));
  return (...index) => values[index.reduce((sum, place, axis) => sum + place * strides[axis], 0)];
}

/** A picture for people to look at. */
export async function shot(page, name) {
  await page.screenshot({ path: join(shared.root, "build/screenshots", `${name}.png`) });
}

export const fixturePath = (name) => join(shared.files, name);
