"""The cache on disk: what it saves, and what it never trusts."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

import deathtensors as dt
from deathtensors import _remote
from deathtensors._remote._cache import Cache
from hub import Hub
from hub.faults import Entry
from webserver import Web

HEAD = 64 << 10
MIB = 1 << 20
DATA = (bytes(range(251)) * 42_000)[: 10 * MIB]
PATH = "deep/x.dt"
FILE = f"hf://tester/model/{PATH}"
LONG = [(0, 100), (MIB, MIB + 1000), (MIB + 5000, MIB + 6000)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def commit(hub: Hub, tmp_path: Path) -> str:
    local = tmp_path / "x"
    local.write_bytes(DATA)
    return hub.put("tester/model", {PATH: local})


def asked(hub: Hub) -> list[Entry]:
    return [one for one in hub.log.entries() if one.path != "/api/agent-harnesses"]


def read(source: str, folder: Path, wanted: list[tuple[int, int]], **more: Any) -> dict[str, int]:
    """Reads and compares some ranges; gives the counters."""
    with _remote.connect(source, {"cache_dir": folder, **more}) as transfer:
        assert transfer.fetch(wanted) == [DATA[start:end] for start, end in wanted]
        return transfer.counters


def kept(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "facts")


def test_what_was_read_needs_no_request(hub: Hub, folder: Path, commit: str) -> None:
    pinned = f"hf://tester/model@{commit}/{PATH}"
    first = read(pinned, folder, LONG)
    assert first["bytes"] == HEAD + 2000 and first["cached_bytes"] == 0
    hub.log.clear()
    again = read(pinned, folder, LONG)
    assert asked(hub) == []
    assert again == {
        "requests": 0, "bytes": 0, "retries": 0, "resolves": 0, "cached_bytes": HEAD + 2000,
    }  # fmt: skip
    # A branch has to be looked up, since it may mean another commit by now.
    assert read(FILE, folder, LONG)["requests"] == 1
    # What is new is looked up when it is needed, and not before.
    assert read(pinned, folder, [(2 * MIB, 2 * MIB + 1)])["resolves"] == 1


def test_only_gaps_are_asked_for(hub: Hub, folder: Path, commit: str) -> None:
    read(FILE, folder, [(MIB, MIB + 1000), (MIB + 2000, MIB + 3000)])
    hub.log.clear()
    counters = read(FILE, folder, [(MIB - 10, MIB + 2500), (MIB + 2990, MIB + 3005)])
    ranges = {one.range for one in asked(hub) if one.origin == "cdn"}
    assert ranges == {
        f"bytes={MIB - 10}-{MIB - 1}",
        f"bytes={MIB + 1000}-{MIB + 1999}",
        f"bytes={MIB + 3000}-{MIB + 3004}",
    }
    assert counters["bytes"] == 10 + 1000 + 5
    assert counters["cached_bytes"] == 1000 + 500 + 10


def test_what_is_cached_costs_no_budget(hub: Hub, folder: Path, commit: str) -> None:
    read(FILE, folder, LONG)
    assert read(FILE, folder, LONG, budget_bytes=0)["bytes"] == 0


def test_the_same_content_is_kept_once(hub: Hub, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(DATA)
    for name in ("a", "b"):
        hub.put("tester/model", {f"{name}.dt": tmp_path / "x"})
    read("hf://tester/model/a.dt", folder, LONG)
    assert read("hf://tester/model/b.dt", folder, LONG)["bytes"] == 0


def test_a_push_leads_to_other_bytes(hub: Hub, folder: Path, tmp_path: Path, commit: str) -> None:
    read(FILE, folder, LONG)
    (tmp_path / "x").write_bytes(bytes(len(DATA)))
    hub.put("tester/model", {PATH: tmp_path / "x"})
    with _remote.connect(FILE, {"cache_dir": folder}) as transfer:
        assert transfer.fetch(LONG) == [bytes(end - start) for start, end in LONG]


@pytest.mark.parametrize("damage", ["flip", "short", "long", "empty", "gone", "folder"])
def test_damaged_files_are_ignored(hub: Hub, folder: Path, commit: str, damage: str) -> None:
    read(FILE, folder, LONG)
    paths = kept(folder)
    assert [path.name for path in paths] == [
        f"0-{HEAD}", f"{MIB}-{MIB + 1000}", f"{MIB + 5000}-{MIB + 6000}",
    ]  # fmt: skip
    for path in paths:
        data = path.read_bytes()
        path.unlink()
        if damage == "folder":
            path.mkdir()
        elif damage != "gone":
            at = len(data) // 2
            changed = {
                "flip": data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :],
                "short": data[:-1], "long": data + b"x", "empty": b"",
            }  # fmt: skip
            path.write_bytes(changed[damage])
    if damage == "folder":
        with pytest.warns(UserWarning, match="no more is kept"):
            assert read(FILE, folder, LONG)["bytes"] == HEAD + 2000
        return
    assert read(FILE, folder, LONG)["bytes"] == HEAD + 2000
    assert read(FILE, folder, LONG)["bytes"] == 0  # mended


def test_damage_while_it_is_open_is_noticed_by_its_length(folder: Path) -> None:
    folder.mkdir()
    cache = Cache(str(folder), ["x"])
    cache.store(10, b"0123456789")
    assert cache.find(0, 100) == [(10, b"0123456789")]
    (path,) = kept(folder)
    path.write_bytes(path.read_bytes()[:-1])
    assert cache.find(0, 100) == []


def test_other_files_in_the_folder_do_no_harm(folder: Path) -> None:
    cache = Cache(str(folder), ["x"])
    inside = next(folder.iterdir())
    for name in ("1-", "5-3", "007-9", "0-99999999999999999999", "0-9000000", ".tmp", "3-3", "x"):
        (inside / name).write_bytes(b"x" * 40)
    assert cache.find(0, 100) == []
    assert Cache(str(folder), ["x"]).find(0, 100) == []


def test_what_another_process_keeps_is_found(folder: Path) -> None:
    mine, other = Cache(str(folder), ["x"]), Cache(str(folder), ["x"])
    assert mine.find(0, 10) == []
    other.store(0, b"01234")
    os.utime(next(folder.iterdir()), ns=(1, 1))  # clocks of file systems tick slowly
    assert mine.find(0, 10) == [(0, b"01234")]
    assert Cache(str(folder), ["y"]).find(0, 10) == []


def test_overlapping_ranges_are_put_together(folder: Path) -> None:
    cache = Cache(str(folder), ["x"])
    text = bytes(range(200))
    for start, end in ((0, 10), (5, 30), (5, 20), (50, 60), (55, 56), (58, 90)):
        cache.store(start, text[start:end])
    for start, end in ((0, 100), (7, 55), (29, 51), (30, 50), (57, 59), (95, 99)):
        found = cache.find(start, end)
        covered = bytearray(200)
        for at, data in found:
            assert data == text[at : at + len(data)] and start <= at and at + len(data) <= end
            for one in range(at, at + len(data)):
                assert not covered[one]
                covered[one] = 1
        known = [any(a <= one < b for a, b in ((0, 30), (50, 90))) for one in range(200)]
        assert [bool(covered[one]) for one in range(start, end)] == known[start:end]


def test_many_writers_at_once(folder: Path) -> None:
    def write() -> None:
        cache = Cache(str(folder), ["x"])
        for _ in range(20):
            cache.store(0, DATA[:50_000])
            for at, data in cache.find(0, 50_000):
                good.append(data == DATA[at : at + len(data)])

    good: list[bool] = []
    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(good) == 80 and all(good)
    assert [path.name for path in kept(folder)] == ["0-50000"]


def test_a_folder_that_cannot_be_made(web: Web, tmp_path: Path) -> None:
    web.files["/x"] = DATA
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(dt.FileAccessError) as caught:
        _remote.connect(f"{web.url}/x", {"cache_dir": tmp_path / "file" / "cache"})
    assert caught.value.kind == "io"


def test_a_web_server_needs_one_request(web: Web, folder: Path) -> None:
    web.files["/x"] = DATA
    url = f"{web.url}/x?signature=1"
    assert read(url, folder, LONG)["requests"] == 3
    again = read(f"{web.url}/x?signature=2", folder, LONG)
    assert (again["requests"], again["cached_bytes"]) == (1, 2000)
    assert read(f"{web.url}/x?part=2", folder, LONG)["requests"] == 3


@pytest.mark.parametrize("etag", [None, 'W/"a"'])
def test_nothing_is_kept_that_has_no_identity(web: Web, folder: Path, etag: str | None) -> None:
    web.files["/x"], web.etags["/x"] = DATA, etag
    read(f"{web.url}/x", folder, LONG)
    assert kept(folder) == []
