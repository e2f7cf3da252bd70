"""The files that every reader must accept."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator
from typing import Any

from binary import (
    COMPRESSED,
    DTYPE_BITS,
    FOOTER,
    PUBLISHED_DTYPES,
    assemble,
    dumps,
    entry,
    frame,
    header,
    nbytes,
    run_blocks,
    seek_table,
    seekable,
    skippable,
    with_digests,
)

#: What 0.3.0 compressed: U16 [256] of `i // 8`, then F32 [1.0, 2.0]; one frame
#: without a content size, its blocks really compressed.
FRAME_OF_030 = bytes.fromhex(
    "28b52ffd0058dd0200940200000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
    "0000803f000000402020e0c79d74d7b14ebaeb5827dd75ac93ee3ad649771deba4bb8e75a2bb8e75d25dc73a"
    "e9ae639d74a73a5627e48505"
)
#: What 0.3.0 makes of no bytes at all.
EMPTY_FRAME_OF_030 = bytes.fromhex("28b52ffd2000010000")
CREATED_BY_030 = "deathtensors 0.3.0 (death legion)"

Vector = tuple[str, bytes, dict[str, Any]]


def counting(size: int) -> bytes:
    return bytes(i * 7 % 256 for i in range(size))


def expectation(
    why: str, head: dict[str, Any], blob: bytes, *, flags: int = 0, canonical: bool = False
) -> dict[str, Any]:
    """What a reader must answer; ``blob`` is uncompressed."""
    tensors = head["tensors"]
    infos = {}
    for name, info in tensors.items():
        start, end = info["data_offsets"]
        infos[name] = {
            "dtype": info["dtype"],
            "shape": info["shape"],
            "data_offsets": [start, end],
            "nbytes": end - start,
            "metadata": info.get("metadata", {}),
            "sha256": hashlib.sha256(blob[start:end]).hexdigest(),
        }
    return {
        "why": why,
        "keys": list(tensors),
        "tensors": infos,
        "global_metadata": head.get("global_metadata", {}),
        "compressed": bool(flags & COMPRESSED),
        "checksum": bool(flags & FOOTER),
        "digests": bool(tensors) and all("sha256" in info for info in tensors.values()),
        "root": head.get("root_sha256"),
        # Whether 0.3.0 reads it too: it knows fewer dtypes.
        "readable_by_0_3_0": all(i["dtype"] in PUBLISHED_DTYPES for i in tensors.values()),
        # Whether the library writes exactly these bytes for these tensors.
        "canonical": canonical,
    }


def plain(
    name: str,
    why: str,
    head: dict[str, Any],
    blob: bytes,
    *,
    flags: int = 0,
    canonical: bool = False,
    text: bytes | None = None,
    spaces: bool = True,
) -> Vector:
    data = assemble(text or dumps(head), blob, flags=flags, spaces=spaces)
    return name, data, expectation(why, head, blob, flags=flags, canonical=canonical)


def compressed(
    name: str,
    why: str,
    head: dict[str, Any],
    blob: bytes,
    stored: bytes,
    *,
    flags: int = 0,
    text: bytes | None = None,
    spaces: bool = True,
) -> Vector:
    flags |= COMPRESSED
    data = assemble(text or dumps(head), stored, flags=flags, spaces=spaces)
    return name, data, expectation(why, head, blob, flags=flags)


def one(dtype: str = "F32", shape: tuple[int, ...] = (4,), **more: Any) -> dict[str, Any]:
    return header({"w": entry(dtype, list(shape), 0, **more)})


W = struct.pack("<4f", 1.0, -2.0, 0.5, 3.25)


def dtypes() -> Iterator[Vector]:
    every, blob = {}, b""
    for dtype, bits in DTYPE_BITS.items():
        shape = [2, 4]
        data = counting(nbytes(dtype, shape))
        if dtype == "BOOL":
            data = bytes(i % 2 for i in range(8))
        head = one(dtype, tuple(shape))
        yield plain(f"dtype_{dtype.lower()}", f"one {dtype} tensor", head, data, canonical=True)
        align = min(max(bits // 8, 1), 8)
        blob += b"\0" * (-len(blob) % align)
        every[dtype.lower()] = entry(dtype, shape, len(blob))
        blob += data
    yield plain("dtypes_all", "every dtype in one file", header(every), blob, canonical=True)
    specials = struct.pack("<6f", float("nan"), float("inf"), float("-inf"), -0.0, 1e-45, 3.4e38)
    yield plain(
        "floats_special",
        "NaN, infinities, negative zero, subnormal",
        one("F32", (6,)),
        specials,
        canonical=True,
    )


def shapes() -> Iterator[Vector]:
    yield plain("one", "the smallest ordinary file", one(), W, canonical=True)
    yield plain("zero_tensors", "a file without tensors", header({}), b"", canonical=True)
    head = header({"s": entry("F64", [], 0)})
    yield plain(
        "scalar", "shape [] holds one element", head, struct.pack("<d", 0.1), canonical=True
    )
    names = {"a": ("F32", [0]), "b": ("I64", [2, 0, 3]), "c": ("F4", [0, 3]), "d": ("U8", [0, 0])}
    head = header({n: entry(d, s, 0) for n, (d, s) in names.items()})
    yield plain("empty_tensors", "no elements, hence no bytes", head, b"", canonical=True)
    head = header(
        {
            "a": entry("U8", [8], 0),
            "none": entry("F32", [0], 4),
            "end": entry("F32", [0], 8),
        }
    )
    yield plain("empty_inside", "an empty tensor overlaps nothing", head, counting(8))
    head = header({"w": {**entry("F32", [0, 1 << 40], 0)}})
    yield plain("empty_large_dim", "a dimension of zero beside a large one", head, b"")
    yield plain(
        "rank_64", "the most dimensions allowed", one("F32", (1,) * 63 + (4,)), W, canonical=True
    )


def names() -> Iterator[Vector]:
    texts = [
        "κανονική.βάρος",
        "重み",
        "ذاكرة",
        "🙂",
        "é",
        "e\u0301",
        "a b",
        "a/b\\c",
        "..",
        "\u202etxt",
        "\U0010ffff",
    ]
    head = header({n: entry("U8", [1], i) for i, n in enumerate(texts)})
    yield plain(
        "names_unicode",
        "names compare by their code points, unnormalised",
        head,
        counting(len(texts)),
        canonical=True,
    )
    texts = [
        'quote"',
        "back\\slash",
        "new\nline",
        "tab\t",
        "\b\f\r",
        "bell\x07",
        "\x1b[31mred",
        "\x7f",
        "__proto__",
        "__metadata__",
        "tensors",
        "format",
        "constructor",
    ]
    head = header({n: entry("U8", [1], i) for i, n in enumerate(texts)})
    yield plain(
        "names_escaped",
        "names that JSON must escape, and names that mean something elsewhere",
        head,
        counting(len(texts)),
        canonical=True,
    )
    head = header({"A/🙂é\n": entry("F32", [4], 0, {"k/": "v\u2028"})})
    text = dumps(head)
    for raw, escape in (
        ("A", "\\u0041"),
        ("/", "\\/"),
        ("🙂", "\\ud83d\\uDE42"),
        ("é", "\\u00E9"),
        ("\u2028", "\\u2028"),
    ):
        text = text.replace(raw.encode(), escape.encode())
    yield plain(
        "names_needless_escapes", "every way that JSON has to spell a character", head, W, text=text
    )
    head = header({"n" * 4096: entry("F32", [4], 0)})
    yield plain("name_4096_bytes", "the longest name allowed", head, W, canonical=True)


def metadata() -> Iterator[Vector]:
    both = {"layer": "fc1", "init": "kaiming", "": "empty key", "empty value": "", "é": '重\n"\\'}
    head = one(metadata=both)
    head["global_metadata"] = dict(sorted({**both, "licence": "MIT"}.items()))
    yield plain(
        "metadata", "metadata of the file and of a tensor, sorted by key", head, W, canonical=True
    )
    head = {k: v for k, v in one().items() if k not in ("created_by", "global_metadata")}
    head["tensors"]["w"].pop("metadata")
    yield plain("metadata_absent", "created_by and both kinds of metadata may be absent", head, W)
    head = one(metadata={"k": "v" * ((1 << 20) - 9)})
    yield plain(
        "metadata_1_mib", "the most metadata allowed for one tensor", head, W, canonical=True
    )


def layouts() -> Iterator[Vector]:
    head = header({"u": entry("U8", [3], 0), "f": entry("F64", [1], 8), "v": entry("U8", [1], 16)})
    yield plain(
        "gap_alignment",
        "NUL bytes only where packing would misalign the next tensor",
        head,
        counting(3) + bytes(5) + counting(8) + b"\7",
        canonical=True,
    )
    head = header({"a": entry("F32", [2], 8), "b": entry("F32", [2], 24)})
    yield plain(
        "gaps", "bytes before, between and after the tensors belong to nobody", head, counting(40)
    )
    head = header({"a": entry("U8", [4], 8), "b": entry("U8", [4], 0), "c": entry("U8", [4], 4)})
    yield plain("out_of_order", "data in another order than the header's", head, counting(12))
    head = header({"a": entry("U8", [3], 0), "b": entry("F64", [1], 3), "c": entry("I16", [1], 11)})
    yield plain("misaligned", "tensors at odd offsets, as 0.3.0 packs them", head, counting(13))
    head = header({"a": entry("F32", [4], 0), "tied": entry("F32", [4], 0)})
    yield plain("aliases", "two names for the same bytes", head, W)
    head = header(
        {"a": entry("F32", [4], 0), "b": entry("U8", [2, 8], 0), "c": entry("U8", [4], 16)}
    )
    yield plain(
        "aliases_other_shape", "the same bytes under another dtype and shape", head, W + b"tail"
    )


def spellings() -> Iterator[Vector]:
    head = one(metadata={"k": "v"})
    pretty = dumps({**head, "created_by": CREATED_BY_030}, pretty=True)
    yield plain(
        "pretty_nul_padding",
        "indented header, NUL padding to 8, as 0.3.0 writes",
        head,
        W,
        text=pretty,
        spaces=False,
    )
    yield plain(
        "pretty_footer", "the same with a footer", head, W, text=pretty, spaces=False, flags=FOOTER
    )
    yield plain(
        "spaces_none",
        "no spaces, no padding: the header's length is a multiple of 8",
        head,
        W,
        text=dumps(head) + b" " * (-len(dumps(head)) % 8),
        spaces=False,
    )
    yield plain(
        "spaces_many", "more spaces than alignment needs", head, W, text=dumps(head) + b" " * 500
    )
    text = dumps(head).replace(b":", b" :\t\r\n ").replace(b",", b" ,\n")
    yield plain(
        "whitespace_inside", "all four kinds of JSON whitespace between tokens", head, W, text=text
    )
    shuffled = {k: head[k] for k in reversed(head)}
    shuffled["tensors"] = {"w": dict(reversed(head["tensors"]["w"].items()))}
    yield plain(
        "fields_in_any_order", "fields may stand in any order", head, W, text=dumps(shuffled)
    )
    more = json.loads(dumps(head))
    more["later"] = [
        None,
        True,
        False,
        -1.5e-300,
        1e400,
        {"w": {"w": []}},
        "\x00",
        18446744073709551616,
    ]
    more["tensors"]["w"]["later"] = {"dtype": "F33"}
    text = dumps(more).replace(b"Infinity", b"1e400")
    yield plain("unknown_fields", "fields of a later version are ignored", head, W, text=text)
    text = dumps({"later": 0, **head}).replace(b'"later":0', b'"later":' + b"[" * 15 + b"]" * 15)
    yield plain("depth_16", "the deepest nesting allowed", head, W, text=text)


def integrity() -> Iterator[Vector]:
    head = one(metadata={"k": "v"})
    yield plain(
        "footer", "SHA-256 over header, padding and blob", head, W, flags=FOOTER, canonical=True
    )
    yield plain(
        "footer_zero_tensors",
        "a footer and nothing else",
        header({}),
        b"",
        flags=FOOTER,
        canonical=True,
    )
    two = header({"a": entry("F32", [4], 0), "é": entry("I8", [0], 16), "b": entry("I8", [2], 16)})
    two = with_digests(two, W + b"\1\2")
    yield plain(
        "digests",
        "each tensor's digest and the root over the header",
        two,
        W + b"\1\2",
        canonical=True,
    )
    yield plain(
        "digests_footer", "digests and footer", two, W + b"\1\2", flags=FOOTER, canonical=True
    )
    text = json.loads(dumps(head))
    text["tensors"]["w"]["sha256"] = hashlib.sha256(W).hexdigest()
    yield plain("digests_without_root", "digests may stand without a root", text, W)


def frames() -> Iterator[Vector]:
    old = header({"w": entry("U16", [256], 0, {"k": "v"}), "b": entry("F32", [2], 512)}, {"m": "n"})
    blob = b"".join(struct.pack("<H", i // 8) for i in range(256)) + struct.pack("<2f", 1, 2)
    pretty = dumps({**old, "created_by": CREATED_BY_030}, pretty=True)
    yield compressed(
        "zstd_of_0_3_0",
        "one frame without content size, as 0.3.0 writes",
        old,
        blob,
        FRAME_OF_030,
        text=pretty,
        spaces=False,
        flags=FOOTER,
    )
    yield compressed(
        "zstd_zero_tensors", "no tensors, compressed by 0.3.0", header({}), b"", EMPTY_FRAME_OF_030
    )
    yield compressed(
        "zstd_table_of_real_frame",
        "blocks that are really compressed, with a table",
        old,
        blob,
        FRAME_OF_030 + seek_table([(len(FRAME_OF_030), len(blob))]),
    )
    two = header(
        {"a": entry("F32", [4], 0), "b": entry("U8", [100], 16), "c": entry("I8", [0], 116)}
    )
    blob = W + counting(100)
    yield compressed("zstd_one_frame", "one frame, no table", two, blob, frame(blob))
    yield compressed(
        "zstd_window_128_mib",
        "one frame, no table, that declares a window of 128 MiB",
        two,
        blob,
        frame(blob, sized=False, window=27),
    )
    pieces = [blob[:16], blob[16:70], blob[70:]]
    plain_frames = b"".join(map(frame, pieces))
    yield compressed("zstd_frames_no_table", "several frames, no table", two, blob, plain_frames)
    yield compressed(
        "zstd_skippable_no_table",
        "skippable frames of all kinds between frames",
        two,
        blob,
        b"".join(skippable(b"ignored", i) + frame(p) for i, p in enumerate(pieces))
        + skippable(b""),
    )
    yield compressed(
        "zstd_table", "a frame for each tensor, and one cut in two", two, blob, seekable(pieces)
    )
    yield compressed(
        "zstd_table_checksums",
        "the table's other form, with checksums",
        two,
        blob,
        seekable(pieces, checksums=True),
    )
    yield compressed(
        "zstd_table_footer", "a table and a footer", two, blob, seekable(pieces), flags=FOOTER
    )
    yield compressed(
        "zstd_table_digests",
        "digests are over uncompressed bytes",
        with_digests(two, blob),
        blob,
        seekable(pieces),
    )
    yield compressed(
        "zstd_table_unsized",
        "frames without content size or checksum",
        two,
        blob,
        seekable(pieces, sized=False, checksum=False),
    )
    yield compressed(
        "zstd_table_across",
        "frames that do not respect tensors",
        two,
        blob,
        seekable([blob[:5], blob[5:6], blob[6:50], blob[50:]]),
    )
    yield compressed(
        "zstd_table_shared", "small neighbours in one frame", two, blob, seekable([blob])
    )
    yield compressed(
        "zstd_table_empty_frame",
        "a frame that holds nothing",
        two,
        blob,
        seekable([blob[:16], b"", blob[16:]]),
    )
    yield compressed(
        "zstd_table_no_frames",
        "no tensors and a table of no frames",
        header({}),
        b"",
        seek_table([]),
    )
    yield compressed(
        "zstd_nul_padding",
        "compressed data that starts at a multiple of 8",
        two,
        blob,
        seekable(pieces),
        text=dumps(two, pretty=True),
        spaces=False,
    )
    head = header(
        {
            "a": entry("U8", [4], 12),
            "b": entry("U8", [4], 4),
            "tied": entry("I8", [2, 2], 4),
        }
    )
    yield compressed(
        "zstd_table_gaps",
        "gaps, another order and an alias, compressed",
        head,
        counting(24),
        seekable([counting(16)[:6], counting(16)[6:]]),
    )
    zeros = header({"w": entry("U8", [1 << 18], 0)})
    run = frame(bytes(1 << 18), blocks=run_blocks(0, 2))
    yield compressed(
        "zstd_table_runs",
        "a quarter of a mebibyte of zeros in a few bytes",
        zeros,
        bytes(1 << 18),
        run + seek_table([(len(run), 1 << 18)]),
    )


def vectors() -> Iterator[Vector]:
    for group in (dtypes, shapes, names, metadata, layouts, spellings, integrity, frames):
        yield from group()
