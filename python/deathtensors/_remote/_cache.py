"""Bytes that were read before, kept on disk for all processes.

What is kept are the ranges as they came, each in a file of its own; a later range is
put together from all that overlap it, and only its gaps are asked for. Blocks of a
fixed size would be simpler, but one row of a large tensor would then cost a block.

    cache_dir/<SHA-256 of the content's identity>/<start>-<end>

A file is its bytes and their SHA-256. It is written under another name and renamed, so
that other processes see all of it or nothing; one that is short, long or damaged is
ignored. Nothing is ever deleted: clear it by deleting the folder or any file in it, at
any time.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import threading
import warnings
from bisect import bisect_left, insort
from collections.abc import Sequence
from contextlib import suppress

from .. import errors
from . import _forks

_NAME = re.compile(r"(0|[1-9]\d{0,18})-([1-9]\d{0,18})")
_FACTS = "facts"
_DIGEST_BYTES = 32
#: No file holds more: ranges come in pieces of at most this many bytes.
_MOST = 8 << 20


class Cache:
    """What is known of one content.

    Args:
        folder: of the whole cache; made if need be.
        identity: what tells this content from every other, and never changes meaning.

    Raises:
        FileAccessError: the folder cannot be made.
    """

    def __init__(self, folder: str, identity: Sequence[object]) -> None:
        self._folder = os.path.join(folder, _key(identity))
        try:
            os.makedirs(self._folder, exist_ok=True)
        except OSError as error:
            raise errors.from_os_error(error, folder) from None
        self._lock = threading.Lock()
        self._listed = -1  # when the folder had changed last, as of the list
        self._ranges: list[tuple[int, int]] = []
        self._intact: set[tuple[int, int]] = set()
        self._broken = False
        _forks.watch(self)

    def after_fork(self) -> None:
        self._lock = threading.Lock()

    def find(self, start: int, end: int) -> list[tuple[int, bytes]]:
        """What is known within a range: offsets and bytes, sorted, without overlap."""
        found: list[tuple[int, bytes]] = []
        self._list()
        at = start
        while at < end:
            best = self._best(at, end)
            if best is None:
                break
            first = max(at, best[0])
            data = self._load(best, first, min(end, best[1]))
            if data is not None:
                found.append((first, data))
                at = first + len(data)
        return found

    def store(self, start: int, data: bytes) -> None:
        """Keep these bytes; where that fails, reading goes on without a cache."""
        if self._broken or not 0 < len(data) <= _MOST:
            return
        place = (start, start + len(data))
        try:
            _write(self._folder, f"{place[0]}-{place[1]}", data)
        except OSError as error:
            self._broken = True
            warnings.warn(f"no more is kept in {self._folder}: {error.strerror}", stacklevel=2)
            return
        with self._lock:
            self._intact.add(place)
            if place not in self._ranges:
                insort(self._ranges, place)

    def _list(self) -> None:
        """Look at the folder again, if anyone has written to it."""
        with suppress(OSError):
            changed = os.stat(self._folder).st_mtime_ns
            if changed == self._listed:
                return
            matches = [_NAME.fullmatch(name) for name in os.listdir(self._folder)]
            ranges = sorted((int(match[1]), int(match[2])) for match in matches if match)
            with self._lock:
                self._ranges = [one for one in ranges if 0 < one[1] - one[0] <= _MOST]
                self._intact.intersection_update(self._ranges)
                self._listed = changed

    def _best(self, at: int, end: int) -> tuple[int, int] | None:
        """The range to go on with: the longest at this offset, or the next after it."""
        with self._lock:
            first = bisect_left(self._ranges, (at - _MOST, 0))
            last = bisect_left(self._ranges, (end, 0))
            near = [one for one in self._ranges[first:last] if one[1] > at]
        return min(near, key=lambda one: (max(one[0], at), -one[1]), default=None)

    def _load(self, place: tuple[int, int], start: int, end: int) -> bytes | None:
        """Some bytes of one file, which is checked as a whole when it is first used."""
        path = os.path.join(self._folder, f"{place[0]}-{place[1]}")
        length = place[1] - place[0]
        try:
            if place in self._intact:
                with open(path, "rb") as file:
                    exact = os.fstat(file.fileno()).st_size == length + _DIGEST_BYTES
                    file.seek(start - place[0])
                    data = file.read(end - start)
            else:
                whole = _read(path)
                exact = whole is not None and len(whole) == length
                data = (whole or b"")[start - place[0] : end - place[0]]
        except OSError:
            exact, data = False, b""
        with self._lock:
            if exact and len(data) == end - start:
                self._intact.add(place)
                return data
            self._intact.discard(place)
            if place in self._ranges:
                self._ranges.remove(place)
        return None


def recall(folder: str, identity: Sequence[object]) -> bytes | None:
    """What ``remember`` was given for that identity, or None."""
    try:
        return _read(os.path.join(folder, _key(identity), _FACTS))
    except OSError:
        return None


def remember(folder: str, identity: Sequence[object], facts: bytes) -> None:
    """Keep a few bytes about something; that it fails is no harm."""
    with suppress(OSError):
        target = os.path.join(folder, _key(identity))
        os.makedirs(target, exist_ok=True)
        _write(target, _FACTS, facts)


def _key(identity: Sequence[object]) -> str:
    text = "\n".join(str(part) for part in identity)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _write(folder: str, name: str, data: bytes) -> None:
    handle, temporary = tempfile.mkstemp(prefix=".", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.write(hashlib.sha256(data).digest())
        os.replace(temporary, os.path.join(folder, name))
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _read(path: str) -> bytes | None:
    """The bytes of a file, if they are the ones that were written."""
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size > _MOST + _DIGEST_BYTES:
            return None
        whole = file.read(_MOST + _DIGEST_BYTES)
    data, digest = whole[:-_DIGEST_BYTES], whole[-_DIGEST_BYTES:]
    return data if hashlib.sha256(data).digest() == digest else None
