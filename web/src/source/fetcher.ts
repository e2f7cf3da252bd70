import {
  asError,
  interrupted,
  TensorFileError,
  throwIfAborted,
  unlessAborted,
  usage,
} from "../errors.ts";
import type { OpenOptions, TransferCounters } from "../types.ts";
import { HUB } from "./hub.ts";

/** Counts what everything that shares a fetcher costs. */
export type Counters = { -readonly [K in keyof TransferCounters]: number };

/** The longest wait that a server may ask for before the request fails instead. */
const LONGEST_WAIT = 60_000;
const FIRST_WAIT = 250;
/** Bytes of a body that must come in each second of the time limit. */
const SLOWEST = 1 << 10;
const TRANSIENT = new Set([408, 425, 429, 500, 502, 503, 504]);
/** A JSON answer longer than this is refused. */
const LONGEST_JSON = 64 << 20;

/** An answer whose head came; the body is read by `each`, once. */
export interface Answer {
  readonly response: Response;
  /** Reads the body piece by piece; the piece handler ends it early by answering true. */
  each(take: (bytes: Uint8Array) => boolean | undefined): Promise<void>;
  /** Gives the body up and closes the connection. */
  abandon(): void;
}

/** A failure that may pass when tried again. */
export class Transient extends TensorFileError {
  readonly after?: number;

  constructor(parts: ConstructorParameters<typeof TensorFileError>[0], after?: number) {
    super(parts);
    if (after !== undefined) this.after = after;
  }
}

/** `fetch` with a cap on requests under way, time limits, the token where it belongs, and counters. */
export class Fetcher {
  readonly counters: Counters;
  readonly #options: OpenOptions;
  readonly #hub: string;
  readonly #waiting: (() => void)[] = [];
  #free: number;
  /** Whether anything ever came: then a failure is hardly one of permissions. */
  #reached = false;

  constructor(options: OpenOptions, counters?: Counters) {
    this.#options = options;
    this.#free = atLeastOne(options.concurrency ?? 6, "concurrency");
    this.counters = counters ?? { requests: 0, bytes: 0, retries: 0, cacheHits: 0 };
    const hub = options.hubEndpoint ?? HUB;
    if (!URL.canParse(hub)) throw usage("option", "hubEndpoint is not a URL", { found: hub });
    this.#hub = new URL(hub).origin;
    if (options.token !== undefined && !/^[\x21-\x7e]+$/.test(options.token)) {
      throw usage("option", "the token holds characters that no token has");
    }
  }

  /** Runs `attempt` until it succeeds, fails for good, or was tried often enough. */
  async persistently<T>(attempt: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const most = this.#options.retries ?? 4;
    for (let tried = 0; ; tried++) {
      throwIfAborted(signal);
      const reached = this.#reached;
      try {
        return await attempt();
      } catch (error) {
        throwIfAborted(signal);
        // What never worked is probably forbidden; one more try is enough.
        const left = reached || !(error instanceof Transient && error.code === "network.cors");
        if (!(error instanceof Transient) || tried >= (left ? most : Math.min(most, 1)))
          throw error;
        const wait = error.after ?? FIRST_WAIT * 2 ** tried * (0.5 + Math.random());
        if (wait > LONGEST_WAIT) throw error;
        this.counters.retries++;
        await pause(wait, signal);
      }
    }
  }

  /** One request, once; `use` reads the answer. */
  async request<T>(
    url: string,
    headers: Record<string, string>,
    signal: AbortSignal | undefined,
    use: (answer: Answer) => Promise<T>,
  ): Promise<T> {
    await this.#enter(signal);
    const control = new AbortController();
    const abort = () => control.abort();
    signal?.addEventListener("abort", abort, { once: true });
    const patience = this.#options.timeout ?? 30_000;
    let silent = false;
    const silence = () => {
      silent = true;
      control.abort();
    };
    let timer = setTimeout(silence, patience);
    const heard = () => {
      clearTimeout(timer);
      timer = setTimeout(silence, patience);
    };
    try {
      throwIfAborted(signal);
      this.counters.requests++;
      const response = await (this.#options.fetch ?? fetch)(url, {
        headers: { ...headers, ...this.#authorization(url) },
        // Without this, Chromium serialises the ranges of one URL.
        cache: "no-store",
        signal: control.signal,
      });
      this.#reached = true;
      heard();
      return await use({
        response,
        each: (take) => {
          // Not each byte is heard, or a few of them could hold up the reader for ever.
          const enough = (SLOWEST * patience) / 1000;
          return this.#each(response, take, enough, heard, control.signal);
        },
        abandon: abort,
      });
    } catch (error) {
      if (signal?.aborted) throw interrupted(signal.reason);
      if (error instanceof TensorFileError && !silent) throw error;
      if (silent) {
        throw new Transient({
          code: "network.timeout",
          message: `the server did not answer in time, or too slowly: ${cleanUrl(url)}`,
          expected: `an answer within ${patience / 1000} s, and ${SLOWEST} bytes/s`,
        });
      }
      throw this.#unreachable(url, error);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
      this.#leave();
    }
  }

  /** A JSON answer of the Hub's, with its Link header. */
  json(url: string, signal?: AbortSignal): Promise<{ value: unknown; link: string | null }> {
    return this.persistently(
      () =>
        this.request(url, { Accept: "application/json" }, signal, async (answer) => {
          const { response } = answer;
          if (!response.ok) throw statusError(url, response, answer);
          const pieces: Uint8Array[] = [];
          let length = 0;
          await answer.each((bytes) => {
            length += bytes.byteLength;
            pieces.push(bytes);
            return length > LONGEST_JSON;
          });
          const text = await new Blob(pieces as BlobPart[]).text();
          try {
            return { value: JSON.parse(text), link: response.headers.get("link") };
          } catch (cause) {
            throw new TensorFileError({
              code: "network.hub",
              message: `the answer is not JSON: ${cleanUrl(url)}`,
              cause,
            });
          }
        }),
      signal,
    );
  }

  async #each(
    response: Response,
    take: (bytes: Uint8Array) => boolean | undefined,
    enough: number,
    heard: () => void,
    signal: AbortSignal,
  ): Promise<void> {
    const reader = response.body?.getReader();
    if (!reader) return;
    let fresh = 0;
    for (;;) {
      // Not every runtime ends a read when its request is aborted.
      const { done, value } = await unlessAborted(reader.read(), signal);
      if (done) return;
      fresh += value.byteLength;
      if (fresh >= enough) {
        heard();
        fresh = 0;
      }
      this.counters.bytes += value.byteLength;
      if (take(value)) {
        reader.cancel().catch(() => {});
        return;
      }
    }
  }

  #authorization(url: string): Record<string, string> {
    const { token } = this.#options;
    if (token === undefined || new URL(url).origin !== this.#hub) return {};
    return { Authorization: `Bearer ${token}` };
  }

  #unreachable(url: string, cause: unknown): TensorFileError {
    const { navigator } = globalThis as { navigator?: { onLine?: boolean } };
    if (navigator?.onLine === false) {
      return new TensorFileError({
        code: "network.offline",
        message: "this device is offline",
        cause,
      });
    }
    // Only a name: the runtime's own text may hold the address with its secrets.
    if (!(cause instanceof TypeError)) {
      const error = asError(cause);
      if (error.code !== "internal.failed") return error;
    }
    const page =
      typeof document === "undefined" ? "" : ", or it does not allow other sites to read it (CORS)";
    return new Transient({
      code: "network.cors",
      message: `the server could not be reached${page}: ${cleanUrl(url)}`,
      cause,
    });
  }

  async #enter(signal?: AbortSignal): Promise<void> {
    throwIfAborted(signal);
    if (this.#free > 0) {
      this.#free--;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const turn = () => {
        signal?.removeEventListener("abort", abort);
        resolve();
      };
      const abort = () => {
        this.#waiting.splice(this.#waiting.indexOf(turn), 1);
        reject(interrupted(signal?.reason));
      };
      this.#waiting.push(turn);
      signal?.addEventListener("abort", abort, { once: true });
    });
  }

  #leave(): void {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#free++;
  }
}

/** The error for a status that is not what was hoped for. The body is given up. */
export function statusError(url: string, response: Response, answer: Answer): TensorFileError {
  const { status, headers } = response;
  answer.abandon();
  const reason = headers.get("x-error-code") ?? "";
  const where = cleanUrl(url);
  const found = reason ? `${status} ${reason}` : String(status);
  const parts = { found, status };
  if (TRANSIENT.has(status)) {
    const message = `the server could not answer (${status}): ${where}`;
    return new Transient({ ...parts, code: "network.status", message }, retryAfter(headers));
  }
  if (reason === "GatedRepo") {
    const message = `the repository is gated; it takes a token that may read it: ${where}`;
    return new TensorFileError({ ...parts, code: "network.denied", message });
  }
  if (reason === "RepoNotFound" || status === 404 || status === 410) {
    const hub = reason === "RepoNotFound" || status === 401 ? ", or it is private" : "";
    const message = `there is nothing at this address${hub} (${status}): ${where}`;
    return new TensorFileError({ ...parts, code: "network.not_found", message });
  }
  if (status === 401 || status === 403) {
    const message = `the server does not allow reading this (${status}): ${where}`;
    return new TensorFileError({ ...parts, code: "network.denied", message });
  }
  const message = `the server answered ${status}: ${where}`;
  return new TensorFileError({ ...parts, code: "network.status", message });
}

/** A URL without user, query and fragment, any of which may be secret. */
export function cleanUrl(url: string): string {
  if (!URL.canParse(url)) return "(not a URL)";
  const { origin, pathname } = new URL(url);
  return origin === "null" ? url.split(/[?#]/, 1)[0].slice(0, 200) : origin + pathname;
}

function retryAfter(headers: Headers): number | undefined {
  const text = headers.get("retry-after");
  if (!text) return undefined;
  const wait = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Number.isNaN(wait) ? undefined : Math.max(0, wait);
}

function pause(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(interrupted(signal?.reason));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    signal?.addEventListener("abort", stop, { once: true });
  });
}

function atLeastOne(value: number, what: string): number {
  if (Number.isSafeInteger(value) && value >= 1) return value;
  throw usage("option", `${what} must be at least 1`, { found: String(value) });
}
