"""A web server for one person: the viewer's files, and the files that were asked for.

Nobody else is to see them. It listens on the loopback only, its paths start with a
secret, and it answers no request that names another host, as those of a page do whose
name was made to point here (DNS rebinding). Names in requests are looked up in a table
of what is served, never joined to a folder.
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import TracebackType
from typing import Any, BinaryIO
from urllib.parse import unquote_to_bytes, urlsplit

from .. import errors

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".json": "application/json",
    ".wasm": "application/wasm",
}
_ALWAYS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
#: What comes from strangers is data, also for a browser that is sent there by a link: no
#: page of theirs may run at this address, which knows the secret.
_DATA = {
    "Content-Type": "application/octet-stream",
    "Content-Security-Policy": "default-src 'none'; sandbox; frame-ancestors 'none'",
}
_FILES = "file/"
_PATIENCE = 60  # seconds that an idle connection is kept
_CHUNK = 1 << 18


def served_files(folder: str) -> dict[str, str]:
    """Every file below a folder, by its relative path with slashes."""
    found = {}
    for here, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(here, name)
            found[os.path.relpath(path, folder).replace(os.sep, "/")] = path
    return found


class Server:
    """Serves from the start of a ``with`` to its end.

    Args:
        site: the viewer's files, by their path below the secret.
        files: the files that were asked for, by name; they stand below ``file/``.
        port: where to listen; 0 for one that is free.
    """

    def __init__(self, site: dict[str, str], files: dict[str, str], port: int = 0) -> None:
        self._secret = secrets.token_urlsafe(24)
        self._doors: dict[str, str] = {}
        table = {**site, **{f"{_FILES}{name}": path for name, path in files.items()}}
        try:
            self._server = _Listener(port, self._secret, table, self._doors)
        except OSError as error:
            raise errors.from_os_error(error, f"127.0.0.1:{port}") from None
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,))
        self._thread.daemon = True

    @property
    def port(self) -> int:
        """The port that it listens at."""
        return int(self._server.server_address[1])

    @property
    def address(self) -> str:
        """The viewer's address, with a slash at its end."""
        return f"http://127.0.0.1:{self.port}/{self._secret}/"

    def door_to(self, address: str) -> str:
        """An address that leads to another, once."""
        door = secrets.token_urlsafe(24)
        self._doors[door] = address
        return f"http://127.0.0.1:{self.port}/{door}"

    def wait(self) -> None:
        """Until Ctrl-C."""
        while True:  # in short sleeps, since a long one is deaf to it on Windows
            time.sleep(0.5)

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(
        self, port: int, secret: str, table: dict[str, str], doors: dict[str, str]
    ) -> None:
        self.secret, self.table, self.doors = secret, table, doors
        super().__init__(("127.0.0.1", port), _Handler)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer asks the network what this machine is called

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Anybody on this machine can send requests; the terminal is the user's.
        if os.environ.get("DEATHTENSORS_TRACEBACK"):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Listener
    protocol_version = "HTTP/1.1"
    timeout = _PATIENCE
    disable_nagle_algorithm = True

    def version_string(self) -> str:
        return "deathtensors"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the terminal is the user's."""

    def do_GET(self) -> None:
        """Answer with a file, part of one, or a refusal."""
        if {"Content-Length", "Transfer-Encoding"} & set(self.headers):
            self.close_connection = True  # a body would be taken for the next request
        if not self._is_for_us():
            return self._say(403, "this server answers at 127.0.0.1 only")
        try:
            asked = urlsplit(self.path).path
        except ValueError:
            return self._say(400, "this is no address")
        first, _, rest = asked[1:].partition("/")
        door = self.server.doors.pop(first, None) if not rest else None
        if door is not None:
            return self._send(303, {"Location": door})
        if not hmac.compare_digest(first.encode(), self.server.secret.encode()):
            return self._say(404, "there is nothing here")
        if self.path == f"/{first}":
            return self._send(308, {"Location": f"/{first}/"})
        try:
            name = os.fsdecode(unquote_to_bytes(rest)) or "index.html"
            path = self.server.table.get(name)
            # To open a pipe would wait for somebody who writes to it.
            if path is None or not os.path.isfile(path):
                return self._say(404, "there is nothing here")
            with open(path, "rb") as file:
                return self._send_file(file, _kind(name))
        except (ConnectionError, TimeoutError, socket.timeout):
            self.close_connection = True  # whoever asked went away
        except OSError as error:
            return self._say(404, f"the file cannot be read: {error.strerror}")
        except ValueError:  # no name that a file could have
            return self._say(404, "there is nothing here")
        return None

    do_HEAD = do_GET  # noqa: N815

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse what is no proper request, or another method."""
        self.close_connection = True
        if code == 501:
            return self._send(405, {"Allow": "GET, HEAD", "Connection": "close"})
        return self._send(code, {"Connection": "close"})

    def _is_for_us(self) -> bool:
        port = self.server.server_address[1]
        hosts = self.headers.get_all("Host") or []
        return len(hosts) == 1 and hosts[0] in (f"127.0.0.1:{port}", f"localhost:{port}")

    def _send_file(self, file: BinaryIO, kind: dict[str, str]) -> None:
        facts = os.fstat(file.fileno())
        size = facts.st_size
        etag = f'"{facts.st_ino:x}-{facts.st_mtime_ns:x}-{size:x}"'
        headers = {**kind, "ETag": etag, "Accept-Ranges": "bytes"}
        asked = self.headers.get("Range")
        if self.headers.get("If-Range", etag) != etag:
            asked = None
        status, start, end = _part(asked, size)
        if status == 416:
            return self._send(416, {**headers, "Content-Range": f"bytes */{size}"})
        if status == 206:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        self._start(status, {**headers, "Content-Length": str(end - start)})
        if self.command == "HEAD":
            return None
        file.seek(start)
        left = end - start
        while left:
            chunk = file.read(min(left, _CHUNK))
            if not chunk:  # the file was cut while it was read
                raise ConnectionAbortedError
            self.wfile.write(chunk)
            left -= len(chunk)
        return None

    def _say(self, status: int, text: str) -> None:
        self._send(status, {"Content-Type": "text/plain; charset=utf-8"}, f"{text}\n".encode())

    def _send(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self._start(status, {**headers, "Content-Length": str(len(body))})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _start(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**_ALWAYS, **headers}.items():
            self.send_header(name, value)
        self.end_headers()


def _kind(name: str) -> dict[str, str]:
    """What the browser is told about a file: the viewer's by extension, others nothing."""
    known = None if name.startswith(_FILES) else _TYPES.get(os.path.splitext(name)[1])
    return _DATA if known is None else {"Content-Type": known}


def _part(asked: str | None, size: int) -> tuple[int, int, int]:
    """The status, start and end for what a Range header asks for.

    Everything, where it asks for several ranges or nothing that makes sense: a server
    may ignore those.
    """
    match = re.fullmatch(r"bytes=(?:(\d{1,18})-(\d{1,18})?|-(\d{1,18}))", asked or "")
    if match is None:
        return 200, 0, size
    first, last, tail = match.groups()
    if tail is not None:
        start, end = max(size - int(tail), 0), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return 200, 0, size
    return (206, start, end) if start < end else (416, 0, 0)
