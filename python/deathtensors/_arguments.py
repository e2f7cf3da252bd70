"""What callers pass, checked before the compiled module sees it."""

from __future__ import annotations

import os
from collections.abc import Mapping

from . import _deathtensors, errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

    #: verify, root, backend, limits
    OpenOptions = tuple[bool, Optional[str], str, Optional[dict[str, int]]]

_MOST = 2**63 - 1


def flag(value: object, what: str) -> bool:
    """An option that is true or false: a bool, numpy's bool, or 0 or 1."""
    if value is True or value is False:
        return bool(value)
    kind = type(value)
    numpy_bool = kind.__module__ == "numpy" and kind.__name__ in ("bool", "bool_")
    # A word such as "false" would be true.
    if not numpy_bool and not (isinstance(value, int) and value in (0, 1)):
        raise _option(what, "True or False", value)
    return bool(value)


def integer(value: object, what: str, least: int, most: int) -> int:
    """An option that is an integer within bounds, both of them allowed."""
    index = getattr(type(value), "__index__", None)
    number = None if index is None else index(value)
    if number is None or not least <= number <= most:
        bounds = f"of at least {least}" if most >= _MOST else f"from {least} to {most}"
        raise errors.usage(
            f"{what} is out of range",
            code="usage.option",
            expected=f"an integer {bounds}",
            found=_shown(value),
        )
    return int(number)


def words(value: object, what: str) -> str:
    """An argument that is text, and not empty."""
    if not isinstance(value, str) or not value:
        raise _option(what, "a str that is not empty", value)
    return unicode_only(value, what)


def words_or_none(value: object, what: str) -> str | None:
    """An argument that may be None or empty, which both mean that it is not given."""
    if value is None or (isinstance(value, str) and not value):
        return None
    return words(value, what)


def natural(value: object, what: str) -> int:
    """An option that is an integer of at least 1."""
    return integer(value, what, 1, _MOST)


def level(value: object) -> int:
    """zstd's level; checked also where nothing is compressed."""
    return integer(value, "compress_level", 1, 22)


def open_options(
    verify: object, root: object, backend: object, limits: Mapping[str, int] | None
) -> OpenOptions:
    """The options of ``open``."""
    if root is not None and not isinstance(root, str):
        raise _option("root", "64 hexadecimal digits as a str, or None", root)
    if not isinstance(backend, str):
        raise _option("backend", "'auto', 'mmap' or 'pread'", backend)
    for what, text in (("root", root), ("backend", backend)):
        unicode_only(text or "", what)
    return flag(verify, "verify"), root, backend, known_limits(limits)


def known_limits(limits: object) -> dict[str, int] | None:
    """Limits by their names; None for the usual ones."""
    if limits is None:
        return None
    if not isinstance(limits, Mapping):
        raise _option("limits", "a mapping of names to integers", limits)
    found: dict[str, int] = {}
    for name in limits:
        if not isinstance(name, str):
            raise _option("limits", "names that are strings", name)
        unicode_only(name, "limits")
        if name not in _deathtensors.LIMITS:
            raise errors.usage(
                "there is no such limit",
                code="usage.option",
                expected=f"one of {', '.join(_deathtensors.LIMITS)}",
                found=_shown(name),
            )
        found[name] = integer(limits[name], f"limits['{name}']", 0, 2**64 - 1)
    return found


def unicode_only(text: str, what: str, *, tensor: str | None = None) -> str:
    """The text, once it is known to be one that UTF-8 can express."""
    # Of `str` itself: a subclass may say what it likes.
    if not str.isascii(text):
        try:
            str.encode(text)
        except UnicodeEncodeError:
            raise errors.usage(
                f"{what} is not valid Unicode: it has a lone surrogate",
                tensor=tensor,
                found=ascii(text),
            ) from None
    return text


def looked_up(name: object) -> str:
    """A name to look for, which must be a string.

    Raises:
        UsageError: it is no string.
        TensorNotFoundError: it has a lone surrogate, as no name in a file has.
    """
    if not isinstance(name, str):
        raise errors.usage("name must be a string", expected="str", found=_shown(name))
    try:
        str.encode(name)
    except UnicodeEncodeError:
        raise errors.no_tensor(name) from None
    return name


def not_itself(source: str, target: str) -> None:
    """Refuse to write over the file that is read."""
    try:
        same = os.path.samefile(source, target)
    except OSError:  # one of them does not exist
        try:
            same = os.path.realpath(source) == os.path.realpath(target)
        except OSError as error:  # nor does the current folder
            raise errors.from_os_error(error, target) from None
    if same:
        raise errors.usage("the target is the source", found=target)


def _option(what: str, expected: str, value: object) -> errors.DeathTensorsError:
    return errors.usage(
        f"{what} cannot be used", code="usage.option", expected=expected, found=_shown(value)
    )


def _shown(value: object) -> str:
    text = f"{type(value).__name__} {value!r}" if not isinstance(value, int) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
