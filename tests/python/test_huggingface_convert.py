"""Conversion on the model of the Hub: what is read, what is written, what stays."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi

import deathtensors as dt
from deathtensors import huggingface as hf
from deathtensors.huggingface import _convert
from helpers import data_for, parse_safetensors, safetensors_file, sha256
from hub import Hub
from hub_fixtures import REPO, anonymous, api, commits, content, hub, paths, puts

__all__ = ["anonymous", "api", "hub"]  # fixtures
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

TENSORS = [
    ("b", "BF16", [3, 5]),
    ("a", "F32", [1000, 300]),
    ("scalar", "I64", []),
    ("none", "F16", [0, 4]),
    ("fp8", "F8_E4M3", [70_001]),
]
METADATA = {"format": "pt", "license": "MIT"}


def source(names: str | None = None, seed: int = 0) -> bytes:
    chosen = [one for one in TENSORS if names is None or one[0] in names.split()]
    entries = [(name, dtype, shape, data_for(dtype, shape, seed)) for name, dtype, shape in chosen]
    return safetensors_file(entries, METADATA)


def put(hub: Hub, name: str = "x.safetensors", data: bytes | None = None, **where: Any) -> str:
    Path("source").write_bytes(source() if data is None else data)
    return hub.put(REPO, {name: "source"}, **where)


def check_converted(data: bytes, original: bytes) -> None:
    Path("out.deathtensors").write_bytes(data)
    entries, metadata = parse_safetensors(original)
    with dt.open("out.deathtensors", verify=True) as file:
        assert file.keys() == list(entries)
        for name, entry in entries.items():
            info = file.info(name)
            assert (info["dtype"], list(info["shape"])) == (entry["dtype"], entry["shape"])
            assert file.get_bytes(name) == entry["data"]
        assert file.metadata().items() >= (metadata or {}).items()
        assert file.has_checksum()


def received(hub: Hub) -> int:
    return sum(one.sent for one in hub.log.entries() if one.origin == "cdn" and one.method == "GET")


@pytest.mark.parametrize("compress", [False, True])
def test_a_file_is_converted_by_ranges_and_stays(hub: Hub, compress: bool) -> None:
    put(hub, "deep/x.safetensors")
    hub.log.clear()
    url = hf.convert_safetensors_on_hub(REPO, "deep/x.safetensors", compress=compress)
    assert url == f"{hub.endpoint}/{REPO}/blob/main/deep/x.deathtensors"
    assert paths(hub) == ["deep/x.deathtensors", "deep/x.deathtensors.json", "deep/x.safetensors"]
    check_converted(content(hub, "deep/x.deathtensors"), source())
    with dt.open("out.deathtensors") as file:
        assert file.is_compressed() is compress
    assert received(hub) == len(source())  # each byte once
    assert all(
        one.range for one in hub.log.entries() if one.origin == "cdn" and one.method == "GET"
    )


def test_the_original_goes_in_the_same_commit_once_it_was_compared(hub: Hub, api: HfApi) -> None:
    before = put(hub)
    hub.log.clear()
    hf.convert_safetensors_on_hub(
        REPO, "x.safetensors", "weights/y.deathtensors", delete_original=True, manifest=False
    )
    assert paths(hub) == ["weights/y.deathtensors"]
    check_converted(content(hub, "weights/y.deathtensors"), source())
    assert 2 * len(source()) <= received(hub) <= 2 * len(source()) + 1000
    history = api.list_repo_commits(REPO)
    assert history[1].commit_id == before
    assert history[0].title == "Convert x.safetensors to deathtensors, and delete it"


def test_nothing_of_the_source_is_stored_here(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = tmp_path / "room"
    room.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(room))
    put(hub)
    hf.convert_safetensors_on_hub(REPO, "x.safetensors", delete_original=True)
    assert list(room.iterdir()) == []
    kept = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert sha256(source()) not in [sha256(path.read_bytes()) for path in kept]


@pytest.mark.parametrize("moment", ["while it is read", "before the commit"])
def test_a_repository_that_moved_is_left_alone(
    hub: Hub, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(hub)
    name, owner = (
        ("from_safetensors", _convert._deathtensors)
        if moment == "while it is read"
        else ("create_commit", HfApi)
    )
    real = getattr(owner, name)

    def late(*args: Any, **options: Any) -> Any:
        put(hub, "other.safetensors", source(seed=1))
        return real(*args, **options)

    monkeypatch.setattr(owner, name, late)
    with pytest.raises(dt.NetworkError, match="nothing was changed") as caught:
        hf.convert_safetensors_on_hub(REPO, "x.safetensors", delete_original=True)
    assert caught.value.code == "network.changed"
    assert paths(hub) == ["other.safetensors", "x.safetensors"]
    if moment == "while it is read":
        assert puts(hub) == []  # nor was anything sent for nothing


def test_what_is_replaced_meanwhile_is_not_mixed_in(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = put(hub)
    real = _convert._deathtensors.from_safetensors
    seen: list[bytes] = []

    def late(ranges: Any, path: str, **options: Any) -> None:
        put(hub, data=source(seed=1))
        real(ranges, path, **options)
        seen.append(Path(path).read_bytes())

    monkeypatch.setattr(_convert._deathtensors, "from_safetensors", late)
    with pytest.raises(dt.NetworkError):
        hf.convert_safetensors_on_hub(REPO, "x.safetensors")
    check_converted(seen[0], source())  # all of the commit that was read
    assert before in hub.store.find("models", REPO).commits  # type: ignore[union-attr]


@pytest.mark.parametrize("at", [700_000, -10])
def test_a_byte_that_differs_keeps_the_original(hub: Hub, at: int) -> None:
    commit = put(hub)
    # The first reading is right, the second is not.
    hub.fail(origin="cdn", ranged=True, flip=at % len(source()), times=None, skip=2)
    with pytest.raises(dt.IntegrityError) as caught:
        hf.convert_safetensors_on_hub(REPO, "x.safetensors", delete_original=True)
    assert (caught.value.code, caught.value.tensor) == (
        "integrity.tensor",
        "a" if at > 0 else "fp8",
    )
    assert hub.store.find("models", REPO).refs["main"] == commit  # type: ignore[union-attr]
    assert puts(hub) == []


@pytest.mark.parametrize("what", ["bytes", "names", "shape", "metadata", "dtype"])
def test_whatever_differs_keeps_the_original(
    hub: Hub, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(hub, data=source("b a scalar"))
    real = _convert._deathtensors.from_safetensors

    def wrong(ranges: Any, path: str, **options: Any) -> None:
        real(ranges, path, **options)
        with dt.open(path) as file:
            rows = [[info["name"], info["dtype"], list(info["shape"]), file.get_bytes(info["name"])]
                    for info in file.infos()]  # fmt: skip
            metadata = file.metadata()
        if what == "bytes":
            rows[1][3] = rows[1][3][:-1] + bytes([rows[1][3][-1] ^ 1])
        elif what == "names":
            rows.reverse()
        elif what == "shape":
            rows[0][2] = [5, 3]
        elif what == "dtype":
            rows[0][1] = "F16"
        else:
            del metadata["license"]
        dt.save_file(path, [(*row, None) for row in rows], metadata, checksum=True)

    monkeypatch.setattr(_convert._deathtensors, "from_safetensors", wrong)
    with pytest.raises(dt.IntegrityError, match=what):
        hf.convert_safetensors_on_hub(REPO, "x.safetensors", delete_original=True)
    assert paths(hub) == ["x.safetensors"]


@pytest.mark.parametrize("compress", [False, True])
def test_large_tensors_are_compared_in_pieces(
    hub: Hub, compress: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deathtensors.huggingface import _same

    monkeypatch.setattr(_same, "_PIECE", 10_000)
    monkeypatch.setattr(_same, "_AT_ONCE", 40_000)
    put(hub)
    hf.convert_safetensors_on_hub(REPO, "x.safetensors", compress=compress, delete_original=True)
    check_converted(content(hub, "x.deathtensors"), source())


# --- sharded models


def put_model(hub: Hub, folder: str = "", **index: Any) -> dict[str, bytes]:
    """A model in three shards; their contents by name."""
    names = {"a": "a scalar", "b": "b", "c": "none fp8"}
    shards = {
        f"model-0000{place}-of-00003.safetensors": source(names[key])
        for place, key in enumerate(names, 1)
    }
    where = {name: shard for (shard, key) in zip(shards, names) for name in names[key].split()}
    text = {"metadata": {"total_size": 5, "by": "us", "n": 3}, "weight_map": where, **index}
    for name, data in shards.items():
        Path(name).write_bytes(data)
    hub.put(
        REPO,
        {f"{folder}{name}": name for name in shards},
        {f"{folder}model.safetensors.index.json": json.dumps(text)},
    )
    return shards


@pytest.mark.parametrize("delete", [False, True])
def test_a_sharded_model_is_converted_shard_by_shard(
    hub: Hub, delete: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = tmp_path / "room"
    room.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(room))
    monkeypatch.setattr(_convert, "_SMALL", 0)  # as if all of them were large
    real, most = HfApi.preupload_lfs_files, 0

    def counted(self: HfApi, *args: Any, **options: Any) -> None:
        nonlocal most
        most = max(most, len(list(room.rglob("*.deathtensors"))))
        real(self, *args, **options)

    monkeypatch.setattr(HfApi, "preupload_lfs_files", counted)
    shards = put_model(hub, "deep/")
    before = commits(hub)
    url = hf.convert_safetensors_on_hub(
        REPO, "deep/model.safetensors.index.json", delete_original=delete, compress=True
    )
    assert url == f"{hub.endpoint}/{REPO}/blob/main/deep/model.deathtensors"
    assert commits(hub) == before + 1
    assert most == 1  # one file at a time
    new = [f"deep/{name.replace('.safetensors', '.deathtensors')}" for name in shards]
    made = ["deep/model.deathtensors", *new]
    old = ["deep/model.safetensors.index.json", *(f"deep/{name}" for name in shards)]
    wanted = [*made, *(f"{name}.json" for name in made), *([] if delete else old)]
    assert paths(hub) == sorted(wanted)
    for name, data in zip(new, shards.values()):
        check_converted(content(hub, name), data)
    with hf.load_sharded_from_hub(REPO, "deep/model.deathtensors", verify=True) as model:
        assert sorted(model.keys()) == sorted(name for name, *_ in TENSORS)
        assert model.which_shard("b") == "model-00002-of-00003.deathtensors"
        assert model.get_bytes("a") == data_for("F32", [1000, 300])
        assert model.metadata().items() >= {"by": "us", "n": "3"}.items()
        assert "total_size" not in model.metadata()
        assert model.verify()
        places = [file.metadata()["deathtensors.shard.index"] for file in model._files()]
        assert places == ["0", "1", "2"]


def test_the_shards_are_named_after_the_index(hub: Hub) -> None:
    put_model(hub)
    hf.convert_safetensors_on_hub(
        REPO, "model.safetensors.index.json", "new/big.deathtensors", manifest=False
    )
    with hf.load_sharded_from_hub(REPO, "new/big.deathtensors") as model:
        assert model.which_shard("b") == "big-00002-of-00003.deathtensors"
        assert model.get_bytes("b") == data_for("BF16", [3, 5])


@pytest.mark.parametrize(
    ("index", "kind", "code"),
    [
        ({"weight_map": {}}, dt.FormatError, "shards.list"),
        ({"weight_map": 3}, dt.FormatError, "shards.list"),
        ({"weight_map": None}, dt.FormatError, "shards.list"),
        ({"weight_map": {"a": 3}}, dt.FormatError, "shards.list"),
        ({"weight_map": {"a": "sub/x.safetensors"}}, dt.FormatError, "shards.path"),
        ({"weight_map": {"a": "model-00001-of-00003.safetensors"}}, dt.FormatError,
         "shards.mismatch"),
        ({"weight_map": {"a": "none.safetensors"}}, dt.NetworkError, "network.not_found"),
    ],
)  # fmt: skip
def test_an_index_that_is_not_right_changes_nothing(
    hub: Hub, index: dict[str, Any], kind: type[Exception], code: str
) -> None:
    put_model(hub, **index)
    before = paths(hub)
    with pytest.raises(kind) as caught:
        hf.convert_safetensors_on_hub(REPO, "model.safetensors.index.json", delete_original=True)
    assert caught.value.code == code  # type: ignore[attr-defined]
    assert paths(hub) == before


# --- refusals


def test_a_source_that_is_none_changes_nothing(hub: Hub) -> None:
    put(hub, data=b"\x05\0\0\0\0\0\0\0hello" + bytes(100))
    with pytest.raises(dt.FormatError) as caught:
        hf.convert_safetensors_on_hub(REPO, "x.safetensors", delete_original=True)
    assert caught.value.code == "safetensors.invalid"
    with pytest.raises(dt.NetworkError, match=r"x\.safetensors") as missing:
        hf.convert_safetensors_on_hub(REPO, "y.safetensors")
    assert missing.value.code == "network.not_found"
    with pytest.raises(dt.UsageError):
        hf.convert_safetensors_on_hub(REPO, "x.safetensors", "x.safetensors")
    assert paths(hub) == ["x.safetensors"]


def test_who_may_not_write_is_told_before_anything_is_read(hub: Hub) -> None:
    put(hub)
    hub.log.clear()
    with pytest.raises(dt.NetworkError, match="write access"):
        hf.convert_safetensors_on_hub(REPO, "x.safetensors", token=hub.reader_token)
    with pytest.raises(dt.NetworkError, match="it takes a token"):
        hf.convert_safetensors_on_hub(REPO, "x.safetensors", token=False)
    assert received(hub) == 0


def test_a_branch_is_converted_in_place(hub: Hub) -> None:
    put(hub, branch="half")
    hf.convert_safetensors_on_hub(REPO, "x.safetensors", revision="half", delete_original=True)
    assert paths(hub, branch="half") == ["x.deathtensors", "x.deathtensors.json"]
    assert paths(hub) == []


def test_a_connection_that_breaks_while_converting_is_taken_up(hub: Hub) -> None:
    put(hub)
    hub.fail(origin="cdn", ranged=True, drop_after=50_000, times=2)
    hf.convert_safetensors_on_hub(REPO, "x.safetensors", delete_original=True)
    check_converted(content(hub, "x.deathtensors"), source())


@pytest.mark.parametrize("at", [9, 700_000, -10])
def test_a_source_that_is_not_what_the_hub_announced_stays(hub: Hub, at: int) -> None:
    """Damaged in the store: both readings agree, and only the SHA-256 tells."""
    data = bytearray(source())
    names = data.index(b'"b"')
    where = names + 1 if at == 9 else at % len(data)
    commit = put(hub)
    hub.fail(origin="cdn", ranged=True, flip=where, times=None)
    with pytest.raises((dt.IntegrityError, dt.FormatError)) as caught:
        hf.convert_safetensors_on_hub(REPO, "x.safetensors", delete_original=True)
    if at != 9:  # where JSON is no longer JSON
        assert caught.value.code == "integrity.tensor"
        assert "SHA-256" in str(caught.value) and caught.value.expected == sha256(source())
    assert hub.store.find("models", REPO).refs["main"] == commit  # type: ignore[union-attr]
    assert puts(hub) == []


def test_tensors_whose_bytes_stand_in_another_order_than_their_names(hub: Hub) -> None:
    entries = [("a", "U8", [4], b"aaaa"), ("b", "U8", [3], b"bbb"), ("c", "U8", [0], b"")]
    data = safetensors_file(entries)
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    turned = json.dumps(dict(reversed(list(header.items())))).encode()
    moved = len(turned).to_bytes(8, "little") + turned + data[8 + length :]
    put(hub, data=moved)
    hf.convert_safetensors_on_hub(REPO, "x.safetensors", delete_original=True)
    check_converted(content(hub, "x.deathtensors"), moved)
    assert "x.safetensors" not in paths(hub)
