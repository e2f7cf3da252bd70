import type { Gather } from "./engine/jobs.ts";
import type { Pool } from "./engine/pool.ts";
import { throwIfAborted } from "./errors.ts";

/** Bytes that come in order, and where in the whole they are, if not after those before. */
export type Bytes = AsyncIterable<Uint8Array | { bytes: Uint8Array; at: number }>;

/** Pieces handed to the worker and not yet taken in. */
const AHEAD = 4;
/** So few bytes that a worker is not worth while. */
const LITTLE = 64 << 10;

let nextId = 0;

/** Gathers something from all of some bytes, in a worker unless they are few. */
export async function gather(
  pool: Pool,
  what: Gather,
  bytes: Bytes,
  total: number,
  options: { signal?: AbortSignal; onBytes?: (done: number) => void } = {},
): Promise<unknown> {
  const { signal, onBytes } = options;
  // Ids of gatherings on this thread and on workers never meet.
  const id = nextId++;
  const run =
    total <= LITTLE
      ? async (job: Parameters<Pool["now"]>[0]) => pool.now(job)
      : (await pool.lane()).run;
  const pending: Promise<unknown>[] = [];
  let finished = false;
  try {
    await run({ op: "begin", id, gather: what }, signal);
    let done = 0;
    for await (const next of bytes) {
      throwIfAborted(signal);
      const [piece, at] = next instanceof Uint8Array ? [next, undefined] : [next.bytes, next.at];
      done += piece.byteLength;
      const sent = run({ op: "update", id, bytes: piece, at }, signal);
      sent.catch(() => {});
      pending.push(sent);
      if (pending.length >= AHEAD) await pending.shift();
      onBytes?.(done);
    }
    await Promise.all(pending);
    const result = await run({ op: "finish", id }, signal);
    finished = true;
    return result;
  } finally {
    if (!finished) void Promise.resolve(run({ op: "drop", id })).catch(() => {});
  }
}
