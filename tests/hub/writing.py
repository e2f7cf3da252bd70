"""Endpoints that change a repository: uploads, commits, branches."""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
from collections.abc import Iterator
from typing import Any

from .context import Context
from .store import Repo, User
from .wire import Answer, Refusal, Request, answer_json

_LFS_TYPE = {"Content-Type": "application/vnd.git-lfs+json"}
_ALWAYS_LFS = re.compile(r"\.(safetensors|deathtensors|dt|bin|pt|onnx|npy|npz|parquet|zip)$")
_LARGEST_REGULAR = 10 << 20

# --- uploads


def preupload(context: Context, repo: Repo, revision: str, request: Request, user: User) -> Answer:
    """Which of the files to upload as LFS, and what is there under their names."""
    _no_pull_request(request)
    # A branch that does not exist is refused here, before anything is sent.
    tree = repo.tree(repo.commit_id(revision))
    said = []
    for file in request.json()["files"]:
        sample = base64.b64decode(file["sample"])
        large = file["size"] > _LARGEST_REGULAR or b"\0" in sample
        large = large or _ALWAYS_LFS.search(file["path"]) is not None
        there = tree.get(file["path"])
        oid = there and (there["sha256"] if there["lfs"] else there["oid"])
        mode = "lfs" if large and file["size"] else "regular"
        said.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
    return answer_json({"files": said})


def lfs(context: Context, repo: Repo, request: Request, rest: list[str]) -> Answer:
    """The LFS endpoints of a repository: the batch, and what follows an upload."""
    asked = request.json()
    base = f"{context.url}/{'' if repo.kind == 'models' else repo.kind + '/'}{repo.id}.git/info/lfs"
    if rest == ["objects", "batch"]:
        kinds = asked.get("transfers") or ["basic"]
        objects = [_upload(context, base, one, kinds) for one in asked["objects"]]
        many = any("chunk_size" in _header(one) for one in objects)
        transfer = "multipart" if many else "basic"
        return answer_json({"transfer": transfer, "objects": objects}, headers=_LFS_TYPE)
    if rest == ["objects", "verify"]:
        path = context.store.object_path(asked["oid"])
        if not context.store.has(asked["oid"]) or os.path.getsize(path) != asked["size"]:
            raise Refusal(404, None, "the object was not uploaded, or is of another size")
        return answer_json({}, headers=_LFS_TYPE)
    raise Refusal(404, None, "this model of the Hub has no such endpoint")


def _header(said: dict[str, Any]) -> dict[str, Any]:
    header: dict[str, Any] = said.get("actions", {}).get("upload", {}).get("header", {})
    return header


def _upload(context: Context, base: str, asked: Any, kinds: list[str]) -> dict[str, Any]:
    """How to upload one content; no actions where it is there already."""
    oid, size, switches = asked["oid"], asked["size"], context.switches
    said = {"oid": oid, "size": size}
    if not re.fullmatch("[0-9a-f]{64}", oid):
        return {**said, "error": {"code": 422, "message": "not a SHA-256"}}
    if context.store.has(oid):
        return said
    verify = {"href": f"{base}/objects/verify"}
    if size <= switches.multipart_over or "multipart" not in kinds:
        upload: dict[str, Any] = {"href": context.cdn.sign("PUT", f"/upload/{oid}")}
        return {**said, "actions": {"upload": upload, "verify": verify}}
    upload_id = secrets.token_hex(8)
    parts = -(-size // switches.part_size)
    header = {
        f"{number:05}": context.cdn.sign("PUT", f"/upload/{upload_id}/{number}")
        for number in range(1, parts + 1)
    }
    header["chunk_size"] = str(switches.part_size)
    # The client sends no token with the completion, so the address is the key.
    href = f"{context.url}/__parts__/{upload_id}"
    return {**said, "actions": {"upload": {"href": href, "header": header}, "verify": verify}}


def complete(context: Context, upload_id: str, request: Request) -> Answer:
    """Join the parts of an upload."""
    asked = request.json()
    paths = [context.store.part_path(upload_id, one["partNumber"]) for one in asked["parts"]]
    missing = [path for path in paths if not os.path.isfile(path)]
    if not re.fullmatch("[0-9a-f]{16}", upload_id) or missing or not paths:
        raise Refusal(400, None, "a part of the upload is missing")
    context.store.take(_joined(paths), asked["oid"])
    for path in paths:
        os.remove(path)
    return answer_json({}, headers=_LFS_TYPE)


def _joined(paths: list[str]) -> Iterator[bytes]:
    for path in paths:
        with open(path, "rb") as file:
            while chunk := file.read(1 << 20):
                yield chunk


# --- commits


def commit(context: Context, repo: Repo, revision: str, request: Request, user: User) -> Answer:
    """A commit as lines of JSON, each an operation."""
    _no_pull_request(request)
    if revision not in repo.refs:
        raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
    header: dict[str, Any] = {}
    changed: dict[str, dict[str, Any]] = {}
    deleted: list[str] = []
    for line in request.body().splitlines():
        operation = json.loads(line)
        key, value = operation["key"], operation["value"]
        if key == "header":
            header = value
        elif key == "file":
            if value.get("encoding") != "base64":
                raise Refusal(400, None, "the content of a file must be in base64")
            changed[_path(value)] = context.store.entry_of(base64.b64decode(value["content"]))
        elif key == "lfsFile":
            entry = context.store.lfs_entry(value["oid"])
            if value.get("size", entry["size"]) != entry["size"]:
                raise Refusal(400, None, f"{value['path']} was announced with another size")
            changed[_path(value)] = entry
        elif key == "deletedFile":
            deleted.append(value["path"])
        elif key == "deletedFolder":
            deleted.append(value["path"].rstrip("/") + "/")
        else:
            raise Refusal(400, None, f"there is no operation {key!r}")
    if "summary" not in header:
        raise Refusal(400, None, "a commit needs a summary")
    oid = context.store.commit(
        repo,
        revision,
        header["summary"],
        header.get("description") or "",
        changed=changed,
        deleted=deleted,
        parent=header.get("parentCommit"),
        author=user.name,
    )
    base = f"{context.url}/{'' if repo.kind == 'models' else repo.kind + '/'}{repo.id}"
    said = {
        "success": True,
        "commitOid": oid,
        "commitUrl": f"{base}/commit/{oid}",
        "hookOutput": "",
    }
    return answer_json(said)


def _path(value: Any) -> str:
    path: str = value["path"]
    if not path or any(part in ("", ".", "..", ".git") for part in path.split("/")):
        raise Refusal(400, None, f"{path!r} is no path inside a repository")
    return path


def _no_pull_request(request: Request) -> None:
    if request.flag("create_pr"):
        raise Refusal(501, None, "this model of the Hub has no pull requests")


# --- branches, tags, settings


def ref(context: Context, repo: Repo, word: str, name: str, request: Request) -> Answer:
    """Make or delete a branch (named in the path) or a tag (named in the body)."""
    named = repo.refs if word == "branch" else repo.tags
    asked = request.json() or {}
    with context.store.lock:
        if request.method == "DELETE":
            if name not in named or (word, name) == ("branch", "main"):
                raise Refusal(404, "RevisionNotFound", f"there is no {word} {name} to delete")
            del named[name]
        else:
            new = name if word == "branch" else asked["tag"]
            start = asked.get("startingPoint", "main") if word == "branch" else name
            if new in named:
                raise Refusal(409, None, f"Reference {new} already exists")
            named[new] = repo.commit_id(start)
        context.store.save(repo)
    return answer_json({})


def settings(context: Context, repo: Repo, request: Request) -> Answer:
    """Private or public, gated or not."""
    asked = request.json()
    if "private" in asked or "visibility" in asked:
        repo.private = bool(asked.get("private")) or asked.get("visibility") == "private"
    if "gated" in asked:
        repo.gated = asked["gated"]
    context.store.save(repo)
    return answer_json({"private": repo.private, "gated": repo.gated})
