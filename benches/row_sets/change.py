"""Appending and converting, against copying the file.

An append replaces a file, so it flushes the new one to the disk before it takes the
old one's place; ``cp`` flushes nothing. Both kinds of copy are shown, and the same
append on a file system in memory, where flushing costs nothing.
"""

from __future__ import annotations

import shutil

from bench import HASH, SAFETENSORS, ZTENSOR, Bench, Section
from measure import Contender, Target

SECTION = Section("Append and convert")
CP = "cp"
CP_SYNC = "cp, then sync of the copy"


def _copies(b: Bench, source: str) -> list[Contender]:
    out = b.output("copy")
    script = 'cp "$1" "$2" && sync "$2"'
    return [
        b.fresh(b.shell(CP, "cp", source, out), out),
        b.fresh(b.shell(CP_SYNC, "sh", "-c", script, "sh", source, out), out),
    ]


@SECTION.row("append 4 KiB to {mixed}", Target(1.1, CP), fills_memory=True)
def append(b: Bench) -> list[Contender]:
    path = b.ours_file(b.mixed)
    old = b.old_file(b.mixed)
    out, out_old = b.output("deathtensors"), b.output("old.deathtensors")
    return [
        b.on_copy(b.ours("append", path=out), path, out),
        *_copies(b, path),
        b.on_copy(b.by_old("append", path=out_old), old, out_old),
    ]


@SECTION.row(
    "append 4 KiB to {mixed}, in memory (/dev/shm: no flushing)",
    Target(1.1, CP),
    fills_memory=True,
)
def append_in_memory(b: Bench) -> list[Contender]:
    # The file, its copy that is appended to, and what replaces that.
    folder = b.in_memory(4 * b.mixed[1])
    if folder is None:
        return [Contender("deathtensors", lambda _: 0.0, absent="no room in /dev/shm")]
    original = b.ours_file(b.mixed)

    def copy_in(path: str) -> None:
        b.need(original)
        shutil.copyfile(original, path)

    source = b.file("append.deathtensors", copy_in, folder)
    out, copy = str(folder / "out"), str(folder / "copy")
    return [
        b.on_copy(b.ours("append", path=out), source, out),
        b.fresh(b.shell(CP, "cp", source, copy), copy),
    ]


@SECTION.row("append 4 KiB to {mixed}, footer", quick=False, fills_memory=True)
def append_footer(b: Bench) -> list[Contender]:
    path = b.ours_file(b.mixed, "footer", checksum=True)
    old = b.old_file(b.mixed, "footer", checksum=True)
    out, out_old = b.output("deathtensors"), b.output("old.deathtensors")
    return [
        b.on_copy(b.ours("append", path=out), path, out),
        *_copies(b, path),
        b.plain(HASH, "sha256_file", path=path),
        b.on_copy(b.by_old("append", path=out_old), old, out_old),
    ]


@SECTION.row("append 4 KiB to {mixed}, compressed", fills_memory=True)
def append_compressed(b: Bench) -> list[Contender]:
    path = b.ours_file(b.mixed, "compressed", compress=True)
    old = b.old_file(b.mixed, "compressed", compress=True)
    out, out_old = b.output("deathtensors"), b.output("old.deathtensors")
    return [
        b.on_copy(b.ours("append", path=out), path, out),
        *_copies(b, path),
        b.on_copy(b.by_old("append", path=out_old), old, out_old),
    ]


@SECTION.row("append 4 KiB to {mixed}, against a format that appends in place", quick=False)
def append_in_place(b: Bench) -> list[Contender]:
    path, other = b.ours_file(b.mixed), b.peer_file(ZTENSOR, b.mixed)
    out, out_other = b.output("deathtensors"), b.output("zt")
    return [
        b.on_copy(b.ours("append", path=out), path, out),
        b.on_copy(b.peer(ZTENSOR, "append", path=out_other), other, out_other),
    ]


@SECTION.row("convert from safetensors, no footer, {mixed}", Target(1.25, CP))
def from_safetensors(b: Bench) -> list[Contender]:
    source = b.peer_file(SAFETENSORS, b.mixed)
    out, out_old = b.output("deathtensors"), b.output("old.deathtensors")
    return [
        b.fresh(b.ours("from_safetensors", src=source, dst=out, checksum=False), out),
        *_copies(b, source)[:1],
        b.fresh(b.by_old("from_safetensors", src=source, dst=out_old, checksum=False), out_old),
    ]


@SECTION.row("convert from safetensors, footer (the default), {mixed}", quick=False)
def from_safetensors_footer(b: Bench) -> list[Contender]:
    source = b.peer_file(SAFETENSORS, b.mixed)
    out, out_old = b.output("deathtensors"), b.output("old.deathtensors")
    return [
        b.fresh(b.ours("from_safetensors", src=source, dst=out), out),
        *_copies(b, source)[:1],
        b.plain(HASH, "sha256_file", path=source),
        b.fresh(b.by_old("from_safetensors", src=source, dst=out_old), out_old),
    ]


@SECTION.row("convert to safetensors, {mixed}", Target(1.25, CP))
def to_safetensors(b: Bench) -> list[Contender]:
    source, old = b.ours_file(b.mixed), b.old_file(b.mixed)
    out, out_old = b.output("safetensors"), b.output("old.safetensors")
    return [
        b.fresh(b.ours("to_safetensors", src=source, dst=out), out),
        *_copies(b, source)[:1],
        b.fresh(b.by_old("to_safetensors", src=old, dst=out_old), out_old),
    ]


@SECTION.row("convert to safetensors, from compressed, {mixed}", quick=False)
def to_safetensors_compressed(b: Bench) -> list[Contender]:
    source = b.ours_file(b.mixed, "compressed", compress=True)
    old = b.old_file(b.mixed, "compressed", compress=True)
    out, out_old = b.output("safetensors"), b.output("old.safetensors")
    return [
        b.fresh(b.ours("to_safetensors", src=source, dst=out), out),
        b.fresh(b.by_old("to_safetensors", src=old, dst=out_old), out_old),
    ]
