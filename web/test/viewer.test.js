/** The viewer's own logic: what it computes before anything is drawn. */
import assert from "node:assert/strict";
import { before, suite, test } from "node:test";
import { bundled } from "./bundled.js";

let logic;
before(async () => {
  // What these modules look at when they are loaded.
  Object.assign(globalThis, {
    location: { hash: "", href: "http://here/", origin: "http://here" },
    history: { state: null },
  });
  logic = await bundled(
    "model/slice",
    "model/exact",
    "model/tree",
    "model/channels",
    "text/search",
    "text/natural",
    "text/numbers",
    "text/visible",
    "state/location",
    "state/drops",
    "state/problems",
    "state/sources",
  );
});

suite("the part of a slice that is shown", () => {
  /** Whatever is asked for, what is shown lies within the slice and is not too much. */
  const check = ({ start, count, step }, total, most) => {
    assert.ok(Number.isInteger(start) && start >= 0, `starts at ${start}`);
    assert.ok(count >= 1 && count <= most && step >= 1, `${count} in steps of ${step}`);
    assert.ok(start + (count - 1) * step < total, `${start} + ${count} × ${step} of ${total}`);
  };

  test("stays within, however it is moved and zoomed", () => {
    const { moved, overview, zoomed } = logic;
    for (const total of [1, 2, 7, 8, 9, 383, 384, 385, 1000, 100_003]) {
      for (const most of [384, 512]) {
        let span = overview(total, most);
        check(span, total, most);
        for (let i = 0; i < 200; i++) {
          const way = (i * 7919) % 5;
          if (way < 2) span = moved(span, total, (way === 0 ? 1 : -1) * ((i * 104_729) % 5000));
          else span = zoomed(span, total, most, way === 2 ? 2 : 0.5, (i % 11) / 10);
          check(span, total, most);
        }
      }
    }
  });

  test("zooming keeps what is under the pointer, and leads back to the whole", () => {
    const { overview, zoomed } = logic;
    let span = { start: 1000, count: 512, step: 1 };
    span = zoomed(span, 100_000, 512, 0.5, 0.25);
    assert.deepEqual(span, { start: 1064, count: 256, step: 1 });
    for (let i = 0; i < 12; i++) span = zoomed(span, 100_000, 512, 2);
    assert.deepEqual(span, overview(100_000, 512));
  });

  test("a move ends at the ends", () => {
    const span = { start: 10, count: 5, step: 3 };
    assert.equal(logic.moved(span, 30, -99).start, 0);
    assert.equal(logic.moved(span, 30, 99).start, 17);
    assert.equal(logic.moved(span, 30, 2).start, 12);
  });
});

suite("integers beyond 2^53", () => {
  const window = (...integers) => ({
    rows: 1,
    columns: integers.length,
    values: Float64Array.from(integers, Number),
    integers: BigInt64Array.from(integers),
  });

  test("are told exactly, others as numbers", () => {
    const one = window(2n ** 62n + 1n, 5n);
    assert.equal(logic.exactAt(one, 0), 2n ** 62n + 1n);
    assert.equal(logic.exactAt(one, 1), 5);
    assert.equal(logic.exactAt(one, 2), undefined);
  });

  test("differ where their doubles do not", () => {
    const { values } = logic.difference(window(2n ** 62n, 1n), window(2n ** 62n + 1n, 1n));
    assert.deepEqual([...values], [1, 0]);
  });
});

suite("addresses", () => {
  test("say what they were written from", () => {
    const place = {
      source: "hf://org/name/a b.safetensors@refs/pr/1",
      compare: "x?y=1&z#w",
      tensor: "a&b=c#d%\u202e",
      view: {
        axes: [2, 0],
        index: [1, 2, 3],
        rows: { start: 5, count: 10, step: 1 },
        columns: { start: 0, count: 4, step: 7 },
      },
    };
    assert.deepEqual(logic.read(logic.write(place)), place);
  });

  test("nonsense in them is passed over", () => {
    for (const hash of [
      "",
      "#",
      "#axes=1",
      "#axes=1,x&index=-1",
      "#rows=1:",
      "#rows=a:b:c",
      "#=&=&",
    ]) {
      assert.deepEqual(logic.read(hash), {}, hash);
    }
    assert.deepEqual(logic.read("#rows=1:2:0"), {
      view: { rows: { start: 1, count: 2, step: 1 } },
    });
  });

  test("name no hub but those of this machine and this site", () => {
    const { hubFromLink } = logic;
    assert.equal(hubFromLink("http://localhost:8080/x"), "http://localhost:8080");
    assert.equal(hubFromLink("http://here/hub"), "http://here");
    for (const hub of ["https://evil.example", "http://127.0.0.1.evil.example", "javascript:1"]) {
      assert.equal(hubFromLink(hub), undefined, hub);
    }
  });
});

suite("names", () => {
  const info = (name, nbytes = 4) => ({ name, nbytes, dtype: "F32", shape: [1], elements: 1 });
  const names = (lines) => lines.flatMap(({ node }) => (node.tensor ? [node.tensor.name] : []));

  test("of any form are in the tree once, and the way to each is found", () => {
    const { lines, treeOf, wayTo } = logic;
    const all = ["", ".", "..", "a", "a.b", "a.b.c", "a..b", "a.#", "a.#.1", "l.0.w", "l.1.w"];
    all.push("l.2.w", "l.10.w", "l.norm", "__proto__", "constructor.x", `${"d.".repeat(2000)}w`);
    const tree = treeOf(all.map((name) => info(name)));
    assert.deepEqual(names(lines(tree, () => true)).sort(), [...all].sort());
    assert.equal(tree.tensors, all.length);
    assert.equal(tree.bytes, 4 * all.length);
    for (const name of all) {
      const open = new Set(wayTo(tree, name));
      assert.ok(names(lines(tree, (path) => open.has(path))).includes(name), name);
    }
  });

  test("sort by their numbers, however long those are", () => {
    const sorted = ["w.1", "w.2", "w.10", `w.${"9".repeat(400)}`, `w.1${"0".repeat(400)}`];
    assert.deepEqual([...sorted].reverse().sort(logic.natural), sorted);
  });

  test("are found by patterns, which take no longer for hostile ones", () => {
    const find = (text, name) => logic.pattern(text)?.match(name);
    assert.deepEqual(find("LAYER.{3-7}.*weight", "layer.4.q.weight"), [
      [0, 8],
      [10, 16],
    ]);
    assert.equal(find("layer.{3-7}.", "layer.34.q"), undefined);
    assert.equal(find("layer.{3-7}.", "layer.13.q"), undefined);
    assert.equal(find("a?c", "abc").length, 1);
    assert.equal(logic.pattern("  ** "), undefined);
    const began = performance.now();
    find(`${"a*".repeat(2000)}b`, "a".repeat(4096));
    assert.ok(performance.now() - began < 1000);
  });

  test("hide nothing", () => {
    const { visible, visibleName } = logic;
    assert.equal(visible("a\u202eb\u0000\ud800"), "a\\u{202e}b\\u{0}\\u{d800}");
    assert.equal(visible("<img src=x>"), "<img src=x>");
    assert.equal(visibleName("  "), "\\u{20}\\u{20}");
    assert.equal(visibleName("a b"), "a b");
  });

  test("hide nothing, of all of Unicode", () => {
    // Cc, Cf, Zl, Zp, Cs and Default_Ignorable_Code_Point of Unicode 15, as first and last.
    const hidden = [
      [0x0, 0x1f],
      [0x7f, 0x9f],
      [0xad, 0xad],
      [0x34f, 0x34f],
      [0x600, 0x605],
      [0x61c, 0x61c],
      [0x6dd, 0x6dd],
      [0x70f, 0x70f],
      [0x890, 0x891],
      [0x8e2, 0x8e2],
      [0x115f, 0x1160],
      [0x17b4, 0x17b5],
      [0x180b, 0x180f],
      [0x200b, 0x200f],
      [0x2028, 0x202e],
      [0x2060, 0x206f],
      [0x3164, 0x3164],
      [0xd800, 0xdfff],
      [0xfe00, 0xfe0f],
      [0xfeff, 0xfeff],
      [0xffa0, 0xffa0],
      [0xfff0, 0xfffb],
      [0x110bd, 0x110bd],
      [0x110cd, 0x110cd],
      [0x13430, 0x1343f],
      [0x1bca0, 0x1bca3],
      [0x1d173, 0x1d17a],
      [0xe0000, 0xe0fff],
    ];
    const { visible, visibleName, visibleLines } = logic;
    for (let point = 0; point <= 0x10ffff; point++) {
      const text = `a${String.fromCodePoint(point)}b`;
      const isHidden = hidden.some(([first, last]) => first <= point && point <= last);
      const wanted = isHidden ? `a\\u{${point.toString(16)}}b` : text;
      const line = point === 9 || point === 10 ? text : wanted;
      // Not by assert, which would take minutes for so many.
      if (visible(text) !== wanted || visibleName(text) !== wanted || visibleLines(text) !== line) {
        assert.fail(`U+${point.toString(16)} is shown as ${JSON.stringify(visible(text))}`);
      }
    }
  });
});

suite("numbers", () => {
  test("are not rounded to what they are not", () => {
    const text = (value) => logic.percent(value).replaceAll("\u202f", " ");
    assert.deepEqual([0, 1e-9, 0.5, 0.9972, 0.99999, 1].map(text), [
      "0 %",
      "< 0.01 %",
      "50 %",
      "99.7 %",
      "> 99.9 %",
      "100 %",
    ]);
    assert.equal(logic.exactly(-(2n ** 63n)), "-9223372036854775808");
    assert.equal(logic.exactly(-0), "-0");
    assert.equal(logic.figure(Number.NEGATIVE_INFINITY), "−∞");
    assert.equal(logic.whole(999_999), "999\u202f999");
  });

  test("of channels are put together as if they were one", () => {
    const of = (...values) => Float64Array.from(values);
    const [all] = logic.columnsOf(
      {
        count: of(1, 3, 0),
        mean: of(4, 8, Number.NaN),
        stddev: of(0, 2, Number.NaN),
        min: of(4, 5, Number.NaN),
        max: of(4, 9, Number.NaN),
      },
      1,
    );
    assert.deepEqual([all.first, all.last, all.min, all.max, all.mean], [0, 2, 4, 9, 7]);
    assert.ok(Math.abs(all.stddev - Math.sqrt(6)) < 1e-12);
  });
});

suite("what was dropped", () => {
  const chosen = (...names) => {
    const { main, second } = logic.chosenOf(names.map((name) => ({ name })));
    return [main?.name, second?.name];
  };

  test("of shards, their index; of two files, both; of a folder, what is a tensor file", () => {
    const shards = ["m-00001-of-00002.safetensors", "m-00002-of-00002.safetensors"];
    assert.deepEqual(chosen(...shards, "m.safetensors.index.json"), [
      "m.safetensors.index.json",
      undefined,
    ]);
    assert.deepEqual(chosen("x-00001-of-00001.deathtensors", "x.deathtensors"), [
      "x.deathtensors",
      undefined,
    ]);
    assert.deepEqual(chosen("a.dt", "b.safetensors"), ["a.dt", "b.safetensors"]);
    assert.deepEqual(chosen("README.md", "config.json", "w.safetensors"), [
      "w.safetensors",
      undefined,
    ]);
    assert.deepEqual(chosen("w.deathtensors", "w.deathtensors.json"), [
      "w.deathtensors",
      undefined,
    ]);
    assert.deepEqual(chosen("what.bin"), ["what.bin", undefined]);
    assert.deepEqual(chosen(), [undefined, undefined]);
  });

  test("the files of a folder are read portion by portion", async () => {
    const file = (name) => ({ isFile: true, isDirectory: false, file: (got) => got({ name }) });
    const portions = [[file("b"), { isFile: false, isDirectory: true }], [file("a")], []];
    const folder = {
      isFile: false,
      isDirectory: true,
      createReader: () => ({ readEntries: (got) => got(portions.shift()) }),
    };
    const items = [{ webkitGetAsEntry: () => folder }];
    const files = await logic.filesOf({ items, files: [{ name: "folder" }] });
    assert.deepEqual(
      files.map(({ name }) => name),
      ["a", "b"],
    );
  });

  test("links, without the comments of their lists", () => {
    const transfer = (type, text) => ({ getData: (asked) => (asked === type ? text : "") });
    assert.equal(logic.linkOf(transfer("text/uri-list", "# x\r\nhttp://y/z\r\n")), "http://y/z");
    assert.equal(logic.linkOf(transfer("text/plain", "org/name")), "org/name");
    assert.equal(logic.linkOf(transfer("text/html", "<b>")), undefined);
  });
});

suite("failures", () => {
  test("of every family have words of their own, and advice", () => {
    const codes = [
      "network.cors network.not_found network.denied network.range network.changed",
      "network.offline network.timeout network.hub usage.source limit.memory limit.tensors",
      "prefix.magic prefix.encrypted prefix.version header.truncated header.json tensor.overlap",
      "integrity.tensor integrity.footer frames.checksum frames.decode frames.table usage.closed",
      "shards.root manifest.stale safetensors.header io.changed io.failed not_found.file not_found.tensor",
    ];
    for (const code of codes.join(" ").split(" ")) {
      const kind = code.split(".")[0];
      const { title, advice } = logic.problem("open", { code, kind, message: "m" });
      assert.notEqual(title, "That did not work", code);
      assert.ok(advice.length > 20, code);
    }
  });

  test("of the page itself are not blamed on the file", () => {
    const { code, advice } = logic.problem("open", new TypeError("x is undefined"));
    assert.equal(code, "viewer.internal");
    assert.match(advice, /not of your file/);
    assert.equal(logic.isAbort(new DOMException("", "AbortError")), true);
  });
});
