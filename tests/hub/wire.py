"""HTTP: requests, answers, ranges, and the place where faults strike."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from .faults import Fault, Faults, Log, Switches

_CHUNK = 1 << 18


class Refusal(Exception):
    """An answer other than what was asked for, in the Hub's form."""

    def __init__(self, status: int, code: str | None, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass
class Request:
    """What was asked: ``segments`` are decoded one by one, so that a slash may be in one."""

    method: str
    segments: list[str]
    query: dict[str, list[str]]
    headers: Any
    chunks: Iterator[bytes]

    def body(self) -> bytes:
        return b"".join(self.chunks)

    def json(self) -> Any:
        try:
            return json.loads(self.body() or b"null")
        except ValueError:
            raise Refusal(400, None, "the body is not JSON") from None

    def asked(self, name: str) -> str | None:
        values = self.query.get(name)
        return values[-1] if values else None

    def flag(self, name: str) -> bool:
        return (self.asked(name) or "").lower() in ("1", "true")


@dataclass
class Answer:
    """``body`` is bytes, or the path of a file that is served by ranges."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | str = b""


def answer_json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    return Answer(
        status,
        {"Content-Type": "application/json; charset=utf-8", **(headers or {})},
        json.dumps(value).encode(),
    )


def answer_refusal(refusal: Refusal) -> Answer:
    headers = {"X-Error-Message": refusal.message}
    if refusal.code is not None:
        headers["X-Error-Code"] = refusal.code
    return answer_json({"error": refusal.message}, refusal.status, headers)


class Origin(ThreadingHTTPServer):
    """One of the two origins, on a port of the system's choosing."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        name: str,
        app: Callable[[Request], Answer],
        cors: Callable[[Request], dict[str, str] | None],
        switches: Switches,
        faults: Faults,
        log: Log,
    ) -> None:
        self.name, self.app, self.cors = name, app, cors
        self.switches, self.faults, self.log = switches, faults, log
        self._connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.shutdown()
        self._thread.join()
        # Clients keep connections open; their threads end with these.
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that went away; what the server does wrong is answered with 500


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Origin

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        ranged = self.headers.get("Range")
        request = Request(
            self.command,
            [unquote(segment) for segment in parts.path.split("/")[1:]],
            parse_qs(parts.query, keep_blank_values=True),
            self.headers,
            self._body(),
        )
        if request.segments[0] == "__test__":  # steering, never logged or spoiled
            self._send(self._answer(request), request, None, _Nothing())
            return
        entry = self.server.log.begin(
            origin=self.server.name,
            method=self.command,
            path=path,
            range=ranged,
            authorization="Authorization" in self.headers,
            page=self.headers.get("Origin"),
        )
        fault = self.server.faults.take(self.server.name, self.command, path, ranged is not None)
        time.sleep(self.server.switches.latency + (fault.delay if fault else 0))
        try:
            if fault and fault.status is not None:
                body = json.dumps({"error": "a fault on demand"}).encode()
                answer = Answer(fault.status, {"Content-Type": "application/json"}, body)
            else:
                answer = self._answer(request)
            for chunk in request.chunks:  # what was not read would be taken for a request
                del chunk
            self._send(answer, request, fault, entry)
        except (ConnectionError, TimeoutError):
            self.close_connection = True
        finally:
            entry.done = True

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = _serve

    def _answer(self, request: Request) -> Answer:
        try:
            if request.method == "OPTIONS":
                return Answer(204 if self.server.cors(request) is not None else 403)
            return self.server.app(request)
        except Refusal as refusal:
            return answer_refusal(refusal)
        except (ConnectionError, TimeoutError):
            raise
        except Exception as error:
            return answer_refusal(Refusal(500, None, f"{type(error).__name__}: {error}"))

    def _body(self) -> Iterator[bytes]:
        if "chunked" in (self.headers.get("Transfer-Encoding") or "").lower():
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass  # trailers
            return
        left = int(self.headers.get("Content-Length") or 0)
        while left:
            chunk = self.rfile.read(min(left, _CHUNK))
            if not chunk:
                raise ConnectionError("the client stopped within a body")
            left -= len(chunk)
            yield chunk

    def _send(self, answer: Answer, request: Request, fault: Fault | None, entry: Any) -> None:
        fault = fault or Fault()
        headers = {"Date": formatdate(usegmt=True), **answer.headers}
        headers.update(self.server.cors(request) or {})
        status, start, length = answer.status, 0, len(answer.body)
        if isinstance(answer.body, str):
            asked = None if fault.ignore_range else self.headers.get("Range")
            size = os.path.getsize(answer.body)
            status, start, length = _part(asked, size)
            headers["Accept-Ranges"] = "bytes"
            length = max(length - fault.truncate, 0)
            if status == 206:
                first = start + fault.shift
                headers["Content-Range"] = f"bytes {first}-{first + length - 1}/{size}"
            elif status == 416:
                headers["Content-Range"] = f"bytes */{size}"
        if status not in (204, 304):
            headers["Content-Length"] = str(length)
        headers.update(fault.headers)
        entry.status = status
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD" or status in (204, 304):
            return
        if fault.drop_after is not None and fault.drop_after < length:
            self.close_connection = True
            length = fault.drop_after
        for chunk in _read(answer.body, start, length, fault):
            self.wfile.write(chunk)
            entry.sent += len(chunk)


class _Nothing:
    """Stands for the log's entry where nothing is logged."""

    status = sent = 0


def _part(asked: str | None, size: int) -> tuple[int, int, int]:
    """The status, and the start and length of what a Range header asks for."""
    match = re.fullmatch(r"\s*bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*", asked or "")
    if match is None or match[1] == match[2] == "":
        return 200, 0, size
    if match[1] == "":
        start, end = max(size - int(match[2]), 0), size
    else:
        start, end = int(match[1]), min(int(match[2]) + 1 if match[2] else size, size)
        if match[2] and int(match[2]) < start:
            return 200, 0, size
    return (206, start, end - start) if start < end else (416, 0, 0)


def _read(body: bytes | str, start: int, length: int, fault: Fault) -> Iterator[bytes]:
    if isinstance(body, bytes):
        yield body[start : start + length]
        return
    piece = min(_CHUNK, max(fault.pace // 20, 1)) if fault.pace else _CHUNK
    with open(body, "rb") as file:
        file.seek(start)
        while length and (chunk := file.read(min(piece, length))):
            if fault.flip is not None and start <= fault.flip < start + len(chunk):
                at = fault.flip - start
                chunk = chunk[:at] + bytes([chunk[at] ^ 0xFF]) + chunk[at + 1 :]
            yield chunk
            start += len(chunk)
            length -= len(chunk)
            if fault.pace:
                time.sleep(len(chunk) / fault.pace)
