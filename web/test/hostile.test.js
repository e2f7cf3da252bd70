/** Files that cost their author nothing: holes in place of bytes, and lengths that are lies. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { suite, test } from "node:test";
import { promisify } from "node:util";
import { diff, openTensorFile } from "../dist/index.js";
import { refusal } from "./support.js";

const MIB = 2 ** 20;
const COMPRESSED = 1;

/** A compressed file's bytes before its blob, which holds one tensor `a` of that shape. */
function head(...shape) {
  const dataBytes = shape.reduce((product, length) => product * length, 1);
  const text = JSON.stringify({
    format: "deathtensors",
    format_version: 1,
    tensors: { a: { dtype: "U8", shape, data_offsets: [0, dataBytes] } },
  }).padEnd(256 - 24);
  const prefix = Buffer.alloc(24);
  prefix.write("DTLEGION");
  prefix.writeUInt32LE(1, 8);
  prefix.writeUInt32LE(COMPRESSED, 12);
  prefix.writeBigUInt64LE(BigInt(text.length), 16);
  return Buffer.concat([prefix, Buffer.from(text)]);
}

const BLOB = 256;

/** A seek table of `[stored, data]`, or its last bytes, which claim that many frames. */
function seekTable(frames, claimed = frames.length) {
  const table = Buffer.alloc(8 + 8 * frames.length + 9);
  table.writeUInt32LE(0x184d2a5e, 0);
  table.writeUInt32LE(table.length - 8, 4);
  for (const [nth, [stored, data]] of frames.entries()) {
    table.writeUInt32LE(stored, 8 + 8 * nth);
    table.writeUInt32LE(data, 12 + 8 * nth);
  }
  table.writeUInt32LE(claimed, table.length - 9);
  table.writeUInt32LE(0x8f92eab1, table.length - 4);
  return claimed === frames.length ? table : table.subarray(-9);
}

/** One zstd frame that holds these bytes as they are. */
function frameOf(data) {
  const start = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 0]);
  start.writeUInt32LE(data.length, 5);
  const pieces = [start];
  const most = 128 << 10;
  for (let at = 0; at < data.length; at += most) {
    const block = data.subarray(at, at + most);
    const last = at + most >= data.length ? 1 : 0;
    const header = Buffer.alloc(4);
    header.writeUInt32LE(block.length * 8 + last);
    pieces.push(header.subarray(0, 3), block);
  }
  return Buffer.concat(pieces);
}

/** A source with holes: zeros but for `[offset, bytes]`, counting what is asked of it. */
function sparse(byteLength, ...parts) {
  const source = {
    byteLength,
    asked: 0,
    read(offset, length) {
      source.asked += length;
      const bytes = new Uint8Array(length);
      for (const [at, part] of parts) {
        const from = Math.max(at, offset);
        const to = Math.min(at + part.length, offset + length);
        if (from < to) bytes.set(part.subarray(from - at, to - at), from - offset);
      }
      return bytes;
    },
  };
  return source;
}

/** The refusal of some work on a file, of which no more than a little may have been read. */
async function refusedEarly(source, work, options) {
  const file = await openTensorFile(source, { workers: 0, ...options });
  try {
    const error = await refusal(() => work(file));
    // The guess at the length of a seek table is 4 MiB at most.
    assert.ok(source.asked <= 5 * MIB, `${source.asked} bytes were read before: ${error.message}`);
    return error.code;
  } finally {
    file.close();
  }
}

const slice = (file) => file.getSlice("a", 0, 4);

suite("blobs without a table that are holes", () => {
  const hole = (bytes, ...shape) => sparse(BLOB + bytes, [0, head(...shape)]);

  test("are refused by their first bytes", async () => {
    for (const work of [
      slice,
      (file) => file.getTensor("a"),
      (file) => file.stats("a", { maxBytes: 1000 }),
    ]) {
      assert.equal(await refusedEarly(hole(2 ** 30, 2 ** 30), work), "frames.decode");
    }
  });

  test("are refused at once where they cannot be decoded here", async () => {
    for (const [stored, data] of [
      [2 ** 40, 2 ** 40],
      [2 ** 40, 1000],
      [2 ** 31 - 1, 2 ** 31 - 1],
    ]) {
      assert.equal(await refusedEarly(hole(stored, data), slice), "limit.memory");
    }
  });

  test("count against the limit of memory", async () => {
    const limits = { memoryBytes: 2 ** 29 };
    assert.equal(await refusedEarly(hole(2 ** 30, 1000), slice, { limits }), "limit.memory");
  });

  test("and files on disk too", { timeout: 30_000 }, async () => {
    const folder = await mkdtemp(`${tmpdir()}/hole-`);
    const path = `${folder}/hole.deathtensors`;
    try {
      const handle = await open(path, "w");
      await handle.write(head(2 ** 40));
      await handle.truncate(BLOB + 2 ** 40);
      await handle.close();
      const file = await openTensorFile(path);
      const before = process.memoryUsage.rss();
      assert.equal((await refusal(() => slice(file))).code, "limit.memory");
      assert.ok(process.memoryUsage.rss() - before < 64 * MIB);
      file.close();
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

suite("seek tables that promise much", () => {
  const withTable = (stored, data, table) =>
    sparse(BLOB + stored + table.length, [0, head(data)], [BLOB + stored, table]);

  test("a long frame is refused by its first bytes", async () => {
    const [stored, data] = [3 * 2 ** 29, 2 ** 20];
    const source = withTable(stored, data, seekTable([[stored, data]]));
    assert.equal(await refusedEarly(source, slice), "frames.decode");
  });

  test("frames of four gibibytes are refused at once", async () => {
    const most = 2 ** 32 - 1;
    for (const [stored, data] of [
      [most, 1000],
      [most, most],
    ]) {
      const source = withTable(3 * stored, 3 * data, seekTable(Array(3).fill([stored, data])));
      assert.equal(await refusedEarly(source, slice), "limit.memory", `${stored}, ${data}`);
    }
  });

  test("a long table is refused by its first bytes", async () => {
    const count = 2 ** 24;
    const tail = seekTable([], count);
    assert.equal(await refusedEarly(withTable(8 * count + 8, 1000, tail), slice), "frames.table");
  });

  test("one that cannot be read here is refused at once", async () => {
    const count = 2 ** 27;
    const tail = seekTable([], count);
    assert.equal(await refusedEarly(withTable(8 * count + 8, 1000, tail), slice), "limit.memory");
  });
});

test("a million frames of one byte are not all planned at once", { timeout: 60_000 }, async () => {
  const count = 2 ** 20;
  const table = seekTable(Array(count).fill([10, 1]));
  const folder = await mkdtemp(`${tmpdir()}/frames-`);
  const path = `${folder}/tiny.deathtensors`;
  const script = `
    const { openTensorFile } = await import(${JSON.stringify(new URL("../dist/index.js", import.meta.url))});
    const file = await openTensorFile(process.argv[1], { workers: 0 });
    for (const work of [() => file.getTensor("a"), () => file.stats("a"), () => file.verify("a")]) {
      console.log(await work().then(({ errors }) => errors[0].code, ({ code }) => code));
    }`;
  try {
    const handle = await open(path, "w");
    await handle.write(head(count));
    await handle.write(table, 0, table.length, BLOB + 10 * count);
    await handle.close();
    // A heap that a million objects do not fit into.
    const flags = ["--max-old-space-size=48", "--input-type=module", "-e", script, path];
    const { stdout } = await promisify(execFile)(process.execPath, flags);
    assert.deepEqual(stdout.trim().split("\n"), Array(3).fill("frames.decode"));
  } finally {
    await rm(folder, { recursive: true });
  }
});

suite("what is long and sound", () => {
  const [rows, columns] = [9, MIB];
  const data = Buffer.alloc(
    rows * columns,
    Uint8Array.from({ length: 251 }, (_, i) => i),
  );
  const frame = frameOf(data);
  const sources = {
    "without a table": () => sparse(BLOB + frame.length, [0, head(rows, columns)], [BLOB, frame]),
    "between short frames": () => {
      const cuts = [0, 5, data.length - 5, data.length];
      const frames = cuts.slice(1).map((end, nth) => frameOf(data.subarray(cuts[nth], end)));
      const sizes = frames.map((one, nth) => [one.length, cuts[nth + 1] - cuts[nth]]);
      const blob = Buffer.concat([...frames, seekTable(sizes)]);
      return sparse(BLOB + blob.length, [0, head(rows, columns)], [BLOB, blob]);
    },
    "in one frame": () => {
      const table = seekTable([[frame.length, data.length]]);
      const parts = [
        [0, head(rows, columns)],
        [BLOB, frame],
        [BLOB + frame.length, table],
      ];
      return sparse(BLOB + frame.length + table.length, ...parts);
    },
  };
  for (const [what, make] of Object.entries(sources)) {
    test(`${what}, is read`, async () => {
      const file = await openTensorFile(make());
      const all = (await file.getTensor("a")).data;
      assert.ok(data.equals(all));
      const two = (await file.getSlice("a", 3, 2)).data;
      assert.ok(data.subarray(3 * columns, 5 * columns).equals(two));
      file.close();
    });

    test(`${what}, is fetched and decoded once for many parts`, async () => {
      const source = make();
      const file = await openTensorFile(source, { cacheBytes: 0 });
      const window = await file.getWindow("a", {
        rows: { start: 0, count: rows, step: 1 },
        columns: { start: 10, count: 3 },
      });
      const wanted = Array.from({ length: rows }, (_, row) => [
        ...data.subarray(row * columns + 10, row * columns + 13),
      ]).flat();
      assert.deepEqual([...window.values], wanted);
      assert.ok(source.asked < frame.length + MIB, `${source.asked} bytes were read`);
      file.close();
    });

    test(`${what}, is verified`, async () => {
      const file = await openTensorFile(make());
      const { frames, errors } = await file.verify();
      assert.deepEqual([frames, errors], [true, []]);
      file.close();
    });
  }
});

test("a file that is closed while it is compared says so", async () => {
  const count = 70;
  const frame = frameOf(Buffer.alloc(MIB, 7));
  const blob = Buffer.concat([
    ...Array(count).fill(frame),
    seekTable(Array(count).fill([frame.length, MIB])),
  ]);
  const bytes = Buffer.concat([head(count * MIB), blob]);
  const file = await openTensorFile(bytes);
  const source = {
    byteLength: bytes.length,
    read(offset, length) {
      if (offset > MIB) file.close();
      return Uint8Array.from(bytes.subarray(offset, offset + length));
    },
  };
  const other = await openTensorFile(source);
  const { code, message } = await refusal(() => diff(file, other));
  assert.equal(code, "usage.closed", message);
  other.close();
});
