"""Servers that mean harm: what they send is bounded in size, time and place."""

from __future__ import annotations

import gzip
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deathtensors as dt
from deathtensors import _remote
from fuzzing import TooLong, bounded
from webserver import Answer, Asked, Web

pytestmark = pytest.mark.usefixtures("impatient")
TOTAL = 1 << 20
#: What the first request asks for.
FIRST = 64 << 10
#: What one connection of a hostile server sends: raw bytes, as long as anybody listens.
Script = Callable[[bytes, Callable[[bytes], None]], None]


@contextmanager
def serving(script: Script) -> Iterator[str]:
    """A server that reads a request's head and then does as it likes; its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    closed = threading.Event()

    def answer(connection: socket.socket) -> None:
        with connection:
            connection.settimeout(20)
            try:
                head = b""
                while b"\r\n\r\n" not in head:
                    more = connection.recv(65536)
                    if not more:
                        return
                    head += more

                def send(data: bytes) -> None:
                    if closed.is_set():
                        raise ConnectionAbortedError
                    connection.sendall(data)

                script(head, send)
            except OSError:
                pass  # the client went away, as it should

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/m.deathtensors"
    finally:
        closed.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def head(status: str = "206 Partial Content", **headers: Any) -> bytes:
    """The head of an answer to the first request; underscores are hyphens."""
    told = {"Content_Range": f"bytes 0-{FIRST - 1}/{TOTAL}", **headers}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in told.items() if value != ""]
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode()


def refused(url: str, code: str, **options: Any) -> dt.NetworkError:
    """What opening raises; within bounds of time and memory."""
    began = time.monotonic()
    with bounded(seconds=15, memory=256 << 20), pytest.raises(dt.NetworkError) as caught:
        dt.open(url, remote={"retries": 1, "timeout": 1, **options})
    assert time.monotonic() - began < 10
    assert caught.value.code == f"network.{code}", caught.value
    assert str(caught.value).isprintable()
    return caught.value


@pytest.mark.parametrize(
    "lengths",
    [{}, {"Transfer_Encoding": "chunked"}, {"Content_Length": 2**62}, {"Connection": "close"}],
    ids=str,
)
def test_an_endless_body(lengths: dict[str, Any]) -> None:
    sent = []

    def script(_: bytes, send: Callable[[bytes], None]) -> None:
        send(head(**lengths))
        data = bytes(1 << 16)
        chunk = b"10000\r\n" + data + b"\r\n" if "Transfer_Encoding" in lengths else data
        while True:
            send(chunk)
            sent.append(len(data))

    with serving(script) as url:
        refused(url, "truncated" if "Content_Length" in lengths else "range")
    assert sum(sent) < 64 << 20  # what the system buffers, for each attempt


def test_an_endless_body_of_an_error_is_not_read() -> None:
    sent = []

    def script(_: bytes, send: Callable[[bytes], None]) -> None:
        send(head("403 Forbidden", Transfer_Encoding="chunked", Content_Range=""))
        while True:
            send(b"10000\r\n" + bytes(1 << 16) + b"\r\n")
            sent.append(1 << 16)

    with serving(script) as url:
        refused(url, "denied")
    assert sum(sent) < 64 << 20


def test_silence_between_two_bytes() -> None:
    def script(_: bytes, send: Callable[[bytes], None]) -> None:
        send(head(Content_Length=FIRST))
        send(b"DTL")
        time.sleep(8)

    with serving(script) as url:
        refused(url, "timeout", timeout=0.3, retries=0)


def test_a_body_that_drips() -> None:
    """One byte at a time is never silent, and would go on for hours."""

    def script(_: bytes, send: Callable[[bytes], None]) -> None:
        send(head(Content_Length=FIRST))
        for _ in range(400):
            send(b"D")
            time.sleep(0.02)

    with serving(script) as url:
        error = refused(url, "timeout", timeout=0.5, retries=0)
    assert error.expected == "1024 bytes in a second"


@pytest.mark.parametrize("word", ["gzip", "x-gzip", "br", "zstd", "deflate", "gzip, gzip"])
def test_a_bomb_in_the_encoding(word: str) -> None:
    bomb = gzip.compress(bytes(64 << 20))  # 64 KiB that hold 64 MiB

    def script(_: bytes, send: Callable[[bytes], None]) -> None:
        send(head(Content_Encoding=word, Content_Length=len(bomb)) + bomb)

    with serving(script) as url:
        refused(url, "range")


@pytest.mark.parametrize(
    "text",
    [
        f"bytes 0-{FIRST}/{TOTAL}", f"bytes 1-{FIRST}/{TOTAL}", f"bytes 0-{FIRST - 1}/*",
        f"bytes 0-{FIRST - 1}/-1", f"bytes 0-{FIRST - 1}/{10**30}", "bytes */5", "", "bytes",
        f"bytes {2**63}-{2**63 + 5}/{2**64}", f"bytes 5-3/{TOTAL}", f"items 0-1/{TOTAL}",
        "bytes 0-9/5", f"bytes 0-{FIRST - 1}/{TOTAL}, bytes 0-1/2", "bytes ０-９/10",
    ],
)  # fmt: skip
def test_a_range_that_was_not_asked_for(text: str) -> None:
    def script(_: bytes, send: Callable[[bytes], None]) -> None:
        send(b"HTTP/1.1 206 Partial Content\r\nContent-Range: " + text.encode() + b"\r\n")
        send(f"Content-Length: {FIRST}\r\n\r\n".encode() + bytes(FIRST))

    with serving(script) as url:
        refused(url, "range")


def test_a_length_that_nobody_has(web: Web) -> None:
    """A file that claims to be of 8 EiB is read as far as it goes, by its own header."""
    dt.save("x", {"a": np.zeros(3)})
    data = Path("x").read_bytes()
    total = 2**63 - 1

    def rule(asked: Asked, answer: Answer) -> Answer:
        answer.headers["Content-Range"] = f"bytes 0-{FIRST - 1}/{total}"
        return Answer(206, answer.headers, (data + bytes(FIRST))[:FIRST])

    web.files["/x"] = data
    web.rules.append(rule)
    with bounded(memory=256 << 20):
        with suppress(dt.DeathTensorsError):
            dt.open(f"{web.url}/x").close()
    header = b"DTLEGION" + struct.pack("<IIQ", 1, 0, 2**62)
    data = header
    with bounded(memory=256 << 20), pytest.raises(dt.DeathTensorsError) as caught:
        dt.open(f"{web.url}/x")
    assert caught.value.code == "limit.header_bytes"


@pytest.mark.parametrize("length", [0, 1, FIRST - 1, FIRST + 1, 2**63, "-5", "x", "1, 2"])
def test_a_content_length_that_lies(length: Any) -> None:
    def script(_: bytes, send: Callable[[bytes], None]) -> None:
        send(head(Content_Length=length) + bytes(FIRST))

    with serving(script) as url:
        refused(url, "truncated")


def test_two_lengths_or_one_and_chunks() -> None:
    """What smuggles requests past proxies."""
    for lines in (
        b"Content-Length: 5\r\nContent-Length: 65536\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    ):

        def script(_: bytes, send: Callable[[bytes], None], lines: bytes = lines) -> None:
            send(head()[:-2] + lines + b"\r\n" + bytes(FIRST))

        with serving(script) as url:
            refused(url, "truncated")


def test_http_1_0_without_a_length_is_read_as_far_as_was_asked(tmp_path: Path) -> None:
    dt.save(tmp_path / "x", {"a": np.arange(30_000.0)}, checksum=True)
    data = (tmp_path / "x").read_bytes()

    def script(asked: bytes, send: Callable[[bytes], None]) -> None:
        line = next(one for one in asked.split(b"\r\n") if one.lower().startswith(b"range:"))
        first, last = (int(one) for one in line.split(b"=")[1].split(b"-"))
        last = min(last, len(data) - 1)
        place = f"bytes {first}-{last}/{len(data)}"
        send(f"HTTP/1.0 206 Partial\r\nContent-Range: {place}\r\n\r\n".encode())
        send(data[first : last + 1])  # and the connection is closed

    with serving(script) as url, dt.open(url) as file:
        assert file.verify()


def test_http_1_0_with_a_whole_file_is_refused() -> None:
    def script(_: bytes, send: Callable[[bytes], None]) -> None:
        send(b"HTTP/1.0 200 OK\r\n\r\n")
        while True:
            send(bytes(1 << 16))

    with serving(script) as url:
        assert refused(url, "range").status == 200


@pytest.mark.parametrize("kind", ["long", "many", "endless line", "endless many", "no end"])
def test_heads_without_measure(kind: str) -> None:
    def script(_: bytes, send: Callable[[bytes], None]) -> None:
        send(head(Content_Length=FIRST)[:-2])
        if kind == "long":
            send(b"X-A: " + b"a" * (16 << 20) + b"\r\n\r\n")
        elif kind == "many":
            send(b"".join(b"X-%d: a\r\n" % nth for nth in range(200_000)) + b"\r\n")
        elif kind == "no end":
            return
        while True:
            send(b"a" * 65536 if kind == "endless line" else b"X-A: a\r\n" * 8192)

    with serving(script) as url:
        refused(url, "truncated")


@pytest.mark.parametrize(
    "start", [b"", b"HTTP/9.9 206 x\r\n\r\n", b"SSH-2.0-x\r\n", b"\0" * 100, b"HTTP/1.1 99999 x\r\n\r\n"]
)  # fmt: skip
def test_what_is_no_http(start: bytes) -> None:
    with serving(lambda _, send: send(start)) as url:
        refused(url, "range" if b"206" in start else "truncated")


def test_provisional_answers_without_end() -> None:
    def script(_: bytes, send: Callable[[bytes], None]) -> None:
        while True:
            send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 100)

    # The HTTP library waits for the proper one. It costs no memory, and Ctrl-C ends it.
    with serving(script) as url, pytest.raises(TooLong), bounded(2, memory=256 << 20):
        dt.open(url, remote={"retries": 0})


# --- redirects


@pytest.mark.parametrize(
    "target",
    [
        "file:///etc/passwd", "FILE:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1/x",
        "data:,x", "javascript:1", "hf://org/name/x", "//", "http://", "http://[::1", "http:///x",
        "https://127.0.0.1:99999/", "http://\x7f/", "unix:/tmp/x", "", "http://h:x/",
    ],
)  # fmt: skip
def test_redirects_to_other_things_are_refused(web: Web, target: str) -> None:
    web.rules.append(lambda asked, answer: Answer(302, {"Location": target}))
    refused(f"{web.url}/x", "status")
    assert len(web.log()) <= 11


@pytest.mark.parametrize("who", ["u:p@", "u@", ":p@", "@", "a%40b:c@"])
def test_redirects_bring_no_passwords(web: Web, who: str) -> None:
    with Web({"/m": b""}) as other:
        target = other.url.replace("//", f"//{who}") + "/m"
        web.rules.append(lambda asked, answer: Answer(302, {"Location": target}))
        error = refused(f"{web.url}/x", "status")
        assert "password" in str(error) and who not in str(error)
        assert other.log() == []


def test_cookies_are_not_kept(web: Web, tmp_path: Path) -> None:
    dt.save(tmp_path / "m", {"w": np.zeros(100_000)})
    web.files["/m"] = (tmp_path / "m").read_bytes()

    def rule(asked: Asked, answer: Answer) -> Answer:
        answer.headers["Set-Cookie"] = "id=1; Path=/"
        return answer

    web.rules.append(rule)
    with dt.open(f"{web.url}/m") as file:
        file.get_bytes("w")
    assert len(web.log()) > 1
    assert not [one for one in web.log() if "cookie" in {name.lower() for name in one.headers}]


def test_redirects_in_circles_end(web: Web) -> None:
    def rule(asked: Asked, answer: Answer) -> Answer:
        return Answer(307, {"Location": f"/{len(web._asked) % 3}"})

    web.rules.append(rule)
    refused(f"{web.url}/x", "status")
    assert len(web.log()) == 11


def test_redirects_never_take_a_token_along(web: Web) -> None:
    with Web({"/m": b""}) as other:
        home = f"http://localhost:{web.url.rpartition(':')[2]}/back"
        web.rules.append(
            lambda asked, answer: Answer(302, {"Location": f"{other.url}/m"})
            if asked.path == "/x" else None
        )  # fmt: skip
        other.rules.append(lambda asked, answer: Answer(302, {"Location": home}))
        with pytest.raises(dt.DeathTensorsError):
            dt.open(f"{web.url}/x", remote={"token": "tok-secret", "retries": 0})
        assert not [one for one in other.log() if "secret" in str(one.headers)]
        assert ["secret" in str(one.headers) for one in web.log()] == [True, False]


# --- what is shown of them


def test_a_page_is_named_as_a_page(web: Web) -> None:
    page = Answer(200, {"Content-Type": "text/html; charset=utf-8"}, b"<!doctype html>")
    web.rules.append(lambda asked, answer: page)
    error = refused(f"{web.url}/org/name/blob/main/m.deathtensors", "range")
    assert "this is a web page" in str(error) and "/resolve/" in str(error)


def test_what_servers_say_is_shown_as_text(web: Web) -> None:
    evil = "\x1b[2J\u202e\x07"
    raw = evil.encode().decode("latin-1")
    for headers in (
        {"Content-Range": f"bytes {raw}"}, {"Content-Encoding": raw}, {"ETag": raw},
        {"Last-Modified": raw}, {"Location": f"http://{raw}"}, {"Content-Type": f"text/html{raw}"},
    ):  # fmt: skip
        for status in (200, 206, 302, 416):
            web.rules[:] = [lambda asked, answer, s=status, h=headers: Answer(s, h, b"x" * 99)]
            with pytest.raises(dt.DeathTensorsError) as caught:
                _remote.connect(f"{web.url}/x", {"retries": 0}).fetch([(0, 5)])
            shown = f"{caught.value}{caught.value!r}"
            assert shown.isprintable(), shown
