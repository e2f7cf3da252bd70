"""Compressed files: every tensor and row costs only its own frames."""

from __future__ import annotations

import shutil
import signal
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deathtensors as dt
from helpers import parse, seek_table

FRAME = 256 << 10


def noise(size: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 256, size, np.uint8)


def smooth(size: int) -> np.ndarray[Any, Any]:
    return (np.arange(size) // 1000 % 256).astype(np.uint8)


MODEL: dict[str, Any] = {
    "tiny.0": smooth(100), "tiny.1": smooth(200), "tiny.2": smooth(300),
    "exact": smooth(FRAME), "large": smooth(3 * FRAME + 17), "tiny.3": smooth(10),
    "noise": noise(2 * FRAME), "floats": np.random.default_rng(1).standard_normal((400, 1000)),
    "empty": np.zeros(0), "last": smooth(5),
}  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    where = tmp_path / "x.deathtensors"
    dt.save(where, MODEL, compress=True)
    return where


def spans(blob: bytes) -> list[tuple[range, range]]:
    """For each frame where it is stored and what it holds."""
    found, stored, data = [], 0, 0
    for compressed, plain in seek_table(blob):
        found.append((range(stored, stored + compressed), range(data, data + plain)))
        stored, data = stored + compressed, data + plain
    return found


# --- how frames are cut


def test_frames_keep_to_tensors(path: Path) -> None:
    file = parse(path)
    frames = spans(file["blob"])
    tensors = {n: range(*t["data_offsets"]) for n, t in file["header"]["tensors"].items()}
    assert all(0 < len(data) <= FRAME for _, data in frames)
    for _, data in frames:
        inside = [
            n
            for n, span in tensors.items()
            if max(span.start, data.start) < min(span.stop, data.stop)
        ]
        if any(len(tensors[n]) > FRAME for n in inside):
            assert len(inside) == 1, "a large tensor shares a frame"
        else:
            assert all(
                tensors[n].start >= data.start and tensors[n].stop <= data.stop for n in inside
            )
    # Small neighbours share a frame; a large one is cut into as few as there can be.
    shared = [data for _, data in frames if data.start <= tensors["tiny.0"].start < data.stop]
    assert tensors["tiny.2"].stop <= shared[0].stop
    assert sum(data.start in tensors["large"] for _, data in frames) == 4


def test_every_frame_says_its_size_and_carries_a_checksum(path: Path) -> None:
    blob = parse(path)["blob"]
    for stored, data in spans(blob):
        magic, descriptor = struct.unpack_from("<IB", blob, stored.start)
        assert magic == 0xFD2FB528
        assert descriptor & 4, "no checksum"
        assert descriptor & 0x20 or descriptor >> 6, "no content size"
        assert descriptor & 3 == 0, "a dictionary"
        assert len(data) > 0


def test_a_frame_that_does_not_shrink_is_stored(tmp_path: Path) -> None:
    where = tmp_path / "x"
    dt.save(where, {"noise": noise(4 * FRAME)}, compress=True, compress_level=19)
    blob = parse(where)["blob"]
    for stored, data in spans(blob):
        # Its first block is of the raw kind: reading it costs a copy.
        at = stored.start + 4
        descriptor = blob[at]
        at += (
            1
            + (not descriptor & 0x20)
            + {0: descriptor >> 5 & 1, 1: 2, 2: 4, 3: 8}[descriptor >> 6]
        )
        header = int.from_bytes(blob[at : at + 3], "little")
        assert header >> 1 & 3 == 0
        assert len(stored) < len(data) + len(data) // 1000 + 64


def test_the_zstd_tool_reads_the_blob(path: Path, tmp_path: Path) -> None:
    """An implementation of its own; it skips the seek table."""
    tool = shutil.which("zstd")
    assert tool, "install zstd"
    (tmp_path / "blob.zst").write_bytes(parse(path)["blob"])
    data = subprocess.run(
        [tool, "-dc", tmp_path / "blob.zst"], capture_output=True, check=True
    ).stdout
    with dt.open(path) as f:
        for name in f:
            start, end = f.info(name)["data_offsets"]
            assert data[start:end] == f.get_bytes(name)


@pytest.mark.parametrize("level", [1, 3, 12, 22])
def test_levels(level: int, tmp_path: Path) -> None:
    where = tmp_path / "x"
    content = {"w": smooth(300_000), "v": noise(1000)}
    dt.save(where, content, compress=True, compress_level=level)
    with dt.open(where) as f:
        assert all(np.array_equal(f.get_tensor(n, "numpy"), v) for n, v in content.items())
        assert f.facts["stored_bytes"] < 30_000


def test_the_output_does_not_depend_on_threads(tmp_path: Path) -> None:
    made = []
    try:
        for threads in (1, 2, 5):
            dt.set_num_threads(threads)
            for again in range(2):
                where = tmp_path / f"{threads}.{again}"
                dt.save(where, MODEL, compress=True, checksum=True, digests=True)
                made.append(where.read_bytes())
    finally:
        dt.set_num_threads(None)
    assert all(data == made[0] for data in made)


# --- reading costs only what is needed


def test_damage_elsewhere_does_not_matter(path: Path) -> None:
    """The proof that only a tensor's own frames are read: all others are noise."""
    original = path.read_bytes()
    file = parse(path)
    for name in MODEL:
        span = range(*file["header"]["tensors"][name]["data_offsets"])
        data = bytearray(original)
        for stored, holds in spans(file["blob"]):
            if max(span.start, holds.start) >= min(span.stop, holds.stop):
                start = file["blob_start"] + stored.start
                data[start : start + len(stored)] = b"\xff" * len(stored)
        path.write_bytes(data)
        with dt.open(path) as f:
            assert np.array_equal(f.get_tensor(name, "numpy"), MODEL[name])
            assert f.stats(name)["count"] == MODEL[name].size


def test_rows_cost_only_their_frames(path: Path) -> None:
    file = parse(path)
    span = range(*file["header"]["tensors"]["floats"]["data_offsets"])
    wanted = range(span.start + 8000 * 200, span.start + 8000 * 210)
    data = bytearray(path.read_bytes())
    kept = 0
    for stored, holds in spans(file["blob"]):
        if max(wanted.start, holds.start) < min(wanted.stop, holds.stop):
            kept += 1
        else:
            start = file["blob_start"] + stored.start
            data[start : start + len(stored)] = b"\xff" * len(stored)
    path.write_bytes(data)
    assert kept == 1
    with dt.open(path) as f:
        part = f.get_tensor_slice("floats", 200, 10, framework="numpy")
        assert np.array_equal(part, MODEL["floats"][200:210])
        with pytest.raises(dt.DeathTensorsError):
            f.get_tensor_slice("floats", 0, 10, framework="numpy")


@pytest.mark.parametrize("backend", ["mmap", "pread"])
def test_damage_is_found_in_the_frame_where_it_is(backend: str, path: Path) -> None:
    file = parse(path)
    original = path.read_bytes()
    span = range(*file["header"]["tensors"]["large"]["data_offsets"])
    (hit,) = (s for s, d in spans(file["blob"]) if d.start == span.start + FRAME)
    for at in (hit.start + 20, hit.stop - 1):
        data = bytearray(original)
        data[file["blob_start"] + at] ^= 0x10
        path.write_bytes(data)
        with dt.open(path, backend=backend) as f:
            with pytest.raises(dt.DeathTensorsError) as caught:
                f.get_tensor("large", "numpy")
            assert caught.value.code.startswith("frames.")
            assert caught.value.tensor == "large"
            assert np.array_equal(f.get_tensor("noise", "numpy"), MODEL["noise"])
            first = f.get_tensor_slice("large", 0, FRAME, framework="numpy")
            assert np.array_equal(first, MODEL["large"][:FRAME])
            report = f.verify_report()
            assert report["frames"] is False
            with pytest.raises(dt.DeathTensorsError):
                f.verify()


def test_opening_reads_no_data(path: Path) -> None:
    """Everything after the header may be noise, as long as nobody asks."""
    start = parse(path)["blob_start"]
    data = bytearray(path.read_bytes())
    data[start:] = b"\xff" * (len(data) - start)
    path.write_bytes(data)
    with dt.open(path) as f:
        assert f.keys() == list(MODEL)
        assert f.info("large")["nbytes"] == 3 * FRAME + 17
        assert f.metadata() == {}
        with pytest.raises(dt.DeathTensorsError):
            f.get_bytes("tiny.0")


def test_many_tensors_that_share_frames_are_all_read_alike(tmp_path: Path) -> None:
    path, plain = tmp_path / "many", tmp_path / "plain"
    content = {f"layers.{i}.bias": np.full(i % 7, i, np.float32) for i in range(20_000)}
    dt.save(path, content, compress=True, digests=True)
    dt.save(plain, content)
    with dt.open(path) as f, dt.open(plain) as g:
        for name, value in f.get_tensors(framework="numpy").items():
            assert (value == content[name]).all() and value.size == content[name].size
        assert repr(f.all_stats()) == repr(g.all_stats())
        assert f.verify()
    assert dt.diff(path, plain, compare_bytes=True)["equal"]
    dt.to_safetensors(path, tmp_path / "many.safetensors")
    dt.to_safetensors(plain, tmp_path / "plain.safetensors")
    assert (tmp_path / "many.safetensors").read_bytes() == (
        tmp_path / "plain.safetensors"
    ).read_bytes()


def test_facts_of_a_compressed_file(path: Path) -> None:
    file = parse(path)
    with dt.open(path) as f:
        facts = f.facts
    assert facts["frames"] == len(seek_table(file["blob"]))
    assert facts["stored_bytes"] == len(file["blob"])
    assert facts["data_start"] == file["blob_start"]
    assert facts["file_bytes"] == path.stat().st_size
    assert facts["tensor_bytes"] == sum(v.nbytes for v in MODEL.values())
    assert facts["parameters"] == sum(v.size for v in MODEL.values())


# --- appending


def test_appending_reuses_the_old_frames(path: Path) -> None:
    before = parse(path)
    old = spans(before["blob"])
    dt.append(path, {"more": smooth(2 * FRAME), "little": smooth(9)})
    after = parse(path)
    new = spans(after["blob"])
    assert new[: len(old)] == old
    end = old[-1][0].stop
    assert after["blob"][:end] == before["blob"][:end]
    with dt.open(path) as f:
        assert f.keys() == [*MODEL, "more", "little"]
        assert np.array_equal(f.get_tensor("more", "numpy"), smooth(2 * FRAME))
        assert all(np.array_equal(f.get_tensor(n, "numpy"), v) for n, v in MODEL.items())


def test_appending_does_not_decode_old_frames(path: Path) -> None:
    """They may even be damaged: that is not append's business, and it stays as it was."""
    file = parse(path)
    data = bytearray(path.read_bytes())
    hit = spans(file["blob"])[2][0]
    data[file["blob_start"] + hit.start + 30] ^= 1
    path.write_bytes(data)
    dt.append(path, {"more": smooth(100)})
    with dt.open(path) as f:
        assert np.array_equal(f.get_tensor("more", "numpy"), smooth(100))
        assert np.array_equal(f.get_tensor("last", "numpy"), MODEL["last"])


def test_a_legacy_single_frame_is_read_appended_to_and_stays_readable(
    v030: Any, tmp_path: Path
) -> None:
    path = tmp_path / "old.deathtensors"
    rows = [("a", "U8", [5], bytes(range(5)).hex(), {}), ("b", "U8", [7], bytes(7).hex(), {})]
    v030.call("save_file", path=str(path), tensors=rows, compress=True, checksum=True)
    with dt.open(path, verify=True) as f:
        assert f.get_bytes("a") == bytes(range(5))
        assert f.facts["frames"] is None
    dt.append(path, {"c": smooth(50)})
    with dt.open(path, verify=True) as f:
        assert f.keys() == ["a", "b", "c"]
        assert f.get_bytes("a") == bytes(range(5))
        assert np.array_equal(f.get_tensor("c", "numpy"), smooth(50))
        assert f.has_checksum() and f.is_compressed()
    found = v030.call("describe", path=str(path), verify=True)
    assert found["bytes"]["c"] == smooth(50).tobytes().hex()


# --- backends


@pytest.mark.parametrize("backend", ["mmap", "pread", "auto"])
@pytest.mark.parametrize("options", [{}, {"compress": True}, {"digests": True, "checksum": True}])
def test_backends_give_the_same(backend: str, options: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "x"
    dt.save(path, MODEL, **options)
    with dt.open(path, backend=backend, verify=True) as f:
        loaded = f.get_tensors(framework="numpy")
        assert all(np.array_equal(loaded[n], v) for n, v in MODEL.items())
        assert all(f.get_bytes(n) == v.tobytes() for n, v in MODEL.items())
        part = f.get_tensor_slice("floats", 3, 5, framework="numpy")
        assert np.array_equal(part, MODEL["floats"][3:8])
        loaded["floats"][:] = 0
        assert np.array_equal(f.get_tensor_slice("floats", 3, 5, framework="numpy"), part)


def test_pread_holds_no_mapping(tmp_path: Path) -> None:
    path = tmp_path / "x"
    dt.save(path, MODEL)
    with dt.open(path, backend="pread") as f:
        f.get_tensors(framework="numpy")
        f.get_buffer("floats")
        assert str(path) not in Path("/proc/self/maps").read_text()


def test_an_unknown_backend_is_misuse(path: Path) -> None:
    with pytest.raises(dt.UsageError) as caught:
        dt.open(path, backend="carrier pigeon")
    assert caught.value.code == "usage.option"


def test_reading_one_huge_tensor_hears_signals(tmp_path: Path) -> None:
    size = 1 << 30
    path = tmp_path / "x.deathtensors"
    dt.save(path, {"w": np.broadcast_to(np.uint8(7), (size,))}, compress=True)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    # Setting aside and filling a gibibyte takes longer than that anywhere.
    before = signal.signal(signal.SIGALRM, stop)
    try:
        with dt.open(path) as file:
            for read in (file.get_bytes, file.get_buffer):
                signal.setitimer(signal.ITIMER_REAL, 0.02)
                with pytest.raises(KeyboardInterrupt):
                    read("w")
            assert file.get_tensor_slice("w", size - 2, 2).tolist() == [7, 7]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
