import type { Gather, Job } from "./engine/jobs.ts";
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
  const gathering = await Gathering.begin(pool, what, total, signal);
  try {
    let done = 0;
    for await (const next of bytes) {
      throwIfAborted(signal);
      const [piece, at] = next instanceof Uint8Array ? [next, undefined] : [next.bytes, next.at];
      done += piece.byteLength;
      await gathering.put(piece, at);
      onBytes?.(done);
    }
    return await gathering.finish();
  } finally {
    gathering.drop();
  }
}

type Run = (job: Job, signal?: AbortSignal) => Promise<unknown>;

/** Something that is gathered while bytes come. Whoever begins it must drop it at the end. */
export class Gathering {
  // Ids of gatherings on this thread and on workers never meet.
  readonly #id = nextId++;
  readonly #run: Run;
  readonly #signal: AbortSignal | undefined;
  readonly #pending: Promise<unknown>[] = [];
  #over = false;

  private constructor(run: Run, signal?: AbortSignal) {
    this.#run = run;
    this.#signal = signal;
  }

  static async begin(
    pool: Pool,
    what: Gather,
    total: number,
    signal?: AbortSignal,
  ): Promise<Gathering> {
    const run: Run = total <= LITTLE ? async (job) => pool.now(job) : (await pool.lane()).run;
    const gathering = new Gathering(run, signal);
    try {
      await run({ op: "begin", id: gathering.#id, gather: what }, signal);
    } catch (error) {
      gathering.drop();
      throw error;
    }
    return gathering;
  }

  /** The next bytes, which are given away: they may be gone afterwards. */
  async put(bytes: Uint8Array, at?: number): Promise<void> {
    const sent = this.#run({ op: "update", id: this.#id, bytes, at }, this.#signal);
    sent.catch(() => {});
    this.#pending.push(sent);
    if (this.#pending.length >= AHEAD) await this.#pending.shift();
  }

  async finish(): Promise<unknown> {
    await Promise.all(this.#pending);
    const result = await this.#run({ op: "finish", id: this.#id }, this.#signal);
    this.#over = true;
    return result;
  }

  drop(): void {
    if (this.#over) return;
    this.#over = true;
    void Promise.resolve(this.#run({ op: "drop", id: this.#id })).catch(() => {});
  }
}
