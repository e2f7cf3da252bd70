"""safetensors there and back is exact: names, order, dtypes, shapes, bytes, metadata."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import deathtensors as dt
from helpers import (
    DTYPE_BITS,
    data_for,
    listing,
    parse,
    parse_safetensors,
    safetensors_file,
)
from test_roundtrip import maps, names, tensors

#: Every dtype of safetensors 0.8: all of ours but C128.
SHARED = [dtype for dtype in DTYPE_BITS if dtype != "C128"]
#: What a converted file says of itself, as 0.3.0's did; it does not travel back.
MARK = {"deathtensors.converted_from": "safetensors"}
OPTIONS = [
    {}, {"compress": True}, {"checksum": False}, {"digests": True}, {"compress_level": 9, "compress": True},
]  # fmt: skip


def there_and_back(folder: Path, original: bytes, **options: Any) -> bytes:
    (folder / "a.safetensors").write_bytes(original)
    dt.from_safetensors(folder / "a.safetensors", folder / "b.deathtensors", **options)
    dt.to_safetensors(folder / "b.deathtensors", folder / "c.safetensors")
    return (folder / "c.safetensors").read_bytes()


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_dtype_there_and_back(options: dict[str, Any], tmp_path: Path) -> None:
    rows = [(f"{i} {d}", d, [2, 4], data_for(d, [2, 4], i)) for i, d in enumerate(SHARED)]
    original = safetensors_file(rows, {"format": "pt", "ключ": "значение"})
    back = there_and_back(tmp_path, original, **options)
    wanted, found = parse_safetensors(original), parse_safetensors(back)
    assert found[1] == wanted[1]
    assert list(found[0]) == list(wanted[0])
    for name, entry in wanted[0].items():
        for field in ("dtype", "shape", "data"):
            assert found[0][name][field] == entry[field]
    with dt.open(tmp_path / "b.deathtensors", verify=True) as f:
        assert f.keys() == [row[0] for row in rows]
        assert f.has_checksum() == options.get("checksum", True)
        assert f.is_compressed() == options.get("compress", False)
        assert f.has_digests() == options.get("digests", False)
        assert f.metadata() == {**MARK, "format": "pt", "ключ": "значение"}
        for name, dtype, shape, data in rows:
            assert (f.info(name)["dtype"], f.info(name)["shape"]) == (dtype, shape)
            assert f.get_bytes(name) == data


def test_the_newest_safetensors_has_no_dtype_that_we_lack() -> None:
    """Asked of the installed package: a file of each of our names must be readable."""
    for dtype in SHARED:
        shape = [4] if DTYPE_BITS[dtype] < 8 else [1]
        original = safetensors_file([("w", dtype, shape, data_for(dtype, shape))])
        found = safetensors.deserialize(original)
        assert found[0][1]["dtype"] == dtype
    error = None
    try:
        safetensors.deserialize(safetensors_file([("w", "NO_SUCH", [1], b"a")]))
    except safetensors.SafetensorError as e:
        error = str(e)
    assert error is not None
    named = {word.strip("`,.'\"") for word in error.replace("`", " ` ").split()}
    known = {word for word in named if word.isupper() or (word[:1].isupper() and "_" in word)}
    known = {w for w in known if any(c.isdigit() for c in w) or w == "BOOL"}
    assert known, error
    assert known <= set(dt.supported_dtypes()), known - set(dt.supported_dtypes())


@pytest.mark.parametrize("metadata", [None, {}, {"a": "b", "": "", "z": "1", "k": 'é\n"\\'}])
def test_metadata_there_and_back(metadata: dict[str, str] | None, tmp_path: Path) -> None:
    original = safetensors_file([("w", "U8", [1], b"a")], metadata)
    found = parse_safetensors(there_and_back(tmp_path, original))[1]
    assert (found or {}) == (metadata or {})


@settings(max_examples=150)
@given(
    content=st.dictionaries(
        names.filter(lambda n: n != "__metadata__"),
        tensors().filter(lambda t: t[0] != "C128"),
        max_size=5,
    ),
    notes=maps,
)
def test_any_file_there_and_back(
    content: dict[str, Any], notes: dict[str, str], tmp_path: Path
) -> None:
    rows = [(name, dtype, shape, data) for name, (dtype, shape, data, _) in content.items()]
    original = safetensors_file(rows, notes)
    wanted, found = (
        parse_safetensors(original),
        parse_safetensors(there_and_back(tmp_path, original)),
    )
    assert list(found[0]) == list(wanted[0])
    assert (found[1] or {}) == notes
    for name, entry in wanted[0].items():
        for field in ("dtype", "shape", "data"):
            assert found[0][name][field] == entry[field]
    # The library that defines the format reads what we wrote.
    safetensors.deserialize((tmp_path / "c.safetensors").read_bytes())


def test_order_is_the_headers_even_where_the_data_is_elsewhere(tmp_path: Path) -> None:
    """safetensors sorts its header and its data differently in some versions."""
    header = {
        "second": {"dtype": "U8", "shape": [2], "data_offsets": [3, 5]},
        "first": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]},
    }
    text = json.dumps(header).encode()
    original = struct.pack("<Q", len(text)) + text + b"abcde"
    back = there_and_back(tmp_path, original)
    found, _ = parse_safetensors(back)
    assert list(found) == ["second", "first"]
    assert (found["first"]["data"], found["second"]["data"]) == (b"abc", b"de")
    with dt.open(tmp_path / "b.deathtensors") as f:
        assert f.keys() == ["second", "first"]
        assert f.get_bytes("second") == b"de"


def test_files_of_the_real_writers(tmp_path: Path) -> None:
    values = {
        "w": torch.randn(10, 3),
        "b": torch.ones(4, dtype=torch.bfloat16),
        "s": torch.tensor(2),
    }
    safetensors.torch.save_file(values, tmp_path / "t.safetensors", {"format": "pt"})
    dt.from_safetensors(tmp_path / "t.safetensors")
    with dt.open(tmp_path / "t.deathtensors", verify=True) as f:
        assert f.metadata() == {**MARK, "format": "pt"}
        assert all(torch.equal(f.get_tensor(name), value) for name, value in values.items())
    dt.to_safetensors(tmp_path / "t.deathtensors", tmp_path / "back.safetensors")
    loaded = safetensors.torch.load_file(tmp_path / "back.safetensors")
    assert all(torch.equal(loaded[name], value) for name, value in values.items())

    arrays = {"a": np.arange(5), "e": np.zeros((0, 3))}
    safetensors.numpy.save_file(arrays, tmp_path / "n.safetensors")
    dt.from_safetensors(tmp_path / "n.safetensors", compress=True)
    with dt.open(tmp_path / "n.deathtensors") as f:
        assert all(np.array_equal(f.get_tensor(n, "numpy"), a) for n, a in arrays.items())


def test_safetensors_reads_what_we_convert_with_gaps_and_ties(tmp_path: Path) -> None:
    """safetensors allows neither gaps nor shared bytes, so they are written out."""
    tied = np.arange(6.0)
    dt.save(tmp_path / "x.deathtensors", {"pad": np.ones(3, np.uint8), "a": tied, "b": tied})
    dt.to_safetensors(tmp_path / "x.deathtensors")
    loaded = safetensors.numpy.load_file(tmp_path / "x.safetensors")
    assert list(loaded["pad"]) == [1, 1, 1]
    assert np.array_equal(loaded["a"], tied) and np.array_equal(loaded["b"], tied)


def test_names_of_destinations(tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes(safetensors_file([("w", "U8", [1], b"a")]))
    assert dt.from_safetensors(tmp_path / "m.safetensors") == str(tmp_path / "m.deathtensors")
    (tmp_path / "m.safetensors").unlink()
    assert dt.to_safetensors(str(tmp_path / "m.deathtensors")) == str(tmp_path / "m.safetensors")
    assert dt.to_safetensors("m.deathtensors", "n.safetensors") == "n.safetensors"
    assert listing(tmp_path) == ["m.deathtensors", "m.safetensors", "n.safetensors"]


def test_conversion_is_canonical(tmp_path: Path) -> None:
    original = safetensors_file([("w", "F32", [300], data_for("F32", [300]))], {"b": "1", "a": "2"})
    (tmp_path / "a.safetensors").write_bytes(original)
    dt.from_safetensors("a.safetensors", "one.deathtensors")
    dt.from_safetensors("a.safetensors", "two.deathtensors")
    assert Path("one.deathtensors").read_bytes() == Path("two.deathtensors").read_bytes()
    data = data_for("F32", [300])
    dt.save_file("saved.deathtensors", [("w", "F32", [300], data, {})], {"a": "2", "b": "1"}, True)
    assert parse("saved.deathtensors")["blob"] == parse("one.deathtensors")["blob"]


def test_what_safetensors_cannot_express_is_refused(tmp_path: Path) -> None:
    dt.save(tmp_path / "x.deathtensors", {"fine": np.ones(2), "wide": np.ones(2, np.complex128)})
    with pytest.raises(dt.UnsupportedError) as caught:
        dt.to_safetensors(tmp_path / "x.deathtensors")
    assert caught.value.code == "safetensors.dtype"
    assert caught.value.tensor == "wide"
    assert listing(tmp_path) == ["x.deathtensors"]


def test_a_tensor_called_metadata_is_refused(tmp_path: Path) -> None:
    dt.save(tmp_path / "x.deathtensors", {"__metadata__": np.ones(2)})
    with pytest.raises(dt.DeathTensorsError) as caught:
        dt.to_safetensors(tmp_path / "x.deathtensors")
    assert caught.value.tensor == "__metadata__"
    assert listing(tmp_path) == ["x.deathtensors"]


def entry(dtype: str = "F32", shape: Any = (1,), offsets: Any = (0, 4)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def raw(header: Any, data: bytes = b"abcd", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


BROKEN: dict[str, bytes] = {
    "empty": b"",
    "short": b"\1\0\0",
    "length_past_end": raw({"w": entry()}, length=1000),
    "length_huge": raw({"w": entry()}, length=(1 << 64) - 1),
    "not_json": raw(b"{oops}    "),
    "array": raw(b"[]      "),
    "duplicate_name": raw(
        b'{"w":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},'
        b'"w":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}'
    ),
    "unknown_dtype": raw({"w": entry("F99")}),
    "no_shape": raw({"w": {"dtype": "F32", "data_offsets": [0, 4]}}),
    "size": raw({"w": entry(shape=[2])}),
    "overflow": raw({"w": entry(shape=[1 << 62, 4], offsets=[0, 0])}, b""),
    "backwards": raw({"w": entry(shape=[0], offsets=[4, 0])}),
    "past_end": raw({"w": entry()}, b"abc"),
    "overlap": raw({"a": entry(), "b": entry(offsets=(2, 6))}, b"abcdef"),
    "hole": raw({"a": entry(), "b": entry(offsets=(8, 12))}, b"a" * 12),
    "trailing": raw({"a": entry()}, b"abcdefgh"),
    "metadata_number": raw({"__metadata__": {"k": 1}, "w": entry()}),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_safetensors_files_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(BROKEN[name])
    with pytest.raises(dt.DeathTensorsError) as caught:
        dt.from_safetensors(tmp_path / "a.safetensors")
    assert caught.value.code in ("safetensors.invalid", "tensor.dtype")
    assert listing(tmp_path) == ["a.safetensors"]
    # The library that defines the format refuses it too.
    with pytest.raises(safetensors.SafetensorError):
        safetensors.deserialize(BROKEN[name])


def test_one_format_for_the_other_is_named(tmp_path: Path) -> None:
    (tmp_path / "st").write_bytes(safetensors_file([("w", "U8", [1], b"a")]))
    dt.save(tmp_path / "ours", {"w": np.ones(1)})
    with pytest.raises(dt.FormatError, match="safetensors"):
        dt.open(tmp_path / "st")
    with pytest.raises(dt.DeathTensorsError):
        dt.from_safetensors(tmp_path / "ours", tmp_path / "out")
    with pytest.raises(dt.DeathTensorsError):
        dt.to_safetensors(tmp_path / "st", tmp_path / "out")
    assert listing(tmp_path) == ["ours", "st"]


def test_an_index_is_not_converted_as_if_it_were_empty(tmp_path: Path) -> None:
    dt.save_sharded(tmp_path / "x.deathtensors", {"w": np.ones(3)})
    with pytest.raises(dt.UsageError):
        dt.to_safetensors(tmp_path / "x.deathtensors")


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    (tmp_path / "a.safetensors").write_bytes(
        safetensors_file([("w", "U8", [1 << 24], bytes(1 << 24))])
    )
    dt.from_safetensors("a.safetensors", progress=lambda *now: told.append(now))
    dt.to_safetensors("a.deathtensors", "b.safetensors", progress=lambda *now: told.append(now))
    assert told and all(0 <= done <= total for done, total in told)
