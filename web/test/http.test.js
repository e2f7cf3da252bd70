/** What is asked of servers, and what becomes of their answers. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { after, afterEach, before, suite, test } from "node:test";
import { openTensorFile } from "../dist/index.js";
import { safetensors, shardIndex } from "./files.js";
import { serve } from "./server.js";
import { fixtures, makeFixtures, readJson, refusal } from "./support.js";

const FIRST = 64 << 10;
const at = (name) => `${fixtures}/${name}`;
const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");
let server;
let other;

before(async () => {
  makeFixtures();
  const names = [
    "many.deathtensors",
    "many.safetensors",
    "plain.deathtensors",
    "plain.deathtensors.json",
    "packed.deathtensors",
    "dtypes.deathtensors",
    "full.deathtensors",
    "footed.deathtensors",
    "digested.deathtensors",
    "minilm/compressed.deathtensors",
    ...[1, 2, 3].map((nth) => `sharded_safetensors/model-0000${nth}-of-00003.safetensors`),
    "sharded_safetensors/model.safetensors.index.json",
  ];
  const files = Object.fromEntries(names.map((name) => [`/${name}`, at(name)]));
  files["/empty"] = Buffer.alloc(0);
  files["/tiny"] = readFileSync(`${fixtures}/../../tests/vectors/valid/one.deathtensors`);
  server = await serve(files);
  other = await serve(files);
});
after(async () => {
  await server.close();
  await other.close();
});
afterEach(() => {
  for (const each of [server, other]) {
    each.log = [];
    each.faults = [];
    each.latency = 0;
  }
});

async function opened(name, use, options = {}) {
  const file = await openTensorFile(`${server.url}/${name}`, options);
  try {
    return await use(file);
  } finally {
    file.close();
  }
}

/** Spoils the nth request for a path only. */
const only = (wanted, fault) => (_, nth) => (nth === wanted ? fault : undefined);
const embedding = () => readJson(at("compressed.json")).sha256.embedding;
const readEmbedding = async (file) =>
  sha256((await file.getTensor("embedding", { as: "bytes" })).data);

suite("how much is asked for", () => {
  for (const name of ["many.deathtensors", "many.safetensors"]) {
    test(`listing 20,000 tensors: ${name}`, async () => {
      server.latency = 50;
      const began = performance.now();
      await opened(name, (file) => {
        const time = performance.now() - began;
        assert.equal(file.keys().length, 20_000);
        assert.ok(file.counters.requests <= 2);
        assert.equal(file.counters.requests, server.log.length);
        assert.ok(file.counters.bytes <= 1.1 * file.facts.headerBytes);
        assert.equal(
          file.counters.bytes,
          server.log.reduce((sum, { sent }) => sum + sent, 0),
        );
        assert.ok(time < 1000, `${time} ms`);
      });
    });
  }

  test("one tensor of a compressed file", () =>
    opened("packed.deathtensors", async (file) => {
      assert.equal(file.counters.requests, 1);
      const before = file.counters.bytes;
      assert.equal(await readEmbedding(file), embedding());
      assert.ok(file.counters.requests <= 3);
      const frames = await file.frames("embedding");
      const stored = frames.reduce((sum, { stored: [start, end] }) => sum + end - start, 0);
      assert.ok(file.counters.bytes - before <= 1.1 * stored);
      for (const { range } of server.log) assert.match(range, /^bytes=\d+-\d+$/);
    }));

  test("one tensor of the real weights, compressed", () =>
    opened("minilm/compressed.deathtensors", async (file) => {
      const [before, asked] = [file.counters.bytes, file.counters.requests];
      const name = "embeddings.word_embeddings.weight";
      await file.getTensor(name);
      assert.ok(file.counters.requests - asked <= 2);
      const frames = await file.frames(name);
      const stored = frames.reduce((sum, { stored: [start, end] }) => sum + end - start, 0);
      assert.ok(file.counters.bytes - before <= 1.1 * stored);
    }));

  test("what was fetched is kept, up to a size", async () => {
    await opened("packed.deathtensors", async (file) => {
      await readEmbedding(file);
      const { requests } = file.counters;
      await readEmbedding(file);
      await file.histogram("embedding");
      assert.equal(file.counters.requests, requests);
      assert.ok(file.counters.cacheHits > 0);
    });
    const cacheBytes = 100_000;
    await opened(
      "packed.deathtensors",
      async (file) => {
        await readEmbedding(file);
        const { requests } = file.counters;
        assert.equal(await readEmbedding(file), embedding());
        assert.ok(file.counters.requests > requests);
      },
      { cacheBytes },
    );
  });

  test("those who want the same bytes at once share a request", () =>
    opened("packed.deathtensors", async (file) => {
      await Promise.all([
        readEmbedding(file),
        file.stats("embedding"),
        file.histogram("embedding"),
      ]);
      assert.ok(file.counters.requests <= 3, String(file.counters.requests));
    }));

  test("verifying reads every byte once, in few requests", async () => {
    for (const name of ["full.deathtensors", "footed.deathtensors", "digested.deathtensors"]) {
      await opened(name, async (file) => {
        const report = await file.verify();
        assert.equal(report.verified, true, name);
        assert.equal(file.counters.bytes, file.facts.fileBytes, name);
        assert.ok(file.counters.requests <= 4, `${file.counters.requests} requests`);
      });
    }
  });

  test("a window of a plain file takes its rows only", () =>
    opened("plain.deathtensors", async (file) => {
      const before = file.counters.bytes;
      const rows = { start: 100, count: 8, step: 100 };
      await file.getWindow("embedding", { rows, columns: { start: 0, count: 1024 } });
      assert.ok(file.counters.bytes - before <= 8 * 4096);
    }));

  test("no more at once than allowed", async () => {
    server.latency = 30;
    let [now, most] = [0, 0];
    const counting = async (...args) => {
      most = Math.max(most, ++now);
      try {
        return await fetch(...args);
      } finally {
        now--;
      }
    };
    await opened(
      "plain.deathtensors",
      async (file) => {
        const window = { columns: { start: 0, count: 1 }, rows: { start: 0, count: 20, step: 50 } };
        await file.getWindow("embedding", window);
      },
      { fetch: counting, concurrency: 3 },
    );
    assert.ok(most > 1 && most <= 3, String(most));
  });
});

suite("what goes wrong", () => {
  test("a broken connection is taken up where it broke", async () => {
    server.faults = [only(3, { dropAfter: 1_000_000 })];
    await opened("packed.deathtensors", async (file) => {
      assert.equal(await readEmbedding(file), embedding());
      assert.ok(file.counters.retries >= 1);
      const starts = server.log.map(({ range }) => Number(/\d+/.exec(range)[0]));
      assert.ok(starts.at(-1) > starts.at(-2), "not from the start again");
    });
  });

  for (const status of [429, 503, 500]) {
    test(`${status} passes, and Retry-After is heeded`, async () => {
      const headers = status === 500 ? {} : { "Retry-After": "1" };
      server.faults = [only(1, { status, headers })];
      const began = performance.now();
      await opened("plain.deathtensors", (file) => assert.equal(file.counters.retries, 1));
      if (status !== 500) assert.ok(performance.now() - began >= 1000);
    });
  }

  test("what does not pass is said", async () => {
    for (const [status, code] of [
      [404, "network.not_found"],
      [403, "network.denied"],
      [401, "network.denied"],
      [418, "network.status"],
      [503, "network.status"],
    ]) {
      server.faults = [() => ({ status })];
      const error = await refusal(() => opened("plain.deathtensors", () => {}, { retries: 1 }));
      assert.equal(error.code, code);
      assert.equal(error.kind, "network");
      assert.equal(error.status, status);
    }
  });

  test("a server without ranges is left at once, unless the file is small", async () => {
    server.faults = [() => ({ ignoreRange: true })];
    const error = await refusal(() => opened("plain.deathtensors", () => {}));
    assert.equal(error.code, "network.range");
    await opened("tiny", async (file) => {
      for (const name of file.keys()) await file.getTensor(name);
      assert.equal(file.counters.requests, 1);
    });
    server.faults = [() => ({ ignoreRange: true, without: ["Content-Length"] })];
    const unsized = await refusal(() => opened("plain.deathtensors", () => {}));
    assert.equal(unsized.code, "network.range");
  });

  test("wrong parts, wrong lengths", async () => {
    for (const fault of [{ shift: 1 }, { headers: { "Content-Range": "bytes 0-9/10" } }]) {
      server.faults = [() => fault];
      assert.equal(
        (await refusal(() => opened("plain.deathtensors", () => {}))).code,
        "network.range",
      );
    }
    server.faults = [(_, nth) => (nth > 1 ? { dropAfter: 0 } : undefined)];
    await opened(
      "packed.deathtensors",
      async (file) => {
        const error = await refusal(() => file.getTensor("embedding"));
        assert.equal(error.code, "network.truncated");
      },
      { retries: 1 },
    );
  });

  test("a body that drips, and one that breaks off after each byte", async () => {
    const drips = (_, nth) => (nth > 1 ? { dripEvery: 10 } : undefined);
    const breaks = (_, nth) => (nth > 1 ? { dropAfter: 1 } : undefined);
    for (const [fault, code] of [
      [drips, "network.timeout"],
      [breaks, "network.truncated"],
    ]) {
      server.faults = [fault];
      server.log = [];
      await opened(
        "packed.deathtensors",
        async (file) => {
          const options = { signal: AbortSignal.timeout(5000) };
          const error = await refusal(() => file.getTensor("embedding", options));
          assert.equal(error.code, code);
          assert.ok(server.log.length <= 4, `${server.log.length} requests`);
        },
        { timeout: 300, retries: 1 },
      );
    }
  });

  test("a file that changes meanwhile", async () => {
    for (const fault of [{ headers: { ETag: '"two"' } }, { total: 9_999_999 }]) {
      server.faults = [(_, nth) => (nth > 1 ? fault : undefined)];
      await opened("packed.deathtensors", async (file) => {
        const error = await refusal(() => file.getTensor("embedding"));
        assert.equal(error.code, "network.changed");
      });
      server.log = [];
    }
    const dated = (day) => ({ headers: { "Last-Modified": day }, without: ["ETag"] });
    server.faults = [
      (_, nth) =>
        dated(nth > 1 ? "Tue, 02 Jan 2024 00:00:00 GMT" : "Mon, 01 Jan 2024 00:00:00 GMT"),
    ];
    await opened("packed.deathtensors", async (file) => {
      assert.equal((await refusal(() => file.getTensor("embedding"))).code, "network.changed");
    });
  });

  test("a server that does not show the length", async () => {
    server.faults = [() => ({ hideContentRange: true })];
    await opened("plain.deathtensors", async (file) => {
      assert.equal(file.facts.fileBytes, statSync(at("plain.deathtensors")).size);
      assert.equal(await readEmbedding(file), embedding());
    });
    await opened("tiny", (file) => assert.equal(file.counters.requests, 1));
    // Not even the length of an answer: single bytes tell.
    const headless = (fetch_) => async (url, init) => {
      const response = await fetch_(url, init);
      const headers = new Headers(response.headers);
      headers.delete("content-length");
      return new Response(response.body, { status: response.status, headers });
    };
    await opened(
      "dtypes.deathtensors",
      (file) => assert.equal(file.facts.fileBytes, statSync(at("dtypes.deathtensors")).size),
      { fetch: headless(fetch) },
    );
    await opened(
      "packed.deathtensors",
      (file) => assert.equal(file.facts.fileBytes, statSync(at("packed.deathtensors")).size),
      { fetch: headless(fetch) },
    );
  });

  test("silence, and nobody there", async () => {
    server.faults = [() => ({ hang: true })];
    const silent = await refusal(() => opened("tiny", () => {}, { timeout: 200, retries: 1 }));
    assert.equal(silent.code, "network.timeout");
    const gone = await refusal(() => openTensorFile("http://127.0.0.1:9/x", { retries: 0 }));
    assert.equal(gone.code, "network.cors");
    assert.match(gone.message, /could not be reached/);
  });

  test("empty and foreign answers", async () => {
    assert.equal((await refusal(() => opened("empty", () => {}))).code, "prefix.truncated");
    assert.equal((await refusal(() => opened("absent", () => {}))).code, "network.not_found");
  });

  test("cancelling ends the request", async () => {
    await opened("packed.deathtensors", async (file) => {
      server.latency = 300;
      const control = new AbortController();
      setTimeout(() => control.abort(), 50);
      const began = performance.now();
      const error = await refusal(() => file.getTensor("embedding", { signal: control.signal }));
      assert.equal(error.name, "AbortError");
      assert.ok(performance.now() - began < 250);
      server.latency = 0;
      assert.equal(await readEmbedding(file), embedding());
    });
    const signal = AbortSignal.abort();
    assert.equal(
      (await refusal(() => opened("tiny", () => {}, { signal }))).code,
      "io.interrupted",
    );
    assert.equal(server.log.filter(({ path }) => path === "/tiny").length, 0);
  });

  test("one who cancels does not disturb the others", () =>
    opened("packed.deathtensors", async (file) => {
      server.latency = 100;
      const control = new AbortController();
      const cancelled = refusal(() => file.getTensor("embedding", { signal: control.signal }));
      const kept = readEmbedding(file);
      setTimeout(() => control.abort(), 150);
      assert.equal((await cancelled).code, "io.interrupted");
      assert.equal(await kept, embedding());
    }));
});

suite("redirects and secrets", () => {
  const token = "hf_secret";

  test("the token goes to the hub's origin only", async () => {
    const hubEndpoint = server.url;
    const path = "/packed.deathtensors";
    server.faults = [
      ({ path: asked }) =>
        asked === path
          ? { status: 302, headers: { Location: `${other.url}${path}?sig=s3cret` } }
          : undefined,
    ];
    await opened("packed.deathtensors", readEmbedding, { token, hubEndpoint });
    assert.equal(server.log[0].headers.authorization, `Bearer ${token}`);
    assert.ok(other.log.length > 1);
    for (const { headers } of other.log) assert.equal(headers.authorization, undefined);
    assert.equal(server.log.length, 1, "the way there is remembered");
    server.log = [];
    server.faults = [];
    const file = await openTensorFile(`${other.url}${path}`, { token, hubEndpoint });
    file.close();
    for (const { headers } of other.log) assert.equal(headers.authorization, undefined);
  });

  test("an address that expired is found again", async () => {
    let turn = 0;
    server.faults = [
      ({ path }) =>
        path === "/packed.deathtensors"
          ? { status: 302, headers: { Location: `${other.url}${path}?turn=${++turn}` } }
          : undefined,
    ];
    other.faults = [(_, nth) => (nth === 2 ? { status: 403 } : undefined)];
    await opened("packed.deathtensors", async (file) => {
      assert.equal(await readEmbedding(file), embedding());
      assert.equal(turn, 2);
    });
  });

  test("no secret is told in an error", async () => {
    server.faults = [() => ({ status: 418 })];
    const url = `${server.url}/x?signature=s3cret#frag`;
    const error = await refusal(() => openTensorFile(url, { token, hubEndpoint: server.url }));
    const told = JSON.stringify(error) + error.message + error.stack;
    assert.ok(!/s3cret|hf_secret|frag/.test(told), told);
    const user = await refusal(() => openTensorFile(server.url.replace("//", "//me:s3cret@")));
    assert.equal(user.code, "usage.source");
    assert.ok(!/s3cret/.test(user.message + user.found));
  });
});

/** A model of shards that hold one tensor of that many bytes each, on a server of its own. */
async function manyShards(count, bytes, use) {
  const shards = Array.from({ length: count }, (_, nth) => [
    `model-${nth}.safetensors`,
    [`t${nth}`],
  ]);
  const files = Object.fromEntries(
    shards.map(([path, [name]]) => [
      `/${path}`,
      safetensors([[name, "U8", [bytes], new Uint8Array(bytes)]]),
    ]),
  );
  const served = await serve({ ...files, "/index.json": shardIndex(shards) });
  try {
    await use(`${served.url}/index.json`, served);
  } finally {
    await served.close();
  }
}

suite("several files", () => {
  test("shards stand beside their index", async () => {
    await opened("sharded_safetensors/model.safetensors.index.json", async (file) => {
      const answers = readJson(at("sharded.json")).sha256;
      for (const [key, digest] of Object.entries(answers)) {
        assert.equal(sha256((await file.getTensor(key, { as: "bytes" })).data), digest);
      }
      // The index, and each shard once: they are small.
      assert.equal(file.counters.requests, 4);
    });
  });

  test("a hundred shards open with six requests at once, and none is asked twice", async () => {
    await manyShards(100, 100, async (url) => {
      let [now, most] = [0, 0];
      const counting = async (...args) => {
        most = Math.max(most, ++now);
        try {
          return await fetch(...args);
        } finally {
          now--;
        }
      };
      const file = await openTensorFile(url, { fetch: counting });
      assert.equal(file.keys().length, 100);
      assert.equal(file.facts.shards.length, 100);
      assert.equal(file.counters.requests, 101);
      assert.ok(most > 3 && most <= 6, `${most} at once`);
      file.close();
    });
  });

  test("shards share what may be kept", () =>
    manyShards(4, 400_000, async (url) => {
      const file = await openTensorFile(url, { cacheBytes: 1_000_000 });
      for (const key of file.keys()) await file.getTensor(key);
      const { requests } = file.counters;
      await file.getTensor(file.keys()[3]);
      assert.equal(file.counters.requests, requests, "the last one is kept");
      await file.getTensor(file.keys()[0]);
      assert.ok(file.counters.requests > requests, "the first one is kept as well");
      file.close();
    }));

  test("once a shard fails, the others are left alone", () =>
    manyShards(100, 100, async (url, served) => {
      served.latency = 5;
      served.faults = [({ path }) => (path.includes("-3.") ? { status: 404 } : undefined)];
      const error = await refusal(() => openTensorFile(url));
      assert.equal(error.code, "network.not_found");
      assert.match(error.message, /model-3\./);
      await new Promise((resolve) => setTimeout(resolve, 100));
      assert.ok(served.log.length < 20, `${served.log.length} requests`);
    }));

  test("a missing shard is named", async () => {
    server.faults = [({ path }) => (path.includes("00002") ? { status: 404 } : undefined)];
    const index = "sharded_safetensors/model.safetensors.index.json";
    const error = await refusal(() => opened(index, () => {}));
    assert.equal(error.code, "network.not_found");
    assert.match(error.message, /model-00002-of-00003/);
  });

  test("a manifest finds its file", () =>
    opened("plain.deathtensors.json", async (file) => {
      assert.equal(file.counters.requests, 1);
      assert.deepEqual([...(await file.getTensor("scale")).data], [1.5, 2.5]);
    }));
});

test("the first request is as long as it should be", () =>
  opened("plain.deathtensors", () => {
    assert.equal(server.log[0].range, `bytes=0-${FIRST - 1}`);
  }));
