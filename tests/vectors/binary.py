"""Bytes of the format, put together by hand.

Nothing here uses the library: the vectors are a second opinion about the
specification, so they are made from ``struct``, ``json`` and ``hashlib`` alone.
The zstd frames are made of raw and run-length blocks, which need no compressor.
"""

from __future__ import annotations

import hashlib
import json
import struct
from typing import Any

MAGIC = b"DTLEGION"
COMPRESSED, FOOTER, ENCRYPTED = 1, 2, 4
#: Bits of one element, by dtype, the published ones first.
DTYPE_BITS = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "U16": 16,
    "I16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "I64": 64,
    "U64": 64,
    "F64": 64,
    "C64": 64,
    "C128": 128,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "F4": 4,
}
#: The dtypes that 0.3.0 knows.
PUBLISHED_DTYPES = list(DTYPE_BITS)[:15]


def dumps(value: Any, *, pretty: bool = False) -> bytes:
    """JSON as the library writes it (compact), or as 0.3.0 did (indented by two)."""
    if pretty:
        return json.dumps(value, ensure_ascii=False, indent=2).encode()
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def nbytes(dtype: str, shape: list[int]) -> int:
    count = 1
    for dim in shape:
        count *= dim
    bits = count * DTYPE_BITS[dtype]
    assert bits % 8 == 0
    return bits // 8


def entry(dtype: str, shape: list[int], start: int, metadata: Any = None, **more: Any) -> dict:
    """One tensor's header entry, its end computed from dtype and shape."""
    return {
        "dtype": dtype,
        "shape": shape,
        "data_offsets": [start, start + nbytes(dtype, shape)],
        "metadata": {} if metadata is None else dict(sorted(metadata.items())),
        **more,
    }


def header(tensors: dict[str, dict], global_metadata: Any = None, **more: Any) -> dict:
    """The header object with its keys in the order in which they are written."""
    return {
        "format": "deathtensors",
        "format_version": 1,
        "created_by": "deathtensors 0.4.0",
        "global_metadata": dict(sorted((global_metadata or {}).items())),
        **more,
        "tensors": tensors,
    }


def prefix(header_bytes: int, *, flags: int = 0, magic: bytes = MAGIC, version: int = 1) -> bytes:
    return magic + struct.pack("<IIQ", version, flags, header_bytes)


def spaced(text: bytes, multiple: int = 64) -> bytes:
    """The header's text with the spaces that let the blob start at a multiple."""
    return text + b" " * (-(24 + len(text)) % multiple)


def assemble(
    text: bytes,
    blob: bytes = b"",
    *,
    flags: int = 0,
    footer: bytes | None = None,
    spaces: bool = True,
    padding: bytes | None = None,
) -> bytes:
    """A whole file. ``spaces`` aligns the blob to 64 as the library does; without
    them NUL padding aligns it to 8 as 0.3.0 does."""
    text = spaced(text) if spaces else text
    if padding is None:
        padding = b"\0" * (-len(text) % 8)
    body = text + padding + blob
    if flags & FOOTER and footer is None:
        footer = hashlib.sha256(body).digest()
    return prefix(len(text), flags=flags) + body + (footer or b"")


def with_digests(head: dict, blob: bytes) -> dict:
    """The header with each tensor's digest and the root."""
    tensors = {
        name: {**info, "sha256": hashlib.sha256(blob[slice(*info["data_offsets"])]).hexdigest()}
        for name, info in head["tensors"].items()
    }
    head = {k: v for k, v in head.items() if k != "tensors"}
    head = {**head, "root_sha256": "0" * 64, "tensors": tensors}
    return {**head, "root_sha256": hashlib.sha256(dumps(head)).hexdigest()}


# --- zstd, by hand ---------------------------------------------------------------


def xxh64(data: bytes) -> int:
    """XXH64 with seed 0; its low half is zstd's content checksum."""
    p1, p2, p3, p4, p5 = (
        0x9E3779B185EBCA87,
        0xC2B2AE3D27D4EB4F,
        0x165667B19E3779F9,
        0x85EBCA77C2B2AE63,
        0x27D4EB2F165667C5,
    )
    mask = (1 << 64) - 1

    def rotate(x: int, by: int) -> int:
        return ((x << by) | (x >> (64 - by))) & mask

    def lane(acc: int, word: int) -> int:
        return rotate((acc + word * p2) & mask, 31) * p1 & mask

    at = 0
    if len(data) >= 32:
        accs = [(p1 + p2) & mask, p2, 0, -p1 & mask]
        while at + 32 <= len(data):
            accs = [lane(a, w) for a, w in zip(accs, struct.unpack_from("<4Q", data, at))]
            at += 32
        h = sum(rotate(a, by) for a, by in zip(accs, (1, 7, 12, 18))) & mask
        for acc in accs:
            h = ((h ^ lane(0, acc)) * p1 + p4) & mask
    else:
        h = p5
    h = (h + len(data)) & mask
    while at + 8 <= len(data):
        (word,) = struct.unpack_from("<Q", data, at)
        h = (rotate(h ^ lane(0, word), 27) * p1 + p4) & mask
        at += 8
    if at + 4 <= len(data):
        (word,) = struct.unpack_from("<I", data, at)
        h = (rotate(h ^ (word * p1 & mask), 23) * p2 + p3) & mask
        at += 4
    for byte in data[at:]:
        h = rotate(h ^ (byte * p5 & mask), 11) * p1 & mask
    h = (h ^ (h >> 33)) * p2 & mask
    h = (h ^ (h >> 29)) * p3 & mask
    return h ^ (h >> 32)


def block(kind: int, size: int, content: bytes, *, last: bool = False) -> bytes:
    """A zstd block: kind 0 raw, 1 run-length, 2 compressed, 3 reserved."""
    return (int(last) | kind << 1 | size << 3).to_bytes(3, "little") + content


def raw_blocks(data: bytes, size: int = 1 << 17) -> bytes:
    pieces = [data[at : at + size] for at in range(0, len(data), size)] or [b""]
    return b"".join(
        block(0, len(piece), piece, last=i == len(pieces) - 1) for i, piece in enumerate(pieces)
    )


def run_blocks(byte: int, count: int) -> bytes:
    """``count`` blocks of 128 KiB, four bytes each: 32,768 times smaller."""
    one = bytes([byte])
    return b"".join(block(1, 1 << 17, one, last=i == count - 1) for i in range(count))


def frame(
    data: bytes = b"",
    *,
    blocks: bytes | None = None,
    content_size: int | None = None,
    sized: bool = True,
    window: int = 17,
    checksum: bool = True,
    wrong_checksum: bool = False,
) -> bytes:
    """A zstd frame over ``data`` in raw blocks, or over the blocks given.

    ``sized`` writes the content size (``content_size``, or the data's own) as a
    single-segment frame; otherwise a window of 2 to the power of ``window`` bytes, 128 KiB,
    is declared.
    """
    size = len(data) if content_size is None else content_size
    flag = 0 if size < 256 else 1 if size < 65792 else 2 if size < 1 << 32 else 3
    if sized:
        descriptor = bytes([flag << 6 | 1 << 5 | int(checksum) << 2])
        descriptor += (size - 256 if flag == 1 else size).to_bytes(1 << flag, "little")
    else:
        descriptor = bytes([int(checksum) << 2, (window - 10) << 3])
    out = struct.pack("<I", 0xFD2FB528) + descriptor
    out += raw_blocks(data) if blocks is None else blocks
    if checksum:
        out += struct.pack("<I", (xxh64(data) ^ int(wrong_checksum)) & 0xFFFFFFFF)
    return out


def skippable(content: bytes, nibble: int = 0xE) -> bytes:
    return struct.pack("<II", 0x184D2A50 | nibble, len(content)) + content


def seek_table(
    frames: list[tuple[int, int]],
    *,
    checksums: list[int] | None = None,
    count: int | None = None,
    descriptor: int | None = None,
    frame_size: int | None = None,
    nibble: int = 0xE,
) -> bytes:
    """The seek table over ``(compressed, decompressed)`` sizes, with any field
    replaced by a lie."""
    body = b"".join(
        struct.pack("<II", *sizes) + (struct.pack("<I", checksums[i]) if checksums else b"")
        for i, sizes in enumerate(frames)
    )
    if descriptor is None:
        descriptor = 0x80 if checksums else 0
    body += struct.pack("<IBI", len(frames) if count is None else count, descriptor, 0x8F92EAB1)
    table = skippable(body, nibble)
    if frame_size is not None:
        table = table[:4] + struct.pack("<I", frame_size) + table[8:]
    return table


def seekable(pieces: list[bytes], *, checksums: bool = False, **options: Any) -> bytes:
    """Each piece in a frame of its own, then the seek table."""
    frames = [frame(piece, **options) for piece in pieces]
    sizes = [(len(made), len(piece)) for made, piece in zip(frames, pieces)]
    sums = [xxh64(piece) & 0xFFFFFFFF for piece in pieces] if checksums else None
    return b"".join(frames) + seek_table(sizes, checksums=sums)
