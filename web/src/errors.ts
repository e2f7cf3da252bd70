import type { TensorFileErrorShape } from "./types.ts";
import { visible } from "./visible.ts";

/** What `TensorFileError` is made of. */
export interface ErrorParts extends Omit<TensorFileErrorShape, "kind"> {
  kind?: string;
  /** The HTTP status, where a server's answer was the cause. */
  status?: number;
  cause?: unknown;
}

/**
 * Every error of this package. Cancelled work throws one too, with the code `io.interrupted`
 * and the name `AbortError`.
 */
export class TensorFileError extends Error implements TensorFileErrorShape {
  declare readonly kind: string;
  declare readonly code: string;
  declare readonly tensor?: string;
  declare readonly expected?: string;
  declare readonly found?: string;
  declare readonly status?: number;

  constructor(parts: ErrorParts) {
    super(visible(parts.message), parts.cause === undefined ? undefined : { cause: parts.cause });
    this.name = parts.code === "io.interrupted" ? "AbortError" : "TensorFileError";
    this.kind = parts.kind ?? parts.code.split(".", 1)[0];
    this.code = parts.code;
    if (parts.tensor !== undefined) this.tensor = parts.tensor;
    if (parts.expected !== undefined) this.expected = parts.expected;
    if (parts.found !== undefined) this.found = parts.found;
    if (parts.status !== undefined) this.status = parts.status;
  }
}

/** The error for something thrown by anyone: the core, a worker, a stream, the runtime. */
export function asError(thrown: unknown): TensorFileError {
  if (thrown instanceof TensorFileError) return thrown;
  if (isShape(thrown)) return new TensorFileError(thrown);
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  if (error.name === "AbortError") return interrupted(error);
  if (error instanceof RangeError) {
    return new TensorFileError({
      code: "limit.memory",
      message: `this does not fit into memory here: ${error.message}`,
      cause: error,
    });
  }
  return new TensorFileError({
    code: "internal.failed",
    message: `something unforeseen went wrong: ${error.message}`,
    cause: error,
  });
}

/** The same error, of that tensor. */
export function ofTensor(error: TensorFileError, tensor: string): TensorFileError {
  const { kind, code, message, expected, found, status, cause } = error;
  return new TensorFileError({ kind, code, message, tensor, expected, found, status, cause });
}

function isShape(thrown: unknown): thrown is ErrorParts {
  const shape = thrown as Partial<ErrorParts> | null;
  return (
    typeof shape === "object" &&
    typeof shape?.code === "string" &&
    typeof shape.message === "string" &&
    typeof shape.kind === "string"
  );
}

export function usage(code: string, message: string, more?: Partial<ErrorParts>): TensorFileError {
  return new TensorFileError({ ...more, code: `usage.${code}`, message });
}

export function interrupted(cause?: unknown): TensorFileError {
  return new TensorFileError({ code: "io.interrupted", message: "cancelled", cause });
}

export function throwIfAborted(signal?: AbortSignal): void {
  if (signal?.aborted) throw interrupted(signal.reason);
}

/** The promise, or the refusal as soon as the signal aborts. */
export async function unlessAborted<T>(work: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (!signal) return work;
  throwIfAborted(signal);
  let onAbort = () => {};
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(interrupted(signal.reason));
    signal.addEventListener("abort", onAbort, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

/** A place in a file as an integer that JavaScript holds exactly. */
export function checkIndex(value: number, what: string, most: number): void {
  if (Number.isSafeInteger(value) && value >= 0 && value <= most) return;
  throw usage("range", `${what} is out of range`, {
    expected: `an integer from 0 to ${most}`,
    found: String(value),
  });
}
