/** Values and shapes at the ends of what there can be. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { constants } from "node:fs";
import { mkdtemp, open, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { suite, test } from "node:test";
import { listHub, openTensorFile, parseSource } from "../dist/index.js";
import { safetensors, shardIndex } from "./files.js";
import { refusal } from "./support.js";

async function opened(tensors, use) {
  const file = await openTensorFile(safetensors(tensors));
  try {
    return await use(file);
  } finally {
    file.close();
  }
}

suite("windows of 64-bit integers", () => {
  const shape = [3, 4, 5];
  const signed = BigInt64Array.from({ length: 60 }, (_, i) => 2n ** 62n + BigInt(i));
  signed[7] = -(2n ** 63n);
  const unsigned = BigUint64Array.from({ length: 60 }, (_, i) => 2n ** 64n - 1n - BigInt(i));
  const tensors = [
    ["signed", "I64", shape, signed],
    ["unsigned", "U64", shape, unsigned],
    ["row", "I64", [60], signed],
    ["cell", "I64", [], signed.subarray(3, 4)],
    ["none", "I64", [0, 4], new BigInt64Array()],
    ["float", "F32", [2], new Float32Array(2)],
  ];
  const all = (count) => ({ start: 0, count });

  test("hold every digit, along whichever axes", () =>
    opened(tensors, async (file) => {
      for (const [name, values] of [
        ["signed", signed],
        ["unsigned", unsigned],
      ]) {
        for (const axes of [[0, 1], [1, 0], [0, 2], [2, 1], undefined]) {
          const [down, across] = axes ?? [1, 2];
          const index = [2, 1, 3];
          const [rows, columns] = [
            { start: 1, count: 2 },
            { start: 0, count: 2, step: 2 },
          ];
          const { integers } = await file.getWindow(name, { axes, index, rows, columns });
          const wanted = [1, 2].flatMap((row) =>
            [0, 2].map((column) => {
              const at = index.map((i, axis) =>
                axis === down ? row : axis === across ? column : i,
              );
              return values[(at[0] * 4 + at[1]) * 5 + at[2]];
            }),
          );
          assert.deepEqual([...integers], wanted, `${name} along ${axes}`);
        }
      }
    }));

  test("of one row, one cell, and none", () =>
    opened(tensors, async (file) => {
      const columns = { start: 4, count: 3, step: 20 };
      const row = await file.getWindow("row", { rows: all(1), columns });
      assert.deepEqual(
        [...row.integers],
        [4, 24, 44].map((i) => signed[i]),
      );
      const cell = await file.getWindow("cell", { rows: all(1), columns: all(1) });
      assert.deepEqual([...cell.integers], [signed[3]]);
      const none = await file.getWindow("none", { rows: all(0), columns: all(4) });
      assert.equal(none.integers.length, 0);
    }));

  test("other dtypes have none", () =>
    opened(tensors, async (file) => {
      const window = await file.getWindow("float", { rows: all(1), columns: all(2) });
      assert.equal("integers" in window, false);
    }));
});

suite("histograms", () => {
  test("of values further apart than any double is large", () =>
    opened([["ends", "F64", [4], Float64Array.of(-1.7e308, 1.7e308, 1, -1)]], async (file) => {
      const { edges, counts, below, above } = await file.histogram("ends", { bins: 4 });
      assert.deepEqual([...counts], [0, 1, 1, 0]);
      assert.deepEqual([below, above], [1, 1]);
      assert.deepEqual([edges[0], edges[4]], [-0.85e308, 0.85e308]);
    }));

  test("of one value, and of none", () =>
    opened(
      [
        ["one", "F32", [3], Float32Array.of(-7, -7, Number.NaN)],
        ["none", "F32", [2], Float32Array.of(Number.NaN, Number.POSITIVE_INFINITY)],
      ],
      async (file) => {
        const one = await file.histogram("one");
        assert.equal(
          one.counts.reduce((a, b) => a + b),
          2,
        );
        assert.equal(one.nan, 1);
        const none = await file.histogram("none");
        assert.deepEqual([none.nan, none.posinf], [1, 1]);
        const { min, max, mean } = await file.stats("none");
        assert.ok([min, max, mean].every(Number.isNaN));
      },
    ));
});

test("an empty tensor is read whatever the seek table is like, and verify looks at it", async () => {
  const path = new URL("../../fuzz/crashers/file/empty_tensor_and_bad_table", import.meta.url);
  const file = await openTensorFile(await readFile(path));
  assert.equal((await file.getTensor("#b")).data.length, 0);
  const { frames, errors, verified } = await file.verify();
  assert.equal(frames, false);
  assert.deepEqual(
    errors.map(({ code }) => code),
    ["frames.table"],
  );
  assert.equal(verified, false);
  file.close();
});

test("a window without sound rows, columns, axes or index is misuse", () =>
  opened([["a", "F32", [2, 3], new Float32Array(6)]], async (file) => {
    const all = { start: 0, count: 2 };
    const both = { rows: all, columns: all };
    assert.equal((await file.getWindow("a", both)).values.length, 4);
    const wrong = [
      {},
      { rows: all },
      { columns: all },
      { rows: null, columns: all },
      { rows: {}, columns: all },
      { rows: all, columns: { start: "0", count: 1 } },
      { rows: all, columns: { start: 0, count: 1.5 } },
      { rows: all, columns: { start: -1, count: 1 } },
      { ...both, axes: 1 },
      { ...both, axes: [0.5, 1] },
      { ...both, axes: [-1, 0] },
      { ...both, index: "00" },
      { ...both, index: [undefined, 0] },
    ];
    for (const request of [undefined, null, ...wrong]) {
      const { code, message } = await refusal(() => file.getWindow("a", request));
      assert.equal(code, "usage.option", `${JSON.stringify(request)}: ${message}`);
    }
  }));

test("errors show names from files as text", async () => {
  const folder = await mkdtemp(`${tmpdir()}/names-`);
  try {
    const shard = "a\u202eb\u061cc.safetensors";
    const index = `${folder}/model.safetensors.index.json`;
    const shown = /a\\u\{202e\}b\\u\{61c\}c\.safetensors/;
    await writeFile(index, shardIndex([[shard, ["a"]]]));
    const absent = await refusal(() => openTensorFile(index));
    execFileSync("mkfifo", [`${folder}/${shard}`]);
    const pipe = await refusal(() => openTensorFile(index));
    assert.deepEqual([absent.code, pipe.code], ["not_found.file", "io.failed"]);
    for (const { message, stack } of [absent, pipe]) {
      assert.match(message, shown);
      assert.doesNotMatch(message, /\p{Cc}|\p{Cf}/u);
      assert.doesNotMatch(stack, /[\u202e\u061c]/);
    }
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("roots, limits, ranges and sources of other types are misuse", async () => {
  const bytes = safetensors([["a", "F32", [2], new Float32Array(2)]]);
  const code = async (work) => (await refusal(work)).code;
  for (const wrong of [0, 1, {}, [], true, null, () => 1, Symbol("root")]) {
    assert.equal(await code(() => openTensorFile(bytes, { root: wrong })), "usage.option");
    assert.equal(await code(async () => parseSource(wrong)), "usage.source");
    assert.equal(await code(() => listHub(wrong)), "usage.source");
  }
  for (const limits of [null, 1, "x"]) {
    assert.equal(await code(() => openTensorFile(bytes, { limits })), "usage.option");
  }
  await opened([["a", "F32", [2], new Float32Array(2)]], async (file) => {
    for (const range of [null, 0, "01", [], [0], [0, "1"], [0n, 1n], [0, 1, 2]]) {
      assert.equal(await code(() => file.histogram("a", { range })), "usage.option");
    }
    assert.equal((await file.histogram("a", { range: [0, 1] })).edges[0], 0);
  });
});

suite("pipes and devices", () => {
  /** Runs `use` on a pipe that nobody writes to, and tells whether somebody had to. */
  async function withPipe(use) {
    const folder = await mkdtemp(`${tmpdir()}/pipe-`);
    const pipe = `${folder}/pipe.safetensors`;
    execFileSync("mkfifo", [pipe]);
    let waited = false;
    // Who waits for a writer is given one, since nothing else would end the wait.
    const timer = setTimeout(async () => {
      waited = true;
      await (await open(pipe, constants.O_RDWR | constants.O_NONBLOCK)).close();
    }, 3000);
    try {
      await use(folder, pipe);
    } finally {
      clearTimeout(timer);
      await rm(folder, { recursive: true });
    }
    assert.equal(waited, false, "it waited for a writer");
  }

  const refused = async (path, words) => {
    const { code, message } = await refusal(() => openTensorFile(path));
    assert.deepEqual([code, words.test(message)], ["io.failed", true], message);
  };

  test("are refused without waiting for them", () =>
    withPipe(async (folder, pipe) => {
      await refused(pipe, /it is not a regular file/);
      await refused("/dev/zero", /it is not a regular file/);
      await refused(folder, /it is not a regular file/);
    }));

  test("so are shards", () =>
    withPipe(async (folder) => {
      const index = `${folder}/model.safetensors.index.json`;
      await writeFile(index, shardIndex([["pipe.safetensors", ["a"]]]));
      await refused(index, /shard "pipe.safetensors": .*it is not a regular file/);
    }));
});
