/**
 * `npm run e2e [file…]`: the viewer and the package in real Chromium.
 *
 * Makes the fixtures, starts the model of the Hub and a server for the built pages, and runs the
 * tests one file after another, since they share both servers.
 */

import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { findChromium } from "./support/chromium.js";
import { startHub } from "./support/hub.js";
import { startSite } from "./support/site.js";

const here = dirname(fileURLToPath(import.meta.url));
const root = resolve(here, "../..");
const files = join(root, "build/e2e/files");

const wanted = process.argv.slice(2);
const tests = readdirSync(here)
  .filter((name) => name.endsWith(".test.js"))
  .filter((name) => wanted.length === 0 || wanted.some((one) => name.includes(one)))
  .sort()
  .map((name) => join(here, name));
if (tests.length === 0) fail(`no test is called ${wanted.join(", ")}`);
const needed = {
  "web/dist/index.js": "npm run build --prefix web",
  // The conformance tests use the package alone.
  ...(tests.some((path) => !path.includes("conformance")) && {
    "web/viewer/dist/index.html": "npm run viewer --prefix web",
  }),
};
for (const [path, command] of Object.entries(needed)) {
  if (!existsSync(join(root, path))) fail(`${path} is not there; build it: ${command}`);
}
const python = process.env.E2E_PYTHON ?? join(root, "build/venv/bin/python");
if (!existsSync(python)) fail(`${python} is not there; 'make build' makes it, or set E2E_PYTHON`);
const chromium = findChromium();

makeFixtures();
mkdirSync(join(root, "build/screenshots"), { recursive: true });
const facts = JSON.parse(readFileSync(join(files, "facts.json"), "utf8"));
const hub = await startHub(python, root);
await hub.put(
  "org/minilm",
  { ...pathsOf("minilm"), "nested/deep/zoo.deathtensors": fixture("zoo/zoo.deathtensors") },
  {
    "README.md": "# MiniLM",
    "config.json": "{}",
  },
);
for (const name of ["zoo", "many", "pair", "sharded", "broken"]) {
  await hub.put(`org/${name}`, pathsOf(name), {});
}
await hub.put(
  "org/private",
  { "zoo.deathtensors": fixture("zoo/zoo.deathtensors") },
  {},
  { private: true },
);
await hub.put(
  "org/gated",
  { "zoo.deathtensors": fixture("zoo/zoo.deathtensors") },
  {},
  { gated: "auto" },
);
const site = await startSite(root);

const shared = { root, files, python, chromium, site: site.origin, hub: hub.facts, facts };
const child = spawn(
  process.execPath,
  ["--test", "--test-concurrency=1", "--test-timeout=120000", ...tests],
  {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, E2E: JSON.stringify(shared) },
  },
);
let said = "";
child.stdout.on("data", (chunk) => {
  process.stdout.write(chunk);
  said += chunk;
});
child.on("close", (code) => {
  hub.stop();
  site.stop();
  if (code === 0) console.log(`result: ${summary(said)}`);
  process.exitCode = code ?? 1;
});

/** What the log of `make` shows of all this. */
function summary(text) {
  const listed = /listed at 50 ms latency: (.*)/.exec(text)?.[1];
  const passed = /^\W*pass (\d+)/m.exec(text)?.[1];
  return `${passed} tests${listed ? `; 20,000 tensors listed at 50 ms latency in ${listed}` : ""}`;
}

/** Anew whenever what makes them changed. */
function makeFixtures() {
  const script = join(here, "fixtures.py");
  const made = join(files, "facts.json");
  if (existsSync(made) && statSync(made).mtimeMs > statSync(script).mtimeMs) return;
  const done = spawnSync(python, [script, files], { stdio: "inherit" });
  if (done.status !== 0) fail("the fixtures could not be made");
}

function pathsOf(name) {
  return Object.fromEntries(
    Object.keys(facts[name].files).map((file) => [file, fixture(`${name}/${file}`)]),
  );
}

function fixture(path) {
  return join(files, path);
}

function fail(message) {
  console.error(`e2e: ${message}`);
  process.exit(1);
}
