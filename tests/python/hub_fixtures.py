"""A running model of the Hub, and the real client pointed at it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import HfApi, constants

import deathtensors as dt
from hub import Hub

REPO = "org/model"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The Hub, where a user is logged in who may write to ``org`` and ``tester``."""
    with Hub(tmp_path / "hub") as running:
        point_at(running, tmp_path, monkeypatch)
        monkeypatch.setenv("HF_TOKEN", running.token)
        yield running


def point_at(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client reads these once, when it is imported; nothing of the user's is used."""
    monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
    template = hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(folder / "token"))
    monkeypatch.setattr(constants, "HF_STORED_TOKENS_PATH", str(folder / "stored_tokens"))
    monkeypatch.setattr(constants, "HF_XET_CACHE", str(folder / "xet"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def api(hub: Hub) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token=hub.token)


@pytest.fixture
def anonymous(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")


def tensors() -> dict[str, Any]:
    generator = np.random.default_rng(0)
    return {
        "layer.weight": generator.standard_normal((300, 40)).astype("float32"),
        "layer.bias": np.arange(40, dtype="int64"),
        "empty": np.zeros((0, 3), "float32"),
    }


def saved(path: str = "model.deathtensors", **options: Any) -> str:
    options = {"checksum": True, "metadata": {"layer.bias": {"unit": "mm"}}, **options}
    dt.save(path, tensors(), global_metadata={"license": "MIT"}, **options)
    return path


def same(reader: Any) -> bool:
    wanted = tensors()
    assert sorted(reader.keys()) == sorted(wanted)
    for name, value in wanted.items():
        assert np.array_equal(reader.get_tensor(name, "numpy"), value), name
    return True


def environment(hub: Hub, folder: Path) -> dict[str, str]:
    """Of another process that uses the Hub."""
    return {
        **os.environ,
        "HF_ENDPOINT": hub.endpoint,
        "HF_TOKEN": hub.token,
        "HF_HOME": str(folder / "home"),
        "HF_HUB_DISABLE_XET": "1",
    }


def hf(hub: Hub, folder: Path, *words: str) -> str:
    """The Hub's own command."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("hf")), *words],
        env=environment(hub, folder), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def puts(hub: Hub) -> list[str]:
    return [one.path for one in hub.log.entries() if one.method == "PUT"]


def commits(hub: Hub, repo: str = REPO, kind: str = "models") -> int:
    found = hub.store.find(kind, repo)
    return 0 if found is None else len(found.commits)


def content(
    hub: Hub, path: str, repo: str = REPO, kind: str = "models", branch: str = "main"
) -> bytes:
    found = hub.store.find(kind, repo)
    assert found is not None
    entry = found.entry(found.commit_id(branch), path)
    return Path(hub.store.object_path(entry["sha256"])).read_bytes()


def paths(hub: Hub, repo: str = REPO, kind: str = "models", branch: str = "main") -> list[str]:
    found = hub.store.find(kind, repo)
    assert found is not None
    return sorted(path for path in found.tree(found.commit_id(branch)) if path[0] != ".")
