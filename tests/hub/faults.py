"""What goes wrong on demand, how the servers behave, and what they were asked."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import asdict, dataclass, field, fields
from typing import Any


@dataclass
class Switches:
    """How both origins behave. Times are in seconds, sizes in bytes."""

    latency: float = 0.0  # before every answer
    lifetime: float = 3600.0  # of signed URLs
    hub_cors: bool = True
    cdn_cors: bool = True
    expose_content_range: bool = True  # whether pages may read the cdn's Content-Range
    page_size: int = 1000  # entries of a tree on one page
    multipart_over: int = 64 << 20  # larger files are uploaded in parts
    part_size: int = 16 << 20

    def set(self, values: dict[str, Any]) -> None:
        """Change some; an unknown name is refused."""
        for name, value in values.items():
            kind = type(getattr(self, name))
            setattr(self, name, kind(value))


@dataclass
class Fault:
    """One thing that goes wrong, for requests that match.

    Args:
        path: a regular expression, searched for in the decoded path.
        origin: "hub" or "cdn"; either unless given.
        method: any unless given.
        ranged: only requests with (True) or without (False) a Range header.
        skip: how many matching requests to leave alone first.
        times: how many to spoil then; None for all.
        status: answer with this status instead, with ``headers``.
        headers: replace or add these in the answer.
        delay: wait that many seconds first.
        pace: at most that many bytes of a body in a second.
        drop_after: close the connection after that many bytes of the body.
        ignore_range: answer with the whole file and 200.
        truncate: leave out that many bytes at the end; the headers agree with the rest.
        shift: say in Content-Range that the bytes start that much further.
        flip: invert the byte of the file at this offset, wherever it is sent.
    """

    path: str = ""
    origin: str | None = None
    method: str | None = None
    ranged: bool | None = None
    skip: int = 0
    times: int | None = 1
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    pace: int | None = None
    drop_after: int | None = None
    ignore_range: bool = False
    truncate: int = 0
    shift: int = 0
    flip: int | None = None

    def matches(self, origin: str, method: str, path: str, ranged: bool) -> bool:
        return (
            self.origin in (None, origin)
            and self.method in (None, method)
            and self.ranged in (None, ranged)
            and re.search(self.path, path) is not None
        )


class Faults:
    """The faults in wait, oldest first; the first that matches is used."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Fault] = []

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._waiting.append(fault)

    def clear(self) -> None:
        with self._lock:
            self._waiting.clear()

    def take(self, origin: str, method: str, path: str, ranged: bool) -> Fault | None:
        with self._lock:
            for fault in self._waiting:
                if not fault.matches(origin, method, path, ranged):
                    continue
                if fault.skip:
                    fault.skip -= 1
                    continue
                if fault.times is not None:
                    fault.times -= 1
                    if not fault.times:
                        self._waiting.remove(fault)
                return fault
        return None


def fault_from(values: dict[str, Any]) -> Fault:
    """A fault as it was posted; an unknown field is refused."""
    known = {one.name for one in fields(Fault)}
    if not values.keys() <= known:
        raise ValueError(f"no such fields: {sorted(values.keys() - known)}")
    return Fault(**values)


@dataclass
class Entry:
    """One request, and what became of it."""

    origin: str
    method: str
    path: str
    range: str | None
    authorization: bool
    page: str | None  # the Origin header
    began: float
    status: int = 0
    sent: int = 0  # bytes of the body
    done: bool = False


#: How long the log waits for requests that are under way, in seconds.
_SETTLING = 3.0


class Log:
    """Every request to either origin, in the order in which they came.

    A client has its bytes a moment before the server notes that it sent them, so what
    the log tells waits until no request is under way (a few seconds at most).
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: list[Entry] = []

    def begin(self, **facts: Any) -> Entry:
        entry = Entry(began=time.time(), **facts)
        with self._lock:
            self._entries.append(entry)
        return entry

    def entries(self) -> list[Entry]:
        deadline = time.monotonic() + _SETTLING
        while True:
            with self._lock:
                entries = list(self._entries)
            if all(entry.done for entry in entries) or time.monotonic() > deadline:
                return entries
            time.sleep(0.001)

    def under_way(self) -> list[Entry]:
        """What is being answered at this moment."""
        with self._lock:
            return [entry for entry in self._entries if not entry.done]

    def as_json(self) -> list[dict[str, Any]]:
        return [asdict(entry) for entry in self.entries()]

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()
