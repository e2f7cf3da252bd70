"""Schemas, differences and manifests: what a catalogue can tell."""

from __future__ import annotations

import datetime
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deathtensors as dt
from helpers import parse

# --- schema


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.deathtensors"
    dt.save(
        path,
        {"w": np.zeros((8, 3), np.float32), "b": np.zeros(3, np.float32), "n": np.array(1)},
        metadata={"w": {"layer": "fc1", "init": "zeros"}},
    )
    return path


def test_a_file_that_conforms(model: Path) -> None:
    schema = dt.Schema().expect("w", dtype="F32", shape=[8, 3], metadata_keys=["layer"])
    schema.expect("b", shape=(3,)).expect("n")
    assert schema.validate(model) is None
    assert schema.validate(str(model)) is None
    with dt.open(model) as f:
        assert schema.validate(f) is None
        assert f.keys() == ["w", "b", "n"]  # still open


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "dtype": ({"dtype": "F64"}, "F64"),
    "shape": ({"shape": [8, 4]}, "[8, 4]"),
    "rank": ({"shape": [8]}, "[8]"),
    "scalar": ({"shape": []}, "[]"),
    "metadata": ({"metadata_keys": ["layer", "author"]}, "author"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_differs_is_said(name: str, model: Path) -> None:
    expectation, word = WRONG[name]
    schema = dt.Schema().expect("w", **expectation).allow_extra()
    with pytest.raises(dt.SchemaError) as caught:
        schema.validate(model)
    assert caught.value.kind == "schema"
    assert caught.value.code == "schema.mismatch"
    assert "w" in str(caught.value) and word in str(caught.value)


def test_missing_and_extra_tensors(model: Path) -> None:
    schema = dt.Schema().expect("w").expect("b").expect("n")
    schema.validate(model)
    with pytest.raises(dt.SchemaError, match="bias2"):
        schema.expect("bias2").validate(model)
    few = dt.Schema().expect("w")
    with pytest.raises(dt.SchemaError):
        few.validate(model)
    few.allow_extra()
    few.validate(model)
    with pytest.raises(dt.SchemaError):
        few.allow_extra(False).validate(model)


def test_any_length_along_an_axis(model: Path) -> None:
    schema = dt.Schema().allow_extra()
    schema.expect("w", shape=[None, 3]).validate(model)
    with pytest.raises(dt.SchemaError):
        schema.expect("w", shape=[None, 4]).validate(model)


def test_an_unknown_dtype_in_a_schema_is_misuse() -> None:
    with pytest.raises(dt.DeathTensorsError):
        dt.Schema().expect("w", dtype="float32")


def test_a_schema_reads_no_data(tmp_path: Path) -> None:
    """The blob is noise, and nobody minds."""
    path = tmp_path / "x.deathtensors"
    dt.save(path, {"w": np.zeros((200, 300), np.float32)}, compress=True)
    data = bytearray(path.read_bytes())
    start = parse(path)["blob_start"]
    data[start : start + 40] = b"\xff" * 40
    path.write_bytes(data)
    dt.Schema().expect("w", dtype="F32", shape=[200, 300]).validate(path)
    assert dt.read_manifest(dt.write_manifest(path))["tensors"]["w"]["dtype"] == "F32"
    with dt.open(path) as f, pytest.raises(dt.DeathTensorsError):
        f.get_bytes("w")


# --- diff

FIELDS = {
    "added", "removed", "shape_changed", "dtype_changed", "value_changed", "metadata_changed",
    "global_metadata_changed", "equal",
}  # fmt: skip
A: dict[str, Any] = {
    "same": np.arange(5), "gone": np.ones(1), "shape": np.zeros((2, 3)), "dtype": np.zeros(4),
    "value": np.arange(4.0), "notes": np.ones(2), "nan": np.array([np.nan]),
}  # fmt: skip
B: dict[str, Any] = {
    "new": np.ones(1), "same": np.arange(5), "shape": np.zeros((3, 2)),
    "dtype": np.zeros(4, np.float32), "value": np.arange(4.0) + 1, "notes": np.ones(2),
    "nan": np.array([np.nan]),
}  # fmt: skip


@pytest.mark.parametrize("a_options", [{}, {"compress": True}, {"digests": True}], ids=str)
@pytest.mark.parametrize("b_options", [{}, {"checksum": True}, {"digests": True}], ids=str)
def test_every_kind_of_difference(
    a_options: dict[str, Any], b_options: dict[str, Any], tmp_path: Path
) -> None:
    a, b = tmp_path / "a.deathtensors", tmp_path / "b.deathtensors"
    dt.save(a, A, {"notes": {"k": "1"}}, {"g": "1"}, **a_options)
    dt.save(b, B, {"notes": {"k": "2"}}, {"g": "2", "h": ""}, **b_options)
    for compare_bytes in (False, True):
        found = dt.diff(a, b, compare_bytes=compare_bytes)
        assert set(found) == FIELDS
        assert found["added"] == ["new"]
        assert found["removed"] == ["gone"]
        assert {k: [list(s) for s in v] for k, v in found["shape_changed"].items()} == {
            "shape": [[2, 3], [3, 2]]
        }
        assert {k: list(v) for k, v in found["dtype_changed"].items()} == {"dtype": ["F64", "F32"]}
        assert found["value_changed"] == ["value"]
        assert {k: list(v) for k, v in found["metadata_changed"].items()} == {
            "notes": [{"k": "1"}, {"k": "2"}]
        }
        assert list(found["global_metadata_changed"]) == [{"g": "1"}, {"g": "2", "h": ""}]
        assert found["equal"] is False


def test_files_that_hold_the_same_are_equal_however_they_are_stored(tmp_path: Path) -> None:
    paths = []
    for i, options in enumerate(
        ({}, {"compress": True}, {"checksum": True}, {"digests": True, "alignment": 4096})
    ):
        paths.append(tmp_path / str(i))
        dt.save(paths[-1], A, {"notes": {"k": "1"}}, {"g": "1"}, **options)
    # Order is not content.
    paths.append(tmp_path / "turned")
    dt.save(paths[-1], dict(reversed(A.items())), {"notes": {"k": "1"}}, {"g": "1"})
    for a in paths:
        for b in paths:
            found = dt.diff(a, b)
            assert found["equal"] is True
            assert not any(found[field] for field in FIELDS - {"equal"})


@pytest.mark.parametrize("at", [0, 1_500_000, 3_999_999])
@pytest.mark.parametrize("options", [{}, {"compress": True}])
def test_one_byte_is_enough(at: int, options: dict[str, Any], tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, 4_000_000, np.uint8)
    a, b = tmp_path / "a", tmp_path / "b"
    dt.save(a, {"first": values, "w": values.copy()})
    values = values.copy()
    values[at] ^= 1
    dt.save(b, {"first": values ^ 0, "w": values}, **options)
    assert dt.diff(a, b)["value_changed"] == ["first", "w"]


def test_digests_spare_the_data(tmp_path: Path) -> None:
    """With digests on both sides the data is not read: noise in it goes unnoticed,
    unless bytes are asked for."""
    a, b = tmp_path / "a", tmp_path / "b"
    for path in (a, b):
        dt.save(path, {"w": np.arange(1000.0), "v": np.ones(3)}, digests=True)
    data = bytearray(b.read_bytes())
    data[-1] ^= 1
    b.write_bytes(data)
    assert dt.diff(a, b)["equal"]
    assert dt.diff(a, b, compare_bytes=True)["value_changed"] == ["v"]


def test_unusual_names_in_a_diff(tmp_path: Path) -> None:
    name = "重み\n\x1b[0m"
    dt.save(tmp_path / "a", {name: np.ones(2)})
    dt.save(tmp_path / "b", {})
    assert dt.diff(tmp_path / "a", tmp_path / "b")["removed"] == [name]


# --- manifest


@pytest.mark.parametrize("options", [{}, {"compress": True, "checksum": True}, {"digests": True}])
def test_a_manifest_says_what_the_file_says(options: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "x.deathtensors"
    dt.save(path, A, {"notes": {"k": "1"}}, {"g": "ü"}, **options)
    where = dt.write_manifest(path)
    assert where == f"{path}.json"
    text = json.loads(Path(where).read_text("utf-8"))
    found = dt.read_manifest(where)
    assert found == text
    assert list(found)[:4] == ["deathtensors_version", "format_version", "magic", "global_metadata"]
    assert found["deathtensors_version"] == dt.__version__
    assert found["format_version"] == 1
    assert found["magic"] == "DTLEGION"
    assert found["global_metadata"] == {"g": "ü"}
    assert datetime.datetime.fromisoformat(found["written_at"]).tzinfo is not None
    with dt.open(path) as f:
        assert list(found["tensors"]) == f.keys()
        for name in f:
            info = f.info(name)
            info["data_offsets"] = list(info["data_offsets"])
            assert found["tensors"][name] == info


def test_a_manifest_can_be_written_elsewhere(model: Path, tmp_path: Path) -> None:
    where = dt.write_manifest(model, tmp_path / "other.json")
    assert where == str(tmp_path / "other.json")
    assert dt.read_manifest(where)["tensors"]["w"]["shape"] == [8, 3]


def manifest_of(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(dt.write_manifest(path)).read_text("utf-8"))
    return found


def changed(manifest: dict[str, Any], *keys: str, to: Any) -> dict[str, Any]:
    """A copy with one value replaced, or, with ``...``, taken out."""
    copy = json.loads(json.dumps(manifest))
    at = copy
    for key in keys[:-1]:
        at = at[key]
    if to is ...:
        del at[keys[-1]]
    else:
        at[keys[-1]] = to
    return copy


@pytest.mark.parametrize(
    ("keys", "to"),
    [
        (("magic",), "other"),
        (("magic",), ...),
        (("format_version",), 2),
        (("format_version",), "1"),
        (("tensors",), []),
        (("tensors",), ...),
        (("global_metadata",), {"k": 1}),
        (("tensors", "w"), 1),
        (("tensors", "w", "dtype"), "F99"),
        (("tensors", "w", "shape"), [-1]),
        (("tensors", "w", "nbytes"), 1),
        (("tensors", "w", "data_offsets"), [0]),
        (("tensors", "w", "name"), "other"),
    ],
)
def test_a_manifest_that_lies_about_its_form_is_refused(
    keys: tuple[str, ...], to: Any, model: Path, tmp_path: Path
) -> None:
    path = tmp_path / "m.json"
    path.write_text(json.dumps(changed(manifest_of(model), *keys, to=to)))
    with pytest.raises(dt.DeathTensorsError) as caught:
        dt.read_manifest(path)
    assert caught.value.kind in ("format", "unsupported")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"a": 1, "a": 2}', "\x00", "{}"])
def test_what_is_no_manifest_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text(text)
    with pytest.raises(dt.FormatError) as caught:
        dt.read_manifest(path)
    assert caught.value.code == "manifest.invalid"


def test_a_missing_manifest_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        dt.read_manifest(tmp_path / "none.json")


def test_030_manifests_are_read(v030: Any, model: Path, tmp_path: Path) -> None:
    path = tmp_path / "old.deathtensors"
    v030.call("save_file", path=str(path), tensors=[("w", "F32", [1], "00000000", {"k": "v"})])
    where = v030.call("write_manifest", path=str(path))
    assert dt.read_manifest(where)["tensors"]["w"]["metadata"] == {"k": "v"}


def test_a_manifest_is_a_regular_file_of_bounded_length(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(dt.FileAccessError) as refused:
            dt.read_manifest(path)  # without waiting for a writer, or for an end
        assert refused.value.code == "io.failed"
    with open(tmp_path / "long", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(dt.LimitError) as caught:
        dt.read_manifest(tmp_path / "long")
    assert caught.value.code == "limit.header_bytes"
    (tmp_path / "short").write_bytes(b" " * 1601)
    with pytest.raises(dt.LimitError):
        dt.read_manifest(tmp_path / "short", limits={"header_bytes": 100})
