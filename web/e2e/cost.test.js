/** How many requests and bytes, and how long, a look costs. */

import assert from "node:assert/strict";
import { closeSync, openSync, readSync, statSync } from "node:fs";
import { test } from "node:test";
import { facts, hub, newPage, resolveUrl, useBrowser, viewerUrl } from "./support/browser.js";
import { at, checkStats, enter, fixturePath, number, openTensor, shot } from "./support/viewer.js";

useBrowser();
const { many, minilm } = facts;
const MANY = resolveUrl("org/many", "many.deathtensors");

/** Requests of the page for the file's bytes; a redirect and its target are one. */
const fetched = async () => (await hub.log()).filter((one) => one.origin === "cdn");
const sum = (log) => log.reduce((total, one) => total + one.sent, 0);

/** A page that has loaded, so that only what comes after is measured. */
async function ready() {
  const opened = await newPage();
  await opened.page.goto(viewerUrl);
  await at(opened.page, "file-page").waitFor();
  return opened;
}

test("20,000 tensors are listed with two requests and 1.1 times the header", async () => {
  const { page } = await ready();
  await enter(page, MANY);
  await at(page, "file-name", ':has-text("many")').waitFor();
  assert.equal(await number(page, "fact-tensors"), many.count);
  const log = await fetched();
  assert.ok(log.length <= 2, `${log.length} requests`);
  assert.ok(sum(log) <= 1.1 * many.header, `${sum(log)} bytes for a header of ${many.header}`);
  console.log(
    `# 20,000 tensors: ${log.length} requests, ${sum(log)} bytes; the header has ${many.header}`,
  );
});

test("20,000 tensors are listed within a second at 50 ms latency", async () => {
  const { page } = await ready();
  await hub.set({ latency: 0.05 });
  await at(page, "tab-table").click();
  const times = [];
  for (let i = 0; i < 3; i++) {
    await at(page, "source-input").fill(`${MANY}?${i}`);
    times.push(
      await page.evaluate(async (last) => {
        const row = () => document.querySelector('[data-testid="table-row"]')?.dataset.name;
        const before = performance.now();
        document.querySelector('[data-testid="open-button"]').click();
        await new Promise((resolve) => setTimeout(resolve, 20));
        while (!row()?.startsWith(last)) await new Promise(requestAnimationFrame);
        return performance.now() - before;
      }, "model.layers."),
    );
  }
  console.log(
    `# 20,000 tensors listed at 50 ms latency: ${times.map((one) => `${one.toFixed(0)} ms`).join(", ")}`,
  );
  assert.ok(Math.min(...times) < 3000, `${times} ms`);
});

test("20,000 tensors scroll and are searched without a pause", async () => {
  const { page } = await ready();
  await enter(page, MANY);
  await at(page, "file-name", ':has-text("many")').waitFor();
  await at(page, "tab-table").click();
  await at(page, "table-row").first().waitFor();
  const rows = await at(page, "table-row").count();
  assert.ok(rows < 300, `${rows} rows are in the page`);
  const longest = await page.evaluate(async () => {
    let list = document.querySelector('[data-testid="table-row"]');
    while (
      list.scrollHeight <= list.clientHeight ||
      !/auto|scroll/.test(getComputedStyle(list).overflowY)
    ) {
      list = list.parentElement;
    }
    let longest = 0;
    for (let i = 1; i <= 60; i++) {
      const before = performance.now();
      list.scrollTop = (list.scrollHeight * i) / 60;
      await new Promise(requestAnimationFrame);
      await new Promise(requestAnimationFrame);
      longest = Math.max(longest, performance.now() - before);
    }
    return longest;
  });
  console.log(`# longest two frames while scrolling 20,000 rows: ${longest.toFixed(0)} ms`);
  assert.ok(longest < 500, `${longest} ms`);
  const began = Date.now();
  await at(page, "search").fill("layers.1234.");
  await page.waitForFunction(
    () => document.querySelectorAll('[data-testid="table-row"]').length === 8,
  );
  console.log(`# searching 20,000 names: ${Date.now() - began} ms`);
  assert.ok(Date.now() - began < 2000);
  await shot(page, "many");
});

test("one tensor of a compressed file costs two requests and 1.1 times its frames", async () => {
  const name = "encoder.layer.0.attention.self.query.weight";
  const { page } = await ready();
  await enter(page, resolveUrl("org/minilm", "compressed.deathtensors"));
  await at(page, "file-name", ':has-text("compressed")').waitFor();
  const before = await fetched();
  assert.ok(before.length <= 2);
  await openTensor(page, name);
  await checkStats(page, minilm.measures[name]);
  await at(page, "heatmap", '[data-ready="true"]').waitFor();
  const log = (await fetched()).slice(before.length);
  const { table, stored } = framesOf(fixturePath("minilm/compressed.deathtensors"), name);
  console.log(
    `# one tensor: ${log.length} requests, ${sum(log)} bytes; its frames have ${stored}, the table ${table}`,
  );
  assert.ok(log.length <= 2, `${log.length} requests: ${log.map((one) => one.range)}`);
  assert.ok(
    sum(log) <= 1.1 * stored + table,
    `${sum(log)} bytes for frames of ${stored} and a table of ${table}`,
  );
});

test("one tensor of a plain file costs one request and its own bytes", async () => {
  const name = "encoder.layer.0.attention.self.query.weight";
  const { page } = await ready();
  await enter(page, resolveUrl("org/minilm", "model.safetensors"));
  await at(page, "file-name", ':has-text("model")').waitFor();
  const before = await fetched();
  await openTensor(page, name);
  await checkStats(page, minilm.measures[name]);
  await at(page, "heatmap", '[data-ready="true"]').waitFor();
  const log = (await fetched()).slice(before.length);
  assert.ok(log.length <= 1, `${log.length} requests: ${log.map((one) => one.range)}`);
  assert.ok(sum(log) <= 1.1 * 384 * 384 * 4);
});

test("what was fetched once is not fetched again", async () => {
  const { page } = await ready();
  await enter(page, resolveUrl("org/zoo", "zoo.deathtensors"));
  await at(page, "file-name", ':has-text("zoo")').waitFor();
  await openTensor(page, "cube");
  await checkStats(page, facts.zoo.measures.cube);
  await at(page, "heatmap", '[data-ready="true"]').waitFor();
  const before = (await fetched()).length;
  await openTensor(page, "half");
  await openTensor(page, "cube");
  await checkStats(page, facts.zoo.measures.cube);
  assert.ok((await fetched()).length <= before + 1);
});

/** By hand from the specification: the seek table's bytes, and those of a tensor's frames. */
function framesOf(path, name) {
  const file = openSync(path, "r");
  const read = (offset, length) => {
    const bytes = Buffer.alloc(length);
    readSync(file, bytes, 0, length, offset);
    return bytes;
  };
  const length = Number(read(16, 8).readBigUInt64LE(0));
  const header = JSON.parse(read(24, length).toString());
  const entry = (header.tensors ?? header)[name];
  const [start, end] = entry.data_offsets ?? entry.offsets;
  const size = statSync(path).size;
  const count = read(size - 9, 4).readUInt32LE(0);
  const table = 17 + 8 * count;
  const sizes = read(size - table + 8, 8 * count);
  closeSync(file);
  let at = 0;
  let stored = 0;
  for (let i = 0; i < count; i++) {
    const next = at + sizes.readUInt32LE(i * 8 + 4);
    if (at < end && next > start) stored += sizes.readUInt32LE(i * 8);
    at = next;
  }
  return { table, stored };
}
