/** Ways to open a file, and what is said of it. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import {
  facts,
  hub,
  newPage,
  resolveUrl,
  shared,
  useBrowser,
  viewerUrl,
} from "./support/browser.js";
import {
  at,
  enter,
  fixturePath,
  link,
  number,
  rowNames,
  shot,
  value,
  visit,
} from "./support/viewer.js";

useBrowser();
const { minilm } = facts;

/** Everything that the file's page says agrees with what NumPy and the file system say. */
async function checkMinilm(page, file, { compressed, digests }) {
  await at(page, "file-page").waitFor();
  assert.equal(await number(page, "fact-size"), minilm.files[file]);
  assert.equal(await number(page, "fact-tensors"), Object.keys(minilm.tensors).length);
  assert.equal(await number(page, "fact-parameters"), minilm.parameters);
  assert.equal((await number(page, "fact-saving")) > 0.05, compressed === true, "saving");
  for (const [dtype, bytes] of Object.entries(minilm.bytes)) {
    assert.equal(
      await at(page, "dtype-row", `[data-dtype="${dtype}"]`).getAttribute("data-bytes"),
      String(bytes),
    );
  }
  assert.match(
    await value(page, "fact-digests"),
    digests ? /true|yes|all|104/ : /false|no|none|^0$/,
  );
  await at(page, "tab-table").click();
  assert.ok((await rowNames(page)).length > 5);
}

test("without a source the page shows its sample, and fetches nothing but its own files", async () => {
  const { page, requests } = await newPage();
  await page.goto(viewerUrl);
  await at(page, "file-page").waitFor();
  assert.ok(
    requests.every((one) => /^(blob|data):/.test(one.url()) || one.url().startsWith(viewerUrl)),
  );
  await shot(page, "sample");
});

for (const [file, kind] of [
  ["plain.deathtensors", {}],
  ["compressed.deathtensors", { compressed: true }],
  ["digests.deathtensors", { compressed: true, digests: true }],
  ["model.safetensors", {}],
]) {
  test(`real weights by address: ${file}`, async () => {
    const { page } = await newPage();
    await page.goto(viewerUrl);
    await enter(page, resolveUrl("org/minilm", file));
    await checkMinilm(page, file, kind);
    const log = await hub.log();
    const sent = log.reduce((sum, one) => sum + one.sent, 0);
    assert.ok(sent < 200_000, `${sent} bytes were sent for a look`);
    const brought = log
      .filter((one) => one.origin === "cdn")
      .reduce((sum, one) => sum + one.sent, 0);
    // The meter is drawn now and then.
    await at(page, "meter-bytes", `[data-value="${brought}"]`).waitFor();
    assert.equal(await number(page, "meter-bytes"), brought);
    assert.ok((await number(page, "meter-requests")) >= 1);
    await shot(page, `file-${file}`);
  });
}

test("a repository lists its files, and one of them opens", async () => {
  const { page } = await newPage();
  await page.goto(link({}));
  await enter(page, "org/minilm");
  await at(page, "hub-list").waitFor();
  const paths = await at(page, "hub-entry").evaluateAll((entries) =>
    entries.map((one) => one.dataset.path),
  );
  for (const path of ["model.safetensors", "plain.deathtensors", "nested/deep/zoo.deathtensors"]) {
    assert.ok(paths.includes(path), path);
  }
  await shot(page, "repository");
  await at(page, "hub-entry", '[data-path="digests.deathtensors"]').click();
  await checkMinilm(page, "digests.deathtensors", { compressed: true, digests: true });
  assert.ok(page.url().includes("digests.deathtensors"), "the address does not name the file");
});

for (const [what, source] of [
  ["hf:// reference", "hf://org/minilm/plain.deathtensors"],
  ["hf:// reference with a revision", "hf://org/minilm@main/plain.deathtensors"],
  ["blob page", `${shared.hub.hub}/org/minilm/blob/main/plain.deathtensors`],
  ["resolve address", `${shared.hub.hub}/org/minilm/resolve/main/plain.deathtensors`],
]) {
  test(`a link with a ${what} opens, pinned to a commit`, async () => {
    const { page } = await newPage();
    await visit(page, { source });
    await checkMinilm(page, "plain.deathtensors", {});
    const commits = (await hub.log())
      .map((one) => /\/resolve\/([^/]+)\//.exec(one.path)?.[1])
      .filter(Boolean);
    if (what !== "resolve address") {
      assert.ok(
        commits.every((one) => /^[0-9a-f]{40}$/.test(one)),
        `not pinned: ${commits}`,
      );
    }
  });
}

test("a tree page of a repository lists that folder's files", async () => {
  const { page } = await newPage();
  await page.goto(link({ source: `${hub.hub}/org/minilm/tree/main/nested` }));
  await at(page, "hub-entry", '[data-path="nested/deep/zoo.deathtensors"]').click();
  await at(page, "file-page").waitFor();
  assert.equal(await number(page, "fact-tensors"), 15);
});

test("a file is dropped, and nothing is fetched for it", async () => {
  const { page } = await newPage();
  await page.goto(viewerUrl);
  await at(page, "file-page").waitFor();
  const bytes = readFileSync(fixturePath("zoo/zoo.deathtensors")).toString("base64");
  const transfer = await page.evaluateHandle((text) => {
    const data = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([data], "dropped.deathtensors"));
    return transfer;
  }, bytes);
  for (const type of ["dragenter", "dragover", "drop"]) {
    await at(page, "drop-zone").dispatchEvent(type, { dataTransfer: transfer });
  }
  await at(page, "file-name", ':has-text("dropped.deathtensors")').waitFor();
  assert.equal(await number(page, "fact-tensors"), 15);
  assert.deepEqual(await hub.log(), []);
});

test("a file of 83 MB is picked from disk", async () => {
  const { page } = await newPage();
  await page.goto(viewerUrl);
  await at(page, "file-picker").setInputFiles(fixturePath("minilm/digests.deathtensors"));
  await at(page, "file-name", ':has-text("digests.deathtensors")').waitFor();
  await checkMinilm(page, "digests.deathtensors", { compressed: true, digests: true });
});

for (const [format, index] of [
  ["deathtensors", "model.deathtensors"],
  ["safetensors", "model.safetensors.index.json"],
]) {
  test(`a sharded model opens as one file: ${format}`, async () => {
    const { page } = await newPage();
    await visit(page, { source: `hf://org/sharded/${index}` });
    assert.equal(await number(page, "fact-tensors"), facts.sharded.names.length);
    await at(page, "tab-table").click();
    assert.deepEqual((await rowNames(page)).sort(), [...facts.sharded.names].sort());
  });
}

test("a private file opens with a token, which goes to the hub only and into no link", async () => {
  const token = shared.hub.tokens.tester;
  const { page, requests, context } = await newPage();
  await page.goto(link({}));
  await enter(page, "hf://org/private/zoo.deathtensors");
  await at(page, "error").first().waitFor();
  await hub.forget();
  await at(page, "access-button").click();
  await at(page, "token-input").fill(token);
  await page.keyboard.press("Escape");
  await enter(page, "hf://org/private/zoo.deathtensors");
  await at(page, "file-page").waitFor();
  assert.equal(await number(page, "fact-tensors"), 15);
  const log = await hub.log();
  assert.ok(log.some((one) => one.origin === "hub" && one.authorization));
  assert.ok(
    log.some((one) => one.origin === "cdn"),
    "nothing came from the second origin",
  );
  for (const one of log) {
    assert.ok(!one.authorization || one.origin === "hub", "the token went to the second origin");
  }
  for (const request of requests)
    assert.ok(!request.url().includes(token), "the token is in an address");
  assert.ok(!page.url().includes(token));
  const kept = await page.evaluate(() =>
    JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie]),
  );
  assert.ok(!kept.includes(token), "the token was stored");
  const second = await context.newPage();
  await second.goto(page.url());
  await at(second, "error").first().waitFor();
});

test("a metadata search finds the entry", async () => {
  const { page } = await newPage();
  await visit(page, { source: resolveUrl("org/zoo", "zoo.deathtensors") });
  const rows = (key) => at(page, "metadata-row", `[data-key="${key}"]`);
  assert.equal(await rows("note").count(), 1);
  await at(page, "metadata-search").fill("MIT");
  await rows("note").waitFor({ state: "detached" });
  assert.match(await rows("licence").textContent(), /MIT/);
});
