"""The rows of the table, section by section."""

from __future__ import annotations

from bench import Section

from . import change, dtypes, load, look, memory_use, save, small, start, uncached

SECTIONS: tuple[Section, ...] = (
    save.SECTION,
    load.SECTION,
    small.SECTION,
    look.SECTION,
    change.SECTION,
    start.SECTION,
    memory_use.SECTION,
    uncached.SECTION,
    dtypes.SECTION,
)
