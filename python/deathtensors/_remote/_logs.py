"""Keeps signed URLs out of the HTTP library's logs.

It logs each URL as it is, and, where someone debugs it, the headers of each answer, among
them where a redirect leads.
"""

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
        if not getattr(_here, "discreet", False):
            return True
        if isinstance(record.args, tuple):
            record.args = tuple(
                _urls.clean(str(value)) if "://" in str(value) else value for value in record.args
            )
        return "location" not in record.getMessage().lower()


_filter = _WithoutSecrets()


def watch(library: str) -> None:
    """Watch over the logs of httpx or httpx2; once is enough, and more does no harm."""
    core = library.replace("httpx", "httpcore")
    for name in (library, f"{core}.http11", f"{core}.http2"):
        logging.getLogger(name).addFilter(_filter)
