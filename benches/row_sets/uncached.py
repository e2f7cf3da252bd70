"""Reading with the page cache emptied of the file: a map against positioned reads."""

from __future__ import annotations

import shutil
from typing import Any

import workloads
from bench import READ, SAFETENSORS, Bench, Section
from measure import Contender

SECTION = Section("Cold reads (nothing of the file in the page cache)")


def _backends(b: Bench, work: str, path: str, **arguments: Any) -> list[Contender]:
    """The default first, then what it chooses between."""
    label = "deathtensors, {}".format
    return [
        b.cold(b.ours(work, path=path, **arguments), path),
        *(
            b.cold(b.ours(work, label(name), path=path, backend=name, **arguments), path)
            for name in ("mmap", "pread")
        ),
    ]


def _copy(b: Bench, source: str) -> str:
    """A file of this section's own, which nobody else has mapped."""

    def copy(path: str) -> None:
        b.need(source)
        shutil.copyfile(source, path)

    return b.file("cold." + source.rsplit("/", 1)[-1], copy)


def _safetensors(b: Bench, work: str, **arguments: Any) -> Contender:
    path = _copy(b, b.peer_file(SAFETENSORS, b.mixed))
    return b.cold(b.peer(SAFETENSORS, work, path=path, **arguments), path)


@SECTION.row("load all, plain, and read every byte, {mixed}, cold")
def load(b: Bench) -> list[Contender]:
    path = _copy(b, b.ours_file(b.mixed))
    return [
        *_backends(b, "load_and_read", path),
        _safetensors(b, "load_and_read"),
        b.cold(b.plain(READ + ", one thread", "read", path=path), path),
        b.cold(b.plain(READ + ", all cores", "read_in_parallel", path=path), path),
    ]


@SECTION.row("load all, compressed, {mixed}, cold")
def compressed(b: Bench) -> list[Contender]:
    path = _copy(b, b.ours_file(b.mixed, "compressed", compress=True))
    return _backends(b, "load_all", path)


@SECTION.row("open, and one 4 KiB tensor, plain, cold")
def one(b: Bench) -> list[Contender]:
    path = _copy(b, b.ours_file(b.mixed))
    name = workloads.SMALL
    return [*_backends(b, "one", path, name=name), _safetensors(b, "one", name=name)]


@SECTION.row("open, and one 4 KiB tensor, compressed, cold")
def one_compressed(b: Bench) -> list[Contender]:
    path = _copy(b, b.ours_file(b.mixed, "compressed", compress=True))
    return _backends(b, "one", path, name=workloads.SMALL)


@SECTION.row("open, and 1,000 rows, every byte read, cold")
def rows(b: Bench) -> list[Contender]:
    path = _copy(b, b.ours_file(b.mixed))
    some = {"name": workloads.TABLE, "start": 1_000, "count": 1_000}
    return [*_backends(b, "rows", path, **some), _safetensors(b, "rows", **some)]


@SECTION.row("open, and stats of everything, {mixed}, cold")
def stats(b: Bench) -> list[Contender]:
    path = _copy(b, b.ours_file(b.mixed))
    return _backends(b, "stats", path)


@SECTION.row("open and verify, digests, {mixed}, cold")
def digests(b: Bench) -> list[Contender]:
    path = _copy(b, b.ours_file(b.mixed, "digests", digests=True))
    return _backends(b, "verify", path)
