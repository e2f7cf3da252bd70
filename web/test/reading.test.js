/** Reading files of every kind, compared with what numpy makes of the same bytes. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { openAsBlob, readFileSync } from "node:fs";
import { copyFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { before, suite, test } from "node:test";
import {
  diff,
  engineInfo,
  LIMITS,
  openTensorFile,
  TensorFileError,
  version,
} from "../dist/index.js";
import { fixtures, makeFixtures, readJson, refusal } from "./support.js";

before(makeFixtures);

const at = (name) => `${fixtures}/${name}`;
const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

/** Opens a file for as long as `use` takes. */
async function opened(source, use, options) {
  const file = await openTensorFile(source, options);
  try {
    return await use(file);
  } finally {
    file.close();
  }
}

function close(found, wanted, what) {
  const far = Math.abs(found - wanted) > 1e-9 * Math.max(1e-300, Math.abs(wanted), 1e-3);
  assert.ok(!far, `${what}: ${found} where numpy has ${wanted}`);
}

suite("dtypes", () => {
  const arrays = {
    I8: Int8Array,
    U16: Uint16Array,
    I16: Int16Array,
    U32: Uint32Array,
    I32: Int32Array,
    U64: BigUint64Array,
    I64: BigInt64Array,
    F32: Float32Array,
    F64: Float64Array,
  };
  for (const name of ["dtypes", "dtypes_compressed"]) {
    for (const workers of [0, 2]) {
      test(`${name} with ${workers} workers`, () =>
        opened(
          at(`${name}.deathtensors`),
          async (file) => {
            const answers = readJson(at("dtypes.json"));
            assert.deepEqual(file.keys(), Object.keys(answers));
            for (const dtype of file.keys()) await checkDtype(file, dtype, answers[dtype]);
          },
          { workers },
        ));
    }
  }

  async function checkDtype(file, dtype, answer) {
    const { data, shape } = await file.getTensor(dtype);
    assert.deepEqual(shape, [24, 40]);
    assert.equal(data.constructor, arrays[dtype] ?? Uint8Array, dtype);
    const floats = await file.getTensor(dtype, { as: "float32" });
    const bits = new Uint32Array(floats.data.buffer);
    for (const [at, wanted] of answer.floats.entries()) {
      const nan = (wanted & 0x7fffffff) > 0x7f800000;
      if (nan) assert.ok(Number.isNaN(floats.data[at]));
      else assert.equal(bits[at], wanted >>> 0, `${dtype} ${at}`);
    }
    const stats = await file.stats(dtype);
    for (const key of ["nnz", "nan", "posinf", "neginf"])
      assert.equal(stats[key], answer[key], key);
    if (typeof answer.min === "string") {
      assert.equal(String(stats.min), answer.min);
      assert.equal(String(stats.max), answer.max);
    } else {
      assert.equal(stats.min, answer.min);
      assert.equal(stats.max, answer.max);
    }
    // Beyond the range of float64, numpy's own sums are infinite.
    if (answer.mean !== null) close(stats.mean, answer.mean, `${dtype} mean`);
    if (Number.isFinite(answer.stddev)) close(stats.stddev, answer.stddev, `${dtype} stddev`);
    if (answer.histogram) {
      const { counts, edges } = await file.histogram(dtype, { bins: 16 });
      assert.deepEqual([...counts], answer.histogram.counts, dtype);
      for (const [at, edge] of edges.entries()) close(edge, answer.histogram.edges[at], "edge");
    }
    const columns = await file.channelStats(dtype, 1);
    assert.deepEqual([...columns.min], answer.column_min);
    const rows = await file.channelStats(dtype, 0);
    for (const [at, mean] of rows.mean.entries()) {
      if (Math.abs(answer.row_mean[at]) < 1e300)
        close(mean, answer.row_mean[at], `${dtype} row ${at}`);
    }
    const window = await file.getWindow(dtype, {
      rows: { start: 3, count: 4, step: 5 },
      columns: { start: 1, count: 19, step: 2 },
    });
    assert.deepEqual([window.rows, window.columns], [4, 19]);
    for (const [at, wanted] of answer.window.entries()) {
      if (wanted === null) assert.ok(!Number.isFinite(window.values[at]));
      else assert.equal(window.values[at], wanted);
    }
    const slice = await file.getSlice(dtype, 2, 3, { as: "bytes" });
    const whole = await file.getTensor(dtype, { as: "bytes" });
    const row = whole.data.length / 24;
    assert.deepEqual(slice.data, whole.data.slice(2 * row, 5 * row));
    assert.deepEqual(slice.shape, [3, 40]);
  }
});

suite("formats", () => {
  for (const name of [
    "plain.deathtensors",
    "footed.deathtensors",
    "digested.deathtensors",
    "packed.deathtensors",
    "full.deathtensors",
    "plain.safetensors",
  ]) {
    test(`${name} from every source`, async () => {
      const answers = readJson(at("compressed.json")).sha256;
      const bytes = readFileSync(at(name));
      const exact = new Uint8Array(bytes);
      const sources = {
        path: at(name),
        "file URL": `file://${at(name)}`,
        blob: await openAsBlob(at(name)),
        File: new File([exact], name),
        buffer: exact.buffer,
        view: new Uint8Array([...new Uint8Array(3), ...exact]).subarray(3),
        "own source": {
          byteLength: exact.length,
          read: async (offset, length) => exact.subarray(offset, offset + length),
        },
      };
      for (const [kind, source] of Object.entries(sources)) {
        await opened(source, async (file) => {
          assert.deepEqual(new Set(file.keys()), new Set(Object.keys(answers)), kind);
          for (const [key, digest] of Object.entries(answers)) {
            const { data } = await file.getTensor(key, { as: "bytes" });
            assert.equal(sha256(data), digest, `${kind}: ${key}`);
          }
          assert.equal(file.metadata.of, "tests");
        });
      }
      assert.equal(sha256(exact), sha256(bytes), "the caller's memory is as it was");
    });
  }

  test("facts", () =>
    opened(at("full.deathtensors"), async (file) => {
      const { facts } = file;
      assert.equal(facts.name, "full.deathtensors");
      assert.equal(facts.format, "deathtensors");
      assert.equal(facts.parameters, 1024 * 1024 + 300_000 + 2);
      assert.ok(facts.compressed && facts.checksum && facts.digests);
      assert.equal(file.root, readJson(at("compressed.json")).roots.full);
      const frames = await file.frames("embedding");
      assert.equal(frames.length, 16);
      assert.deepEqual(frames[0].data, [0, 256 << 10]);
      assert.ok((await file.frames()).length > frames.length);
    }));

  test("real weights", async () => {
    const answers = readJson(at("minilm.json"));
    for (const name of ["plain.deathtensors", "compressed.deathtensors", "model.safetensors"]) {
      await opened(at(`minilm/${name}`), async (file) => {
        assert.deepEqual(new Set(file.keys()), new Set(Object.keys(answers)));
        for (const [key, answer] of Object.entries(answers)) {
          const { data } = await file.getTensor(key, { as: "bytes" });
          assert.equal(sha256(data), answer.sha256);
          const stats = await file.stats(key);
          assert.equal(Number(stats.min), answer.min);
          assert.equal(Number(stats.max), answer.max);
          close(stats.mean, answer.mean, key);
          close(stats.stddev, answer.stddev, key);
        }
      });
    }
  });
});

suite("sampling and progress", () => {
  test("a sample says its share", () =>
    opened(at("packed.deathtensors"), async (file) => {
      const stats = await file.stats("embedding", { maxBytes: 256 << 10 });
      assert.ok(stats.share > 0.02 && stats.share < 0.2, String(stats.share));
      assert.equal(stats.count, Math.round(stats.share * 1024 * 1024));
      const channels = await file.channelStats("embedding", 1, { maxBytes: 256 << 10 });
      assert.equal(channels.mean.length, 1024);
      const counted = channels.count.reduce((a, b) => a + b);
      assert.equal(counted, stats.count);
    }));

  test("progress ends at the total", () =>
    opened(at("packed.deathtensors"), async (file) => {
      const seen = [];
      await file.getTensor("embedding", { onProgress: (...now) => seen.push(now) });
      assert.ok(seen.length > 1);
      assert.deepEqual(seen.at(-1), [4 << 20, 4 << 20]);
    }));

  test("cancelled work says so", () =>
    opened(at("packed.deathtensors"), async (file) => {
      const error = await refusal(() =>
        file.getTensor("embedding", { signal: AbortSignal.abort() }),
      );
      assert.equal(error.name, "AbortError");
      assert.equal(error.code, "io.interrupted");
      const control = new AbortController();
      const onProgress = () => control.abort();
      const late = await refusal(() =>
        file.stats("embedding", { signal: control.signal, onProgress }),
      );
      assert.equal(late.code, "io.interrupted");
      assert.equal((await file.getTensor("embedding")).data.length, 1 << 20);
    }));
});

test("parts of compressed tensors are those of plain ones", () =>
  opened(at("plain.deathtensors"), (plain) =>
    opened(at("packed.deathtensors"), async (packed) => {
      for (const step of [1, 2, 3, 50, 150]) {
        const rows = { start: step, count: 6, step };
        const columns = { start: 1, count: 200, step: 5 };
        for (const axes of [undefined, [1, 0]]) {
          const [a, b] = await Promise.all(
            [plain, packed].map((file) => file.getWindow("embedding", { rows, columns, axes })),
          );
          assert.deepEqual(a, b);
        }
        const [a, b] = await Promise.all(
          [plain, packed].map((file) => file.getSlice("embedding", 3 * step, step)),
        );
        assert.deepEqual(a, b);
      }
      for (const maxBytes of [1, 5000, 100_000, 3_000_000]) {
        const options = { maxBytes };
        assert.deepEqual(await plain.stats("head", options), await packed.stats("head", options));
        assert.deepEqual(
          await plain.channelStats("embedding", 0, options),
          await packed.channelStats("embedding", 0, options),
        );
      }
    }),
  ));

suite("verification", () => {
  test("sound files", async () => {
    for (const name of ["footed", "digested", "full"]) {
      await opened(at(`${name}.deathtensors`), async (file) => {
        const told = [];
        let last;
        const report = await file.verify(undefined, {
          onTensor: (key, sound) => told.push([key, sound]),
          onProgress: (...now) => {
            last = now;
          },
        });
        assert.deepEqual(report.errors, []);
        assert.equal(report.verified, true);
        assert.equal(report.footer, true);
        assert.equal(report.root, name === "footed" ? undefined : true);
        assert.equal(told.length, 4);
        assert.equal(last[0], last[1]);
        assert.equal(
          (await file.verify("head")).tensors.get("head"),
          name === "footed" ? undefined : true,
        );
      });
    }
  });

  test("damaged files", async () => {
    for (const name of ["footed", "digested", "full"]) {
      await opened(at(`damaged_${name}.deathtensors`), async (file) => {
        const report = await file.verify();
        assert.equal(report.verified, false);
        assert.equal(report.footer, false);
        const codes = report.errors.map(({ code }) => code);
        assert.ok(codes.includes("integrity.footer"), codes.join());
        if (name === "footed") return;
        assert.equal(report.tensors.get("embedding"), false);
        assert.equal(report.tensors.get("scale"), true);
        const wrong = report.errors.find(({ tensor }) => tensor === "embedding");
        assert.match(wrong.code, /^(integrity\.tensor|frames\.)/);
      });
    }
  });

  test("a pinned file is checked before anything is handed out", async () => {
    const { roots } = readJson(at("compressed.json"));
    await opened(
      at("digested.deathtensors"),
      async (file) => {
        assert.equal((await file.getSlice("head", 10, 5)).data.length, 5);
      },
      { root: roots.digested },
    );
    await opened(
      at("damaged_digested.deathtensors"),
      async (file) => {
        for (const read of [
          () => file.getTensor("embedding"),
          () => file.getSlice("embedding", 1000, 1),
          () => file.stats("embedding", { maxBytes: 1000 }),
        ]) {
          assert.equal((await refusal(read)).code, "integrity.tensor");
        }
        await file.getTensor("scale");
      },
      { root: roots.digested },
    );
    const other = await refusal(() =>
      openTensorFile(at("full.deathtensors"), { root: "0".repeat(64) }),
    );
    assert.equal(other.code, "integrity.root");
    const without = await refusal(() =>
      openTensorFile(at("plain.deathtensors"), { root: roots.full }),
    );
    assert.equal(without.code, "integrity.root");
  });
});

suite("several files", () => {
  test("shards of both formats open as one", async () => {
    const { root, sha256: answers } = readJson(at("sharded.json"));
    for (const [path, options] of [
      ["sharded/model.deathtensors", {}],
      ["sharded/model.deathtensors", { root }],
      ["sharded_safetensors/model.safetensors.index.json", {}],
    ]) {
      await opened(
        at(path),
        async (file) => {
          assert.equal(file.facts.format, "sharded");
          assert.equal(file.facts.shards.length, 3 + (path.startsWith("sharded/") ? 2 : 0));
          assert.equal(file.facts.parameters, 9 * 64 * 32);
          for (const [key, digest] of Object.entries(answers)) {
            const { data } = await file.getTensor(key, { as: "bytes" });
            assert.equal(sha256(data), digest);
            assert.match(file.info(key).shard, /^model-0000\d-of-0000\d\./);
          }
          assert.equal(Object.keys(JSON.parse(file.manifest()).tensors).length, 9);
          assert.deepEqual((await file.verify()).errors, []);
        },
        options,
      );
    }
  });

  test("an index without its shards", async () => {
    const bytes = readFileSync(at("sharded/model.deathtensors"));
    assert.equal((await refusal(() => openTensorFile(bytes))).code, "usage.unavailable");
    const siblings = (name) => at(`sharded/${name}`);
    await opened(bytes, (file) => assert.equal(file.keys().length, 9), { siblings });
    const folder = await mkdtemp(`${tmpdir()}/shards-`);
    try {
      await copyFile(at("sharded/model.deathtensors"), `${folder}/model.deathtensors`);
      const error = await refusal(() => openTensorFile(`${folder}/model.deathtensors`));
      assert.equal(error.code, "not_found.file");
      assert.match(error.message, /model-0000\d-of-/);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  test("differences", async () => {
    await opened(at("plain.deathtensors"), (plain) =>
      opened(at("other.deathtensors"), async (other) => {
        const found = await diff(plain, other);
        assert.deepEqual(found.valueChanged, ["head"]);
        assert.deepEqual(found.added, ["more"]);
        assert.deepEqual(found.removed, ["scale"]);
        assert.equal(found.equal, false);
        const same = await opened(at("full.deathtensors"), (full) =>
          diff(plain, full, { compareBytes: true }),
        );
        assert.equal(same.equal, true);
      }),
    );
    await opened(at("sharded/model.deathtensors"), (ours) =>
      opened(at("sharded_safetensors/model.safetensors.index.json"), async (theirs) => {
        const found = await diff(ours, theirs);
        assert.deepEqual(found.valueChanged, []);
        assert.deepEqual(found.added, []);
      }),
    );
  });

  test("a manifest lists, and reads the file beside it", async () => {
    await opened(at("plain.deathtensors.json"), async (file) => {
      assert.equal(file.facts.format, "manifest");
      assert.deepEqual(file.info("scale").shape, [2]);
      assert.deepEqual([...(await file.getTensor("scale")).data], [1.5, 2.5]);
    });
    await opened(readFileSync(at("plain.deathtensors.json")), async (file) => {
      const error = await refusal(() => file.getTensor("scale"));
      assert.equal(error.code, "usage.unavailable");
    });
    const broken = await refusal(() => openTensorFile(new TextEncoder().encode('{"tensors": 1}')));
    assert.equal(broken.code, "manifest.invalid");
  });
});

suite("the rest", () => {
  test("schema, manifest, npy", () =>
    opened(at("plain.deathtensors"), async (file) => {
      assert.equal(Object.keys(JSON.parse(file.manifest()).tensors).length, 4);
      const npy = await file.npy("scale");
      assert.equal(String.fromCharCode(...npy.subarray(1, 6)), "NUMPY");
      assert.match(String.fromCharCode(...npy.subarray(10, 128)), /'descr': '<f4'/);
      assert.deepEqual(new Float32Array(npy.slice(-8).buffer), Float32Array.of(1.5, 2.5));
    }));

  test("misuse is refused in words", async () => {
    const codes = {
      "not_found.file": () => openTensorFile(at("absent.deathtensors")),
      "usage.source": () => openTensorFile(7),
      "usage.option": () => openTensorFile(at("plain.deathtensors"), { limits: { tensor: 1 } }),
      "limit.tensors": () => openTensorFile(at("plain.deathtensors"), { limits: { tensors: 3 } }),
      "io.failed": () =>
        openTensorFile({ byteLength: 99, read: () => Promise.reject(new Error("no disk")) }),
      "prefix.magic": () =>
        openTensorFile(new TextEncoder().encode("<!doctype html><p>not found here")),
    };
    for (const [code, work] of Object.entries(codes)) {
      const error = await refusal(work);
      assert.ok(error instanceof TensorFileError && error instanceof Error);
      assert.equal(error.code, code);
      assert.equal(error.kind.length > 0, true);
    }
    const file = await openTensorFile(at("plain.deathtensors"));
    assert.equal((await refusal(() => file.getTensor("absent"))).code, "not_found.tensor");
    assert.equal((await refusal(() => file.getSlice("head", 0, 300_001))).code, "usage.range");
    file.close();
    assert.equal((await refusal(() => file.getTensor("head"))).code, "usage.closed");
    assert.throws(() => file.manifest(), { code: "usage.closed" });
  });

  test("what the package says of itself", async () => {
    const info = await engineInfo();
    assert.equal(info.version, version);
    assert.ok(info.workers >= 1 && !info.fallback);
    assert.equal(LIMITS.inflatedBytes, 2 ** 40);
    assert.ok(Object.isFrozen(LIMITS));
  });
});
