import type { Pool } from "./engine/pool.ts";
import { unlessAborted } from "./errors.ts";
import { Gathering, gather } from "./gather.ts";

/** `crypto.subtle` is faster but wants all bytes at once; beyond this they go through wasm. */
export const MOST_AT_ONCE = 64 << 20;

/** Whether the platform itself computes digests here, which takes a secure context. */
export function hasSubtle(): boolean {
  return typeof globalThis.crypto?.subtle?.digest === "function";
}

/** SHA-256 in hexadecimal of bytes that are at hand. */
export async function sha256(bytes: Uint8Array, pool: Pool, signal?: AbortSignal): Promise<string> {
  if (hasSubtle()) {
    const digest = crypto.subtle.digest("SHA-256", bytes as BufferSource);
    return hex(new Uint8Array(await unlessAborted(digest, signal)));
  }
  return sha256Of(cut(bytes), bytes.byteLength, pool, signal);
}

/** SHA-256 in hexadecimal of bytes as they come. */
export async function sha256Of(
  bytes: AsyncIterable<Uint8Array>,
  total: number,
  pool: Pool,
  signal?: AbortSignal,
  onBytes?: (done: number) => void,
): Promise<string> {
  return (await gather(pool, { what: "sha256" }, bytes, total, { signal, onBytes })) as string;
}

/** A SHA-256 of bytes that come one after the other. */
export interface Digest {
  /** The next bytes, which are given away. */
  put(bytes: Uint8Array): Promise<void>;
  finish(): Promise<string>;
  /** Must be called at the end, whatever happened. */
  drop(): void;
}

export async function digestOf(total: number, pool: Pool, signal?: AbortSignal): Promise<Digest> {
  if (total <= MOST_AT_ONCE && hasSubtle()) return new AtOnce(total, pool, signal);
  const gathering = await Gathering.begin(pool, { what: "sha256" }, total, signal);
  return {
    put: (bytes) => gathering.put(bytes),
    finish: async () => (await gathering.finish()) as string,
    drop: () => gathering.drop(),
  };
}

/** Keeps the bytes until all are there, for the platform's own digest. */
class AtOnce implements Digest {
  readonly #total: number;
  readonly #pool: Pool;
  readonly #signal: AbortSignal | undefined;
  #whole: Uint8Array | undefined;
  #filled = 0;

  constructor(total: number, pool: Pool, signal?: AbortSignal) {
    this.#total = total;
    this.#pool = pool;
    this.#signal = signal;
  }

  async put(bytes: Uint8Array): Promise<void> {
    if (bytes.byteLength === this.#total) {
      this.#whole = bytes;
      return;
    }
    // Room is made once the first piece has come, since it is made on the file's word.
    this.#whole ??= new Uint8Array(this.#total);
    this.#whole.set(bytes, this.#filled);
    this.#filled += bytes.byteLength;
  }

  finish(): Promise<string> {
    return sha256(this.#whole ?? new Uint8Array(), this.#pool, this.#signal);
  }

  drop(): void {
    this.#whole = undefined;
  }
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function* cut(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  const step = 4 << 20;
  for (let at = 0; at < bytes.byteLength; at += step) yield bytes.slice(at, at + step);
}
