"""Ranges over HTTP: one request, and every check that its answer must pass."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

from .. import errors
from .._spelling import spelled
from . import _forks, _logs, _urls
from ._meter import Reservation
from ._patience import Again, Cancelled, Patience, may_pass, retry_after
from ._session import Session, http_library
from ._transfer import Transfer

_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 10
#: What a location answers that has had its day.
_GONE = (401, 403, 404, 410)
#: After that many bytes of progress, a broken connection does not count as a failure.
_PROGRESS = 64 << 10
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)", re.ASCII)
#: A body that comes more slowly than that many bytes in a second is given up, once it
#: had as long as a silence may last.
_SLOWEST = 1024


class Stale(Exception):
    """The location refuses; another may not. ``error`` is for when there is none."""

    def __init__(self, error: errors.DeathTensorsError) -> None:
        super().__init__(str(error))
        self.error = error


class Version:
    """What must stay the same from one answer of a location to the next."""

    def __init__(self, path: str, length: int | None = None) -> None:
        self.length = length
        self.etag: str | None = None
        self._path = path
        self._modified: str | None = None
        self._seen = False
        self._lock = threading.Lock()
        _forks.watch(self)

    def after_fork(self) -> None:
        self._lock = threading.Lock()

    def check(self, headers: Mapping[str, str], total: int) -> None:
        """Refuse an answer that is of another version than the first.

        Args:
            total: the file's length, as the answer says.
        """
        etag, modified = headers.get("etag"), headers.get("last-modified")
        with self._lock:
            if self.length is None:
                self.length = total
            if not self._seen:
                self._seen, self.etag, self._modified = True, etag, modified
        if total != self.length:
            raise self.changed(f"{self.length} bytes", f"{total} bytes")
        if self.etag is not None and _opaque(etag) != _opaque(self.etag):
            raise self.changed(f"ETag {self.etag}", f"ETag {etag}")
        if self.etag is None and modified != self._modified:
            raise self.changed(f"modified {self._modified}", f"modified {modified}")

    def changed(self, expected: str, found: str) -> errors.DeathTensorsError:
        """The error that says so."""
        message = "the file changed while it was read; open it again"
        return errors.network("changed", message, path=self._path, expected=expected, found=found)


def _opaque(etag: str | None) -> str | None:
    """An ETag without its mark of weakness, which proxies add on the way."""
    return etag[2:] if etag is not None and etag.startswith("W/") else etag


@dataclass(frozen=True)
class Place:
    """Where a file is at the moment.

    Attributes:
        url: may be signed, so it is shown to nobody.
        headers: for this origin only; they may hold a token.
        version: what the answers of this place have in common.
    """

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    version: Version


@dataclass
class Body:
    """Bytes as they come: ``at`` is the offset of the next one."""

    at: int
    end: int
    held: Reservation
    parts: list[bytes] = field(default_factory=list)

    def take(self, chunk: bytes) -> None:
        self.held.came(len(chunk))
        self.parts.append(chunk)
        self.at += len(chunk)


class HttpTransfer(Transfer):
    """A file that is read by requests for ranges."""

    def __init__(self, session: Session, name: str) -> None:
        super().__init__(session, name)
        self._where: Place | None = None
        self._moving = threading.Lock()
        _forks.watch(self)

    def after_fork(self) -> None:
        self._moving = threading.Lock()

    # --- for subclasses

    def _locate(self, old: Place | None, stop: threading.Event) -> Place | None:
        """Where the file is now, other than the old place; None if there is no such."""
        raise NotImplementedError

    def _moved(self, place: Place, url: str) -> None:
        """A redirect led from a place to another URL, which works."""

    def _denied(self, status: int) -> errors.DeathTensorsError:
        """The error for a status of ``_GONE``, with advice."""
        raise NotImplementedError

    # --- a range, persistently

    def _read(self, start: int, end: int, held: Reservation, stop: threading.Event) -> bytes:
        body = Body(start, end, held)
        patience = Patience(self._session.options.retries, self._session.meter)
        while body.at < body.end:
            before = body.at
            try:
                self._attempt(body, stop)
            except Again as again:
                if body.at - before >= _PROGRESS:
                    patience.renew()
                patience.wait(again, stop)
        return b"".join(body.parts)

    def _attempt(self, body: Body, stop: threading.Event) -> None:
        """One request; two if the location was stale."""
        place = self._where or self._relocated(None, stop)
        assert place is not None
        try:
            self._ask(place, body, stop)
        except Stale as stale:
            newer = self._relocated(place, stop)
            if newer is None:
                raise stale.error from None
            try:
                self._ask(newer, body, stop)
            except Stale as again:
                raise again.error from None

    def _relocated(self, old: Place | None, stop: threading.Event) -> Place | None:
        """The place after an old one; whoever comes first looks it up for all."""
        with self._moving:
            if stop.is_set():
                raise Cancelled
            if self._where is old:
                place = self._locate(old, stop)
                if place is None:
                    return None
                self._where = place
            return self._where

    # --- one request

    def _ask(self, place: Place, body: Body, stop: threading.Event) -> None:
        url = place.url
        home = _urls.origin(url)
        for _ in range(_MOST_REDIRECTS + 1):
            # What was meant for one origin is not shown to another.
            known = place.headers if _urls.origin(url) == home else {}
            headers = {**known, "Range": f"bytes={body.at}-{body.end - 1}"}
            with self._answer(url, headers, stop) as response:
                if response.status_code not in _REDIRECTS:
                    self._use(response, place.version, body, stop)
                    break
                url = self._redirected(url, response)
        else:
            raise errors.network("status", "too many redirects", path=self.name)
        if url != place.url:
            self._moved(place, url)

    @contextmanager
    def _answer(self, url: str, headers: Mapping[str, str], stop: threading.Event) -> Iterator[Any]:
        """An answer whose body was not read yet; what goes wrong on the way is told apart."""
        library, path = http_library(), self.name
        if self._closed:  # by another thread
            raise errors.closed(path)
        client = self._session.client()
        self._session.meter.count("requests")
        try:
            with _logs.discreet(), client.stream("GET", url, headers=headers) as response:
                if stop.is_set():
                    raise Cancelled
                yield response
        # The library's own texts and causes may hold the URL with its secrets.
        except library.TimeoutException:
            patience = f"an answer within {self._session.options.timeout:g} s"
            message = f"the server said nothing for too long{spelled('longer timeout')}"
            error = errors.network("timeout", message, path=path, expected=patience)
            raise Again(error) from None
        except (library.ConnectError, library.ProxyError) as error:
            raise _unreachable(path, str(error)) from None
        except (library.UnsupportedProtocol, library.InvalidURL):
            raise errors.network("status", "the URL cannot be used", path=path) from None
        except RuntimeError:
            if not self._closed:
                raise
            raise errors.closed(path) from None
        except library.TransportError:
            message = "the connection broke off before everything had come"
            raise Again(errors.network("truncated", message, path=path)) from None

    def _redirected(self, url: str, response: Any) -> str:
        status = response.status_code
        try:
            target = urljoin(url, str(response.headers.get("location") or ""))
        except ValueError:
            target = ""
        if not _urls.is_web(target) or target == url:
            raise errors.network(
                "status", "a redirect leads nowhere", path=self.name, status=status
            )
        if "@" in urlsplit(target).netloc:  # the client would send it, as a password of ours
            message = "a redirect brings a user name or password"
            raise errors.network("status", message, path=self.name, status=status)
        if url.startswith("https:") and not target.startswith("https:"):
            message = "a redirect leads from https to http, which protects nothing"
            raise errors.network("status", message, path=self.name, status=status)
        return target

    def _use(self, response: Any, version: Version, body: Body, stop: threading.Event) -> None:
        """Check an answer's head, then take its body."""
        status, headers = response.status_code, response.headers
        if status == 416 and version.length is None and body.at == 0:
            version.length = body.end = 0  # an empty file has no first byte
            return
        if status != 206:
            raise self._refused(status, headers, version)
        self._check_range(headers, version, body)
        began, first = time.monotonic(), body.at
        for chunk in response.iter_raw():
            spent = time.monotonic() - began - self._session.options.timeout
            if spent * _SLOWEST > body.at - first:
                raise self._too_slow()
            if stop.is_set():
                raise Cancelled
            if len(chunk) > body.end - body.at:
                raise self._other_range("the server sent more than it was asked for")
            body.take(chunk)
        if body.at < body.end:
            message = "the answer ended before everything had come"
            found = f"{body.end - body.at} bytes less"
            raise Again(errors.network("truncated", message, path=self.name, found=found))

    def _too_slow(self) -> Exception:
        message, pace = "the server sends too slowly", f"{_SLOWEST} bytes in a second"
        return Again(errors.network("timeout", message, path=self.name, expected=pace))

    def _check_range(self, headers: Mapping[str, str], version: Version, body: Body) -> None:
        text = (headers.get("content-range") or "").strip()
        match = _CONTENT_RANGE.fullmatch(text)
        wanted = f"bytes {body.at}-{body.end - 1}"
        if match is None or match[3] == "*":
            raise self._other_range(
                "the server does not say which part of the file it sent",
                f"Content-Range: {wanted}/length",
                text[:80] or "none",
            )
        first, last, total = int(match[1]), int(match[2]), int(match[3])
        version.check(headers, total)
        body.end = min(body.end, total)
        if (first, last + 1) != (body.at, body.end):
            raise self._other_range("the server sent another part of the file", wanted, text[:80])
        if (headers.get("content-encoding") or "identity") != "identity":
            raise self._other_range("the server sent the part compressed, unasked")
        declared = headers.get("content-length")
        if declared is not None and declared != str(body.end - body.at):
            found = f"{declared[:20]} bytes"
            message = "the answer is not as long as the part of the file that it says it is"
            error = errors.network(
                "truncated", message, path=self.name,
                expected=f"{body.end - body.at} bytes", found=found,
            )  # fmt: skip
            raise Again(error)

    def _other_range(
        self, message: str, expected: str | None = None, found: str | None = None
    ) -> errors.DeathTensorsError:
        return errors.network("range", message, path=self.name, expected=expected, found=found)

    def _refused(self, status: int, headers: Mapping[str, str], version: Version) -> Exception:
        """The exception for a status that is not the hoped for."""
        path = self.name
        if status == 200 and "html" in (headers.get("content-type") or "").lower():
            return errors.network(
                "range",
                "this is a web page, not a file: it takes the address of the file itself (that of "
                "a download; at many sites it has /resolve/ or /raw/ where the page's has /blob/)",
                path=path,
                status=status,
            )
        if status == 200:
            return errors.network(
                "range",
                "the server sends whole files only, not parts of them; download the file and "
                "open it from disk",
                path=path,
                status=status,
                expected="status 206",
                found="status 200",
            )
        if status == 416:
            return version.changed("a file that is as long as before", "no such range in it")
        if status in _GONE:
            return Stale(self._denied(status))
        error = errors.network("status", f"the server answered {status}", path=path, status=status)
        if may_pass(status):
            return Again(error, retry_after(headers.get("retry-after")))
        return error


def _unreachable(path: str, reason: str) -> Exception:
    """No connection: the name is unknown, nobody listens, or the certificate is wrong."""
    if "certificate" in reason.lower():
        message = "the server's certificate is not trusted"
        return errors.network("offline", message, path=path, found=reason[:200])
    message = "the server cannot be reached; is there a connection, and a proxy to be set?"
    return Again(errors.network("offline", message, path=path, found=reason[:200] or None))
