import type { Gather } from "./engine/jobs.ts";
import { usage } from "./errors.ts";
import { type Bytes, gather } from "./gather.ts";
import { type Inside, pairs } from "./inside.ts";
import type { Range } from "./ranges.ts";
import type {
  ChannelStats,
  Histogram,
  HistogramOptions,
  ReadOptions,
  SampleOptions,
  Stats,
  TensorInfo,
} from "./types.ts";

const USUAL_BINS = 64;

/** The spans of the data that are looked at, and their share of the tensor. */
interface Sample {
  spans: Range[];
  total: number;
  share: number;
}

export async function stats(inside: Inside, name: string, options: SampleOptions): Promise<Stats> {
  const { dtype } = infoOf(inside, name);
  const sample = sampleOf(inside, name, options.maxBytes);
  const bytes = inside.data.stream(sample.spans, options.signal);
  const found = await run(inside, { what: "stats", dtype }, bytes, sample, options);
  return { ...(found as Omit<Stats, "share">), share: sample.share };
}

export async function histogram(
  inside: Inside,
  name: string,
  options: HistogramOptions,
  statsOf: (options: SampleOptions) => Promise<Stats>,
): Promise<Histogram> {
  const { maxBytes, signal, bins = USUAL_BINS } = options;
  const { dtype } = infoOf(inside, name);
  checkRange(options.range);
  const [low, high] = options.range ?? ends(await statsOf({ maxBytes, signal }));
  const sample = sampleOf(inside, name, maxBytes);
  const bytes = inside.data.stream(sample.spans, signal);
  const what: Gather = { what: "histogram", dtype, low, high, bins };
  const found = await run(inside, what, bytes, sample, options);
  return { ...(found as Omit<Histogram, "share">), share: sample.share };
}

export async function channelStats(
  inside: Inside,
  name: string,
  axis: number,
  options: SampleOptions,
): Promise<ChannelStats> {
  const { dtype, shape, dataOffsets } = infoOf(inside, name);
  const sample = sampleOf(inside, name, options.maxBytes);
  const bytes = placed(inside, sample.spans, dataOffsets[0], options.signal);
  const what: Gather = { what: "channels", dtype, shape: [...shape], axis };
  const found = await run(inside, what, bytes, sample, options);
  return { axis, ...(found as Omit<ChannelStats, "axis" | "share">), share: sample.share };
}

/** Bytes with their place within the tensor, at the start of each span. */
async function* placed(
  { data }: Inside,
  spans: readonly Range[],
  base: number,
  signal?: AbortSignal,
): AsyncGenerator<{ bytes: Uint8Array; at: number } | Uint8Array> {
  let nth = 0;
  let left = 0;
  for await (const piece of data.stream(spans, signal)) {
    for (let at = 0; at < piece.byteLength; ) {
      const start = left === 0 ? spans[nth][0] - base : undefined;
      if (left === 0) left = spans[nth][1] - spans[nth++][0];
      const length = Math.min(left, piece.byteLength - at);
      const bytes = piece.slice(at, at + length);
      // Whoever takes the bytes may pass them on, and then they are gone.
      left -= length;
      at += length;
      yield start === undefined ? bytes : { bytes, at: start };
    }
  }
}

function run(
  { pool }: Inside,
  what: Gather,
  bytes: Bytes,
  { total }: Sample,
  { signal, onProgress }: ReadOptions,
): Promise<unknown> {
  const onBytes = onProgress && ((done: number) => onProgress(done, total));
  return gather(pool, what, bytes, total, { signal, onBytes });
}

function sampleOf(inside: Inside, name: string, maxBytes?: number): Sample {
  const { dataOffsets, nbytes } = infoOf(inside, name);
  const all = maxBytes === undefined || maxBytes >= nbytes;
  const spans = (
    all ? [dataOffsets] : pairs(inside.model.sample(inside.place(name), maxBytes), dataOffsets[0])
  ).filter(([start, end]) => start < end);
  const total = spans.reduce((sum, [start, end]) => sum + end - start, 0);
  return { spans, total, share: nbytes === 0 ? 1 : total / nbytes };
}

function infoOf({ infos, place }: Inside, name: string): TensorInfo {
  return infos[place(name)];
}

function checkRange(range: unknown): void {
  const isRange = (ends: unknown) =>
    Array.isArray(ends) && ends.length === 2 && ends.every((end) => typeof end === "number");
  if (range === undefined || isRange(range)) return;
  throw usage("option", "the range of a histogram is two numbers", { expected: "[low, high]" });
}

/**
 * The smallest and largest value as a range; any range will do where there is none. Where the two
 * are further apart than any double is large, it is the middle half.
 */
function ends({ min, max }: Stats): [number, number] {
  const [low, high] = [Number(min), Number(max)];
  if (!Number.isFinite(low) || !Number.isFinite(high)) return [0, 1];
  return Number.isFinite(high - low) ? [low, high] : [low / 2, high / 2];
}
