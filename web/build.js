/**
 * Builds the library into `dist/`: one module, and its types. The wasm module (which
 * `tests/tools/wasm.sh` makes) and the workers' script become texts inside it, so that nothing
 * that uses the package has to be configured.
 *
 *     node build.js            everything
 *     node build.js generated  only the texts, in `src/generated/`, for those who build from source
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { constants, gzipSync } from "node:zlib";
import { build } from "vite";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const WASM = here("src/wasm/deathtensors_wasm_bg.wasm");

function generate(name, text) {
  mkdirSync(here("src/generated"), { recursive: true });
  writeFileSync(here(`src/generated/${name}.ts`), `export const ${name} =\n  "${text}";\n`);
}

async function bundle(entry, options) {
  const result = await build({
    configFile: false,
    root: here("."),
    logLevel: "warn",
    build: {
      target: "es2022",
      write: false,
      modulePreload: false,
      lib: { entry: here(entry), formats: [options.format], name: "deathtensors" },
      minify: options.minify,
      rolldownOptions: { external: [/^node:/] },
    },
  });
  const [{ output }] = [result].flat();
  if (output.length !== 1) throw new Error(`${entry} became ${output.length} files`);
  return output[0].code;
}

const wasm = gzipSync(readFileSync(WASM), { level: constants.Z_BEST_COMPRESSION });
generate("wasm", wasm.toString("base64"));
const worker = await bundle("src/engine/worker.ts", { format: "iife", minify: true });
generate("worker", JSON.stringify(worker).slice(1, -1));

/** Keeps the types that the public ones are made of, under the names that they are published by. */
function tidyTypes(dist) {
  const reached = new Set();
  const visit = (path) => {
    if (reached.has(path)) return;
    reached.add(path);
    const text = readFileSync(path, "utf8").replace(/(from "\.{1,2}\/[^"]+)\.ts"/g, '$1.js"');
    writeFileSync(path, text);
    for (const [, found] of text.matchAll(/from "(\.{1,2}\/[^"]+)\.js"/g)) {
      visit(join(dirname(path), `${found}.d.ts`));
    }
  };
  visit(join(dist, "index.d.ts"));
  for (const entry of readdirSync(dist, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath ?? entry.path, entry.name);
    if (entry.isFile() && path.endsWith(".d.ts") && !reached.has(path)) rmSync(path);
  }
}

if (process.argv[2] !== "generated") {
  const dist = here("dist");
  rmSync(dist, { recursive: true, force: true });
  mkdirSync(dist);
  const code = await bundle("src/index.ts", { format: "es", minify: false });
  writeFileSync(`${dist}/index.js`, code);
  const types = ["--emitDeclarationOnly", "--declaration", "--project", here("tsconfig.json")];
  const tsc = here("node_modules/typescript/bin/tsc");
  const { status } = spawnSync(process.execPath, [tsc, ...types], { stdio: "inherit" });
  if (status !== 0) process.exit(1);
  tidyTypes(dist);
  const size = gzipSync(code, { level: constants.Z_BEST_COMPRESSION }).length;
  console.log(`result: dist/index.js, ${(size / 1000).toFixed(1)} KB gzipped`);
}
