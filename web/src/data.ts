import type { Model } from "./engine/face.ts";
import type { Pool } from "./engine/pool.ts";
import { TensorFileError, throwIfAborted, usage } from "./errors.ts";
import { checkMemory } from "./limits.ts";
import type { Lease, Range, Ranges } from "./ranges.ts";
import { LONGEST } from "./ranges.ts";

/** Stored bytes, and uncompressed ones, that make one job. */
const JOB_STORED = 1 << 20;
const JOB_DATA = 4 << 20;
/** A job this small is not worth a worker. */
const LITTLE = 64 << 10;
/** Of a frame or blob longer than this, the beginning is looked at before the rest is fetched. */
const LONG = 8 << 20;
const BEGINNING = 64 << 10;
/** The longest array in the module, whose addresses have 32 bits, and what all may take. */
const LONGEST_ARRAY = 2 ** 31 - 1;
const MODULE_BYTES = 3 * 2 ** 30;
/** What works ahead of the one that is waited for may hold together, once decoded. */
const AHEAD_DATA = 256 << 20;
/** How much data is planned at once, and how many pieces are arranged and joined, at most. */
const PLANNED = 1 << 20;
const MOST_PIECES = 1 << 16;
const MOST_JOINED = 1 << 12;
/** A blob without a table is kept once it is decoded, if it is no longer than this. */
const KEPT_WHOLE = 256 << 20;

/** How a piece of the data is stored. */
const Stored = {
  Plain: 0,
  Frame: 1,
  Whole: 2,
} as const;

/** Where a piece of the data is in the file, and which part of it is wanted. */
interface Piece {
  file: Range;
  stored: (typeof Stored)[keyof typeof Stored];
  dataBytes: number;
  skip: number;
  take: number;
  /** Of what is taken, the parts that are wanted, if not all: starts and ends. */
  parts?: Range[];
}

/** Pieces that are fetched and decoded together. */
interface Work {
  pieces: Piece[];
  dataBytes: number;
  batch: Batch;
}

/** Works whose bytes are fetched by one plan. */
interface Batch {
  ranges: Range[];
  bytes: number;
  works: number;
  lease?: Lease;
}

/** Told of the file's own bytes in their order, each before what was made of it is handed out. */
export type Watch = (start: number, stored: Uint8Array) => Promise<void>;

/** A work that is done. */
interface Done {
  bytes: Uint8Array;
  /** The file's own bytes, for whoever watches, and where they start. */
  stored?: Uint8Array;
  start: number;
}

/** Reads data: from a span of it to pieces of the file, and back to bytes. */
export class Data {
  readonly #model: Model;
  readonly #ranges: Ranges;
  readonly #pool: Pool;
  readonly #compressed: boolean;
  /** The limit of memory. */
  readonly most: number;
  #table: Promise<void> | undefined;
  #whole: Uint8Array | undefined;
  #closed = false;

  constructor(model: Model, ranges: Ranges, pool: Pool, compressed: boolean, most: number) {
    this.#model = model;
    this.#ranges = ranges;
    this.#pool = pool;
    this.#compressed = compressed;
    this.most = most;
  }

  /** Reads the seek table, once. */
  async table(signal?: AbortSignal): Promise<void> {
    if (!this.#compressed) return;
    throwIfAborted(signal);
    // The signal is that of whoever comes first; if it aborts, the next one tries again.
    this.#table ??= this.#readTable(signal).catch((error) => {
      this.#table = undefined;
      throw error;
    });
    try {
      await this.#table;
    } catch (error) {
      throwIfAborted(signal);
      if ((error as { code?: string }).code !== "io.interrupted") throw error;
      await this.table(signal);
    }
  }

  async #readTable(signal?: AbortSignal): Promise<void> {
    for (let need = this.#model.tableNeed(); need; need = this.#model.tableNeed()) {
      const [start, end] = need;
      // What is made of it is twice as long.
      if (end - start > LONG) checkModule(end - start, 2 * (end - start));
      this.#model.tableFeed(start, await this.#readLong([start, end], "frames.table", signal));
    }
  }

  /** Frames, or plain pieces, that hold a span, in full. */
  async pieces([start, end]: Range, signal?: AbortSignal): Promise<Float64Array> {
    await this.table(signal);
    return start === end ? new Float64Array() : this.#model.plan(start, end);
  }

  /** The data of some spans, in their order, in pieces of any length. */
  async *stream(
    spans: readonly Range[],
    signal?: AbortSignal,
    watch?: Watch,
  ): AsyncGenerator<Uint8Array> {
    // Nothing needs no frames, sound or not.
    if (spans.every(isEmpty)) return;
    await this.table(signal);
    yield* this.#run(this.#merged(spans), signal, watch);
  }

  /** One after the other, since there may be millions. */
  *#merged(spans: readonly Range[]): Generator<Piece> {
    let last: Piece | undefined;
    for (const span of spans) {
      for (const piece of this.#plan(span)) {
        if (last && merge(last, piece)) continue;
        if (last) yield last;
        last = piece;
      }
    }
    if (last) yield last;
  }

  /** The file's own bytes, in pieces of any length. */
  stored([start, end]: Range, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    return this.#run([plain([start, end])], signal);
  }

  /** The data of some spans in one array. The call will need `more` bytes of memory. */
  async bytes(
    spans: readonly Range[],
    signal?: AbortSignal,
    onBytes?: (done: number) => void,
    more = 0,
  ): Promise<Uint8Array> {
    const length = spans.reduce((sum, [start, end]) => sum + end - start, 0);
    if (!spans.every(isEmpty)) await this.table(signal);
    let inPart = 0;
    for (const piece of this.#merged(spans)) if (isInPart(piece)) inPart += piece.dataBytes;
    checkMemory(length + inPart + more, this.most);
    let whole: Uint8Array | undefined;
    let filled = 0;
    for await (const piece of this.#run(this.#merged(spans), signal)) {
      // Room is made once the first piece has come, since it is made on the file's word.
      whole ??= new Uint8Array(length);
      whole.set(piece, filled);
      filled += piece.byteLength;
      onBytes?.(filled);
    }
    return whole ?? new Uint8Array();
  }

  /** The file's own bytes: of many, the beginning first, and no more if it is not zstd's. */
  async #readLong([start, end]: Range, code: string, signal?: AbortSignal): Promise<Uint8Array> {
    if (end - start <= LONG) return this.#ranges.read(start, end, signal);
    const beginning = await this.#ranges.read(start, start + BEGINNING, signal);
    if (!this.#pool.face.startsAsZstd(beginning.subarray(0, 4))) {
      throw new TensorFileError({ code, message: "this is not zstd: it has another magic" });
    }
    const whole = new Uint8Array(end - start);
    whole.set(beginning);
    let filled = beginning.byteLength;
    for await (const piece of this.stored([start + filled, end], signal)) {
      whole.set(piece, filled);
      filled += piece.byteLength;
    }
    return whole;
  }

  /** What is under way ends when it needs the core next, which is freed after this. */
  close(): void {
    this.#closed = true;
  }

  *#plan([start, end]: Range): Generator<Piece> {
    this.#checkOpen();
    const inFrames = this.#model.frameCount() > 0;
    let done = start;
    while (done < end) {
      this.#checkOpen();
      // Frames may hold one byte each.
      const flat = this.#model.plan(done, inFrames ? Math.min(done + PLANNED, end) : end);
      for (let at = 0; at < flat.length; at += 5) {
        const [fileStart, fileEnd, dataStart, dataEnd, framed] = flat.subarray(at, at + 5);
        const from = Math.max(start, dataStart);
        const to = Math.min(end, dataEnd);
        done = to;
        if (!framed) {
          yield plain([fileStart + from - dataStart, fileStart + to - dataStart]);
          continue;
        }
        yield {
          file: [fileStart, fileEnd],
          stored: inFrames ? Stored.Frame : Stored.Whole,
          dataBytes: dataEnd - dataStart,
          skip: from - dataStart,
          take: to - from,
        };
      }
    }
  }

  #checkOpen(): void {
    if (this.#closed) throw usage("closed", "the file was closed");
  }

  /** Some works ahead of the one that is waited for, so that all workers and the line are busy. */
  async *#run(
    pieces: Iterable<Piece>,
    signal?: AbortSignal,
    watch?: Watch,
  ): AsyncGenerator<Uint8Array> {
    const works = arrange(pieces);
    const ahead: { done: Promise<Done>; data: number }[] = [];
    const leases = new Set<Lease>();
    let next = works.next();
    let held = 0;
    // Long ones wait for their turn, since each may take much memory.
    const mayStart = ({ pieces: [first], dataBytes }: Work) =>
      ahead.length === 0 ||
      (!isLong(first) && ahead.length < this.#pool.size * 2 + 2 && held + dataBytes <= AHEAD_DATA);
    try {
      while (!next.done || ahead.length > 0) {
        while (!next.done && mayStart(next.value)) {
          const work = next.value;
          next = works.next();
          const watched = watch !== undefined;
          const done = isLong(work.pieces[0])
            ? this.#long(work.pieces[0], watched, signal)
            : this.#work(work, leases, watched, signal);
          // It may fail before its turn to be waited for has come.
          done.catch(() => {});
          ahead.push({ done, data: work.dataBytes });
          held += work.dataBytes;
        }
        const { bytes, stored, start } = await ahead[0].done;
        held -= ahead[0].data;
        ahead.shift();
        if (stored) await watch?.(start, stored);
        yield bytes;
      }
    } finally {
      for (const lease of leases) lease.release();
    }
  }

  async #work(
    { pieces, batch }: Work,
    leases: Set<Lease>,
    watched: boolean,
    signal?: AbortSignal,
  ): Promise<Done> {
    const [first] = pieces;
    const start = first.file[0];
    batch.lease ??= this.#ranges.want(batch.ranges, signal);
    const { lease } = batch;
    leases.add(lease);
    try {
      const bytes = await lease.read(start, pieces[pieces.length - 1].file[1]);
      // A copy, since decoding gives the bytes away.
      const stored = watched ? bytes.slice() : undefined;
      return { start, stored, bytes: await this.#decode(pieces, start, bytes, signal) };
    } finally {
      if (--batch.works === 0) lease.release();
    }
  }

  /** A frame that is stored in many bytes, or a blob without a table. */
  async #long(piece: Piece, watched: boolean, signal?: AbortSignal): Promise<Done> {
    const { file, stored: how, dataBytes, skip, take } = piece;
    const [start, end] = file;
    const part = (whole: Uint8Array) => compact([piece], whole.slice(skip, skip + take));
    if (how === Stored.Whole && this.#whole && !watched) {
      return { start, bytes: part(this.#whole) };
    }
    if (end - start > LONG) {
      checkModule(end - start, dataBytes);
      checkMemory(end - start, this.most);
    }
    const bytes = await this.#readLong(file, "frames.decode", signal);
    // A copy, since decoding gives the bytes away.
    const stored = watched ? bytes.slice() : undefined;
    if (how === Stored.Frame) {
      return { start, stored, bytes: await this.#decode([piece], start, bytes, signal) };
    }
    const whole = await this.#pool.run({ op: "whole", bytes, dataBytes }, signal);
    if (whole.byteLength <= KEPT_WHOLE) this.#whole = whole;
    return { start, stored, bytes: part(whole) };
  }

  async #decode(pieces: readonly Piece[], start: number, bytes: Uint8Array, signal?: AbortSignal) {
    const [first] = pieces;
    if (first.stored === Stored.Plain) return bytes;
    const frames = Float64Array.from(
      pieces.flatMap(({ file, dataBytes, skip, take }) => [
        file[0] - start,
        file[1] - start,
        dataBytes,
        skip,
        take,
      ]),
    );
    const data = pieces.reduce((sum, { dataBytes }) => sum + dataBytes, 0);
    const job = { op: "frames", bytes, frames } as const;
    const decoded = data <= LITTLE ? this.#pool.now(job) : await this.#pool.run(job, signal);
    return compact(pieces, decoded);
  }
}

/** Takes a later part of the same frame along with an earlier one, so that it is decoded once. */
function merge(last: Piece, next: Piece): boolean {
  if (last.stored === Stored.Plain || last.file[0] !== next.file[0]) return false;
  if (next.skip < last.skip + last.take) return false;
  last.parts ??= [[0, last.take]];
  last.take = next.skip + next.take - last.skip;
  last.parts.push([last.take - next.take, last.take]);
  return true;
}

function isLong({ stored, file: [start, end] }: Piece): boolean {
  return stored === Stored.Whole || (stored === Stored.Frame && end - start > LONG);
}

/** Refuses what cannot be in the module's memory at once, before any of it is fetched. */
function checkModule(taken: number, made: number): void {
  if (taken + made <= MODULE_BYTES && Math.max(taken, made) <= LONGEST_ARRAY) return;
  throw new TensorFileError({
    code: "limit.memory",
    message: "this does not fit into the memory that WebAssembly has",
    expected: `at most ${LONGEST_ARRAY} bytes, and ${MODULE_BYTES} together`,
    found: `${taken} bytes stored and ${made} made of them`,
  });
}

/** Whether more is decoded than is wanted, or kept. */
function isInPart({ stored, take, dataBytes, parts }: Piece): boolean {
  if (stored === Stored.Plain) return false;
  return stored === Stored.Whole || take < dataBytes || parts !== undefined;
}

/** Leaves only what is wanted of decoded pieces. */
function compact(pieces: readonly Piece[], decoded: Uint8Array): Uint8Array {
  if (pieces.every(({ parts }) => parts === undefined)) return decoded;
  let base = 0;
  let filled = 0;
  for (const { take, parts = [[0, take]] } of pieces) {
    for (const [start, end] of parts) {
      decoded.copyWithin(filled, base + start, base + end);
      filled += end - start;
    }
    base += take;
  }
  return decoded.slice(0, filled);
}

function isEmpty([start, end]: Range): boolean {
  return start === end;
}

function plain(file: Range): Piece {
  const length = file[1] - file[0];
  return { file, stored: Stored.Plain, dataBytes: length, skip: 0, take: length };
}

/** Divides pieces into works of a sensible size, and those into batches. */
function* arrange(pieces: Iterable<Piece>): Generator<Work> {
  let works: Work[] = [];
  let batch = noBatch();
  let count = 0;
  for (const piece of pieces) {
    for (const part of cut(piece)) {
      const bytes = part.file[1] - part.file[0];
      const full = batch.bytes > 0 && batch.bytes + bytes > LONGEST;
      if (full || isLong(part) || count === MOST_PIECES) {
        // What a batch fetches is known once it is complete.
        yield* works;
        [works, batch, count] = [[], noBatch(), 0];
      }
      if (isLong(part)) {
        // It is fetched by itself.
        yield { pieces: [part], dataBytes: part.dataBytes, batch };
        continue;
      }
      addRange(batch.ranges, part.file);
      batch.bytes += bytes;
      count++;
      const last = works.at(-1);
      if (last && joins(last, part)) {
        last.pieces.push(part);
        last.dataBytes += part.dataBytes;
        continue;
      }
      batch.works++;
      works.push({ pieces: [part], dataBytes: part.dataBytes, batch });
    }
  }
  yield* works;
}

/** Adds a range to others, or to the last of them where it goes on from there. */
function addRange(ranges: Range[], [start, end]: Range): void {
  const last = ranges.at(-1);
  if (last?.[1] === start) ranges[ranges.length - 1] = [last[0], end];
  else ranges.push([start, end]);
}

function noBatch(): Batch {
  return { ranges: [], bytes: 0, works: 0 };
}

/** A long plain piece in parts. */
function cut(piece: Piece): Piece[] {
  const [start, end] = piece.file;
  if (piece.stored !== Stored.Plain || end - start <= JOB_DATA) return [piece];
  const parts: Piece[] = [];
  for (let at = start; at < end; at += JOB_DATA)
    parts.push(plain([at, Math.min(at + JOB_DATA, end)]));
  return parts;
}

/** Whether a frame goes with those before it. */
function joins({ pieces, dataBytes }: Work, next: Piece): boolean {
  const last = pieces[pieces.length - 1];
  if (next.stored !== Stored.Frame || last.stored !== Stored.Frame) return false;
  if (last.file[1] !== next.file[0] || pieces.length === MOST_JOINED) return false;
  return next.file[1] - pieces[0].file[0] <= JOB_STORED && dataBytes + next.dataBytes <= JOB_DATA;
}
