"""Trying again: what may pass, how often, and how long to wait."""

from __future__ import annotations

import random
import threading
import time
from email.utils import parsedate_to_datetime

from .. import errors
from ._meter import Meter

#: Statuses after which the same request may succeed, besides all of 5xx.
_PASSING = (408, 425, 429)
#: The waits' upper bounds begin here and double, in seconds.
FIRST_WAIT = 0.25
LONGEST_WAIT = 20.0
#: A server that asks for a longer pause is not waited for.
LONGEST_ASKED = 60.0


def may_pass(status: int) -> bool:
    """Whether a request with that answer is worth trying again."""
    return status in _PASSING or 500 <= status <= 599


class Again(Exception):
    """A failure that may pass.

    Args:
        error: what to raise once it was tried often enough.
        after: how long the server asks to wait, in seconds.
    """

    def __init__(self, error: errors.DeathTensorsError, after: float | None = None) -> None:
        super().__init__(str(error))
        self.error, self.after = error, after


class Cancelled(Exception):
    """Another part of the same call failed; nobody waits for this one."""


class Patience:
    """How often one request is tried again: exponential backoff with full jitter."""

    def __init__(self, retries: int, meter: Meter) -> None:
        self._retries, self._meter = retries, meter
        self._tried = 0

    def renew(self) -> None:
        """There was progress: begin to count anew."""
        self._tried = 0

    def wait(self, again: Again, stop: threading.Event) -> None:
        """Return when it is time to try again.

        Raises:
            DeathTensorsError: it was tried often enough, or the wait would be too long.
            Cancelled: ``stop`` was set meanwhile.
        """
        bound = min(FIRST_WAIT * 2**self._tried, LONGEST_WAIT)
        pause = random.uniform(0, bound) if again.after is None else again.after
        if self._tried >= self._retries or pause > LONGEST_ASKED:
            raise again.error from None
        self._tried += 1
        self._meter.count("retries")
        if stop.wait(pause):
            raise Cancelled


def retry_after(value: str | None) -> float | None:
    """A Retry-After header in seconds from now; None for none or nonsense."""
    if not value:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    except (TypeError, ValueError, OverflowError):
        return None
