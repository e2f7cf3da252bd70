import type { Watch } from "./data.ts";
import { type Digest, digestOf } from "./digest.ts";
import type { Inside } from "./inside.ts";

/**
 * Checks the file's own digest while others read it: what they read is taken from them, and only
 * what nobody read is fetched.
 */
export class FooterCheck {
  readonly #inside: Inside;
  readonly #digest: Digest;
  readonly #end: number;
  readonly #onBytes: (bytes: number) => void;
  readonly #signal: AbortSignal | undefined;
  /** Everything before this place was taken. */
  #at: number;

  private constructor(
    inside: Inside,
    digest: Digest,
    onBytes: (bytes: number) => void,
    signal?: AbortSignal,
  ) {
    const [start, end] = inside.model.footed();
    this.#inside = inside;
    this.#digest = digest;
    this.#at = start;
    this.#end = end;
    this.#onBytes = onBytes;
    this.#signal = signal;
  }

  static async begin(
    inside: Inside,
    onBytes: (bytes: number) => void,
    signal?: AbortSignal,
  ): Promise<FooterCheck> {
    const [start, end] = inside.model.footed();
    const digest = await digestOf(end - start, inside.pool, signal);
    return new FooterCheck(inside, digest, onBytes, signal);
  }

  /** Takes bytes of the file; those that come again are passed over. */
  readonly watch: Watch = async (start, stored) => {
    if (start > this.#at) await this.#fetch(Math.min(start, this.#end));
    const fresh = stored.subarray(Math.max(0, this.#at - start), Math.max(0, this.#end - start));
    if (fresh.byteLength > 0) await this.#put(fresh);
  };

  /** Fetches the rest; refuses what is not as the file says. */
  async finish(): Promise<void> {
    const { model, ranges } = this.#inside;
    await this.#fetch(this.#end);
    const found = await this.#digest.finish();
    const [from, to] = model.footer() ?? [0, 0];
    model.checkFooter(await ranges.read(from, to, this.#signal), found);
  }

  drop(): void {
    this.#digest.drop();
  }

  async #fetch(end: number): Promise<void> {
    if (end <= this.#at) return;
    for await (const bytes of this.#inside.data.stored([this.#at, end], this.#signal)) {
      await this.#put(bytes);
    }
  }

  async #put(bytes: Uint8Array): Promise<void> {
    const { byteLength } = bytes;
    // Of a part of a longer array, nothing but the part may be given away.
    await this.#digest.put(byteLength === bytes.buffer.byteLength ? bytes : bytes.slice());
    this.#at += byteLength;
    this.#onBytes(byteLength);
  }
}
