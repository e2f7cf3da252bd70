"""What is saved comes back, whatever it is and however it was saved."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import deathtensors as dt
from helpers import DTYPE_BITS, NUMPY_DTYPES, data_for, nbytes, parse, seek_table

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
names = st.one_of(
    st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20
    ),
    st.from_regex(r"layers\.[0-9]{1,2}\.(weight|bias)", fullmatch=True),
    st.sampled_from(["a" * 4096, "tensors", "__metadata__", ".", "\x1b[0m", "🙂" * 1024]),
)
maps = st.dictionaries(texts, texts, max_size=4)


@st.composite
def tensors(draw: st.DrawFn) -> tuple[str, list[int], bytes, dict[str, str]]:
    dtype = draw(st.sampled_from(list(DTYPE_BITS)))
    shape = draw(st.lists(st.integers(0, 6), max_size=5))
    if DTYPE_BITS[dtype] % 8:
        shape.append(4 * draw(st.integers(0, 3)))
    size = nbytes(dtype, shape)
    data = draw(st.one_of(st.binary(min_size=size, max_size=size), st.just(bytes(size))))
    return dtype, shape, data, draw(maps)


files = st.dictionaries(names, tensors(), max_size=6)
options = st.fixed_dictionaries(
    {},
    optional={
        "checksum": st.booleans(),
        "compress": st.booleans(),
        "compress_level": st.integers(1, 19),
        "digests": st.booleans(),
        "alignment": st.sampled_from([1, 2, 8, 64, 4096]),
    },
)


def rows(content: dict[str, Any]) -> list[Any]:
    return [(name, *fields) for name, fields in content.items()]


@settings(max_examples=300)
@given(content=files, notes=maps, how=options)
def test_everything_comes_back(
    content: dict[str, Any], notes: dict[str, str], how: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "x.deathtensors"
    dt.save_file(path, rows(content), global_metadata=notes, **how)
    with dt.open(path, verify=True) as f:
        assert f.keys() == list(content)
        assert f.metadata() == notes
        assert f.is_compressed() == how.get("compress", False)
        assert f.has_checksum() == how.get("checksum", False)
        for name, (dtype, shape, data, metadata) in content.items():
            info = f.info(name)
            assert info["name"] == name
            assert (info["dtype"], info["shape"]) == (dtype, shape)
            assert info["nbytes"] == len(data)
            assert info["metadata"] == metadata
            assert f.get_bytes(name) == data
        evidence = how.get("checksum", False) or (how.get("digests", False) and bool(content))
        assert f.verify() == evidence or not content


@settings(max_examples=200)
@given(content=files, notes=maps, how=options)
def test_the_bytes_on_disk_are_as_the_specification_says(
    content: dict[str, Any], notes: dict[str, str], how: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "x.deathtensors"
    dt.save_file(path, rows(content), global_metadata=notes, **how)
    file = parse(path)
    header = file["header"]
    assert file["blob_start"] % 64 == 0
    assert file["text"] == file["text"].rstrip(b" ") + b" " * (
        len(file["text"]) - len(file["text"].rstrip(b" "))
    )
    assert file["flags"] == how.get("compress", False) + 2 * how.get("checksum", False)
    keys = ["format", "format_version", "created_by", "global_metadata", "tensors"]
    if how.get("digests"):
        keys.insert(4, "root_sha256")
    assert list(header) == keys
    assert header["created_by"] == "deathtensors 0.4.0"
    assert list(header["global_metadata"]) == sorted(notes, key=str.encode)
    compact = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    assert file["text"].rstrip(b" ") == compact
    end, seen = 0, set()
    for name, (dtype, _, data, metadata) in content.items():
        entry = header["tensors"][name]
        assert list(entry["metadata"]) == sorted(metadata, key=str.encode)
        start, stop = entry["data_offsets"]
        assert stop - start == len(data)
        element = min(max(DTYPE_BITS[dtype] // 8, 1), 8)
        multiple = max(how.get("alignment", 1), element)
        if not how.get("compress"):
            assert file["blob"][start:stop] == data
        if data and (start, stop, dtype) not in seen:  # one bytes object given twice is tied
            assert start % multiple == 0
            # Header order, and no more bytes between than alignment needs.
            assert end <= start < end + multiple
            assert how.get("compress") or not any(file["blob"][end:start])
        seen.add((start, stop, dtype))
        if how.get("digests"):
            assert entry["sha256"] == hashlib.sha256(data).hexdigest()
        end = max(end, stop)
    if how.get("compress"):
        table = seek_table(file["blob"])
        assert sum(size for _, size in table) == end
        assert sum(size for size, _ in table) + 17 + 8 * len(table) == len(file["blob"])
    if how.get("checksum"):
        assert file["footer"] == hashlib.sha256(file["footed"]).digest()
    if how.get("digests"):
        zeroed = compact.replace(header["root_sha256"].encode(), b"0" * 64, 1)
        assert header["root_sha256"] == hashlib.sha256(zeroed).hexdigest()


@settings(max_examples=100)
@given(content=files, notes=maps, how=options)
def test_the_same_input_gives_the_same_bytes(
    content: dict[str, Any], notes: dict[str, str], how: dict[str, Any], tmp_path: Path
) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    dt.save_file(a, rows(content), global_metadata=notes, **how)
    # The order in which metadata was given is no part of the input.
    turned = [(n, d, s, x, dict(reversed(m.items()))) for n, d, s, x, m in rows(content)]
    dt.save_file(b, turned, global_metadata=dict(reversed(notes.items())), **how)
    assert a.read_bytes() == b.read_bytes()


@settings(max_examples=100)
@given(first=files, second=files, how=options)
def test_appending_is_saving_both(
    first: dict[str, Any], second: dict[str, Any], how: dict[str, Any], tmp_path: Path
) -> None:
    second = {name: fields for name, fields in second.items() if name not in first}
    path = tmp_path / "x.deathtensors"
    how = {k: v for k, v in how.items() if k not in ("alignment", "compress_level")}
    dt.save_file(path, rows(first), global_metadata={"k": "old"}, **how)
    dt.append_file(path, rows(second), {"k": "new", "more": "1"})
    with dt.open(path, verify=True) as f:
        assert f.keys() == [*first, *second]
        assert f.metadata() == {"k": "old", "more": "1"}
        assert f.is_compressed() == how.get("compress", False)
        assert f.has_checksum() == how.get("checksum", False)
        for name, (dtype, shape, data, metadata) in {**first, **second}.items():
            info = f.info(name)
            assert (info["dtype"], info["shape"], info["metadata"]) == (dtype, shape, metadata)
            assert f.get_bytes(name) == data
        if how.get("digests") and first:
            assert f.has_digests() and f.root is not None and f.verify()


@settings(max_examples=60)
@given(
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    dtype=st.sampled_from(list(NUMPY_DTYPES)),
    how=options,
    data=st.data(),
)
def test_slices_are_the_rows_of_the_whole(
    shape: list[int], dtype: str, how: dict[str, Any], data: st.DataObject, tmp_path: Path
) -> None:
    path = tmp_path / "x.deathtensors"
    content = data_for(dtype, shape)
    dt.save_file(path, [("pad", "U8", [3], b"abc", {}), ("w", dtype, shape, content, {})], **how)
    start = data.draw(st.integers(0, shape[0] - 1))
    count = data.draw(st.one_of(st.none(), st.integers(0, shape[0] - start)))
    with dt.open(path) as f:
        part = f.get_tensor_slice("w", start, count, framework="numpy")
    row = len(content) // shape[0]
    stop = shape[0] if count is None else start + count
    assert part.shape == (stop - start, *shape[1:])
    assert part.dtype == NUMPY_DTYPES[dtype]
    assert part.tobytes() == content[start * row : stop * row]


@pytest.mark.parametrize("how", [{}, {"checksum": True}, {"compress": True}])
def test_many_small_tensors(how: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "many.deathtensors"
    content = {f"layers.{i}.weight": np.full(i % 7, i, np.float32) for i in range(20_000)}
    dt.save(path, content, **how)
    with dt.open(path, verify=True) as f:
        assert f.keys() == list(content)
        loaded = f.get_tensors(framework="numpy")
        assert all(np.array_equal(loaded[name], value) for name, value in content.items())
        assert len(f.infos()) == len(content)


def test_duplicate_names_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.deathtensors"
    twice = [("w", "U8", [1], b"a", {}), ("w", "U8", [1], b"b", {})]
    with pytest.raises(dt.UsageError) as caught:
        dt.save_file(path, twice)
    assert caught.value.code == "usage.duplicate_name"
    assert caught.value.tensor == "w"
    assert not path.exists()


@pytest.mark.parametrize(
    ("tensor", "code"),
    [
        (("", "U8", [1], b"a", {}), "tensor.name_empty"),
        (("a\0", "U8", [1], b"a", {}), "tensor.name_nul"),
        (("n" * 4097, "U8", [1], b"a", {}), "limit.name_bytes"),
        (("w", "F8", [1], b"a", {}), "tensor.dtype"),
        (("w", "F32", [1], b"a", {}), "usage.data_size"),
        (("w", "F32", [2], bytes(12), {}), "usage.data_size"),
        (("w", "F4", [3], b"ab", {}), "tensor.bits"),
        (("w", "U8", [1] * 65, b"a", {}), "limit.rank"),
        (("w", "F32", [1 << 62, 4], b"", {}), "tensor.overflow"),
        (("w", "U8", [1], b"a", {"k": "v" * (1 << 20)}), "limit.metadata_bytes"),
    ],
)
def test_what_no_reader_would_accept_is_not_written(tensor: Any, code: str, tmp_path: Path) -> None:
    path = tmp_path / "x.deathtensors"
    with pytest.raises(dt.DeathTensorsError) as caught:
        dt.save_file(path, [tensor])
    assert caught.value.code == code
    assert not path.exists()


@pytest.mark.parametrize(
    "how",
    [
        {"compress": True, "compress_level": 0},
        {"compress": True, "compress_level": 23},
        {"alignment": 3},
        {"alignment": 0},
        {"alignment": 1 << 40},
    ],
)
def test_options_out_of_range_are_misuse(how: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "x.deathtensors"
    with pytest.raises(dt.UsageError) as caught:
        dt.save_file(path, [("w", "U8", [1], b"a", {})], **how)
    assert caught.value.code == "usage.option"
    assert not path.exists()


def test_paths_are_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MODELS", "models")
    (tmp_path / "models").mkdir()
    dt.save_file("~/$MODELS/x.deathtensors", [("w", "U8", [1], b"a", {})])
    assert (tmp_path / "models" / "x.deathtensors").exists()
    with dt.open("~/models/../${MODELS}/x.deathtensors") as f:
        assert f.get_bytes("w") == b"a"
    assert dt.expand_path("~/a") == str(tmp_path / "a")
    assert dt.expand_path(Path("~/a")) == str(tmp_path / "a")


def test_a_name_that_is_no_unicode_is_misuse(tmp_path: Path) -> None:
    with pytest.raises((dt.UsageError, UnicodeEncodeError)):
        dt.save_file(tmp_path / "x", [("\ud800", "U8", [1], b"a", {})])


def test_pathlib_bytes_and_odd_file_names(tmp_path: Path) -> None:
    for name in ("重み 🙂.deathtensors", "no extension", "-dash", "new\nline", "x.dt"):
        path = tmp_path / name
        dt.save_file(path, [("w", "U8", [1], b"a", {})])
        with dt.open(str(path)) as f:
            assert f.get_bytes("w") == b"a"
        assert Path(f.path) == path
