/**
 * `node benches/wasm/run.js`: the module's zstd decoder beside others, SHA-256 beside the
 * browser's own, and statistics, in Node and in Chromium. Prints tables.
 *
 * Needs tests/tools/wasm.sh and tests/tools/npm.sh to have run, and pip. What else it
 * compares with, it fetches and builds itself.
 */

import { createReadStream, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";
import { findChromium } from "../../web/e2e/support/chromium.js";
import { measure } from "./bench.js";
import { here, made, modules, prepare, root } from "./prepare.js";

const wasm = join(root, "web/src/wasm");
const web = createRequire(join(root, "web/package.json"));
const FLAGS =
  "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run " +
  "--disable-background-networking --disable-component-update --disable-sync";

prepare();
print(`Node ${process.versions.node}`, await inNode());
print(...(await inChromium()));

async function inNode() {
  const ours = await import(join(wasm, "deathtensors_wasm.js"));
  await ours.default({ module_or_path: readFileSync(join(wasm, "deathtensors_wasm_bg.wasm")) });
  const peers = await import(join(made, "peers.js"));
  await peers.default({ module_or_path: readFileSync(join(made, "peers.wasm")) });
  const theirs = createRequire(join(made, "package.json"));
  const zstd = theirs("@bokuweb/zstd-wasm");
  await zstd.init();
  const loaded = { ours, peers, zstd, fzstd: theirs("fzstd") };
  return measure(loaded, new Uint8Array(readFileSync(join(made, "weights.bin"))));
}

async function inChromium() {
  const { rolldown } = await import(web.resolve("rolldown"));
  const bundle = await rolldown({
    input: join(here, "page.js"),
    platform: "browser",
    resolve: {
      alias: { ours: join(wasm, "deathtensors_wasm.js"), peers: join(made, "peers.js") },
      modules: [modules],
    },
  });
  await bundle.write({ file: join(made, "page.js"), format: "esm" });
  const served = {
    "/ours.wasm": join(wasm, "deathtensors_wasm_bg.wasm"),
    "/zstd.wasm": join(modules, "@bokuweb/zstd-wasm/dist/web/zstd.wasm"),
    ...Object.fromEntries(
      ["page.js", "peers.wasm", "weights.bin"].map((name) => [`/${name}`, join(made, name)]),
    ),
  };
  const types = {
    js: "text/javascript",
    wasm: "application/wasm",
    bin: "application/octet-stream",
  };
  const server = createServer(({ url }, response) => {
    const path = served[url];
    response.setHeader("content-type", path ? types[path.split(".").at(-1)] : "text/html");
    if (path) createReadStream(path).pipe(response);
    else response.end('<!doctype html><script type="module" src="page.js"></script>');
  });
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  const { chromium } = web("playwright-core");
  const browser = await chromium.launch({ executablePath: findChromium(), args: FLAGS.split(" ") });
  try {
    const page = await browser.newPage();
    page.on("pageerror", (error) => console.error(error));
    await page.goto(`http://127.0.0.1:${server.address().port}/`);
    return [`Chromium ${browser.version()}`, await page.evaluate(() => globalThis.result)];
  } finally {
    await browser.close();
    server.close();
  }
}

/** A table of each group, with the share of ours where there are others. */
function print(where, rows) {
  for (const group of new Set(rows.map((row) => row.group))) {
    const some = rows.filter((row) => row.group === group);
    const ours = some.find((row) => row.name === "ours")?.columns;
    const titles = Object.keys(some[0].columns);
    console.log(`\n${where}, ${group}, MB/s\n`);
    console.log(`| | ${titles.join(" | ")} |\n|--|${titles.map(() => "--:|").join("")}`);
    for (const { name, columns } of some) {
      const cells = titles.map((title) => {
        const share =
          ours && name !== "ours" ? ` (${(columns[title] / ours[title]).toFixed(2)})` : "";
        return columns[title].toFixed(0) + share;
      });
      console.log(`| ${name} | ${cells.join(" | ")} |`);
    }
  }
}
