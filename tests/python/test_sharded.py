"""A model in several files reads as one."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deathtensors as dt
from helpers import listing, parse, safetensors_file

MODEL = {f"layers.{i}.weight": np.full((10, 10), i, np.float64) for i in range(20)}
OPTIONS = [{}, {"compress": True}, {"checksum": False, "digests": True}]


def save(folder: Path, **options: Any) -> Path:
    path = folder / "model.deathtensors"
    options.setdefault("max_shard_bytes", 3000)
    dt.save_sharded(path, options.pop("tensors", MODEL), **options)
    return path


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_shards_read_as_one_file(options: dict[str, Any], tmp_path: Path) -> None:
    path = save(tmp_path, global_metadata={"k": "v"}, **options)
    with dt.open_sharded(path, verify=True) as reader:
        assert reader.keys() == list(MODEL) == list(reader)
        assert len(reader) == 20
        assert "layers.3.weight" in reader and "no" not in reader
        assert reader.metadata() == {"k": "v"}
        for name, value in MODEL.items():
            assert np.array_equal(reader.get_tensor(name, framework="numpy"), value)
            assert reader.get_bytes(name) == value.tobytes()
            assert reader.info(name)["shape"] == [10, 10]
            assert reader.stats(name)["max"] == value.max()
            part = reader.get_tensor_slice(name, 2, 3, framework="numpy")
            assert np.array_equal(part, value[2:5])
        loaded = reader.get_tensors(framework="numpy")
        assert list(loaded) == list(MODEL)
        assert reader.verify()


def test_names_and_marks_are_as_specified(tmp_path: Path) -> None:
    path = tmp_path / "model.deathtensors"
    shards = dt.save_sharded(path, MODEL, max_shard_bytes=3000, global_metadata={"k": "v"})
    names = [f"model-{i + 1:05d}-of-00007.deathtensors" for i in range(7)]
    assert shards == [str(tmp_path / name) for name in names]
    assert listing(tmp_path) == sorted([*names, "model.deathtensors"])
    header = parse(path)["header"]
    assert header["tensors"] == {}
    notes = header["global_metadata"]
    assert notes["deathtensors.sharded"] == "true"
    assert notes["deathtensors.shard.count"] == "7"
    assert notes["k"] == "v"
    listed = json.loads(notes["deathtensors.shards"])
    assert [part["path"] for part in listed] == names
    assert [name for part in listed for name in part["tensors"]] == list(MODEL)
    assert sum(part["bytes"] for part in listed) == 20 * 800
    assert all(part["bytes"] <= 3000 for part in listed)
    for i, name in enumerate(names):
        notes = parse(tmp_path / name)["header"]["global_metadata"]
        assert notes["deathtensors.shard.index"] == str(i)
        assert notes["deathtensors.shard.count"] == "7"
        assert notes["k"] == "v"
        with dt.open(tmp_path / name, verify=True) as f:
            assert f.has_checksum()


def test_which_shard_and_paths(tmp_path: Path) -> None:
    path = save(tmp_path)
    with dt.open_sharded(path) as reader:
        assert reader.which_shard("layers.0.weight") == "model-00001-of-00007.deathtensors"
        assert reader.which_shard("layers.19.weight") == "model-00007-of-00007.deathtensors"
        assert len(reader.shard_paths()) == 7
        assert all(Path(p).exists() for p in reader.shard_paths())
        with pytest.raises(KeyError):
            reader.which_shard("none")


def test_a_tensor_larger_than_a_shard_has_one_to_itself(tmp_path: Path) -> None:
    path = save(tmp_path, tensors={"a": np.ones(10), "b": np.ones(10_000), "c": np.ones(10)})
    with dt.open_sharded(path) as reader:
        assert len({reader.which_shard(name) for name in "abc"}) == 3


def test_shards_are_opened_only_when_needed(tmp_path: Path) -> None:
    path = save(tmp_path)
    (tmp_path / "model-00004-of-00007.deathtensors").unlink()
    with dt.open_sharded(path) as reader:
        assert reader.keys() == list(MODEL)
        assert reader.get_bytes("layers.0.weight") == MODEL["layers.0.weight"].tobytes()
        with pytest.raises(FileNotFoundError) as caught:
            reader.get_bytes("layers.9.weight")
        assert isinstance(caught.value, dt.DeathTensorsError)
        assert "model-00004-of-00007" in str(caught.value)


def test_no_tensors_at_all(tmp_path: Path) -> None:
    path = save(tmp_path, tensors={})
    with dt.open_sharded(path) as reader:
        assert reader.keys() == [] and len(reader) == 0 and reader.shard_paths() == []
        assert reader.get_tensors(framework="numpy") == {}


def test_tied_tensors_stay_together(tmp_path: Path) -> None:
    value = np.ones(300)
    path = save(tmp_path, tensors={"a": value, "b": np.zeros(300), "tied": value})
    with dt.open_sharded(path) as reader:
        assert np.array_equal(reader.get_tensor("tied", framework="numpy"), value)
        if reader.which_shard("a") == reader.which_shard("tied"):
            assert reader.info("a")["data_offsets"] == reader.info("tied")["data_offsets"]


def test_an_index_is_a_file_without_tensors(tmp_path: Path) -> None:
    path = save(tmp_path)
    with dt.open(path) as f:
        assert f.keys() == []
    with pytest.raises(dt.FormatError) as caught:
        dt.open_sharded(tmp_path / "model-00001-of-00007.deathtensors")
    assert caught.value.code == "shards.not_index"


def test_damage_in_one_shard_is_found(tmp_path: Path) -> None:
    path = save(tmp_path)
    shard = tmp_path / "model-00003-of-00007.deathtensors"
    data = bytearray(shard.read_bytes())
    data[-40] ^= 1
    shard.write_bytes(data)
    with dt.open_sharded(path) as reader:
        assert reader.verify_report()["errors"]
        with pytest.raises(dt.IntegrityError):
            reader.verify()
    with pytest.raises(dt.IntegrityError):
        with dt.open_sharded(path, verify=True) as reader:
            for name in reader:
                reader.get_bytes(name)


def test_one_root_pins_every_shard(tmp_path: Path) -> None:
    path = save(tmp_path, digests=True)
    with dt.open_sharded(path) as reader:
        root = reader.root
    assert root is not None
    with dt.open_sharded(path, root=root) as reader:
        assert len(reader.get_tensors(framework="numpy")) == 20
    # Another, equally sound shard in the place of one.
    other = tmp_path / "other"
    other.mkdir()
    changed = {**MODEL, "layers.6.weight": np.zeros((10, 10))}
    save(other, tensors=changed, digests=True)
    shard = "model-00003-of-00007.deathtensors"
    (tmp_path / shard).write_bytes((other / shard).read_bytes())
    with pytest.raises(dt.IntegrityError) as caught:
        with dt.open_sharded(path, root=root) as reader:
            reader.get_bytes("layers.6.weight")
    assert caught.value.code == "integrity.root"
    with pytest.raises(dt.IntegrityError):
        dt.open_sharded(other / "model.deathtensors", root=root)


def test_old_shards_of_another_count_are_not_confused(tmp_path: Path) -> None:
    save(tmp_path)
    path = save(tmp_path, max_shard_bytes=100_000)
    with dt.open_sharded(path, verify=True) as reader:
        assert len(reader.shard_paths()) == 1
        assert reader.keys() == list(MODEL)


@pytest.mark.parametrize("limit", [0, -1, 1.5, "1"])
def test_a_shard_size_that_is_no_size_is_misuse(limit: Any, tmp_path: Path) -> None:
    with pytest.raises(dt.UsageError):
        dt.save_sharded(tmp_path / "x.deathtensors", MODEL, max_shard_bytes=limit)
    assert listing(tmp_path) == []


def test_other_extensions_in_the_index_path(tmp_path: Path) -> None:
    for name in ("model.dt", "model", "model.bin"):
        folder = tmp_path / name.replace(".", "_")
        folder.mkdir()
        shards = dt.save_sharded(folder / name, {"w": np.ones(3)})
        assert len(shards) == 1 and Path(shards[0]).parent == folder
        with dt.open_sharded(folder / name) as reader:
            assert reader.keys() == ["w"]


def test_diff_and_schema_take_an_index(tmp_path: Path) -> None:
    a = save(tmp_path)
    single = tmp_path / "single.deathtensors"
    dt.save(single, MODEL)
    assert dt.diff(a, single)["equal"]
    schema = dt.Schema()
    for name in MODEL:
        schema.expect(name, dtype="F64", shape=[10, 10])
    schema.validate(a)
    with pytest.raises(dt.SchemaError):
        schema.expect("missing").validate(a)


def test_nothing_is_appended_to_an_index(tmp_path: Path) -> None:
    index = save(tmp_path)
    dt.save(tmp_path / "more", {"more": np.zeros(1)})
    before = index.read_bytes()
    for append in (
        lambda: dt.append(index, {"more": np.zeros(1)}),
        lambda: dt.append(index, {}, extra_global_metadata={"a": "b"}),
        lambda: dt.append_file(index, [("more", "U8", [1], b"a", None)]),
    ):
        with pytest.raises(dt.UsageError, match=r"index.*merge it"):
            append()
    assert dt.main(["append", str(index), str(tmp_path / "more")]) == 2
    assert index.read_bytes() == before
    with dt.open_sharded(index) as model:
        assert sorted(model.keys()) == sorted(MODEL)


def test_a_file_with_tensors_is_no_index_whatever_it_says(tmp_path: Path) -> None:
    says = {"deathtensors.shard_count": "1", "deathtensors.sharded": "true"}
    foreign = tmp_path / "x.safetensors"
    foreign.write_bytes(safetensors_file([("a", "U8", [1], b"a")], says))
    path = dt.from_safetensors(foreign)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with dt.open(path) as file:
            assert file.get_bytes("a") == b"a"
    with pytest.raises(dt.FormatError) as caught:
        dt.open_sharded(path)
    assert caught.value.code == "shards.not_index"
    assert dt.to_safetensors(path, tmp_path / "back") == str(tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == foreign.read_bytes()
    dt.append(path, {"b": np.zeros(1)})
    assert dt.open(path).keys() == ["a", "b"]
    # Without tensors it says the same, and is one.
    foreign.write_bytes(safetensors_file([], says))
    path = dt.from_safetensors(foreign)
    with pytest.raises(dt.UsageError, match="merge it first"):
        dt.to_safetensors(path)


def test_an_index_opened_as_a_file_says_what_it_is(tmp_path: Path) -> None:
    index = tmp_path / "m.deathtensors"
    dt.save_sharded(index, {"a": np.zeros(3)})
    with pytest.warns(UserWarning, match=r"open_sharded\(\) reads it"):
        file = dt.open(index)
    with file:
        assert "open_sharded()" in repr(file) and "open_sharded()" in file._repr_html_()
        for ask in (file.info, file.get_tensor, file.get_bytes, file.stats, file.verify):
            with pytest.raises(dt.TensorNotFoundError, match=r"open_sharded\(\) reads it"):
                ask("a")
        assert file.keys() == [] and len(file.facts) and file.verify()
    dt.save(tmp_path / "empty", {})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dt.open(tmp_path / "empty").close()
        dt.open_sharded(index).close()
        dt.diff(index, index)
