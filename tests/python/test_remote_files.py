"""Remote files as users open them: what is right, what it costs, what is refused."""

from __future__ import annotations

import gc
import io
import json
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import deathtensors as dt
from deathtensors.cli import main
from deathtensors.remote import RemoteOptions
from hub import Hub
from webserver import Web

MIB = 1 << 20
REPO = "tester/model"


def _tensors(seed: int = 0, many: int = 40) -> dict[str, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(seed)
    large = rng.standard_normal((3000, 500)).astype("float32")
    middle = rng.integers(-9, 9, (200, 300)).astype("int64")
    small = {f"blocks.{n}.bias": rng.standard_normal(30).astype("float32") for n in range(many)}
    return {"large": large, **small, "middle": middle, "scalar": np.array(7, "int32")}


@pytest.fixture(params=["plain", "compressed"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    made = tmp_path / "m.deathtensors"
    dt.save(made, _tensors(), digests=True, checksum=True, compress=request.param == "compressed")
    return made


def _same(file: Any, tensors: dict[str, Any]) -> None:
    assert file.keys() == list(tensors)
    found = file.get_tensors("numpy")
    for name, value in tensors.items():
        np.testing.assert_array_equal(found[name], value)


# --- the same as a local file, wherever it is


def test_everything_that_a_local_file_has(hub: Hub, path: Path) -> None:
    hub.put(REPO, {"deep/m.deathtensors": path})
    with dt.open(path) as here, dt.open(f"hf://{REPO}/deep/m.deathtensors") as there:
        _same(there, _tensors())
        assert there.infos() == here.infos()
        assert there.metadata() == here.metadata()
        assert there.facts == here.facts
        assert there.root == here.root
        assert there.all_stats() == here.all_stats()
        assert there.stats("middle") == here.stats("middle")
        rows = there.get_tensor_slice("large", 1000, 3, framework="numpy")
        np.testing.assert_array_equal(rows, _tensors()["large"][1000:1003])
        assert there.get_tensor("large").shape == (3000, 500)
        assert there.verify()
        assert there.verify("large")
        assert dt.diff(there, here)["equal"]
        assert dt.Schema().expect("large", dtype="F32").allow_extra().validate(there) is None
        assert here.counters is None


def test_a_schema_meets_a_sharded_model(web: Web, tmp_path: Path) -> None:
    index = tmp_path / "s.deathtensors"
    tensors = {name: np.zeros(100, "uint8") for name in "ab"}
    for path in (index, *map(Path, dt.save_sharded(index, tensors, max_shard_bytes=100))):
        web.files[f"/{path.name}"] = path.read_bytes()
    with dt.open_sharded(f"{web.url}/s.deathtensors") as model:
        schema = dt.Schema().expect("a").expect("b", dtype="U8")
        schema.validate(model)
        (line,) = schema.expect("gone").problems(model)
        assert "gone" in line


def test_a_sharded_model_of_a_web_server_is_verified(web: Web, tmp_path: Path) -> None:
    index = tmp_path / "s.deathtensors"
    for path in (index, *map(Path, dt.save_sharded(index, _tensors(), digests=True))):
        web.files[f"/{path.name}"] = path.read_bytes()
    # Without an ETag nothing but the open file says which content it is.
    web.etags = dict.fromkeys(web.files)
    with dt.open_sharded(f"{web.url}/s.deathtensors") as model:
        assert model.verify()
        assert next(iter(model.verify_report()["files"])) == "s.deathtensors"


@pytest.mark.parametrize("kind", ["web", "object", "real file", "fsspec memory", "fsspec file"])
def test_wherever_it_is(web: Web, path: Path, kind: str) -> None:
    import fsspec

    web.files["/m.deathtensors"] = path.read_bytes()
    fsspec.filesystem("memory").pipe("/m.deathtensors", path.read_bytes())
    sources: dict[str, Callable[[], Any]] = {
        "web": lambda: f"{web.url}/m.deathtensors",
        "object": lambda: io.BytesIO(path.read_bytes()),
        "real file": lambda: path.open("rb"),
        "fsspec memory": lambda: "memory://m.deathtensors",
        "fsspec file": path.as_uri,
    }
    source = sources[kind]()
    with dt.open(source, verify=True) as file:
        _same(file, _tensors())
        assert file.counters is not None
        assert file.counters["bytes"] > 0
    if hasattr(source, "close"):
        assert not source.closed  # it is the caller's
        source.close()


def test_sharded(hub: Hub, tmp_path: Path) -> None:
    index = tmp_path / "s.deathtensors"
    shards = dt.save_sharded(index, _tensors(), max_shard_bytes=2 * MIB, digests=True)
    files = {f"x/{Path(p).name}": p for p in [index, *shards]}
    hub.put(REPO, files)
    with dt.open_sharded(f"hf://{REPO}/x/s.deathtensors") as model:
        opened = [one.path for one in hub.log.entries() if one.method == "HEAD"]
        assert len(opened) == 1  # no shard before it is needed
        assert model.counters is not None
        _same(model, _tensors())
        assert model.verify()
        with pickle.loads(pickle.dumps(model)) as again:
            middle = again.get_tensor("middle", "numpy")
        np.testing.assert_array_equal(middle, _tensors()["middle"])
    with dt.open_sharded(index) as local, pytest.raises(dt.IntegrityError):
        assert local.root is not None
        dt.open_sharded(f"hf://{REPO}/x/s.deathtensors", root="0" * 64)


# --- what it costs


def test_info_of_a_large_file_is_three_requests(hub: Hub, tmp_path: Path) -> None:
    large = tmp_path / "large.deathtensors"
    zeros = np.zeros((125, MIB), "float32")
    dt.save(large, {"zeros": zeros, **_tensors(many=300)}, digests=True)
    assert large.stat().st_size > 500 * MIB
    hub.put(REPO, {"large.deathtensors": large})
    hub.log.clear()
    with dt.open(f"hf://{REPO}/large.deathtensors") as file:
        assert len(file.infos()) == 304
        assert file.facts["parameters"] > 125 * MIB
        entries = hub.log.entries()
        assert len(entries) <= 3
        assert sum(one.sent for one in entries) < MIB
        hub.log.clear()
        file.get_tensor("large", "numpy")
        (one,) = hub.log.entries()
        assert one.sent <= 1.05 * file.info("large")["nbytes"]
        hub.log.clear()
        file.get_tensor_slice("zeros", 100, 1, framework="numpy")
        assert sum(one.sent for one in hub.log.entries()) <= 1.05 * 4 * MIB


def test_rows_of_a_compressed_tensor_cost_their_frames(web: Web, tmp_path: Path) -> None:
    path = tmp_path / "c.deathtensors"
    dt.save(path, _tensors(), compress=True)
    web.files["/c.deathtensors"] = path.read_bytes()
    with dt.open(f"{web.url}/c.deathtensors") as file:
        before = dict(file.counters or {})
        rows = file.get_tensor_slice("large", 1500, 2, framework="numpy")
        np.testing.assert_array_equal(rows, _tensors()["large"][1500:1502])
        after = file.counters or {}
        assert after["requests"] - before["requests"] == 2  # the seek table, a frame
        assert after["bytes"] - before["bytes"] < 300_000


def test_many_small_tensors_are_few_requests(web: Web, tmp_path: Path) -> None:
    path = tmp_path / "s.deathtensors"
    small = {f"n.{n}": np.full(100, n, "float32") for n in range(5000)}
    dt.save(path, small, digests=True)
    web.files["/s.deathtensors"] = path.read_bytes()
    for work in (dt.DtFile.all_stats, dt.DtFile.verify, lambda f: f.get_tensors("numpy")):
        with dt.open(f"{web.url}/s.deathtensors") as file:
            work(file)
            assert (file.counters or {})["requests"] <= 4


def test_diff_with_digests_reads_headers_only(web: Web, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        path = tmp_path / f"{name}.deathtensors"
        dt.save(path, _tensors(seed, many=0), digests=True)
        web.files[f"/{name}"] = path.read_bytes()
    for other, equal in (("b", True), ("c", False)):
        with dt.open(f"{web.url}/a") as a, dt.open(f"{web.url}/{other}") as b:
            assert dt.diff(a, b)["equal"] is equal
            assert all((file.counters or {})["bytes"] == 65536 for file in (a, b))
            assert dt.diff(a, b, compare_bytes=True)["equal"] is equal
            assert (a.counters or {})["bytes"] > 6_000_000 * equal
    assert dt.diff(f"{web.url}/a", f"{web.url}/b")["equal"]


def test_a_budget_is_kept(web: Web, path: Path) -> None:
    web.files["/m"] = path.read_bytes()
    with dt.open(f"{web.url}/m", remote={"budget_bytes": 200_000}) as file:
        with pytest.raises(dt.LimitError) as caught:
            file.get_tensor("large")
        assert caught.value.code == "limit.transfer_bytes"
        assert file.get_tensor("scalar", "numpy") == 7


def test_a_cache_on_disk_answers_the_second_time(web: Web, path: Path, tmp_path: Path) -> None:
    web.files["/m"] = path.read_bytes()
    remote = RemoteOptions(cache_dir=tmp_path / "cache")
    for turn in range(2):
        with dt.open(f"{web.url}/m", remote=remote) as file:
            np.testing.assert_array_equal(file.get_tensor("large", "numpy"), _tensors()["large"])
            assert ((file.counters or {})["cached_bytes"] > 0) is (turn == 1)


# --- pinned to one content


def test_a_push_between_two_reads_changes_nothing(hub: Hub, tmp_path: Path) -> None:
    old, new = tmp_path / "old.deathtensors", tmp_path / "new.deathtensors"
    dt.save(old, _tensors(1))
    dt.save(new, _tensors(2))
    hub.put(REPO, {"m.deathtensors": old})
    with dt.open(f"hf://{REPO}/m.deathtensors") as file:
        hub.put(REPO, {"m.deathtensors": new})
        with pickle.loads(pickle.dumps(file)) as copy:
            for reader in (file, copy):
                _same(reader, _tensors(1))
    with dt.open(f"hf://{REPO}/m.deathtensors") as file:
        _same(file, _tensors(2))


def test_an_expired_link_is_resolved_again(hub: Hub, path: Path) -> None:
    hub.put(REPO, {"m.deathtensors": path})
    with dt.open(f"hf://{REPO}/m.deathtensors") as file:
        hub.fail(origin="cdn", status=403)
        _same(file, _tensors())
        assert (file.counters or {})["resolves"] == 2


def test_a_file_that_changes_between_ranges_is_refused(web: Web, tmp_path: Path) -> None:
    for seed in (1, 2):
        dt.save(tmp_path / f"{seed}", _tensors(seed))
    web.files["/m"] = (tmp_path / "1").read_bytes()
    with dt.open(f"{web.url}/m") as file:
        web.files["/m"] = (tmp_path / "2").read_bytes()
        web.etags["/m"] = '"another"'
        with pytest.raises(dt.NetworkError) as caught:
            file.get_tensor("large")
        assert caught.value.code == "network.changed"


def test_a_server_that_ignores_ranges_is_refused(hub: Hub, path: Path) -> None:
    hub.put(REPO, {"m.deathtensors": path})
    hub.fail(origin="cdn", ignore_range=True, times=None)
    hub.log.clear()
    with pytest.raises(dt.NetworkError) as caught:
        dt.open(f"hf://{REPO}/m.deathtensors")
    assert caught.value.code == "network.range"


def test_a_pinned_root_checks_what_comes(hub: Hub, path: Path) -> None:
    hub.put(REPO, {"m.deathtensors": path})
    with dt.open(path) as here:
        root = here.root
        spot = here.facts["data_start"] + here.facts["stored_bytes"] // 3
    url = f"hf://{REPO}/m.deathtensors"
    with dt.open(url, root=root) as file:
        _same(file, _tensors())
    hub.fail(origin="cdn", flip=spot, times=None)
    with dt.open(url, root=root) as file, pytest.raises(dt.DeathTensorsError) as caught:
        file.get_tensor("large")
    assert caught.value.kind in ("integrity", "format")
    assert caught.value.tensor == "large"
    with dt.open(url) as file, pytest.raises(dt.DeathTensorsError):
        file.verify()
    with pytest.raises(dt.IntegrityError):
        dt.open(url, root="0" * 64)


# --- refusals, and what a file object may do


def test_what_is_not_a_tensor_file(web: Web) -> None:
    web.files.update({"/empty": b"", "/page": b"<!doctype html>" + b"x" * 99, "/short": b"DTL"})
    for name, code in (("empty", "prefix.truncated"), ("short", "prefix.truncated"),
                       ("page", "prefix.magic")):  # fmt: skip
        with pytest.raises(dt.FormatError) as caught:
            dt.open(f"{web.url}/{name}")
        assert caught.value.code == code
    with pytest.raises(dt.NetworkError) as missing:
        dt.open(f"{web.url}/nothing")
    assert missing.value.code == "network.not_found"
    # It is what one would catch of a local file, too.
    assert isinstance(missing.value, FileNotFoundError)
    web.fail(401)
    with pytest.raises(PermissionError):
        dt.open(f"{web.url}/page")
    again = pickle.loads(pickle.dumps(missing.value))
    assert (type(again), str(again)) == (type(missing.value), str(missing.value))


def test_only_reading_knows_of_urls(web: Web, tmp_path: Path) -> None:
    url = f"{web.url}/m"
    for work in (
        lambda: dt.save(url, {}),
        lambda: dt.append(url, {}),
        lambda: dt.to_safetensors(url, tmp_path / "x"),
        lambda: dt.write_manifest(url),
    ):
        with pytest.raises(dt.UsageError) as caught:
            work()
        assert caught.value.code == "usage.unavailable"


def test_backend_is_for_local_files(web: Web, path: Path) -> None:
    web.files["/m"] = path.read_bytes()
    with pytest.raises(dt.UsageError):
        dt.open(f"{web.url}/m", backend="mmap")


def test_an_exception_of_a_file_object_comes_back(path: Path) -> None:
    class Broken(io.BytesIO):
        broken = False

        def readinto(self, buffer: Any) -> int:
            if self.broken:
                raise ZeroDivisionError("out of order")
            return super().readinto(buffer)

        def read(self, size: int | None = -1) -> bytes:
            if self.broken:
                raise ZeroDivisionError("out of order")
            return super().read(size)

    source = Broken(path.read_bytes())
    with dt.open(source) as file:
        source.broken = True
        works: list[Callable[[], object]] = [
            lambda: file.get_tensor("large"), file.verify, file.all_stats,
            lambda: file.get_tensor_slice("large", 1, 1), lambda: file.stats("large"),
            lambda: dt.diff(file, path, compare_bytes=True), file.get_tensors,
        ]  # fmt: skip
        for work in works:
            with pytest.raises((ZeroDivisionError, OSError)):
                work()
        source.broken = False
        _same(file, _tensors())
        with pytest.raises(dt.UsageError):
            pickle.dumps(file)


def test_many_threads_read_one_file(web: Web, path: Path) -> None:
    web.files["/m"] = path.read_bytes()
    tensors = _tensors()
    wrong: list[str] = []
    with dt.open(f"{web.url}/m") as file:

        def read(names: list[str]) -> None:
            for name in names:
                if not np.array_equal(file.get_tensor(name, "numpy"), tensors[name]):
                    wrong.append(name)

        names = list(tensors)
        threads = [threading.Thread(target=read, args=(names[n::5],)) for n in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert not wrong


def test_a_file_that_nobody_closes_is_let_go_of(web: Web, path: Path, tmp_path: Path) -> None:
    web.files["/m"] = path.read_bytes()
    file = dt.open(f"{web.url}/m")
    transfer = file._transfer
    assert transfer is not None
    del file
    gc.collect()
    assert transfer.closed
    index = tmp_path / "s.deathtensors"
    for shard in [index, *dt.save_sharded(index, _tensors(), max_shard_bytes=MIB)]:
        web.files[f"/{Path(shard).name}"] = Path(shard).read_bytes()
    model = dt.open_sharded(f"{web.url}/s.deathtensors")
    model.get_tensor("middle")
    transfers = model._transfers
    assert len(transfers) == 2
    del model
    gc.collect()
    assert all(transfer.closed for transfer in transfers)


# --- converting, and the command line


def test_a_remote_safetensors_file_is_converted(web: Web, tmp_path: Path) -> None:
    tensors = _tensors()
    save_file(tensors, tmp_path / "m.safetensors", {"who": "me"})
    web.files["/m.safetensors"] = (tmp_path / "m.safetensors").read_bytes()
    out = tmp_path / "out.deathtensors"
    for compress in (False, True):
        dt.from_safetensors(f"{web.url}/m.safetensors", out, compress=compress, digests=True)
        with dt.open(out, verify=True) as file:
            assert file.metadata()["who"] == "me"
            for name, value in tensors.items():
                np.testing.assert_array_equal(file.get_tensor(name, "numpy"), value)
    with pytest.raises(dt.UsageError):
        dt.from_safetensors(f"{web.url}/m.safetensors")


def test_the_command_line_takes_urls(
    hub: Hub, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.put(REPO, {"m.deathtensors": path})
    url = f"hf://{REPO}/m.deathtensors"
    assert main(["info", url, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["tensors"]) == len(_tensors())
    assert main(["verify", url]) == 0
    assert main(["diff", url, str(path)]) == 0
    assert main(["stats", url, "--json"]) == 0
    capsys.readouterr()
    assert main(["info", f"hf://{REPO}/nothing.deathtensors"]) == 3
    said = capsys.readouterr().err
    assert "m.deathtensors" in said  # the nearest name
