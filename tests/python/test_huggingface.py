"""Loading from the model of the Hub, with the Hub's real client."""

from __future__ import annotations

import inspect
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import HfApi, constants

import deathtensors as dt
from deathtensors import huggingface as hf
from helpers import run_python
from hub import Hub
from hub_fixtures import REPO, anonymous, api, environment, hub, same, saved
from test_signatures import check

__all__ = ["anonymous", "api", "hub"]  # fixtures
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

FILE = "deep/model.deathtensors"

#: Another interpreter finds what this one does.
HERE = {"PYTHONPATH": os.pathsep.join(sys.path)}
FUNCTIONS = {
    "push_to_hub": "repo_id, local_path, path_in_repo=None, repo_type='model', revision=None, "
    "token=None, commit_message=None, private=None, create_repo_if_missing=True, compress=None",
    "load_from_hub": "repo_id, filename, repo_type='model', revision=None, token=None, "
    "cache_dir=None, verify=False",
    "push_sharded_to_hub": "repo_id, local_index_path, path_in_repo_prefix=None, "
    "repo_type='model', revision=None, token=None, commit_message=None, private=None, "
    "create_repo_if_missing=True",
    "load_sharded_from_hub": "repo_id, index_filename, repo_type='model', revision=None, "
    "token=None, cache_dir=None, verify=False",
    "list_repo_models": "repo_id, repo_type='model', revision=None, token=None",
    "hub_model_info": "repo_id, repo_type='model', revision=None, token=None",
    "convert_safetensors_on_hub": "repo_id, safetensors_filename, deathtensors_filename=None, "
    "repo_type='model', revision=None, token=None, compress=False, delete_original=False, "
    "commit_message=None",
    "HubCachedFile": "repo_id, filename, repo_type='model', revision=None, token=None, "
    "cache_dir=None",
}


@pytest.fixture
def model(hub: Hub) -> str:
    """A repository with one file; its commit."""
    return hub.put(REPO, {FILE: saved(digests=True)}, {"README.md": "# Hello\n"})


# --- what is published


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_have_their_published_signatures(name: str) -> None:
    check(getattr(hf, name), FUNCTIONS[name])
    assert inspect.getdoc(getattr(hf, name))


def test_everything_published_is_there() -> None:
    assert sorted(hf.__all__) == sorted(FUNCTIONS)


def test_the_client_is_imported_when_it_is_needed() -> None:
    run_python(
        """
        import sys, deathtensors, deathtensors.huggingface, deathtensors.cli._hub
        assert not [name for name in sys.modules if name.split(".")[0] == "huggingface_hub"]
    """,
        env=HERE,
    )


def test_without_the_client_it_is_told_what_to_install() -> None:
    run_python(
        """
        import sys
        sys.modules["huggingface_hub"] = None
        import deathtensors as dt
        from deathtensors.huggingface import load_from_hub
        try:
            load_from_hub("org/model", "x.deathtensors")
        except dt.MissingPackageError as error:
            assert "pip install deathtensors[huggingface]" in str(error)
        else:
            raise AssertionError("it was not refused")
    """,
        env=HERE,
    )


# --- loading


def test_a_file_is_downloaded_once(hub: Hub, model: str) -> None:
    with hf.load_from_hub(REPO, FILE, verify=True) as file:
        assert same(file)
        assert f"/snapshots/{model}/{FILE}" in file.path
    hub.log.clear()
    with hf.load_from_hub(REPO, FILE) as file:
        assert same(file)
    assert [one.method for one in hub.log.entries()] == ["HEAD"]
    hub.log.clear()
    with hf.load_from_hub(REPO, FILE, revision=model) as file:
        assert same(file)
    assert hub.log.entries() == []


def test_options_reach_the_file(hub: Hub, model: str, tmp_path: Path) -> None:
    with dt.open("model.deathtensors") as local:
        root = local.root
    with hf.load_from_hub(REPO, FILE, root=root, cache_dir=tmp_path / "other") as file:
        assert file.path.startswith(str(tmp_path / "other"))
    with pytest.raises(dt.IntegrityError):
        hf.load_from_hub(REPO, FILE, root="0" * 64)
    with pytest.raises(dt.LimitError):
        hf.load_from_hub(REPO, FILE, limits={"header_bytes": 10})
    with pytest.raises(dt.UsageError):
        hf.load_from_hub(REPO, FILE, remote={"retries": 1})
    with pytest.raises(dt.UsageError):
        hf.load_from_hub(REPO, FILE, lazy=True, cache_dir="x")


def test_a_revision_is_a_branch_a_tag_or_a_commit(hub: Hub, api: HfApi, model: str) -> None:
    api.create_tag(REPO, tag="v1")
    dt.save("new.deathtensors", {"new": np.zeros(3)})
    hub.put(REPO, {FILE: "new.deathtensors"}, branch="feature/new")
    for revision in (None, "main", "v1", model):
        with hf.load_from_hub(REPO, FILE, revision=revision) as file:
            assert same(file)
    with hf.load_from_hub(REPO, FILE, revision="feature/new") as file:
        assert file.keys() == ["new"]


def test_datasets_and_private_repositories(hub: Hub) -> None:
    hub.put("org/secret", {FILE: saved()}, kind="datasets", private=True)
    for token in (None, hub.reader_token):
        with hf.load_from_hub("org/secret", FILE, "dataset", token=token) as file:
            assert same(file)
    with hf.HubCachedFile("org/secret", FILE, "dataset") as path:
        assert Path(path).read_bytes() == Path("model.deathtensors").read_bytes()


def test_a_broken_download_goes_on_where_it_stopped(
    hub: Hub, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    hub.fail(origin="cdn", method="GET", drop_after=20_000)
    with hf.load_from_hub(REPO, FILE, verify=True) as file:
        assert same(file)
    ranges = [one.range for one in hub.log.entries() if one.origin == "cdn"]
    assert ranges[0] is None
    assert ranges[1].startswith("bytes=20000-")


def test_a_download_that_keeps_breaking_leaves_nothing_half_done(
    hub: Hub, model: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    hub.fail(origin="cdn", method="GET", drop_after=1000, times=None)
    with pytest.raises(dt.NetworkError) as caught:
        hf.load_from_hub(REPO, FILE)
    assert caught.value.code in ("network.truncated", "network.offline")
    hub.faults.clear()
    with hf.load_from_hub(REPO, FILE, verify=True) as file:
        assert same(file)


def test_a_download_that_was_killed_is_taken_up(hub: Hub, model: str, tmp_path: Path) -> None:
    hub.fail(origin="cdn", method="GET", pace=10_000, times=None)
    code = f"from deathtensors.huggingface import *; load_from_hub({REPO!r}, {FILE!r})"
    where = {**environment(hub, tmp_path), **HERE}
    with subprocess.Popen([sys.executable, "-c", code], env=where) as process:
        while not any(one.sent > 10_000 for one in hub.log.entries()):
            assert process.poll() is None
        process.kill()
    hub.faults.clear()
    run_python(f"{code}.verify()", env=where)


def test_what_is_in_the_cache_is_read_offline(
    hub: Hub, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hf.load_from_hub(REPO, FILE).close()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with hf.load_from_hub(REPO, FILE) as file:
        assert same(file)
    for ask in (
        lambda: hf.load_from_hub(REPO, "other.deathtensors"),
        lambda: hf.list_repo_models(REPO),
        lambda: hf.push_to_hub(REPO, "model.deathtensors"),
    ):
        with pytest.raises(dt.NetworkError) as caught:
            ask()
        assert caught.value.code == "network.offline"


def test_a_hub_that_is_not_there_is_told_so(
    hub: Hub, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    nobody = "http://127.0.0.1:9"
    monkeypatch.setattr(constants, "ENDPOINT", nobody)
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(hub.endpoint, nobody)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    for ask in (
        lambda: hf.load_from_hub(REPO, FILE, revision="main"),
        lambda: hf.list_repo_models(REPO),
    ):
        with pytest.raises(dt.NetworkError) as caught:
            ask()
        assert caught.value.code == "network.offline"


# --- refusals


def test_a_missing_file_is_told_with_its_neighbours(hub: Hub, model: str) -> None:
    with pytest.raises(dt.NetworkError, match=FILE) as caught:
        hf.load_from_hub(REPO, "deep/modle.deathtensors")
    error = caught.value
    assert (error.code, error.status) == ("network.not_found", 404)
    assert error.path == f"hf://{REPO}/deep/modle.deathtensors"
    assert pickle.loads(pickle.dumps(error)).code == error.code


def test_a_missing_revision_is_told_with_its_neighbours(hub: Hub, model: str) -> None:
    hub.put(REPO, texts={"a": "b"}, branch="float16")
    for ask in (hf.load_from_hub, hf.load_sharded_from_hub):
        with pytest.raises(dt.NetworkError, match=r"'float_16'; did you mean 'float16'") as caught:
            ask(REPO, FILE, revision="float_16")
        assert caught.value.code == "network.not_found"


def test_a_missing_repository_may_be_a_private_one(hub: Hub, anonymous: None) -> None:
    with pytest.raises(dt.NetworkError, match="hf auth login") as caught:
        hf.load_from_hub("org/none", FILE)
    assert caught.value.code == "network.not_found"
    with pytest.raises(dt.NetworkError, match="token that was sent may not read it"):
        hf.load_from_hub("org/none", FILE, token=hub.token)


@pytest.mark.parametrize("token", [False, "hf_strangerToken"])
def test_a_gated_repository_says_where_to_ask(hub: Hub, token: Any) -> None:
    hub.put("org/gated", {FILE: saved()}, gated="manual", granted=["reader"])
    with pytest.raises(
        dt.NetworkError, match=f"ask for access at {hub.endpoint}/org/gated"
    ) as caught:
        hf.load_from_hub("org/gated", FILE, token=token)
    assert caught.value.code == "network.denied"
    assert ("log in" in str(caught.value)) is (token is False)
    assert "hf_" not in str(caught.value)
    with hf.load_from_hub("org/gated", FILE, token=hub.reader_token) as file:
        assert same(file)


def test_a_damaged_file_is_noticed(hub: Hub, model: str) -> None:
    hub.fail(origin="cdn", flip=40_000, times=None)
    with pytest.raises(dt.IntegrityError):
        hf.load_from_hub(REPO, FILE, verify=True)


def test_a_file_of_another_kind_is_refused(hub: Hub, model: str) -> None:
    with pytest.raises(dt.FormatError):
        hf.load_from_hub(REPO, "README.md")


# --- the catalogue


def test_models_are_listed_and_described(hub: Hub, model: str) -> None:
    path = "model.deathtensors"
    hub.put(REPO, {"a.dt": path, "B.DEATHTENSORS": path, "c.safetensors": path}, branch="more")
    assert hf.list_repo_models(REPO) == [FILE]
    assert hf.list_repo_models(REPO, revision="more") == ["B.DEATHTENSORS", "a.dt", FILE]
    info = hf.hub_model_info(REPO)
    assert list(info) == ["repo_id", "repo_type", "sha", "private", "tags", "downloads", "likes",
                          "last_modified", "deathtensors_files"]  # fmt: skip
    assert (info["repo_id"], info["repo_type"], info["private"]) == (REPO, "model", False)
    assert info["sha"] == model
    assert info["last_modified"].startswith("20")
    assert info["deathtensors_files"] == [FILE]


def test_a_cached_file_is_a_path_while_it_is_entered(hub: Hub, model: str) -> None:
    cached = hf.HubCachedFile(REPO, FILE)
    assert cached.local_path is None
    with cached as path:
        assert cached.local_path == path
        with dt.open(path) as file:
            assert same(file)
    assert cached.local_path is None
    assert Path(path).exists()


# --- sharded models


@pytest.fixture
def sharded(hub: Hub) -> list[str]:
    """A model in three shards in a folder of a repository; their names."""
    shards = save_shards(0)
    put_shards(hub, shards)
    return shards


def save_shards(add: int) -> list[str]:
    values = {name: np.full(50, place + add, "int32") for place, name in enumerate("abc")}
    shards = dt.save_sharded("big.deathtensors", values, max_shard_bytes=200, digests=True)
    return [Path(shard).name for shard in shards]


def put_shards(hub: Hub, shards: list[str]) -> None:
    names = ["big.deathtensors", *shards]
    hub.put(REPO, {f"in/{name}": name for name in names})


def downloaded(hub: Hub) -> list[str]:
    """The names of what was asked of the hub since the last time."""
    seen = [one.path.split("/")[-1] for one in hub.log.entries() if "/resolve/" in one.path]
    hub.log.clear()
    return sorted(set(seen))


def test_a_shard_is_downloaded_when_it_is_needed(hub: Hub, sharded: list[str]) -> None:
    downloaded(hub)
    with hf.load_sharded_from_hub(REPO, "in/big.deathtensors", verify=True) as reader:
        assert (reader.keys(), len(reader), "a" in reader) == (["a", "b", "c"], 3, True)
        assert reader.which_shard("b") == sharded[1]
        assert downloaded(hub) == ["big.deathtensors"]
        assert reader.get_tensor("b", "numpy")[0] == 1
        assert reader.get_tensor_slice("b", 3, 4, "numpy").tolist() == [1] * 4
        assert downloaded(hub) == [sharded[1]]
        with pytest.raises(KeyError):
            reader.get_tensor("none")
        assert downloaded(hub) == []
        assert [Path(path).name for path in reader.shard_paths()] == sharded
        assert sorted(reader.get_tensors("numpy")) == ["a", "b", "c"]
        assert downloaded(hub) == [sharded[0], sharded[2]]
        assert reader.verify()
        assert sorted(reader.all_stats()) == ["a", "b", "c"]
        assert len(reader.infos()) == 3


def test_all_shards_are_of_the_commit_of_the_index(hub: Hub, sharded: list[str]) -> None:
    with hf.load_sharded_from_hub(REPO, "in/big.deathtensors") as reader:
        assert reader.get_tensor("a", "numpy")[0] == 0
        put_shards(hub, save_shards(100))
        assert reader.get_tensor("b", "numpy")[0] == 1
        again = pickle.loads(pickle.dumps(reader))
        with again:
            assert again.get_tensor("c", "numpy")[0] == 2
    with hf.load_sharded_from_hub(REPO, "in/big.deathtensors") as reader:
        assert reader.get_tensor("c", "numpy")[0] == 102


def test_no_token_is_pickled(hub: Hub, sharded: list[str]) -> None:
    with hf.load_sharded_from_hub(REPO, "in/big.deathtensors", token=hub.token) as reader:
        assert hub.token.encode() not in pickle.dumps(reader)


def test_a_root_pins_every_shard(hub: Hub, sharded: list[str]) -> None:
    with dt.open_sharded("big.deathtensors") as local:
        root = local.root
    assert root
    put_shards(hub, ["big-00002-of-00003.deathtensors"])
    dt.save("big-00002-of-00003.deathtensors", {"b": np.zeros(50, "int32")}, digests=True)
    hub.put(REPO, {"in/big-00002-of-00003.deathtensors": "big-00002-of-00003.deathtensors"})
    with hf.load_sharded_from_hub(REPO, "in/big.deathtensors", root=root) as reader:
        reader.get_tensor("a", "numpy")
        with pytest.raises(dt.IntegrityError):
            reader.get_tensor("b", "numpy")
    with pytest.raises(dt.IntegrityError):
        hf.load_sharded_from_hub(REPO, "in/big.deathtensors", root="0" * 64)


def test_threads_download_a_shard_once(hub: Hub, sharded: list[str]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with hf.load_sharded_from_hub(REPO, "in/big.deathtensors") as reader:
        hub.log.clear()
        with ThreadPoolExecutor(8) as pool:
            values = list(pool.map(lambda _: reader.get_tensor("b", "numpy")[0], range(8)))
    assert values == [1] * 8
    assert len([one for one in hub.log.entries() if "/resolve/" in one.path]) == 1


def test_a_file_that_is_no_index_is_refused(hub: Hub, model: str) -> None:
    with pytest.raises(dt.FormatError) as caught:
        hf.load_sharded_from_hub(REPO, FILE)
    assert caught.value.code == "shards.not_index"


# --- without downloading


def test_lazily_only_what_is_asked_for_is_read(hub: Hub, tmp_path: Path) -> None:
    dt.save("big.deathtensors", {name: np.full(10**6, 1, "int8") for name in "abc"})
    commit = hub.put(REPO, {FILE: "big.deathtensors"})
    hub.log.clear()
    with hf.load_from_hub(REPO, FILE, lazy=True) as file:
        assert file.keys() == ["a", "b", "c"]
        assert file.get_tensor_slice("b", 10, 5, "numpy").tolist() == [1] * 5
        assert file.counters is not None and file.counters["bytes"] < 200_000
        assert f"@{commit}/" in pickle.dumps(file).decode("latin-1")
    assert not (tmp_path / "cache").exists()


def test_lazily_a_file_is_of_one_commit(hub: Hub, model: str) -> None:
    with hf.load_from_hub(REPO, FILE, lazy=True) as file:
        dt.save("new.deathtensors", {"new": np.zeros(3)})
        hub.put(REPO, {FILE: "new.deathtensors"})
        assert same(file)
    with hf.load_from_hub(REPO, FILE, lazy=True, revision=model, verify=True) as file:
        assert same(file)
    with hf.load_from_hub(REPO, FILE, lazy=True) as file:
        assert file.keys() == ["new"]


def test_lazily_the_same_options_and_refusals(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.put("org/secret", {FILE: saved()}, kind="datasets", private=True, branch="a/b")
    monkeypatch.delenv("HF_TOKEN")
    where: dict[str, Any] = {"repo_type": "dataset", "revision": "a/b", "lazy": True}
    for options in ({"token": hub.token}, {"remote": {"token": hub.reader_token}}):
        with hf.load_from_hub("org/secret", FILE, **where, **options) as file:
            assert same(file)
    with pytest.raises(dt.NetworkError):
        hf.load_from_hub("org/secret", FILE, **where)
    monkeypatch.setenv("HF_TOKEN", hub.token)
    with pytest.raises(dt.NetworkError):
        hf.load_from_hub("org/secret", FILE, **where, token=False)
    with pytest.raises(dt.LimitError):
        hf.load_from_hub("org/secret", FILE, **where, remote={"budget_bytes": 100})
    with pytest.raises(dt.LimitError):
        hf.load_from_hub("org/secret", FILE, **where, limits={"header_bytes": 10})
    with pytest.raises(dt.UsageError):
        hf.load_from_hub("org/secret", FILE, **where, backend="mmap")


def test_a_token_that_was_found_is_in_no_pickle(
    api: HfApi, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path / "m.deathtensors")
    api.create_repo(REPO, exist_ok=True)
    api.upload_file(path_or_fileobj=tmp_path / "m.deathtensors", path_in_repo=FILE, repo_id=REPO)
    monkeypatch.setenv("HF_TOKEN", hub.token)
    with hf.load_from_hub(REPO, FILE, lazy=True) as file:
        assert hub.token.encode() not in pickle.dumps(file)
        with pickle.loads(pickle.dumps(file)) as again:
            assert again.keys() == file.keys()


@pytest.mark.parametrize("name", ["README.md", "model.safetensors", "x.json"])
def test_nothing_else_is_replaced(api: HfApi, tmp_path: Path, name: str) -> None:
    path = tmp_path / "m.deathtensors"
    saved(path)
    with pytest.raises(dt.UsageError):
        hf.push_to_hub(REPO, path, name)
    api.create_repo(REPO, exist_ok=True)
    with pytest.raises(dt.UsageError):
        hf.convert_safetensors_on_hub(REPO, "a.safetensors", name, delete_original=True)


def test_a_damaged_download_says_how_to_get_another(api: HfApi, hub: Hub, tmp_path: Path) -> None:
    saved(tmp_path / "m.deathtensors")
    api.create_repo(REPO, exist_ok=True)
    api.upload_file(path_or_fileobj=tmp_path / "m.deathtensors", path_in_repo=FILE, repo_id=REPO)
    with dt.open(tmp_path / "m.deathtensors") as file:
        spot = file.facts["data_start"]
    hub.fail(origin="cdn", method="GET", flip=spot)
    with pytest.raises(dt.IntegrityError, match="to download it again") as caught:
        hf.load_from_hub(REPO, FILE, verify=True)
    named = str(caught.value).rpartition("delete '")[2].rstrip("'")
    os.remove(named)
    with hf.load_from_hub(REPO, FILE, verify=True) as file:
        assert same(file)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(
    ("repo", "name"),
    [
        (REPO, None),
        (REPO, ""),
        (REPO, 5),
        (REPO, "../m"),
        (REPO, "/m"),
        (REPO, "a/../m"),
        (REPO, "a\0b"),
        (REPO, "\udc80"),
        ("org--x/y", "m"),
        ("org/..", "m"),
        (None, "m"),
        ("org/a/b", "m"),
    ],
)
def test_names_that_cannot_be_are_misuse(hub: Hub, repo: Any, name: Any, lazy: bool) -> None:
    with pytest.raises(dt.UsageError):
        hf.load_from_hub(repo, name, lazy=lazy)
    assert not [one for one in hub.log.entries() if "resolve" in one.path]


def test_an_index_that_is_loaded_as_a_file_says_so(hub: Hub, sharded: list[str]) -> None:
    for lazy in (False, True):
        with pytest.warns(UserWarning, match="open_sharded"):
            file = hf.load_from_hub(REPO, "in/big.deathtensors", lazy=lazy)
        file.close()
