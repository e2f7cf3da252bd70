"""Binary file objects: anything with read and seek."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NoReturn

from .. import errors
from . import _forks
from ._meter import Reservation
from ._patience import Cancelled
from ._session import Session
from ._transfer import Range, Transfer


class FileObjectTransfer(Transfer):
    """An open file, read under a lock. Its position is moved, and restored on close.

    Not pinned: whoever writes to it meanwhile is noticed only by its length. A child of
    ``os.fork`` shares the position of a file of the system with its parent.
    """

    head_bytes = 0  # nothing is saved by reading ahead

    def __init__(self, file: Any, session: Session) -> None:
        name = getattr(file, "name", None)
        super().__init__(session, name if isinstance(name, str) else f"<{type(file).__name__}>")
        self._file = file
        self._lock = threading.Lock()
        _forks.watch(self)
        try:
            self._before, self.length = _measured(file, self.name)
        except BaseException:
            self._closed = True
            session.leave()
            raise

    def after_fork(self) -> None:
        self._lock = threading.Lock()

    def sibling(self, name: str) -> Transfer:
        raise errors.usage(
            "a file object has no files beside it; open the index by its path or URL",
            found=self.name,
        )

    def close(self) -> None:
        if not self._closed:
            # The object may be closed already, and owes us nothing then.
            with self._lock, suppress(OSError, ValueError):
                self._file.seek(self._before)
        super().close()

    def _load(self, gaps: Sequence[Range], held: Reservation) -> list[bytes]:
        # In turn: there is one position.
        never = threading.Event()
        return [self._read(start, end, held, never) for start, end in gaps]

    def _read(self, start: int, end: int, held: Reservation, stop: threading.Event) -> bytes:
        with self._lock:
            if stop.is_set():
                raise Cancelled
            self._session.meter.count("requests")
            try:
                self._file.seek(start)
                data = _read_fully(self._file, end - start, held)
            except OSError as error:
                raise errors.from_os_error(error, self.name) from error
            except ValueError as error:
                if getattr(self._file, "closed", False) is True:
                    raise errors.closed(self.name) from None
                raise errors.usage(f"{self.name}: {error}") from error
        if len(data) < end - start:
            message = "the file is shorter than it was"
            expected, found = f"{self.length} bytes", f"{start + len(data)} bytes"
            raise errors.network("changed", message, path=self.name, expected=expected, found=found)
        return data


def _measured(file: Any, name: str) -> tuple[int, int]:
    """Where the file stands and how long it is, once it is known that it can be read."""
    if getattr(file, "closed", False) is True:
        _refuse(name, "it is closed")
    try:
        if hasattr(file, "seekable") and not file.seekable():
            _refuse(name, "it cannot seek; read it into io.BytesIO first")
        if not isinstance(file.read(0), (bytes, bytearray, memoryview)):
            _refuse(name, "it was opened in text mode; open it with mode 'rb'")
        before = file.tell() if hasattr(file, "tell") else file.seek(0, 1)
        file.seek(0, 2)
        length = file.tell() if hasattr(file, "tell") else file.seek(0, 1)
        before, length = int(before), int(length)
        if not (0 <= before < 2**63 and 0 <= length < 2**63):
            _refuse(name, f"it says that it is {length} bytes long, and stands at {before}")
        file.seek(before)
    except OSError as error:
        # Also what io raises for an object that was opened for writing only.
        _refuse(name, str(error) or type(error).__name__)
    return before, length


def _read_fully(file: Any, length: int, held: Reservation) -> bytes:
    """As many bytes as there are, at most that many."""
    if hasattr(file, "readinto"):
        data = bytearray(length)
        view, at = memoryview(data), 0
        while at < length:
            more = file.readinto(view[at:])
            if not more:
                break
            held.came(more)
            at += more
        return bytes(view[:at])
    parts = []
    while length:
        part = file.read(length)
        if not isinstance(part, (bytes, bytearray, memoryview)):
            raise ValueError(f"read() returned {type(part).__name__}, not bytes")
        part = bytes(part)[:length]
        if not part:
            break
        held.came(len(part))
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def _refuse(name: str, why: str) -> NoReturn:
    raise errors.usage(
        "the file object cannot be read",
        expected="an open binary file that can seek",
        found=f"{name}: {why}",
    )
