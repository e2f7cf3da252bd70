"""How the bytes of remote files arrive: the contract is in ``docs/remote.md``.

Knows nothing of tensors. Nothing here is imported before a remote file is opened, and
each of httpx2, huggingface_hub and fsspec only for the sources that need it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .. import errors
from ..remote import RemoteOptions
from ._session import Session
from ._transfer import Transfer

__all__ = ["Transfer", "connect", "is_remote"]

#: A scheme of at least two characters: one is a drive of Windows. fsspec chains them.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(://|::)")


def is_remote(source: object) -> bool:
    """Whether a source is read by a ``Transfer``: a URL, or a file object.

    >>> is_remote("hf://org/name/model.deathtensors"), is_remote("C:/model.deathtensors")
    (True, False)
    """
    if isinstance(source, str):
        return "://" in source and _URL.match(source) is not None
    return hasattr(source, "read") and hasattr(source, "seek")


def connect(source: Any, options: RemoteOptions | Mapping[str, Any] | None = None) -> Transfer:
    """Open a remote file: ``hf://``, ``https://``, what fsspec knows, or a file object.

    An address of a page of the Hub (``…/blob/main/…``, ``…/resolve/…``) means its file.

    Raises:
        NetworkError: it cannot be reached, or its server does not do what is needed.
        MissingFileError: fsspec knows no such file.
        LimitError: the budget is too small for the first request.
        UsageError: the source or the options cannot be used.
        MissingPackageError: it takes a package that is not installed.
    """
    if not is_remote(source):
        kind = type(source).__name__
        raise errors.usage("this is no remote file", expected="a URL or a file object", found=kind)
    session = Session(RemoteOptions.of(options))
    if not isinstance(source, str):
        from ._file_object import FileObjectTransfer

        return FileObjectTransfer(source, session)
    scheme = source.partition("://")[0].lower()
    if scheme == "hf":
        from ._hub import HubTransfer
        from ._hub_reference import parse_reference

        return HubTransfer(parse_reference(source), session)
    if scheme in ("http", "https"):
        from ._hub_reference import parse_page

        page = parse_page(source)
        if page is not None:
            from ._hub import HubTransfer

            return HubTransfer(page, session)
        from ._web import WebTransfer

        return WebTransfer(source, session)
    from ._fsspec import FsspecTransfer, filesystem

    return FsspecTransfer(*filesystem(source), source, session)
