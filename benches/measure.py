"""Timing: contenders for the same work take turns, and the median of each counts."""

from __future__ import annotations

import gc
import mmap
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from neighbours import Neighbours


@dataclass
class Contender:
    """One way to do a row's work.

    ``run`` returns what it measured: seconds, or bytes in a memory row. Only it is
    measured; ``before`` and ``after`` are not. It is given ``burst``, the most calls
    of which it may take the median; 1 where a call uses up what ``before`` made.
    """

    label: str
    run: Callable[[int], float]
    before: Callable[[], object] = lambda: None
    after: Callable[[], object] = lambda: None
    burst: int = 50
    samples: list[float] = field(default_factory=list)
    #: Why there is no result, if there is none.
    absent: str = ""

    @property
    def median(self) -> float | None:
        return statistics.median(self.samples) if self.samples else None


@dataclass(frozen=True)
class Target:
    """What to reach: the first contender against the one called ``against``.

    kind "ratio": at most ``limit`` times that one; "above": at most ``limit`` more
    than that one; "absolute": at most ``limit``, against nobody.
    """

    limit: float
    against: str = ""
    kind: str = "ratio"


@dataclass
class Row:
    """One piece of work, ours first."""

    section: str
    name: str
    contenders: list[Contender]
    targets: tuple[Target, ...] = ()
    unit: str = "s"
    #: Deterministic or costly work is measured once.
    once: bool = False
    #: Bytes of memory that the system must have at hand before each turn. Hosts of
    #: virtual machines take back what is not used, and whose turn it is would pay.
    memory: int = 0
    note: str = ""

    @property
    def ours(self) -> Contender:
        return self.contenders[0]


@dataclass(frozen=True)
class Effort:
    """How often to measure: at least ``least`` times, slow ones ``least_slow`` times;
    then on while a contender has used less than ``seconds``, up to ``most`` times."""

    least: int
    least_slow: int
    most: int
    seconds: float


FULL = Effort(least=5, least_slow=2, most=31, seconds=3.0)
QUICK = Effort(least=3, least_slow=1, most=5, seconds=0.2)


#: Work shorter than this is repeated within a turn.
_BURST_SECONDS = 0.005


class Absent(Exception):
    """A contender cannot take part; the message says why."""


def clock(work: Callable[[], object]) -> Callable[[int], float]:
    """Times a call. What it returns lives until the clock has stopped, so that
    freeing it does not count. Short work is called several times in a row, and the
    median counts: one call after a pause would time cold processor caches."""

    def timed(burst: int) -> float:
        times: list[float] = []
        while len(times) < burst and sum(times) < _BURST_SECONDS:
            started = time.perf_counter()
            kept = work()
            times.append(time.perf_counter() - started)
            del kept
        return statistics.median(times)

    return timed


def measure(row: Row, effort: Effort, neighbours: Neighbours) -> None:
    """Fills in the samples: A B C A B C …, so that what disturbs the machine for a
    while disturbs all. A contender's first, untimed turn warms caches and lazy
    imports, unless it is so slow that this cannot matter."""
    gc.disable()
    try:
        neighbours.settle()
        if not row.once:
            for contender in row.contenders:
                _warm_up(contender, effort, row.memory)
        kept = [0 for _ in row.contenders]
        while waiting := [c for c in row.contenders if _wants_turn(c, row, effort)]:
            for contender in waiting:
                _turn(contender, contender.samples, row.memory)
            gc.collect()
            disturbed = None if row.once else neighbours.disturbed()
            if disturbed:
                for contender, count in zip(row.contenders, kept):
                    del contender.samples[count:]
                neighbours.settle()
            elif disturbed is False:
                kept = [len(c.samples) for c in row.contenders]
    finally:
        gc.enable()


def _wants_turn(contender: Contender, row: Row, effort: Effort) -> bool:
    done = len(contender.samples)
    if contender.absent or done >= effort.most:
        return False
    if row.once or not done:
        return not done
    slow = contender.samples[0] > effort.seconds
    least = effort.least_slow if slow else effort.least
    return done < least or sum(contender.samples) < effort.seconds


def _warm_up(contender: Contender, effort: Effort, memory: int) -> None:
    first: list[float] = []
    _turn(contender, first, memory)
    if first and first[0] > effort.seconds:
        contender.samples = first


def _turn(contender: Contender, samples: list[float], memory: int) -> None:
    try:
        contender.before()
        _have_at_hand(memory)
        try:
            samples.append(contender.run(contender.burst))
        finally:
            contender.after()
    except Absent as e:
        contender.absent = str(e)
    except Exception as e:
        # One library's trouble must not cost the whole table.
        contender.absent = f"failed: {type(e).__name__}: {e}".splitlines()[0]


def _have_at_hand(memory: int) -> None:
    """Touches new memory and gives it back, so that the next who asks for some finds it."""
    if memory:
        with mmap.mmap(-1, memory, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as pages:
            for at in range(0, memory, mmap.PAGESIZE):
                pages[at] = 1
