import { TensorFileError, usage } from "../errors.ts";
import type { Feed, Sink } from "./feed.ts";
import { type Answer, cleanUrl, type Fetcher, statusError, Transient } from "./fetcher.ts";

/** Bytes that the first request asks for: most headers, and the file's length. */
export const FIRST_REQUEST = 64 << 10;

/** So many bytes before a break make the next attempt a new beginning. */
const PROGRESS = 64 << 10;

/** Where a file is, and how to find out its size if the answers do not tell. */
export interface HttpPlace {
  readonly url: string;
  readonly name?: string;
  sizeHint?(signal?: AbortSignal): Promise<number | undefined>;
}

/** What must stay the same from one answer to the next. */
interface Version {
  total?: number;
  etag: string | null;
  modified: string | null;
}

interface Head {
  start: number;
  end: number;
  total?: number;
}

/** Opens a file by its first range, which comes along. */
export async function openHttp(
  place: HttpPlace,
  fetcher: Fetcher,
  signal?: AbortSignal,
): Promise<{ feed: Feed; head: Uint8Array }> {
  const { username, password } = new URL(place.url);
  if (username || password) {
    throw usage("source", "a URL may not hold a user name or password; use the token option");
  }
  const feed = new HttpFeed(place, fetcher);
  const head = await feed.open(signal);
  return { feed, head };
}

class HttpFeed implements Feed {
  readonly name: string;
  readonly local = false;
  byteLength = 0;
  readonly #place: HttpPlace;
  readonly #fetcher: Fetcher;
  #version: Version | undefined;
  /** Where the last redirect led, which spares the way there. It may expire. */
  #direct: string | undefined;
  /** The whole file, if the server sent it where a range was asked for. */
  #whole: Uint8Array | undefined;

  constructor(place: HttpPlace, fetcher: Fetcher) {
    this.#place = place;
    this.#fetcher = fetcher;
    this.name = place.name ?? cleanUrl(place.url);
  }

  async open(signal?: AbortSignal): Promise<Uint8Array> {
    const pieces: Uint8Array[] = [];
    const head = await this.#fetcher.persistently(() => {
      pieces.length = 0;
      return this.#range(0, FIRST_REQUEST, signal, (bytes) => pieces.push(bytes), true);
    }, signal);
    const bytes = concat(pieces);
    if (this.#whole) this.byteLength = this.#whole.byteLength;
    else if (head.total !== undefined) this.byteLength = head.total;
    else if (bytes.byteLength < FIRST_REQUEST) this.byteLength = bytes.byteLength;
    else this.byteLength = await this.#findLength(signal);
    return bytes;
  }

  async pull(start: number, end: number, signal: AbortSignal | undefined, sink: Sink) {
    if (this.#whole) {
      sink(this.#whole.subarray(start, end));
      return;
    }
    let at = start;
    // Each attempt continues where the last one broke off, after enough bytes with patience anew.
    while (at < end) {
      await this.#fetcher.persistently(async () => {
        const before = at;
        try {
          await this.#range(at, end, signal, (bytes) => {
            at += bytes.byteLength;
            sink(bytes);
          });
        } catch (error) {
          const moved = at - before >= PROGRESS && error instanceof Transient;
          if (!moved) throw error;
          this.#fetcher.counters.retries++;
        }
      }, signal);
    }
  }

  /** One request for one range, by the direct way if there is one that works. */
  async #range(
    start: number,
    end: number,
    signal: AbortSignal | undefined,
    sink: Sink,
    first = false,
  ) {
    const direct = this.#direct;
    if (direct !== undefined) {
      try {
        return await this.#ask(direct, start, end, signal, sink, first);
      } catch (error) {
        if (!isStale(error)) throw error;
        if (this.#direct === direct) this.#direct = undefined;
      }
    }
    return this.#ask(this.#place.url, start, end, signal, sink, first);
  }

  #ask(
    url: string,
    start: number,
    end: number,
    signal: AbortSignal | undefined,
    sink: Sink,
    first: boolean,
  ): Promise<Head> {
    const headers = { Range: `bytes=${start}-${end - 1}` };
    return this.#fetcher.request(url, headers, signal, async (answer) => {
      const { response } = answer;
      if (response.status === 200) return this.#takeWhole(url, start, end, answer, sink);
      if (response.status === 416 && first) {
        answer.abandon();
        return { start: 0, end: 0, total: 0 };
      }
      if (response.status === 416) throw this.#changed("a range is gone", answer);
      if (response.status !== 206) throw statusError(url, response, answer);
      const head = this.#checkHead(response, start, end, answer);
      this.#checkVersion(response, head.total, answer);
      if (response.redirected && response.url) this.#direct = response.url;
      await readExactly(answer, head, url, sink, head.total === undefined && first);
      return head;
    });
  }

  /** What an answer says it holds, which must be what was asked for. */
  #checkHead(response: Response, start: number, end: number, answer: Answer): Head {
    const text = response.headers.get("content-range");
    // Not every server lets a page see this header; then the length of the body must do.
    if (text === null) return { start, end };
    const found = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(text.trim());
    const [from, last] = [Number(found?.[1]), Number(found?.[2])];
    const total = found?.[3] === "*" ? undefined : Number(found?.[3]);
    const end_ = total === undefined ? end : Math.min(end, total);
    if (!found || from !== start || last + 1 !== end_ || !Number.isSafeInteger(total ?? 0)) {
      answer.abandon();
      throw new TensorFileError({
        code: "network.range",
        message: `the server sent another part of the file than it was asked for: ${this.name}`,
        expected: `bytes ${start}-${end - 1}`,
        found: text.slice(0, 80),
      });
    }
    return { start, end: last + 1, total };
  }

  /** Refuses an answer that is of another version of the file than the first. */
  #checkVersion({ headers }: Response, total: number | undefined, answer: Answer): void {
    const now = { total, etag: headers.get("etag"), modified: headers.get("last-modified") };
    const before = this.#version;
    if (!before) {
      this.#version = now;
      return;
    }
    if (total !== undefined && this.byteLength && total !== this.byteLength) {
      throw this.#changed(`${total} bytes`, answer, `${this.byteLength} bytes`);
    }
    if (now.etag && before.etag && now.etag !== before.etag) {
      throw this.#changed(`ETag ${now.etag}`, answer, `ETag ${before.etag}`);
    }
    const tagged = now.etag && before.etag;
    if (!tagged && now.modified && before.modified && now.modified !== before.modified) {
      throw this.#changed(`modified ${now.modified}`, answer, `modified ${before.modified}`);
    }
  }

  #changed(found: string, answer: Answer, expected?: string): TensorFileError {
    answer.abandon();
    return new TensorFileError({
      code: "network.changed",
      message: `the file changed while it was read: ${this.name}`,
      expected,
      found,
    });
  }

  /** A server that knows no ranges: the file is taken if it is no longer than what was asked for. */
  async #takeWhole(
    url: string,
    start: number,
    end: number,
    answer: Answer,
    sink: Sink,
  ): Promise<Head> {
    const declared = Number(answer.response.headers.get("content-length") ?? 0);
    const most = Math.max(end - start, FIRST_REQUEST);
    const pieces: Uint8Array[] = [];
    let length = 0;
    if (declared <= most) {
      await answer.each((bytes) => {
        length += bytes.byteLength;
        pieces.push(bytes);
        return length > most;
      });
    }
    if (declared > most || length > most) {
      answer.abandon();
      throw new TensorFileError({
        code: "network.range",
        message: `the server sends whole files only, not parts of them: ${cleanUrl(url)}`,
        expected: "status 206 and a part of the file",
        found: declared ? `status 200 and ${declared} bytes` : "status 200 and the whole file",
      });
    }
    if (this.byteLength && length !== this.byteLength) {
      throw this.#changed(`${length} bytes`, answer, `${this.byteLength} bytes`);
    }
    this.#whole = concat(pieces);
    sink(this.#whole.subarray(start, end));
    return { start, end: Math.min(end, length), total: length };
  }

  /** The length of a file whose answers do not show it. */
  async #findLength(signal?: AbortSignal): Promise<number> {
    const hint = await this.#place.sizeHint?.(signal);
    if (hint !== undefined && hint >= FIRST_REQUEST) return hint;
    // How long the rest would be is in a header that pages always see; the rest is not read.
    const rest = await this.#fetcher.persistently(
      () =>
        this.#probe(`bytes=${FIRST_REQUEST}-${Number.MAX_SAFE_INTEGER - 1}`, signal, (headers) =>
          Number(headers.get("content-length") ?? Number.NaN),
        ),
      signal,
    );
    if (rest === undefined) return FIRST_REQUEST;
    if (Number.isSafeInteger(rest) && rest > 0) return FIRST_REQUEST + rest;
    return this.#search(signal);
  }

  /** Finds the last byte by asking for single ones: doubling, then halving. */
  async #search(signal?: AbortSignal): Promise<number> {
    const exists = async (at: number) =>
      (await this.#fetcher.persistently(
        () => this.#probe(`bytes=${at}-${at}`, signal, () => true),
        signal,
      )) === true;
    let low = FIRST_REQUEST;
    let high = low * 2;
    while (await exists(high - 1)) {
      low = high;
      high *= 2;
      if (high > 2 ** 50) throw usage("source", "the length of the file cannot be found out");
    }
    // The file holds `low` bytes at least and less than `high`.
    while (high - low > 1) {
      const middle = low + Math.floor((high - low) / 2);
      if (await exists(middle - 1)) low = middle;
      else high = middle;
    }
    return low;
  }

  /** Looks at an answer's head only; undefined where the range is beyond the end. */
  #probe<T>(
    range: string,
    signal: AbortSignal | undefined,
    look: (headers: Headers) => T,
  ): Promise<T | undefined> {
    const url = this.#direct ?? this.#place.url;
    return this.#fetcher.request(url, { Range: range }, signal, async (answer) => {
      const { response } = answer;
      if (response.status !== 206 && response.status !== 416)
        throw statusError(url, response, answer);
      answer.abandon();
      return response.status === 416 ? undefined : look(response.headers);
    });
  }
}

/** Reads a body of exactly the announced length; only the first answer of a short file may be less. */
async function readExactly(
  answer: Answer,
  head: Head,
  url: string,
  sink: Sink,
  mayBeShort: boolean,
) {
  const length = head.end - head.start;
  let got = 0;
  try {
    await answer.each((bytes) => {
      got += bytes.byteLength;
      if (got <= length) sink(bytes);
      return got > length;
    });
  } catch (error) {
    if (error instanceof TensorFileError) throw error;
    if ((error as Error).name === "AbortError") throw error;
    throw truncated(url, length, got, error);
  }
  if (got > length) {
    answer.abandon();
    throw new TensorFileError({
      code: "network.range",
      message: `the server sent more than it was asked for: ${cleanUrl(url)}`,
      expected: `${length} bytes`,
    });
  }
  if (got < length && !mayBeShort) throw truncated(url, length, got);
}

function truncated(url: string, length: number, got: number, cause?: unknown): Transient {
  return new Transient({
    code: "network.truncated",
    message: `the connection broke off before everything had come: ${cleanUrl(url)}`,
    expected: `${length} bytes`,
    found: `${got} bytes`,
    cause,
  });
}

/** Whether an address that a redirect led to has had its day. */
function isStale(error: unknown): boolean {
  if (!(error instanceof TensorFileError)) return false;
  return error.code === "network.cors" || [400, 401, 403, 404, 410].includes(error.status ?? 0);
}

function concat(pieces: readonly Uint8Array[]): Uint8Array {
  if (pieces.length === 1) return pieces[0];
  const whole = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.byteLength, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.byteLength;
  }
  return whole;
}
