"""Digests and the root: a file pinned by 32 bytes, checked piece by piece."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deathtensors as dt
from helpers import parse, safetensors_file, sha256

MODEL = {
    "a": np.arange(1000.0),
    "b": np.ones((3, 4), np.float32),
    "c": np.zeros(0),
    "d": np.ones(7),
}
OPTIONS = [{}, {"compress": True}, {"checksum": True}, {"compress": True, "checksum": True}]


def save(path: Path, model: dict[str, Any] = MODEL, **options: Any) -> str:
    dt.save(path, model, digests=True, **options)
    with dt.open(path) as f:
        assert f.root is not None
        return f.root


def damage(path: Path, name: str, at: int = 0) -> None:
    """Changes a byte of one tensor in an uncompressed file."""
    file = parse(path)
    data = bytearray(path.read_bytes())
    data[file["blob_start"] + file["header"]["tensors"][name]["data_offsets"][0] + at] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_root_commits_to_everything(options: dict[str, Any], tmp_path: Path) -> None:
    root = save(tmp_path / "x", **options)
    text = parse(tmp_path / "x")["text"].rstrip(b" ")
    assert text.count(root.encode()) == 1
    assert root == hashlib.sha256(text.replace(root.encode(), b"0" * 64)).hexdigest()
    with dt.open(tmp_path / "x") as f:
        assert f.has_digests()
        for name, value in MODEL.items():
            assert f.info(name)["sha256"] == sha256(value.tobytes())
            assert f.verify(name) is True
        assert f.verify() is True
        report = f.verify_report()
        assert report["root"] is True and report["errors"] == []
        assert report["tensors"] == dict.fromkeys(MODEL, True)
    # The same content has the same root; the least change has another.
    assert save(tmp_path / "again", **options) == root
    for changed in (
        {**MODEL, "d": np.ones(7) * 2},
        {**MODEL, "e": np.ones(1)},
        {k: MODEL[k] for k in ("a", "b", "d")},
        {("A" if k == "a" else k): v for k, v in MODEL.items()},
        {**MODEL, "b": np.ones((4, 3), np.float32)},
    ):
        assert save(tmp_path / "other", changed, **options) != root
    assert save(tmp_path / "other", global_metadata={"k": "v"}, **options) != root


def test_a_root_is_the_same_however_the_data_is_stored(tmp_path: Path) -> None:
    roots = {save(tmp_path / "x", **options) for options in OPTIONS}
    assert len(roots) == 1


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_pinned_file_is_accepted(options: dict[str, Any], tmp_path: Path) -> None:
    root = save(tmp_path / "x", **options)
    with dt.open(tmp_path / "x", root=root) as f:
        for name, value in MODEL.items():
            assert f.get_bytes(name) == value.tobytes()
            assert np.array_equal(f.get_tensor(name, "numpy"), value)
        assert f.get_tensor_slice("a", 5, 5, framework="numpy").tolist() == [5, 6, 7, 8, 9]
        assert list(f.get_tensors(framework="numpy")) == list(MODEL)
        assert f.stats("a")["max"] == 999


def test_another_root_is_refused_at_once(tmp_path: Path) -> None:
    save(tmp_path / "x")
    with pytest.raises(dt.IntegrityError) as caught:
        dt.open(tmp_path / "x", root="0" * 64)
    assert caught.value.code == "integrity.root"


@pytest.mark.parametrize("root", ["", "0", "x" * 64, "A" * 63, None.__class__])
def test_a_root_that_is_none_is_misuse(root: Any, tmp_path: Path) -> None:
    save(tmp_path / "x")
    with pytest.raises((dt.DeathTensorsError, TypeError)):
        dt.open(tmp_path / "x", root=root)


def test_a_file_without_digests_cannot_be_pinned(tmp_path: Path) -> None:
    dt.save(tmp_path / "x", MODEL)
    with dt.open(tmp_path / "x") as f:
        assert f.root is None and not f.has_digests()
        assert f.verify() is False
        assert f.verify("a") is False
    with pytest.raises(dt.DeathTensorsError) as caught:
        dt.open(tmp_path / "x", root="0" * 64)
    assert caught.value.code == "integrity.root"


READS: dict[str, Any] = {
    "get_bytes": lambda f: f.get_bytes("a"),
    "get_buffer": lambda f: f.get_buffer("a"),
    "get_tensor": lambda f: f.get_tensor("a", "numpy"),
    "get_tensor_mmap": lambda f: f.get_tensor_mmap("a", "numpy"),
    "get_tensor_slice": lambda f: f.get_tensor_slice("a", 900, 1, framework="numpy"),
    "get_tensors": lambda f: f.get_tensors(framework="numpy"),
    "stats": lambda f: f.stats("a"),
    "all_stats": lambda f: f.all_stats(),
    "verify": lambda f: f.verify(),
    "verify one": lambda f: f.verify("a"),
}


@pytest.mark.parametrize("how", READS)
@pytest.mark.parametrize("backend", ["mmap", "pread"])
def test_a_pinned_file_checks_each_tensor_when_it_is_first_read(
    how: str, backend: str, tmp_path: Path
) -> None:
    root = save(tmp_path / "x")
    damage(tmp_path / "x", "a", 10)
    with dt.open(tmp_path / "x", root=root, backend=backend) as f:
        with pytest.raises(dt.IntegrityError) as caught:
            READS[how](f)
        assert caught.value.code == "integrity.tensor"
        assert caught.value.tensor == "a"
        assert f.get_bytes("b") == MODEL["b"].tobytes()


def test_an_unpinned_file_reads_damage_but_verify_finds_it(tmp_path: Path) -> None:
    save(tmp_path / "x")
    damage(tmp_path / "x", "b")
    damage(tmp_path / "x", "d")
    with dt.open(tmp_path / "x") as f:
        assert f.get_bytes("b") != MODEL["b"].tobytes()
        assert f.verify("a") is True
        with pytest.raises(dt.IntegrityError) as caught:
            f.verify("b")
        assert caught.value.tensor == "b"
        report = f.verify_report()
        assert report["tensors"] == {"a": True, "b": False, "c": True, "d": False}
        assert report["root"] is True
        assert len(report["errors"]) == 2
    with pytest.raises(dt.IntegrityError):
        dt.open(tmp_path / "x", verify=True)


def test_a_changed_header_breaks_the_root(tmp_path: Path) -> None:
    root = save(tmp_path / "x", global_metadata={"licence": "MIT"})
    data = (tmp_path / "x").read_bytes()
    (tmp_path / "x").write_bytes(data.replace(b'"MIT"', b'"GPL"', 1))
    with pytest.raises(dt.IntegrityError) as caught:
        dt.open(tmp_path / "x", root=root)
    assert caught.value.code == "integrity.root"
    with dt.open(tmp_path / "x") as f:
        report = f.verify_report()
        assert report["root"] is False
        with pytest.raises(dt.IntegrityError):
            f.verify()


def test_changed_digests_cannot_hide_changed_bytes(tmp_path: Path) -> None:
    """Whoever changes data and digest alike must change the root."""
    root = save(tmp_path / "x")
    changed = {**MODEL, "d": np.zeros(7)}
    assert save(tmp_path / "x", changed) != root
    with pytest.raises(dt.IntegrityError):
        dt.open(tmp_path / "x", root=root)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_append_keeps_and_extends_digests(options: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "x"
    before = save(path, **options)
    dt.append(path, {"new": np.full(9, 3.0)})
    with dt.open(path, verify=True) as f:
        assert f.has_digests() and f.root not in (None, before)
        assert f.info("new")["sha256"] == sha256(np.full(9, 3.0).tobytes())
        assert f.verify() and all(f.verify(name) for name in f)
    # Appending is saving all at once, as far as content goes.
    both = save(tmp_path / "both", {**MODEL, "new": np.full(9, 3.0)}, **options)
    with dt.open(path) as f:
        assert f.root == both


def test_append_to_a_file_without_digests_stays_without(tmp_path: Path) -> None:
    path = tmp_path / "x"
    dt.save(path, MODEL)
    dt.append(path, {"new": np.ones(2)})
    with dt.open(path) as f:
        assert not f.has_digests() and f.root is None


def test_append_with_digests_to_a_file_without_any(tmp_path: Path) -> None:
    path = tmp_path / "x"
    dt.save(path, MODEL)
    dt.append(path, {"new": np.ones(2)}, digests=True)
    with dt.open(path) as f:
        assert f.verify("new") is True
        assert f.info("new")["sha256"] == sha256(np.ones(2).tobytes())
        assert f.verify("a") in (True, False)  # whether old tensors gain digests is free


def test_conversions_carry_digests(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(safetensors_file([("w", "U8", [3], b"abc")]))
    dt.from_safetensors(tmp_path / "x.safetensors", digests=True, compress=True)
    with dt.open(tmp_path / "x.deathtensors", verify=True) as f:
        assert f.verify("w") is True
        assert f.info("w")["sha256"] == sha256(b"abc")
        assert f.root is not None


def test_bytes_that_many_names_share_are_hashed_once_by_append(tmp_path: Path) -> None:
    data = np.zeros(8 << 20, np.uint8)
    taken = []
    for names in (1, 2000):
        path = tmp_path / f"{names}.deathtensors"
        dt.save(path, {f"w{i}": data for i in range(names)})
        began = time.process_time()
        dt.append(path, {"new": np.zeros(3)}, digests=True)
        taken.append(time.process_time() - began)
        with dt.open(path) as f:
            assert len({f.info(name)["sha256"] for name in f}) == 2
            assert f.verify(f"w{names - 1}")
    # 16 GB would take many times as long.
    assert taken[1] < 10 * taken[0] + 1
