import { Data } from "./data.ts";
import type { Model } from "./engine/face.ts";
import { acquire, type Pool } from "./engine/pool.ts";
import { asError, TensorFileError, throwIfAborted, usage } from "./errors.ts";
import { listOf, OpenFile } from "./file.ts";
import { checkMemory, limitsJson, withDefaults } from "./limits.ts";
import { type Located, locate, type Place } from "./location.ts";
import { openManifest } from "./manifest.ts";
import { Kept, Ranges } from "./ranges.ts";
import { openShards } from "./sharded.ts";
import { Fetcher } from "./source/fetcher.ts";
import { FIRST_REQUEST } from "./source/http.ts";
import type { FileFacts, OpenOptions, Source, TensorFile } from "./types.ts";

/** What opening an index or a manifest takes beside its content. */
export interface Beside {
  located: Located;
  context: Context;
  root?: string;
  release(): void;
}

/** What opening a file and the files that belong to it share. */
export interface Context {
  readonly options: OpenOptions;
  readonly limits: string;
  readonly fetcher: Fetcher;
  readonly pool: Pool;
  readonly kept: Kept;
  readonly headerBytes: number;
  readonly memoryBytes: number;
}

/**
 * Opens a tensor file, reading its header only: a URL, a Hub reference or page, a path in Node, a
 * file, bytes, or anything that bytes can be read from. An index of shards opens as one file.
 */
export async function openTensorFile(
  source: Source,
  options: OpenOptions = {},
): Promise<TensorFile> {
  const { root } = options;
  // The core takes strings on trust.
  if (root !== undefined && typeof root !== "string") {
    throw usage("option", "root is a digest in hexadecimal digits", { found: typeof root });
  }
  const limits = withDefaults(options.limits);
  throwIfAborted(options.signal);
  const fetcher = new Fetcher(options);
  // The module is made ready while the first bytes are on their way.
  const [engine, place] = await Promise.allSettled([
    acquire(options.workers),
    locate(source, options, fetcher),
  ]);
  if (engine.status === "rejected" || place.status === "rejected") {
    if (engine.status === "fulfilled") engine.value.release();
    if (place.status === "fulfilled") place.value.close?.();
    throw asError(
      place.status === "rejected" ? place.reason : (engine as PromiseRejectedResult).reason,
    );
  }
  const { pool, release } = engine.value;
  const context = {
    options,
    limits: limitsJson(limits),
    fetcher,
    pool,
    kept: new Kept(options.cacheBytes),
    headerBytes: limits.headerBytes,
    memoryBytes: limits.memoryBytes,
  };
  try {
    return await openOne({ located: place.value, context, root, release });
  } catch (error) {
    place.value.close?.();
    release();
    throw asError(error);
  }
}

/** Opens one file, or all of those that an index names. */
async function openOne(beside: Beside): Promise<TensorFile> {
  const { located, context, root, release } = beside;
  const { face } = context.pool;
  const ranges = rangesOf(located, context);
  if (await isJson(ranges, context.options.signal)) {
    if (root !== undefined) throw usage("option", "only a deathtensors file has a root to pin");
    const text = await readText(ranges, context);
    ranges.close();
    if (!/"weight_map"\s*:/.test(text)) return openManifest(text, beside);
    return openShards(face.parseSafetensorsIndex(text, context.limits), undefined, beside);
  }
  const model = await readHeader(ranges, context);
  if (root !== undefined) model.checkRoot(undefined, root);
  const shards = face.parseIndex(model);
  if (shards) return openShards(shards, model, beside);
  return fileOf(model, ranges, located, context, root !== undefined, release);
}

/** A file that is no index, for those that are made of several. */
export async function openPlain(
  source: Source | Place,
  context: Context,
  pinned?: string,
): Promise<OpenFile> {
  const located = await locate(source, context.options, context.fetcher);
  try {
    const ranges = rangesOf(located, context);
    const model = await readHeader(ranges, context);
    if (pinned !== undefined) model.checkRoot(undefined, pinned);
    return fileOf(model, ranges, located, context, pinned !== undefined, () => {});
  } catch (error) {
    located.close?.();
    throw error;
  }
}

function fileOf(
  model: Model,
  ranges: Ranges,
  located: Located,
  { pool, fetcher, memoryBytes }: Context,
  pinned: boolean,
  release: () => void,
): OpenFile {
  const { metadata, facts } = factsOf(model, located);
  return new OpenFile({
    model,
    facts,
    metadata,
    infos: listOf(model),
    data: new Data(model, ranges, pool, facts.compressed, memoryBytes),
    ranges,
    pool,
    counters: fetcher.counters,
    pinned,
    onClose() {
      located.close?.();
      release();
    },
  });
}

/** What the core says of a file as a whole, and where it came from. */
export function factsOf(
  model: Model,
  { feed, commit }: Pick<Located, "feed" | "commit">,
): { metadata: Record<string, string>; facts: FileFacts } {
  const { metadata, shardIndex, ...facts } = JSON.parse(model.summary());
  void shardIndex;
  return {
    metadata: Object.freeze(metadata),
    facts: Object.freeze({ ...facts, name: feed.name, ...(commit !== undefined && { commit }) }),
  };
}

function rangesOf({ feed, head }: Located, { pool, fetcher, kept }: Context): Ranges {
  const coalesce = pool.face.coalesce.bind(pool.face);
  const ranges = new Ranges(feed, coalesce, fetcher.counters, kept);
  if (head) ranges.add(0, head);
  return ranges;
}

/** Feeds the core until it has seen the whole header. */
async function readHeader(ranges: Ranges, { pool, limits, options }: Context): Promise<Model> {
  const { signal, onProgress } = options;
  const opening = new pool.face.Opening(ranges.feed.byteLength, limits);
  try {
    for (;;) {
      const [start, end] = opening.need();
      if (opening.feed(start, await ranges.read(start, end, signal))) return opening.finish();
      onProgress?.(end, opening.need()[1]);
    }
  } finally {
    opening.free();
  }
}

/** Whether this is JSON text: an index of safetensors, or a manifest. */
async function isJson(ranges: Ranges, signal?: AbortSignal): Promise<boolean> {
  const most = Math.min(ranges.feed.byteLength, FIRST_REQUEST);
  const head = (await ranges.read(0, most, signal)).subarray(0, 256);
  // The first bytes of a safetensors file can look like JSON, but they are a small number.
  if (head.length < 2 || head.subarray(4, 8).every((byte) => byte === 0)) return false;
  return /^\s*\{\s*["}]/.test(String.fromCharCode(...head));
}

async function readText(ranges: Ranges, context: Context): Promise<string> {
  const { headerBytes, memoryBytes, options } = context;
  const { byteLength } = ranges.feed;
  if (byteLength > headerBytes) {
    throw new TensorFileError({
      code: "limit.header_bytes",
      message: "the JSON text is longer than the limit",
      expected: `at most ${headerBytes} bytes`,
      found: `${byteLength} bytes`,
    });
  }
  checkMemory(byteLength, memoryBytes);
  const bytes = await ranges.read(0, byteLength, options.signal);
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new TensorFileError({
      code: "manifest.invalid",
      message: "the text is not UTF-8",
      cause,
    });
  }
}
