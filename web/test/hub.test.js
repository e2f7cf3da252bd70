/** Hub references and pages, and files behind the redirects of a model of the Hub. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { after, afterEach, before, suite, test } from "node:test";
import { listHub, openTensorFile, parseSource } from "../dist/index.js";
import { fixtures, makeFixtures, python, readJson, refusal, root } from "./support.js";

const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

suite("references", () => {
  const hub = (repo, path = "", revision = "main", repoType = "model") => ({
    kind: "hub",
    repoType,
    repo,
    revision,
    path,
  });
  const site = "https://huggingface.co";
  const forms = {
    "org/name": hub("org/name"),
    "org/name@v1": hub("org/name", "", "v1"),
    "hf://org/name": hub("org/name"),
    "hf://org/name/a/b.safetensors": hub("org/name", "a/b.safetensors"),
    "hf://org/name/a/b.safetensors@v1.0": hub("org/name", "a/b.safetensors", "v1.0"),
    "hf://org/name@v1.0/a/b.safetensors": hub("org/name", "a/b.safetensors", "v1.0"),
    "hf://org/name@refs/pr/3/b.dt": hub("org/name", "b.dt", "refs/pr/3"),
    "hf://org/name/b.dt@refs/pr/3": hub("org/name", "b.dt", "refs/pr/3"),
    "hf://org/name@refs%2Fpr%2F3/b.dt": hub("org/name", "b.dt", "refs/pr/3"),
    "hf://datasets/org/name/x.deathtensors": hub("org/name", "x.deathtensors", "main", "dataset"),
    [`${site}/org/name`]: hub("org/name"),
    [`${site}/org/name/`]: hub("org/name"),
    [`${site}/org/name/tree/dev`]: hub("org/name", "", "dev"),
    [`${site}/org/name/tree/dev/sub`]: hub("org/name", "sub", "dev"),
    [`${site}/org/name/blob/main/a%20b.safetensors`]: hub("org/name", "a b.safetensors"),
    [`${site}/org/name/resolve/main/b.safetensors?download=true`]: hub("org/name", "b.safetensors"),
    [`${site}/org/name/raw/refs%2Fpr%2F1/c.json`]: hub("org/name", "c.json", "refs/pr/1"),
    [`${site}/gpt2/blob/main/m.safetensors`]: hub("gpt2", "m.safetensors"),
    [`${site}/datasets/org/name/blob/main/m.dt`]: hub("org/name", "m.dt", "main", "dataset"),
    "huggingface.co/org/name": hub("org/name"),
    "https://hf.co/org/name/blob/main/m.dt": hub("org/name", "m.dt"),
    "https://example.org/org/name": { kind: "url", url: "https://example.org/org/name" },
    "models/x.safetensors": { kind: "path", path: "models/x.safetensors" },
    "/tmp/x.dt": { kind: "path", path: "/tmp/x.dt" },
    "./org/name": { kind: "path", path: "./org/name" },
  };
  for (const [text, wanted] of Object.entries(forms)) {
    test(text, () => assert.deepEqual(parseSource(text), wanted));
  }

  test("what is none", () => {
    for (const text of [
      "hf://org",
      "hf://../x/y",
      "hf://org/name/../../x.dt",
      "hf://org/na me/x",
    ]) {
      assert.throws(() => parseSource(text), { code: "usage.source" }, text);
    }
  });

  test("another Hub", () => {
    const hubEndpoint = "http://127.0.0.1:9/hub";
    const place = parseSource(`${hubEndpoint}/org/name/blob/main/m.dt`, { hubEndpoint });
    assert.deepEqual(place, hub("org/name", "m.dt"));
    assert.equal(parseSource(`${site}/org/name/blob/main/m.dt`, { hubEndpoint }).kind, "url");
  });
});

suite("a model of the Hub", () => {
  const id = "tester/model";
  let server;
  let facts;
  let options;

  const steer = async (method, what, body) => {
    const response = await fetch(`${facts.hub}/__test__/${what}`, {
      method,
      body: body && JSON.stringify(body),
    });
    assert.ok(response.ok, await response.clone().text());
    return response.json();
  };

  before(async () => {
    makeFixtures();
    server = spawn(python(), ["-m", "tests.hub"], {
      cwd: root,
      stdio: ["pipe", "pipe", "inherit"],
    });
    const [line] = await once(server.stdout, "data");
    facts = JSON.parse(line);
    options = { hubEndpoint: facts.hub };
    const files = ["packed", "plain", "full"].map((name) => [
      `sub/${name}.deathtensors`,
      `${fixtures}/${name}.deathtensors`,
    ]);
    for (const nth of [1, 2, 3]) {
      const name = `model-0000${nth}-of-00003.safetensors`;
      files.push([name, `${fixtures}/sharded_safetensors/${name}`]);
    }
    const index = "model.safetensors.index.json";
    const texts = {
      "README.md": "# here\n",
      [index]: JSON.stringify(readJson(`${fixtures}/sharded_safetensors/${index}`)),
    };
    await steer("POST", "repo", { id, files: Object.fromEntries(files), texts });
    await steer("POST", "repo", {
      id: "tester/gated",
      gated: true,
      texts: {},
      files: Object.fromEntries(files),
    });
  });
  after(async () => {
    server.stdin.end();
    await once(server, "exit");
  });
  afterEach(async () => {
    await steer("DELETE", "faults");
    await steer("DELETE", "log");
    await steer("POST", "settings", { lifetime: 3600, page_size: 1000 });
  });

  const embedding = async (file) =>
    sha256((await file.getTensor("embedding", { as: "bytes" })).data);
  const wanted = () => readJson(`${fixtures}/compressed.json`).sha256.embedding;

  test("listing, page by page", async () => {
    await steer("POST", "settings", { page_size: 2 });
    const entries = await listHub(id, options);
    // The files above, and .gitattributes.
    assert.equal(new Set(entries.map(({ path }) => path)).size, 9);
    const entry = entries.find(({ path }) => path === "sub/packed.deathtensors");
    assert.ok(entry.openable);
    assert.match(entry.sha256, /^[0-9a-f]{64}$/);
    assert.equal(entries.find(({ path }) => path === "README.md").openable, false);
    const folder = await listHub(`${facts.hub}/${id}/tree/main/sub`, options);
    assert.equal(folder.length, 3);
    assert.equal((await refusal(() => listHub("nobody/nothing", options))).kind, "network");
  });

  test("a file, pinned to a commit, by one way through the hub", async () => {
    const file = await openTensorFile(`hf://${id}/sub/packed.deathtensors`, options);
    assert.match(file.facts.commit, /^[0-9a-f]{40}$/);
    assert.equal(file.facts.name, `hf://${id}/sub/packed.deathtensors`);
    assert.equal(await embedding(file), wanted());
    const log = await steer("GET", "log");
    assert.equal(log.filter(({ path }) => path.includes("/resolve/")).length, 1);
    assert.ok(log.every(({ method }) => method === "GET"));
    file.close();
  });

  test("a page's address", async () => {
    const file = await openTensorFile(
      `${facts.hub}/${id}/blob/main/sub/plain.deathtensors`,
      options,
    );
    assert.equal(await embedding(file), wanted());
    file.close();
  });

  test("a commit stays what it was when the branch moves on", async () => {
    const file = await openTensorFile(`hf://${id}/sub/packed.deathtensors`, options);
    await steer("POST", "repo", {
      id,
      files: { "sub/packed.deathtensors": `${fixtures}/other.deathtensors` },
    });
    assert.equal(await embedding(file), wanted());
    file.close();
    await steer("POST", "repo", {
      id,
      files: { "sub/packed.deathtensors": `${fixtures}/packed.deathtensors` },
    });
  });

  test("signed addresses that expire are renewed", async () => {
    await steer("POST", "settings", { lifetime: 0.3 });
    const file = await openTensorFile(`hf://${id}/sub/packed.deathtensors`, options);
    await new Promise((resolve) => setTimeout(resolve, 500));
    assert.equal(await embedding(file), wanted());
    const log = await steer("GET", "log");
    assert.ok(log.some(({ origin, status }) => origin === "cdn" && status === 403));
    file.close();
  });

  test("a token goes to the hub only", async () => {
    const [token] = Object.values(facts.tokens);
    const closed = await refusal(() =>
      openTensorFile("hf://tester/gated/sub/plain.deathtensors", options),
    );
    assert.equal(closed.code, "network.denied");
    const file = await openTensorFile("hf://tester/gated/sub/plain.deathtensors", {
      ...options,
      token,
    });
    assert.equal(await embedding(file), wanted());
    file.close();
    const log = await steer("GET", "log");
    const cdn = log.filter(({ origin }) => origin === "cdn");
    assert.ok(cdn.length > 0 && cdn.every(({ authorization }) => !authorization));
  });

  test("shards beside an index", async () => {
    const file = await openTensorFile(`hf://${id}/model.safetensors.index.json`, options);
    const answers = readJson(`${fixtures}/sharded.json`).sha256;
    for (const [key, digest] of Object.entries(answers)) {
      assert.equal(sha256((await file.getTensor(key, { as: "bytes" })).data), digest);
    }
    file.close();
  });

  test("what is not there", async () => {
    for (const [place, code] of [
      [`hf://${id}/absent.safetensors`, "network.not_found"],
      [`hf://${id}/sub/plain.deathtensors@absent`, "network.not_found"],
      [`hf://${id}`, "usage.source"],
    ]) {
      assert.equal((await refusal(() => openTensorFile(place, options))).code, code, place);
    }
  });
});
