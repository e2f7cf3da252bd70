"""Every way of writing, cut at every step: what stands there is whole, old or new.

`tests/faults/shim.c` counts the calls that change files, and cuts the chosen one;
`tests/faults/server.py` has the jobs. docs/reliability.md says what is promised.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import deathtensors as dt
from helpers import BUILD, ROOT, listing

HERE = ROOT / "tests" / "faults"
SINGLE = ("no space", "io error", "short", "interrupted", "kill before", "kill after")
LASTING = ("full disk", "dead disk")
ERRNO = {"no space": 28, "io error": 5, "interrupted": 4, "full disk": 28, "dead disk": 5}
JOBS = (
    "save", "save, compressed", "save, footer and digests",
    "append", "append, compressed", "append, footer and digests",
    "save_sharded", "save_sharded, no footers", "save_sharded, digests",
    "save_sharded, more shards",
    "from_safetensors", "from_safetensors, long", "from_safetensors, compressed",
    "to_safetensors", "to_safetensors, compressed", "write_manifest", "copy_tensors",
)  # fmt: skip
FROM_NOTHING = ("save", "save_sharded", "save_sharded, digests", "to_safetensors")
Files = dict[str, bytes]


class Server:
    """Runs jobs that are cut short, in a process of their own each."""

    def __init__(self, folder: Path) -> None:
        library = folder / "shim.so"
        compiler = os.environ.get("CC", "cc")
        subprocess.run(
            [
                *compiler.split(),
                "-O1",
                "-Wall",
                "-fPIC",
                "-shared",
                "-o",
                library,
                HERE / "shim.c",
                "-ldl",
            ],
            check=True,
        )
        self.process = subprocess.Popen(
            [sys.executable, HERE / "server.py", library],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "LD_PRELOAD": str(library)},
        )

    def run(self, job: str, folder: Path, generation: int = 1, **fault: Any) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        order = {"job": job, "folder": str(folder), "generation": generation, **fault}
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        assert answer["ended"], answer
        return answer

    def close(self) -> None:
        self.process.communicate(timeout=60)
        assert self.process.returncode == 0


def files_of(folder: Path) -> Files:
    return {p.name: normal(p.name, p.read_bytes()) for p in folder.iterdir() if p.is_file()}


def normal(name: str, data: bytes) -> bytes:
    """A file's bytes, without the time in a manifest."""
    if name.endswith(".json"):
        try:
            return json.dumps({**json.loads(data), "written_at": None}).encode()
        except ValueError:
            return data  # cut, then: what the comparison shall find
    return data


def put(folder: Path, files: Files) -> None:
    for path in folder.iterdir():
        if path.is_file():
            path.unlink()
    for name, data in files.items():
        (folder / name).write_bytes(data)


def temporary(names: Any) -> list[str]:
    return [name for name in names if name.endswith((".tmp", ".old"))]


class Case:
    """A job, what stands there before it and after it, and the calls that it makes."""

    def __init__(self, server: Server, folder: Path, job: str, over: bool) -> None:
        self.server, self.folder, self.job = server, folder, job
        server.run("sources", folder)
        if over:
            assert server.run(job, folder, 0)["error"] is None
        self.old = files_of(folder)
        answer = server.run(job, folder)
        assert answer["error"] is None, answer
        self.calls: list[str] = answer["names"]
        self.new = files_of(folder)
        assert not temporary(self.new)
        assert self.old != self.new
        self.index = "x.deathtensors" if job.startswith("save_sharded") else None

    def cut(self, fault: str, nth: int, only: str = "") -> bool:
        """Runs the job with one fault and checks everything. Answers whether the
        fault concerned the call at all."""
        put(self.folder, self.old)
        readers = self.readers()
        answer = self.server.run(self.job, self.folder, fault=fault, nth=nth, only=only)
        if not answer["hit"]:
            assert answer["error"] is None
            assert files_of(self.folder) == self.new
            return False
        called = only or self.calls[nth - 1]
        where = f"{self.job}, {fault} at call {nth} ({called}): {answer}"
        now = files_of(self.folder)
        assert answer["killed"] == fault.startswith("kill"), where
        if answer["killed"]:
            self.check_killed(now, where)
            self.check_readers(readers)
            young = fault == "kill before"
            if nth % 3 == 0 or not young:
                self.check_recovery(now, where, young)
            return True
        error = answer["error"]
        if error is None:
            # The fault did not matter: a short write goes on, a lock is a courtesy, …
            kept = {name: data for name, data in now.items() if name not in temporary(now)}
            assert kept == self.new, where
            # … and what cannot be deleted stays until somebody tidies up.
            assert kept == now or called == "unlink" or fault == "dead disk", where
        else:
            assert error["code"] == "io.failed" and error["kind"] == "io", where
            assert error["errno"] == ERRNO[fault], where
            assert "\n" not in error["line"]
            if fault == "dead disk":
                self.check_killed(now, where)
            else:
                assert now == self.old, (where, sorted(now))
        self.check_readers(readers)
        return True

    def check_killed(self, now: Files, where: str) -> None:
        """Old or new, whole. Of a sharded model that is replaced the index may be
        missing, but what an index names is always its own."""
        kept = {name: data for name, data in now.items() if name not in temporary(now)}
        if self.index is None:
            assert kept in (self.old, self.new), (where, sorted(kept))
            return
        index = kept.get(self.index)
        if index is None:
            # Nothing is lost: all old bytes are there, if not all by their names.
            assert not self.old or set(self.old.values()) <= set(now.values()), where
            return
        wanted = [f for f in (self.old, self.new) if f.get(self.index) == index]
        assert wanted, where
        # Indexes without digests of two generations are the same bytes.
        assert any(f.items() <= kept.items() for f in wanted), (where, sorted(kept))
        with dt.open_sharded(self.folder / self.index, verify=True) as model:
            for path in model.shard_paths():
                assert Path(path).name in kept
            assert all(len(model.get_bytes(name)) for name in model.keys())

    def check_recovery(self, now: Files, where: str, young: bool) -> None:
        """What a process that was killed leaves does not hinder the next one, which
        removes it if it is old enough."""
        if (
            self.job.startswith("append")
            and now.get("x.deathtensors") != self.old["x.deathtensors"]
        ):
            (self.folder / "x.deathtensors").write_bytes(self.old["x.deathtensors"])
        left = temporary(now)
        # What stood aside is never tidied up by others …
        aside = [name for name in left if name.endswith(".old")]
        other = self.server.run("save elsewhere", self.folder, later=4000) if aside else None
        assert set(aside) <= files_of(self.folder).keys(), (where, other)
        answer = self.server.run(self.job, self.folder, later=3000 if young else 4000)
        assert answer["error"] is None, (where, answer)
        found = files_of(self.folder)
        # … but by whoever saves that model again.
        assert temporary(found) == (left if young and not aside else []), where
        assert {n: d for n, d in found.items() if n not in left} == self.new, where

    def readers(self) -> list[Any]:
        if self.index is not None or "x.deathtensors" not in self.old:
            return []
        path = self.folder / "x.deathtensors"
        return [dt.open(path, backend=backend) for backend in ("mmap", "pread")]

    def check_readers(self, readers: list[Any]) -> None:
        """Who had the old file open reads the old file."""
        if not readers:
            return
        path = self.folder / "again.deathtensors"
        path.write_bytes(self.old["x.deathtensors"])
        with dt.open(path) as again:
            for reader in readers:
                with reader:
                    assert reader.keys() == again.keys()
                    for name in reader.keys():
                        assert reader.get_bytes(name) == again.get_bytes(name)
        path.unlink()


TRIED: dict[str, tuple[int, int]] = {}
STARTED = time.monotonic()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    one = Server(tmp_path_factory.mktemp("shim"))
    yield one
    one.close()


def cut_everywhere(case: Case, label: str) -> None:
    tried = 0
    for fault in SINGLE + LASTING:
        for nth in range(1, len(case.calls) + 1):
            tried += case.cut(fault, nth)
    TRIED[label] = (len(case.calls), tried)


@pytest.mark.parametrize("job", JOBS)
def test_replacing_is_cut_at_every_step(job: str, server: Server, tmp_path: Path) -> None:
    case = Case(server, tmp_path, job, over=True)
    # Everything is on the disk before the first old file gives way.
    before = case.calls[: case.calls.index("rename")]
    assert before.count("open") == before.count("fsync") >= 1
    cut_everywhere(case, f"{job}, over an existing file")


@pytest.mark.parametrize("job", FROM_NOTHING)
def test_new_files_are_cut_at_every_step(job: str, server: Server, tmp_path: Path) -> None:
    cut_everywhere(Case(server, tmp_path, job, over=False), f"{job}, new")


def test_what_is_flushed_while_writing_is_cut_too(server: Server, tmp_path: Path) -> None:
    """The flushing thread and the writing one take turns as they like, so that calls
    are chosen by name here."""
    case = Case(server, tmp_path, "save, large", over=True)
    assert "fdatasync" in case.calls
    tried = 0
    for fault in ("no space", "io error", "interrupted", "kill before", "kill after", "dead disk"):
        for only in ("fdatasync", "fsync"):
            tried += case.cut(fault, 1, only)
    assert tried == 12
    TRIED["save, large, over an existing file"] = (2, tried)


# --- sharded models


def two_models(folder: Path, **options: Any) -> tuple[Path, Files, Files]:
    """Two models by the same names, of which only the values differ."""
    path = folder / "m.deathtensors"
    made = []
    for value in (b"a", b"b"):
        tensors = {f"t{n}": ("U8", [100], value * 100) for n in range(3)}
        dt.save_sharded(path, tensors, 100, **options)
        made.append(files_of(folder))
    return path, made[0], made[1]


def test_an_index_with_digests_refuses_the_shards_of_another_model(tmp_path: Path) -> None:
    path, old, new = two_models(tmp_path, digests=True)
    for mixed in range(1, 7):
        # Each shard from one of the two, the index from the old one.
        chosen = {
            name: (new if name[2:7].isdigit() and mixed >> (int(name[2:7]) - 1) & 1 else old)[name]
            for name in old
        }
        put(tmp_path, chosen)
        with dt.open_sharded(path) as model:
            for nth in range(3):
                if mixed >> nth & 1:
                    with pytest.raises(dt.IntegrityError) as caught:
                        model.get_bytes(f"t{nth}")
                    assert caught.value.code == "integrity.root"
                else:
                    assert model.get_bytes(f"t{nth}") == b"a" * 100


@pytest.mark.parametrize("options", [{}, {"digests": True}, {"compress": True}], ids=str)
def test_an_open_model_never_reads_the_shards_of_the_next_one(
    options: dict[str, Any], tmp_path: Path
) -> None:
    path, old, new = two_models(tmp_path, **options)
    put(tmp_path, old)
    with dt.open_sharded(path) as model:
        assert model.get_bytes("t0") == b"a" * 100
        tensors = {f"t{n}": ("U8", [100], b"b" * 100) for n in range(3)}
        dt.save_sharded(path, tensors, 100, **options)
        assert files_of(tmp_path) == new
        # What was open stays readable; what was not is somebody else's now.
        assert model.get_bytes("t0") == b"a" * 100
        for name in ("t1", "t2"):
            with pytest.raises(dt.DeathTensorsError) as caught:
                model.get_bytes(name)
            assert caught.value.code == "io.changed"
    with dt.open_sharded(path) as model:
        assert model.get_bytes("t1") == b"b" * 100


def test_a_model_that_cannot_be_put_back_is_not_lost(server: Server, tmp_path: Path) -> None:
    """The system refuses the exchange of shards half-way, and refuses undoing it too."""
    case = Case(server, tmp_path, "save_sharded", over=True)
    last = max(n for n, name in enumerate(case.calls, 1) if name == "rename")
    put(tmp_path, case.old)
    answer = server.run("save_sharded", tmp_path, fault="dead disk", nth=last)
    now = files_of(tmp_path)
    assert "x.deathtensors" not in now
    assert set(case.old.values()) <= set(now.values())
    line = answer["error"]["line"]
    assert "could not be put back" in line
    assert any(name in line for name in temporary(now))


# --- what is left behind


def test_only_what_nobody_works_on_is_tidied_up(server: Server, tmp_path: Path) -> None:
    ours = ".deathtensors-1f-0-3b9ac9ff.tmp"
    others = [
        ".deathtensors-1f-0.tmp", ".deathtensors-1f-0-g.tmp", ".deathtensors-1F-0-1.tmp",
        "deathtensors-1f-0-1.tmp", ".deathtensors-1f-0-1", ".deathtensors---.tmp",
    ]  # fmt: skip
    server.run("sources", tmp_path)
    for name in (ours, *others):
        (tmp_path / name).write_bytes(b"left")
    (tmp_path / ".deathtensors-1-0-1.tmp").mkdir()
    (tmp_path / ".deathtensors-1-0-2.tmp").symlink_to("kept")
    (tmp_path / "kept").write_bytes(b"kept")
    os.mkfifo(tmp_path / ".deathtensors-1-0-3.tmp")
    before = listing(tmp_path)
    server.run("save", tmp_path)
    assert listing(tmp_path) == sorted([*before, "x.deathtensors"])  # too young
    held = dt_lock(tmp_path / ours)
    server.run("save", tmp_path, later=4000)
    assert listing(tmp_path) == sorted([*before, "x.deathtensors"])  # somebody's
    os.close(held)
    server.run("save", tmp_path, later=4000)
    assert set(before) - set(listing(tmp_path)) == {ours}


def dt_lock(path: Path) -> int:
    import fcntl

    handle = os.open(path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


def test_a_file_that_is_being_written_is_locked(tmp_path: Path) -> None:
    import fcntl

    def locked() -> bytes:
        (name,) = temporary(listing(tmp_path))
        handle = os.open(tmp_path / name, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(handle)
        return b"x"

    dt.save(tmp_path / "x", {"w": ("U8", [1], locked)})
    handle = os.open(tmp_path / "x", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(handle)


# --- full disks


FILL = """
    import sys
    import deathtensors as dt
    path = sys.argv[1]
    try:
        dt.save(path, {"w": ("U8", [8 << 20], bytes(8 << 20))})
    except dt.FileAccessError as error:
        print(error.errno, error.code)
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path | None]:
    """A filesystem of 2 MiB, for those who may make one."""
    folder = tmp_path / "small"
    folder.mkdir()
    made = shutil.which("mount") and os.geteuid() == 0
    options = ["-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if not made or subprocess.run(["mount", *options], capture_output=True).returncode:
        yield None
        return
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_full_keeps_the_old_file(
    small_disk: Path | None, server: Server, tmp_path: Path
) -> None:
    """On a real full disk where that can be had; the same errors by the shim anyway."""
    case = Case(server, tmp_path, "save, footer and digests", over=True)
    for nth in range(1, len(case.calls) + 1):
        case.cut("full disk", nth)
    if small_disk is not None:
        from helpers import run_python

        path = small_disk / "x.deathtensors"
        dt.save(path, {"old": ("U8", [1 << 20], bytes(1 << 20))})
        before = path.read_bytes()
        assert run_python(FILL, path).stdout == "28 io.failed\n"
        assert path.read_bytes() == before
        assert listing(small_disk) == ["x.deathtensors"]
        dt.save(path, {"new": ("U8", [3], b"abc")})
        assert dt.open(path).keys() == ["new"]


# --- the table


def test_everything_that_was_tried_is_documented() -> None:
    """The counts go to build/faults.md. How often a system is called depends on it, so
    that the documented ones are those of one machine; the jobs are the same."""
    lines = ["| job | calls | cut |", "|---|---|---|"]
    lines += [f"| {job} | {calls} | {tried} |" for job, (calls, tried) in sorted(TRIED.items())]
    total = sum(tried for _, tried in TRIED.values())
    lines.append(f"| together | | {total} |")
    BUILD.mkdir(exist_ok=True)
    text = "\n".join(lines)
    (BUILD / "faults.md").write_text(f"{text}\n", encoding="utf-8")
    assert len(TRIED) == len(JOBS) + len(FROM_NOTHING) + 1
    documented = (ROOT / "docs" / "reliability.md").read_text("utf-8")
    for job, (calls, tried) in TRIED.items():
        assert calls > 1 and tried >= 5 * calls, job
        assert f"| {job} | " in documented
