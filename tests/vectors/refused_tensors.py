"""Files in which a tensor's entry, or a digest, is at fault."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from binary import (
    COMPRESSED,
    FOOTER,
    assemble,
    dumps,
    entry,
    header,
    seekable,
    with_digests,
)
from refusal import GOOD, TEXT, Vector, edited, refuse, replace
from valid import W, one


def tensors() -> Iterator[Vector]:
    yield edited("name_empty", "tensor.name_empty", "the empty name", '"w"', '""')
    yield edited("name_nul", "tensor.name_nul", "a NUL in a name", '"w"', '"w\\u0000"', "w\0")
    long = "n" * 4097
    yield edited(
        "name_4097_bytes", "limit.name_bytes", "a name one byte too long", '"w"', f'"{long}"', long
    )
    wide = "重" * 1366
    yield edited(
        "name_4098_bytes_utf8",
        "limit.name_bytes",
        "1366 characters of three bytes",
        '"w"',
        f'"{wide}"',
        wide,
    )
    head = one(metadata={"k": "v" * ((1 << 20) - 8)})
    yield refuse(
        "metadata_over_1_mib",
        "limit.metadata_bytes",
        "one byte of metadata too many",
        assemble(dumps(head), W),
        "w",
    )
    yield edited("rank_65", "limit.rank", "65 dimensions", "[4]", "[4" + ",1" * 64 + "]", "w")
    for dtype in ("F8", "f32", "float32", "", "F32 ", "F8_E4M3FN"):
        yield edited(
            f"dtype_{dtype.strip() or 'empty'}{'_space' if ' ' in dtype else ''}",
            "tensor.dtype",
            f"no dtype is called '{dtype}'",
            '"F32"',
            f'"{dtype}"',
            "w",
        )
    code = "tensor.overflow"
    for name, why, dtype, shape, size in (
        ("wraps_to_zero", "the size wraps to 0 in 64 bits", "F32", [1 << 62, 4], 0),
        ("wraps_to_16", "the size wraps to 16 in 64 bits", "F32", [(1 << 62) + 4], 16),
        ("many_dims", "the product overflows step by step", "U8", [1 << 16] * 5, 0),
        ("hidden_by_zero", "an overflow beside a dimension of zero", "F32", [1 << 62, 4, 0], 0),
        ("zero_first", "an overflow after a dimension of zero", "F32", [0, 1 << 62, 4], 0),
        ("dim_2_63", "a dimension over the signed range", "U8", [1 << 63], 16),
        ("dim_max", "the largest 64-bit dimension", "U8", [(1 << 64) - 1], 16),
        ("bits", "the count fits, the size in bits does not", "F64", [1 << 61], 0),
        (
            "bits_sub_byte",
            "4-bit elements whose count fits, but not their bits",
            "F4",
            [1 << 62],
            0,
        ),
    ):
        text = replace(replace(TEXT, '"F32"', f'"{dtype}"'), "[4]", dumps(shape))
        text = replace(text, "[0,16]", f"[0,{size}]")
        yield refuse(f"overflow_{name}", code, why, assemble(text, W), "w")
    for name, dtype, shape, size in (
        ("f4", "F4", [3], 2),
        ("f6_e2m3", "F6_E2M3", [2], 2),
        ("f6_e3m2", "F6_E3M2", [3, 3], 7),
        ("f4_scalar", "F4", [], 1),
    ):
        text = replace(replace(TEXT, '"F32"', f'"{dtype}"'), "[4]", dumps(shape))
        yield refuse(
            f"bits_{name}",
            "tensor.bits",
            "the last byte is not full",
            assemble(replace(text, "[0,16]", f"[0,{size}]"), W),
            "w",
        )
    yield edited(
        "offsets_backwards",
        "tensor.offsets",
        "the end is before the start",
        "[0,16]",
        "[16,0]",
        "w",
    )
    head = header({"w": {**entry("F32", [0], 0), "data_offsets": [8, 4]}})
    yield refuse(
        "offsets_backwards_empty",
        "tensor.offsets",
        "an empty tensor that ends early",
        assemble(dumps(head), W),
        "w",
    )
    for name, span in (("short", "[0,12]"), ("long", "[0,20]"), ("empty", "[4,4]")):
        data = assemble(replace(TEXT, "[0,16]", span), W + W)
        yield refuse(f"size_{name}", "tensor.size", f"F32 [4] in the span {span}", data, "w")
    head = header({"w": {**entry("F32", [0], 0), "data_offsets": [0, 4]}})
    yield refuse(
        "size_of_empty", "tensor.size", "no elements in four bytes", assemble(dumps(head), W), "w"
    )
    code = "tensor.bounds"
    yield refuse("bounds_cut", code, "the last byte of the blob is missing", GOOD[:-1], "w")
    yield refuse("bounds_no_blob", code, "the blob is missing", GOOD[:-16], "w")
    yield edited(
        "bounds_past_end", code, "the tensor starts at the blob's end", "[0,16]", "[16,32]", "w"
    )
    top = (1 << 64) - 1
    yield edited(
        "bounds_2_64", code, "offsets just below 2^64", "[0,16]", f"[{top - 16},{top}]", "w"
    )
    head = header({"w": entry("F32", [0], 17)})
    yield refuse(
        "bounds_empty", code, "an empty tensor beyond the blob", assemble(dumps(head), W), "w"
    )
    data = assemble(replace(TEXT, "[0,16]", "[8,24]"), W, flags=FOOTER)
    yield refuse("bounds_into_footer", code, "the tensor reaches into the footer", data, "w")
    code = "tensor.overlap"
    for name, why, spans in (
        ("partial", "two tensors share four bytes", (("a", 8, 0), ("b", 8, 4))),
        ("inside", "one tensor lies inside another", (("a", 16, 0), ("b", 4, 4))),
        ("same_start", "one tensor is the beginning of another", (("a", 8, 0), ("b", 16, 0))),
        ("same_end", "one tensor is the end of another", (("a", 16, 0), ("b", 8, 8))),
        ("one_byte", "two tensors share one byte", (("a", 8, 0), ("b", 8, 7))),
        (
            "not_first",
            "only the second and third tensor overlap",
            (("a", 4, 0), ("b", 4, 8), ("c", 4, 11)),
        ),
        (
            "of_alias",
            "a third tensor overlaps two that are tied",
            (("a", 8, 0), ("a2", 8, 0), ("b", 8, 4)),
        ),
    ):
        head = header({n: entry("U8", [size], start) for n, size, start in spans})
        yield refuse(f"overlap_{name}", code, why, assemble(dumps(head), W), spans[-1][0])


def digests() -> Iterator[Vector]:
    good = dumps(with_digests(one(), W))
    digest = hashlib.sha256(W).hexdigest()
    code = "tensor.digest"
    for name, why, new in (
        ("upper", "upper-case digits", digest.upper()),
        ("63", "63 digits", digest[:-1]),
        ("65", "65 digits", digest + "0"),
        ("letter", "a letter that is no digit", digest[:-1] + "g"),
        ("empty", "no digits", ""),
        ("prefixed", "the algorithm's name before the digits", "sha256:" + digest),
    ):
        head = one()
        head["tensors"]["w"]["sha256"] = new
        yield refuse(f"digest_{name}", code, why, assemble(dumps(head), W), "w")
    for name, why, new in (
        ("upper", "a root in upper case", "A" * 64),
        ("short", "a root too short", "0"),
    ):
        text = dumps({**header({}), "root_sha256": new})
        yield refuse(f"digest_root_{name}", code, why, assemble(text))
    assert good.count(digest.encode()) == 1
    head = with_digests(one(), W)
    blob = b"\1" + W[1:]
    yield refuse(
        "integrity_tensor",
        "integrity.tensor",
        "one byte of a tensor differs",
        assemble(dumps(head), blob),
        "w",
        "verify",
    )
    stored = seekable([blob])
    yield refuse(
        "integrity_tensor_compressed",
        "integrity.tensor",
        "a whole frame, of other bytes",
        assemble(dumps(head), stored, flags=COMPRESSED),
        "w",
        "verify",
    )
    text = replace(good, '"deathtensors 0.4.0"', '"deathtensors 0.4.1"')
    yield refuse(
        "integrity_root",
        "integrity.root",
        "a header edited after its root was taken",
        assemble(text, W),
        None,
        "verify",
    )
    footer = hashlib.sha256(GOOD[24:]).digest()
    data = assemble(TEXT, b"\1" + W[1:], flags=FOOTER, footer=footer)
    yield refuse(
        "integrity_footer_blob",
        "integrity.footer",
        "one byte of the blob differs",
        data,
        None,
        "verify",
    )
    data = assemble(replace(TEXT, "0.4.0", "0.4.1"), W, flags=FOOTER, footer=footer)
    yield refuse(
        "integrity_footer_header",
        "integrity.footer",
        "one byte of the header differs",
        data,
        None,
        "verify",
    )
    data = assemble(TEXT, W, flags=FOOTER, footer=footer[:-1] + bytes([footer[-1] ^ 1]))
    yield refuse(
        "integrity_footer_itself",
        "integrity.footer",
        "one bit of the footer differs",
        data,
        None,
        "verify",
    )
    empty = assemble(dumps(header({})), flags=FOOTER)
    yield refuse("footer_cut", "footer.truncated", "the footer lacks its last byte", empty[:-1])
    yield refuse("footer_missing", "footer.truncated", "the footer is missing", empty[:-32])


def vectors() -> Iterator[Vector]:
    for group in (tensors, digests):
        yield from group()
