"""Paths as systems have them: not always Unicode, with dollars in them, or gone."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import deathtensors as dt
from helpers import safetensors_file

TENSORS = {"a": np.arange(3.0), "b": np.arange(4.0)}
#: Names of files are bytes on Unix.
ODD = os.fsdecode(b"m\xff.deathtensors")


def run(*words: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "deathtensors", *words]
    done = subprocess.run(command, capture_output=True, timeout=60)
    assert b"Traceback" not in done.stderr and b"internal fault" not in done.stderr, done.stderr
    return done


# --- names that are not Unicode


@pytest.fixture
def odd_model() -> list[str]:
    """A model in a folder, and behind an index, whose names are not Unicode."""
    folder = os.fsdecode(b"models\xff")
    os.mkdir(folder)
    shards = dt.save_sharded(f"{folder}/m.deathtensors", TENSORS, 24, digests=True)
    os.rename(f"{folder}/m.deathtensors", f"{folder}/{ODD}")
    return [f"{folder}/{ODD}", *shards]


def test_a_path_is_the_one_that_was_opened(odd_model: list[str]) -> None:
    index, *shards = odd_model
    assert all(map(os.path.exists, shards))
    dt.save(ODD, TENSORS)
    with dt.open(ODD) as file:
        assert file.path == ODD
        assert pickle.loads(pickle.dumps(file)).keys() == ["a", "b"]
    with dt.open_sharded(index) as model:
        assert model.index_path == index and model.shard_paths() == shards
        assert dt.Schema().expect("a").expect("b").problems(model) == []
        assert model.verify_report()["errors"] == []
        assert pickle.loads(pickle.dumps(model)).keys() == ["a", "b"]


def test_no_file_is_written_over_itself(odd_model: list[str]) -> None:
    dt.save(ODD, TENSORS)
    before = Path(ODD).read_bytes()
    os.link(ODD, os.fsdecode(b"other\xfe.deathtensors"))
    for target in (ODD, f"./{ODD}", os.fsdecode(b"other\xfe.deathtensors")):
        done = run("extract", ODD, target, "a")
        assert done.returncode == 2 and b"the target is the source" in done.stderr
        assert run("shard", ODD, target).returncode == 2
    assert Path(ODD).read_bytes() == before
    held = [Path(path).read_bytes() for path in odd_model]
    for target in odd_model:
        assert run("merge", odd_model[0], target).returncode == 2
    assert [Path(path).read_bytes() for path in odd_model] == held


def test_commands_say_and_write_them(odd_model: list[str]) -> None:
    index = odd_model[0]
    shown = json.loads(run("info", "--json", index).stdout)
    assert [shown["path"], *shown["shards"]] == [os.path.abspath(path) for path in odd_model]
    done = run("info", index)
    assert done.returncode == 0 and b"m\\udcff.deathtensors" in done.stdout
    done = run("merge", index, ODD)
    assert done.returncode == 0 and run("verify", ODD).returncode == 0
    wrote = json.loads(run("extract", "--json", ODD, f"x{ODD}", "a").stdout)
    assert wrote["wrote"][0]["path"] == f"x{ODD}" and os.path.exists(f"x{ODD}")
    done = run("info", f"missing{ODD}")
    assert done.returncode == 3 and done.stderr.count(b"missing") == 1


def test_shards_are_not_named_after_what_is_no_text() -> None:
    # Two such names would give one name of shards.
    with pytest.raises(dt.UsageError, match="the name of an index is not valid Unicode"):
        dt.save_sharded(ODD, TENSORS)
    assert os.listdir() == []


# --- paths are expanded once


@pytest.fixture
def dollars(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder that is called like a variable, with a variable that names another."""
    monkeypatch.setenv("A", "$B")
    monkeypatch.setenv("B", "bb")
    os.mkdir("$HOME")
    os.chdir("$HOME")


@pytest.mark.usefixtures("dollars")
def test_an_expanded_path_means_what_it_says() -> None:
    dt.save("$A.dt", {"right": np.zeros(1)})
    dt.save("bb.dt", {"wrong": np.zeros(2)})
    assert sorted(os.listdir()) == ["$B.dt", "bb.dt"]
    assert list(dt.read_manifest(dt.write_manifest("$A.dt", "m.json"))["tensors"]) == ["right"]
    dt.to_safetensors("$A.dt", "s.safetensors")
    dt.from_safetensors("s.safetensors", "back.dt")
    assert dt.open("back.dt").keys() == ["right"]
    assert run("extract", "$A.dt", "$A.safetensors", "right").returncode == 0
    assert os.path.exists("$B.safetensors") and not os.path.exists("bb.safetensors")
    assert run("append", "bb.dt", "$A.safetensors", "$A.dt", "--prefix", "x").returncode == 2
    assert run("append", "bb.dt", "$A.safetensors").returncode == 0


@pytest.mark.usefixtures("dollars")
def test_what_is_kept_for_later_leads_back(tmp_path: Path) -> None:
    dt.save("m.dt", TENSORS)
    dt.save_sharded("$A.deathtensors", TENSORS, 24)
    with dt.open("m.dt") as file, dt.open_sharded("$A.deathtensors") as model:
        assert model.verify_report()["errors"] == []
        assert dt.Schema().allow_extra().problems(model) == []
        kept = pickle.dumps((file, model))
    assert dt.diff("$A.deathtensors", "m.dt")["equal"]
    os.chdir(tmp_path)
    for again in pickle.loads(kept):
        assert again.keys() == ["a", "b"]
        assert again.get_bytes("a") == TENSORS["a"].tobytes()
        pickle.loads(pickle.dumps(again)).close()


@pytest.mark.usefixtures("dollars")
def test_the_folder_of_a_cache_is_expanded_once() -> None:
    from deathtensors.huggingface._load import with_token
    from deathtensors.huggingface._repository import Repository
    from deathtensors.remote import RemoteOptions

    options = RemoteOptions(cache_dir="$A")
    there = os.path.join(os.getcwd(), "$B")
    assert there.endswith("$HOME/$B") and options.cache_dir == there
    repository = Repository("org/name", token="hf_x")
    assert with_token(repository, options).cache_dir == there
    assert pickle.loads(pickle.dumps(options)).cache_dir == there


# --- a current folder that was deleted


def test_a_deleted_folder_matters_to_relative_paths_only(tmp_path: Path) -> None:
    path = str(tmp_path / "m.dt")
    dt.save(path, TENSORS)
    index = str(tmp_path / "i.deathtensors")
    dt.save_sharded(index, TENSORS)
    Path("s.safetensors").write_bytes(safetensors_file([("a", "U8", [1], b"a")]))
    os.mkdir("gone")
    os.chdir("gone")
    os.rmdir(tmp_path / "gone")
    with dt.open(path) as file, dt.open_sharded(index) as model:
        assert file.keys() == model.keys() == ["a", "b"]
        assert model.verify_report()["errors"] == []
        pickle.loads(pickle.dumps(file)).close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for work in (
            lambda: dt.open("m.dt"),
            lambda: dt.open_sharded("m.dt"),
            lambda: dt.write_manifest(path, "m.json"),
            lambda: dt.to_safetensors("m.dt"),
            lambda: dt.read_manifest("m.json"),
        ):
            with pytest.raises(dt.MissingFileError) as caught:
                work()
            assert caught.value.code == "not_found.file"
