/** `deathtensors view`, with the viewer that is shipped in the Python package. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { test } from "node:test";
import { facts, newPage, shared, useBrowser } from "./support/browser.js";
import { at, checkStats, fixturePath, number, openTensor, shot } from "./support/viewer.js";

useBrowser();

test("deathtensors view opens a file of this machine", async () => {
  const path = fixturePath("minilm/digests.deathtensors");
  const words = ["-m", "deathtensors", "view", path, "--no-browser", "--json"];
  // Away from the sources, so that the installed package is what runs.
  const child = spawn(shared.python, words, { cwd: shared.files });
  try {
    const { url } = await firstJson(child);
    const { page } = await newPage({ known: [new URL(url).origin] });
    await page.goto(url);
    await at(page, "file-name", ':has-text("digests.deathtensors")').waitFor();
    assert.equal(await number(page, "fact-size"), facts.minilm.files["digests.deathtensors"]);
    const name = "encoder.layer.0.attention.self.query.weight";
    await openTensor(page, name);
    await checkStats(page, facts.minilm.measures[name]);
    await shot(page, "command");
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGINT");
    assert.equal(await ended, 0);
  } finally {
    child.kill("SIGKILL");
  }
});

/** What a process prints first, as JSON over several lines. */
function firstJson(child) {
  let out = "";
  let complaint = "";
  child.stderr.on("data", (chunk) => {
    complaint += chunk;
  });
  return new Promise((resolve, reject) => {
    child.once("exit", () => reject(new Error(complaint)));
    child.stdout.on("data", (chunk) => {
      out += chunk;
      if (out.endsWith("}\n")) resolve(JSON.parse(out));
    });
  });
}
