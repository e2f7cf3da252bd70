"""Loading, with the file in the page cache."""

from __future__ import annotations

from typing import Any

import workloads
from bench import READ, SAFETENSORS, ZTENSOR, Bench, Section, Workload
from measure import Contender, Target

SECTION = Section("Load (page cache warm)")
DECODE = "zstd -d, one thread"
TORCH = "torch.load(mmap=True)"
MIB = 1 << 20


def _peers(b: Bench, work: str, workload: Workload, **arguments: Any) -> list[Contender]:
    """Everybody does the same work on a file of their own."""
    files = {label: b.peer_file(label, workload) for label in (SAFETENSORS, TORCH, ZTENSOR)}
    return [
        b.ours(work, path=b.ours_file(workload), **arguments),
        b.peer(SAFETENSORS, work, path=files[SAFETENSORS], **arguments),
        b.here("torch_", work, TORCH, path=files[TORCH], **arguments),
        b.peer(ZTENSOR, work, path=files[ZTENSOR], **arguments),
    ]


def _load(b: Bench, workload: Workload) -> list[Contender]:
    old = b.by_old("load_all", path=b.old_file(workload))
    return [*_peers(b, "load_all", workload), old]


@SECTION.row("load all, plain, {mixed}", Target(1.0, SAFETENSORS))
def plain(b: Bench) -> list[Contender]:
    return _load(b, b.mixed)


@SECTION.row("load all, plain, {minilm}", Target(1.0, SAFETENSORS), quick=False)
def plain_minilm(b: Bench) -> list[Contender]:
    return _load(b, b.minilm)


@SECTION.row("load all, plain, and read every byte, {mixed}")
def plain_read(b: Bench) -> list[Contender]:
    return [
        *_peers(b, "load_and_read", b.mixed),
        b.plain(READ + ", one thread", "read", path=b.raw_file(b.mixed)),
        b.by_old("load_and_read", path=b.old_file(b.mixed)),
    ]


def _compressed(b: Bench, workload: Workload) -> list[Contender]:
    """The zstd command reads and writes in threads of its own unless told not to, and
    writes into nothing; the others fill new memory."""
    ours = b.ours_file(workload, "compressed", compress=True)
    ztensor = b.peer_file(ZTENSOR, workload, ".compressed", compress=True)
    decode = ("zstd", "-d", "-q", "-f", b.zstd_file(workload), "-o", "/dev/null")
    return [
        b.ours("load_all", path=ours),
        b.shell(DECODE, *decode, "--no-asyncio"),
        b.shell("zstd -d, with threads for I/O", *decode),
        b.ours("load_on_one_thread", "deathtensors, one thread", path=ours),
        b.peer(ZTENSOR, "load_all", path=ztensor),
        b.by_old("load_all", path=b.old_file(workload, "compressed", compress=True)),
    ]


@SECTION.row("load all, compressed, {mixed}", Target(1 / 1.8, DECODE), fills_memory=True)
def compressed(b: Bench) -> list[Contender]:
    return _compressed(b, b.mixed)


@SECTION.row(
    "load all, compressed, {minilm}", Target(1 / 1.8, DECODE), quick=False, fills_memory=True
)
def compressed_minilm(b: Bench) -> list[Contender]:
    return _compressed(b, b.minilm)


@SECTION.row("open, and one 4 KiB tensor, compressed, {mixed}", Target(0.002, kind="absolute"))
def one_compressed(b: Bench) -> list[Contender]:
    name = workloads.SMALL
    ztensor = b.peer_file(ZTENSOR, b.mixed, ".compressed", compress=True)
    old = b.old_file(b.mixed, "compressed", compress=True)
    return [
        b.ours("one", path=b.ours_file(b.mixed, "compressed", compress=True), name=name),
        b.peer(ZTENSOR, "one", path=ztensor, name=name),
        b.by_old("one", path=old, name=name),
    ]


@SECTION.row("open, and one 4 KiB tensor, plain, {mixed}")
def one_plain(b: Bench) -> list[Contender]:
    old = b.by_old("one", path=b.old_file(b.mixed), name=workloads.SMALL)
    return [*_peers(b, "one", b.mixed, name=workloads.SMALL), old]


def _some_rows(b: Bench) -> dict[str, Any]:
    """1,000 rows of the table; of the smaller one of --quick, as many."""
    return {"name": workloads.TABLE, "start": 1_000, "count": 1_000}


@SECTION.row("1,000 rows of 32,000 × 1,024, file open", Target(1.0, SAFETENSORS))
def rows_of_open(b: Bench) -> list[Contender]:
    some = _some_rows(b)
    return [
        b.ours("rows_of_open", path=b.ours_file(b.mixed), **some),
        b.peer(SAFETENSORS, "rows_of_open", path=b.peer_file(SAFETENSORS, b.mixed), **some),
        b.by_old("rows_of_open", path=b.old_file(b.mixed), **some),
    ]


@SECTION.row("1,000 rows of 32,000 × 1,024, file open, every byte read", Target(1.0, SAFETENSORS))
def rows_of_open_read(b: Bench) -> list[Contender]:
    some = _some_rows(b)
    return [
        b.ours("rows_of_open_read", path=b.ours_file(b.mixed), **some),
        b.peer(SAFETENSORS, "rows_of_open_read", path=b.peer_file(SAFETENSORS, b.mixed), **some),
        b.by_old("rows_of_open_read", path=b.old_file(b.mixed), **some),
    ]


@SECTION.row("open, and 1,000 rows, every byte read", Target(1.0, SAFETENSORS))
def rows(b: Bench) -> list[Contender]:
    some = _some_rows(b)
    return [*_peers(b, "rows", b.mixed, **some), b.by_old("rows", path=b.old_file(b.mixed), **some)]


@SECTION.row("open, and 1,000 rows, compressed, every byte read")
def rows_compressed(b: Bench) -> list[Contender]:
    some = _some_rows(b)
    ztensor = b.peer_file(ZTENSOR, b.mixed, ".compressed", compress=True)
    old = b.old_file(b.mixed, "compressed", compress=True)
    return [
        b.ours("rows", path=b.ours_file(b.mixed, "compressed", compress=True), **some),
        b.peer(ZTENSOR, "rows", path=ztensor, **some),
        b.by_old("rows", path=old, **some),
    ]
