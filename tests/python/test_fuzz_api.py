"""Whatever model is saved comes back, by every way there is."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import strategies as st

import deathtensors as dt
from fuzzing import Made, check, command, fuzzed, models, names, notes, options, tensors, write
from helpers import NUMPY_DTYPES, listing
from webserver import Web

#: The dtypes that the safetensors library reads into NumPy.
PLAIN = ["BOOL", "U8", "I8", "U16", "I16", "I32", "U32", "I64", "U64", "F16", "F32", "F64"]
A, B = "a.deathtensors", "b.deathtensors"


def main(*words: str) -> None:
    """One command, which must succeed."""
    status, text = command(*words)
    assert status == 0, (words, text)


# --- saving and opening


@fuzzed(150, model=models(), said=notes, how=options)
def test_what_is_saved_is_read(model: dict[str, Made], said: dict[str, str], how: Any) -> None:
    write(A, model, global_metadata=said, **how)
    write(B, model, global_metadata=said, **how)
    data = Path(A).read_bytes()
    assert data == Path(B).read_bytes()
    for source in (A, Path(A), io.BytesIO(data)):
        with dt.open(source) as file:
            assert file.metadata() == said
            check(file, model)
    for backend in ("mmap", "pread"):
        with dt.open(A, backend=backend, verify=True) as file:
            check(file, model)
            whole = bool(how["checksum"] or how["digests"])
            assert file.verify() is whole
            root = file.root
            everything = file.get_all_bytes()
            assert everything == {name: made.data for name, made in model.items()}
    assert (root is not None) == how["digests"]
    if root is not None:
        with dt.open(A, root=root) as file:
            check(file, model)
    assert listing(Path()) == [A, B]


@fuzzed(40, model=models(most=4), how=options)
def test_what_is_saved_is_read_from_a_server(web: Web, model: dict[str, Made], how: Any) -> None:
    write(A, model, **how)
    web.files["/x"] = Path(A).read_bytes()
    with dt.open(f"{web.url}/x") as file:
        check(file, model)
        assert file.verify() is bool(how["checksum"] or how["digests"])
        root = file.root
    if root is not None:
        with dt.open(f"{web.url}/x", root=root) as file:
            check(file, model)


@fuzzed(60, model=models(kinds=list(NUMPY_DTYPES), least=1), how=options)
def test_what_is_read_together_is_what_is_read_alone(model: dict[str, Made], how: Any) -> None:
    write(A, model, **how)
    with dt.open(A) as file:
        found = file.get_tensors("numpy")
        assert list(found) == list(model)
        for name, made in model.items():
            assert found[name].tobytes() == made.data
            assert list(found[name].shape) == made.shape
        assert {name: array.tobytes() for name, array in file.items("numpy")} == {
            name: made.data for name, made in model.items()
        }


# --- rows

_ends = st.one_of(
    st.integers(-3, 12), st.sampled_from([2**31, 2**63 - 1, 2**63, 2**64, -(2**63), 10**30])
)


@fuzzed(
    200,
    made=tensors(kinds=list(NUMPY_DTYPES)),
    windows=st.lists(st.tuples(_ends, st.one_of(st.none(), _ends)), min_size=1, max_size=6),
    how=options,
)
def test_rows_are_numpys(made: Made, windows: list[tuple[int, Any]], how: Any) -> None:
    write(A, {"w": made}, **how)
    whole = made.array()
    for source in (A, io.BytesIO(Path(A).read_bytes())):
        with dt.open(source) as file:
            for start, count in windows:
                rows = made.shape[0] if made.shape else -1
                end = rows if count is None else start + count
                if 0 <= start <= end <= rows and (count is None or count >= 0):
                    found = file.get_tensor_slice("w", start, count, "numpy")
                    assert found.dtype == whole.dtype
                    assert found.shape == whole[start:end].shape
                    assert found.tobytes() == whole[start:end].tobytes()
                else:
                    with pytest.raises(dt.UsageError) as caught:
                        file.get_tensor_slice("w", start, count, "numpy")
                    assert caught.value.tensor == "w"


# --- from file to file


@fuzzed(60, first=models(), second=models(), how=options, later=options)
def test_what_is_appended_is_added(
    first: dict[str, Made], second: dict[str, Made], how: Any, later: Any
) -> None:
    write(A, first, **how)
    before = Path(A).read_bytes()
    values = {name: made.value() for name, made in second.items()}
    metadata = {name: made.metadata for name, made in second.items()}
    more = {"digests": later["digests"], "alignment": later["alignment"]}
    if set(first) & set(second):
        with pytest.raises(dt.UsageError):
            dt.append(A, values, metadata, **more)
        assert Path(A).read_bytes() == before
        return
    dt.append(A, values, metadata, **more)
    with dt.open(A, verify=True) as file:
        check(file, {**first, **second})
        assert file.is_compressed() == (how["compress"])
        assert file.has_checksum() == how["checksum"]


@fuzzed(50, model=models(least=1), how=options, most=st.sampled_from([1, 100, 5000, 2**40]))
def test_shards_and_back(model: dict[str, Made], how: Any, most: int) -> None:
    values = {name: made.value() for name, made in model.items()}
    metadata = {name: made.metadata for name, made in model.items()}
    folder = Path("shards")
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    index = str(folder / A)
    shards = dt.save_sharded(index, values, most, metadata, {"said": "x"}, **how)
    assert sorted(listing(folder)) == sorted([A, *(Path(one).name for one in shards)])
    with dt.open_sharded(index) as reader:
        check(reader, model)
        assert reader.verify() is bool(how["checksum"] or how["digests"])
        root = reader.root
    with dt.open_sharded(index, root=root, verify=True) as reader:
        check(reader, model)
    main("merge", index, B, "--json")
    with dt.open(B) as file:
        check(file, model)
        assert file.metadata() == {"said": "x"}
    assert dt.diff(index, B)["equal"]
    again = str(folder / "again.deathtensors")
    main("shard", B, again, "--max-bytes", "777", "--json")
    with dt.open_sharded(again) as reader:
        check(reader, model)
    assert dt.diff(B, again)["equal"]


@fuzzed(60, model=models(least=1), how=options, data=st.data())
def test_what_is_extracted_is_what_was_there(
    model: dict[str, Made], how: Any, data: st.DataObject
) -> None:
    write(A, model, **how)
    chosen = data.draw(st.sets(st.sampled_from(sorted(model)), min_size=1))
    main("extract", "--json", A, B, "--", *sorted(chosen))
    with dt.open(B) as file:
        kept = set(file.keys())
        # A name may be a pattern too, but one that is there means itself.
        assert kept == chosen
        check(file, {name: made for name, made in model.items() if name in kept})


# --- differences


@fuzzed(80, model=models(), said=notes, how=options, other=options)
def test_equal_files_do_not_differ(
    model: dict[str, Made], said: dict[str, str], how: Any, other: Any
) -> None:
    write(A, model, global_metadata=said, **how)
    write(B, model, global_metadata=said, **other)
    for compare_bytes in (False, True):
        found = dt.diff(A, B, compare_bytes=compare_bytes)
        assert found.pop("equal") is True
        assert not any(found.values())


@fuzzed(
    150,
    model=models(least=1),
    how=options,
    change=st.sampled_from(["add", "remove", "value", "shape", "dtype", "metadata", "global"]),
    name=names,
    data=st.data(),
)
def test_one_change_is_the_difference(
    model: dict[str, Made], how: Any, change: str, name: str, data: st.DataObject
) -> None:
    write(A, model, **how)
    one = data.draw(st.sampled_from(sorted(model)))
    old = model[one]
    new = dict(model)
    said: dict[str, str] = {}
    wanted: dict[str, Any] = {
        "added": [], "removed": [], "shape_changed": {}, "dtype_changed": {}, "value_changed": [],
        "metadata_changed": {}, "global_metadata_changed": None,
    }  # fmt: skip
    if change == "add" and name not in model:
        new[name] = Made("U8", [1], b"x")
        wanted["added"] = [name]
    elif change == "remove":
        del new[one]
        wanted["removed"] = [one]
    elif change == "value" and old.data:
        at = data.draw(st.integers(0, len(old.data) - 1))
        flipped = bytes([old.data[at] ^ 1])
        new[one] = Made(old.dtype, old.shape, old.data[:at] + flipped + old.data[at + 1 :],
                        metadata=old.metadata)  # fmt: skip
        wanted["value_changed"] = [one]
    elif change == "shape":
        shape = [1, *old.shape]
        new[one] = Made(old.dtype, shape, old.data, metadata=old.metadata)
        wanted["shape_changed"] = {one: (old.shape, shape)}
    elif change == "dtype" and old.dtype in ("F32", "I32"):
        dtype = "U32"
        new[one] = Made(dtype, old.shape, old.data, metadata=old.metadata)
        wanted["dtype_changed"] = {one: (old.dtype, dtype)}
    elif change == "metadata":
        notes_ = {**old.metadata, "new key": "x"}
        new[one] = Made(old.dtype, old.shape, old.data, metadata=notes_)
        wanted["metadata_changed"] = {one: (old.metadata, notes_)}
    elif change == "global":
        said = {"k": "v"}
        wanted["global_metadata_changed"] = ({}, said)
    write(B, new, global_metadata=said, **how)
    wanted["equal"] = not any(wanted.values())
    assert plain(dt.diff(A, B)) == plain(wanted)
    assert plain(dt.diff(A, B, compare_bytes=True)) == plain(wanted)


def plain(value: Any) -> Any:
    """Tuples and lists alike."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


# --- the peer's library

_text = st.dictionaries(st.text("abc.:/é🙂", min_size=1, max_size=9), st.text("xyzé\n"), max_size=3)


def _theirs(model: dict[str, Made]) -> dict[str, Any]:
    return {name: made.array() for name, made in model.items() if name != "__metadata__"}


@fuzzed(80, model=models(kinds=PLAIN), said=_text, how=options)
def test_safetensors_reads_what_is_converted(
    model: dict[str, Made], said: dict[str, str], how: Any
) -> None:
    model.pop("__metadata__", None)  # what that name means there
    write(A, model, global_metadata=said, **how)
    dt.to_safetensors(A, "x.safetensors")
    with safetensors.safe_open("x.safetensors", "np") as file:
        metadata = file.metadata() or {}
        assert {key: metadata[key] for key in said} == said
        assert sorted(file.keys()) == sorted(model)
        for name, made in model.items():
            array = file.get_tensor(name)
            assert (array.dtype, list(array.shape)) == (NUMPY_DTYPES[made.dtype], made.shape)
            assert array.tobytes() == made.data
    dt.from_safetensors("x.safetensors", B, compress=how["compress"])
    with dt.open(B) as file:
        check(file, model, metadata=False)
        assert dt.diff(A, B)["value_changed"] == []


@fuzzed(80, model=models(kinds=PLAIN), said=_text, how=options)
def test_what_safetensors_writes_is_converted(
    model: dict[str, Made], said: dict[str, str], how: Any
) -> None:
    model.pop("__metadata__", None)
    safetensors.numpy.save_file(_theirs(model), "x.safetensors", said or None)
    dt.from_safetensors("x.safetensors", A, **how)
    with dt.open(A, verify=True) as file:
        assert file.metadata() == {**said, "deathtensors.converted_from": "safetensors"}
        check(file, {name: Made(made.dtype, made.shape, made.data) for name, made in
                     ((name, model[name]) for name in file)})  # fmt: skip
        assert sorted(file) == sorted(model)
    dt.to_safetensors(A, "y.safetensors")
    again = safetensors.numpy.load_file("y.safetensors")
    assert {name: array.tobytes() for name, array in again.items()} == {
        name: made.data for name, made in model.items()
    }


# --- statistics


@fuzzed(
    120, made=tensors(kinds=[one for one in NUMPY_DTYPES if one not in ("C64", "C128")]),
    how=options,
)  # fmt: skip
def test_statistics_are_numpys(made: Made, how: Any) -> None:
    write(A, {"w": made}, **how)
    with dt.open(A) as file:
        found = file.stats("w")
    with np.errstate(all="ignore"):
        values = made.array().reshape(-1).astype(np.float64)
        finite = values[np.isfinite(values)]
        assert found["count"] == values.size
        assert found["nan"] == np.isnan(values).sum()
        assert (found["posinf"], found["neginf"]) == (
            (values == math.inf).sum(), (values == -math.inf).sum(),
        )  # fmt: skip
        assert found["nnz"] == np.count_nonzero(made.array())
        if not finite.size:
            assert all(math.isnan(found[what]) for what in ("min", "max", "mean", "stddev"))
            return
        assert float(found["min"]) == finite.min() and float(found["max"]) == finite.max()
        # Scaled, so that squares of large numbers are numbers.
        scale = float(np.abs(finite).max()) or 1.0
        if scale < 1e-290:
            return
        small = finite / scale
        for what, wanted in (
            ("mean", small.mean()), ("stddev", small.std()),
            ("l2", math.sqrt(math.fsum(small * small))),
        ):  # fmt: skip
            mine = found[what] / scale
            if math.isinf(found[what]):
                assert wanted * 1.0 > 1.7e308 / scale
            else:
                assert mine == pytest.approx(wanted, rel=1e-9, abs=1e-9), what
