import { TensorFileError } from "../errors.ts";
// Made by `build.js`.
import { wasm } from "../generated/wasm.ts";
import { worker } from "../generated/worker.ts";

let module: Promise<WebAssembly.Module> | undefined;

/** The wasm module, which the package carries as text: gzip, then base64. */
export function compiled(): Promise<WebAssembly.Module> {
  module ??= compile().catch((cause) => {
    module = undefined;
    throw new TensorFileError({
      code: "internal.wasm",
      message: `WebAssembly cannot be used here: ${(cause as Error).message}`,
      cause,
    });
  });
  return module;
}

async function compile(): Promise<WebAssembly.Module> {
  const packed = Uint8Array.from(atob(wasm), (letter) => letter.charCodeAt(0));
  const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return WebAssembly.compile(await new Response(unpacked).arrayBuffer());
}

/** The text of the script that workers run. */
export function workerScript(): string {
  return worker;
}
