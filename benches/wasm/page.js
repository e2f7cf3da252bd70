/** The benchmark in a page: `run.js` bundles it and waits for `result`. */

import * as zstd from "@bokuweb/zstd-wasm";
import * as fzstd from "fzstd";
import * as ours from "ours";
import * as peers from "peers";
import { measure } from "./bench.js";

globalThis.result = (async () => {
  await ours.default({ module_or_path: "ours.wasm" });
  await peers.default({ module_or_path: "peers.wasm" });
  await zstd.init("zstd.wasm");
  const weights = new Uint8Array(await (await fetch("weights.bin")).arrayBuffer());
  return measure({ ours, peers, zstd, fzstd }, weights);
})();
