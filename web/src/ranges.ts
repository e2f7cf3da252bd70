import { asError, interrupted, throwIfAborted, unlessAborted } from "./errors.ts";
import type { Feed } from "./source/feed.ts";
import type { Counters } from "./source/fetcher.ts";

/** `[start, end]` in the file. */
export type Range = readonly [number, number];

/** Few fetches for many ranges: sorted pairs of starts and ends. */
export type Coalesce = (ranges: Float64Array, gap: number, longest: number) => Float64Array;

/** Holes between wanted ranges that are fetched along; more where there would be many requests. */
const GAP = 16 << 10;
const WIDEST_GAP = 1 << 20;
const MANY_REQUESTS = 24;
/** The most that one request asks for. */
export const LONGEST = 64 << 20;
/** How many pieces are kept at most, however small. */
const MOST_SEGMENTS = 4096;

/** A part of the file that was fetched or is being fetched. */
interface Segment {
  readonly start: number;
  readonly end: number;
  readonly bytes: Uint8Array;
  filled: number;
  error?: unknown;
  leases: number;
  readonly control: AbortController;
  waiting: { until: number; wake: () => void }[];
}

/** Ranges that someone needs: they stay in memory until released. */
export interface Lease {
  /** Bytes of the file that are no one else's to change; waits until they have come. */
  read(start: number, end: number): Promise<Uint8Array>;
  release(): void;
}

/** How much is kept of what was fetched, by all the files together that are open as one. */
export class Kept {
  readonly #most: number;
  /** In the order of their last use. */
  readonly #sharers = new Set<Ranges>();

  constructor(most = 64 << 20) {
    this.#most = most;
  }

  /** Throws away what was used longest ago, of the files that were used longest ago. */
  shrink(used: Ranges): void {
    this.#sharers.delete(used);
    this.#sharers.add(used);
    let over = -this.#most;
    for (const { bytes } of this.#sharers) over += bytes;
    for (const each of this.#sharers) {
      if (over <= 0) return;
      over -= each.shed(over);
    }
  }

  leave(gone: Ranges): void {
    this.#sharers.delete(gone);
  }
}

/**
 * What is wanted, fetched in few requests and kept for a while. Those who want the same bytes at
 * once share a request, which is given up when the last of them is.
 */
export class Ranges {
  readonly feed: Feed;
  readonly #coalesce: Coalesce;
  readonly #counters: Counters;
  readonly #kept: Kept;
  /** In the order of their last use. */
  #segments: Segment[] = [];

  constructor(feed: Feed, coalesce: Coalesce, counters: Counters, kept = new Kept()) {
    this.feed = feed;
    this.#coalesce = coalesce;
    this.#counters = counters;
    this.#kept = kept;
  }

  /** Puts bytes into the cache that came by another way. */
  add(start: number, bytes: Uint8Array): void {
    if (this.feed.local || bytes.byteLength === 0) return;
    const segment = this.#segment(start, start + bytes.byteLength, bytes);
    segment.filled = bytes.byteLength;
    this.#evict();
  }

  /** The bytes of one range. */
  async read(start: number, end: number, signal?: AbortSignal): Promise<Uint8Array> {
    const lease = this.want([[start, end]], signal);
    try {
      return await lease.read(start, end);
    } finally {
      lease.release();
    }
  }

  /** Begins to fetch whatever of these ranges is not there yet. */
  want(ranges: readonly Range[], signal?: AbortSignal): Lease {
    throwIfAborted(signal);
    if (this.feed.local) return this.#localLease(signal);
    const missing = ranges.flatMap((range) => this.#missing(range));
    if (missing.length === 0) this.#counters.cacheHits++;
    else for (const [start, end] of this.#plan(missing)) this.#fetch(start, end);
    const held = this.#segments.filter((segment) => ranges.some((range) => meets(segment, range)));
    for (const segment of held) segment.leases++;
    let released = false;
    const release = () => {
      if (released) return;
      released = true;
      signal?.removeEventListener("abort", release);
      for (const segment of held) this.#letGo(segment);
      this.#evict();
    };
    signal?.addEventListener("abort", release, { once: true });
    return { read: (start, end) => this.#collect(held, start, end, signal), release };
  }

  /** Gives up everything under way and forgets everything kept. */
  close(): void {
    for (const segment of this.#segments) segment.control.abort();
    this.#segments = [];
    this.#kept.leave(this);
  }

  /** Bytes that are in memory, or are on their way there. */
  get bytes(): number {
    return this.#segments.reduce((sum, { bytes }) => sum + bytes.byteLength, 0);
  }

  /** Throws away about so many bytes that nobody needs now, and tells how many. */
  shed(wanted: number): number {
    let shed = 0;
    for (const segment of [...this.#segments]) {
      if (shed >= wanted) break;
      if (segment.leases > 0) continue;
      this.#forget(segment);
      shed += segment.bytes.byteLength;
    }
    return shed;
  }

  #localLease(signal?: AbortSignal): Lease {
    return {
      read: async (start, end) => {
        const pieces: Uint8Array[] = [];
        await this.feed.pull(start, end, signal, (bytes) => pieces.push(bytes));
        if (pieces.length === 1) return pieces[0];
        const whole = new Uint8Array(end - start);
        let at = 0;
        for (const piece of pieces) {
          whole.set(piece, at);
          at += piece.byteLength;
        }
        return whole;
      },
      release() {},
    };
  }

  /** The parts of a range that nobody fetched and nobody is fetching. */
  #missing([start, end]: Range): Range[] {
    const holes: Range[] = [];
    for (let at = start; at < end; ) {
      const here = this.#covering(this.#segments, at);
      if (here) {
        at = here.end;
        continue;
      }
      const next = this.#segments.reduce(
        (least, { start }) => (start > at ? Math.min(least, start) : least),
        end,
      );
      holes.push([at, next]);
      at = next;
    }
    return holes;
  }

  #plan(missing: readonly Range[]): Range[] {
    const flat = Float64Array.from(missing.flat());
    let planned = this.#coalesce(flat, GAP, LONGEST);
    for (let gap = GAP * 2; planned.length / 2 > MANY_REQUESTS && gap <= WIDEST_GAP; gap *= 2) {
      planned = this.#coalesce(flat, gap, LONGEST);
    }
    return Array.from({ length: planned.length / 2 }, (_, at) => [
      planned[2 * at],
      planned[2 * at + 1],
    ]);
  }

  #fetch(start: number, end: number): void {
    const segment = this.#segment(start, end, new Uint8Array(end - start));
    const { signal } = segment.control;
    const sink = (bytes: Uint8Array) => {
      segment.bytes.set(bytes, segment.filled);
      segment.filled += bytes.byteLength;
      wake(segment);
    };
    this.feed.pull(start, end, signal, sink).catch((error) => {
      segment.error = asError(error);
      this.#forget(segment);
      wake(segment);
    });
  }

  #segment(start: number, end: number, bytes: Uint8Array): Segment {
    const control = new AbortController();
    const segment = { start, end, bytes, filled: 0, leases: 0, control, waiting: [] };
    this.#segments.push(segment);
    return segment;
  }

  async #collect(held: Segment[], start: number, end: number, signal?: AbortSignal) {
    const whole = new Uint8Array(end - start);
    for (let at = start; at < end; ) {
      const segment = this.#covering(held, at);
      if (!segment) {
        const failed = held.find(({ error }) => error !== undefined);
        // Else someone reads what was not wanted, which is a mistake in this package.
        throw failed?.error ?? new Error(`bytes ${at} to ${end} were not asked for`);
      }
      const stop = Math.min(segment.end, end);
      await unlessAborted(until(segment, stop - segment.start), signal);
      whole.set(segment.bytes.subarray(at - segment.start, stop - segment.start), at - start);
      at = stop;
    }
    return whole;
  }

  #covering(segments: readonly Segment[], at: number): Segment | undefined {
    let best: Segment | undefined;
    for (const segment of segments) {
      if (segment.start > at || segment.end <= at || segment.error) continue;
      if (!best || segment.end > best.end) best = segment;
    }
    return best;
  }

  #letGo(segment: Segment): void {
    segment.leases--;
    if (segment.leases > 0) return;
    if (segment.filled < segment.bytes.byteLength) {
      segment.error ??= interrupted();
      segment.control.abort();
      this.#forget(segment);
      return;
    }
    // To the end of the line of those to be thrown away.
    const at = this.#segments.indexOf(segment);
    if (at >= 0) this.#segments.push(...this.#segments.splice(at, 1));
  }

  #forget(segment: Segment): void {
    this.#segments = this.#segments.filter((other) => other !== segment);
  }

  #evict(): void {
    const idle = this.#segments.filter(({ leases }) => leases === 0);
    const most = Math.max(0, MOST_SEGMENTS - (this.#segments.length - idle.length));
    for (const segment of idle.slice(0, Math.max(0, idle.length - most))) this.#forget(segment);
    this.#kept.shrink(this);
  }
}

function meets(segment: Segment, [start, end]: Range): boolean {
  return segment.start < end && start < segment.end;
}

/** Resolves when the segment's first `length` bytes have come. */
function until(segment: Segment, length: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const check = () => {
      if (segment.filled >= length) resolve();
      else if (segment.error) reject(segment.error);
      else return false;
      return true;
    };
    if (!check()) segment.waiting.push({ until: length, wake: check });
  });
}

function wake(segment: Segment): void {
  segment.waiting = segment.waiting.filter(({ until, wake }) => {
    if (segment.filled < until && !segment.error) return true;
    wake();
    return false;
  });
}
