"""What transfers cost, and what they may cost."""

from __future__ import annotations

import threading
from types import TracebackType

from .. import errors
from . import _forks


class Meter:
    """Counters and a budget, shared by a transfer and its siblings; thread-safe."""

    def __init__(self, budget: int | None) -> None:
        self._budget = budget
        self._lock = threading.Lock()
        self._held = 0  # bytes that were allowed and have not come yet
        self._counts = dict.fromkeys(
            ("requests", "bytes", "retries", "resolves", "cached_bytes"), 0
        )
        _forks.watch(self)

    def after_fork(self) -> None:
        self._lock = threading.Lock()
        self._held = 0  # what is under way is the parent's

    def counters(self) -> dict[str, int]:
        """A copy of the counters."""
        with self._lock:
            return dict(self._counts)

    def count(self, name: str, more: int = 1) -> None:
        with self._lock:
            self._counts[name] += more

    def left(self) -> int | None:
        """How many more bytes may be asked for; None for any number."""
        with self._lock:
            return None if self._budget is None else self._budget - self._spoken_for()

    def reserve(self, length: int, path: str) -> Reservation:
        """Set aside that many bytes of the budget, before they are asked for.

        Raises:
            LimitError: the budget has not that many left.
        """
        with self._lock:
            needed = self._spoken_for() + length
            if self._budget is not None and length and needed > self._budget:
                raise errors.over_budget(path, self._budget, needed)
            self._held += length
        return Reservation(self, length)

    def _spoken_for(self) -> int:
        return self._counts["bytes"] + self._held

    def _settle(self, held: Reservation, length: int, came: bool) -> None:
        with self._lock:
            covered = min(length, held.left)
            held.left -= covered
            self._held = max(self._held - covered, 0)
            if came:
                self._counts["bytes"] += length


class Reservation:
    """Bytes that may be asked for; what did not come is given back at the end of ``with``."""

    def __init__(self, meter: Meter, length: int) -> None:
        self._meter, self.left = meter, length

    def came(self, length: int) -> None:
        """That many bytes arrived."""
        self._meter._settle(self, length, True)

    def __enter__(self) -> Reservation:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._meter._settle(self, self.left, False)
