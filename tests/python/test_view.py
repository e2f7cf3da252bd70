"""``deathtensors view``: what it serves, to whom, and how it ends. Real sockets throughout."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import numpy as np
import pytest

import deathtensors as dt
from helpers import ROOT, safetensors_file

MISUSE, UNREADABLE = 2, 3
# The command itself, with a viewer of the test's own in place of the built one.
COMMAND = """
import sys
from deathtensors import main
from deathtensors.cli import _view
_view._FOLDER = sys.argv[1]
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture
def viewer(tmp_path: Path) -> Path:
    folder = tmp_path / "viewer"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><title>viewer</title>")
    (folder / "assets" / "main-1a.js").write_text("export {}")
    (folder / "assets" / "main-1a.css").write_text("a{}")
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    path = tmp_path / "models" / "my model #1?%41.deathtensors"
    dt.save(path, {"w": np.arange(50_000.0)})
    (tmp_path / "models" / "secret.txt").write_text("nobody's business")
    return path


class Viewer:
    """The command at work."""

    def __init__(self, process: subprocess.Popen[str], facts: dict[str, Any]) -> None:
        self.process, self.facts = process, facts
        self.port = facts["port"]
        self.home = urlsplit(facts["url"]).path
        self.source = urlsplit(facts["source"]).path

    def ask(
        self, path: str, method: str = "GET", host: str | None = None, **headers: str
    ) -> tuple[int, Any, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.putrequest(method, path, skip_host=True)
        if host != "":
            connection.putheader("Host", host or f"127.0.0.1:{self.port}")
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, answer.headers, body


@contextmanager
def view(viewer: Path, *words: Any, env: dict[str, str] | None = None) -> Iterator[Viewer]:
    command = [sys.executable, "-c", COMMAND, str(viewer), "view", *map(str, words), "--json"]
    if env is None:
        command.append("--no-browser")
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env={**os.environ, **(env or {})}, **pipes) as process:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line == "}\n":
                break
        try:
            assert lines, process.stderr.read()
            yield Viewer(process, json.loads("".join(lines)))
        finally:
            process.kill()


@pytest.fixture
def server(viewer: Path, model: Path) -> Iterator[Viewer]:
    with view(viewer, model) as running:
        yield running


def refused(viewer: Path, *words: Any) -> tuple[int, str]:
    command = [sys.executable, "-c", COMMAND, str(viewer), "view", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1
    return done.returncode, done.stderr


# --- what is served


def test_the_viewer_and_the_file_are_served(server: Viewer, model: Path) -> None:
    types = {"": "text/html", "index.html": "text/html", "assets/main-1a.js": "text/javascript",
             "assets/main-1a.css": "text/css"}  # fmt: skip
    for name, kind in types.items():
        status, headers, body = server.ask(server.home + name)
        assert (status, headers["Content-Type"].split(";")[0]) == (200, kind)
        assert body
    fragment = urlsplit(server.facts["url"]).fragment
    assert unquote(fragment) == f"source={server.facts['source']}"
    assert server.source == f"{server.home}file/{quote(model.name)}"
    assert server.ask(server.source)[::2] == (200, model.read_bytes())


def test_single_ranges_are_honoured_to_the_byte(server: Viewer, model: Path) -> None:
    data = model.read_bytes()
    size = len(data)
    for asked, start, end in (("bytes=0-0", 0, 1), ("bytes=10-19", 10, 20),
                              (f"bytes={size - 3}-", size - 3, size), ("bytes=-5", size - 5, size),
                              (f"bytes=7-{size * 9}", 7, size), (f"bytes=-{size * 9}", 0, size),
                              (f"bytes=0-{size - 1}", 0, size)):  # fmt: skip
        status, headers, body = server.ask(server.source, Range=asked)
        assert (status, body) == (206, data[start:end])
        assert headers["Content-Range"] == f"bytes {start}-{end - 1}/{size}"
        assert headers["Content-Length"] == str(end - start)
    for asked in (f"bytes={size}-", f"bytes={size}-{size + 9}", "bytes=-0"):
        status, headers, body = server.ask(server.source, Range=asked)
        assert (status, headers["Content-Range"], body) == (416, f"bytes */{size}", b"")
    for odd in ("bytes=5-2", "bytes=", "bytes=-", "bytes=0-1,4-5", "items=0-1", "bytes=a-b",
                "bytes=" + "9" * 5000 + "-"):  # fmt: skip
        status, headers, body = server.ask(server.source, Range=odd)
        assert (status, headers["Content-Range"], body) == (200, None, data)


def test_an_empty_file_is_served_too(viewer: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.deathtensors").touch()
    with view(viewer, tmp_path / "empty.deathtensors") as server:
        assert server.ask(server.source)[::2] == (200, b"")
        assert server.ask(server.source, Range="bytes=0-9")[0] == 416


def test_head_says_what_get_would(server: Viewer, model: Path) -> None:
    status, headers, body = server.ask(server.source, "HEAD", Range="bytes=1-4")
    assert (status, headers["Content-Length"], body) == (206, "4", b"")
    status, headers, body = server.ask(server.source, "HEAD")
    assert (status, int(headers["Content-Length"])) == (200, model.stat().st_size)


def test_a_file_that_changed_has_another_etag(server: Viewer, model: Path) -> None:
    first = server.ask(server.source, Range="bytes=0-9")[1]["ETag"]
    assert server.ask(server.source, Range="bytes=0-9")[1]["ETag"] == first
    assert server.ask(server.source, Range="bytes=0-9", If_Range=first)[0] == 206
    dt.save(model, {"w": np.arange(50_000.0) + 1})
    assert server.ask(server.source, Range="bytes=0-9")[1]["ETag"] != first
    assert server.ask(server.source, Range="bytes=0-9", If_Range=first)[0] == 200
    model.unlink()
    assert server.ask(server.source)[0] == 404


def test_one_connection_serves_many_requests(server: Viewer, model: Path) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    for at in range(50):
        connection.request("GET", server.source, headers={"Range": f"bytes={at}-{at}"})
        assert connection.getresponse().read() == model.read_bytes()[at : at + 1]
    connection.close()


# --- and what is not


def test_nothing_else_is_served(server: Viewer, model: Path, viewer: Path) -> None:
    (viewer / "index.html").with_name("later.html").write_text("not there when it started")
    home, folder = server.home, f"{server.home}file/"
    for path in (
        "/", "/favicon.ico", "/index.html", "/file/" + quote(model.name), home[:-2] + "/",
        home + "later.html", home + "assets", home + "assets/", home + "file", folder,
        folder + "secret.txt", folder + "../secret.txt", folder + "..%2fsecret.txt",
        folder + "%2e%2e/%2e%2e/etc/passwd", folder + "//etc/passwd", folder + "%2fetc%2fpasswd",
        home + "../" + home.strip("/") + "/../../etc/passwd", home + "..%5c..%5cindex.html",
        home + "%00index.html", home + "index.html%00.js", home + "/index.html",
        folder + quote(str(model), safe=""), "http://127.0.0.1/etc/passwd", "*",
    ):  # fmt: skip
        status, _, body = server.ask(path)
        assert (status, body) == (404, b"there is nothing here\n"), path


def test_only_requests_for_this_host_are_answered(server: Viewer) -> None:
    port = server.port
    for host in (f"127.0.0.1:{port}", f"localhost:{port}"):
        assert server.ask(server.home, host=host)[0] == 200
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", f"127.0.0.1.evil.example:{port}",
                 f"127.0.0.1:{port + 1}", f"[::1]:{port}", ""):  # fmt: skip
        status, _, body = server.ask(server.home, host=host)
        assert (status, body.count(b"viewer")) == (403, 0), host
    with socket.create_connection(("127.0.0.1", port), 20) as both:
        good = f"Host: 127.0.0.1:{port}"
        both.sendall(f"GET {server.home} HTTP/1.1\r\n{good}\r\nHost: evil\r\n\r\n".encode())
        assert b" 403 " in both.recv(100)


def test_no_other_page_may_read_it(server: Viewer) -> None:
    for path in (server.home, server.source):
        _, headers, _ = server.ask(path, Origin="http://evil.example")
        assert not [name for name in headers if name.lower().startswith("access-control")]
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["X-Content-Type-Options"] == "nosniff"
    status, headers, _ = server.ask(server.source, "OPTIONS", Origin="http://evil.example")
    assert (status, headers["Access-Control-Allow-Origin"]) == (405, None)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "BREW"])
def test_it_can_only_be_read(server: Viewer, method: str) -> None:
    status, headers, _ = server.ask(server.home, method)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")


def test_garbage_does_not_end_it(server: Viewer) -> None:
    for garbage in (b"\0\xff\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"G" * 70_000,
                    b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 300 + b"\r\n",
                    f"GET {server.source} HTTP/1.1\r\nHost: 127.0.0.1".encode()):  # fmt: skip
        with socket.create_connection(("127.0.0.1", server.port), 20) as rude:
            rude.sendall(garbage)
    assert server.ask(server.home)[0] == 200
    server.process.send_signal(signal.SIGINT)
    assert server.process.communicate(timeout=20)[1] == ""


@pytest.mark.parametrize(
    ("target", "status"),
    [("http://[bad/", 400), ("//[bad", 404), ("{source}%00", 404), ("{home}%ff%fe", 404),
     ("http://127.0.0.1/x", 404)],
)  # fmt: skip
def test_addresses_that_are_none_are_answered(server: Viewer, target: str, status: int) -> None:
    target = target.format(source=server.source, home=server.home)
    assert server.ask(target)[0] == status
    server.process.send_signal(signal.SIGINT)
    assert server.process.communicate(timeout=20)[1] == ""


def test_a_fault_is_shown_to_those_who_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from deathtensors.cli import _view_server

    with _view_server.Server({}, {}) as server:
        monkeypatch.setattr(_view_server._Handler, "do_GET", lambda self: 1 // 0)
        for wanted in ("", "1"):
            monkeypatch.setenv("DEATHTENSORS_TRACEBACK", wanted)
            with socket.create_connection(("127.0.0.1", server.port), 20) as asking:
                asking.sendall(b"GET / HTTP/1.1\r\n\r\n")
                assert asking.recv(100) == b""
            assert ("ZeroDivisionError" in capsys.readouterr().err) is bool(wanted)


def test_it_listens_on_one_address_and_its_path_is_secret(
    server: Viewer, viewer: Path, model: Path
) -> None:
    with pytest.raises(OSError), socket.create_connection(("127.0.0.2", server.port), 20):
        pass
    with view(viewer, model) as other:
        assert other.home != server.home
        assert len(other.home) >= 32
        assert other.port != server.port


# --- sharded models


def test_an_index_brings_its_shards_and_nothing_more(viewer: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sharded"
    folder.mkdir()
    tensors = {f"w{i}": np.arange(100.0) for i in range(4)}
    shards = dt.save_sharded(folder / "m.deathtensors", tensors, max_shard_bytes=1000)
    assert len(shards) > 1
    dt.save(folder / "other.deathtensors", tensors)
    with view(viewer, folder / "m.deathtensors") as server:
        base = server.source[: -len("m.deathtensors")]
        for shard in shards:
            name = Path(shard).name
            assert server.ask(base + name)[::2] == (200, (folder / name).read_bytes())
        assert server.ask(base + "other.deathtensors")[0] == 404


def test_an_index_of_safetensors_leads_nowhere_else(viewer: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sharded"
    folder.mkdir()
    data = safetensors_file([("a", "F32", [1], bytes(4))])
    for name in ("m-1.safetensors", "alone.safetensors"):
        (folder / name).write_bytes(data)
    (tmp_path / "up.safetensors").write_bytes(data)
    places = ["m-1.safetensors", "../up.safetensors", str(tmp_path / "up.safetensors"), 7, "x.key"]
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {str(i): one for i, one in enumerate(places)}}))
    with view(viewer, index) as server:
        base = server.source[: -len(index.name)]
        assert server.ask(base + "m-1.safetensors")[::2] == (200, data)
        for other in ("alone.safetensors", "../up.safetensors", "..%2fup.safetensors",
                      quote(str(tmp_path / "up.safetensors"), safe="")):  # fmt: skip
            assert server.ask(base + other)[0] == 404


def test_what_an_index_names_may_be_no_file(viewer: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.safetensors")
    names = ["a\0.safetensors", "\ud800.safetensors", "pipe.safetensors", ".safetensors"]
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {str(i): one for i, one in enumerate(names)}}))
    with view(viewer, index) as server:
        base = server.source[: -len(index.name)]
        for name in ("a%00", "%ed%a0%80", "pipe", "%ff", ""):
            assert server.ask(f"{base}{name}.safetensors")[0] == 404
        server.process.send_signal(signal.SIGINT)
        assert server.process.communicate(timeout=20)[1] == ""


@pytest.mark.parametrize("name", ["x.html", "x.svg", "x.js", "index.html", b"x\xff.html"])
def test_files_are_data_whatever_they_are_called(
    viewer: Path, tmp_path: Path, name: str | bytes
) -> None:
    path = tmp_path / os.fsdecode(name)
    path.write_text("<script>alert(1)</script>")
    with view(viewer, path) as server:
        status, headers, body = server.ask(server.source)
        assert (status, body) == (200, path.read_bytes())
        assert headers["Content-Type"] == "application/octet-stream"
        assert headers["X-Content-Type-Options"] == "nosniff"
        policy = headers["Content-Security-Policy"].split("; ")
        assert {"default-src 'none'", "sandbox"} <= set(policy)
        assert server.ask(server.home)[1]["Content-Type"].startswith("text/html")


@pytest.mark.parametrize("text", ["", "[]", "{", '{"weight_map": 3}', "[" * 100_000])
def test_a_broken_index_is_the_viewers_to_explain(viewer: Path, tmp_path: Path, text: str) -> None:
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(text)
    with view(viewer, path) as server:
        assert server.ask(server.source)[::2] == (200, text.encode())


def test_so_is_a_broken_file(viewer: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.deathtensors"
    path.write_bytes(b"DTLEGION" + b"\xff" * 16)
    with view(viewer, path) as server:
        assert server.ask(server.source)[::2] == (200, path.read_bytes())


# --- the command


def test_ctrl_c_ends_it_quietly(server: Viewer, model: Path) -> None:
    kept = socket.create_connection(("127.0.0.1", server.port), 20)  # an idle page is no reason
    began = time.monotonic()
    server.process.send_signal(signal.SIGINT)
    assert server.process.communicate(timeout=20) == ("", "")
    assert server.process.returncode == 0
    assert time.monotonic() - began < 5
    kept.close()


def test_the_browser_goes_through_a_door_that_opens_once(
    viewer: Path, model: Path, tmp_path: Path
) -> None:
    asked = tmp_path / "asked"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" >"{asked}.new" && mv "{asked}.new" "{asked}"\n')
    browser.chmod(0o755)
    with view(viewer, model, env={"BROWSER": str(browser)}) as server:
        until = time.monotonic() + 20
        while not asked.exists() and time.monotonic() < until:
            time.sleep(0.02)
        door = asked.read_text().strip()
        # What a browser is started with can be read by every user of the machine.
        assert server.home.strip("/") not in door
        status, headers, _ = server.ask(urlsplit(door).path)
        assert (status, headers["Location"]) == (303, server.facts["url"])
        assert server.ask(urlsplit(door).path)[0] == 404


def test_without_a_browser_it_says_so_and_serves(viewer: Path, model: Path) -> None:
    with view(viewer, model, env={"BROWSER": "no-such-browser", "PATH": ""}) as server:
        assert "no browser could be started" in server.process.stderr.readline()
        assert server.ask(server.home)[0] == 200


@pytest.mark.parametrize(
    "source",
    ["https://host.example/a b/m.deathtensors?x=1&y=2#z", "hf://org/name/m.deathtensors@main"],
)
def test_an_address_is_left_to_the_viewer(viewer: Path, source: str) -> None:
    with view(viewer, source) as server:
        assert server.facts["source"] == source
        fragment = server.facts["url"].split("#", 1)[1]
        assert "&" not in fragment and "#" not in fragment
        assert unquote(fragment) == f"source={source}"
        assert server.ask(server.home)[0] == 200
        assert server.ask(server.home + "file/m.deathtensors")[0] == 404


def test_people_are_told_where_it_is(viewer: Path, model: Path) -> None:
    command = [sys.executable, "-c", COMMAND, str(viewer), "view", str(model), "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        lines = [process.stdout.readline() for _ in range(2)]
        process.send_signal(signal.SIGINT)
    assert lines[0] == f"{model} can be looked at here, until Ctrl-C:\n"
    assert lines[1].startswith("  http://127.0.0.1:")


def test_a_port_can_be_chosen(viewer: Path, model: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with view(viewer, model, "--port", port) as server:
        assert server.port == port
        code, line = refused(viewer, model, "--no-browser", "--port", port)
        assert code == UNREADABLE
        assert f"127.0.0.1:{port}" in line


def test_misuse_and_missing_files_are_refused(viewer: Path, model: Path, tmp_path: Path) -> None:
    assert refused(viewer, tmp_path / "none.deathtensors")[0] == UNREADABLE
    assert refused(viewer, model.parent)[0] == UNREADABLE
    assert refused(viewer, "ftp://host/x.deathtensors")[0] == MISUSE
    for port in ("-1", "65536", "x", "²"):
        assert refused(viewer, model, f"--port={port}")[0] == MISUSE
    os.mkfifo(tmp_path / "pipe")
    assert refused(viewer, tmp_path / "pipe")[0] == UNREADABLE


def test_an_installation_without_a_viewer_says_how_to_get_it(tmp_path: Path, model: Path) -> None:
    code, line = refused(tmp_path / "empty", model)
    assert code == UNREADABLE
    assert "make build" in line


def test_the_viewer_goes_into_wheel_and_source_distribution() -> None:
    try:
        import tomllib
    except ImportError:
        import tomli as tomllib
    project = tomllib.loads((ROOT / "python" / "pyproject.toml").read_text("utf-8"))
    (entry,) = [one for one in project["tool"]["maturin"]["include"] if "viewer" in one["path"]]
    assert sorted(entry["format"]) == ["sdist", "wheel"]
    assert entry["path"] == "deathtensors/viewer/**/*"
    from deathtensors.cli import _view

    assert Path(_view._FOLDER) == Path(dt.__file__).parent / "viewer"
