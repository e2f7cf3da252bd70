"""Errors say what was wrong, and are what a Python programmer would catch."""

from __future__ import annotations

import copy
import io
import pickle
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import deathtensors as dt
from deathtensors import _deathtensors
from helpers import safetensors_file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    where = tmp_path / "x.deathtensors"
    dt.save(where, {"w": np.arange(6.0).reshape(2, 3)})
    return where


# --- the classes


def test_a_missing_tensor_is_a_key_error(path: Path) -> None:
    with dt.open(path) as f:
        for call in (f.info, f.get_bytes, f.get_buffer, f.get_tensor, f.stats, f.get_tensor_mmap,
                     f.get_tensor_slice, f.verify):  # fmt: skip
            with pytest.raises(KeyError) as caught:
                call("nothing")
            assert isinstance(caught.value, dt.TensorNotFoundError)
            assert isinstance(caught.value, ValueError)
            assert (caught.value.kind, caught.value.code) == ("not_found", "not_found.tensor")
            assert caught.value.tensor == "nothing"
            # Not the quoted repr that KeyError usually shows.
            assert "nothing" in str(caught.value) and not str(caught.value).startswith("'\"")


def test_a_near_miss_is_suggested(tmp_path: Path) -> None:
    where = tmp_path / "x"
    dt.save(where, {"model.layers.0.weight": np.ones(1), "model.layers.0.bias": np.ones(1)})
    with dt.open(where) as f, pytest.raises(KeyError, match=r"model\.layers\.0\.weight"):
        f.info("model.layer.0.weight")


def test_a_missing_file_is_a_file_not_found_error(tmp_path: Path) -> None:
    where = str(tmp_path / "none")
    for call in (dt.open, dt.open_sharded, dt.DtFile, dt.write_manifest, dt.to_safetensors,
                 dt.from_safetensors, dt.read_manifest):  # fmt: skip
        with pytest.raises(FileNotFoundError) as caught:
            call(where)
        assert isinstance(caught.value, dt.DeathTensorsError)
        assert (caught.value.kind, caught.value.code) == ("not_found", "not_found.file")
        assert where in str(caught.value)
        assert caught.value.errno == 2
        assert caught.value.filename == where
    with pytest.raises(FileNotFoundError):
        dt.diff(where, where)
    with pytest.raises(FileNotFoundError):
        dt.append(where, {"a": np.ones(1)})


def test_a_folder_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught:
        dt.open(tmp_path)
    assert isinstance(caught.value, dt.DeathTensorsError)
    assert caught.value.kind == "io"


def test_misuse_is_a_value_error(path: Path) -> None:
    with dt.open(path) as f, pytest.raises(ValueError) as caught:
        f.get_tensor_slice("w", 5, 1)
    assert isinstance(caught.value, dt.UsageError)
    assert caught.value.kind == "usage"


def test_a_closed_file_says_so(path: Path) -> None:
    f = dt.open(path)
    assert not f.closed
    f.close()
    f.close()  # twice does no harm
    assert f.closed
    for call in (f.keys, f.metadata, f.verify, f.all_stats, f.get_tensors):
        with pytest.raises(dt.UsageError) as caught:
            call()
        assert caught.value.code == "usage.closed"
    with pytest.raises(dt.UsageError):
        f.get_tensor("w")
    assert "closed" in repr(f)


def test_wrong_types_are_type_errors_or_misuse(path: Path) -> None:
    with pytest.raises((TypeError, dt.UsageError)):
        dt.open(17)  # type: ignore[arg-type]
    with dt.open(path) as f:
        with pytest.raises((TypeError, dt.UsageError)):
            f.info(3)  # type: ignore[arg-type]
        assert 3 not in f
        assert None not in f


def test_every_exception_is_public_and_one_of_ours() -> None:
    for name in dt.errors.__all__:
        kind = getattr(dt, name)
        assert issubclass(kind, dt.DeathTensorsError)
        assert name in dt.__all__
    assert issubclass(dt.MissingFileError, FileNotFoundError)
    assert issubclass(dt.TensorNotFoundError, KeyError)
    assert issubclass(dt.FileAccessError, OSError)
    assert issubclass(dt.DeathTensorsError, ValueError)


def test_errors_can_be_pickled_and_copied(path: Path) -> None:
    caught: list[dt.DeathTensorsError] = []
    with dt.open(path) as f:
        for call in (lambda: f.info("none"), lambda: dt.open("none"), lambda: dt.open(__file__)):
            try:
                call()
            except dt.DeathTensorsError as error:
                caught.append(error)
    assert len(caught) == 3
    for error in caught:
        for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
            assert type(again) is type(error)
            assert str(again) == str(error)
            for field in ("kind", "code", "tensor", "expected", "found", "path"):
                assert getattr(again, field) == getattr(error, field)


# --- the codes


def test_codes_are_stable_and_each_has_its_kind() -> None:
    kinds = {
        "format", "unsupported", "limit", "integrity", "usage", "not_found", "schema", "io",
    }  # fmt: skip
    assert {kind for _, kind, _ in _deathtensors.CODES} == kinds
    codes = [code for code, _, _ in _deathtensors.CODES]
    assert len(codes) == len(set(codes))
    for code, _, meaning in _deathtensors.CODES:
        assert code.count(".") == 1 and code == code.lower()
        assert meaning.strip().endswith(".")


def test_the_specification_lists_every_code() -> None:
    spec = (Path(__file__).parents[2] / "docs" / "format_spec.md").read_text("utf-8")
    kinds = ("format", "unsupported", "limit", "integrity")
    missing = [c for c, kind, _ in _deathtensors.CODES if kind in kinds and f"`{c}`" not in spec]
    assert missing == []


def test_the_code_decides_the_class() -> None:
    classes = {
        "format": dt.FormatError, "unsupported": dt.UnsupportedError, "limit": dt.LimitError,
        "integrity": dt.IntegrityError, "usage": dt.UsageError, "schema": dt.SchemaError,
        "io": dt.FileAccessError,
    }  # fmt: skip
    for code, kind, _ in _deathtensors.CODES:
        error = dt.errors.make(code, kind, "line")
        assert error.kind == kind and error.code == code
        if kind in classes:
            assert isinstance(error, classes[kind])
        else:
            assert isinstance(error, (KeyError, FileNotFoundError))


# --- files that are something else

TORCH = io.BytesIO()
torch.save({"w": torch.ones(2)}, TORCH)
LEGACY = io.BytesIO()
torch.save({"w": torch.ones(2)}, LEGACY, _use_new_zipfile_serialization=False)
NUMPY = io.BytesIO()
np.save(NUMPY, np.ones(2))
NPZ = io.BytesIO()
np.savez(NPZ, np.ones(2))
ZIP = io.BytesIO()
with zipfile.ZipFile(ZIP, "w") as archive:
    archive.writestr("a", "b")

FOREIGN: dict[str, tuple[bytes, str]] = {
    "pickle": (pickle.dumps({"w": [1, 2, 3]}), "pickle"),
    "old_pickle": (pickle.dumps({"w": [1, 2, 3]}, protocol=2), "pickle"),
    "torch": (TORCH.getvalue(), "zip"),
    "torch_legacy": (LEGACY.getvalue(), "pickle"),
    "zip": (ZIP.getvalue(), "zip"),
    "npz": (NPZ.getvalue(), "zip"),
    "safetensors": (safetensors_file([("w", "F32", [1], b"abcd")]), "safetensors"),
    "html": (b"<!DOCTYPE html>\n<html><body>404: not found</body></html>", "HTML"),
    "html_lower": (b"\n  <html lang='en'><head></head></html>", "HTML"),
    "lfs": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:"
        + b"0" * 64
        + b"\nsize 123456789\n",
        "LFS",
    ),
}


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("backend", ["mmap", "pread"])
def test_foreign_files_are_named(name: str, backend: str, tmp_path: Path) -> None:
    data, word = FOREIGN[name]
    where = tmp_path / "model.deathtensors"
    where.write_bytes(data)
    with pytest.raises(dt.FormatError) as caught:
        dt.open(where, backend=backend)
    assert word.lower() in str(caught.value).lower()
    assert caught.value.code == "prefix.magic"


def test_other_foreign_files_show_their_first_bytes(tmp_path: Path) -> None:
    where = tmp_path / "x"
    for data in (
        NUMPY.getvalue(),
        b"\x7fELF" + bytes(100),
        b"GGUF" + bytes(100),
        b"plain text " * 9,
    ):
        where.write_bytes(data)
        with pytest.raises(dt.FormatError) as caught:
            dt.open(where)
        assert caught.value.code == "prefix.magic"
        assert "\n" not in str(caught.value)


# --- what errors say


def test_lines_say_expected_and_found(tmp_path: Path) -> None:
    with pytest.raises(dt.UsageError) as caught:
        dt.save_file(tmp_path / "x", [("layer.w", "F32", [2, 2], bytes(12), {})])
    error = caught.value
    assert error.tensor == "layer.w"
    assert error.expected is not None and "16" in error.expected
    assert error.found is not None and "12" in error.found
    assert "layer.w" in str(error) and "16" in str(error) and "12" in str(error)
    assert str(error)[0].islower() or str(error).startswith("tensor 'layer.w'")


def test_lines_stay_short_whatever_the_names(tmp_path: Path) -> None:
    where = tmp_path / "x"
    dt.save(where, {"n" * 4000: np.ones(1)})
    with dt.open(where) as f, pytest.raises(KeyError) as caught:
        f.info("m" * 4000)
    assert len(str(caught.value)) < 2000
    assert caught.value.tensor == "m" * 4000


def test_the_path_is_in_the_error(tmp_path: Path) -> None:
    where = tmp_path / "broken.deathtensors"
    where.write_bytes(b"DTLEGION\x02" + bytes(40))
    with pytest.raises(dt.UnsupportedError) as caught:
        dt.open(where)
    assert caught.value.path == str(where)


def test_exceptions_in_a_callback_are_the_callers_own(tmp_path: Path) -> None:
    class Mine(Exception):
        pass

    def fail(*_: Any) -> Any:
        raise Mine("reason")

    def slow() -> bytes:
        time.sleep(0.06)
        return b"a"

    with pytest.raises(Mine, match="reason"):
        dt.save(tmp_path / "x", {"w": ("U8", [1], fail)})
    with pytest.raises(Mine, match="reason"):
        dt.save(tmp_path / "x", {n: ("U8", [1], slow) for n in "abc"}, progress=fail)
    assert not (tmp_path / "x").exists()
