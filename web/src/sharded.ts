import type { Face, Model, ShardIndex } from "./engine/face.ts";
import { asError, TensorFileError, throwIfAborted, usage } from "./errors.ts";
import { manifestText, type OpenFile, problems } from "./file.ts";
import { Names } from "./inside.ts";
import { Forwarding } from "./listed.ts";
import { type Beside, openPlain } from "./open.ts";
import type {
  FileFacts,
  FrameInfo,
  ReadOptions,
  TensorFile,
  TensorFileErrorShape,
  TensorInfo,
  TransferCounters,
  VerifyOptions,
  VerifyReport,
} from "./types.ts";
import { version } from "./version.ts";

interface Listed {
  path: string;
  tensors: string[];
  bytes: number;
  root?: string;
}

/** Shards whose headers are read at once. */
const AT_ONCE = 6;

/** Opens all shards of an index, reading their headers only. */
export async function openShards(
  index: ShardIndex,
  model: Model | undefined,
  beside: Beside,
): Promise<TensorFile> {
  const { located, context, root, release } = beside;
  const { shards } = JSON.parse(index.json()) as { shards: Listed[] };
  if (!located.sibling) {
    throw usage("unavailable", "the shards beside this index cannot be found; say where they are", {
      expected: "the option siblings",
    });
  }
  const files: OpenFile[] = new Array(shards.length);
  try {
    await openAll(index, shards, files, beside);
    const metadata = model ? JSON.parse(model.summary()).metadata : (files[0]?.metadata ?? {});
    return new ShardedFile(context.pool.face, files, shards, {
      metadata: userMetadata(metadata),
      name: located.feed.name,
      indexBytes: located.feed.byteLength,
      commit: located.commit,
      root: root ?? (model && JSON.parse(model.summary()).root),
      counters: context.fetcher.counters,
      onClose() {
        located.close?.();
        release();
      },
    });
  } catch (error) {
    for (const file of files) file?.close();
    throw error;
  } finally {
    index.free();
    model?.free();
  }
}

/** Opens some at once, and no more of them once one has failed. */
async function openAll(
  index: ShardIndex,
  shards: readonly Listed[],
  files: OpenFile[],
  beside: Beside,
): Promise<void> {
  const { options } = beside.context;
  const control = new AbortController();
  const abort = () => control.abort(options.signal?.reason);
  options.signal?.addEventListener("abort", abort, { once: true });
  const context = { ...beside.context, options: { ...options, signal: control.signal } };
  let next = 0;
  let failure: unknown;
  const opener = async () => {
    while (next < shards.length && !control.signal.aborted) {
      const nth = next++;
      files[nth] = await openShard(index, shards[nth], nth, { ...beside, context });
    }
  };
  const openers = Array.from({ length: AT_ONCE }, () =>
    opener().catch((error) => {
      failure ??= error;
      control.abort();
    }),
  );
  try {
    await Promise.all(openers);
    throwIfAborted(options.signal);
    if (failure !== undefined) throw failure;
  } finally {
    options.signal?.removeEventListener("abort", abort);
  }
}

async function openShard(index: ShardIndex, listed: Listed, nth: number, beside: Beside) {
  const { located, context, root } = beside;
  let file: OpenFile | undefined;
  try {
    const source = await located.sibling?.(listed.path);
    if (source === undefined) throw usage("unavailable", "it is not here");
    // With a pinned index the shards are pinned as well, down to each tensor when it is read.
    file = await openPlain(source, context, root === undefined ? undefined : listed.root);
    const { model, facts } = file.inside;
    model.checkShard(index, nth);
    if (listed.root !== undefined && facts.root !== listed.root)
      model.checkRoot(undefined, listed.root);
    return file;
  } catch (thrown) {
    file?.close();
    const { kind, code, message, tensor, expected, found, status } = asError(thrown);
    const where = `shard ${JSON.stringify(listed.path)}: ${message}`;
    throw new TensorFileError({
      kind,
      code,
      message: where,
      tensor,
      expected,
      found,
      status,
      cause: thrown,
    });
  }
}

interface Whole {
  metadata: Record<string, string>;
  name: string;
  indexBytes: number;
  commit?: string;
  root?: string;
  counters: TransferCounters;
  onClose(): void;
}

/** A model in several files, as if it were one. */
export class ShardedFile extends Forwarding implements TensorFile {
  readonly #files: readonly OpenFile[];
  readonly #homes: ReadonlyMap<string, OpenFile>;
  readonly #face: Face;
  readonly #onClose: () => void;
  #joint: Model | undefined;
  #closed = false;

  constructor(face: Face, files: readonly OpenFile[], shards: readonly Listed[], whole: Whole) {
    const infos: TensorInfo[] = [];
    const homes = new Map<string, OpenFile>();
    for (const [nth, file] of files.entries()) {
      for (const info of file.infos()) {
        infos.push({ ...info, shard: shards[nth].path });
        homes.set(info.name, file);
      }
    }
    const facts = Object.freeze(jointFacts(files, shards, whole));
    super(facts, whole.metadata, whole.counters, new Names(Object.freeze(infos)));
    this.#face = face;
    this.#files = files;
    this.#homes = homes;
    this.#onClose = whole.onClose;
  }

  manifest(): string {
    return manifestText(this.joint);
  }

  validate(schema: unknown): readonly TensorFileErrorShape[] {
    return problems(this.joint, schema);
  }

  /** Of one tensor, in its shard; those of all shards one after the other have no meaning. */
  async frames(name?: string, options?: ReadOptions): Promise<readonly FrameInfo[]> {
    if (name !== undefined) return this.home(name).frames(name, options);
    throw usage("unavailable", "each shard has frames of its own; ask for those of a tensor");
  }

  async verify(name?: string, options: VerifyOptions = {}): Promise<VerifyReport> {
    if (name !== undefined) return this.home(name).verify(name, options);
    const { onProgress } = options;
    const done = new Array(this.#files.length).fill(0);
    const totals = this.#files.map(
      ({ facts }) => facts.dataBytes + (facts.checksum ? facts.fileBytes : 0),
    );
    const sum = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0);
    const reports: VerifyReport[] = [];
    for (const [nth, file] of this.#files.entries()) {
      const own = (now: number, total: number) => {
        done[nth] = now;
        totals[nth] = total;
        onProgress?.(sum(done), sum(totals));
      };
      reports.push(await file.verify(undefined, { ...options, onProgress: own }));
    }
    return jointReport(reports);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const file of this.#files) file.close();
    this.#joint?.free();
    this.#onClose();
  }

  /** All tensors in one catalogue, as if their data lay one after the other. */
  get joint(): Model {
    if (this.#closed) throw usage("closed", "the file was closed");
    this.#joint ??= this.#join();
    return this.#joint;
  }

  #join(): Model {
    let base = 0;
    const tensors: string[] = [];
    for (const file of this.#files) {
      for (const { name, dtype, shape, dataOffsets, nbytes, metadata, sha256 } of file.infos()) {
        const data_offsets = dataOffsets.map((offset) => base + offset);
        const entry = { name, dtype, shape, data_offsets, nbytes, metadata, sha256 };
        // By hand, since an object would put names that are numbers first.
        tensors.push(`${JSON.stringify(name)}:${JSON.stringify(entry)}`);
      }
      base += file.facts.dataBytes;
    }
    const head = JSON.stringify({
      deathtensors_version: version,
      format_version: 1,
      magic: "DTLEGION",
      global_metadata: this.metadata,
    });
    return this.#face.manifestModel(`${head.slice(0, -1)},"tensors":{${tensors.join()}}}`);
  }

  protected holder(name: string): OpenFile {
    return this.home(name);
  }

  /** The shard that holds a tensor. */
  home(name: string): OpenFile {
    if (this.#closed) throw usage("closed", "the file was closed");
    // Says it if there is no such tensor.
    this.names.place(name);
    return this.#homes.get(name) as OpenFile;
  }
}

function jointFacts(
  files: readonly OpenFile[],
  shards: readonly Listed[],
  whole: Whole,
): FileFacts {
  const all = files.map(({ facts }) => facts);
  const sum = (of: (facts: FileFacts) => number) =>
    all.reduce((total, facts) => total + of(facts), 0);
  const { name, root, commit, indexBytes } = whole;
  return {
    format: "sharded",
    name,
    fileBytes: indexBytes + sum(({ fileBytes }) => fileBytes),
    headerBytes: sum(({ headerBytes }) => headerBytes),
    storedBytes: sum(({ storedBytes }) => storedBytes),
    dataBytes: sum(({ dataBytes }) => dataBytes),
    dataStart: 0,
    tensors: sum(({ tensors }) => tensors),
    parameters: sum(({ parameters }) => parameters),
    compressed: all.some(({ compressed }) => compressed),
    checksum: all.length > 0 && all.every(({ checksum }) => checksum),
    digests: all.length > 0 && all.every(({ digests }) => digests),
    ...(root !== undefined && { root }),
    ...(all[0]?.createdBy !== undefined && { createdBy: all[0].createdBy }),
    ...(commit !== undefined && { commit }),
    shards: shards.map(({ path, tensors, root }, nth) => ({
      name: path,
      tensors: tensors.length,
      bytes: all[nth].fileBytes,
      ...(root !== undefined && { root }),
    })),
  };
}

/** The metadata that is not about the division into shards. */
function userMetadata(metadata: Record<string, string>): Record<string, string> {
  const own = Object.entries(metadata).filter(([key]) => !key.startsWith("deathtensors.shard"));
  return Object.freeze(Object.fromEntries(own));
}

function jointReport(reports: readonly VerifyReport[]): VerifyReport {
  const all = (of: (report: VerifyReport) => boolean | undefined) => {
    const answers = reports.map(of);
    if (answers.includes(false)) return false;
    return answers.length > 0 && answers.every((answer) => answer === true) ? true : undefined;
  };
  return {
    footer: all(({ footer }) => footer),
    root: all(({ root }) => root),
    frames: all(({ frames }) => frames),
    tensors: new Map(reports.flatMap(({ tensors }) => [...tensors])),
    errors: reports.flatMap(({ errors }) => [...errors]),
    verified: reports.length > 0 && reports.every(({ verified }) => verified),
  };
}
