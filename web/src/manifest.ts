import type { Model } from "./engine/face.ts";
import { asError, TensorFileError, usage } from "./errors.ts";
import { listOf, type OpenFile, problems } from "./file.ts";
import { Names } from "./inside.ts";
import { Forwarding } from "./listed.ts";
import { type Beside, factsOf, openPlain } from "./open.ts";
import type {
  FrameInfo,
  ReadOptions,
  TensorFile,
  TensorFileErrorShape,
  TensorInfo,
  VerifyOptions,
  VerifyReport,
} from "./types.ts";

/** Opens a manifest, which shows a file's catalogue. */
export function openManifest(text: string, beside: Beside): TensorFile {
  const { context, located } = beside;
  const model = context.pool.face.manifestModel(text, context.limits);
  return new ManifestFile(model, located.feed.byteLength, beside);
}

/**
 * A manifest. Since it may be stale or lie, nothing is read by it: reading opens the file that it
 * stands beside, and refuses tensors that are not there as the manifest says.
 */
class ManifestFile extends Forwarding implements TensorFile {
  readonly #model: Model;
  readonly #beside: Beside;
  #file: Promise<OpenFile> | undefined;
  #closed = false;

  constructor(model: Model, textBytes: number, beside: Beside) {
    const { facts, metadata } = factsOf(model, beside.located);
    const own = Object.freeze({ ...facts, fileBytes: textBytes });
    super(own, metadata, beside.context.fetcher.counters, new Names(listOf(model)));
    this.#model = model;
    this.#beside = beside;
  }

  manifest(): string {
    throw usage("unavailable", "this is a manifest already");
  }

  validate(schema: unknown): readonly TensorFileErrorShape[] {
    if (this.#closed) throw usage("closed", "the file was closed");
    return problems(this.#model, schema);
  }

  async frames(name?: string, options?: ReadOptions): Promise<readonly FrameInfo[]> {
    return (await this.#real(name)).frames(name, options);
  }

  async verify(name?: string, options?: VerifyOptions): Promise<VerifyReport> {
    return (await this.#real(name)).verify(name, options);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#file?.then((file) => file.close()).catch(() => {});
    this.#model.free();
    this.#beside.located.close?.();
    this.#beside.release();
  }

  protected holder(name: string): Promise<OpenFile> {
    return this.#real(name);
  }

  /** The file itself, in which the tensor must be as the manifest says. */
  async #real(name?: string): Promise<OpenFile> {
    if (this.#closed) throw usage("closed", "the file was closed");
    const claimed = name === undefined ? undefined : this.info(name);
    this.#file ??= this.#open();
    const file = await this.#file.catch((error) => {
      this.#file = undefined;
      throw error;
    });
    if (claimed && !(file.has(claimed.name) && agree(claimed, file.info(claimed.name)))) {
      throw new TensorFileError({
        code: "manifest.stale",
        message: `the manifest is out of date: the file holds ${JSON.stringify(name)} otherwise, or not at all`,
        tensor: claimed.name,
      });
    }
    return file;
  }

  async #open(): Promise<OpenFile> {
    const { located, context } = this.#beside;
    const name = located.feed.name.replace(/^.*\//, "").replace(/\.json$/i, "");
    try {
      const source = await located.sibling?.(name);
      if (source === undefined) throw usage("unavailable", "there is nothing beside it");
      return await openPlain(source, context);
    } catch (cause) {
      if (asError(cause).code === "io.interrupted") throw cause;
      throw usage(
        "unavailable",
        `a manifest lists tensors but does not hold them, and the file ${JSON.stringify(name)} beside it could not be opened`,
        { cause },
      );
    }
  }
}

function agree(a: TensorInfo, b: TensorInfo): boolean {
  const facts = ({ dtype, shape, dataOffsets, sha256 }: TensorInfo) =>
    JSON.stringify([dtype, shape, dataOffsets, sha256]);
  return facts(a) === facts(b);
}
