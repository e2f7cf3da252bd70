"""Files that are not on this machine's disk: telling them apart, and opening them.

Nothing that speaks to a network is imported before such a file is opened.
"""

from __future__ import annotations

import os

from . import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, BinaryIO, Union

    from ._deathtensors import Ranges
    from ._paths import StrPath
    from ._remote import Transfer
    from .remote import RemoteOptions

    #: A path, a URL, or a binary file object.
    Source = Union[StrPath, BinaryIO]
    #: What ``remote=`` takes.
    RemoteArgument = Union[RemoteOptions, Mapping[str, Any], None]


def is_elsewhere(source: object) -> bool:
    """Whether a source is a URL or a file object rather than a path."""
    if isinstance(source, str):
        return "://" in source and _remote().is_remote(source)
    return not isinstance(source, (bytes, os.PathLike)) and hasattr(source, "read")


def connect(source: Source, remote: RemoteArgument) -> Transfer:
    """Find the file, and learn how long it is."""
    from .remote import RemoteOptions

    transfer: Transfer = _remote().connect(source, RemoteOptions.of(remote))
    return transfer


def close_with(owner: object, transfer: Transfer) -> None:
    """Close the transfer when its owner is gone, if nobody did before."""
    from weakref import finalize

    finalize(owner, transfer.close)


def ranges(transfer: Transfer) -> Ranges:
    """A transfer, as the compiled module takes it."""
    from ._deathtensors import Ranges

    return Ranges(transfer.name, transfer.length, transfer.fetch)


def _remote() -> Any:
    from . import _remote

    return _remote


def refuse_backend(backend: str) -> None:
    """A remote file is neither mapped nor read by position."""
    if backend != "auto":
        raise errors.usage(
            "backend says how local files are read",
            code="usage.option",
            expected="'auto' for a remote file",
            found=repr(backend),
        )


def cannot_travel(name: str) -> errors.DeathTensorsError:
    """Why a file cannot be pickled."""
    return errors.usage(
        f"'{name}' cannot be pickled: nothing says where another process would find it",
        code="usage.unavailable",
    )
