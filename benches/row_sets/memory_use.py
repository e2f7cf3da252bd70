"""Peak memory, each in a fresh process (see memory.py)."""

from __future__ import annotations

import functools
from typing import Any

import workloads
from bench import OLD, OURS, SAFETENSORS, ZTENSOR, Bench, Section
from measure import Contender, Target

SECTION = Section("Peak memory, above what was there before")
MIB = 1 << 20
SAVE_TARGET = Target(64 * MIB, kind="absolute")
_row = functools.partial(SECTION.row, unit="B", once=True, quick=False)


def _saves(b: Bench, peers: dict[str, str], **options: Any) -> list[Contender]:
    out = []
    for label, library in peers.items():
        path = b.output(f"memory.{library}")
        # The other libraries have no footer to ask for.
        mine = options if library == "ours" or "compress" in options else {}
        contender = b.memory_of(label, "save", library, workload=b.mixed, path=path, **mine)
        out.append(b.fresh(contender, path))
    return out


@_row("save, plain, {mixed}", SAVE_TARGET, quick=True)
def save(b: Bench) -> list[Contender]:
    libraries = {SAFETENSORS: "safetensors_", "torch.save": "torch_", ZTENSOR: "ztensor_"}
    return _saves(b, {OURS: "ours", **libraries, OLD: "ours"})


@_row("save, footer, {mixed}", SAVE_TARGET)
def save_footer(b: Bench) -> list[Contender]:
    return _saves(b, {OURS: "ours", OLD: "ours"}, checksum=True)


@_row("save, digests, {mixed}", SAVE_TARGET)
def save_digests(b: Bench) -> list[Contender]:
    return _saves(b, {OURS: "ours"}, digests=True)


@_row("save, compressed, {mixed}", SAVE_TARGET, quick=True)
def save_compressed(b: Bench) -> list[Contender]:
    return _saves(b, {OURS: "ours", ZTENSOR: "ztensor_", OLD: "ours"}, compress=True)


@_row("save, compressed, footer and digests, {mixed}", SAVE_TARGET)
def save_everything(b: Bench) -> list[Contender]:
    return _saves(b, {OURS: "ours"}, compress=True, checksum=True, digests=True)


@_row("load all, compressed, {mixed}")
def load(b: Bench) -> list[Contender]:
    ours, ztensor, old = _compressed(b)
    return [
        b.memory_of(OURS, "load_all", path=ours),
        b.memory_of(ZTENSOR, "load_all", "ztensor_", path=ztensor),
        b.memory_of(OLD, "load_all", path=old),
    ]


@_row(
    "open, and one 4 KiB tensor, compressed, {mixed}", Target(8 * MIB, kind="absolute"), quick=True
)
def one(b: Bench) -> list[Contender]:
    ours, ztensor, old = _compressed(b)
    name = workloads.SMALL
    return [
        b.memory_of(OURS, "one", path=ours, name=name),
        b.memory_of(ZTENSOR, "one", "ztensor_", path=ztensor, name=name),
        b.memory_of(OLD, "one", path=old, name=name),
    ]


@_row("every tensor, 1,000 rows at a time, compressed, {mixed}")
def by_rows(b: Bench) -> list[Contender]:
    ours, _, old = _compressed(b)
    return [
        b.memory_of(OURS, "all_by_rows", path=ours, count=1_000),
        b.memory_of(OLD, "all_by_rows", path=old, count=1_000),
    ]


@_row("stats of everything, compressed, {mixed}")
def stats(b: Bench) -> list[Contender]:
    ours, _, old = _compressed(b)
    return [b.memory_of(OURS, "stats", path=ours), b.memory_of(OLD, "stats", path=old)]


@_row("stats of everything, plain by positioned reads, {mixed}")
def stats_plain(b: Bench) -> list[Contender]:
    return [
        b.memory_of(OURS, "stats", path=b.ours_file(b.mixed), backend="pread"),
        b.memory_of(OLD, "stats", path=b.old_file(b.mixed)),
    ]


@_row("verify, compressed, footer and digests, {mixed}")
def verify(b: Bench) -> list[Contender]:
    options = {"compress": True, "checksum": True}
    path = b.ours_file(b.mixed, "compressed.all", digests=True, **options)
    old = b.old_file(b.mixed, "compressed.footer", **options)
    return [b.memory_of(OURS, "verify", path=path), b.memory_of(OLD, "verify", path=old)]


@_row("append 4 KiB to {mixed}, compressed")
def append(b: Bench) -> list[Contender]:
    ours, _, old = _compressed(b)
    out, out_old = b.output("memory.ours"), b.output("memory.old")
    return [
        b.on_copy(b.memory_of(OURS, "append", path=out), ours, out),
        b.on_copy(b.memory_of(OLD, "append", path=out_old), old, out_old),
    ]


@_row("convert from safetensors, compressed, {mixed}")
def convert(b: Bench) -> list[Contender]:
    source = b.peer_file(SAFETENSORS, b.mixed)
    out, out_old = b.output("memory.ours"), b.output("memory.old")
    return [
        b.fresh(b.memory_of(OURS, "from_safetensors", src=source, dst=out, compress=True), out),
        b.fresh(
            b.memory_of(OLD, "from_safetensors", src=source, dst=out_old, compress=True), out_old
        ),
    ]


@_row("open and list {small}")
def names(b: Bench) -> list[Contender]:
    st, zt = b.peer_file(SAFETENSORS, b.small), b.peer_file(ZTENSOR, b.small)
    return [
        b.memory_of(OURS, "names", path=b.ours_file(b.small)),
        b.memory_of(SAFETENSORS, "names", "safetensors_", path=st),
        b.memory_of(ZTENSOR, "names", "ztensor_", path=zt),
        b.memory_of(OLD, "names", path=b.old_file(b.small)),
    ]


def _compressed(b: Bench) -> tuple[str, str, str]:
    return (
        b.ours_file(b.mixed, "compressed", compress=True),
        b.peer_file(ZTENSOR, b.mixed, ".compressed", compress=True),
        b.old_file(b.mixed, "compressed", compress=True),
    )
