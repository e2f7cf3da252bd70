"""What options are called in advice: as Python spells them, or as the command line does.

Advice is put together where the error is, out of these pieces, so that what came from a
file or a server is never taken for one.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Each piece: as in Python, and as on the command line.
_PIECES = {
    "remote token": ('remote={"token": …}', "--token"),
    "remote headers": ('remote={"token": …}, or remote={"headers": {…}}', "--token"),
    "token or headers": ("the options token or headers", "--token"),
    "longer timeout": ("; the option timeout can be longer", ""),
    "budget": ("budget_bytes", "--budget"),
    "any token": ("token=True", "--token"),
    "token": ("token=", "--token"),
    "kind of repository": ("repo_type=", "--repo-type"),
    "private": ("private=True", "--private"),
    "read an index": ("open_sharded() reads it", "name the index where a file is read"),
}

_on_the_command_line = False


def spelled(piece: str) -> str:
    """A piece of advice, as those spell it who are reading."""
    return _PIECES[piece][_on_the_command_line]


@contextmanager
def on_the_command_line() -> Iterator[None]:
    """Spells options as the command line does, in all threads."""
    global _on_the_command_line
    before, _on_the_command_line = _on_the_command_line, True
    try:
        yield
    finally:
        _on_the_command_line = before
