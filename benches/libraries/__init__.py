"""The same work by several libraries.

A module for each; a function for each kind of work, with the same names in all. It
is given plain values (paths, names, the name of a workload), prepares, and returns
what is to be measured. So any work can also be named in JSON and done in another
process: by the old release's interpreter, or in a fresh one for its memory.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Job:
    """Work by name."""

    library: str
    work: str
    arguments: dict[str, Any] = field(default_factory=dict)

    def prepare(self) -> Callable[[], object]:
        module = importlib.import_module(f"libraries.{self.library}")
        prepared: Callable[[], object] = getattr(module, self.work)(**self.arguments)
        return prepared
