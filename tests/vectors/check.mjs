/**
 * Every conformance vector through the wasm module: accepted or refused with its code.
 *
 * In Node: `node tests/vectors/check.mjs [FOLDER]`, the folder being the one that
 * tests/tools/wasm.sh fills. In a browser: import `checkVectors`, and pass it the
 * initialised module, the list of files and a function that fetches one.
 */

/** Undoes the generator's shortening of long strings. */
function restore(value) {
  if (Array.isArray(value)) return value.map(restore);
  if (value === null || typeof value !== "object") return value;
  const keys = Object.keys(value).sort().join();
  if (keys === "repeat,times") return value.repeat.repeat(value.times);
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, restore(v)]));
}

/** Equal as JSON, whatever the order of keys. */
function same(a, b) {
  const plain = (value) =>
    value && typeof value === "object" && !Array.isArray(value)
      ? Object.fromEntries(Object.keys(value).sort().map((key) => [key, plain(value[key])]))
      : Array.isArray(value) ? value.map(plain) : value;
  return JSON.stringify(plain(a)) === JSON.stringify(plain(b));
}

/** Reads one file's bytes by the module's plans, as an engine would. */
class Reader {
  constructor(wasm, bytes, limits) {
    this.wasm = wasm;
    this.bytes = bytes;
    const opening = new wasm.Opening(bytes.length, limits);
    try {
      for (let done = false, steps = 0; !done; steps++) {
        if (steps > 3) throw new Error("opening takes too many steps");
        const [start, end] = opening.need();
        done = opening.feed(start, bytes.subarray(start, end));
      }
      this.model = opening.finish();
    } finally {
      opening.free();
    }
    this.summary = JSON.parse(this.model.summary());
    this.list = JSON.parse(this.model.list());
  }

  table() {
    for (let need = this.model.tableNeed(); need; need = this.model.tableNeed()) {
      const [start, end] = need;
      if (this.model.tableFeed(start, this.bytes.subarray(start, end))) break;
    }
  }

  read(start, end) {
    this.table();
    const plan = this.model.plan(start, end);
    const parts = [];
    for (let at = 0; at < plan.length; at += 5) {
      const [from, to, dataStart, dataEnd, how] = plan.subarray(at, at + 5);
      const stored = this.bytes.subarray(from, to);
      const [first, last] = [Math.max(start, dataStart), Math.min(end, dataEnd)];
      const [skip, take] = [first - dataStart, last - first];
      const { decodeFrame, decodeWhole } = this.wasm;
      let part = stored;
      if (how === 1) part = decodeFrame(stored, dataEnd - dataStart, skip, take);
      if (how === 2) part = decodeWhole(stored, dataEnd - dataStart).subarray(skip, skip + take);
      parts.push([part, first - start]);
    }
    // Memory only for what was decoded: the file's word counts for nothing before.
    const out = new Uint8Array(end - start);
    for (const [part, at] of parts) out.set(part, at);
    return out;
  }

  sha256(bytes) {
    const hasher = new this.wasm.Sha256();
    // In two pieces, since nothing else here is.
    hasher.update(bytes.subarray(0, 7));
    hasher.update(bytes.subarray(7));
    return hasher.finish();
  }

  readAll() {
    // A compressed file without tensors has a blob all the same.
    if (this.summary.compressed) {
      this.table();
      if (!this.list.some((tensor) => tensor.nbytes > 0)) this.readEmpty();
    }
    return this.list.map((tensor) => this.read(...tensor.dataOffsets));
  }

  /** Decodes a blob that holds nothing. */
  readEmpty() {
    if (this.model.frameCount() !== undefined) return;
    const start = this.summary.dataStart;
    const stored = this.bytes.subarray(start, start + this.summary.storedBytes);
    this.wasm.decodeWhole(stored, 0);
  }

  verify() {
    this.model.checkRoot();
    this.list.forEach((tensor, nth) => {
      this.model.checkDigest(nth, this.sha256(this.read(...tensor.dataOffsets)));
    });
    const footer = this.model.footer();
    if (footer) {
      const footed = this.bytes.subarray(...this.model.footed());
      this.model.checkFooter(this.bytes.subarray(...footer), this.sha256(footed));
    }
  }

  free() {
    this.model.free();
  }
}

function checkValid(wasm, answer, bytes, expect) {
  const file = new Reader(wasm, bytes);
  const { summary } = file;
  expect(same(file.list.map((t) => t.name), answer.keys), "keys");
  expect(same(summary.metadata, answer.global_metadata), "global metadata");
  expect(summary.compressed === answer.compressed, "compressed");
  expect(summary.checksum === answer.checksum, "checksum");
  if (answer.digests) expect(summary.digests, "digests");
  expect((summary.root ?? null) === answer.root, "root");
  const data = file.readAll();
  file.list.forEach((tensor, nth) => {
    const wanted = answer.tensors[tensor.name];
    expect(file.model.position(tensor.name) === nth, "position");
    expect(same(tensor.dataOffsets, wanted.data_offsets), "offsets");
    for (const field of ["dtype", "shape", "nbytes", "metadata"]) {
      expect(same(tensor[field], wanted[field]), `${field} of ${tensor.name.slice(0, 40)}`);
    }
    expect(data[nth].length === wanted.nbytes, "length");
    expect(file.sha256(data[nth]) === wanted.sha256, `bytes of ${tensor.name.slice(0, 40)}`);
    const stats = new wasm.StatsReducer(tensor.dtype);
    stats.update(data[nth]);
    expect(stats.finish().count === tensor.elements, "elements");
    expect(wasm.decodeFloats(tensor.dtype, data[nth]).length === tensor.elements, "floats");
  });
  file.verify();
  const manifest = wasm.manifestModel(file.model.manifest("test", "2026-01-01T00:00:00Z"));
  expect(same(JSON.parse(manifest.list()), file.list), "manifest");
  manifest.free();
  file.free();
}

function checkRefused(wasm, answer, bytes, expect) {
  let stage = "open";
  let error;
  try {
    const file = new Reader(wasm, bytes);
    stage = "read";
    file.readAll();
    stage = "verify";
    file.verify();
  } catch (thrown) {
    error = thrown;
  }
  if (error === undefined) return expect(false, `accepted, although ${answer.why}`);
  const text = error.code ?? error.stack ?? error;
  expect(error.code === answer.code, `refused with ${text} instead of ${answer.code}`);
  expect(Object.getPrototypeOf(error) === Object.prototype, "a plain object is thrown");
  expect(typeof error.message === "string" && error.message !== "", "there is a message");
  expect(!error.message?.includes("\n") && error.message?.length < 2000, "message is one line");
  // A tensor is known where its bytes are read, which is above the module.
  if (answer.tensor !== null && stage !== "read") {
    expect(error.tensor === answer.tensor, `tensor ${error.tensor} instead of ${answer.tensor}`);
  }
  const order = ["open", "read", "verify"];
  expect(order.indexOf(stage) <= order.indexOf(answer.when), `refused at ${stage}`);
}

async function checkSharded(wasm, answer, folder, fetchBytes, refused, expect) {
  let error;
  try {
    const main = new Reader(wasm, await fetchBytes(`${folder}/index.deathtensors`));
    const index = wasm.parseIndex(main.model);
    if (!index) throw { code: "shards.not_index" };
    const { shards } = JSON.parse(index.json());
    const keys = shards.flatMap((shard) => shard.tensors);
    if (!refused) expect(same(keys, answer.keys), "keys");
    if (!refused) expect(same(shards.map((s) => s.path), answer.shards), "paths");
    for (const [nth, shard] of shards.entries()) {
      const bytes = await fetchBytes(`${folder}/${shard.path}`);
      if (!bytes) throw { code: "not_found.file" };
      const file = new Reader(wasm, bytes);
      file.model.checkShard(index, nth);
      if (shard.root) file.model.checkRoot(undefined, shard.root);
      const data = file.readAll();
      file.list.forEach((tensor, nth) => {
        if (refused) return;
        expect(answer.which_shard[tensor.name] === shard.path, "shard");
        expect(file.sha256(data[nth]) === answer.sha256[tensor.name], "bytes");
      });
      file.verify();
    }
  } catch (thrown) {
    error = thrown;
  }
  if (!refused) return expect(!error, `refused: ${error?.code ?? error?.stack}`);
  expect(error?.code === answer.code, `${error?.code ?? error?.stack} instead of ${answer.code}`);
}

/**
 * Checks all vectors. `names` are paths below the folder of vectors, without their
 * extensions: `valid/…`, `refused/…`, and `sharded/valid/…` and `sharded/refused/…` for
 * folders. `fetchBytes(path)` answers a `Uint8Array`, or undefined where there is no file.
 * Answers how many were checked, and every failure as a line.
 */
export async function checkVectors(wasm, names, fetchBytes) {
  const failures = [];
  let slowest = 0;
  const text = async (path) => restore(JSON.parse(new TextDecoder().decode(await fetchBytes(path))));
  for (const name of names) {
    const expect = (fine, what) => void (fine || failures.push(`${name}: ${what}`));
    try {
      if (name.startsWith("sharded/")) {
        const answer = await text(`${name}/expected.json`);
        const refused = name.startsWith("sharded/refused/");
        await checkSharded(wasm, answer, name, fetchBytes, refused, expect);
        continue;
      }
      const answer = await text(`${name}.json`);
      const bytes = await fetchBytes(`${name}.deathtensors`);
      const started = performance.now();
      (name.startsWith("valid/") ? checkValid : checkRefused)(wasm, answer, bytes, expect);
      const taken = performance.now() - started;
      slowest = Math.max(slowest, taken);
      expect(taken < 1000, `takes ${Math.round(taken)} ms`);
    } catch (thrown) {
      failures.push(`${name}: ${thrown?.message ?? thrown} ${thrown?.stack ?? ""}`);
    }
  }
  return { checked: names.length, slowest, failures };
}

/** The names of all vectors in a folder of files, for Node. */
export async function listVectors(folder) {
  const { readdir } = await import("node:fs/promises");
  const names = [];
  for (const kind of ["valid", "refused", "sharded/valid", "sharded/refused"]) {
    for (const entry of await readdir(`${folder}/${kind}`, { withFileTypes: true })) {
      const stem = entry.name.replace(/\.deathtensors$/, "");
      if (entry.isDirectory() || stem !== entry.name) names.push(`${kind}/${stem}`);
    }
  }
  return names.sort();
}

async function main() {
  const { readFile } = await import("node:fs/promises");
  const { fileURLToPath, pathToFileURL } = await import("node:url");
  const { dirname, resolve } = await import("node:path");
  const here = dirname(fileURLToPath(import.meta.url));
  const folder = resolve(process.argv[2] ?? `${here}/../../web/src/wasm`);
  const wasm = await import(pathToFileURL(`${folder}/deathtensors_wasm.js`).href);
  wasm.initSync({ module: await readFile(`${folder}/deathtensors_wasm_bg.wasm`) });
  const fetchBytes = (path) => readFile(`${here}/${path}`).then(
    (bytes) => new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length),
    () => undefined,
  );
  const names = await listVectors(here);
  const { checked, slowest, failures } = await checkVectors(wasm, names, fetchBytes);
  for (const failure of failures) console.error(failure);
  console.log(`${checked} vectors, ${failures.length} failures, slowest ${slowest.toFixed(0)} ms`);
  if (failures.length > 0 || checked < 200) process.exit(1);
}

if (typeof process !== "undefined" && process.argv?.[1]?.endsWith("vectors/check.mjs")) await main();
