"""How remote files are read: what ``open(…, remote=…)`` takes.

>>> from deathtensors.remote import RemoteOptions
>>> RemoteOptions(budget_bytes=50_000_000, connections=4).retries
4
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Optional, Union

from . import _arguments, errors
from ._paths import absolute, expand_path

__all__ = ["RemoteOptions"]

_LONGEST_TIMEOUT = 86_400.0
_TOKEN = re.compile(r"[\x21-\x7e]+")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
#: What the transfer itself decides.
_OWN_HEADERS = {"range", "accept-encoding", "host", "content-length", "transfer-encoding"}


@dataclass(frozen=True)
class RemoteOptions:
    """How files of the Hub, of web servers and of fsspec are read.

    Args:
        token: what the server is shown to prove who asks, as ``Authorization: Bearer``;
            never sent to another origin than the file's own. For the Hub, None means
            the environment (``HF_TOKEN``, ``HUGGING_FACE_HUB_TOKEN``) or else the
            stored login, True the same but refusing where there is none, and False
            nobody. Web servers are shown a str only.
        headers: more headers for every request to the file's own origin.
        budget_bytes: the most bytes that the file and the files beside it may cost;
            what would exceed it is refused before it is asked for. None for no limit.
        cache_dir: a folder in which to keep what was read, for all processes; None for
            none. Delete the folder, or any file in it, at any time to clear it.
        connections: how many requests one call has under way at once.
        retries: how often a request is tried again after a failure that may pass.
        timeout: how long to wait for a server to say anything, in seconds.

    Raises:
        UsageError: a value is none of these.
    """

    token: Union[str, bool, None] = None
    headers: Optional[Mapping[str, str]] = None
    budget_bytes: Optional[int] = None
    cache_dir: Union[str, os.PathLike[str], None] = None
    connections: int = 8
    retries: int = 4
    timeout: float = 30.0

    def __post_init__(self) -> None:
        set_to = object.__setattr__
        _check_token(self.token)
        set_to(self, "headers", _checked_headers(self.headers))
        if self.budget_bytes is not None:
            budget = _arguments.integer(self.budget_bytes, "budget_bytes", 0, 2**63 - 1)
            set_to(self, "budget_bytes", budget)
        if self.cache_dir is not None:
            set_to(self, "cache_dir", _checked_folder(self.cache_dir))
        set_to(self, "connections", _arguments.integer(self.connections, "connections", 1, 256))
        set_to(self, "retries", _arguments.integer(self.retries, "retries", 0, 100))
        set_to(self, "timeout", _checked_timeout(self.timeout))

    @classmethod
    def of(cls, value: RemoteOptions | Mapping[str, Any] | None) -> RemoteOptions:
        """The options that a caller means: themselves, a mapping of fields, or None.

        >>> RemoteOptions.of({"retries": 0}).retries
        0
        """
        if value is None:
            return cls()
        if isinstance(value, cls):
            return value
        if not isinstance(value, Mapping):
            kind = type(value).__name__
            raise _refusal("remote", "RemoteOptions, a mapping of its fields, or None", kind)
        known = [field.name for field in fields(cls)]
        for name in value:
            if name not in known:
                raise _refusal(
                    "remote", f"fields of RemoteOptions: {', '.join(known)}", f"{name!r}"
                )
        return cls(**value)

    def __repr__(self) -> str:
        shown = {field.name: getattr(self, field.name) for field in fields(self)}
        if isinstance(self.token, str):
            shown["token"] = "…"
        if self.headers:
            shown["headers"] = dict.fromkeys(self.headers, "…")
        return f"RemoteOptions({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    # A mapping cannot be hashed, and the generated one would try.
    def __hash__(self) -> int:
        headers = tuple(sorted((self.headers or {}).items()))
        return hash((self.token, headers, self.cache_dir, self.budget_bytes, self.connections))


def _check_token(token: object) -> None:
    if token is None or isinstance(token, bool):
        return
    # What is wrong with a secret is told without showing it.
    if not isinstance(token, str):
        raise _refusal("token", "a str, True, False or None", type(token).__name__)
    if not _TOKEN.fullmatch(token):
        found = "an empty str" if not token else "characters that no token has, such as spaces"
        raise _refusal("token", "visible ASCII characters", found)


def _checked_headers(headers: object) -> dict[str, str] | None:
    if headers is None:
        return None
    if not isinstance(headers, Mapping):
        raise _refusal("headers", "a mapping of names to values", type(headers).__name__)
    for name, value in headers.items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise _refusal("headers", "names of HTTP headers", repr(name))
        if name.lower() in _OWN_HEADERS:
            raise _refusal("headers", "none that the transfer itself sets", name)
        plain = isinstance(value, str) and value.isascii() and value.isprintable()
        if not plain:
            raise _refusal("headers", "values of printable ASCII", f"another value for {name}")
    return dict(headers)


def _checked_folder(folder: object) -> str:
    if not isinstance(folder, (str, os.PathLike)):
        raise _refusal("cache_dir", "a path or None", type(folder).__name__)
    # Absolute, since the current folder may be another when it is used.
    return os.path.normpath(absolute(expand_path(folder)))


def _checked_timeout(timeout: object) -> float:
    try:
        seconds = float(timeout)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        seconds = -1.0
    if isinstance(timeout, (str, bytes, bool)) or not 0 < seconds <= _LONGEST_TIMEOUT:
        expected = f"seconds: more than 0, at most {_LONGEST_TIMEOUT:.0f}"
        raise _refusal("timeout", expected, repr(timeout)[:80])
    return seconds


def _refusal(what: str, expected: str, found: str) -> errors.DeathTensorsError:
    return errors.usage(
        f"{what} cannot be used", code="usage.option", expected=expected, found=found
    )
