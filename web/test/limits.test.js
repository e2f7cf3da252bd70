/** Limits: the table of the specification, and each call at what it needs and below. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { before, suite, test } from "node:test";
import { LIMITS, openTensorFile } from "../dist/index.js";
import { fixtures, makeFixtures, refusal, root } from "./support.js";

before(makeFixtures);

const at = (name) => `${fixtures}/${name}`;

suite("the table", () => {
  const text = readFileSync(`${root}docs/format_spec.md`, "utf8").split("## 14.")[1];
  const rows = [...text.matchAll(/^\| `(\w+)` \| (\d[^|]*) \| `[\w.]+` \|$/gm)];
  const camel = (name) => name.replace(/_(\w)/g, (_, letter) => letter.toUpperCase());
  const number = (said) => {
    const [, base, power] = said.match(/^(\d+)\^(\d+)/) ?? [];
    return base ? base ** power : Number(said.match(/^[\d,]+/)[0].replaceAll(",", ""));
  };

  test("the package has the limits of the specification", () => {
    const wanted = rows.map(([, name, said]) => [camel(name), number(said)]);
    assert.ok(wanted.length >= 8);
    assert.deepEqual(Object.entries(LIMITS), wanted);
  });

  test("so have its types", () => {
    const types = readFileSync(new URL("../dist/types.d.ts", import.meta.url), "utf8");
    const [, body] = types.match(/interface Limits \{(.*?)^\}/ms);
    assert.deepEqual(
      [...body.matchAll(/^ {4}(\w+): number;$/gm)].map(([, name]) => name),
      Object.keys(LIMITS),
    );
  });

  test("the core knows them all", async () => {
    const file = await openTensorFile(at("plain.deathtensors"), { limits: { ...LIMITS } });
    file.close();
    const error = await refusal(() =>
      openTensorFile(at("plain.deathtensors"), { limits: { colour: 1 } }),
    );
    assert.equal(error.code, "usage.option");
    assert.equal(error.expected, `one of ${Object.keys(LIMITS).join(", ")}`);
  });
});

/** Asserts that the work needs that much memory, and says so with less. */
async function needs(need, tensor, work) {
  await work({ memoryBytes: need });
  const error = await refusal(() => work({ memoryBytes: need - 1 }));
  assert.deepEqual(
    [error.code, error.expected, error.found, error.tensor],
    ["limit.memory", `at most ${need - 1} bytes`, `${need} bytes`, tensor],
    error.message,
  );
}

suite("memory", () => {
  const reading =
    (source, use) =>
    async (limits, workers = 0) => {
      const file = await openTensorFile(source, { limits, workers });
      try {
        return await use(file);
      } finally {
        file.close();
      }
    };

  test("opening needs sixteen times the header", async () => {
    for (const name of ["plain", "packed"]) {
      const source = at(`${name}.deathtensors`);
      const { headerBytes } = await reading(source, (file) => file.facts)({});
      await needs(
        16 * headerBytes,
        undefined,
        reading(source, () => {}),
      );
    }
  });

  test("plain tensors need their bytes, and what they are converted to", async () => {
    const source = at("plain.deathtensors");
    const { dtype, nbytes, elements, shape } = await reading(source, (f) => f.info("embedding"))(
      {},
    );
    assert.equal(dtype, "F32");
    const read = (use) => reading(source, use);
    await needs(
      nbytes,
      "embedding",
      read((file) => file.getTensor("embedding")),
    );
    const rows = (5 * nbytes) / shape[0];
    assert.ok(rows > 10_000);
    await needs(
      rows,
      "embedding",
      read((file) => file.getSlice("embedding", 0, 5)),
    );
    await needs(
      2 * nbytes,
      "embedding",
      read((file) => file.npy("embedding")),
    );
    // Statistics take pieces.
    const stats = await read((file) => file.stats("embedding"))({ memoryBytes: 100_000 });
    assert.equal(stats.count, elements);
  });

  test("frames of which a part is wanted count whole", async () => {
    const source = at("packed.deathtensors");
    const { nbytes, shape } = await reading(source, (file) => file.info("embedding"))({});
    const read = (use) => reading(source, use);
    await needs(
      nbytes,
      "embedding",
      read((file) => file.getTensor("embedding")),
    );
    const row = nbytes / shape[0];
    const one = read((file) => file.getSlice("embedding", 0, 1));
    await needs(row + 256 * 1024, "embedding", one);
    // A frame is decoded as a whole also by what works through a tensor.
    await needs(
      256 * 1024,
      "embedding",
      read((file) => file.stats("embedding")),
    );
  });

  test("a sharded model and a manifest pass limits on", async () => {
    const limits = { rank: 0 };
    for (const name of ["sharded/model.deathtensors", "plain.deathtensors.json"]) {
      const error = await refusal(() => openTensorFile(at(name), { limits }));
      assert.equal(error.code, "limit.rank", error.message);
      assert.match(error.message, /expected at most 0, found 1 or more/);
    }
  });
});
