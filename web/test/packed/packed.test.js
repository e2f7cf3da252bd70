/**
 * The package as it is published: packed, installed into fresh projects, and used by Node,
 * TypeScript, a bundler, and a plain page in Chromium. The examples of the README run too.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { extname } from "node:path";
import { after, before, suite, test } from "node:test";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { build } from "vite";
import { FLAGS, findChromium } from "../../e2e/support/chromium.js";
import { serve } from "../server.js";
import { fixtures, makeFixtures, root } from "../support.js";

const web = fileURLToPath(new URL("../../", import.meta.url));
const project = `${root}build/packed`;
let files;

before(async () => {
  makeFixtures();
  rmSync(project, { recursive: true, force: true });
  mkdirSync(project, { recursive: true });
  const run = (command, cwd) =>
    execFileSync("npm", command, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  const [{ filename }] = JSON.parse(run(["pack", "--json", "--pack-destination", project], web));
  writeFileSync(`${project}/package.json`, '{"private": true, "type": "module"}\n');
  run(["install", "--no-audit", "--no-fund", `./${filename}`], project);
  files = await serve({ "/model.deathtensors": `${fixtures}/packed.deathtensors` });
});
after(() => files.close());

const write = (name, text) => writeFileSync(`${project}/${name}`, text);

test("what is in it", () => {
  const inside = readdirSync(`${project}/node_modules/deathtensors`);
  assert.deepEqual(inside.sort(), ["LICENSE", "README.md", "dist", "package.json"]);
  assert.deepEqual(
    readdirSync(`${project}/node_modules`).filter((name) => !name.startsWith(".")),
    ["deathtensors"],
  );
});

test("Node", () => {
  write(
    "use.js",
    `import { openTensorFile, version } from "deathtensors";
     const file = await openTensorFile(${JSON.stringify(`${fixtures}/packed.deathtensors`)});
     const { data } = await file.getTensor("scale");
     console.log(version, [...data].join(), (await file.stats("embedding")).count);`,
  );
  // Without closing the file: idle workers keep no process alive.
  const told = execFileSync(process.execPath, ["use.js"], {
    cwd: project,
    encoding: "utf8",
    timeout: 20_000,
  });
  assert.equal(told.trim(), "0.4.0 1.5,2.5 1048576");
});

test("the README's examples", () => {
  const text = readFileSync(`${web}README.md`, "utf8");
  const examples = [...text.matchAll(/```js\n([\s\S]*?)```/g)].map(([, code]) => code);
  assert.equal(examples.length, 2);
  for (const [nth, code] of examples.entries()) {
    // Only the addresses differ: no example reaches out of this machine.
    const local = code
      .replace("https://example.org/model.deathtensors", `${files.url}/model.deathtensors`)
      .replace("hf://org/name/model.safetensors", `${files.url}/absent.safetensors`);
    assert.notEqual(local, code);
    write(`example${nth}.js`, local);
  }
  return Promise.all(
    examples.map(async (_, nth) => {
      const { exec } = await import("node:child_process");
      const told = await new Promise((resolve, reject) =>
        exec(
          `"${process.execPath}" example${nth}.js`,
          { cwd: project, timeout: 20_000 },
          (error, out) => (error ? reject(error) : resolve(out)),
        ),
      );
      assert.match(
        told,
        nth === 0 ? /1348578[\s\S]*Float32Array[\s\S]*\[ 5, 1024 \]/ : /^network\.not_found /,
      );
    }),
  );
});

test("types", () => {
  write(
    "use.ts",
    `import { openTensorFile, type Tensor, TensorFileError } from "deathtensors";
     const file = await openTensorFile(new Uint8Array(), { limits: { rank: 3 } });
     const tensor: Tensor = await file.getTensor("x", { as: "float32" });
     const shape: readonly number[] = tensor.shape;
     // @ts-expect-error there is no such option
     await file.getTensor("x", { as: "float16" });
     export const code = (error: unknown) => error instanceof TensorFileError && error.code;
     export { shape };`,
  );
  for (const [module, resolution] of [
    ["nodenext", "nodenext"],
    ["esnext", "bundler"],
  ]) {
    const flags = ["--noEmit", "--strict", "--target", "es2022", "--lib", "es2023,dom"];
    const how = ["--module", module, "--moduleResolution", resolution, "--types", ""];
    const tsc = `${web}node_modules/typescript/bin/tsc`;
    execFileSync(process.execPath, [tsc, ...flags, ...how, "use.ts"], {
      cwd: project,
      stdio: "inherit",
    });
  }
});

suite("in Chromium", () => {
  let browser;
  let pages;

  before(async () => {
    write("use-in-page.js", PAGE);
    write("index.html", html("./use-in-page.js"));
    write("plain.html", html(null));
    await build({ root: project, logLevel: "error", build: { target: "es2022" } });
    pages = await serveFolder(project);
    browser = await chromium.launch({ executablePath: findChromium(), args: FLAGS });
  });
  after(async () => {
    await browser?.close();
    pages?.close();
  });

  for (const [what, path] of [
    ["built by Vite", "dist/index.html"],
    ["as a plain module", "plain.html"],
    ["where workers are forbidden", "plain.html?forbid"],
  ]) {
    test(what, async () => {
      const page = await browser.newPage();
      const faults = [];
      page.on("pageerror", (error) => faults.push(error.message));
      await page.goto(`${pages.url}/${path}`);
      const result = await page
        .waitForFunction(() => globalThis.result, undefined, { timeout: 20_000 })
        .then((handle) => handle.jsonValue());
      assert.equal(result.error, undefined, `${result.error} ${faults.join()}`);
      assert.deepEqual(result.scale, [1.5, 2.5]);
      assert.equal(result.count, 1024 * 1024);
      // One of them for the length, since this server does not let pages see Content-Range.
      assert.equal(result.requests, 5);
      assert.equal(result.workers > 0, !path.endsWith("forbid"));
      assert.equal(result.fallback, path.endsWith("forbid"));
      await page.close();
    });
  }
});

const PAGE = `
import { engineInfo, openTensorFile } from "deathtensors";
globalThis.run = async (url) => {
  const file = await openTensorFile(url);
  const { data } = await file.getTensor("scale");
  const { count } = await file.stats("embedding");
  const { workers, fallback } = await engineInfo();
  return { scale: [...data], count, requests: file.counters.requests, workers, fallback };
};
globalThis.ready?.();
`;

/** A page that imports the package by a bundler, or from a folder as it is. */
function html(script) {
  const tag = script
    ? `<script type="module" src="${script}"></script>`
    : `<script type="importmap">{"imports": {"deathtensors": "/node_modules/deathtensors/dist/index.js"}}</script>
       <script type="module" src="/use-in-page.js"></script>`;
  return `<!doctype html><meta charset="utf-8"><title>test</title><link rel="icon" href="data:,">
<script>
globalThis.ready = () => run(${JSON.stringify("FILES/model.deathtensors")}).then(
  (result) => { globalThis.result = result; },
  (error) => { globalThis.result = { error: error.code + ": " + error.message }; },
);
</script>${tag}`;
}

/** The project's files, with the address of the test's file put in. */
async function serveFolder(folder) {
  const types = { ".html": "text/html", ".js": "text/javascript" };
  const server = createServer((request, response) => {
    const url = new URL(request.url, "http://localhost");
    const path = `${folder}${url.pathname}`
      .replace("/assets", "/dist/assets")
      .replace("/dist/dist", "/dist");
    if (url.pathname.includes("..") || !existsSync(path)) return response.writeHead(404).end();
    const headers = { "Content-Type": types[extname(path)] ?? "application/octet-stream" };
    if (url.search === "?forbid") headers["Content-Security-Policy"] = "worker-src 'none'";
    const text = readFileSync(path, "utf8").replace("FILES", files.url);
    return response.writeHead(200, headers).end(text);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}
