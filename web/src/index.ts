/** Tensor files by URL, from the Hub, or from disk, of which only what is asked for is read. */
export { diff } from "./diff.ts";
export { TensorFileError } from "./errors.ts";
export { listHub } from "./hub.ts";
export { engineInfo } from "./info.ts";
export { LIMITS } from "./limits.ts";
export { openTensorFile } from "./open.ts";
export { parseSource } from "./source/hub.ts";
export type * from "./types.ts";
export { version } from "./version.ts";
