"""What commands print: lines, tables that fit, JSON, and progress."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

from .._text import human_bytes, human_count, plural, printable
from ..errors import DeathTensorsError

if TYPE_CHECKING:
    from .._deathtensors import Progress

_GAP = "  "
# How far long texts are cut: while columns can still be left out instead, and after.
_FAIR_WIDTH, _LEAST_WIDTH = 20, 10


def say(text: str = "") -> None:
    """Print a line, whatever the terminal's encoding."""
    print(encodable(text, sys.stdout))


def warn(text: str) -> None:
    """Print a line for people, beside the output proper."""
    print(encodable(text, sys.stderr), file=sys.stderr)


def encodable(text: str, stream: IO[str] | None) -> str:
    """The text with what the stream cannot encode escaped."""
    if text.isascii():
        return text
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def say_json(value: object) -> None:
    """Print one JSON value, ASCII only.

    A number that is not finite becomes null, an error its code, tensor and line.
    """
    print(json.dumps(_jsonable(value), indent=2, allow_nan=False))


def _jsonable(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    if isinstance(value, DeathTensorsError):
        return {"code": value.code, "tensor": value.tensor, "message": str(value)}
    return value


def exact_bytes(count: int) -> str:
    """``86.7 MiB (90,868,376 bytes)``."""
    return human_bytes(count) if count < 1024 else f"{human_bytes(count)} ({count:,} bytes)"


def summary(tensors: int, parameters: int, nbytes: int) -> str:
    """The last line of what lists tensors."""
    exact = f" ({parameters:,})" if parameters >= 1000 else ""
    return (
        f"{plural(tensors, 'tensor')}, {human_count(parameters)}{exact} parameters, "
        f"{exact_bytes(nbytes)}"
    )


# --- tables


class Column:
    """One column of a table.

    Args:
        head: what stands above it.
        right: whether numbers end below one another.
        shrinks: whether long texts may be cut in the middle.
        optional: whether the column may be left out where there is no room.
    """

    def __init__(
        self, head: str, *, right: bool = False, shrinks: bool = False, optional: bool = False
    ) -> None:
        self.head = head
        self.right = right
        self.shrinks = shrinks
        self.optional = optional


def say_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Print rows below heads, within the terminal's width where there is one."""
    room = _terminal_width()
    # What the terminal cannot show is escaped first, since that makes it wider.
    rows = [[encodable(cell, sys.stdout) for cell in row] for row in rows]
    taken = [
        max([_width(column.head), *(_width(row[at]) for row in rows)])
        for at, column in enumerate(columns)
    ]
    kept = list(range(len(columns)))
    while True:
        widths = [taken[at] for at in kept]
        excess = sum(widths) + len(_GAP) * (len(kept) - 1) - room
        spare = [at for at in kept if columns[at].optional]
        least = _FAIR_WIDTH if spare else _LEAST_WIDTH
        # From the right, since the name stands on the left.
        for place, at in reversed(list(enumerate(kept))):
            if excess > 0 and columns[at].shrinks and widths[place] > least:
                cut = min(excess, widths[place] - least)
                widths[place] -= cut
                excess -= cut
        if excess <= 0 or not spare:
            break
        kept.remove(spare[-1])
    places = [(at, width, columns[at].right) for at, width in zip(kept, widths)]
    lines = []
    for row in [[column.head for column in columns], *rows]:
        cells = [_fit(row[at], width, right) for at, width, right in places]
        lines.append(shorten(_GAP.join(cells).rstrip(), room))
    print("\n".join(lines))


def shorten(text: str, width: int) -> str:
    """The text cut in the middle, so that it is no wider than ``width`` columns."""
    if len(text) * 2 <= width or _fitting(text, width) == len(text):
        return text
    mark = "…" if encodable("…", sys.stdout) == "…" else "~"
    if width < 2:
        return mark[:width]
    end = text[len(text) - _fitting(reversed(text), (width - 1) // 2) :]
    start = text[: _fitting(text, width - 1 - _width(end))]
    return f"{start}{mark}{end}"


def _fitting(letters: Iterable[str], width: int) -> int:
    """How many letters, from the first on, are together no wider than so many columns."""
    count = 0
    for letter in letters:
        width -= _width(letter)
        if width < 0:
            break
        count += 1
    return count


def _fit(text: str, width: int, right: bool) -> str:
    if not text.isascii() or len(text) > width:
        text = shorten(text, width)
        width += len(text) - _width(text)
    return text.rjust(width) if right else text.ljust(width)


def _width(text: str) -> int:
    """Columns of a terminal, in which East Asian letters take two."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(
        0 if combining(letter) else 2 if east_asian_width(letter) in "WF" else 1 for letter in text
    )


def _terminal_width() -> int:
    """Columns that there are; without a terminal, as many as are wanted."""
    try:
        return int(os.environ["COLUMNS"])
    except (KeyError, ValueError):
        pass
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns
    except (OSError, ValueError, AttributeError):
        return sys.maxsize


# --- what a catalogue says, as text


def shape_text(shape: Sequence[int]) -> str:
    """``[32000, 4096]``."""
    return f"[{', '.join(map(str, shape))}]"


def metadata_text(metadata: dict[str, str]) -> str:
    """``key=value, key=value`` on one line, safe to print."""
    return ", ".join(f"{printable(key)}={printable(value)}" for key, value in metadata.items())


# --- progress


class ProgressBar:
    """A thin bar on stderr for long work, and nothing when that is no terminal.

    The value of the ``with`` is a callback for the library, or None.
    """

    _PATIENCE = 0.5  # seconds before the bar appears
    _PAUSE = 0.1  # seconds between two drawings

    def __init__(self, what: str) -> None:
        self._what = what
        self._began = time.monotonic()
        self._drawn: float | None = None

    def __enter__(self) -> Progress | None:
        # Either stream may be closed, and is None then.
        return self._show if sys.stderr is not None and sys.stderr.isatty() else None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._drawn is not None:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def _show(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - (self._drawn or self._began) < (self._PAUSE if self._drawn else self._PATIENCE):
            return
        self._drawn = now
        part = min(done / total, 1.0) if total else 1.0
        speed = human_bytes(int(done / max(now - self._began, 1e-9)))
        bar = ("━" * round(24 * part)).ljust(24, "╌")
        line = f"{self._what} {bar} {part:4.0%} of {human_bytes(total)}, {speed}/s"
        sys.stderr.write(f"\r{encodable(line, sys.stderr)}\x1b[K")
        sys.stderr.flush()
