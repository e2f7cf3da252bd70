"""Commands that are killed, and disks that are full: old files stay, folders do not pile up."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deathtensors as dt
from deathtensors import _rooms
from helpers import listing, safetensors_file
from hub import Hub
from hub_fixtures import REPO, environment
from hub_fixtures import hub as hub

SIZE = 4 << 20
COMMAND = [sys.executable, "-m", "deathtensors"]


def big(seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, SIZE, np.uint8)


# --- a disk that is really full


@pytest.fixture
def full(tmp_path: Path) -> Iterator[tuple[Path, Callable[[], None]]]:
    """A folder that holds 3 MiB, and what a child does before it writes there.

    A small file system of its own, where this user may mount one; else a limit that the
    kernel keeps, on the length of files.
    """
    folder = tmp_path / "full"
    folder.mkdir()
    mounted = not subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], capture_output=True
    ).returncode
    limit = 3 << 20

    def before() -> None:
        if not mounted:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    try:
        yield folder, before
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize(
    "words",
    [
        ("convert", "from-safetensors", "{big}.safetensors", "{old}"),
        ("convert", "to-safetensors", "{big}", "{old}"),
        ("append", "{old}", "{big}"),
        ("append", "{old}", "{big}.safetensors"),
        ("extract", "{big}", "{old}", "*"),
        ("extract", "{big}", "{old}.safetensors", "*"),
        ("shard", "{big}", "{old}"),
        ("merge", "{index}", "{old}"),
        ("hub-pull", REPO, "big", "--output", "{old}"),
    ],
    ids=lambda words: "-".join(words[:2]),
)
def test_a_full_disk_leaves_the_old_file(
    hub: Hub, full: tuple[Path, Callable[[], None]], words: tuple[str, ...], tmp_path: Path
) -> None:
    folder, before = full
    old, source, index = folder / "old", tmp_path / "big", tmp_path / "index"
    dt.save(old, {"a": np.arange(5)})
    dt.save(source, {"b": big()})
    dt.save_sharded(index, {"b": big()})
    dt.to_safetensors(source, f"{source}.safetensors")
    hub.put(REPO, {"big": str(source)})
    content = old.read_bytes()
    told = [word.format(old=old, big=source, index=index) for word in words]
    if words[0] == "hub-pull":  # into the client's cache, where there is room
        assert dt.main(["hub-pull", REPO, "big"]) == 0
    environment_ = environment(hub, tmp_path)
    if words[0] == "hub-pull":
        environment_["HF_HUB_CACHE"] = str(tmp_path / "cache")
    done = subprocess.run(
        [*COMMAND, *told],
        capture_output=True,
        text=True,
        env=environment_,
        preexec_fn=before,
        timeout=60,
    )
    assert done.returncode == 3, done.stderr
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
    assert old.read_bytes() == content
    assert listing(folder) == ["old"]


@pytest.mark.parametrize("compress", [False, True])
def test_a_full_disk_from_python(
    full: tuple[Path, Callable[[], None]], compress: bool, tmp_path: Path
) -> None:
    folder, before = full
    dt.save(folder / "old", {"a": np.arange(5)})
    content = (folder / "old").read_bytes()
    code = (
        "import sys, numpy as np, deathtensors as dt\n"
        f"data = np.random.default_rng(0).integers(0, 256, {SIZE}, np.uint8)\n"
        "try:\n"
        f"    dt.save(sys.argv[1], {{'b': data}}, compress={compress})\n"
        "except dt.FileAccessError as error:\n"
        "    assert error.code == 'io.failed' and error.errno, error\n"
        "    sys.exit(7)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, folder / "old"], preexec_fn=before)
    assert done.returncode == 7
    assert (folder / "old").read_bytes() == content
    assert listing(folder) == ["old"]


# --- a command that is ended in the midst of its work


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("command", ["convert", "append", "hub-convert"])
def test_a_command_that_is_ended(
    hub: Hub, command: str, number: signal.Signals, tmp_path: Path
) -> None:
    """The source comes so slowly that the command is at work when it is ended."""
    Path("s.safetensors").write_bytes(safetensors_file([("b", "U8", [SIZE], big().tobytes())]))
    hub.put(REPO, {"s.safetensors": "s.safetensors"})
    hub.fail(origin="cdn", ranged=True, pace=200_000, times=None)
    room, work = tmp_path / "room", tmp_path / "work"
    room.mkdir()
    work.mkdir()
    old = work / "old.deathtensors"
    dt.save(old, {"a": np.arange(5)})
    content = old.read_bytes()
    url = f"hf://{REPO}/s.safetensors"
    words = {
        "convert": ["convert", "from-safetensors", url, str(old)],
        "append": ["append", str(old), url],
        "hub-convert": ["hub-convert", REPO, "s.safetensors"],
    }[command]
    process = subprocess.Popen(
        [*COMMAND, *words],
        env={**environment(hub, tmp_path), "TMPDIR": str(room)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 30
    while not _at_work(hub) and time.monotonic() < until:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    status = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGKILL: -9}[number]
    assert process.returncode == status, said
    assert "Traceback" not in said
    assert old.read_bytes() == content
    dt.open(old).close()
    if number != signal.SIGKILL:
        assert listing(work) == ["old.deathtensors"] and listing(room) == []


def _at_work(hub: Hub) -> bool:
    return any(one.origin == "cdn" for one in hub.log.under_way())


# --- what a killed process left


def _left(folder: Path, name: str, age: float) -> Path:
    left = folder / name
    left.mkdir()
    (left / _rooms._MARK).touch()
    (left / "half.deathtensors").write_bytes(b"half")
    when = time.time() - age
    for path in (left / _rooms._MARK, left / "half.deathtensors", left):
        os.utime(path, (when, when))
    return left


def test_folders_that_were_left_are_deleted_by_the_next(tmp_path: Path) -> None:
    target = str(tmp_path / "x")
    old = _left(tmp_path, ".deathtensors-old", 7200)
    fresh = _left(tmp_path, ".deathtensors-fresh", 60)
    foreign = tmp_path / ".deathtensors-foreign"
    foreign.mkdir()
    os.utime(foreign, (0, 0))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / _rooms._MARK).touch()
    (tmp_path / ".deathtensors-link").symlink_to(elsewhere)
    os.utime(elsewhere, (0, 0))
    with _rooms.workroom(target) as room:
        assert os.path.dirname(room) == str(tmp_path)
        assert not old.exists()
        assert fresh.exists() and foreign.exists() and elsewhere.exists()
    assert not os.path.exists(room)


def test_a_folder_that_somebody_works_in_stays(tmp_path: Path) -> None:
    with _rooms.workroom(str(tmp_path / "x")) as room:
        for name in (*os.listdir(room), ""):
            os.utime(os.path.join(room, name), (0, 0))
        code = (
            "import sys; from deathtensors._rooms import workroom\nwith workroom(sys.argv[1]): pass"
        )
        subprocess.run([sys.executable, "-c", code, str(tmp_path / "y")], check=True)
        assert os.path.exists(room)
    assert listing(tmp_path) == []
