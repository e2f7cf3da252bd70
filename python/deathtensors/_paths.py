"""Paths as users write them."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Union

    #: What every function here takes for a path.
    StrPath = Union[str, "os.PathLike[str]"]


def expand_path(path: StrPath) -> str:
    """A path with ``~`` and ``$VARIABLES`` expanded and ``..`` resolved by name.

    Every function of this library does so with the paths it is given. A variable
    that is not set stays as it is written.

    >>> import os
    >>> os.environ["MODELS"] = "/data/models"
    >>> expand_path("$MODELS/tiny/../base.deathtensors")
    '/data/models/base.deathtensors'
    """
    text = os.fsdecode(os.fspath(path))
    return os.path.normpath(os.path.expandvars(os.path.expanduser(text)))


def with_extension(path: str, extension: str) -> str:
    """The same path and stem with another extension (which begins with a dot)."""
    return os.path.splitext(path)[0] + extension
