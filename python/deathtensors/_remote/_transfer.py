"""Bytes of one remote file, by ranges: what all ways to get them have in common."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial
from typing import Any, Union

from .. import errors
from . import _workers
from ._cache import Cache
from ._meter import Reservation
from ._session import Session

#: Bytes at the beginning that are fetched at once and kept: they hold most headers.
HEAD = 64 << 10
#: A longer range is cut into pieces of this many bytes, which are fetched in parallel.
PIECE = 8 << 20

#: Offsets of a first byte, and of the first byte after the last.
Range = tuple[int, int]
_Part = Union[bytes, Range]


class Transfer:
    """One remote file.

    Attributes:
        name: where it is, for people; no secrets.
        pinned: what opens the same content again, whatever is pushed meanwhile; None
            where nothing does.
        length: of the file, in bytes.
        sha256: of the file, as it was announced; None where it was not.

    May be used from several threads, and after a fork.
    """

    #: How much of the beginning is fetched with its first bytes.
    head_bytes = HEAD

    name: str
    pinned: str | None = None
    length: int
    sha256: str | None = None

    def __init__(self, session: Session, name: str) -> None:
        self.name = name
        self._session = session.join()
        self._closed = False
        self._head = b""
        self._cache: Cache | None = None

    def fetch(self, wanted: Sequence[Range]) -> list[bytes]:
        """The bytes of each range, in the same order, each of exactly its length.

        Raises:
            NetworkError: they could not be had, or not as they must be.
            LimitError: they would exceed the budget; then nothing was asked for.
            UsageError: the transfer is closed, or a range is none of the file's.
        """
        self._check(wanted)
        first = wanted[0] if wanted else None
        if first and first[0] == 0 and len(self._head) < first[1] < self.head_bytes:
            end = min(self.head_bytes, self.length)
            left = self._session.meter.left()
            # What may not cost more than what is asked for stays what is asked for.
            if left is None or left >= end:
                self._gather([(0, end)])
        return self._gather(wanted)

    def sibling(self, name: str) -> Transfer:
        """A file beside this one, of the same revision; options and counters are shared.

        Args:
            name: a plain file name.
        """
        raise NotImplementedError

    @property
    def counters(self) -> dict[str, int]:
        """What this transfer and its siblings cost so far.

        requests; bytes (of bodies that came); retries; resolves (how often a location
        was looked up); cached_bytes (taken from ``cache_dir``).
        """
        return self._session.meter.counters()

    @property
    def closed(self) -> bool:
        """Whether ``close()`` was called."""
        return self._closed

    def close(self) -> None:
        """Let go of connections; twice is fine."""
        if not self._closed:
            self._closed = True
            self._session.leave()

    def __enter__(self) -> Transfer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}{', closed' if self._closed else ''}>"

    # --- for subclasses

    def _read(self, start: int, end: int, held: Reservation, stop: threading.Event) -> bytes:
        """Exactly these bytes, at most ``PIECE`` of them, from where the file is.

        Tells ``held`` what comes as it comes, and ends when ``stop`` is set.
        """
        raise NotImplementedError

    def _load(self, gaps: Sequence[Range], held: Reservation) -> list[bytes]:
        """The bytes of each of these ranges, of at most ``PIECE`` each."""
        jobs = [partial(self._read_and_keep, start, end, held) for start, end in gaps]
        return _workers.run(jobs, self._session.options.connections)

    def _keep(self, identity: Sequence[object] | None) -> None:
        """Use the cache on disk, if the options want one and the content has an identity."""
        folder: Any = self._session.options.cache_dir
        if folder is not None and identity is not None:
            self._cache = Cache(folder, identity)

    # --- from known bytes and gaps to whole ranges

    def _check(self, wanted: Sequence[Range]) -> None:
        if self._closed:
            raise errors.closed(self.name)
        for start, end in wanted:
            if not 0 <= start <= end <= self.length:
                raise errors.usage(
                    "the range is not within the file",
                    code="usage.range",
                    expected=f"within {self.length} bytes",
                    found=f"bytes {start} to {end}",
                )

    def _gather(self, wanted: Sequence[Range]) -> list[bytes]:
        plans = [self._plan(start, end) for start, end in wanted]
        gaps = [part for plan in plans for part in plan if not isinstance(part, bytes)]
        needed = sum(end - start for start, end in gaps)
        with self._session.meter.reserve(needed, self.name) as held:
            came = iter(self._load(gaps, held)) if gaps else iter(())
        found = []
        for plan in plans:
            parts = [part if isinstance(part, bytes) else next(came) for part in plan]
            found.append(parts[0] if len(parts) == 1 else b"".join(parts))
        if self.head_bytes and wanted and wanted[0][0] == 0 and len(found[0]) > len(self._head):
            self._head = found[0][: self.head_bytes]
        return found

    def _plan(self, start: int, end: int) -> list[_Part]:
        """A range as bytes that are known and ranges that are not."""
        head = self._head
        parts: list[_Part] = []
        if start < len(head):
            parts.append(head[start:end])
            start = min(end, len(head))
        known = self._cache.find(start, end) if self._cache and start < end else []
        for at, data in known:
            parts += _pieces(start, at)
            parts.append(data)
            start = at + len(data)
            self._session.meter.count("cached_bytes", len(data))
        return parts + _pieces(start, end)

    def _read_and_keep(
        self, start: int, end: int, held: Reservation, stop: threading.Event
    ) -> bytes:
        data = self._read(start, end, held, stop)
        if self._cache:
            self._cache.store(start, data)
        return data


def _pieces(start: int, end: int) -> list[_Part]:
    return [(at, min(at + PIECE, end)) for at in range(start, end, PIECE)]
