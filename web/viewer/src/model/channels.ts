import type { ChannelStats } from "deathtensors";

/** Neighbouring channels together, so that as many are drawn as there are pixels. */
export interface Column {
  readonly first: number;
  readonly last: number;
  readonly min: number;
  readonly max: number;
  readonly mean: number;
  readonly stddev: number;
}

export function columnsOf(stats: ChannelStats, most: number): Column[] {
  const n = stats.mean.length;
  const each = Math.max(1, Math.ceil(n / most));
  const columns: Column[] = [];
  for (let first = 0; first < n; first += each)
    columns.push(together(stats, first, Math.min(n, first + each)));
  return columns;
}

function together(stats: ChannelStats, first: number, end: number): Column {
  let min = Number.POSITIVE_INFINITY;
  let max = Number.NEGATIVE_INFINITY;
  let count = 0;
  let sum = 0;
  let squares = 0;
  for (let i = first; i < end; i++) {
    const weight = stats.count[i] as number;
    const mean = stats.mean[i] as number;
    if (!(weight > 0) || !Number.isFinite(mean)) continue;
    min = Math.min(min, stats.min[i] as number);
    max = Math.max(max, stats.max[i] as number);
    count += weight;
    sum += weight * mean;
    squares += weight * ((stats.stddev[i] as number) ** 2 + mean ** 2);
  }
  if (count === 0)
    return {
      first,
      last: end - 1,
      min: Number.NaN,
      max: Number.NaN,
      mean: Number.NaN,
      stddev: Number.NaN,
    };
  const mean = sum / count;
  const stddev = Math.sqrt(Math.max(0, squares / count - mean ** 2));
  return { first, last: end - 1, min, max, mean, stddev };
}

/** The channels whose values are largest, most of all first: often the ones that matter. */
export function loudest(stats: ChannelStats, most: number): number[] {
  const size = (i: number) =>
    Math.max(Math.abs(stats.min[i] as number), Math.abs(stats.max[i] as number));
  return Array.from(stats.mean.keys())
    .filter((i) => Number.isFinite(size(i)))
    .sort((a, b) => size(b) - size(a))
    .slice(0, most);
}
