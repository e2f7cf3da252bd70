import type { Data } from "./data.ts";
import { hasSubtle, MOST_AT_ONCE, sha256, sha256Of } from "./digest.ts";
import type { Model } from "./engine/face.ts";
import type { Pool } from "./engine/pool.ts";
import { asError, ofTensor, type TensorFileError, usage } from "./errors.ts";
import { type Inside, Names } from "./inside.ts";
import { Listed } from "./listed.ts";
import { npyBytes } from "./npy.ts";
import type { Ranges } from "./ranges.ts";
import { channelStats, histogram, stats } from "./statistics.ts";
import { floats, natural } from "./typed.ts";
import type {
  ChannelStats,
  FileFacts,
  FrameInfo,
  Histogram,
  HistogramOptions,
  ReadOptions,
  SampleOptions,
  Stats,
  Tensor,
  TensorFile,
  TensorFileErrorShape,
  TensorInfo,
  TransferCounters,
  VerifyOptions,
  VerifyReport,
  Window,
  WindowRequest,
} from "./types.ts";
import { verify } from "./verify.ts";
import { version } from "./version.ts";
import { checkWindow, readWindow } from "./window.ts";

export type As = ReadOptions & { as?: "float32" | "bytes" };

/** What an open file is made of. */
export interface Parts {
  model: Model;
  facts: FileFacts;
  metadata: Readonly<Record<string, string>>;
  infos: readonly TensorInfo[];
  data: Data;
  ranges: Ranges;
  pool: Pool;
  counters: TransferCounters;
  /** Whether each tensor is checked before any of it is handed out. */
  pinned: boolean;
  onClose(): void;
}

/** One open file. */
export class OpenFile extends Listed implements TensorFile {
  readonly #parts: Parts;
  readonly #inside: Inside;
  /** Statistics that were asked for before. */
  readonly #stats = new Map<string, Stats>();
  /** Tensors of a pinned file that were found to be what was written. */
  readonly #vouched = new Set<string>();
  #closed = false;
  #busy = 0;

  constructor(parts: Parts) {
    super(parts.facts, parts.metadata, parts.counters, new Names(parts.infos));
    this.#parts = parts;
    const { model, data, ranges, pool, facts, infos } = parts;
    const place = (name: string) => this.names.place(name);
    this.#inside = { model, data, ranges, pool, facts, infos, place };
  }

  manifest(): string {
    this.#checkOpen();
    return manifestText(this.#parts.model);
  }

  validate(schema: unknown): readonly TensorFileErrorShape[] {
    this.#checkOpen();
    return problems(this.#parts.model, schema);
  }

  getTensor(name: string, options: As = {}): Promise<Tensor> {
    return this.#use(name, async () => {
      const info = this.info(name);
      return this.#tensor(info, info.shape, [0, info.nbytes], options);
    });
  }

  getSlice(name: string, start: number, count: number, options: As = {}): Promise<Tensor> {
    return this.#use(name, async () => {
      const info = this.info(name);
      const [from, to] = this.#parts.model.rows(this.names.place(name), start, count);
      return this.#tensor(info, [count, ...info.shape.slice(1)], [from, to], options);
    });
  }

  getWindow(name: string, request: WindowRequest): Promise<Window> {
    return this.#use(name, async () => {
      const wanted = checkWindow(request);
      await this.#vouch(this.info(name), wanted.signal);
      return readWindow(this.#inside, name, wanted);
    });
  }

  stats(name: string, options: SampleOptions = {}): Promise<Stats> {
    return this.#use(name, () => this.#statsOf(name, options));
  }

  async #statsOf(name: string, options: SampleOptions): Promise<Stats> {
    const key = `${options.maxBytes ?? "all"} ${name}`;
    const known = this.#stats.get(key);
    if (known) return known;
    await this.#vouch(this.info(name), options.signal);
    const found = await stats(this.#inside, name, options);
    this.#stats.set(key, found);
    return found;
  }

  histogram(name: string, options: HistogramOptions = {}): Promise<Histogram> {
    return this.#use(name, async () => {
      await this.#vouch(this.info(name), options.signal);
      return histogram(this.#inside, name, options, (ends) => this.#statsOf(name, ends));
    });
  }

  channelStats(name: string, axis: number, options: SampleOptions = {}): Promise<ChannelStats> {
    return this.#use(name, async () => {
      await this.#vouch(this.info(name), options.signal);
      return channelStats(this.#inside, name, axis, options);
    });
  }

  frames(name?: string, options: ReadOptions = {}): Promise<readonly FrameInfo[]> {
    return this.#use(name, async () => {
      const { facts, data } = this.#parts;
      const span =
        name === undefined ? ([0, facts.dataBytes] as const) : this.info(name).dataOffsets;
      if (!facts.compressed) return [];
      const flat = await data.pieces(span, options.signal);
      return Array.from({ length: flat.length / 5 }, (_, at) => {
        const [fileStart, fileEnd, dataStart, dataEnd] = flat.subarray(5 * at, 5 * at + 4);
        return { stored: [fileStart, fileEnd], data: [dataStart, dataEnd] } as const;
      });
    });
  }

  verify(name?: string, options: VerifyOptions = {}): Promise<VerifyReport> {
    return this.#use(name, () => verify(this.#inside, name, options));
  }

  npy(name: string, options: ReadOptions = {}): Promise<Uint8Array> {
    return this.#use(name, async () => {
      const info = this.info(name);
      const { shape, nbytes, elements } = info;
      const read = (as: As["as"]) => {
        // The array is copied behind the file's own header.
        const copy = as === "float32" ? 4 * elements : nbytes;
        return this.#tensor(info, shape, [0, nbytes], { ...options, as }, copy);
      };
      return npyBytes(this.#parts.pool.face, info, read);
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#parts.ranges.close();
    if (this.#busy === 0) this.#end();
  }

  /** For what works on several files at once. */
  get inside(): Inside {
    this.#checkOpen();
    return this.#inside;
  }

  async #tensor(
    info: TensorInfo,
    shape: readonly number[],
    [from, to]: readonly [number, number],
    { as, signal, onProgress }: As,
    more = 0,
  ): Promise<Tensor> {
    const { data, pool } = this.#parts;
    const { dtype, dataOffsets, nbytes } = info;
    const whole = from === 0 && to === nbytes;
    if (!whole) await this.#vouch(info, signal);
    const start = dataOffsets[0];
    const onBytes = onProgress && ((done: number) => onProgress(done, to - from));
    const { elements } = info;
    const share = nbytes === 0 ? 0 : (elements * (to - from)) / nbytes;
    // Parts of it, which are joined.
    const converted = as === "float32" && dtype !== "F32" ? 8 * share : 0;
    const bytes = await data.bytes([[start + from, start + to]], signal, onBytes, converted + more);
    if (whole && this.#unvouched(info)) this.#check(info, await sha256(bytes, pool, signal));
    if (as === "bytes") return { dtype, shape, data: bytes };
    if (as === "float32") return { dtype, shape, data: await floats(dtype, bytes, pool, signal) };
    return { dtype, shape, data: natural(dtype, bytes) };
  }

  #unvouched({ name }: TensorInfo): boolean {
    return this.#parts.pinned && !this.#vouched.has(name);
  }

  /** Reads all of a tensor, if it must be checked before a part of it is handed out. */
  async #vouch(info: TensorInfo, signal?: AbortSignal): Promise<void> {
    if (!this.#unvouched(info)) return;
    const { data, pool } = this.#parts;
    const span = info.dataOffsets;
    const found =
      info.nbytes <= Math.min(MOST_AT_ONCE, data.most) && hasSubtle()
        ? await sha256(await data.bytes([span], signal), pool, signal)
        : await sha256Of(data.stream([span], signal), info.nbytes, pool, signal);
    this.#check(info, found);
  }

  #check({ name }: TensorInfo, found: string): void {
    this.#parts.model.checkDigest(this.names.place(name), found);
    this.#vouched.add(name);
  }

  /** Keeps what the work needs from being let go while it is under way. */
  async #use<T>(name: string | undefined, work: () => Promise<T>): Promise<T> {
    this.#checkOpen();
    this.#busy++;
    try {
      return await work();
    } catch (error) {
      throw this.#closed ? closed() : this.#about(name, asError(error));
    } finally {
      this.#busy--;
      if (this.#closed && this.#busy === 0) this.#end();
    }
  }

  /** Says which tensor a broken frame belongs to, or asks for too much. */
  #about(name: string | undefined, error: TensorFileError): TensorFileError {
    const broken = error.code.startsWith("frames.") && !error.code.startsWith("frames.table");
    const over = error.kind === "limit";
    if (!(broken || over) || error.tensor !== undefined || name === undefined) return error;
    return ofTensor(error, name);
  }

  #end(): void {
    this.#parts.data.close();
    this.#parts.model.free();
    this.#parts.onClose();
  }

  #checkOpen(): void {
    if (this.#closed) throw closed();
  }
}

/** The manifest sidecar of a file, written now. */
export function manifestText(model: Model): string {
  return model.manifest(version, new Date().toISOString().replace("Z", "+00:00"));
}

/** What differs from a schema, as errors. */
export function problems(model: Model, schema: unknown): readonly TensorFileErrorShape[] {
  const text = typeof schema === "string" ? schema : JSON.stringify(schema);
  if (text === undefined) throw usage("value", "a schema is an object or its JSON text");
  try {
    return JSON.parse(model.problems(text)).map(asError);
  } catch (error) {
    throw asError(error);
  }
}

function closed(): TensorFileError {
  return usage("closed", "the file was closed");
}

/** The tensors of a model, frozen, since they are handed out. */
export function listOf(model: Model): readonly TensorInfo[] {
  return Object.freeze(JSON.parse(model.list()) as TensorInfo[]);
}
