"""How much of the processor other processes use, so that what they disturb can be
told from what a library does."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

#: Above this share of all cores, what was measured meanwhile is measured again, as
#: long as there is patience.
_DISTURBED = 0.10
#: The kernel counts in hundredths of a second, which says nothing about shorter times.
_SHORTEST = 0.5
_STAT = Path("/proc/stat")


class _Mark(NamedTuple):
    wall: float
    used: float
    own: float


class Neighbours:
    """Watches the machine between marks. Where there is no /proc/stat it sees nothing.

    Args:
        patience: seconds to spend, over the whole run, on waiting for a quiet machine
            and on measuring again.
        others_of_us: processes that belong to the benchmark and are not waited for.
    """

    def __init__(self, patience: float, others_of_us: Callable[[], list[int]]) -> None:
        self._patience = patience
        self._others_of_us = others_of_us
        self._blind = not _STAT.exists()
        self._seconds = self._weighted = 0.0
        self._mark = self._now()

    def settle(self) -> None:
        """Waits for a quiet machine, while there is patience, and sets a mark."""
        self._mark = self._now()
        while self._patience > 0:
            time.sleep(_SHORTEST)
            share = self._share()
            self._patience -= _SHORTEST
            self._mark = self._now()
            if share <= _DISTURBED:
                break
            time.sleep(1.0)
            self._patience -= 1.0

    def disturbed(self) -> bool | None:
        """Whether others were busy since the mark, and so it must be done again; None
        when it is too early to say. Otherwise sets a new mark."""
        wall = time.monotonic() - self._mark.wall
        if self._blind or wall < _SHORTEST:
            return None
        share = self._share()
        if share > _DISTURBED and self._patience > 0:
            self._patience -= wall
            return True
        self._seconds += wall
        self._weighted += wall * share
        self._mark = self._now()
        return False

    def summary(self) -> str:
        """Their share during what was kept."""
        return f"{self._weighted / self._seconds:.0%}" if self._seconds else "unknown"

    def _share(self) -> float:
        now, then = self._now(), self._mark
        wall = now.wall - then.wall
        used = now.used - then.used - (now.own - then.own)
        return max(0.0, used) / wall / (os.cpu_count() or 1) if wall else 0.0

    def _now(self) -> _Mark:
        if self._blind:
            return _Mark(time.monotonic(), 0.0, 0.0)
        tick = os.sysconf("SC_CLK_TCK")
        user, nice, system, _, _, irq, softirq, steal = map(int, _STAT.read_text().split()[1:9])
        times = os.times()
        own = times.user + times.system + times.children_user + times.children_system
        for pid in self._others_of_us():
            try:
                text = Path(f"/proc/{pid}/stat").read_text()
            except OSError:
                continue  # It ended.
            fields = text.rpartition(")")[2].split()
            own += (int(fields[11]) + int(fields[12])) / tick
        used = (user + nice + system + irq + softirq + steal) / tick
        return _Mark(time.monotonic(), used, own)
