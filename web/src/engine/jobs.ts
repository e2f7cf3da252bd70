import type { Face } from "./face.ts";

/** What is gathered from a tensor's bytes as they come. */
export type Gather =
  | { what: "stats"; dtype: string }
  | { what: "histogram"; dtype: string; low: number; high: number; bins: number }
  | { what: "channels"; dtype: string; shape: number[]; axis: number }
  | { what: "sha256" };

/** Heavy work, in a form that can be sent to a worker. */
export type Job =
  /** Frames, each `[start, end, dataBytes, skip, take]` within `bytes`, decoded one after another. */
  | { op: "frames"; bytes: Uint8Array; frames: Float64Array }
  | { op: "whole"; bytes: Uint8Array; dataBytes: number }
  | { op: "floats"; dtype: string; bytes: Uint8Array }
  | { op: "same"; a: Uint8Array; b: Uint8Array }
  | { op: "begin"; id: number; gather: Gather }
  | { op: "update"; id: number; bytes: Uint8Array; at?: number }
  | { op: "finish"; id: number }
  | { op: "drop"; id: number };

/** By operation, what comes of it. */
export interface Results {
  frames: Uint8Array;
  whole: Uint8Array;
  floats: Float32Array;
  same: boolean;
  begin: undefined;
  update: undefined;
  finish: unknown;
  drop: undefined;
}

interface Open {
  update(bytes: Uint8Array): void;
  finish(): unknown;
  free(): void;
  seek?(byte: number): void;
}

/** Carries out jobs on one copy of the wasm module. */
export class Executor {
  readonly #face: Face;
  readonly #open = new Map<number, Open>();

  constructor(face: Face) {
    this.#face = face;
  }

  run(job: Job): unknown {
    switch (job.op) {
      case "frames":
        return this.#frames(job.bytes, job.frames);
      case "whole":
        return this.#face.decodeWhole(job.bytes, job.dataBytes);
      case "floats":
        return this.#face.decodeFloats(job.dtype, job.bytes);
      case "same":
        return same(job.a, job.b);
      case "begin":
        this.#open.set(job.id, this.#begin(job.gather));
        return undefined;
      case "update": {
        const gathered = this.#gathered(job.id);
        if (job.at !== undefined) gathered.seek?.(job.at);
        gathered.update(job.bytes);
        return undefined;
      }
      case "finish": {
        const gathered = this.#gathered(job.id);
        this.#open.delete(job.id);
        return gathered.finish();
      }
      case "drop":
        this.#open.get(job.id)?.free();
        this.#open.delete(job.id);
        return undefined;
    }
  }

  #frames(bytes: Uint8Array, frames: Float64Array): Uint8Array {
    const decode = (at: number) => {
      const [start, end, dataBytes, skip, take] = frames.subarray(at, at + 5);
      return this.#face.decodeFrame(bytes.subarray(start, end), dataBytes, skip, take);
    };
    // The first one is decoded before there is room for all, which is made on their word.
    const first = decode(0);
    if (frames.length === 5) return first;
    let length = 0;
    for (let at = 4; at < frames.length; at += 5) length += frames[at];
    const whole = new Uint8Array(length);
    whole.set(first);
    let filled = first.byteLength;
    for (let at = 5; at < frames.length; at += 5) {
      const data = decode(at);
      whole.set(data, filled);
      filled += data.byteLength;
    }
    return whole;
  }

  #begin(gather: Gather): Open {
    switch (gather.what) {
      case "stats":
        return new this.#face.StatsReducer(gather.dtype);
      case "histogram":
        return new this.#face.HistogramReducer(gather.dtype, gather.low, gather.high, gather.bins);
      case "channels":
        return new this.#face.ChannelReducer(
          gather.dtype,
          Float64Array.from(gather.shape),
          gather.axis,
        );
      case "sha256":
        return new this.#face.Sha256();
    }
  }

  #gathered(id: number): Open {
    const found = this.#open.get(id);
    if (!found) throw new Error("nothing is being gathered under this number");
    return found;
  }
}

/** Buffers within a job or result that can be handed over instead of copied. */
export function transferable(value: unknown): ArrayBuffer[] {
  if (ArrayBuffer.isView(value)) return owned(value);
  if (typeof value !== "object" || value === null) return [];
  return Object.values(value).flatMap((part) => (ArrayBuffer.isView(part) ? owned(part) : []));
}

/** The buffer of a view, if there is nothing else in it. */
function owned(view: ArrayBufferView): ArrayBuffer[] {
  const { buffer } = view;
  return buffer instanceof ArrayBuffer && buffer.byteLength === view.byteLength ? [buffer] : [];
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  if (a.byteLength !== b.byteLength) return false;
  const aligned = (a.byteOffset | b.byteOffset) % 4 === 0;
  const words = aligned ? a.byteLength >> 2 : 0;
  const [left, right] = [a, b].map((x) =>
    words ? new Uint32Array(x.buffer, x.byteOffset, words) : x,
  );
  for (let at = 0; at < words; at++) if (left[at] !== right[at]) return false;
  for (let at = words * 4; at < a.byteLength; at++) if (a[at] !== b[at]) return false;
  return true;
}
