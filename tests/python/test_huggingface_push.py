"""Pushing to the model of the Hub, with the Hub's real client and its real command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import HfApi

import deathtensors as dt
from deathtensors import huggingface as hf
from helpers import safetensors_file
from hub import Hub
from hub_fixtures import (
    REPO,
    anonymous,
    api,
    commits,
    content,
    hub,
    paths,
    puts,
    same,
    saved,
)
from hub_fixtures import (
    hf as hf_command,
)

__all__ = ["anonymous", "api", "hub"]  # fixtures
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

FILE = "model.deathtensors"


def test_a_push_is_one_commit_with_manifest_and_card(hub: Hub) -> None:
    url = hf.push_to_hub(REPO, saved())
    assert url == f"{hub.endpoint}/{REPO}/blob/main/{FILE}"
    assert paths(hub) == ["README.md", FILE, f"{FILE}.json"]
    assert commits(hub) == 2  # the first makes the repository
    assert content(hub, FILE) == Path(FILE).read_bytes()
    Path("manifest.json").write_bytes(content(hub, f"{FILE}.json"))
    manifest = dt.read_manifest("manifest.json")
    assert manifest["tensors"]["layer.weight"]["shape"] == [300, 40]
    card = content(hub, "README.md").decode()
    assert card.startswith("---\nlibrary_name: deathtensors\ntags:\n- deathtensors\n---\n")
    assert hf.hub_model_info(REPO)["tags"] == ["deathtensors"]


def test_what_was_pushed_is_not_pushed_again(hub: Hub) -> None:
    hf.push_to_hub(REPO, saved())
    before = commits(hub)
    hub.log.clear()
    hf.push_to_hub(REPO, FILE)
    assert (commits(hub), puts(hub)) == (before, [])


def test_a_push_goes_where_it_is_told(hub: Hub, api: HfApi) -> None:
    api.create_repo("tester/data", repo_type="dataset")
    api.create_branch("tester/data", repo_type="dataset", branch="new/one")
    url = hf.push_to_hub(
        "tester/data", saved(), "deep/", repo_type="dataset", revision="new/one",
        commit_message="My words", manifest=False, card=False,
    )  # fmt: skip
    assert url == f"{hub.endpoint}/datasets/tester/data/blob/new%2Fone/deep/{FILE}"
    where = {"repo": "tester/data", "kind": "datasets"}
    assert paths(hub, **where, branch="new/one") == [f"deep/{FILE}"]
    assert paths(hub, **where) == []
    history = api.list_repo_commits("tester/data", repo_type="dataset", revision="new/one")
    assert history[0].title == "My words"
    with hf.load_from_hub("tester/data", f"deep/{FILE}", "dataset", "new/one") as file:
        assert same(file)


def test_a_new_repository_is_as_private_as_was_asked(hub: Hub, api: HfApi) -> None:
    hf.push_to_hub("org/secret", saved(), private=True)
    assert api.model_info("org/secret").private
    hf.push_to_hub("org/secret", FILE, "again.deathtensors")  # stays private
    assert api.model_info("org/secret").private
    hf.push_to_hub("org/open", FILE)
    before = commits(hub, "org/open")
    with pytest.raises(dt.UsageError, match="public"):
        hf.push_to_hub("org/open", FILE, "other.deathtensors", private=True)
    assert commits(hub, "org/open") == before


def test_the_namespace_may_be_left_out(hub: Hub) -> None:
    assert hf.push_to_hub("mine", saved()) == f"{hub.endpoint}/tester/mine/blob/main/{FILE}"


@pytest.mark.parametrize("before", [False, True])
def test_compression_is_changed_on_the_way(hub: Hub, before: bool) -> None:
    path = saved(compress=before, digests=True)
    seen: list[tuple[int, int]] = []
    hf.push_to_hub(REPO, path, compress=not before, progress=lambda *at: seen.append(at))
    assert seen
    with hf.load_from_hub(REPO, FILE, verify=True) as file:
        assert same(file)
        assert file.is_compressed() is not before
        assert (file.has_checksum(), file.has_digests()) == (True, True)
        assert file.metadata() == {"license": "MIT"}
        assert file.info("layer.bias")["metadata"] == {"unit": "mm"}
    with dt.open(path) as local:
        assert local.is_compressed() is before
    hf.push_to_hub(REPO, path, "same.deathtensors", compress=before)
    assert content(hub, "same.deathtensors") == Path(path).read_bytes()


def test_safetensors_is_converted_on_the_way(hub: Hub) -> None:
    data = np.arange(6, dtype="<f4").tobytes()
    Path("x.safetensors").write_bytes(safetensors_file([("w", "F32", [2, 3], data)], {"a": "b"}))
    hf.push_to_hub(REPO, "x.safetensors")
    assert f"{'x'}.deathtensors" in paths(hub)
    assert not Path("x.deathtensors").exists()
    with hf.load_from_hub(REPO, "x.deathtensors", verify=True) as file:
        assert file.get_bytes("w") == data
        assert file.metadata()["a"] == "b"


# --- the card


def test_a_card_keeps_every_line_it_had(hub: Hub) -> None:
    text = "---\n# a comment\nlicense: mit\ntags:\n- mine\n---\n# Title\r\nwords — kept\n"
    hub.put(REPO, texts={"README.md": text})
    hf.push_to_hub(REPO, saved())
    new = content(hub, "README.md").decode()
    assert set(text.splitlines(keepends=True)) <= set(new.splitlines(keepends=True))
    assert hf.hub_model_info(REPO)["tags"] == ["deathtensors", "mine"]
    before = content(hub, "README.md")
    hf.push_to_hub(REPO, FILE, "second.deathtensors")
    assert content(hub, "README.md") == before


def test_a_card_that_is_changed_meanwhile_is_read_again(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.put(REPO, texts={"README.md": "first words\n"})
    real = HfApi.create_commit

    def late(self: HfApi, *args: object, **options: object) -> object:
        if "second" not in content(hub, "README.md").decode():
            hub.put(REPO, texts={"README.md": "second words\n"})
        return real(self, *args, **options)

    monkeypatch.setattr(HfApi, "create_commit", late)
    hf.push_to_hub(REPO, saved())
    assert content(hub, "README.md").decode().endswith("---\n\nsecond words\n")
    assert FILE in paths(hub)


def test_a_card_that_never_stays_is_given_up_on(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.put(REPO, texts={"README.md": "words\n"})
    real, times = HfApi.create_commit, 0

    def late(self: HfApi, *args: object, **options: object) -> object:
        nonlocal times
        times += 1
        hub.put(REPO, texts={"README.md": f"words {times}\n"})
        return real(self, *args, **options)

    monkeypatch.setattr(HfApi, "create_commit", late)
    with pytest.raises(dt.NetworkError) as caught:
        hf.push_to_hub(REPO, saved())
    assert (caught.value.code, times) == ("network.changed", 3)
    assert paths(hub) == ["README.md"]


def test_a_card_that_the_hub_does_not_accept_is_left_alone(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "---\nlicense: mit\n---\n"
    hub.put(REPO, texts={"README.md": text})

    def refuse(*args: object, **options: object) -> None:
        raise ValueError("Invalid metadata in README.md.\n- no such licence")

    monkeypatch.setattr(HfApi, "_validate_yaml", refuse)
    hf.push_to_hub(REPO, saved())
    assert content(hub, "README.md").decode() == text
    assert FILE in paths(hub)


def test_the_card_of_a_dataset_names_no_library(hub: Hub) -> None:
    hf.push_to_hub("org/data", saved(), repo_type="dataset")
    card = content(hub, "README.md", "org/data", "datasets").decode()
    assert card.startswith("---\ntags:\n- deathtensors\n---\n")


# --- sharded models


def test_a_sharded_model_is_one_commit(hub: Hub) -> None:
    values = {name: np.full(100, place, "float32") for place, name in enumerate("abcd")}
    shards = dt.save_sharded("big.deathtensors", values, max_shard_bytes=900, digests=True)
    assert len(shards) == 2
    urls = hf.push_sharded_to_hub(REPO, "big.deathtensors", "folder")
    names = ["big.deathtensors", *(Path(shard).name for shard in shards)]
    assert urls == [f"{hub.endpoint}/{REPO}/blob/main/folder/{name}" for name in names]
    assert commits(hub) == 2
    for name in names:
        assert content(hub, f"folder/{name}") == Path(name).read_bytes()
        assert json.loads(content(hub, f"folder/{name}.json"))["magic"] == "DTLEGION"


def test_nothing_is_sent_of_a_model_that_is_not_whole(hub: Hub) -> None:
    values = {name: np.zeros(100, "float32") for name in "abcd"}
    shards = dt.save_sharded("big.deathtensors", values, max_shard_bytes=900)
    with pytest.raises(dt.FormatError) as caught:
        hf.push_sharded_to_hub(REPO, shards[0])
    assert caught.value.code == "shards.not_index"
    Path(shards[1]).unlink()
    with pytest.raises(dt.MissingFileError):
        hf.push_sharded_to_hub(REPO, "big.deathtensors")
    assert hub.log.entries() == []


# --- refusals


def test_what_cannot_be_pushed_is_refused_before_anything_is_asked(hub: Hub) -> None:
    Path("x.deathtensors").write_bytes(b"something else entirely, no tensors")
    for path, kind in (("x.deathtensors", dt.FormatError), ("none", dt.MissingFileError),
                       ("none.safetensors", dt.MissingFileError)):  # fmt: skip
        with pytest.raises(kind):
            hf.push_to_hub(REPO, path)
    for options in ({"repo_type": "models"}, {"token": 5}, {"compress": "no"}, {"manifest": "no"},
                    {"revision": 3}):  # fmt: skip
        with pytest.raises(dt.UsageError):
            hf.push_to_hub(REPO, saved(), **options)
    assert hub.log.entries() == []


def test_without_a_token_nothing_is_asked(hub: Hub, anonymous: None) -> None:
    with pytest.raises(dt.NetworkError, match="hf auth login") as caught:
        hf.push_to_hub(REPO, saved())
    assert caught.value.code == "network.denied"
    assert hub.log.entries() == []


def test_the_token_is_the_arguments_then_the_environments_then_the_logins(
    hub: Hub, anonymous: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.put("org/secret", texts={"a": "b"}, private=True)
    (tmp_path / "token").write_text(hub.token)
    hf.hub_model_info("org/secret")
    monkeypatch.setenv("HUGGING_FACE_HUB_TOKEN", hub.stranger_token)
    with pytest.raises(dt.NetworkError):
        hf.hub_model_info("org/secret")
    monkeypatch.setenv("HF_TOKEN", hub.reader_token)
    hf.hub_model_info("org/secret")
    with pytest.raises(dt.NetworkError):
        hf.hub_model_info("org/secret", token=hub.stranger_token)
    with pytest.raises(dt.NetworkError):
        hf.hub_model_info("org/secret", token=False)


@pytest.mark.parametrize("where", [REPO, "org/new"])
def test_a_token_that_may_only_read_is_told_so(hub: Hub, where: str) -> None:
    hub.put(REPO, texts={"a": "b"})
    with pytest.raises(dt.NetworkError, match="write access") as caught:
        hf.push_to_hub(where, saved(), token=hub.reader_token)
    assert (caught.value.code, caught.value.status) == ("network.denied", 403)
    assert puts(hub) == []


def test_a_token_that_the_hub_does_not_know_is_told_so(hub: Hub) -> None:
    hub.put(REPO, texts={"a": "b"})
    with pytest.raises(dt.NetworkError, match="refuses the token") as caught:
        hf.push_to_hub(REPO, saved(), token="hf_wrong")
    assert "hf_wrong" not in str(caught.value)


def test_a_branch_must_be_there(hub: Hub, api: HfApi) -> None:
    hub.put(REPO, texts={"a": "b"}, branch="experiment-1")
    with pytest.raises(dt.NetworkError, match="did you mean 'experiment-1'") as caught:
        hf.push_to_hub(REPO, saved(), revision="experiment_1")
    assert caught.value.code == "network.not_found"
    assert puts(hub) == []
    commit = api.model_info(REPO).sha
    with pytest.raises(dt.NetworkError):  # not a branch
        hf.push_to_hub(REPO, saved(), revision=commit)


def test_a_repository_is_made_only_if_it_may_be(hub: Hub) -> None:
    with pytest.raises(dt.NetworkError, match="there is no model repository") as caught:
        hf.push_to_hub(REPO, saved(), create_repo_if_missing=False)
    assert caught.value.code == "network.not_found"
    with pytest.raises(dt.UsageError, match="SDK"):
        hf.push_to_hub("org/space", saved(), repo_type="space")
    for bad in ("org/a/b", "a b", "-x"):
        with pytest.raises(dt.UsageError):
            hf.push_to_hub(bad, saved())
    with pytest.raises(dt.UsageError):
        hf.push_to_hub(REPO, saved(), "../out.deathtensors")


def test_a_failed_upload_leaves_no_commit(hub: Hub) -> None:
    hub.put(REPO, texts={"README.md": "---\ntags:\n- deathtensors\n---\n"})
    before = commits(hub)
    hub.fail(path="/commit/", method="POST", status=500, times=None)
    with pytest.raises(dt.NetworkError) as caught:
        hf.push_to_hub(REPO, saved())
    assert caught.value.code == "network.status"
    assert commits(hub) == before


# --- with the Hub's own command


def test_what_hf_uploads_is_loaded_and_what_is_pushed_hf_downloads(
    hub: Hub, tmp_path: Path
) -> None:
    hf_command(hub, tmp_path, "upload", REPO, saved("mine.deathtensors", compress=True))
    with hf.load_from_hub(REPO, "mine.deathtensors", verify=True) as file:
        assert same(file)
    hf.push_to_hub(REPO, saved(digests=True))
    hf_command(hub, tmp_path, "download", REPO, FILE, "--local-dir", str(tmp_path / "out"))
    assert (tmp_path / "out" / FILE).read_bytes() == Path(FILE).read_bytes()
