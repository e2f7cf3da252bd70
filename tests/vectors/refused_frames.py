"""Files whose compressed blob is at fault."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from binary import (
    COMPRESSED,
    assemble,
    block,
    dumps,
    entry,
    frame,
    header,
    raw_blocks,
    run_blocks,
    seek_table,
    seekable,
)
from refusal import Vector, refuse
from valid import counting


def frames() -> Iterator[Vector]:
    blob = counting(48)
    two = header({"a": entry("U8", [32], 0), "b": entry("U8", [16], 32)})
    first, second = frame(blob[:32]), frame(blob[32:])
    sizes = [(len(first), 32), (len(second), 16)]
    text = dumps(two)

    def file(stored: bytes, text: bytes = text) -> bytes:
        return assemble(text, stored, flags=COMPRESSED)

    def table(name: str, why: str, made: bytes, code: str = "frames.table") -> Vector:
        return refuse(f"table_{name}", code, why, file(first + second + made), None, "read")

    good = seek_table(sizes)
    yield table("reserved_bits", "a reserved descriptor bit", seek_table(sizes, descriptor=4))
    yield table(
        "checksum_flag",
        "a descriptor that promises checksums that are not there",
        seek_table(sizes, descriptor=0x80),
    )
    yield table("count_high", "more frames than the table has entries", seek_table(sizes, count=3))
    yield table("count_low", "fewer frames than the table has entries", seek_table(sizes, count=1))
    yield table("count_max", "2^32 - 1 frames", seek_table(sizes, count=(1 << 32) - 1))
    yield table("count_zero", "no frames, yet entries", seek_table(sizes, count=0))
    yield table("frame_size", "a skippable frame of another size", seek_table(sizes, frame_size=24))
    yield table("entry_empty", "a frame of no bytes", seek_table([*sizes, (0, 0)]))
    yield table("magic", "another kind of skippable frame", seek_table(sizes, nibble=0xD))
    yield refuse(
        "table_cut_front",
        "frames.table",
        "the blob is the end of a seek table",
        file(good[4:]),
        None,
        "read",
    )
    code = "frames.table_sizes"
    for name, why, wrong in (
        (
            "low",
            "the frames are one byte longer than the table says",
            [(sizes[0][0] - 1, 32), sizes[1]],
        ),
        (
            "high",
            "the frames are one byte shorter than the table says",
            [(sizes[0][0] + 1, 32), sizes[1]],
        ),
        ("max", "a frame of 4 GiB in a small file", [((1 << 32) - 1, 32), sizes[1]]),
        ("extra", "a frame that is not there", [*sizes, sizes[1]]),
    ):
        yield table(f"sizes_{name}", why, seek_table(wrong), code)
    yield refuse(
        "table_sizes_missing",
        code,
        "a frame that the table leaves out",
        file(frame(b"") + first + second + good),
        None,
        "read",
    )
    for name, why, pieces in (
        ("data_low", "the frames hold fewer bytes than the tensors", [blob[:32], blob[32:40]]),
        ("data_high", "the frames hold more bytes than the tensors", [blob[:32], counting(24)]),
        ("data_extra", "a frame that no tensor needs", [blob[:32], blob[32:], b"hidden"]),
    ):
        yield refuse(f"table_sizes_{name}", code, why, file(seekable(pieces)), None, "read")

    yield from decoding(file, blob, first, second, sizes)
    yield from inflating(file, blob, first, second, sizes)


def decoding(file: Any, blob: bytes, first: bytes, second: bytes, sizes: Any) -> Iterator[Vector]:
    """Frames that are no frames. Without a table, all tensors share their fate."""
    code = "frames.decode"

    def tabled(name: str, why: str, damaged: bytes, code: str = code) -> Vector:
        stored = first + damaged + seek_table([sizes[0], (len(damaged), 16)])
        return refuse(f"frame_{name}", code, why, file(stored), "b", "read")

    head, body = second[:4], second[4:]
    yield tabled("magic", "a frame with another magic", b"\x29" + second[1:])
    yield tabled("one_byte", "a frame of one byte", second[:1])
    yield tabled("cut", "a frame without its last byte", frame(blob[32:], checksum=False)[:-1])
    yield tabled("cut_block", "a frame that ends inside a block", second[:14])
    yield tabled(
        "reserved_bit",
        "the reserved bit of the frame's descriptor",
        head + bytes([body[0] | 8]) + body[1:],
    )
    yield tabled(
        "reserved_block",
        "a block of the reserved kind",
        frame(blob[32:], blocks=block(3, 16, blob[32:], last=True)),
    )
    yield tabled(
        "dictionary",
        "a frame that needs a dictionary",
        head + bytes([1 << 5 | 1, 7, 16]) + raw_blocks(blob[32:]),
    )
    yield tabled(
        "compressed_garbage",
        "a compressed block that is noise",
        frame(blob[32:], blocks=block(2, 16, b"\xff" * 16, last=True)),
    )
    yield tabled("trailing", "bytes after the frame, inside its entry", second + b"\0\0\0\0")
    yield tabled(
        "checksum",
        "the frame's checksum differs",
        frame(blob[32:], wrong_checksum=True),
        "frames.checksum",
    )
    flipped = second[:12] + bytes([second[12] ^ 1]) + second[13:]
    yield tabled("bit_flip", "one bit of the frame's content differs", flipped, "frames.checksum")
    sized = [(len(second), 32), (len(first), 16)]
    stored = first + second + seek_table(sized)
    yield refuse(
        "table_sizes_swapped",
        code,
        "two frames with each other's sizes",
        file(stored),
        None,
        "read",
    )
    whole = frame(blob)
    for name, why, stored, which in (
        ("garbage", "a blob that is no zstd at all", b"\0" * 40, code),
        ("cut", "one frame, cut", whole[:-1], code),
        ("trailing", "bytes after the only frame", whole + b"junk", code),
        (
            "skippable_cut",
            "a skippable frame longer than the file",
            whole + struct.pack("<II", 0x184D2A53, 1000) + b"x",
            code,
        ),
        (
            "table_cut",
            "a seek table without its last byte",
            first + second + seek_table(sizes)[:-1],
            code,
        ),
        (
            "checksum",
            "one frame, its checksum wrong",
            frame(blob, wrong_checksum=True),
            "frames.checksum",
        ),
    ):
        yield refuse(f"blob_{name}", which, why, file(stored), None, "read")


def inflating(file: Any, blob: bytes, first: bytes, second: bytes, sizes: Any) -> Iterator[Vector]:
    """Frames that hold more or less than was said, and bombs."""

    def tabled(name: str, code: str, why: str, made: bytes, size: int = 16) -> Vector:
        stored = first + made + seek_table([sizes[0], (len(made), size)])
        return refuse(f"frame_{name}", code, why, file(stored), "b", "read")

    more, less = frame(counting(17)), frame(counting(15))
    inflate, short = "frames.inflate", "frames.short"
    yield tabled("one_more", inflate, "one byte more than the table says", more)
    yield tabled(
        "one_more_unsized",
        inflate,
        "the same, and the frame does not say its size",
        frame(counting(17), sized=False),
    )
    yield tabled("one_less", short, "one byte less than the table says", less)
    yield tabled(
        "one_less_unsized",
        short,
        "the same, and the frame does not say its size",
        frame(counting(15), sized=False),
    )
    bomb = frame(blocks=run_blocks(0, 800), checksum=False, sized=False)
    yield tabled("bomb", inflate, "100 MiB of zeros in a frame of 16 bytes", bomb)
    bomb = frame(blocks=run_blocks(0, 800), checksum=False, content_size=800 << 17)
    yield tabled("bomb_sized", inflate, "the same, and the frame says so", bomb)
    claims = frame(blob[32:], blocks=raw_blocks(blob[32:]), content_size=1 << 40, checksum=False)
    yield tabled("claims_1_tib", inflate, "a frame that says 1 TiB and holds 16 bytes", claims)
    huge = header({"w": entry("U8", [(1 << 32) - 1], 0)})
    small = frame(counting(16), sized=False)
    stored = small + seek_table([(len(small), (1 << 32) - 1)])
    yield refuse(
        "frame_short_4_gib",
        short,
        "a table that says 4 GiB of a frame of 16 bytes",
        file(stored, dumps(huge)),
        "w",
        "read",
    )

    bomb = frame(blocks=run_blocks(7, 800), checksum=False, sized=False)
    yield refuse(
        "blob_bomb",
        inflate,
        "100 MiB in one frame, where the tensors have 48 bytes",
        file(bomb),
        None,
        "read",
    )
    many = b"".join([frame(blocks=run_blocks(7, 1), checksum=False, sized=False)] * 200)
    yield refuse(
        "blob_bomb_of_frames",
        inflate,
        "25 MiB in 200 frames without a table",
        file(many),
        None,
        "read",
    )
    yield refuse(
        "blob_one_more",
        inflate,
        "one byte more than the tensors reach",
        file(frame(counting(49))),
        None,
        "read",
    )
    yield refuse(
        "blob_one_less",
        short,
        "one byte less than the tensors reach",
        file(frame(counting(47))),
        None,
        "read",
    )
    yield refuse("blob_empty", short, "no frame at all", file(b""), None, "read")
    huge = header({"w": entry("U8", [1 << 39], 0)})
    yield refuse(
        "blob_short_512_gib",
        short,
        "16 bytes where the header says 512 GiB",
        file(small, dumps(huge)),
        None,
        "read",
    )
    huge = header({"w": entry("U8", [(1 << 40) + 1], 0)})
    yield refuse(
        "limit_inflated",
        "limit.inflated_bytes",
        "one frame of a byte over 1 TiB",
        file(small, dumps(huge)),
        None,
        "read",
    )


def vectors() -> Iterator[Vector]:
    for group in (frames,):
        yield from group()
