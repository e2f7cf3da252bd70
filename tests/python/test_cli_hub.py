"""The Hub's commands, against the model of the Hub."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deathtensors as dt
from hub import Hub
from hub_fixtures import REPO, anonymous, content, environment, hub, paths, same, saved
from test_huggingface_convert import check_converted, put, put_model, source

__all__ = ["anonymous", "hub"]  # fixtures
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

FILE = "model.deathtensors"


class Run:
    """One run of the command, in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *words: str, status: int = 0) -> str:
        found = dt.main(list(words))
        self.out, self.err = self._capsys.readouterr()
        assert found == status, self.err
        return self.out

    def json(self, *words: str, status: int = 0) -> Any:
        return json.loads(self(*words, "--json", status=status))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(capsys)


@pytest.fixture
def pushed(hub: Hub) -> str:
    hub.put(REPO, {FILE: saved(digests=True)})
    return FILE


# --- hub-push


def test_push_prints_the_address(hub: Hub, run: Run) -> None:
    assert run("hub-push", saved(), REPO) == f"{hub.endpoint}/{REPO}/blob/main/{FILE}\n"
    assert paths(hub) == ["README.md", FILE, f"{FILE}.json"]
    assert run.err == ""


def test_push_takes_the_words_of_0_3_0(hub: Hub, run: Run) -> None:
    saved()
    run("hub-push", "org/new", FILE, "deep/a.deathtensors", "--private", "--repo-type", "dataset")
    where = {"repo": "org/new", "kind": "datasets"}
    assert content(hub, "deep/a.deathtensors", **where) == Path(FILE).read_bytes()
    repo = hub.store.find("datasets", "org/new")
    assert repo is not None and repo.private


def test_push_has_options(hub: Hub, run: Run) -> None:
    hub.put(REPO, branch="b")
    found = run.json(
        "hub-push", saved(), REPO, "--path-in-repo", "x.deathtensors", "--revision", "b",
        "--message", "Words", "--compress", "--no-manifest", "--no-card", "--token", hub.token,
    )  # fmt: skip
    assert found == {"urls": [f"{hub.endpoint}/{REPO}/blob/b/x.deathtensors"]}
    assert paths(hub, branch="b") == ["x.deathtensors"]
    Path("back").write_bytes(content(hub, "x.deathtensors", branch="b"))
    with dt.open("back") as file:
        assert file.is_compressed() and same(file)


def test_push_takes_a_sharded_model_as_a_whole(hub: Hub, run: Run) -> None:
    dt.save_sharded("big.deathtensors", {name: np.ones(9) for name in "ab"}, max_shard_bytes=80)
    lines = run("hub-push", "big.deathtensors", REPO, "--path-in-repo", "in/").splitlines()
    assert [line.split("/")[-1] for line in lines] == ["big.deathtensors",
        "big-00001-of-00002.deathtensors", "big-00002-of-00002.deathtensors"]  # fmt: skip
    assert "in/big-00002-of-00002.deathtensors" in paths(hub)
    run("hub-push", "big.deathtensors", REPO, "--path-in-repo", "other.deathtensors", status=2)
    run("hub-push", "big.deathtensors", REPO, "--compress", status=2)


# --- hub-pull


def test_pull_prints_the_path_in_the_cache(hub: Hub, run: Run, pushed: str) -> None:
    path = run("hub-pull", REPO, FILE).strip()
    assert Path(path).read_bytes() == Path(FILE).read_bytes()
    assert run.json("hub-pull", REPO, FILE) == {"paths": [path]}
    assert run.err == ""


def test_pull_copies_to_a_file_or_a_folder(hub: Hub, run: Run, pushed: str) -> None:
    Path("folder").mkdir()
    for output in ("new/x.deathtensors", "folder"):
        found = run.json("hub-pull", REPO, FILE, "--output", output)["wrote"]
        assert Path(found[0]["path"]).read_bytes() == Path(FILE).read_bytes()
    assert [path.name for path in Path("folder").iterdir()] == [FILE]
    assert [path.name for path in Path("new").iterdir()] == ["x.deathtensors"]


def test_pull_brings_the_shards_of_an_index(hub: Hub, run: Run) -> None:
    dt.save_sharded("big.deathtensors", {name: np.ones(9) for name in "ab"}, max_shard_bytes=80)
    run("hub-push", "big.deathtensors", REPO)
    found = run.json("hub-pull", REPO, "big.deathtensors", "--output", "out/")
    assert len(found["wrote"]) == 3
    with dt.open_sharded("out/big.deathtensors") as model:
        assert sorted(model.get_tensors("numpy")) == ["a", "b"]


# --- hub-list, hub-info


def test_list(hub: Hub, run: Run, pushed: str) -> None:
    assert run("hub-list", REPO) == f"{FILE}\n"
    assert run.json("hub-list", REPO) == [FILE]
    hub.put("org/none", texts={"a": "b"})
    assert run("hub-list", "org/none", status=1) == "(no .deathtensors files in org/none)\n"
    assert run.json("hub-list", "org/none", status=1) == []


def test_info(hub: Hub, run: Run, pushed: str) -> None:
    text = run("hub-info", REPO)
    assert f"repo_id: {REPO}\n" in text
    assert f"deathtensors_files: {FILE}\n" in text
    assert run.json("hub-info", REPO)["deathtensors_files"] == [FILE]
    hub.put(REPO, {f"{place}.dt": FILE for place in range(9)})
    assert "deathtensors_files: (10 items)\n  - 0.dt\n" in run("hub-info", REPO)
    assert "  ... and 5 more\n" in run.out


# --- hub-open


def test_open_shows_all_without_downloading(
    hub: Hub, run: Run, tmp_path: Path, pushed: str
) -> None:
    hub.log.clear()
    text = run("hub-open", REPO, FILE)
    assert "layer.weight" in text and "3 tensors" in text
    assert "digests:" in text
    assert run.err.startswith("it took 2 requests and ")
    assert not (tmp_path / "cache").exists()
    assert [(one.origin, one.method) for one in hub.log.entries()] == [
        ("hub", "HEAD"), ("cdn", "GET")]  # fmt: skip
    listing = run("hub-open", REPO, FILE, "--list")
    assert listing in text and "digests:" not in listing


def test_open_measures_one_tensor_and_reads_no_other(hub: Hub, run: Run) -> None:
    values = {name: np.arange(100_000, dtype="float32") for name in "abc"}
    dt.save("large.deathtensors", values)
    hub.put(REPO, {"large.deathtensors": "large.deathtensors"})
    found = run.json("hub-open", REPO, "large.deathtensors", "--tensor", "b")
    assert (found["name"], found["dtype"], found["stats"]["max"]) == ("b", "F32", 99999.0)
    assert 400_000 <= found["transfer"]["bytes"] <= 480_000
    assert "max:     99999.0" in run("hub-open", REPO, "large.deathtensors", "--tensor", "b")
    run("hub-open", REPO, "large.deathtensors", "--tensor", "none", status=2)


def test_open_takes_a_sharded_model_as_a_whole(hub: Hub, run: Run) -> None:
    dt.save_sharded("big.deathtensors", {name: np.ones(9) for name in "ab"}, max_shard_bytes=80)
    run("hub-push", "big.deathtensors", REPO)
    found = run.json("hub-open", REPO, "big.deathtensors")
    assert [one["name"] for one in found["tensors"]] == ["a", "b"]
    assert len(found["shards"]) == 2
    assert found["transfer"]["requests"] >= 6


def test_open_and_pull_of_a_private_dataset(hub: Hub, run: Run, anonymous: None) -> None:
    hub.put("org/secret", {FILE: saved()}, kind="datasets", private=True, branch="b")
    where = ["--repo-type", "dataset", "--revision", "b"]
    for command in ("hub-open", "hub-pull"):
        run(command, "org/secret", FILE, *where, status=3)
        assert "hf auth login" in run.err and run.err.count("\n") == 1
        run(command, "org/secret", FILE, *where, "--token", hub.reader_token)


# --- hub-convert


def test_convert_takes_the_words_of_0_3_0(hub: Hub, run: Run) -> None:
    put(hub)
    words = ("hub-convert", REPO, "x.safetensors", "y.deathtensors", "--compress")
    assert run(*words) == f"{hub.endpoint}/{REPO}/blob/main/y.deathtensors\n"
    check_converted(content(hub, "y.deathtensors"), source())


def test_convert_a_sharded_model_and_delete_it(hub: Hub, run: Run) -> None:
    put_model(hub)
    found = run.json(
        "hub-convert", REPO, "model.safetensors.index.json", "--output-name", "big.deathtensors",
        "--delete-original", "--no-manifest", "--message", "Words",
    )  # fmt: skip
    assert found == {"url": f"{hub.endpoint}/{REPO}/blob/main/big.deathtensors"}
    assert paths(hub)[0] == "big-00001-of-00003.deathtensors" and len(paths(hub)) == 4


# --- refusals


def test_refusals_are_one_line_that_says_what_to_do(hub: Hub, run: Run, pushed: str) -> None:
    for words, said in (
        (("hub-pull", REPO, "modle.deathtensors"), FILE),
        (("hub-list", "org/none"), "there is no model repository org/none"),
        (("hub-open", REPO, FILE, "--revision", "mian"), "main"),
        (("hub-push", FILE, REPO, "--token", hub.reader_token), "write access"),
    ):
        run(*words, status=3)
        assert said in run.err and run.err.count("\n") == 1, run.err
        assert "hf_" not in run.err
    run("hub-push", "none.deathtensors", REPO, status=3)
    run("hub-push", FILE, "a b c", status=2)


def test_the_command_in_a_process_of_its_own(hub: Hub, tmp_path: Path) -> None:
    env = {**environment(hub, tmp_path), "PYTHONPATH": ":".join(sys.path)}

    def run(*words: str) -> str:
        done = subprocess.run([sys.executable, "-m", "deathtensors", *words], env=env,
                              capture_output=True, text=True, timeout=120)  # fmt: skip
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout

    run("hub-push", saved(), REPO)
    assert run("hub-list", REPO) == f"{FILE}\n"
    run("hub-pull", REPO, FILE, "--output", "back.deathtensors")
    assert Path("back.deathtensors").read_bytes() == Path(FILE).read_bytes()


def test_a_name_is_said_once(hub: Hub, run: Run) -> None:
    path = saved()
    run("hub-push", path, REPO, "deep/x.deathtensors", "--path-in-repo", "y.deathtensors", status=2)
    assert "--path-in-repo" in run.err
    run("hub-push", path, REPO, "x.deathtensors", "--path-in-repo", "x.deathtensors")
    assert "x.deathtensors" in paths(hub)
    run("hub-convert", REPO, "m.safetensors", "a", "--output-name", "b", status=2)
    assert "--output-name" in run.err


@pytest.mark.parametrize(
    "words",
    [
        ("info", "{url}"),
        ("list", "{url}"),
        ("stats", "{url}", "layer.bias"),
        ("verify", "{url}"),
        ("root", "{url}"),
        ("diff", "{url}", "{url}"),
        ("extract", "{url}", "out.deathtensors", "layer.bias"),
        ("shard", "{url}", "parts.deathtensors"),
        ("append", "other.deathtensors", "{url}", "--prefix", "new."),
        ("hub-open", "org/secret", FILE),
    ],
    ids=lambda words: words[0],
)
def test_what_is_read_takes_a_token_a_budget_and_a_cache(
    hub: Hub, run: Run, anonymous: None, words: tuple[str, ...], tmp_path: Path
) -> None:
    hub.put("org/secret", {FILE: saved(digests=True)}, private=True)
    saved("other.deathtensors")
    told = [word.format(url=f"hf://org/secret/{FILE}") for word in words]
    run(*told, status=3)
    assert "--token" in run.err and "remote=" not in run.err and "token=" not in run.err
    run(*told, "--token", hub.token, "--cache", "kept")
    assert list(Path("kept").rglob("*-*"))
    run(*told, "--token", hub.token, "--budget", "1", status=3)
    assert "--budget" in run.err and "budget_bytes" not in run.err


def test_a_remote_safetensors_file_is_converted_with_its_destination(hub: Hub, run: Run) -> None:
    put(hub, "m.safetensors")
    url = f"hf://{REPO}/m.safetensors"
    run("info", url, status=3)
    advice = f"deathtensors convert from-safetensors {url} m.deathtensors"
    assert f"try: {advice}" in run.err
    run("convert", "from-safetensors", url, status=2)
    assert "name the file to write" in run.err
    run(*advice.split()[1:], "--budget", "10MB")
    check_converted(Path("m.deathtensors").read_bytes(), source())


def test_no_advice_names_pythons_arguments(hub: Hub, run: Run, anonymous: None) -> None:
    hub.put(REPO, {FILE: saved()}, private=True)
    hub.put("org/gated", {FILE: saved()}, gated="manual", granted=["reader"])
    hub.put("org/public", {FILE: saved()})
    for words in (
        ("info", f"hf://{REPO}/{FILE}"), ("info", f"hf://org/gated/{FILE}"),
        ("hub-pull", REPO, FILE), ("hub-pull", "org/gated", FILE), ("hub-push", FILE, REPO),
        ("hub-push", FILE, "org/public", "--private", "--token", hub.token),
        ("hub-list", "org/none"), ("hub-open", REPO, FILE),
        ("info", "https://user:pw@127.0.0.1/x"),
    ):  # fmt: skip
        assert dt.main(list(words)) in (2, 3)
        said = run._capsys.readouterr().err
        assert not re.search(r"\b(token|remote|repo_type|private|lazy|limits)=", said), said
