"""The second origin: large files by signed URLs that expire, and uploads of them."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from email.utils import formatdate
from urllib.parse import urlencode

from .faults import Switches
from .store import Store
from .wire import Answer, Refusal, Request


class Cdn:
    """Answers for the second origin."""

    def __init__(self, store: Store, switches: Switches) -> None:
        self._store, self._switches = store, switches
        self._secret = secrets.token_bytes(32)
        self.url = ""  # known once it listens

    def sign(self, method: str, path: str, **more: str) -> str:
        """An URL that works for a while."""
        expires = f"{time.time() + self._switches.lifetime:.3f}"
        signature = self._signature(method, path, expires)
        return f"{self.url}{path}?{urlencode({'Expires': expires, 'Signature': signature, **more})}"

    def answer(self, request: Request) -> Answer:
        if request.method in ("GET", "HEAD") and request.segments[0] == "objects":
            return self._download(request)
        if request.method == "PUT" and request.segments[0] == "upload":
            return self._upload(request)
        raise Refusal(404, None, "no such object")

    def cors(self, request: Request) -> dict[str, str] | None:
        if not self._switches.cdn_cors or request.method == "OPTIONS":
            return None
        headers = {"Access-Control-Allow-Origin": "*"}
        if self._switches.expose_content_range:
            headers["Access-Control-Expose-Headers"] = "Content-Range, ETag, Accept-Ranges"
        return headers

    def _download(self, request: Request) -> Answer:
        self._check(request, "GET")
        sha256 = request.segments[1]
        if not self._store.has(sha256):
            raise Refusal(404, None, "no such object")
        path = self._store.object_path(sha256)
        headers = {
            "Content-Type": "application/octet-stream",
            "ETag": f'"{sha256}"',
            "Last-Modified": formatdate(os.path.getmtime(path), usegmt=True),
            "Content-Disposition": f'inline; filename="{request.asked("filename") or sha256}"',
        }
        return Answer(200, headers, path)

    def _upload(self, request: Request) -> Answer:
        self._check(request, "PUT")
        if len(request.segments) == 2:
            self._store.take(request.chunks, request.segments[1])
            return Answer(200, {"ETag": f'"{request.segments[1]}"'})
        upload, number = request.segments[1], int(request.segments[2])
        digest = hashlib.md5(usedforsecurity=False)
        with open(self._store.part_path(upload, number), "wb") as file:
            for chunk in request.chunks:
                digest.update(chunk)
                file.write(chunk)
        return Answer(200, {"ETag": f'"{digest.hexdigest()}"'})

    def _check(self, request: Request, method: str) -> None:
        expires = request.asked("Expires") or "0"
        wanted = self._signature(method, "/" + "/".join(request.segments), expires)
        if not hmac.compare_digest(wanted, request.asked("Signature") or ""):
            raise Refusal(403, None, "the signature does not match")
        if float(expires) < time.time():
            raise Refusal(403, None, "the signed URL has expired")

    def _signature(self, method: str, path: str, expires: str) -> str:
        text = f"{method} {path} {expires}".encode()
        return hmac.new(self._secret, text, hashlib.sha256).hexdigest()
