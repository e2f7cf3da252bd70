"""Proves that two safetensors files hold the same: ``same_safetensors.py A B``.

Independent of every tensor library: it reads the two headers with ``json`` and
compares names and their order, dtypes, shapes, each tensor's bytes, and
``__metadata__``.
"""

from __future__ import annotations

import hashlib
import json
import struct
import sys
from typing import Any

PIECE = 1 << 20


def header(path: str) -> tuple[dict[str, Any], int]:
    """The header in file order, and where the data begins."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        return json.loads(file.read(length)), 8 + length


def digest(path: str, start: int, end: int) -> str:
    sha = hashlib.sha256()
    with open(path, "rb") as file:
        file.seek(start)
        left = end - start
        while left:
            piece = file.read(min(left, PIECE))
            if not piece:
                raise SystemExit(f"{path} ends {left} bytes early")
            sha.update(piece)
            left -= len(piece)
    return sha.hexdigest()


def compare(path_a: str, path_b: str) -> int:
    (a, data_a), (b, data_b) = header(path_a), header(path_b)
    if a.get("__metadata__") != b.get("__metadata__"):
        raise SystemExit(f"metadata: {a.get('__metadata__')} and {b.get('__metadata__')}")
    a.pop("__metadata__", None)
    b.pop("__metadata__", None)
    if list(a) != list(b):
        raise SystemExit(f"names or their order: {list(a)} and {list(b)}")
    total = 0
    for name, one in a.items():
        other = b[name]
        for field in ("dtype", "shape"):
            if one[field] != other[field]:
                raise SystemExit(f"{name}: {field} {one[field]} and {other[field]}")
        spans = [
            (data + at[0], data + at[1])
            for data, at in ((data_a, one["data_offsets"]), (data_b, other["data_offsets"]))
        ]
        if digest(path_a, *spans[0]) != digest(path_b, *spans[1]):
            raise SystemExit(f"{name}: the bytes differ")
        total += spans[0][1] - spans[0][0]
    print(f"the same: {len(a)} tensors in the same order, {total} bytes, metadata")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit("usage: same_safetensors.py A B")
    sys.exit(compare(sys.argv[1], sys.argv[2]))
