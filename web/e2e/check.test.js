/** Verifying a file, comparing two, and stopping either. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { facts, hub, newPage, resolveUrl, useBrowser } from "./support/browser.js";
import {
  at,
  checkPixels,
  checkStats,
  compare,
  heatmap,
  openTensor,
  shot,
  visit,
} from "./support/viewer.js";

useBrowser();
const { minilm, pair } = facts;

const state = (page, wanted, timeout = 20_000) =>
  at(page, "verify-status", `[data-state="${wanted}"]`).first().waitFor({ timeout });

test("a good file is verified, tensor by tensor and by its footer", async () => {
  const { page } = await newPage();
  await visit(page, { source: resolveUrl("org/minilm", "digests.deathtensors") });
  const began = Date.now();
  await at(page, "verify-button").first().click();
  await state(page, "sound");
  console.log(`# verified 83 MB (${Date.now() - began} ms)`);
  await shot(page, "verified");
});

test("a damaged byte is found, and the tensor named", async () => {
  const { page } = await newPage();
  await visit(page, { source: resolveUrl("org/minilm", "corrupted.deathtensors") });
  await at(page, "verify-button").first().click();
  await state(page, "unsound");
  assert.ok(
    (await at(page, "file-page").textContent()).includes(minilm.damaged),
    "the tensor is not named",
  );
  await shot(page, "damaged");
});

test("damage on the way is found too", async () => {
  const { page } = await newPage();
  await visit(page, { source: resolveUrl("org/minilm", "digests.deathtensors") });
  await hub.fail({ origin: "cdn", flip: 40_000_000, times: null });
  await at(page, "verify-button").first().click();
  await state(page, "unsound");
});

test("a file without digests or footer is not called sound", async () => {
  const { page } = await newPage();
  await visit(page, { source: resolveUrl("org/pair", "new.deathtensors") });
  const button = at(page, "verify-button").first();
  if ((await button.count()) > 0 && (await button.isEnabled())) {
    await button.click();
    await state(page, "unchecked");
  } else
    assert.match(await at(page, "file-page").textContent(), /no(t|thing|ne)?\b.*(digest|check)/i);
});

test("one tensor is verified alone", async () => {
  const { page } = await newPage();
  await visit(page, {
    source: resolveUrl("org/minilm", "corrupted.deathtensors"),
    tensor: minilm.damaged,
  });
  await at(page, "verify-tensor-button").click();
  await at(page, "tensor-sound", ':has-text("damaged")').waitFor();
  await openTensor(page, "encoder.layer.5.output.LayerNorm.bias");
  await at(page, "verify-tensor-button").click();
  await at(page, "tensor-sound", ':has-text("verified")').waitFor();
});

test("verifying can be cancelled, stops fetching, and leaves the page usable", async () => {
  const { page } = await newPage();
  await visit(page, { source: resolveUrl("org/minilm", "digests.deathtensors") });
  await hub.fail({ origin: "cdn", pace: 2_000_000, times: null });
  await at(page, "verify-button").first().click();
  await at(page, "progress").first().waitFor();
  await shot(page, "verifying");
  await at(page, "cancel").first().click();
  await state(page, "cancelled", 5000);
  await page.waitForTimeout(500);
  const sent = async () => (await hub.log()).reduce((sum, one) => sum + one.sent, 0);
  const before = await sent();
  await page.waitForTimeout(1000);
  const later = await sent();
  assert.ok(later - before < 500_000, `${later - before} more bytes were sent after cancelling`);
  await fetch(`${hub.hub}/__test__/faults`, { method: "DELETE" });
  const name = "encoder.layer.5.output.LayerNorm.bias";
  await openTensor(page, name);
  await checkStats(page, minilm.measures[name]);
});

// --- comparing

for (const ending of ["", "_digests"]) {
  test(`two versions are compared${ending && " by their digests"}`, async () => {
    const { page } = await newPage();
    await compare(page, `old${ending}.deathtensors`, `new${ending}.deathtensors`);
    await at(page, "diff-row", '[data-kind="values"]').first().waitFor();
    const rows = await at(page, "diff-row").evaluateAll((all) =>
      all.map((row) => [row.dataset.kind, row.dataset.name]),
    );
    assert.deepEqual(rows.sort(), pair.rows);
    assert.equal(await at(page, "diff-summary").getAttribute("data-equal"), "false");
    if (ending) {
      const log = (await hub.log()).filter((one) => one.origin === "cdn");
      assert.equal(log.length, 2, "more than the two headers was asked for");
    }
    await shot(page, `compare${ending}`);
  });
}

test("a link to a comparison restores it", async () => {
  const { page } = await newPage();
  await visit(page, {
    source: resolveUrl("org/pair", "old.deathtensors"),
    compare: resolveUrl("org/pair", "new.deathtensors"),
  });
  await at(page, "diff-row", '[data-kind="added"]').waitFor();
});

test("a changed tensor is shown as a heatmap of differences", async () => {
  const { page } = await newPage();
  await visit(page, {
    source: resolveUrl("org/pair", "old.deathtensors"),
    compare: resolveUrl("org/pair", "new.deathtensors"),
    tensor: pair.change.name,
  });
  await at(page, "heatmap-mode").first().waitFor();
  const { row, column, by } = pair.change;
  const picture = await heatmap(page);
  checkPixels(picture, (r, c) => (r === row && c === column ? by : 0));
  const box = await at(page, "heatmap").boundingBox();
  await page.mouse.move(
    box.x + ((column + 0.5) * box.width) / picture.columns,
    box.y + ((row + 0.5) * box.height) / picture.rows,
  );
  await at(page, "heatmap-value", `[data-row="${row}"][data-column="${column}"]`).waitFor();
  const seen = Number(await at(page, "heatmap-value").getAttribute("data-value"));
  assert.ok(Math.abs(seen - by) < 1e-12, `${seen} instead of ${by}`);
});

test("a file equals itself in another form", async () => {
  const { page } = await newPage();
  await compare(page, "digests.deathtensors", "corrupted.deathtensors", "org/minilm");
  // Both carry the same digests: the damage is in the bytes only.
  assert.equal(await at(page, "diff-row").count(), 0);
  assert.equal(await at(page, "diff-summary").getAttribute("data-equal"), "true");
});
