import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { suite, test } from "node:test";
import { openTensorFile, TensorFileError } from "../dist/index.js";
import { readJson, refusal, vectors } from "./support.js";

const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

function named(kind) {
  const files = readdirSync(`${vectors}/${kind}`).filter((name) => name.endsWith(".deathtensors"));
  assert.ok(files.length > 10);
  return files.map((file) => file.replace(".deathtensors", ""));
}

/** Long texts stand in short form in the answers. */
function expand(value) {
  if (Array.isArray(value)) return value.map(expand);
  if (typeof value !== "object" || value === null) return value;
  if (typeof value.repeat === "string") return value.repeat.repeat(value.times);
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, expand(part)]));
}

suite("valid vectors", () => {
  for (const name of named("valid")) {
    test(name, async () => {
      const answer = expand(readJson(`${vectors}/valid/${name}.json`));
      const file = await openTensorFile(`${vectors}/valid/${name}.deathtensors`);
      assert.deepEqual(file.keys(), answer.keys);
      assert.deepEqual(file.metadata, answer.global_metadata);
      assert.equal(file.facts.compressed, answer.compressed);
      assert.equal(file.facts.checksum, answer.checksum);
      assert.equal(file.facts.digests, answer.digests);
      assert.equal(file.root ?? null, answer.root);
      for (const [key, wanted] of Object.entries(answer.tensors)) {
        const info = file.info(key);
        assert.equal(info.dtype, wanted.dtype);
        assert.deepEqual(info.shape, wanted.shape);
        assert.deepEqual(info.dataOffsets, wanted.data_offsets);
        assert.equal(info.nbytes, wanted.nbytes);
        assert.deepEqual(info.metadata, wanted.metadata);
        const { data } = await file.getTensor(key, { as: "bytes" });
        assert.equal(sha256(data), wanted.sha256);
        await file.getTensor(key);
        await file.stats(key);
      }
      const report = await file.verify();
      assert.deepEqual(report.errors, []);
      if (answer.checksum) assert.equal(report.verified, true);
      file.close();
    });
  }
});

suite("refused vectors", () => {
  for (const name of named("refused")) {
    test(name, async () => {
      const answer = readJson(`${vectors}/refused/${name}.json`);
      // From memory, so that a broken file is met by another source too.
      const bytes = readFileSync(`${vectors}/refused/${name}.deathtensors`);
      const began = performance.now();
      const error = await refuse(bytes, answer);
      assert.ok(error instanceof TensorFileError);
      assert.equal(error.code, answer.code);
      if (answer.tensor !== null) assert.equal(error.tensor, answer.tensor);
      assert.ok(performance.now() - began < 1000, "within a second");
    });
  }
});

async function refuse(bytes, { when, tensor }) {
  if (when === "open") return refusal(() => openTensorFile(bytes));
  const file = await openTensorFile(bytes);
  try {
    if (when === "verify") {
      const { errors, verified } = await file.verify();
      assert.equal(verified, false);
      return errors[0];
    }
    return await refusal(async () => {
      for (const key of tensor === null ? file.keys() : [tensor]) await file.getTensor(key);
    });
  } finally {
    file.close();
  }
}

suite("sharded vectors", () => {
  const folder = (kind, name) => `${vectors}/sharded/${kind}/${name}`;
  for (const name of readdirSync(`${vectors}/sharded/valid`)) {
    test(name, async () => {
      const answer = readJson(`${folder("valid", name)}/expected.json`);
      const file = await openTensorFile(`${folder("valid", name)}/index.deathtensors`);
      assert.equal(file.facts.format, "sharded");
      assert.deepEqual(file.keys(), answer.keys);
      assert.deepEqual(file.metadata, answer.global_metadata);
      for (const key of answer.keys) {
        assert.equal(file.info(key).shard, answer.which_shard[key]);
        const { data } = await file.getTensor(key, { as: "bytes" });
        assert.equal(sha256(data), answer.sha256[key]);
      }
      file.close();
    });
  }
  for (const name of readdirSync(`${vectors}/sharded/refused`)) {
    test(name, async () => {
      const answer = readJson(`${folder("refused", name)}/expected.json`);
      const index = `${folder("refused", name)}/index.deathtensors`;
      // What is not an index is an ordinary file to this package.
      if (answer.code === "shards.not_index") {
        const file = await openTensorFile(index);
        assert.notEqual(file.facts.format, "sharded");
        return file.close();
      }
      const error = await refusal(() => openTensorFile(index));
      assert.equal(error.code, answer.code);
    });
  }
});
