"""Numbers and names as people read them."""

from __future__ import annotations

from . import _deathtensors


def printable(text: str) -> str:
    """The text on one line, with all that a terminal might act upon escaped."""
    try:
        return _deathtensors.printable(text)
    except UnicodeEncodeError:  # a lone surrogate, as in arguments that are not UTF-8
        return _deathtensors.printable(text.encode("utf-8", "backslashreplace").decode())


def human_bytes(count: int) -> str:
    """A length in bytes with a binary unit: ``86.7 MiB``."""
    if count < 1024:
        return f"{count} B"
    value = float(count)
    for unit in ("KiB", "MiB", "GiB", "TiB", "PiB"):
        value /= 1024
        if value < 999.5 or unit == "PiB":
            break
    return f"{value:.1f} {unit}" if value < 99.95 else f"{value:.0f} {unit}"


def human_count(count: int) -> str:
    """A number of things with a decimal unit: ``22.7 M``."""
    if count < 1000:
        return str(count)
    value = float(count)
    for unit in ("k", "M", "G", "T", "P", "E"):
        value /= 1000
        if value < 999.5 or unit == "E":
            break
    return f"{value:.1f} {unit}" if value < 99.95 else f"{value:.0f} {unit}"


def plural(count: int, noun: str) -> str:
    """``1 tensor``, ``2 tensors``, ``20,000 tensors``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
