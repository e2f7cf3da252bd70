"""Pushing and loading through Xet, which the Hub's client prefers where it can.

The model of the Hub has no Xet store. Here it gets the little of one that the client asks
the Hub itself for; the store is a folder, which the client's ``hf_xet`` writes to and reads
from. How the Hub's own store answers was not seen, and is not shown by this.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import hf_xet
import pytest

from deathtensors import huggingface as hf
from helpers import run_python, sha256
from hub import Hub
from hub import api as hub_api
from hub import reading as hub_reading
from hub.store import Store
from hub.wire import Answer, Refusal
from hub_fixtures import REPO, content, environment, hub, paths, puts
from test_huggingface_convert import check_converted, put_model

__all__ = ["hub"]  # a fixture


@pytest.fixture
def xet(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of a process that uses Xet. Its files are found in this folder."""
    store = tmp_path / "xet store"
    store.mkdir()
    answer_repo, resolve, lfs_entry = (
        hub_api.Api._repo,
        hub_reading.resolve,
        Store.lfs_entry,
    )

    def with_tokens(self: Any, request: Any, kind: str, name: Any, rest: Any, user: Any) -> Answer:
        if not rest or rest[0] not in ("xet-read-token", "xet-write-token"):
            return answer_repo(self, request, kind, name, rest, user)
        if rest[0] == "xet-write-token" and not (user and user.writes):
            raise Refusal(403, None, "no")
        until, cas = int(time.time()) + 3600, f"local://{store}"
        headers = {"X-Xet-Cas-Url": cas, "X-Xet-Access-Token": "xet",
                   "X-Xet-Token-Expiration": str(until)}  # fmt: skip
        body = json.dumps({"casUrl": cas, "accessToken": "xet", "exp": until}).encode()
        return Answer(200, {"Content-Type": "application/json", **headers}, body)

    def with_hash(context: Any, repo: Any, revision: str, path: str) -> Answer:
        answer = resolve(context, repo, revision, path)
        entry = repo.entry(repo.commit_id(revision), path)
        if entry["lfs"]:
            (found,) = hf_xet.hash_files([context.store.object_path(entry["sha256"])])
            route = f"{context.url}/api/{repo.kind}/{repo.id}/xet-read-token/main"
            answer.headers["X-Xet-Hash"] = found.hash
            answer.headers["Link"] = f'<{route}>; rel="xet-auth"'
        return answer

    def from_this_folder(self: Store, digest: str) -> dict[str, Any]:
        # The Hub would know what its store holds; this one is told by the file's path.
        if not self.has(digest):
            for path in [*tmp_path.glob("*.deathtensors"), *tmp_path.glob("kept/*")]:
                if sha256(path.read_bytes()) == digest:
                    return self.adopt(path)
        return lfs_entry(self, digest)

    monkeypatch.setattr(hub_api.Api, "_repo", with_tokens)
    monkeypatch.setattr(hub_reading, "resolve", with_hash)
    monkeypatch.setattr(Store, "lfs_entry", from_this_folder)
    return {
        **environment(hub, tmp_path),
        "PYTHONPATH": os.pathsep.join(sys.path),
        "HF_HUB_DISABLE_XET": "0",
        "XET_STORE": str(store),
    }


def in_store(xet: dict[str, str]) -> int:
    found = Path(xet["XET_STORE"]).rglob("*")
    return sum(path.stat().st_size for path in found if path.is_file() and "xorbs" in path.parts)


PUSH = """
    import numpy as np, deathtensors as dt
    from deathtensors.huggingface import push_to_hub
    values = np.random.default_rng(0).standard_normal(200_000)
    dt.save("model.deathtensors", {"w": values}, checksum=True)
    push_to_hub("org/model", "model.deathtensors")
"""


def test_a_push_and_a_load_go_through_xet(hub: Hub, xet: dict[str, str]) -> None:
    run_python(PUSH, env=xet)
    assert puts(hub) == []
    assert in_store(xet) > 1_000_000
    assert content(hub, "model.deathtensors") == Path("model.deathtensors").read_bytes()
    hub.log.clear()
    run_python(
        """
        from deathtensors.huggingface import load_from_hub
        with load_from_hub("org/model", "model.deathtensors", verify=True) as file:
            assert len(file.get_bytes("w")) == 1_600_000
        """,
        env=xet,
    )
    asked = [(one.origin, one.method, one.path.split("/")[-2]) for one in hub.log.entries()]
    assert ("hub", "GET", "xet-read-token") in asked
    assert "cdn" not in [origin for origin, _, _ in asked]
    # What is read by ranges comes from the location that the Hub tells, Xet or not.
    with hf.load_from_hub(REPO, "model.deathtensors", lazy=True, verify=True) as file:
        assert file.keys() == ["w"]


def test_a_conversion_goes_through_xet(hub: Hub, xet: dict[str, str]) -> None:
    shards = put_model(hub)
    run_python(
        """
        import os, shutil
        from deathtensors.huggingface import _convert, convert_safetensors_on_hub
        _convert._SMALL = 0
        os.mkdir("kept")
        send = _convert._Job._send
        def keep(self, target, path, room):
            shutil.copy(path, "kept")  # for the model of the Hub
            send(self, target, path, room)
        _convert._Job._send = keep
        convert_safetensors_on_hub(
            "org/model", "model.safetensors.index.json", delete_original=True, manifest=False
        )
        """,
        env=xet,
    )
    assert puts(hub) == []
    assert in_store(xet) > 1_000_000
    names = [name.replace(".safetensors", ".deathtensors") for name in shards]
    assert paths(hub) == sorted([*names, "model.deathtensors"])
    for name, data in zip(names, shards.values()):
        check_converted(content(hub, name), data)


def test_a_store_that_refuses_is_told_as_ours(hub: Hub, xet: dict[str, str]) -> None:
    hub.put(REPO, texts={"README.md": "# Hello\n"})
    hub.fail(path="xet-write-token", status=403, times=None)
    done = run_python(PUSH, env=xet, check=False)
    assert done.stderr.splitlines()[-1].startswith("deathtensors.errors.NetworkError: "), (
        done.stderr
    )
    assert "model.deathtensors" not in paths(hub)
