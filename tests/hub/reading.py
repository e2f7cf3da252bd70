"""Endpoints that tell what is there, and hand it out."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs, quote, urlencode

from .context import Context
from .store import Repo, git_hash, pointer
from .wire import Answer, Refusal, Request, answer_json

# --- contents


def resolve(context: Context, repo: Repo, revision: str, path: str) -> Answer:
    """Where a file is: large ones at the cdn, small ones in a cache of the hub's own."""
    commit = repo.commit_id(revision)
    entry = repo.entry(commit, path)
    headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
    if entry["lfs"]:
        headers["X-Linked-Size"] = str(entry["size"])
        headers["X-Linked-ETag"] = f'"{entry["sha256"]}"'
        headers["ETag"] = headers["X-Linked-ETag"]
        name = path.split("/")[-1]
        headers["Location"] = context.cdn.sign("GET", f"/objects/{entry['sha256']}", filename=name)
        return Answer(302, headers, b"Found. Redirecting to the cdn")
    headers["ETag"] = f'"{entry["oid"]}"'
    headers["Location"] = f"/api/resolve-cache/{repo.kind}/{repo.id}/{commit}/{quote(path)}"
    return Answer(307, headers, b"Temporary Redirect")


def cached(context: Context, repo: Repo, commit: str, path: str) -> Answer:
    """A small file, by its commit."""
    entry = repo.entry(repo.commit_id(commit), path)
    headers = {
        "X-Repo-Commit": commit,
        "ETag": f'"{entry["oid"]}"',
        "Content-Type": "text/plain; charset=utf-8",
    }
    return Answer(200, headers, context.store.object_path(entry["sha256"]))


# --- catalogue


def info(context: Context, repo: Repo, revision: str, request: Request) -> Answer:
    """A repository at a commit, with its files; sizes and digests with ``blobs``."""
    commit = repo.commit_id(revision)
    files = repo.tree(commit)
    facts: dict[str, Any] = {
        "_id": git_hash(repo.id.encode())[:24],
        "id": repo.id,
        "author": repo.namespace,
        "sha": commit,
        "createdAt": repo.created,
        "lastModified": repo.commits[commit]["date"],
        "private": repo.private,
        "gated": repo.gated,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "siblings": [_sibling(path, files[path], request.flag("blobs")) for path in sorted(files)],
        "usedStorage": sum(entry["size"] for entry in files.values()),
        **_card(context, files.get("README.md")),
    }
    if repo.kind == "models":
        facts["modelId"] = repo.id
    return answer_json(facts)


def _sibling(path: str, entry: dict[str, Any], blobs: bool) -> dict[str, Any]:
    said: dict[str, Any] = {"rfilename": path}
    if blobs:
        said.update(blobId=entry["oid"], size=entry["size"])
        if entry["lfs"]:
            small = len(pointer(entry["sha256"], entry["size"]))
            lfs = {"sha256": entry["sha256"], "size": entry["size"], "pointerSize": small}
            said["lfs"] = lfs
    return said


def _card(context: Context, entry: dict[str, Any] | None) -> dict[str, Any]:
    """The tags of the model card: the plain lines between its first two ``---``."""
    if entry is None:
        return {"tags": []}
    with open(context.store.object_path(entry["sha256"]), encoding="utf-8") as file:
        match = re.match(r"---\r?\n(.*?)\r?\n---", file.read(), re.DOTALL)
    data: dict[str, Any] = {}
    last = ""
    for line in match[1].splitlines() if match else []:
        if line.lstrip().startswith("- ") and isinstance(data.get(last), list):
            data[last].append(line.lstrip()[2:].strip().strip("\"'"))
        elif ":" in line:
            last, _, value = (part.strip() for part in line.partition(":"))
            inline = [part.strip().strip("\"'") for part in value.strip("[]").split(",")]
            data[last] = inline if value[:1] == "[" else value.strip("\"'") or []
    tags = data.get("tags") or []
    said = {"cardData": data, "tags": [tags] if isinstance(tags, str) else list(tags)}
    if "library_name" in data:
        said["library_name"] = data["library_name"]
    return said


def tree(context: Context, repo: Repo, revision: str, folder: str, request: Request) -> Answer:
    """A folder's entries, or all below it, in pages that ``Link`` joins."""
    commit = repo.commit_id(revision)
    prefix = folder.rstrip("/") + "/" if folder else ""
    found = _below(repo, commit, prefix, request.flag("recursive"), request.flag("expand"))
    if not found and prefix:
        raise Refusal(404, "EntryNotFound", f"{folder} does not exist on {revision}")
    size = min(int(request.asked("limit") or context.switches.page_size), 10_000)
    start = int(request.asked("cursor") or 0)
    headers = {"X-Repo-Commit": commit}
    if start + size < len(found):
        query = {name: values[-1] for name, values in request.query.items()}
        query.update(limit=str(size), cursor=str(start + size))
        path = "/".join(quote(part, safe="") for part in request.segments)
        headers["Link"] = f'<{context.url}/{path}?{urlencode(query)}>; rel="next"'
    return answer_json(found[start : start + size], headers=headers)


def paths_info(repo: Repo, revision: str, request: Request) -> Answer:
    """Those of some paths that exist."""
    commit = repo.commit_id(revision)
    if "json" in (request.headers.get("Content-Type") or ""):
        asked = request.json()
        paths, expand = asked["paths"], bool(asked.get("expand"))
    else:
        form = parse_qs(request.body().decode())
        paths, expand = form.get("paths", []), form.get("expand", [""])[-1].lower() == "true"
    everything = _below(repo, commit, "", True, expand)
    return answer_json([entry for entry in everything if entry["path"] in paths])


def _below(
    repo: Repo, commit: str, prefix: str, recursive: bool, expand: bool
) -> list[dict[str, Any]]:
    said: dict[str, dict[str, Any]] = {}
    for path, entry in repo.tree(commit).items():
        if not path.startswith(prefix):
            continue
        parts = path[len(prefix) :].split("/")
        for depth in range(1, len(parts) if recursive else min(len(parts), 2)):
            folder = prefix + "/".join(parts[:depth])
            oid = git_hash(f"{commit} {folder}".encode())
            said.setdefault(folder, {"type": "directory", "oid": oid, "size": 0, "path": folder})
        if recursive or len(parts) == 1:
            said[path] = _file(path, entry)
            if expand:
                change = repo.commits[entry["commit"]]
                said[path]["lastCommit"] = {
                    "id": entry["commit"],
                    "title": change["title"],
                    "date": change["date"],
                }
    return [said[path] for path in sorted(said)]


def _file(path: str, entry: dict[str, Any]) -> dict[str, Any]:
    said = {"type": "file", "oid": entry["oid"], "size": entry["size"], "path": path}
    if entry["lfs"]:
        small = len(pointer(entry["sha256"], entry["size"]))
        said["lfs"] = {"oid": entry["sha256"], "size": entry["size"], "pointerSize": small}
    return said


# --- history


def refs(repo: Repo) -> Answer:
    """Branches and tags."""
    said = {
        what: [
            {"name": name, "ref": f"refs/{folder}/{name}", "targetCommit": commit}
            for name, commit in named.items()
        ]
        for what, folder, named in (("branches", "heads", repo.refs), ("tags", "tags", repo.tags))
    }
    return answer_json({**said, "converts": [], "pullRequests": []})


def commits(repo: Repo, revision: str) -> Answer:
    """The history of a revision, newest first."""
    said = []
    at: str | None = repo.commit_id(revision)
    while at is not None:
        commit = repo.commits[at]
        said.append(
            {
                "id": at,
                "title": commit["title"],
                "message": commit["message"],
                "date": commit["date"],
                "authors": [{"user": commit["author"]}],
            }
        )
        at = commit["parent"]
    return answer_json(said, headers={"X-Total-Count": str(len(said))})
