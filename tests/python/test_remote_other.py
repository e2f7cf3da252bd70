"""Transfers from fsspec and from file objects, and the options of all transfers."""

from __future__ import annotations

import asyncio
import io
import os
import pickle
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.asyn import AsyncFileSystem

import deathtensors as dt
from deathtensors import _remote
from deathtensors.remote import RemoteOptions

HEAD = 64 << 10
DATA = bytes(range(251)) * 4000
WANTED = [(0, 10), (300_000, 500_000), (500_000, 500_000), (1_003_999, 1_004_000)]
RIGHT = [DATA[start:end] for start, end in WANTED]


@pytest.mark.parametrize(
    ("source", "remote"),
    [
        ("hf://a/b/c", True), ("https://h/x", True), ("s3://b/k", True), ("file:///x", True),
        ("zip://a::s3://b/k", True), ("memory://x", True), (io.BytesIO(), True),
        ("C://x", False), ("C:/x", False), ("x", False), ("/a/b", False), ("a:b", False),
        ("://x", False), ("a/b://c", False), (Path("x"), False), (b"hf://x", False), (3, False),
    ],
)  # fmt: skip
def test_what_is_remote(source: Any, remote: bool) -> None:
    assert _remote.is_remote(source) is remote
    if not remote:
        with pytest.raises(dt.UsageError):
            _remote.connect(source)


# --- fsspec


@pytest.fixture
def memory() -> Iterator[Any]:
    files = fsspec.filesystem("memory")
    files.pipe("/models/x.dt", DATA)
    yield files
    files.store.clear()
    files.pseudo_dirs[:] = [""]


def test_a_filesystem_in_memory(memory: Any) -> None:
    with _remote.connect("memory://models/x.dt") as transfer:
        assert (transfer.name, transfer.length) == ("memory://models/x.dt", len(DATA))
        assert transfer.pinned is None
        assert transfer.fetch(WANTED) == RIGHT
        assert transfer.counters["bytes"] == sum(map(len, RIGHT))
        memory.pipe("/models/y.dt", b"beside")
        with transfer.sibling("y.dt") as sibling:
            assert sibling.fetch([(0, 6)]) == [b"beside"]
            assert sibling.name == "memory://models/y.dt"


def test_a_local_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(DATA)
    with _remote.connect(f"file://{tmp_path}/x") as transfer:
        assert transfer.fetch(WANTED) == RIGHT
        (tmp_path / "y").write_bytes(b"beside")
        assert transfer.sibling("y").fetch([(0, 6)]) == [b"beside"]


def test_a_link_to_a_local_file_is_no_change(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(DATA)
    with _remote.connect(f"file://{tmp_path}/x") as transfer:
        os.link(tmp_path / "x", tmp_path / "y")
        assert transfer.fetch(WANTED) == RIGHT


def test_a_file_within_an_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x.dt", DATA)
        archive.writestr("y.dt", b"beside")
    with _remote.connect(f"zip://x.dt::file://{tmp_path}/a.zip") as transfer:
        assert transfer.fetch(WANTED) == RIGHT
        assert transfer.sibling("y.dt").fetch([(0, 6)]) == [b"beside"]


def test_a_file_that_changed_is_refused(memory: Any, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(DATA)
    local = _remote.connect(f"file://{tmp_path}/x")
    mapped = _remote.connect("memory://models/x.dt")
    (tmp_path / "new").write_bytes(bytes(len(DATA)))
    os.replace(tmp_path / "new", tmp_path / "x")
    memory.pipe("/models/x.dt", bytes(len(DATA)))
    for transfer in (local, mapped):
        with transfer, pytest.raises(dt.NetworkError) as caught:
            transfer.fetch(WANTED)
        assert caught.value.code == "network.changed"


@pytest.mark.parametrize("url", ["memory://models/none", "file:///none/such"])
def test_no_such_file(memory: Any, url: str) -> None:
    with pytest.raises(dt.MissingFileError) as caught:
        _remote.connect(url)
    assert caught.value.code == "not_found.file" and url in str(caught.value)


def test_a_folder_is_no_file(memory: Any, tmp_path: Path) -> None:
    for url in ("memory://models", f"file://{tmp_path}"):
        with pytest.raises(dt.UsageError):
            _remote.connect(url)


def test_schemes_that_nobody_knows() -> None:
    with pytest.raises(dt.UsageError, match="nonesuch"):
        _remote.connect("nonesuch://x")


def test_the_budget_holds_for_all(memory: Any) -> None:
    for source in ("memory://models/x.dt", io.BytesIO(DATA)):
        with _remote.connect(source, {"budget_bytes": 1000}) as transfer:
            with pytest.raises(dt.LimitError):
                transfer.fetch(WANTED)
            assert transfer.counters["bytes"] == 0
            assert transfer.fetch([(0, 1000)]) == [DATA[:1000]]
            with pytest.raises(dt.LimitError):
                transfer.fetch([(1000, 1001)])


class Store(AsyncFileSystem):  # type: ignore[misc]
    """Stands for an object store: asynchronous, and far away."""

    protocol = "teststore"
    cachable = False
    etag: Any = "v1"
    asked: list[tuple[int, int]]
    most_at_once = 0
    error: Exception | None = None
    cut = 0

    async def _info(self, path: str, **_: Any) -> dict[str, Any]:
        return {"name": path, "size": len(DATA), "type": "file", "ETag": type(self).etag}

    async def _cat_file(self, path: str, start: int = 0, end: int = 0, **_: Any) -> bytes:
        if self.error is not None:
            raise self.error
        type(self).asked.append((start, end))
        self.under_way = getattr(self, "under_way", 0) + 1
        type(self).most_at_once = max(self.most_at_once, self.under_way)
        await asyncio.sleep(0)
        self.under_way -= 1
        return DATA[start : end - self.cut]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> type[Store]:
    fsspec.register_implementation("teststore", Store, clobber=True)
    for name, value in {"asked": [], "error": None, "cut": 0, "etag": "v1"}.items():
        monkeypatch.setattr(Store, name, value, raising=False)
    return Store


def test_an_object_store_is_asked_for_all_ranges_at_once(store: type[Store]) -> None:
    wanted = [(at, at + 100) for at in range(0, 1_000_000, 100_000)]
    with _remote.connect("teststore://bucket/x", {"connections": 3}) as transfer:
        assert transfer.fetch([(0, 8)]) == [DATA[:8]]
        assert store.asked == [(0, HEAD)]
        assert transfer.fetch(wanted) == [DATA[start:end] for start, end in wanted]
        assert sorted(store.asked[1:]) == wanted[1:]
        assert 1 < store.most_at_once <= 3
        assert transfer.counters["requests"] == 10


def test_an_object_store_is_cached_by_its_etag(store: type[Store], tmp_path: Path) -> None:
    def read() -> dict[str, int]:
        with _remote.connect("teststore://bucket/x", {"cache_dir": tmp_path / "c"}) as transfer:
            assert transfer.fetch(WANTED) == RIGHT
            return transfer.counters

    assert read()["bytes"] == HEAD + 200_001
    assert read()["bytes"] == 0
    store.etag = "v2"
    assert read()["bytes"] == HEAD + 200_001
    store.etag = None
    assert read()["bytes"] == read()["bytes"] == HEAD + 200_001


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (FileNotFoundError("bucket/x"), dt.MissingFileError, "not_found.file"),
        (PermissionError("Forbidden"), dt.NetworkError, "network.denied"),
        (OSError(5, "cannot"), dt.FileAccessError, "io.failed"),
        (RuntimeError("no credentials"), dt.NetworkError, "network.status"),
    ],
)
def test_what_a_filesystem_raises_becomes_ours(
    store: type[Store], error: Exception, kind: type[dt.DeathTensorsError], code: str
) -> None:
    with _remote.connect("teststore://bucket/x") as transfer:
        store.error = error
        with pytest.raises(kind) as caught:
            transfer.fetch(WANTED)
        assert caught.value.code == code
        assert caught.value.path == "teststore://bucket/x"


def test_a_filesystem_that_gives_less_is_refused(store: type[Store]) -> None:
    with _remote.connect("teststore://bucket/x") as transfer:
        store.cut = 1
        with pytest.raises(dt.NetworkError) as caught:
            transfer.fetch(WANTED)
        assert caught.value.code == "network.range"


# --- file objects


class Trickle(io.BytesIO):
    """Gives less than it is asked for, as pipes and sockets do."""

    def readinto(self, buffer: Any) -> int:
        part = self.read(min(len(buffer), 30_000))
        buffer[: len(part)] = part
        return len(part)


class Bare:
    """Has nothing but read and seek."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, length: int = -1) -> bytes:
        return self._file.read(min(length, 30_000))

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)


@pytest.mark.parametrize("kind", ["bytes", "trickle", "bare", "file", "unbuffered"])
def test_file_objects(kind: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(DATA)
    file: Any = {
        "bytes": lambda: io.BytesIO(DATA),
        "trickle": lambda: Trickle(DATA),
        "bare": lambda: Bare(DATA),
        "file": (tmp_path / "x").open,
        "unbuffered": partial((tmp_path / "x").open, buffering=0),
    }[kind](*(["rb"] if kind in ("file", "unbuffered") else []))
    file.seek(77)
    with _remote.connect(file) as transfer:
        assert (transfer.length, transfer.pinned) == (len(DATA), None)
        assert transfer.fetch(WANTED) == RIGHT
        assert transfer.counters["bytes"] == sum(map(len, RIGHT))
        name = (
            str(tmp_path / "x") if "file" in kind or "buff" in kind else f"<{type(file).__name__}>"
        )
        assert transfer.name == name
        with pytest.raises(dt.UsageError, match="beside"):
            transfer.sibling("y")
    assert file.seek(0, 1) == 77
    getattr(file, "close", int)()


def test_many_threads_share_a_file_object() -> None:
    def read(seed: int) -> None:
        for nth in range(200):
            start = (seed * 7919 + nth * 104_729) % 1_000_000
            good.append(transfer.fetch([(start, start + 100)]) == [DATA[start : start + 100]])

    good: list[bool] = []
    with _remote.connect(io.BytesIO(DATA)) as transfer:
        threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert len(good) == 800 and all(good)


def test_file_objects_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(DATA)
    closed = io.BytesIO(DATA)
    closed.close()
    reading, writing = os.pipe()
    cases: list[tuple[Any, str]] = [(closed, "closed"), (io.StringIO("x"), "mode 'rb'")]
    with open(tmp_path / "x") as text, open(tmp_path / "y", "wb") as written, \
            os.fdopen(reading, "rb") as pipe, os.fdopen(writing, "wb"):  # fmt: skip
        cases += [(text, "mode 'rb'"), (written, "read"), (pipe, "cannot seek")]
        for file, word in cases:
            with pytest.raises(dt.UsageError) as caught:
                _remote.connect(file)
            assert word in str(caught.value)


def test_a_file_object_closed_meanwhile() -> None:
    file = io.BytesIO(DATA)
    with _remote.connect(file) as transfer:
        file.close()
        with pytest.raises(dt.UsageError) as caught:
            transfer.fetch(WANTED)
        assert caught.value.code == "usage.closed"


def test_a_file_object_cut_meanwhile() -> None:
    file = io.BytesIO(DATA)
    with _remote.connect(file) as transfer:
        file.truncate(400_000)
        with pytest.raises(dt.NetworkError) as caught:
            transfer.fetch(WANTED)
        assert caught.value.code == "network.changed"
        assert transfer.fetch(WANTED[:1]) == RIGHT[:1]


# --- options


def test_options_from_a_mapping(tmp_path: Path) -> None:
    assert RemoteOptions.of(None) == RemoteOptions()
    options = RemoteOptions.of({"connections": 2, "timeout": 1, "cache_dir": tmp_path})
    assert RemoteOptions.of(options) is options
    assert (options.connections, options.timeout, options.cache_dir) == (2, 1.0, str(tmp_path))
    assert pickle.loads(pickle.dumps(options)) == options
    assert hash(options) == hash(RemoteOptions.of({"connections": 2, "timeout": 1.0, "cache_dir": str(tmp_path)}))  # fmt: skip
    assert RemoteOptions(cache_dir="~/c").cache_dir == os.path.expanduser("~/c")
    assert RemoteOptions(cache_dir="c").cache_dir == os.path.abspath("c")


def test_secrets_are_not_shown() -> None:
    shown = repr(RemoteOptions(token="hf_secret", headers={"X-Key": "secret"}))
    assert "secret" not in shown and "X-Key" in shown
    assert "token=None" in repr(RemoteOptions()) and "token=False" in repr(
        RemoteOptions(token=False)
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("token", ""), ("token", "secret\n"), ("token", "a secret"), ("token", "secretü"),
        ("token", 3), ("token", b"secret"),
        ("headers", "secret"), ("headers", {"a b": "secret"}), ("headers", {"X-A": "secret\r\nb: c"}),
        ("headers", {"X-A": 3}), ("headers", {"Range": "bytes=0-"}), ("headers", {3: "x"}),
        ("budget_bytes", -1), ("budget_bytes", 1.5), ("budget_bytes", "1"),
        ("cache_dir", 3), ("cache_dir", ""),
        ("connections", 0), ("connections", 1000), ("retries", -1), ("retries", None),
        ("timeout", 0), ("timeout", -1), ("timeout", float("nan")), ("timeout", float("inf")),
        ("timeout", None), ("timeout", "5"), ("timeout", True),
    ],
)  # fmt: skip
def test_options_that_cannot_be_used(name: str, value: Any) -> None:
    with pytest.raises(dt.UsageError) as caught:
        RemoteOptions(**{name: value})
    assert "secret" not in str(caught.value)
    with pytest.raises(dt.UsageError):
        _remote.connect(io.BytesIO(), {name: value})


def test_unknown_options_name_the_known_ones() -> None:
    for value in ({"tokn": "secret"}, "secret", 3, [("token", "x")]):
        with pytest.raises(dt.UsageError) as caught:
            RemoteOptions.of(value)  # type: ignore[arg-type]
        assert "RemoteOptions" in str(caught.value) and "secret" not in str(caught.value)
