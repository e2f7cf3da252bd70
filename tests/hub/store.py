"""Users, repositories, commits and contents, kept in a folder.

``objects/`` holds contents by their SHA-256, ``repos/`` a JSON file for each repository
with every commit it ever had, each with its whole tree.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from .wire import Refusal

KINDS = ("models", "datasets", "spaces")
_FIRST_ATTRIBUTES = b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"


@dataclass(frozen=True)
class User:
    """Who a token stands for, and which namespaces are theirs."""

    name: str
    orgs: tuple[str, ...] = ()
    writes: bool = True


USERS = {
    "hf_ownerToken": User("tester", ("org",)),
    "hf_readToken": User("reader", ("org",), writes=False),
    "hf_strangerToken": User("stranger"),
}


@dataclass
class Repo:
    """A repository: ``refs`` and ``tags`` name commits, which stay for ever."""

    kind: str
    id: str
    private: bool = False
    gated: str | bool = False
    granted: list[str] = field(default_factory=list)
    created: str = ""
    refs: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def namespace(self) -> str:
        return self.id.split("/")[0]

    def commit_id(self, revision: str) -> str:
        """The commit that a branch, a tag or a commit's id names."""
        for names in (self.refs, self.tags):
            short = revision.split("/", 2)[-1] if revision.startswith("refs/") else revision
            if short in names:
                return names[short]
        if revision in self.commits:
            return revision
        raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")

    def tree(self, commit: str) -> dict[str, dict[str, Any]]:
        return self.commits[commit]["tree"]  # type: ignore[no-any-return]

    def entry(self, commit: str, path: str) -> dict[str, Any]:
        found = self.tree(commit).get(path)
        if found is None:
            raise Refusal(404, "EntryNotFound", f"Entry not found: {path}")
        return found


class Store:
    """All of it. ``lock`` is held while anything changes."""

    def __init__(
        self, folder: str | os.PathLike[str], users: dict[str, User] | None = None
    ) -> None:
        self.folder = os.fspath(folder)
        self.users = dict(USERS if users is None else users)
        self.lock = threading.RLock()
        self._repos: dict[tuple[str, str], Repo] = {}
        for part in ("objects", "repos", "parts"):
            os.makedirs(os.path.join(self.folder, part), exist_ok=True)
        for name in sorted(os.listdir(os.path.join(self.folder, "repos"))):
            with open(os.path.join(self.folder, "repos", name), encoding="utf-8") as file:
                repo = Repo(**json.load(file))
            self._repos[repo.kind, repo.id] = repo

    # --- repositories

    def find(self, kind: str, name: str) -> Repo | None:
        return self._repos.get((kind, name))

    def create(self, kind: str, name: str, private: bool = False) -> Repo:
        with self.lock:
            if (kind, name) in self._repos:
                raise Refusal(409, None, "You already created this model repo")
            repo = Repo(kind, name, private, created=_now())
            self._repos[kind, name] = repo
            attributes = {".gitattributes": self.entry_of(_FIRST_ATTRIBUTES)}
            self.commit(repo, "main", "initial commit", changed=attributes)
            return repo

    def delete(self, repo: Repo) -> None:
        with self.lock:
            del self._repos[repo.kind, repo.id]
            os.remove(self._file(repo))

    def save(self, repo: Repo) -> None:
        path = self._file(repo)
        with open(path + ".new", "w", encoding="utf-8") as file:
            json.dump(vars(repo), file)
        os.replace(path + ".new", path)

    def _file(self, repo: Repo) -> str:
        name = f"{repo.kind}--{repo.id.replace('/', '--')}.json"
        return os.path.join(self.folder, "repos", name)

    # --- commits

    def commit(
        self,
        repo: Repo,
        branch: str,
        title: str,
        message: str = "",
        *,
        changed: dict[str, dict[str, Any]],
        deleted: Iterable[str] = (),
        parent: str | None = None,
        author: str = "tester",
    ) -> str:
        """Add a commit to a branch, unless the branch is no longer at ``parent``."""
        with self.lock:
            head = repo.refs.get(branch)
            if parent is not None and parent != head:
                raise Refusal(
                    412, None, "A commit has happened since. Please refresh and try again."
                )
            tree = dict(repo.tree(head)) if head else {}
            for path in deleted:
                inside = [one for one in tree if one.startswith(path)] if path.endswith("/") else []
                if path not in tree and not inside:
                    raise Refusal(404, "EntryNotFound", f"Entry not found: {path}")
                for one in inside or [path]:
                    del tree[one]
            date = _now()
            stamp = [repo.id, head, title, date, len(repo.commits), sorted(changed)]
            new = hashlib.sha1(json.dumps(stamp).encode()).hexdigest()
            for path, entry in changed.items():
                tree[path] = {**entry, "commit": new}
            repo.commits[new] = {
                "parent": head,
                "title": title,
                "message": message,
                "date": date,
                "author": author,
                "tree": tree,
            }
            repo.refs[branch] = new
            self.save(repo)
            return new

    # --- contents

    def object_path(self, sha256: str) -> str:
        return os.path.join(self.folder, "objects", sha256)

    def has(self, sha256: str) -> bool:
        return os.path.isfile(self.object_path(sha256))

    def part_path(self, upload: str, number: int) -> str:
        return os.path.join(self.folder, "parts", f"{upload}-{number:05}")

    def take(self, chunks: Iterable[bytes], sha256: str) -> None:
        """Keep a content under its SHA-256; another content is refused."""
        digest = hashlib.sha256()
        path = f"{self.object_path(sha256)}.{threading.get_ident()}"
        with open(path, "wb") as file:
            for chunk in chunks:
                digest.update(chunk)
                file.write(chunk)
        if digest.hexdigest() != sha256:
            os.remove(path)
            raise Refusal(400, None, "the content does not have the SHA-256 that was announced")
        os.replace(path, self.object_path(sha256))

    def entry_of(self, content: bytes) -> dict[str, Any]:
        """Keep a small content; its entry in a tree."""
        sha256 = hashlib.sha256(content).hexdigest()
        self.take([content], sha256)
        return {
            "oid": git_hash(content),
            "size": len(content),
            "lfs": False,
            "sha256": sha256,
        }

    def lfs_entry(self, sha256: str) -> dict[str, Any]:
        """The entry in a tree of a large content that is there already."""
        if not self.has(sha256):
            raise Refusal(400, None, f"the LFS object {sha256} was never uploaded")
        size = os.path.getsize(self.object_path(sha256))
        return {
            "oid": git_hash(pointer(sha256, size)),
            "size": size,
            "lfs": True,
            "sha256": sha256,
        }

    def adopt(self, path: str | os.PathLike[str]) -> dict[str, Any]:
        """Copy a local file into the store as a large content."""
        digest = hashlib.sha256()
        with open(path, "rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
        sha256 = digest.hexdigest()
        if not self.has(sha256):
            shutil.copyfile(path, self.object_path(sha256) + ".new")
            os.replace(self.object_path(sha256) + ".new", self.object_path(sha256))
        return self.lfs_entry(sha256)


def git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def pointer(sha256: str, size: int) -> bytes:
    """The text that git keeps in place of a large file."""
    return (
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
    )


def _now() -> str:
    now = datetime.fromtimestamp(time.time(), timezone.utc)
    return now.strftime("%Y-%m-%dT%H:%M:%S.") + f"{now.microsecond // 1000:03}Z"
