"""A plain web server on the loopback that knows ranges, and misbehaves on demand."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Optional
from urllib.parse import unquote


@dataclass
class Asked:
    """One request, and how much of a body was sent in answer."""

    path: str
    headers: dict[str, str]
    status: int = 0
    sent: int = 0

    @property
    def range(self) -> str | None:
        return self.headers.get("range")


@dataclass
class Answer:
    """``length`` is what Content-Length says, if not the truth; ``wait`` comes before all."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    length: int | None = None
    wait: Callable[[], object] | None = None


#: Given the request and what would be answered; None for exactly that.
Rule = Callable[[Asked, Answer], Optional[Answer]]


class Web:
    """Serves ``files`` from the start of a ``with`` to its end; ``rules`` are asked in turn."""

    def __init__(self, files: dict[str, bytes] | None = None) -> None:
        self.files = dict(files or {})
        self.etags: dict[str, str | None] = {}
        self.rules: list[Rule] = []
        self._lock = threading.Lock()
        self._asked: list[Asked] = []
        self._under_way = self.most_at_once = 0
        self._settled = threading.Condition(self._lock)
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"web": self}))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def once(self, rule: Rule) -> None:
        """A rule for one request."""

        def consumed(asked: Asked, answer: Answer) -> Answer | None:
            changed = rule(asked, answer)
            if changed is not None:
                self.rules.remove(consumed)
            return changed

        self.rules.append(consumed)

    def fail(self, status: int, headers: dict[str, str] | None = None) -> None:
        """Answer one request with a status."""
        self.once(lambda asked, answer: Answer(status, headers or {}, b"no"))

    def log(self) -> list[Asked]:
        """All requests, once none is under way."""
        with self._settled:
            self._settled.wait_for(lambda: not self._under_way, 3)
            return list(self._asked)

    def __enter__(self) -> Web:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _begin(self, asked: Asked) -> None:
        with self._settled:
            self._asked.append(asked)
            self._under_way += 1
            self.most_at_once = max(self.most_at_once, self._under_way)

    def _end(self) -> None:
        with self._settled:
            self._under_way -= 1
            self._settled.notify_all()

    def _answer(self, asked: Asked) -> Answer:
        path = unquote(asked.path.partition("?")[0])
        data = self.files.get(path)
        answer = Answer(404, {}, b"nothing") if data is None else self._part(asked, path, data)
        for rule in list(self.rules):
            changed = rule(asked, answer)
            if changed is not None:
                return changed
        return answer

    def _part(self, asked: Asked, path: str, data: bytes) -> Answer:
        etag = self.etags.get(path, f'"{len(data)}-{data[:4].hex()}"')
        headers = {} if etag is None else {"ETag": etag}
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", asked.range or "")
        if match is None:
            return Answer(200, headers, data)
        first, end = int(match[1]), min(int(match[2]) + 1, len(data))
        if first >= end:
            return Answer(416, {**headers, "Content-Range": f"bytes */{len(data)}"})
        headers["Content-Range"] = f"bytes {first}-{end - 1}/{len(data)}"
        return Answer(206, headers, data[first:end])


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that went away


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    web: Web

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        names = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.path, names)
        self.web._begin(asked)
        try:
            self._send(self.web._answer(asked), asked)
        except (ConnectionError, TimeoutError):
            self.close_connection = True
        finally:
            self.web._end()

    def _send(self, answer: Answer, asked: Asked) -> None:
        if answer.wait is not None:
            answer.wait()
        asked.status = answer.status
        self.send_response_only(answer.status)
        length = len(answer.body) if answer.length is None else answer.length
        for name, value in {"Content-Length": str(length), **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        for at in range(0, len(answer.body), 1 << 16):
            chunk = answer.body[at : at + (1 << 16)]
            self.wfile.write(chunk)
            asked.sent += len(chunk)
        self.close_connection = length != len(answer.body)
