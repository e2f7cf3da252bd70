"""Keeps signed URLs out of the HTTP library's log, which shows each URL as it is."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from . import _urls

_here = threading.local()


@contextmanager
def discreet() -> Iterator[None]:
    """Requests of this thread are logged without query and user."""
    before = getattr(_here, "discreet", False)
    _here.discreet = True
    try:
        yield
    finally:
        _here.discreet = before


class _WithoutSecrets(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if getattr(_here, "discreet", False) and isinstance(record.args, tuple):
            record.args = tuple(
                _urls.clean(str(value)) if "://" in str(value) else value for value in record.args
            )
        return True


_filter = _WithoutSecrets()


def watch(logger: str) -> None:
    """Watch over a logger; once is enough, and more does no harm."""
    logging.getLogger(logger).addFilter(_filter)
