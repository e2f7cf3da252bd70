"""Saving: a fresh file each time, nothing flushed to the disk by anyone."""

from __future__ import annotations

from typing import Any

from bench import HASH, OLD, SAFETENSORS, WRITE, ZTENSOR, Bench, Section, Workload
from measure import Contender, Target

SECTION = Section("Save")
ZSTD = "zstd -3 -T{threads}"


def _save(b: Bench, workload: Workload, **options: Any) -> Contender:
    out = b.output("deathtensors")
    return b.fresh(b.ours("save", workload=workload, path=out, **options), out)


def _old(b: Bench, workload: Workload, **options: Any) -> Contender:
    out = b.output("old.deathtensors")
    return b.fresh(b.by_old("save", workload=workload, path=out, **options), out)


def _safetensors(b: Bench, workload: Workload) -> Contender:
    out = b.output("safetensors")
    return b.fresh(b.peer(SAFETENSORS, "save", workload=workload, path=out), out)


def _ztensor(b: Bench, workload: Workload, label: str = ZTENSOR, **options: Any) -> Contender:
    out = b.output("zt")
    contender = b.peer(ZTENSOR, "save", workload=workload, path=out, **options)
    contender.label = label
    return b.fresh(contender, out)


def _torch(b: Bench, workload: Workload) -> Contender:
    out = b.output("pt")
    return b.fresh(b.here("torch_", "save", "torch.save", workload=workload, path=out), out)


def _write(b: Bench, workload: Workload, work: str = "write") -> Contender:
    out = b.output("raw")
    return b.fresh(b.plain(WRITE, work, workload=workload, path=out), out)


def _zstd(b: Bench, workload: Workload) -> Contender:
    out = b.output("zst")
    threads = b.sizes["threads"]
    command = ("zstd", "-q", "-f", "-3", f"-T{threads}", b.raw_file(workload), "-o", out)
    return b.fresh(b.shell(ZSTD.format(**b.sizes), *command), out)


def _plain(b: Bench, workload: Workload) -> list[Contender]:
    return [
        _save(b, workload),
        _safetensors(b, workload),
        _write(b, workload),
        _torch(b, workload),
        _ztensor(b, workload),
        _old(b, workload),
    ]


@SECTION.row("save, plain, {mixed}", Target(1.0, SAFETENSORS), Target(1.15, WRITE))
def plain(b: Bench) -> list[Contender]:
    return _plain(b, b.mixed)


@SECTION.row("save, plain, {minilm}", Target(1.0, SAFETENSORS), Target(1.15, WRITE), quick=False)
def plain_minilm(b: Bench) -> list[Contender]:
    return _plain(b, b.minilm)


@SECTION.row("save, footer, {mixed}", Target(1.1, HASH))
def footer(b: Bench) -> list[Contender]:
    return [
        _save(b, b.mixed, checksum=True),
        b.plain(HASH, "sha256", workload=b.mixed),
        _old(b, b.mixed, checksum=True),
    ]


@SECTION.row("save, digests, {mixed}")
def digests(b: Bench) -> list[Contender]:
    return [
        _save(b, b.mixed, digests=True),
        b.plain(HASH, "sha256", workload=b.mixed),
        _ztensor(b, b.mixed, "zTensor (XXH3 digests)"),
    ]


def _compressed(b: Bench, workload: Workload) -> list[Contender]:
    return [
        _save(b, workload, compress=True),
        _zstd(b, workload),
        _ztensor(b, workload, compress=True),
        _old(b, workload, compress=True),
    ]


@SECTION.row("save, compressed, {mixed}", Target(1.1, ZSTD))
def compressed(b: Bench) -> list[Contender]:
    return _compressed(b, b.mixed)


@SECTION.row("save, compressed, {minilm}", Target(1.1, ZSTD), quick=False)
def compressed_minilm(b: Bench) -> list[Contender]:
    return _compressed(b, b.minilm)


@SECTION.row("save, compressed with footer and digests, {mixed}", quick=False)
def compressed_all(b: Bench) -> list[Contender]:
    return [
        _save(b, b.mixed, compress=True, checksum=True, digests=True),
        _zstd(b, b.mixed),
        _old(b, b.mixed, compress=True, checksum=True),
    ]


def _sizes(b: Bench, workload: Workload) -> list[Contender]:
    """Bytes on disk, of the files that the other rows use."""
    return [
        b.size_of("deathtensors", b.ours_file(workload, "compressed", compress=True)),
        b.size_of("zstd -3", b.zstd_file(workload)),
        b.size_of("uncompressed", b.raw_file(workload)),
        b.size_of("zTensor", b.peer_file(ZTENSOR, workload, ".compressed", compress=True)),
        b.size_of(OLD, b.old_file(workload, "compressed", compress=True)),
    ]


@SECTION.row("size on disk, compressed, {mixed}", unit="B", once=True)
def sizes(b: Bench) -> list[Contender]:
    return _sizes(b, b.mixed)


@SECTION.row("size on disk, compressed, {minilm}", unit="B", once=True, quick=False)
def sizes_minilm(b: Bench) -> list[Contender]:
    return _sizes(b, b.minilm)
