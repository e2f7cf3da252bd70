"""What the modules of refused files share."""

from __future__ import annotations

from typing import Any

from binary import assemble, dumps
from valid import W, one

Vector = tuple[str, bytes, dict[str, Any]]
GOOD = assemble(dumps(one()), W)
TEXT = dumps(one())


def refuse(
    name: str, code: str, why: str, data: bytes, tensor: str | None = None, when: str = "open"
) -> Vector:
    return name, data, {"code": code, "tensor": tensor, "why": why, "when": when}


def replace(text: bytes, old: str, new: str | bytes) -> bytes:
    new = new.encode() if isinstance(new, str) else new
    assert text.count(old.encode()) == 1, old
    return text.replace(old.encode(), new)


def edited(name: str, code: str, why: str, old: str, new: str | bytes, tensor: str | None = None):
    """The ordinary file with one piece of its header's text replaced."""
    return refuse(name, code, why, assemble(replace(TEXT, old, new), W), tensor)
