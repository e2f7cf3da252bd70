"""Files go both ways between this release and the published ones, live from PyPI."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import deathtensors as dt
from helpers import PUBLISHED, VECTORS, data_for, parse, seek_table
from peers import Peer, PeerError

Tensor = tuple[str, str, list[int], bytes, dict[str, str]]

EVERY_DTYPE: list[Tensor] = [
    (f"t.{dtype}", dtype, [3, 5], data_for(dtype, [3, 5], i), {})
    for i, dtype in enumerate(PUBLISHED)
]
SHAPES: list[Tensor] = [
    ("scalar", "F64", [], data_for("F64", []), {}),
    ("scalar.bf16", "BF16", [], data_for("BF16", []), {}),
    ("empty", "F32", [0], b"", {}),
    ("empty.3d", "I64", [2, 0, 3], b"", {}),
    ("one", "U8", [1], b"\7", {}),
    ("4d", "I16", [2, 3, 1, 2], data_for("I16", [2, 3, 1, 2]), {}),
    ("after", "F32", [2], data_for("F32", [2]), {}),
]
NAMES: list[Tensor] = [
    (name, "U8", [2], bytes([i, 255 - i]), {"ключ": "значение", "": "", "q\"\\": "\n\t\x01"})
    for i, name in enumerate(["重み", "a b", "🙂", "é", "e\u0301", 'q"\\/', "\n", "x" * 4096])
]  # fmt: skip
LARGE: list[Tensor] = [
    ("before", "F32", [10], data_for("F32", [10]), {}),
    ("large", "F32", [700, 1024], data_for("F32", [700, 1024], 1), {}),
    ("zeros", "U8", [3_000_000], bytes(3_000_000), {}),
    ("after", "I64", [3], data_for("I64", [3]), {}),
]
SETS = {"dtypes": EVERY_DTYPE, "shapes": SHAPES, "names": NAMES, "none": [], "large": LARGE}
NOTES = {"model": "tiny", "ключ": "значение 🙂", "": "", "json": '{"a": [1]}'}
OPTIONS: list[dict[str, Any]] = [
    {}, {"checksum": True}, {"compress": True}, {"checksum": True, "compress": True},
]  # fmt: skip
#: What this release can add without 0.3.0 minding.
EXTRA: list[dict[str, Any]] = [{}, {"digests": True}, {"alignment": 64}]


def hexed(tensors: list[Tensor]) -> list[Any]:
    return [(n, d, s, data.hex(), notes) for n, d, s, data, notes in tensors]


def id_of(options: dict[str, Any]) -> str:
    return "+".join(options) or "plain"


def check_theirs(found: dict[str, Any], tensors: list[Tensor], options: dict[str, Any]) -> None:
    """What the peer says of our file."""
    assert found["keys"] == [t[0] for t in tensors]
    assert found["metadata"] == NOTES
    assert found["compressed"] == options.get("compress", False)
    assert found["checksum"] == options.get("checksum", False)
    for name, dtype, shape, data, notes in tensors:
        info = found["infos"][name]
        assert (info["dtype"], info["shape"], info["nbytes"]) == (dtype, shape, len(data))
        assert info["metadata"] == notes
        assert bytes.fromhex(found["bytes"][name]) == data


def check_ours(path: Path, tensors: list[Tensor], options: dict[str, Any]) -> None:
    """What we say of the peer's file."""
    with dt.open(path, verify=True) as f:
        assert f.keys() == [t[0] for t in tensors]
        assert f.metadata() == NOTES
        assert f.is_compressed() == options.get("compress", False)
        assert f.has_checksum() == options.get("checksum", False)
        assert f.verify() == options.get("checksum", False)
        for name, dtype, shape, data, notes in tensors:
            info = f.info(name)
            assert (info["dtype"], info["shape"], info["nbytes"]) == (dtype, shape, len(data))
            assert info["metadata"] == notes
            assert f.get_bytes(name) == data
            if shape and shape[0] > 1 and data:
                row = len(data) // shape[0]
                second = f.get_tensor_slice(name, 1, 1, framework="numpy")
                assert second.tobytes() == data[row : 2 * row]


@pytest.mark.parametrize("extra", EXTRA, ids=id_of)
@pytest.mark.parametrize("options", OPTIONS, ids=id_of)
@pytest.mark.parametrize("which", SETS)
def test_030_reads_what_we_write(
    v030: Peer, tmp_path: Path, which: str, options: dict[str, Any], extra: dict[str, Any]
) -> None:
    path = tmp_path / "ours.deathtensors"
    dt.save_file(path, SETS[which], global_metadata=NOTES, **options, **extra)
    check_theirs(v030.call("describe", path=str(path), verify=True), SETS[which], options)


@pytest.mark.parametrize("options", OPTIONS, ids=id_of)
@pytest.mark.parametrize("which", SETS)
def test_we_read_what_030_writes(
    v030: Peer, tmp_path: Path, which: str, options: dict[str, Any]
) -> None:
    path = tmp_path / "theirs.deathtensors"
    v030.call(
        "save_file", path=str(path), tensors=hexed(SETS[which]), global_metadata=NOTES, **options
    )
    check_ours(path, SETS[which], options)


@pytest.mark.parametrize("options", OPTIONS, ids=id_of)
def test_we_and_020_read_each_other(v020: Peer, tmp_path: Path, options: dict[str, Any]) -> None:
    tensors = EVERY_DTYPE + SHAPES
    ours, theirs = tmp_path / "ours.deathtensors", tmp_path / "theirs.deathtensors"
    dt.save_file(ours, tensors, global_metadata=NOTES, **options)
    check_theirs(v020.call("describe", path=str(ours), verify=True), tensors, options)
    v020.call(
        "save_file", path=str(theirs), tensors=hexed(tensors), global_metadata=NOTES, **options
    )
    check_ours(theirs, tensors, options)


@pytest.mark.parametrize("options", [{}, {"checksum": True}], ids=id_of)
def test_we_and_010_read_each_others_legacy_files(
    v010: Peer, tmp_path: Path, options: dict[str, Any]
) -> None:
    tensors = EVERY_DTYPE + SHAPES
    ours, theirs = tmp_path / "ours.dt", tmp_path / "theirs.dt"
    dt.save_file(ours, tensors, global_metadata=NOTES, **options)
    check_theirs(v010.call("describe", path=str(ours), verify=True), tensors, options)
    v010.call(
        "save_file", path=str(theirs), tensors=hexed(tensors), global_metadata=NOTES, **options
    )
    check_ours(theirs, tensors, options)


def test_030_gives_torch_the_same_tensors(v030: Peer, tmp_path: Path) -> None:
    # Those that 0.3.0 itself can give to torch: it cannot make empty ones.
    tensors = [t for t in EVERY_DTYPE + SHAPES if t[3]]
    for options in OPTIONS:
        path = tmp_path / "ours.deathtensors"
        dt.save_file(path, tensors, **options)
        found = v030.call("torch_bytes", path=str(path))
        with dt.open(path) as f:
            for name, _, shape, data, _ in tensors:
                assert found[name]["dtype"] == str(f.get_tensor(name).dtype)
                assert found[name]["shape"] == shape
                assert bytes.fromhex(found[name]["hex"]) == data


def test_030_reads_a_blob_of_many_frames(v030: Peer, tmp_path: Path) -> None:
    path = tmp_path / "frames.deathtensors"
    dt.save_file(path, LARGE, global_metadata=NOTES, compress=True)
    assert len(seek_table(parse(path)["blob"])) > 4
    check_theirs(v030.call("describe", path=str(path)), LARGE, {"compress": True})


def test_030_reads_tied_tensors(v030: Peer, tmp_path: Path) -> None:
    import torch

    path = tmp_path / "tied.deathtensors"
    weight = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    dt.save(path, {"a": weight, "b": torch.ones(2), "c": weight})
    with dt.open(path) as f:
        assert f.info("a")["data_offsets"] == f.info("c")["data_offsets"]
    found = v030.call("describe", path=str(path))
    assert found["bytes"]["a"] == found["bytes"]["c"] == weight.numpy().tobytes().hex()


def test_030_refuses_a_new_dtype_by_its_name(v030: Peer, tmp_path: Path) -> None:
    path = tmp_path / "fp8.deathtensors"
    dt.save_file(path, [("w", "F8_E4M3", [4], b"\1\2\3\4", {})])
    with pytest.raises(PeerError, match="F8_E4M3"):
        v030.call("describe", path=str(path))


def test_030_reads_every_valid_vector_of_its_dtypes(v030: Peer) -> None:
    answers = {
        str(p.with_suffix(".deathtensors")): json.loads(p.read_text("utf-8"))
        for p in sorted((VECTORS / "valid").glob("*.json"))
    }
    wanted = {path: answer for path, answer in answers.items() if answer["readable_by_0_3_0"]}
    assert len(wanted) > 40
    found = v030.call("describe_many", paths=list(wanted))
    for path, answer in wanted.items():
        got = found[path]
        with dt.open(path) as f:
            assert got["keys"] == f.keys()
            assert got["metadata"] == f.metadata()
            for name in f.keys():
                assert bytes.fromhex(got["bytes"][name]) == f.get_bytes(name)
        assert got["checksum"] == answer["checksum"]


@pytest.mark.parametrize("options", OPTIONS, ids=id_of)
def test_030_appends_to_our_file(v030: Peer, tmp_path: Path, options: dict[str, Any]) -> None:
    path = tmp_path / "ours.deathtensors"
    # Sizes that pack without gaps: 0.3.0's append does not survive gaps.
    first = [t for t in EVERY_DTYPE if t[1] in ("F32", "I32", "U32", "F64")] + SHAPES[:1]
    first = [("pair", "F32", [2], data_for("F32", [2]), {"k": "v"}), first[-1]]
    dt.save_file(path, first, global_metadata=NOTES, **options)
    v030.call("append_file", path=str(path), tensors=hexed(EVERY_DTYPE))
    check_ours(path, first + EVERY_DTYPE, options)


@pytest.mark.parametrize("options", OPTIONS, ids=id_of)
def test_we_append_to_a_file_of_030(v030: Peer, tmp_path: Path, options: dict[str, Any]) -> None:
    path = tmp_path / "theirs.deathtensors"
    v030.call(
        "save_file", path=str(path), tensors=hexed(EVERY_DTYPE), global_metadata=NOTES, **options
    )
    dt.append_file(path, SHAPES)
    check_ours(path, EVERY_DTYPE + SHAPES, options)
    dt.append_file(path, NAMES)
    check_ours(path, EVERY_DTYPE + SHAPES + NAMES, options)
    found = v030.call("describe", path=str(path), verify=True)
    check_theirs(found, EVERY_DTYPE + SHAPES + NAMES, options)


@pytest.mark.parametrize("options", [{}, {"compress": True}, {"checksum": False}], ids=id_of)
def test_shards_go_both_ways(v030: Peer, tmp_path: Path, options: dict[str, Any]) -> None:
    tensors = EVERY_DTYPE + [t for t in SHAPES if t[3]]
    ours, theirs = tmp_path / "ours.deathtensors", tmp_path / "theirs.deathtensors"
    shards = dt.save_sharded(
        ours,
        {name: (dtype, shape, data) for name, dtype, shape, data, _ in tensors},
        max_shard_bytes=200,
        metadata={name: notes for name, _, _, _, notes in tensors},
        global_metadata=NOTES,
        **options,
    )
    assert len(shards) > 2
    found = v030.call("describe_sharded", path=str(ours))
    assert found["keys"] == [t[0] for t in tensors]
    assert found["metadata"] == NOTES
    assert {n: bytes.fromhex(b) for n, b in found["bytes"].items()} == {t[0]: t[3] for t in tensors}

    v030.call(
        "save_sharded", path=str(theirs), tensors=hexed(tensors), max_shard_bytes=200,
        global_metadata=NOTES, **options,
    )  # fmt: skip
    with dt.open_sharded(theirs, verify=True) as reader:
        assert reader.keys() == [t[0] for t in tensors]
        assert reader.metadata() == NOTES
        assert "-of-00" in reader.which_shard(tensors[0][0])
        for name, dtype, shape, data, _ in tensors:
            assert reader.get_bytes(name) == data
            assert (reader.info(name)["dtype"], reader.info(name)["shape"]) == (dtype, shape)


def test_sparse_coo_goes_both_ways(v030: Peer, tmp_path: Path) -> None:
    import torch

    indices, values, shape = [[0, 2, 1], [1, 0, 3]], [1.5, -2.0, 4.0], [3, 4]
    sparse = torch.sparse_coo_tensor(indices, values, shape)
    ours, theirs = tmp_path / "ours.deathtensors", tmp_path / "theirs.deathtensors"
    dt.save_sparse(ours, {"w": sparse, "d": torch.ones(2)})
    assert v030.call("get_sparse", path=str(ours), name="w") == sparse.to_dense().tolist()
    assert v030.call("get_sparse", path=str(ours), name="d") == [1.0, 1.0]
    v030.call("save_sparse", path=str(theirs), indices=indices, values=values, shape=shape)
    with dt.open(theirs) as f:
        back = dt.get_sparse(f, "w")
        assert back.layout is torch.sparse_coo
        assert torch.equal(back.to_dense(), sparse.to_dense())
        assert dt.get_sparse(f, "d").tolist() == [1.0, 1.0]
