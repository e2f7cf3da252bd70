"""What must be refused elsewhere than in opening a file: sparse groups, manifests,
safetensors files, and limits that the caller lowers. Each case is a folder with one file.

``how`` says what is asked for: ``open`` (with ``limits``), ``read`` (the same, and a copy
of the tensor ``w``), ``sparse`` (the sparse tensor
``w``), ``manifest`` (reading it), ``from_safetensors`` or ``to_safetensors``.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

from binary import assemble, dumps, entry, header
from valid import counting

#: Folder name, file name, bytes, expectation.
Case = tuple[str, str, bytes, dict[str, Any]]
Group = dict[str, tuple[str, list[int], bytes]]


def int64(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}q", *values)


COO: Group = {
    "indices": ("I64", [2, 2], int64(0, 2, 1, 3)),
    "values": ("F32", [2], struct.pack("<2f", 1, 2)),
    "shape": ("I64", [2], int64(4, 6)),
}
CSR: Group = {
    "crow_indices": ("I64", [5], int64(0, 1, 1, 2, 2)),
    "col_indices": ("I64", [2], int64(1, 3)),
    "values": COO["values"],
    "shape": COO["shape"],
}


def group(parts: Group, layout: str | None = None) -> bytes:
    tensors, blob = {}, b""
    for role, (dtype, shape, data) in parts.items():
        notes = {"sparse_role": role, "sparse_parent": "w"}
        if layout:
            notes["sparse_layout"] = layout
        blob += bytes(-len(blob) % 8)
        tensors[f"w.{role}"] = entry(dtype, shape, len(blob), notes)
        blob += data
    return assemble(dumps(header(tensors)), blob)


def safetensors(head: Any, data: bytes) -> bytes:
    text = head if isinstance(head, bytes) else dumps(head)
    return struct.pack("<Q", len(text)) + text + data


def manifest(**changes: Any) -> bytes:
    tensor = {
        "name": "w",
        "dtype": "U8",
        "torch_dtype": "torch.uint8",
        "numpy_dtype": "|u1",
        "shape": [2],
        "data_offsets": [0, 2],
        "nbytes": 2,
        "metadata": {},
    }
    whole = {
        "deathtensors_version": "0.4.0",
        "format_version": 1,
        "magic": "DTLEGION",
        "global_metadata": {},
        "tensors": {"w": {**tensor, **changes.pop("tensor", {})}},
        "written_at": "2026-01-01T00:00:00+00:00",
    }
    return json.dumps({**whole, **changes}).encode()


def refused() -> Iterator[Case]:
    def case(name: str, how: str, code: str, why: str, file: str, data: bytes, **more: Any) -> Case:
        return name, file, data, {"how": how, "code": code, "why": why, **more}

    ours = "file.deathtensors"

    def sparse(name: str, why: str, parts: Group, layout: str | None = None) -> Case:
        made = group({k: v for k, v in parts.items() if v is not None}, layout)
        return case(f"sparse_{name}", "sparse", "sparse.invalid", why, ours, made)

    past = ("I64", [2, 2], int64(0, 4, 1, 3))
    yield sparse("index_past_end", "an index beyond the shape", {**COO, "indices": past})
    below = ("I64", [2, 2], int64(0, 2, 1, -1))
    yield sparse("index_negative", "an index below zero", {**COO, "indices": below})
    yield sparse("no_shape", "a part is missing", {k: v for k, v in COO.items() if k != "shape"})
    large = ("I64", [2], int64(1 << 62, 1 << 62))
    yield sparse("shape_overflows", "a shape whose product overflows", {**COO, "shape": large})
    few = ("F32", [1], struct.pack("<f", 1))
    yield sparse("counts_differ", "two indices and one value", {**COO, "values": few})
    down = ("I64", [5], int64(0, 2, 1, 2, 2))
    yield sparse("rows_decrease", "rows that go backwards", {**CSR, "crow_indices": down}, "csr")
    beyond = ("I64", [2], int64(1, 6))
    yield sparse("column_past_end", "a column too far", {**CSR, "col_indices": beyond}, "csr")

    def sidecar(name: str, why: str, data: bytes, code: str = "manifest.invalid") -> Case:
        return case(f"manifest_{name}", "manifest", code, why, "file.json", data)

    yield sidecar("not_json", "no JSON", b"{")
    yield sidecar("magic", "another magic", manifest(magic="other"))
    twice = manifest().replace(b'"magic"', b'"magic": "", "magic"')
    yield sidecar("key_twice", "a key twice", twice)
    size = manifest(tensor={"nbytes": 3})
    yield sidecar("size", "a size that is not the shape's", size, "tensor.size")
    yield sidecar("name", "an entry that names another tensor", manifest(tensor={"name": "v"}))

    def theirs(name: str, why: str, data: bytes) -> Case:
        return case(
            f"safetensors_{name}",
            "from_safetensors",
            "safetensors.invalid",
            why,
            "file.safetensors",
            data,
        )

    def u8(start: int, end: int) -> dict[str, Any]:
        return {"dtype": "U8", "shape": [end - start], "data_offsets": [start, end]}

    yield theirs("short", "it ends inside its length", b"\1\0\0")
    yield theirs("length_max", "a header of 2^64 - 1 bytes", b"\xff" * 8 + b"{}")
    hole = {"a": u8(0, 1), "b": u8(2, 3)}
    yield theirs("hole", "bytes between two tensors", safetensors(hole, b"abc"))
    both = {"a": u8(0, 2), "b": u8(1, 3)}
    yield theirs("overlap", "two tensors overlap", safetensors(both, b"abc"))
    yield theirs("past_end", "a tensor beyond the end", safetensors({"a": u8(0, 4)}, b"abc"))
    twice = b'{"a":' + dumps(u8(0, 1)) + b',"a":' + dumps(u8(1, 2)) + b"}"
    yield theirs("name_twice", "a name twice", safetensors(twice, b"ab"))
    made = assemble(dumps(header({"z": entry("C128", [1], 0)})), counting(16))
    yield case(
        "safetensors_c128", "to_safetensors", "safetensors.dtype", "no such dtype there", ours, made
    )

    three = assemble(dumps(header({n: entry("U8", [1], 0) for n in "abc"})), b"x")
    yield case(
        "limit_tensors",
        "open",
        "limit.tensors",
        "more tensors than the caller allows",
        ours,
        three,
        limits={"tensors": 2},
    )
    # 16 times the header is counted for it: less than 8,000 bytes here, and than the data.
    large = assemble(dumps(header({"w": entry("U8", [8000], 0)})), counting(8000))
    yield case(
        "limit_memory_header",
        "open",
        "limit.memory",
        "a header that takes more memory than the caller allows",
        ours,
        large,
        limits={"memory_bytes": 1000},
    )
    yield case(
        "limit_memory_tensor",
        "read",
        "limit.memory",
        "a tensor of 8000 bytes, of which the caller allows a copy of 7999",
        ours,
        large,
        limits={"memory_bytes": 7999},
    )
