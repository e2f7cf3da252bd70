import { asError, TensorFileError, throwIfAborted, unlessAborted, usage } from "../errors.ts";
import type { ByteSource } from "../types.ts";

/** Takes bytes as they come, in order. */
export type Sink = (bytes: Uint8Array) => void;

/** A source as the rest of the package sees it. */
export interface Feed {
  /** What to show people. */
  readonly name: string;
  readonly byteLength: number;
  /** Whether reading costs next to nothing, so that nothing is planned or kept. */
  readonly local: boolean;
  /** Exactly the bytes from `start` to `end`, in pieces; cached by nobody. */
  pull(start: number, end: number, signal: AbortSignal | undefined, sink: Sink): Promise<void>;
}

/** Bytes in memory. */
export function memoryFeed(bytes: Uint8Array, name = "bytes in memory"): Feed {
  return {
    name,
    byteLength: bytes.byteLength,
    local: true,
    async pull(start, end, signal, sink) {
      throwIfAborted(signal);
      // A copy: what is handed out may be transferred, and this is the caller's memory.
      sink(bytes.slice(start, end));
    },
  };
}

/** A file that was picked or dropped, or anything else that is a Blob. */
export function blobFeed(blob: Blob, name?: string): Feed {
  return {
    name: name ?? (blob as Partial<File>).name ?? "a blob",
    byteLength: blob.size,
    local: true,
    async pull(start, end, signal, sink) {
      const read = blob.slice(start, end).arrayBuffer();
      const bytes = await unlessAborted(read, signal).catch((error) => {
        if ((error as Error).name !== "NotReadableError") throw asError(error);
        throw new TensorFileError({
          code: "io.changed",
          message: "the file can no longer be read: it was changed, moved or deleted",
          cause: error,
        });
      });
      sink(new Uint8Array(bytes));
    },
  };
}

/** A caller's own source, whose answers are checked. */
export function customFeed(source: ByteSource): Feed {
  const { byteLength } = source;
  if (!Number.isSafeInteger(byteLength) || byteLength < 0) {
    throw usage("option", "the source's byteLength is not a length", { found: String(byteLength) });
  }
  return {
    name: source.name ?? "a source of bytes",
    byteLength,
    local: false,
    async pull(start, end, signal, sink) {
      throwIfAborted(signal);
      const read = async () => source.read(start, end - start, { signal });
      const bytes = await unlessAborted(read(), signal).catch((cause) => {
        const error = asError(cause);
        if (error.code !== "internal.failed") throw error;
        const message = `the source could not be read: ${(cause as Error)?.message ?? cause}`;
        throw new TensorFileError({ code: "io.failed", message, cause });
      });
      if (!(bytes instanceof Uint8Array) || bytes.byteLength !== end - start) {
        throw usage("source", "the source did not give the bytes that it was asked for", {
          expected: `a Uint8Array of ${end - start} bytes`,
          found: bytes instanceof Uint8Array ? `${bytes.byteLength} bytes` : typeof bytes,
        });
      }
      sink(bytes);
    },
  };
}
