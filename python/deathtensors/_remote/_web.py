"""Files of any web server that answers requests for ranges."""

from __future__ import annotations

import threading

from .. import errors
from .._spelling import spelled
from . import _urls
from ._http import HttpTransfer, Place, Version
from ._session import Session
from ._transfer import HEAD

_NEVER = threading.Event()


class WebTransfer(HttpTransfer):
    """``https://…``: the first request tells the length, and brings the header along.

    Pinned to the ETag of the first answer (to Last-Modified where there is none, and to
    the length in any case): a file that changes is refused, not mixed.
    """

    def __init__(self, url: str, session: Session) -> None:
        self._url = _urls.checked(url)
        super().__init__(session, _urls.clean(url))
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        options, meter = self._session.options, self._session.meter
        headers = dict(options.headers or {})
        if isinstance(options.token, str):
            headers["Authorization"] = f"Bearer {options.token}"
        version = Version(self.name)
        self._where = self._home = Place(self._url, headers, version)
        left = meter.left()
        most = HEAD if left is None else min(HEAD, max(left, 1))
        with meter.reserve(most, self.name) as held:
            self._head = self._read(0, most, held, _NEVER)
        assert version.length is not None
        self.length = version.length
        # A weak ETag, or none, does not promise the same bytes.
        if version.etag and not version.etag.startswith("W/"):
            self._keep(("web", _urls.unsigned(self._url), version.etag, self.length))

    def sibling(self, name: str) -> WebTransfer:
        return WebTransfer(_urls.beside(self._url, _urls.checked_name(name)), self._session)

    def _locate(self, old: Place | None, stop: threading.Event) -> Place | None:
        if old is self._home:
            return None
        self._session.meter.count("resolves")
        return self._home

    def _moved(self, place: Place, url: str) -> None:
        # The way there is spared from now on. It may be a signed URL, and expire.
        same = _urls.origin(url) == _urls.origin(self._url)
        with self._moving:
            if self._where is place:
                self._where = Place(url, self._home.headers if same else {}, place.version)

    def _denied(self, status: int) -> errors.DeathTensorsError:
        if status in (404, 410):
            message = f"there is nothing at this address ({status})"
            return errors.network("not_found", message, path=self.name, status=status)
        known = "Authorization" in self._home.headers
        advice = (
            "the token may not read it" if known
            else f"it may take a token: {spelled('remote headers')}"
        )  # fmt: skip
        message = f"the server does not allow reading this ({status}); {advice}"
        return errors.network("denied", message, path=self.name, status=status)
