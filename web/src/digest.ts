import type { Pool } from "./engine/pool.ts";
import { unlessAborted } from "./errors.ts";
import { gather } from "./gather.ts";

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

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function* cut(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  const step = 4 << 20;
  for (let at = 0; at < bytes.byteLength; at += step) yield bytes.slice(at, at + step);
}
