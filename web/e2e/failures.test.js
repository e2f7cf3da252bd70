/** What goes wrong is said in plain words; what can be mended is mended; nothing is injected. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { facts, hub, newPage, resolveUrl, useBrowser } from "./support/browser.js";
import {
  at,
  checkStats,
  enter,
  failure,
  link,
  number,
  openTensor,
  shot,
  visit,
} from "./support/viewer.js";

useBrowser();
const ZOO = resolveUrl("org/zoo", "zoo.deathtensors");
const { zoo } = facts;

/** Opens a source that must fail, and leaves the page able to open another. */
async function refused(source, name) {
  const { page } = await newPage();
  await page.goto(link({ source }));
  const found = await failure(page);
  assert.ok(!/undefined|\[object|NaN/.test(found.text), found.text);
  await shot(page, `failure-${name}`);
  return { page, ...found };
}

const opensAnother = async (page) => {
  await hub.reset();
  await enter(page, ZOO);
  await at(page, "file-page").waitFor();
};

test("a server that lets no page read: CORS", async () => {
  await hub.set({ hub_cors: false, cdn_cors: false });
  const { page, kind, text } = await refused(ZOO, "cors");
  assert.equal(kind, "network");
  assert.match(text, /CORS|other sites|Access-Control/i);
  await opensAnother(page);
});

test("a file that is not there: 404", async () => {
  const { page, kind, text } = await refused(resolveUrl("org/zoo", "none.deathtensors"), "404");
  assert.ok(["network", "not_found"].includes(kind), kind);
  assert.match(text, /no such file|not there|404/i);
  await opensAnother(page);
});

test("a repository that is not there", async () => {
  const { text } = await refused("hf://org/nowhere/x.deathtensors", "no-repository");
  assert.match(text, /private|no such|not found|token/i);
});

test("a revision that is not there", async () => {
  const { text } = await refused("hf://org/zoo@nowhere/zoo.deathtensors", "no-revision");
  assert.match(text, /revision|no such|nowhere/i);
});

test("a gated repository without a token", async () => {
  const { text } = await refused("hf://org/gated/zoo.deathtensors", "gated");
  assert.match(text, /gated|terms|restricted/i);
  assert.match(text, /token/i);
});

for (const [file, words] of [
  ["picture.deathtensors", /not a (tensor|deathtensors|safetensors)|magic/i],
  ["page.deathtensors", /not a (tensor|deathtensors)|web page|magic/i],
  [
    "pickle.safetensors",
    /not a (tensor|deathtensors|safetensors)|pickle|breaks the rules|limit|header/i,
  ],
  ["pointer.deathtensors", /LFS|not a tensor/i],
  ["empty.deathtensors", /empty|too (short|early)|not a tensor/i],
  ["cut_in_header.deathtensors", /too early|truncated|ends|short/i],
  ["cut_in_data.deathtensors", /too early|truncated|ends|short|longer/i],
  ["json.deathtensors", /breaks the rules|header|nest/i],
]) {
  test(`a file that is refused: ${file}`, async () => {
    const { page, text } = await refused(resolveUrl("org/broken", file), file.split(".")[0]);
    assert.match(text, words);
    await opensAnother(page);
  });
}

test("a server that ignores ranges is left at once", async () => {
  await hub.fail({ origin: "cdn", ignore_range: true, times: null, pace: 20_000_000 });
  const { text } = await refused(resolveUrl("org/minilm", "plain.deathtensors"), "no-ranges");
  assert.match(text, /whole|range/i);
  const sent = (await hub.log()).reduce((sum, one) => sum + one.sent, 0);
  assert.ok(sent < 8e6, `${sent} bytes of 90 million were sent`);
});

test("a file that changed between two ranges is noticed", async () => {
  const { page } = await newPage();
  await visit(page, { source: resolveUrl("org/minilm", "plain.deathtensors") });
  await hub.fail({
    origin: "cdn",
    headers: { ETag: '"another"', "Last-Modified": "Tue, 01 Jan 2030 00:00:00 GMT" },
    times: null,
  });
  await at(page, "tab-table").click();
  await at(page, "search").fill("layer.5.output.LayerNorm.bias");
  await at(page, "table-row").first().click();
  const { text } = await failure(page);
  assert.match(text, /changed/i);
});

test("busy servers and broken connections are tried again", async () => {
  const { page } = await newPage();
  await hub.fail(
    { origin: "hub", status: 503 },
    { origin: "cdn", status: 429, headers: { "Retry-After": "0" } },
  );
  await visit(page, { source: ZOO });
  await hub.fail({ origin: "cdn", drop_after: 100 }, { origin: "cdn", truncate: 50 });
  await openTensor(page, "cube");
  await checkStats(page, zoo.measures.cube);
});

test("a signed address that expired is asked for again", async () => {
  const { page } = await newPage();
  await hub.set({ lifetime: 1 });
  await visit(page, { source: resolveUrl("org/minilm", "plain.deathtensors") });
  await page.waitForTimeout(1300);
  await hub.set({ lifetime: 3600 });
  const name = "encoder.layer.5.output.LayerNorm.bias";
  await openTensor(page, name);
  await checkStats(page, facts.minilm.measures[name]);
});

test("a second origin that does not expose Content-Range is read all the same", async () => {
  const { page } = await newPage();
  await hub.set({ expose_content_range: false });
  await visit(page, { source: "hf://org/minilm/digests.deathtensors" });
  assert.equal(await number(page, "fact-size"), facts.minilm.files["digests.deathtensors"]);
  const name = "encoder.layer.5.output.LayerNorm.bias";
  await openTensor(page, name);
  await checkStats(page, facts.minilm.measures[name]);
});

test("opening can be cancelled", async () => {
  const { page } = await newPage();
  await hub.fail({ delay: 20, times: null });
  await page.goto(link({ source: ZOO }));
  await at(page, "opening").waitFor();
  await at(page, "cancel").first().click();
  await at(page, "opening").waitFor({ state: "detached" });
  await opensAnother(page);
});

test("names and metadata are text, whatever they hold", async () => {
  const { page } = await newPage();
  await visit(page, { source: resolveUrl("org/zoo", "hostile.deathtensors") });
  await shot(page, "hostile");
  await at(page, "tab-tree").click();
  await at(page, "tab-map").click();
  await at(page, "tab-table").click();
  for (const name of zoo.hostile) {
    await page.goto(link({ source: resolveUrl("org/zoo", "hostile.deathtensors"), tensor: name }));
    await at(page, "tensor-page").waitFor();
    assert.equal(await at(page, "tensor-title").getAttribute("data-name"), name);
    if (await at(page, "tab-details").count()) await at(page, "tab-details").click();
  }
  const shown = await at(page, "tensor-page").textContent();
  assert.ok(!shown.includes("\u202e"), "letters that turn the text around are shown as they are");
  assert.equal(await page.evaluate(() => window.hacked), undefined);
  assert.equal(await page.evaluate(() => document.querySelectorAll("img[src=x]").length), 0);
});

for (const source of [
  "javascript:window.hacked=1",
  "data:text/html,<script>window.hacked=1</script>",
  "file:///etc/passwd",
  "<img src=x onerror=window.hacked=1>",
]) {
  test(`a link to ${source.slice(0, 12)}… opens nothing`, async () => {
    const { page } = await newPage();
    await page.goto(link({ source }));
    await at(page, "error").first().waitFor();
    assert.equal(await page.evaluate(() => window.hacked), undefined);
  });
}

test("no link can lead a token to another hub", async () => {
  const { page, context, requests } = await newPage({ known: ["https://huggingface.co"] });
  // The public Hub is asked instead, and must not be bothered by tests.
  await context.route("https://huggingface.co/**", (route) => route.abort());
  await page.goto(link({ source: "hf://org/zoo/zoo.deathtensors", hub: "https://evil.example" }));
  await at(page, "error").first().waitFor();
  const hosts = new Set(requests.map((one) => new URL(one.url()).hostname));
  assert.ok(hosts.has("huggingface.co"));
  assert.ok(!hosts.has("evil.example"));
});
