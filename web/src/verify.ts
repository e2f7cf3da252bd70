import type { Watch } from "./data.ts";
import { type Digest, digestOf } from "./digest.ts";
import { asError, ofTensor, type TensorFileError } from "./errors.ts";
import { FooterCheck } from "./footer.ts";
import { type Group, groupsOf } from "./groups.ts";
import type { Inside } from "./inside.ts";
import type { TensorInfo, VerifyOptions, VerifyReport } from "./types.ts";

/** Kinds of failure that are about the bytes; anything else ends the verification. */
const ABOUT_BYTES = new Set(["format", "integrity", "frames", "footer", "header", "tensor"]);

/** How far what is decoded together may reach: damage lies no further on than this. */
const NEAR = 4 << 20;

/**
 * Checks what a file carries to be checked by, one tensor or everything. All of it is read once,
 * from the first byte to the last: the footer's digest is made of the bytes that the tensors are
 * decoded from.
 */
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
  const withFooter = parts.has("footer") && facts.checksum;
  const readable = wanted.filter(({ sha256 }) => facts.compressed || sha256 !== undefined);
  const ofTensors = parts.has("tensors") ? sizes(readable) : 0;
  const [footStart, footEnd] = withFooter ? inside.model.footed() : [0, 0];
  const report = new Report(options, ofTensors + footEnd - footStart);
  if (parts.has("root") && facts.root !== undefined) report.root = checkRoot(inside, report);
  // Reading what has no digest says something only where frames have checksums.
  const tells = ({ digested }: Group) => digested || facts.compressed;
  const onBytes = (bytes: number) => report.advance(bytes);
  const footer = withFooter ? await FooterCheck.begin(inside, onBytes, options.signal) : undefined;
  try {
    if (parts.has("tensors")) {
      const groups = groupsOf(wanted, facts, name === undefined);
      const [some, none] = [groups.filter(tells), groups.filter((group) => !tells(group))];
      // Without data nothing else would look at the seek table.
      if (name === undefined && groups.every(({ start, end }) => start === end)) {
        await checkTable(inside, report, options.signal);
      }
      for (const { infos } of none) for (const { name } of infos) report.tensor(name, undefined);
      await new TensorCheck(inside, report, options.signal, footer?.watch).all(some);
    }
    if (footer) report.footer = await footerIs(footer, report);
  } finally {
    footer?.drop();
  }
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

function checkRoot({ model }: Inside, report: Report): boolean {
  try {
    model.checkRoot();
    return true;
  } catch (error) {
    return report.fail(error);
  }
}

async function checkTable({ data }: Inside, report: Report, signal?: AbortSignal): Promise<void> {
  try {
    await data.table(signal);
  } catch (error) {
    report.fail(error);
  }
}

async function footerIs(footer: FooterCheck, report: Report): Promise<boolean> {
  try {
    await footer.finish();
    return true;
  } catch (error) {
    return report.fail(error);
  }
}

/** Reads tensors in the order of the file, and compares each with its digest. */
class TensorCheck {
  readonly #inside: Inside;
  readonly #report: Report;
  readonly #signal: AbortSignal | undefined;
  readonly #watch: Watch | undefined;

  constructor(inside: Inside, report: Report, signal?: AbortSignal, watch?: Watch) {
    this.#inside = inside;
    this.#report = report;
    this.#signal = signal;
    this.#watch = watch;
  }

  async all(groups: readonly Group[]): Promise<void> {
    let next = 0;
    while (next < groups.length) {
      next = (await this.#read(groups.slice(next))).done + next;
      if (next === groups.length) return;
      // Something hereabouts cannot be read, perhaps of a neighbour: one by one it shows.
      const near = groups[next].start + NEAR;
      while (next < groups.length && groups[next].start < near) await this.#alone(groups[next++]);
    }
  }

  async #alone(group: Group): Promise<void> {
    const { done, error } = await this.#read([group]);
    if (done === 1 || !error) return;
    const [first] = group.infos;
    this.#report.fail(error.tensor || !first ? error : ofTensor(error, first.name));
    for (const { name } of group.infos) this.#report.tensor(name, false);
  }

  /** Reads groups in one go until one fails. */
  async #read(groups: readonly Group[]): Promise<{ done: number; error?: TensorFileError }> {
    const spans = groups.map(({ start, end }) => [start, end] as const);
    const under = new Under(this.#inside, this.#report, groups, this.#signal);
    try {
      await under.empties();
      for await (const piece of this.#inside.data.stream(spans, this.#signal, this.#watch)) {
        await under.take(piece);
      }
      return { done: under.done };
    } catch (thrown) {
      const error = asError(thrown);
      if (!ABOUT_BYTES.has(error.kind)) throw error;
      return { done: under.done, error };
    } finally {
      under.drop();
    }
  }
}

/** Groups whose bytes are coming, one after the other. */
class Under {
  /** How many groups are behind. */
  done = 0;
  readonly #inside: Inside;
  readonly #report: Report;
  readonly #groups: readonly Group[];
  readonly #signal: AbortSignal | undefined;
  #digest: Digest | undefined;
  /** Bytes of the group that have come. */
  #come = 0;

  constructor(inside: Inside, report: Report, groups: readonly Group[], signal?: AbortSignal) {
    this.#inside = inside;
    this.#report = report;
    this.#groups = groups;
    this.#signal = signal;
  }

  async take(piece: Uint8Array): Promise<void> {
    for (let at = 0; at < piece.byteLength; ) {
      const group = this.#groups[this.done];
      const { start, end, infos, digested } = group;
      const length = Math.min(end - start - this.#come, piece.byteLength - at);
      const whole = at === 0 && length === piece.byteLength;
      if (digested) {
        this.#digest ??= await digestOf(end - start, this.#inside.pool, this.#signal);
        await this.#digest.put(whole ? piece : piece.slice(at, at + length));
      }
      at += length;
      this.#come += length;
      if (infos.length > 0) this.#report.advance(length);
      if (this.#come === end - start) await this.#finish();
      await this.empties();
    }
  }

  /** Groups without bytes, for which nothing comes. */
  async empties(): Promise<void> {
    for (;;) {
      const group = this.#groups[this.done];
      if (!group || group.start < group.end) return;
      await this.#finish();
    }
  }

  /** What came of a group that did not come to its end counts for nothing. */
  drop(): void {
    this.#digest?.drop();
    const group = this.#groups[this.done];
    if (group && group.infos.length > 0) this.#report.advance(-this.#come);
  }

  async #finish(): Promise<void> {
    const { start, end, infos, digested } = this.#groups[this.done];
    let found: string | undefined;
    if (digested) {
      const digest = this.#digest ?? (await digestOf(end - start, this.#inside.pool, this.#signal));
      found = await digest.finish();
      digest.drop();
    }
    this.#digest = undefined;
    this.#come = 0;
    this.done++;
    for (const { name, sha256 } of infos) {
      const known = found !== undefined && sha256 !== undefined;
      this.#report.tensor(name, known ? this.#sound(name, found as string) : undefined);
    }
  }

  #sound(name: string, found: string): boolean {
    const { model, place } = this.#inside;
    try {
      return model.checkDigest(place(name), found);
    } catch (error) {
      return this.#report.fail(error);
    }
  }
}

function sizes(infos: readonly TensorInfo[]): number {
  const spans = new Map(infos.map(({ dataOffsets, nbytes }) => [dataOffsets.join(), nbytes]));
  return [...spans.values()].reduce((sum, nbytes) => sum + nbytes, 0);
}
