"""A file is there whole, or the old one is; nothing else is left behind."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deathtensors as dt
from helpers import listing, run_python

OLD = {"old": np.arange(10)}
NEW = {"new": np.arange(20.0)}


def boom() -> bytes:
    raise RuntimeError("the source failed")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- permissions and links


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077, 0o000])
def test_a_new_file_respects_the_umask(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        dt.save(tmp_path / "x", NEW)
        dt.write_manifest(tmp_path / "x")
    finally:
        os.umask(before)
    assert mode(tmp_path / "x") == 0o666 & ~umask
    assert mode(tmp_path / "x.json") == 0o666 & ~umask


@pytest.mark.parametrize("kept", [0o600, 0o644, 0o664, 0o440])
def test_an_existing_files_mode_is_kept(kept: int, tmp_path: Path) -> None:
    path = tmp_path / "x"
    dt.save(path, OLD)
    path.chmod(kept)
    dt.save(path, NEW)
    assert mode(path) == kept
    dt.append(path, OLD)
    assert mode(path) == kept
    assert dt.open(path).keys() == ["new", "old"]


def test_symbolic_links_are_written_through(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "links").mkdir()
    target, link = tmp_path / "real" / "x", tmp_path / "links" / "y"
    dt.save(target, OLD)
    link.symlink_to(Path("..") / "real" / "x")
    dt.save(link, NEW)
    dt.append(link, OLD)
    assert link.is_symlink() and not target.is_symlink()
    assert dt.open(target).keys() == ["new", "old"]
    assert listing(tmp_path / "links") == ["y"]
    assert listing(tmp_path / "real") == ["x"]


def test_a_link_to_nothing_yet_creates_its_target(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("target")
    dt.save(link, NEW)
    assert link.is_symlink()
    assert dt.open(tmp_path / "target").keys() == ["new"]


def test_a_hard_link_keeps_the_old_content(tmp_path: Path) -> None:
    dt.save(tmp_path / "a", OLD)
    os.link(tmp_path / "a", tmp_path / "b")
    dt.save(tmp_path / "a", NEW)
    assert dt.open(tmp_path / "b").keys() == ["old"]


def test_where_no_file_can_be(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        dt.save(tmp_path / "no" / "such" / "folder", NEW)
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        dt.save(tmp_path / "folder", NEW)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError):
        dt.save(tmp_path / "file" / "x", NEW)
    assert listing(tmp_path) == ["file", "folder"]
    assert listing(tmp_path / "folder") == []


# --- failures


WRITERS: dict[str, Any] = {
    "save": lambda p: dt.save(p, {"a": np.ones(1000), "b": ("U8", [3], boom)}),
    "save compressed": lambda p: dt.save(
        p, {"a": np.ones(1000), "b": ("U8", [3], boom)}, compress=True, checksum=True
    ),
    "save digests": lambda p: dt.save(p, {"b": ("U8", [3], boom)}, digests=True),
    "save_file": lambda p: dt.save_file(p, [("b", "U8", [3], boom, {})]),
    "append": lambda p: dt.append(p, {"a": np.ones(1000), "b": ("U8", [3], boom)}),
    "append_file": lambda p: dt.append_file(p, [("b", "U8", [3], boom, {})]),
}


@pytest.mark.parametrize("how", WRITERS)
@pytest.mark.parametrize("options", [{}, {"compress": True}, {"checksum": True}])
def test_a_failed_write_leaves_the_old_file_whole(
    how: str, options: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "x"
    dt.save(path, OLD, **options)
    before = path.read_bytes()
    with pytest.raises(RuntimeError, match="the source failed"):
        WRITERS[how](path)
    assert path.read_bytes() == before
    assert listing(tmp_path) == ["x"]


def test_a_failed_write_of_a_new_file_leaves_nothing(tmp_path: Path) -> None:
    for how in ("save", "save compressed", "save digests", "save_file"):
        with pytest.raises(RuntimeError, match="the source failed"):
            WRITERS[how](tmp_path / "x")
    assert listing(tmp_path) == []


def test_a_source_of_another_length_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    dt.save(path, OLD)
    before = path.read_bytes()
    for wrong in (b"", b"ab", b"abcd"):
        with pytest.raises(dt.UsageError) as caught:
            dt.save(path, {"w": ("U8", [3], lambda wrong=wrong: wrong)})
        assert caught.value.code == "usage.data_size"
        assert caught.value.tensor == "w"
    assert path.read_bytes() == before
    assert listing(tmp_path) == ["x"]


def test_appending_a_name_that_exists_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x"
    dt.save(path, OLD, checksum=True)
    before = path.read_bytes()
    with pytest.raises(dt.UsageError) as caught:
        dt.append(path, {"more": np.ones(3), "old": np.ones(2)})
    assert caught.value.code == "usage.duplicate_name"
    assert caught.value.tensor == "old"
    assert path.read_bytes() == before
    assert listing(tmp_path) == ["x"]


def test_appending_to_what_is_no_file_of_ours_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"PK\3\4" + bytes(100))
    with pytest.raises(dt.FormatError):
        dt.append(path, NEW)
    assert path.read_bytes() == b"PK\3\4" + bytes(100)
    with pytest.raises(FileNotFoundError):
        dt.append(tmp_path / "none", NEW)
    assert listing(tmp_path) == ["x"]


def test_failed_shards_leave_no_files(tmp_path: Path) -> None:
    tensors = {"a": np.ones(1000), "b": np.ones(1000), "c": ("U8", [3], boom)}
    with pytest.raises(RuntimeError, match="the source failed"):
        dt.save_sharded(tmp_path / "x.deathtensors", tensors, max_shard_bytes=9000)
    assert "x.deathtensors" not in listing(tmp_path)
    assert not [name for name in listing(tmp_path) if "tmp" in name]


def test_failed_conversions_leave_the_old_file_whole(tmp_path: Path) -> None:
    dt.save(tmp_path / "x.deathtensors", OLD)
    before = (tmp_path / "x.deathtensors").read_bytes()
    (tmp_path / "x.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      oops")
    with pytest.raises(dt.FormatError):
        dt.from_safetensors(tmp_path / "x.safetensors")
    assert (tmp_path / "x.deathtensors").read_bytes() == before
    assert listing(tmp_path) == ["x.deathtensors", "x.safetensors"]


def test_progress_can_cancel_a_write(tmp_path: Path) -> None:
    path = tmp_path / "x"
    dt.save(path, OLD)
    before = path.read_bytes()
    told: list[tuple[int, int]] = []

    def slow() -> bytes:
        time.sleep(0.06)
        return bytes(1 << 20)

    def progress(done: int, total: int) -> None:
        told.append((done, total))
        # Until the end, whoever opens the path sees the old file.
        assert path.read_bytes() == before
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dt.save(path, {f"t{i}": ("U8", [1 << 20], slow) for i in range(9)}, progress=progress)
    assert told and all(0 <= done < total for done, total in told)
    assert path.read_bytes() == before
    assert listing(tmp_path) == ["x"]


# --- signals and full disks

SAVE_BIG = """
    import sys
    import numpy as np
    import deathtensors as dt
    options = dict(item.split("=") for item in sys.argv[2:])
    tensors = {f"t{i}": np.random.default_rng(i).integers(0, 256, 64 << 20, np.uint8) for i in range(8)}
    print("ready", flush=True)
    dt.save(sys.argv[1], tensors, compress="compress" in options, checksum="checksum" in options,
            compress_level=int(options.get("compress", 3)))
    print("done", flush=True)
"""


@pytest.mark.parametrize("options", [[], ["compress=15"], ["checksum=1"]], ids=str)
def test_ctrl_c_leaves_the_old_file_and_nothing_else(options: list[str], tmp_path: Path) -> None:
    path = tmp_path / "x"
    dt.save(path, OLD, checksum=True)
    before = path.read_bytes()
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SAVE_BIG), str(path), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    # As soon as the temporary file is there, half a gigabyte is still to come.
    until = time.monotonic() + 60
    while listing(tmp_path) == ["x"] and process.poll() is None and time.monotonic() < until:
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert "KeyboardInterrupt" in err, (out, err)
    assert "done" not in out
    assert path.read_bytes() == before
    assert listing(tmp_path) == ["x"]


FILL = """
    import resource, signal, sys
    import numpy as np
    import deathtensors as dt
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the write fails instead of the process
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    path, what = sys.argv[1], sys.argv[2]
    tensors = {"big": np.random.default_rng(0).integers(0, 256, 8 << 20, np.uint8)}
    try:
        if what == "append":
            dt.append(path, tensors)
        elif what == "shards":
            dt.save_sharded(path, tensors, max_shard_bytes=3 << 20)
        elif what == "convert":
            dt.to_safetensors(sys.argv[3], path)
        else:
            dt.save(path, tensors, compress=what == "compress", checksum=what == "checksum")
    except OSError as error:
        assert isinstance(error, dt.DeathTensorsError), type(error)
        assert error.kind == "io", error.kind
        print(error.errno, str(error))
"""


@pytest.mark.parametrize("what", ["save", "compress", "checksum", "append", "shards", "convert"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(what: str, tmp_path: Path) -> None:
    path, source = tmp_path / "x.deathtensors", tmp_path / "big.deathtensors"
    dt.save(path, OLD)
    dt.save(source, {"big": np.zeros(8 << 20, np.uint8)})
    before = path.read_bytes()
    done = run_python(FILL, path, what, source)
    assert done.stdout.startswith("27 "), done.stdout  # EFBIG
    assert path.read_bytes() == before
    assert listing(tmp_path) == ["big.deathtensors", "x.deathtensors"]


def test_killed_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    dt.save(path, OLD, checksum=True)
    before = path.read_bytes()
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SAVE_BIG), str(path)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    until = time.monotonic() + 60
    while listing(tmp_path) == ["x"] and process.poll() is None and time.monotonic() < until:
        time.sleep(0.001)
    process.kill()
    process.communicate(timeout=60)
    assert path.read_bytes() == before
    dt.save(path, NEW)
    assert dt.open(path).keys() == ["new"]


# --- readers and writers at once


@pytest.mark.parametrize("options", [{}, {"compress": True}])
@pytest.mark.parametrize("backend", ["mmap", "pread"])
def test_an_open_reader_keeps_its_view_when_the_file_is_replaced(
    options: dict[str, Any], backend: str, tmp_path: Path
) -> None:
    path = tmp_path / "x"
    values = np.random.default_rng(0).standard_normal(100_000)
    dt.save(path, {"w": values}, **options)
    with dt.open(path, backend=backend) as f:
        first = f.get_tensor("w", framework="numpy")
        dt.save(path, {"other": np.zeros(5)})
        assert np.array_equal(first, values)
        assert np.array_equal(f.get_tensor("w", framework="numpy"), values)
        assert f.keys() == ["w"]
    assert dt.open(path).keys() == ["other"]


def test_a_file_can_be_saved_over_the_one_its_tensors_come_from(tmp_path: Path) -> None:
    path = tmp_path / "x"
    values = np.random.default_rng(0).standard_normal((1000, 300))
    dt.save(path, {"w": values, "v": values[0]})
    with dt.open(path) as f:
        tensors = f.get_tensors(framework="numpy")
        tensors["w"] = tensors["w"] * 1
        dt.save(path, tensors)
    with dt.open(path) as f:
        assert np.array_equal(f.get_tensor("w", framework="numpy"), values)
        assert np.array_equal(f.get_tensor("v", framework="numpy"), values[0])


def test_appending_to_an_open_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    dt.save(path, OLD)
    with dt.open(path) as f:
        view = f.get_tensor("old", framework="numpy")
        dt.append(path, {"copy": view})
        assert f.keys() == ["old"]
    assert dt.open(path).keys() == ["old", "copy"]
