"""Shard indexes with their shards: each case is a folder with ``index.deathtensors``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from binary import FOOTER, assemble, dumps, entry, header
from valid import counting

#: Folder name, files by name, expectation.
Case = tuple[str, dict[str, bytes], dict[str, Any]]
DATA = {"a": counting(16), "b": counting(8)[::-1], "é": counting(4)}


def shard(names: list[str], index: int, count: int) -> bytes:
    tensors, at = {}, 0
    for name in names:
        tensors[name] = entry("U8", [len(DATA[name])], at)
        at += len(DATA[name])
    marks = {"deathtensors.shard.index": str(index), "deathtensors.shard.count": str(count)}
    head = header(tensors, {**marks, "licence": "MIT"})
    return assemble(dumps(head), b"".join(DATA[n] for n in names), flags=FOOTER)


def shard_list(parts: list[list[str]], digits: int = 5) -> list[dict[str, Any]]:
    total = str(len(parts)).zfill(digits)
    return [
        {
            "path": f"index-{i + 1:05d}-of-{total}.deathtensors",
            "tensors": names,
            "bytes": sum(len(DATA[n]) for n in names),
        }
        for i, names in enumerate(parts)
    ]


def index(listed: Any, count: int, **changes: str | None) -> bytes:
    """The index file; ``changes`` replaces (or, with None, leaves out) a field of
    ``deathtensors.*``, dots written as underscores."""
    text = listed if isinstance(listed, str) else json.dumps(listed)
    marks: dict[str, str | None] = {
        "deathtensors.sharded": "true",
        "deathtensors.shard.count": str(count),
        "deathtensors.shards": text,
        "licence": "MIT",
    }
    marks.update({f"deathtensors.{k.replace('_', '.')}": v for k, v in changes.items()})
    kept = {k: v for k, v in marks.items() if v is not None}
    return assemble(dumps(header({}, kept)), flags=FOOTER)


def whole(parts: list[list[str]], digits: int = 5) -> dict[str, bytes]:
    listed = shard_list(parts, digits)
    files = {"index.deathtensors": index(listed, len(parts))}
    for i, (names, one) in enumerate(zip(parts, listed)):
        files[one["path"]] = shard(names, i, len(parts))
    return files


def valid() -> Iterator[Case]:
    def case(name: str, why: str, parts: list[list[str]], digits: int = 5) -> Case:
        listed = shard_list(parts, digits)
        answer = {
            "why": why,
            "keys": [n for names in parts for n in names],
            "global_metadata": {"licence": "MIT"},
            "shards": [one["path"] for one in listed],
            "which_shard": {n: one["path"] for one in listed for n in one["tensors"]},
            "sha256": {n: hashlib.sha256(DATA[n]).hexdigest() for names in parts for n in names},
        }
        return name, whole(parts, digits), answer

    yield case("two_shards", "five digits on both sides", [["a", "b"], ["é"]])
    yield case(
        "four_digits", "four digits in the second number, as 0.3.0 writes", [["a"], ["b", "é"]], 4
    )
    yield case("one_shard", "a single shard", [["é", "a"]])
    yield case("no_shards", "no tensors, hence no shards", [])


def refused() -> Iterator[Case]:
    parts = [["a", "b"], ["é"]]
    good, listed = whole(parts), shard_list(parts)

    def case(
        name: str, code: str, why: str, made: bytes, when: str = "open", **more: bytes | None
    ) -> Case:
        files = {**good, **more, "index.deathtensors": made}
        kept = {k: v for k, v in files.items() if v is not None}
        return name, kept, {"code": code, "tensor": None, "why": why, "when": when}

    code = "shards.not_index"
    yield case("plain_file", code, "an ordinary file", shard(["a"], 0, 1))
    yield case("not_true", code, "the mark says false", index(listed, 2, sharded="false"))
    code = "shards.list"
    yield case("no_list", code, "no list of shards", index(listed, 2, shards=None))
    for name, why, text in (
        ("not_json", "the list is no JSON", "[{"),
        ("object", "the list is an object", "{}"),
        ("strings", "the list holds names only", '["index-00001-of-00002.deathtensors"]'),
        ("no_path", "a shard without a path", '[{"tensors":["a"],"bytes":1}]'),
        ("no_tensors", "a shard without tensors", '[{"path":"x.deathtensors","bytes":1}]'),
        ("path_number", "a path that is a number", '[{"path":1,"tensors":[],"bytes":0}]'),
        (
            "tensor_number",
            "a tensor's name that is a number",
            '[{"path":"x","tensors":[1],"bytes":0}]',
        ),
        ("duplicate_key", "a key twice", '[{"path":"x","path":"x","tensors":[],"bytes":0}]'),
    ):
        yield case(f"list_{name}", code, why, index(text, text.count('"path"') or 1))
    twice = [listed[0], {**listed[1], "tensors": ["é", "a"]}]
    yield case("list_tensor_twice", code, "one name in two shards", index(twice, 2))
    yield case("list_count", code, "the count is not the list's length", index(listed, 3))
    code = "shards.path"
    for name, path in (
        ("parent", "../index-00001-of-00002.deathtensors"),
        ("absolute", "/etc/hostname"),
        ("folder", "sub/x.deathtensors"),
        ("backslash", "..\\x.deathtensors"),
        ("empty", ""),
        ("dot", "."),
        ("dots", ".."),
        ("nul", "x\0.deathtensors"),
        ("drive", "C:x.deathtensors"),
    ):
        lying = [{**listed[0], "path": path}, listed[1]]
        yield case(
            f"path_{name}", code, f"a path that is no plain file name: {name}", index(lying, 2)
        )
    code = "shards.mismatch"
    second = listed[1]["path"]
    yield case(
        "tensor_missing",
        code,
        "a shard without the tensor that the index promises",
        good["index.deathtensors"],
        "read",
        **{second: shard([], 1, 2)},
    )
    fewer = [{**listed[0], "tensors": ["a"]}, listed[1]]
    yield case(
        "tensor_unlisted",
        code,
        "a shard with a tensor that the index does not list",
        index(fewer, 2),
        "read",
    )
    yield case(
        "shard_missing",
        "not_found.file",
        "a shard that is not there",
        good["index.deathtensors"],
        "read",
        **{second: None},
    )
    yield case(
        "shard_damaged",
        "prefix.magic",
        "a shard that is another kind of file",
        good["index.deathtensors"],
        "read",
        **{second: b"PK\3\4" + bytes(60)},
    )
