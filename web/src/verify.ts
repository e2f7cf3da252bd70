import { hasSubtle, MOST_AT_ONCE, sha256, sha256Of } from "./digest.ts";
import { asError, ofTensor, type TensorFileError, throwIfAborted } from "./errors.ts";
import type { Inside } from "./inside.ts";
import type { TensorInfo, VerifyOptions, VerifyReport } from "./types.ts";

/** Kinds of failure that are about the bytes; anything else ends the verification. */
const ABOUT_BYTES = new Set(["format", "integrity", "frames", "footer", "header", "tensor"]);

/** Tensors whose digests are computed at once. */
const AT_ONCE = 2;

/** Checks what a file carries to be checked by, one tensor or everything. */
export async function verify(
  inside: Inside,
  name: string | undefined,
  options: VerifyOptions,
): Promise<VerifyReport> {
  const { facts, infos } = inside;
  const parts = new Set(
    options.parts ?? (name === undefined ? ["root", "tensors", "footer"] : ["tensors"]),
  );
  const wanted = name === undefined ? infos : [infos[inside.place(name)]];
  const checkFooter = parts.has("footer") && facts.checksum;
  const readable = wanted.filter(({ sha256 }) => facts.compressed || sha256 !== undefined);
  const ofTensors = parts.has("tensors") ? sizes(readable) : 0;
  const [footStart, footEnd] = checkFooter ? inside.model.footed() : [0, 0];
  const total = ofTensors + footEnd - footStart;
  const report = new Report(options, total);
  if (parts.has("root") && facts.root !== undefined) report.root = await checkRoot(inside, report);
  if (parts.has("tensors")) await checkTensors(inside, wanted, report, options);
  if (parts.has("tensors") && facts.compressed && name === undefined) {
    await checkRest(inside, report, options);
  }
  if (checkFooter) report.footer = await checkFooterOf(inside, report, options);
  return report.finish(facts.compressed, wanted);
}

/** What was found so far. */
class Report {
  readonly tensors = new Map<string, boolean | undefined>();
  readonly errors: TensorFileError[] = [];
  footer?: boolean;
  root?: boolean;
  frames?: boolean;
  readonly #options: VerifyOptions;
  readonly #total: number;
  #done = 0;

  constructor(options: VerifyOptions, total: number) {
    this.#options = options;
    this.#total = total;
  }

  /** `bytes` more were looked at. */
  advance(bytes: number): void {
    this.#done += bytes;
    this.#options.onProgress?.(this.#done, this.#total);
  }

  /** Notes what a check ran into, unless that says nothing about the file. */
  fail(thrown: unknown): false {
    const error = asError(thrown);
    if (!ABOUT_BYTES.has(error.kind)) throw error;
    this.errors.push(error);
    return false;
  }

  tensor(name: string, sound: boolean | undefined): void {
    this.tensors.set(name, sound);
    this.#options.onTensor?.(name, sound);
  }

  finish(compressed: boolean, wanted: readonly TensorInfo[]): VerifyReport {
    const { tensors, errors, footer, root } = this;
    if (compressed) {
      this.frames = !errors.some(({ code }) => code.startsWith("frames."));
    }
    const each = wanted.every(({ name }) => tensors.get(name) === true);
    const verified = errors.length === 0 && (footer === true || (each && wanted.length > 0));
    const { frames } = this;
    return { footer, root, frames, tensors, errors, verified };
  }
}

async function checkRoot({ model }: Inside, report: Report) {
  try {
    model.checkRoot();
    return true;
  } catch (error) {
    return report.fail(error);
  }
}

async function checkTensors(
  inside: Inside,
  wanted: readonly TensorInfo[],
  report: Report,
  options: VerifyOptions,
): Promise<void> {
  // Tied weights are read once; in the order of the file, so that neighbours share requests.
  const bySpan = new Map<string, TensorInfo[]>();
  for (const info of wanted) {
    const key = info.dataOffsets.join();
    const others = bySpan.get(key);
    if (others) others.push(info);
    else bySpan.set(key, [info]);
  }
  const groups = [...bySpan.values()].sort(([a], [b]) => a.dataOffsets[0] - b.dataOffsets[0]);
  let next = 0;
  const worker = async () => {
    while (next < groups.length) {
      throwIfAborted(options.signal);
      await checkGroup(inside, groups[next++], report, options);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

/** Decodes the data that belongs to no tensor, for the frames' sake. */
async function checkRest(inside: Inside, report: Report, { signal }: VerifyOptions): Promise<void> {
  const { data, infos, facts } = inside;
  const spans = infos.map(({ dataOffsets }) => dataOffsets).sort(([a], [b]) => a - b);
  let at = 0;
  for (const [start, end] of [...spans, [facts.dataBytes, facts.dataBytes]]) {
    try {
      // Only decoded, not handed to anyone.
      if (start > at) for await (const _ of data.stream([[at, start]], signal));
    } catch (error) {
      report.fail(error);
    }
    at = Math.max(at, end);
  }
}

/** Tensors that share their bytes. */
async function checkGroup(
  inside: Inside,
  group: TensorInfo[],
  report: Report,
  options: VerifyOptions,
): Promise<void> {
  const [{ dataOffsets, nbytes }] = group;
  const digested = group.some(({ sha256 }) => sha256 !== undefined);
  const { compressed } = inside.facts;
  let found: string | undefined;
  let unreadable = false;
  try {
    if (digested) found = await digest(inside, dataOffsets, nbytes, report, options.signal);
    else if (compressed) await decodeAll(inside, dataOffsets, report, options.signal);
  } catch (error) {
    unreadable = true;
    report.fail(asError(error).tensor ? error : ofTensor(asError(error), group[0].name));
  }
  for (const { name, sha256 } of group) {
    if (unreadable || found === undefined || sha256 === undefined) {
      report.tensor(name, unreadable ? false : undefined);
      continue;
    }
    report.tensor(name, soundDigest(inside, name, found, report));
  }
}

function soundDigest(
  { model, place }: Inside,
  name: string,
  found: string,
  report: Report,
): boolean {
  try {
    return model.checkDigest(place(name), found);
  } catch (error) {
    return report.fail(error);
  }
}

async function digest(
  { data, pool }: Inside,
  span: readonly [number, number],
  nbytes: number,
  report: Report,
  signal?: AbortSignal,
): Promise<string> {
  let done = 0;
  const onBytes = (now: number) => {
    report.advance(now - done);
    done = now;
  };
  if (nbytes <= MOST_AT_ONCE && hasSubtle()) {
    return sha256(await data.bytes([span], signal, onBytes), pool, signal);
  }
  return sha256Of(data.stream([span], signal), nbytes, pool, signal, onBytes);
}

/** Without a digest, decoding shows at least whether the frames' own checksums agree. */
async function decodeAll(
  { data }: Inside,
  span: readonly [number, number],
  report: Report,
  signal?: AbortSignal,
): Promise<void> {
  for await (const bytes of data.stream([span], signal)) report.advance(bytes.byteLength);
}

async function checkFooterOf(inside: Inside, report: Report, { signal }: VerifyOptions) {
  const { model, data, ranges, pool } = inside;
  const [start, end] = model.footed();
  const at = model.footer();
  if (!at) return undefined;
  let done = 0;
  const onBytes = (now: number) => {
    report.advance(now - done);
    done = now;
  };
  const found = await sha256Of(
    data.stored([start, end], signal),
    end - start,
    pool,
    signal,
    onBytes,
  );
  const carried = await ranges.read(at[0], at[1], signal);
  try {
    model.checkFooter(carried, found);
    return true;
  } catch (error) {
    return report.fail(error);
  }
}

function sizes(infos: readonly TensorInfo[]): number {
  const spans = new Map(infos.map(({ dataOffsets, nbytes }) => [dataOffsets.join(), nbytes]));
  return [...spans.values()].reduce((sum, nbytes) => sum + nbytes, 0);
}
