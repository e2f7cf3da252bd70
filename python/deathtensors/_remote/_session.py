"""What a transfer and its siblings share: options, counters, connections."""

from __future__ import annotations

import importlib
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .. import _deathtensors, errors
from ..remote import RemoteOptions
from . import _forks, _logs
from ._meter import Meter

if TYPE_CHECKING:
    from http.cookiejar import CookieJar

USER_AGENT = f"deathtensors/{_deathtensors.__version__}"
#: Connections of a parent, which its children must neither use nor close.
_inherited: list[Any] = []


def http_library() -> Any:
    """httpx2, or httpx where only that is installed: they are alike in all that is used."""
    for name in ("httpx2", "httpx"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise errors.missing_package("httpx2", "to read from web servers", "deathtensors[remote]")


class Session:
    """Lives until the last transfer that uses it is closed."""

    def __init__(self, options: RemoteOptions) -> None:
        self.options = options
        self.meter = Meter(options.budget_bytes)
        self._lock = threading.Lock()
        self._client: Any = None
        self._users = 0
        _forks.watch(self)

    def after_fork(self) -> None:
        self._lock = threading.Lock()
        if self._client is not None:
            _inherited.append(self._client)
            self._client = None

    def join(self) -> Session:
        """One more transfer uses it."""
        with self._lock:
            self._users += 1
        return self

    def leave(self) -> None:
        """One transfer less uses it."""
        with self._lock:
            self._users -= 1
            client = None
            if not self._users:
                client, self._client = self._client, None
        if client is not None:
            client.close()

    def __del__(self) -> None:
        # Nobody closed it; its connections would complain if they were just dropped.
        client = getattr(self, "_client", None)
        if client is not None:
            with suppress(Exception):
                client.close()

    def client(self) -> Any:
        """The HTTP client; it follows no redirects, keeps no cookies, and proxies are the
        environment's."""
        with self._lock:
            if self._client is None:
                library, options = http_library(), self.options
                _logs.watch(library.__name__)
                # Calls bound by themselves how many they use at once; one that was
                # given up may hold its connection for a while.
                limits = library.Limits(
                    max_connections=None, max_keepalive_connections=options.connections
                )
                self._client = library.Client(
                    headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
                    timeout=options.timeout,
                    limits=limits,
                    follow_redirects=False,
                    cookies=_no_cookies(),
                )
            return self._client


def _no_cookies() -> CookieJar:
    """A jar that keeps nothing that a server hands out."""
    from http.cookiejar import CookieJar, DefaultCookiePolicy  # brings ssl along

    return CookieJar(DefaultCookiePolicy(allowed_domains=[]))
