"""Whether a file holds what the safetensors file that it was made of holds.

This reads safetensors by itself, in another way than the conversion does, so that
one mistake cannot be made twice.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from .. import errors
from .._file import DtFile
from .._paths import Exact

if TYPE_CHECKING:
    from typing import Protocol

    class Source(Protocol):
        """What gives bytes by ranges."""

        @property
        def name(self) -> str:
            """Where they are, for people."""

        @property
        def length(self) -> int:
            """Of all of them."""

        @property
        def sha256(self) -> str | None:
            """Of all of them, as it was announced; None where it was not."""

        def fetch(self, wanted: list[tuple[int, int]], /) -> list[bytes]:
            """The bytes of some ranges, ends exclusive."""


#: The most bytes that one range may have, and that are compared at a time.
_PIECE, _AT_ONCE = 8 << 20, 32 << 20
_LONGEST_HEADER = 100_000_000


def check_same(source: Source, path: str) -> None:
    """Compare all tensors of a file with those of its source, which is read again.

    What is read is compared with the digest that was announced for it too, if one was.

    Raises:
        IntegrityError: something differs.
    """
    digest = sha256()
    start, header = _header(source, digest)
    metadata = header.pop("__metadata__", None) or {}
    end_of_all = start
    with DtFile(Exact(path), verify=True) as file:
        _expect(source, None, "order of names", list(header), file.keys())
        own = file.metadata()
        kept = {key: own.get(key) for key in metadata if key != "deathtensors.tensor_metadata"}
        _expect(source, None, "metadata", {key: metadata[key] for key in kept}, kept)
        # In the order of the bytes, so that they can be hashed as they come.
        for info in sorted(file.infos(), key=lambda one: header[one["name"]]["data_offsets"]):
            name, entry = info["name"], header[info["name"]]
            _expect(source, name, "dtype", entry["dtype"], info["dtype"])
            _expect(source, name, "shape", list(entry["shape"]), list(info["shape"]))
            first, end = entry["data_offsets"]
            _expect(source, name, "size", end - first, info["nbytes"])
            at = start + first
            for ours in _pieces(file, info):
                for theirs, offset in _read(source, at, len(ours)):
                    if ours[offset : offset + len(theirs)] != theirs:
                        raise _different(source, name, "bytes", None, None)
                    digest.update(theirs)
                at += len(ours)
            end_of_all = at
    _expect(source, None, "length", source.length, end_of_all)
    if source.sha256 is not None:
        _expect(source, None, "SHA-256 than the Hub says", source.sha256, digest.hexdigest())


def _header(source: Source, digest: Any) -> tuple[int, dict[str, Any]]:
    (prefix,) = source.fetch([(0, 8)])
    (length,) = struct.unpack("<Q", prefix)
    if length > _LONGEST_HEADER:
        raise _different(source, None, "header", None, f"{length} bytes")
    text = b"".join(piece for piece, _ in _read(source, 8, length))
    digest.update(prefix + text)
    header: dict[str, Any] = json.loads(text)
    return 8 + length, header


def _read(source: Source, at: int, length: int) -> Iterator[tuple[bytes, int]]:
    """The bytes from an offset on, in pieces, each with its offset from there."""
    wanted = [(begin, min(begin + _PIECE, at + length)) for begin in range(at, at + length, _PIECE)]
    several = _AT_ONCE // _PIECE
    for first in range(0, len(wanted), several):
        some = wanted[first : first + several]
        for (begin, _), piece in zip(some, source.fetch(some)):
            yield piece, begin - at


def _pieces(file: DtFile, info: dict[str, Any]) -> Iterator[memoryview]:
    """A tensor's bytes: some rows at a time where they would be decompressed else."""
    name, shape, nbytes = info["name"], info["shape"], info["nbytes"]
    rows = shape[0] if shape else 0
    whole = not file.is_compressed() or nbytes <= _AT_ONCE or not rows or nbytes % rows
    if whole:
        yield file.get_buffer(name)
        return
    several = max(_AT_ONCE // (nbytes // rows), 1)
    for first in range(0, rows, several):
        count = min(several, rows - first)
        yield memoryview(file._raw.buffer(name, first, count, writable=False)).toreadonly()


def _expect(source: Source, tensor: str | None, what: str, expected: Any, found: Any) -> None:
    if expected != found:
        raise _different(source, tensor, what, _short(expected), _short(found))


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _different(
    source: Source, tensor: str | None, what: str, expected: str | None, found: str | None
) -> errors.DeathTensorsError:
    return errors.make(
        "integrity.tensor",
        "integrity",
        f"{source.name}: what was written has another {what}"
        f"{'' if tensor is None else f' of tensor {tensor!r}'}; nothing was changed on the Hub",
        tensor,
        expected,
        found,
    )
