import type { Stats } from "node:fs";
import { TensorFileError, throwIfAborted } from "../errors.ts";
import type { Feed } from "./feed.ts";

/** The most that one read asks the operating system for. */
const LARGEST_READ = 8 << 20;

/** Whether this is Node or something that looks like it. */
export function isNode(): boolean {
  const { process } = globalThis as { process?: { versions?: { node?: string } } };
  return typeof process?.versions?.node === "string";
}

/** Loads a module of Node's own without any bundler noticing. */
export function nodeModule<T>(name: string): Promise<T> {
  const specifier = `node:${name}`;
  return import(/* @vite-ignore */ /* webpackIgnore: true */ specifier);
}

/** A file on disk. It is held open until `close`. */
export async function nodeFeed(path: string): Promise<Feed & { close(): void }> {
  const fs = await nodeModule<typeof import("node:fs/promises")>("fs/promises");
  const { O_RDONLY, O_NONBLOCK = 0 } = fs.constants;
  const failed = (error: NodeJS.ErrnoException) => {
    throw osError(path, error);
  };
  // Before it is opened, since opening a pipe waits for a writer and a device may act upon it.
  checkRegular(path, await fs.stat(path).catch(failed));
  // Nor may a pipe that has taken its place by now make this wait.
  const file = await fs.open(path, O_RDONLY | O_NONBLOCK).catch(failed);
  try {
    const before = await file.stat();
    checkRegular(path, before);
    return {
      name: path.replace(/^.*[\\/]/, ""),
      byteLength: before.size,
      local: true,
      async pull(start, end, signal, sink) {
        for (let at = start; at < end; ) {
          throwIfAborted(signal);
          const bytes = new Uint8Array(Math.min(end - at, LARGEST_READ));
          const { bytesRead } = await file.read(bytes, 0, bytes.byteLength, at).catch((error) => {
            throw osError(path, error);
          });
          if (bytesRead === 0) {
            throw new TensorFileError({
              code: "io.changed",
              message: `the file became shorter while it was read: ${path}`,
              expected: `${before.size} bytes`,
              found: `${at} bytes`,
            });
          }
          sink(bytes.subarray(0, bytesRead));
          at += bytesRead;
        }
        const now = await file.stat();
        if (now.mtimeMs !== before.mtimeMs || now.size !== before.size) {
          throw new TensorFileError({
            code: "io.changed",
            message: `the file was changed while it was read: ${path}`,
          });
        }
      },
      close() {
        file.close().catch(() => {});
      },
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

function checkRegular(path: string, found: Stats): void {
  if (found.isFile()) return;
  throw new TensorFileError({
    code: "io.failed",
    message: `${path} cannot be read: it is not a regular file`,
  });
}

/** The path of a file beside another. */
export async function beside(path: string, name: string): Promise<string> {
  const { dirname, join } = await nodeModule<typeof import("node:path")>("path");
  return join(dirname(path), name);
}

function osError(path: string, cause: NodeJS.ErrnoException): TensorFileError {
  const absent = cause.code === "ENOENT" || cause.code === "ENOTDIR";
  return new TensorFileError({
    code: absent ? "not_found.file" : "io.failed",
    message: absent ? `there is no file ${path}` : `${path} cannot be read: ${cause.message}`,
    cause,
  });
}
