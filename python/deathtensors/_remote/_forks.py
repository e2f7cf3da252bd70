"""Children of ``os.fork`` get locks and connections of their own."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class ForkAware(Protocol):
    """What holds a lock or a connection."""

    def after_fork(self) -> None:
        """Make the locks new, and forget the connections, which are the parent's."""


_watched: weakref.WeakSet[ForkAware] = weakref.WeakSet()


def watch(thing: ForkAware) -> None:
    """Have ``after_fork`` called in every child, as long as the thing lives."""
    _watched.add(thing)


def _forked() -> None:
    for thing in list(_watched):
        thing.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
