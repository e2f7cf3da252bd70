"""Paths as users write them."""

from __future__ import annotations

import os
import re

from . import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Union

    #: What every function here takes for a path.
    StrPath = Union[str, "os.PathLike[str]"]


class Exact:
    """A path that was expanded already, and means what it says.

    What is passed on inside of this library, and kept for later, is wrapped in it: a folder
    may really be called ``$HOME``.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __fspath__(self) -> str:
        return self._text

    def __reduce__(self) -> tuple[type[Exact], tuple[str]]:
        return Exact, (self._text,)


def absolute(expanded: str) -> Exact:
    """The same path after a change of the current folder.

    Raises:
        MissingFileError: it is relative to a folder that was deleted.
    """
    try:
        folder = os.getcwd()
    except OSError as error:
        if not os.path.isabs(expanded):
            raise errors.from_os_error(error, expanded) from None
        folder = ""
    return Exact(os.path.join(folder, expanded))


def expand_path(path: StrPath) -> str:
    """A path with ``~`` and ``$VARIABLES`` expanded; the rest is the system's.

    Every function of this library does so with the paths it is given. A variable
    that is not set stays as it is written, and so does ``..``, which after a link
    means another folder than the name before it suggests.

    Raises:
        UsageError: the path is empty, or no path of this system.

    >>> import os
    >>> os.environ["MODELS"] = "/data/models"
    >>> expand_path("$MODELS/base.deathtensors")
    '/data/models/base.deathtensors'
    """
    text = os.fsdecode(os.fspath(path))
    if not isinstance(path, Exact):
        text = os.path.expandvars(os.path.expanduser(text))
    if not text:
        raise errors.usage("the path is empty")
    if "\0" in text:
        raise errors.usage("the path contains U+0000", found=ascii(text[:80]))
    if re.match("[A-Za-z][A-Za-z0-9+.-]+://", text):
        raise errors.usage(
            "this takes a local file: remote ones can be opened, compared, and converted from",
            code="usage.unavailable",
            found=text.partition("://")[0] + "://…",
        )
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        raise errors.usage("the path is not valid Unicode", found=ascii(text)) from None
    return text


def with_extension(path: str, extension: str) -> str:
    """The same path and stem with another extension (which begins with a dot)."""
    return os.path.splitext(path)[0] + extension
