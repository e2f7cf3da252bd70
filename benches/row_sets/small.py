"""Many small tensors: what the header and each tensor cost."""

from __future__ import annotations

from bench import OLD, SAFETENSORS, WRITE, ZTENSOR, Bench, Section
from measure import Contender, Target

SECTION = Section("20,000 small tensors")


@SECTION.row("open and list {small}", Target(0.7, OLD))
def names(b: Bench) -> list[Contender]:
    return [
        b.ours("names", path=b.ours_file(b.small)),
        b.by_old("names", path=b.old_file(b.small)),
        b.peer(SAFETENSORS, "names", path=b.peer_file(SAFETENSORS, b.small)),
        b.peer(ZTENSOR, "names", path=b.peer_file(ZTENSOR, b.small)),
    ]


@SECTION.row("info of all {small}, one by one", Target(0.5, OLD))
def infos(b: Bench) -> list[Contender]:
    return [
        b.ours("infos", path=b.ours_file(b.small)),
        b.by_old("infos", path=b.old_file(b.small)),
        b.ours("infos_together", "deathtensors, infos()", path=b.ours_file(b.small)),
        b.peer(SAFETENSORS, "infos", path=b.peer_file(SAFETENSORS, b.small)),
        b.peer(ZTENSOR, "infos", path=b.peer_file(ZTENSOR, b.small)),
    ]


@SECTION.row("save {small}")
def save(b: Bench) -> list[Contender]:
    def fresh(contender: Contender, path: str) -> Contender:
        return b.fresh(contender, path)

    ours, old, zt = b.output("deathtensors"), b.output("old.deathtensors"), b.output("zt")
    st, raw = b.output("safetensors"), b.output("raw")
    return [
        fresh(b.ours("save", workload=b.small, path=ours), ours),
        fresh(b.peer(SAFETENSORS, "save", workload=b.small, path=st), st),
        fresh(b.plain(WRITE, "write_gathered", workload=b.small, path=raw), raw),
        fresh(b.peer(ZTENSOR, "save", workload=b.small, path=zt), zt),
        fresh(b.by_old("save", workload=b.small, path=old), old),
    ]


@SECTION.row("load {small}")
def load(b: Bench) -> list[Contender]:
    return [
        b.ours("load_all", path=b.ours_file(b.small)),
        b.peer(SAFETENSORS, "load_all", path=b.peer_file(SAFETENSORS, b.small)),
        b.peer(ZTENSOR, "load_all", path=b.peer_file(ZTENSOR, b.small)),
        b.by_old("load_all", path=b.old_file(b.small)),
    ]


@SECTION.row("stats of {small}")
def stats(b: Bench) -> list[Contender]:
    return [
        b.ours("stats", path=b.ours_file(b.small)),
        b.by_old("stats", path=b.old_file(b.small)),
    ]
