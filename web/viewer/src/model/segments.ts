import type { FrameInfo, TensorFile, TensorInfo } from "deathtensors";

/** A span of the file, from first byte to last, and what it holds. */
export interface Segment {
  readonly start: number;
  readonly end: number;
  readonly info: TensorInfo | undefined;
  /** For what is no tensor. */
  readonly words: string;
}

export interface Layout {
  readonly segments: readonly Segment[];
  readonly bytes: number;
  /** Where the uncompressed data begins on this scale. */
  readonly dataStart: number;
  readonly uncompressed: boolean;
}

/**
 * Tensors where they stand. Of a compressed file that is the data as it will be when decoded: what
 * stands where in the file itself is for the frames to say. Shards follow each other.
 */
export function layoutOf(file: TensorFile): Layout {
  const { facts } = file;
  const sharded = facts.format === "sharded";
  const inFile = !facts.compressed && !sharded;
  const dataStart = inFile ? facts.dataStart : 0;
  const bases = shardBases(file);
  const segments: Segment[] = file
    .infos()
    .filter((info) => info.nbytes > 0)
    .map((info) => {
      const base = dataStart + (bases.get(info.shard ?? "") ?? 0);
      const [start, end] = info.dataOffsets;
      return { start: base + start, end: base + end, info, words: "" };
    })
    .sort((a, b) => a.start - b.start);
  const dataEnd = segments.reduce((end, segment) => Math.max(end, segment.end), dataStart);
  if (inFile) {
    segments.unshift({ start: 0, end: dataStart, info: undefined, words: "header" });
    if (facts.fileBytes > dataEnd) {
      const words = facts.checksum ? "SHA-256 footer" : "bytes of no tensor";
      segments.push({ start: dataEnd, end: facts.fileBytes, info: undefined, words });
    }
  }
  const bytes = Math.max(1, inFile ? facts.fileBytes : dataEnd);
  return { segments, bytes, dataStart, uncompressed: facts.compressed };
}

function shardBases(file: TensorFile): Map<string, number> {
  const bases = new Map<string, number>();
  if (!file.facts.shards) return bases;
  const lengths = new Map<string, number>();
  for (const { shard = "", dataOffsets } of file.infos()) {
    lengths.set(shard, Math.max(lengths.get(shard) ?? 0, dataOffsets[1]));
  }
  let base = 0;
  for (const { name } of file.facts.shards) {
    bases.set(name, base);
    base += lengths.get(name) ?? 0;
  }
  return bases;
}

/** The segment that holds a byte; of aliases, the first. */
export function segmentAt(segments: readonly Segment[], at: number): number {
  let low = 0;
  let high = segments.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((segments[middle] as Segment).end <= at) low = middle + 1;
    else high = middle;
  }
  const found = segments[low];
  return found && found.start <= at ? low : -1;
}

/** Stored bytes for each byte of data: below 1 if compression helped. */
export function ratio({ stored, data }: FrameInfo): number {
  return (stored[1] - stored[0]) / Math.max(1, data[1] - data[0]);
}
