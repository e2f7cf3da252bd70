"""Statistics, verification, comparison."""

from __future__ import annotations

from bench import HASH, PASS, ZTENSOR, Bench, Section, Workload
from measure import Contender, Target

SECTION = Section("Measure and verify (page cache warm)")
FOOTER = "deathtensors, footer"
HASH_ALL = "SHA-256 (hashlib), all cores"


def _stats(b: Bench, workload: Workload) -> list[Contender]:
    path = b.ours_file(workload)
    return [
        b.ours("stats", path=path),
        b.plain(PASS, "pass_over_file", path=path),
        b.here("torch_", "stats", "torch by hand", path=b.peer_file("torch", workload)),
        b.by_old("stats", path=b.old_file(workload)),
    ]


@SECTION.row("open, and stats of everything, {mixed}", Target(1.5, PASS))
def stats(b: Bench) -> list[Contender]:
    return _stats(b, b.mixed)


@SECTION.row("open, and stats of everything, {minilm}", Target(1.5, PASS), quick=False)
def stats_minilm(b: Bench) -> list[Contender]:
    return _stats(b, b.minilm)


@SECTION.row("stats of everything, file open and mapped, {mixed}", Target(1.5, PASS))
def stats_of_open(b: Bench) -> list[Contender]:
    path = b.ours_file(b.mixed)
    return [
        b.ours("stats_of_open", path=path),
        b.plain(PASS, "pass_over_mapped", path=path),
    ]


@SECTION.row("open, and stats of everything, compressed, {mixed}", quick=False)
def stats_compressed(b: Bench) -> list[Contender]:
    path = b.ours_file(b.mixed, "compressed", compress=True)
    return [
        b.ours("stats", path=path),
        b.ours("load_all", "deathtensors, load all", path=path),
        b.by_old("stats", path=b.old_file(b.mixed, "compressed", compress=True)),
    ]


def _footer(b: Bench, workload: Workload) -> list[Contender]:
    path = b.ours_file(workload, "footer", checksum=True)
    return [
        b.ours("verify", path=path),
        b.plain(HASH, "sha256_file", path=path),
        b.by_old("verify", path=b.old_file(workload, "footer", checksum=True)),
    ]


@SECTION.row("open and verify, footer, {mixed}", Target(1.03, HASH))
def footer(b: Bench) -> list[Contender]:
    return _footer(b, b.mixed)


@SECTION.row("open and verify, footer, {minilm}", Target(1.03, HASH), quick=False)
def footer_minilm(b: Bench) -> list[Contender]:
    return _footer(b, b.minilm)


@SECTION.row("open and verify, digests, {mixed}", Target(1 / 1.8, FOOTER))
def digests(b: Bench) -> list[Contender]:
    footed = b.ours_file(b.mixed, "footer", checksum=True)
    path = b.ours_file(b.mixed, "digests", digests=True)
    return [
        b.ours("verify", path=path),
        b.ours("verify", FOOTER, path=footed),
        b.plain(HASH, "sha256_file", path=path),
        b.plain(HASH_ALL, "sha256_in_parallel", path=path),
        b.here("ztensor_", "verify", "zTensor (XXH3)", path=b.peer_file(ZTENSOR, b.mixed)),
    ]


@SECTION.row("open and verify, compressed, footer and digests, {mixed}")
def verify_compressed(b: Bench) -> list[Contender]:
    options = {"compress": True, "checksum": True}
    path = b.ours_file(b.mixed, "compressed.all", digests=True, **options)
    return [
        b.ours("verify", path=path),
        b.plain(HASH, "sha256_file", path=path),
        b.by_old("verify", path=b.old_file(b.mixed, "compressed.footer", **options)),
    ]


@SECTION.row("diff of equal files, {mixed}")
def diff(b: Bench) -> list[Contender]:
    one = b.ours_file(b.mixed)
    two = b.ours_file(b.mixed, "same")
    return [
        b.ours("diff", a=one, b=two),
        b.shell("cmp", "cmp", one, two),
        b.by_old("diff", a=b.old_file(b.mixed), b=b.old_file(b.mixed, "same")),
    ]


@SECTION.row("diff of equal files with digests, {mixed}")
def diff_digests(b: Bench) -> list[Contender]:
    one = b.ours_file(b.mixed, "digests", digests=True)
    two = b.ours_file(b.mixed, "digests.same", digests=True)
    return [b.ours("diff", a=one, b=two), b.shell("cmp", "cmp", one, two)]
