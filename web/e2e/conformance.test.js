/** Every conformance vector in Chromium, through the built package. */

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { newPage, shared, useBrowser } from "./support/browser.js";

useBrowser();
const vectors = join(shared.root, "tests/vectors");
const read = (...path) => restore(JSON.parse(readFileSync(join(vectors, ...path), "utf8")));

/** Undoes the generator's shortening of long strings. */
function restore(one) {
  if (Array.isArray(one)) return one.map(restore);
  if (typeof one !== "object" || one === null) return one;
  if (Object.keys(one).sort().join() === "repeat,times") return one.repeat.repeat(one.times);
  return Object.fromEntries(Object.entries(one).map(([key, value]) => [key, restore(value)]));
}

function load(kind) {
  const names = readdirSync(join(vectors, kind)).filter((name) => name.endsWith(".deathtensors"));
  return Object.fromEntries(
    names.map((name) => {
      const stem = name.slice(0, -".deathtensors".length);
      return [stem, read(kind, `${stem}.json`)];
    }),
  );
}

/** What has another code where files come from a server. */
const ONLINE = { "not_found.file": "network.not_found" };

/** Opens files in the page, reads everything, and says what was found or refused. */
function inPage(addresses) {
  return newPage().then(async ({ page }) => {
    await page.goto(`${shared.site}/blank.html`);
    const text = await page.evaluate(async (all) => {
      const { openTensorFile } = await import("/package/index.js");
      const hex = (bytes) =>
        [...new Uint8Array(bytes)].map((one) => one.toString(16).padStart(2, "0")).join("");
      const told = ({ code, kind, tensor, message }) => ({
        code,
        kind,
        tensor: tensor ?? null,
        message,
      });
      const found = {};
      for (const { name, address, whole } of all) {
        const said = { tensors: [] };
        found[name] = said;
        let file;
        try {
          // From memory, and by address where a shard must be found beside its index.
          const source = whole
            ? await (await fetch(address)).arrayBuffer()
            : new URL(address, location.href);
          file = await openTensorFile(source);
        } catch (error) {
          said.open = told(error);
          continue;
        }
        said.keys = file.keys();
        said.metadata = file.metadata;
        said.facts = { ...file.facts };
        said.root = file.root ?? null;
        for (const tensor of file.keys()) {
          try {
            const { data } = await file.getTensor(tensor, { as: "bytes" });
            const { dtype, shape, dataOffsets, nbytes, metadata } = file.info(tensor);
            const sha256 = hex(await crypto.subtle.digest("SHA-256", data));
            const seen = {
              dtype,
              shape,
              data_offsets: dataOffsets,
              nbytes,
              metadata,
              sha256,
            };
            said.tensors.push([tensor, seen]);
          } catch (error) {
            said.read ??= told(error);
          }
        }
        try {
          const report = await file.verify();
          said.verified = report.verified;
          said.report = [...report.errors].map(told);
        } catch (error) {
          said.report = [told(error)];
        }
        file.close();
      }
      // As text, in which a tensor may be called __proto__.
      return JSON.stringify(found);
    }, addresses);
    return JSON.parse(text);
  });
}

test("valid files are read as expected", async () => {
  const valid = load("valid");
  const found = await inPage(
    Object.keys(valid).map((name) => ({
      name,
      address: `/vectors/valid/${name}.deathtensors`,
      whole: true,
    })),
  );
  let checked = 0;
  for (const [name, wanted] of Object.entries(valid)) {
    const said = found[name];
    assert.equal(said.open, undefined, `${name}: ${said.open?.message}`);
    assert.equal(said.read, undefined, `${name}: ${said.read?.message}`);
    assert.deepEqual(said.keys, wanted.keys, name);
    assert.deepEqual(Object.fromEntries(said.tensors), wanted.tensors, name);
    assert.deepEqual(said.metadata, wanted.global_metadata, name);
    assert.equal(said.facts.compressed, wanted.compressed, name);
    assert.equal(said.facts.checksum, wanted.checksum, name);
    assert.equal(said.root, wanted.root, name);
    assert.deepEqual(said.report, [], name);
    assert.equal(
      said.verified,
      wanted.checksum || (wanted.digests && wanted.keys.length > 0),
      name,
    );
    checked++;
  }
  console.log(`# ${checked} valid vectors`);
  assert.ok(checked >= 40);
});

test("refused files are refused with their code and tensor", async () => {
  const refused = load("refused");
  const found = await inPage(
    Object.keys(refused).map((name) => ({
      name,
      address: `/vectors/refused/${name}.deathtensors`,
      whole: true,
    })),
  );
  const wrong = [];
  for (const [name, { code, tensor, when }] of Object.entries(refused)) {
    const said = found[name];
    const error =
      said.open ??
      (when === "open" ? undefined : said.read) ??
      (when === "verify" ? said.report[0] : undefined);
    if (error?.code !== code || (tensor !== null && error.tensor !== tensor)) {
      wrong.push(`${name}: ${error?.code} ${error?.tensor}, expected ${code} ${tensor}`);
    }
  }
  console.log(`# ${Object.keys(refused).length} refused vectors`);
  assert.deepEqual(wrong, []);
});

test("sharded models are read or refused as expected", async () => {
  const wrong = [];
  for (const kind of ["valid", "refused"]) {
    const folder = join("sharded", kind);
    const names = readdirSync(join(vectors, folder));
    const found = await inPage(
      names.map((name) => ({
        name,
        address: `/vectors/sharded/${kind}/${name}/index.deathtensors`,
      })),
    );
    for (const name of names) {
      const wanted = read(folder, name, "expected.json");
      const said = found[name];
      if (kind === "valid") {
        assert.equal(
          said.open ?? said.read,
          undefined,
          `${name}: ${(said.open ?? said.read)?.message}`,
        );
        assert.deepEqual(said.keys, wanted.keys, name);
        const digests = Object.fromEntries(said.tensors.map(([key, one]) => [key, one.sha256]));
        assert.deepEqual(digests, wanted.sha256, name);
      } else {
        const error = said.open ?? said.read ?? said.report[0];
        if (wanted.code === "shards.not_index") {
          // There is one way to open anything: what is no index is a file.
          assert.equal(said.facts?.format, "deathtensors", name);
        } else if (error?.code !== (ONLINE[wanted.code] ?? wanted.code))
          wrong.push(`${name}: ${error?.code}, expected ${wanted.code}`);
      }
    }
  }
  assert.deepEqual(wrong, []);
});
