import * as glue from "../wasm/deathtensors_wasm.js";
import type { Face } from "./face.ts";

/** The module's one instance on this thread. */
export function instantiate(module: WebAssembly.Module): Face {
  glue.initSync({ module });
  return glue as unknown as Face;
}
