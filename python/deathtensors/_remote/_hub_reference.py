"""What ``hf://`` references and addresses of the Hub's pages mean."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from .. import errors

_KINDS = {"models": "model", "datasets": "dataset", "spaces": "space"}
_REPOSITORY = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)
#: What stands before ``org/name`` in references and addresses, by kind of repository.
PREFIXES = {"model": "", "dataset": "datasets/", "space": "spaces/"}
_COMMIT = re.compile(r"[0-9a-f]{40}")
_HOSTS = ("huggingface.co", "www.huggingface.co", "hf.co")
#: Parts of a page's path after which come a revision and a file's path.
_VERBS = ("blob", "resolve", "raw", "tree", "blame", "edit", "commits")


@dataclass(frozen=True)
class Reference:
    """A file of a repository of the Hub.

    Attributes:
        kind: model, dataset or space.
        repo: ``org/name``.
        revision: a branch, a tag or a commit.
        path: within the repository.
    """

    kind: str
    repo: str
    revision: str
    path: str

    @property
    def commit(self) -> str | None:
        """The revision, if it is a whole commit id, whose content never changes."""
        return self.revision if _COMMIT.fullmatch(self.revision) else None

    @property
    def prefix(self) -> str:
        """What stands before ``org/name`` in references and addresses."""
        return PREFIXES[self.kind]

    def at(self, revision: str) -> Reference:
        """The same file at another revision."""
        return Reference(self.kind, self.repo, revision, self.path)

    def beside(self, name: str) -> Reference:
        """Another file in the same folder."""
        folder = self.path.rpartition("/")[0]
        path = f"{folder}/{name}" if folder else name
        return Reference(self.kind, self.repo, self.revision, path)

    def __str__(self) -> str:
        revision = "" if self.revision == "main" else f"@{quote(self.revision, safe='')}"
        return f"hf://{self.prefix}{self.repo}{revision}/{self.path}"


def endpoint() -> str:
    """Where the Hub is: ``HF_ENDPOINT``, or what huggingface_hub was imported with."""
    chosen = os.environ.get("HF_ENDPOINT")
    if not chosen:
        try:
            from huggingface_hub import constants

            chosen = constants.ENDPOINT
        except ImportError:
            chosen = "https://huggingface.co"
    return chosen.rstrip("/")


def parse_reference(text: str) -> Reference:
    """``hf://[datasets/|spaces/|models/]org/name[@revision]/path``

    A slash within a revision is written ``%2F``, except in ``refs/pr/1`` and the like.

    Raises:
        UsageError: it is none of that form.
    """
    parts = text.split("://", 1)[1].split("/")
    kind = _take_kind(parts)
    if len(parts) < 2:
        raise _malformed(text)
    name, at, revision = parts[1].partition("@")
    repo, rest = f"{parts[0]}/{name}", parts[2:]
    if revision == "refs" and len(rest) >= 2:
        revision, rest = "/".join([revision, *rest[:2]]), rest[2:]
    if at and not revision:
        raise _malformed(text)
    return _reference(kind, repo, unquote(revision) or "main", "/".join(rest), text)


def parse_page(url: str) -> Reference | None:
    """The file that a page of the Hub is about; None if the URL is none of the Hub's pages.

    Raises:
        UsageError: the page is a repository's or a folder's, not a file's.
    """
    try:
        parts = urlsplit(url)
    except ValueError:  # told by whoever asks for it
        return None
    path = _path_at_the_hub(parts.scheme, parts.netloc, parts.path)
    if path is None:
        return None
    segments = [unquote(part) for part in path.split("/") if part]
    kind = _take_kind(segments)
    verb = next((at for at in (1, 2) if at < len(segments) and segments[at] in _VERBS), None)
    shown = f"{parts.scheme}://{parts.netloc}{parts.path}"
    if verb is None:
        plain = len(segments) == 2 and segments[0] not in ("api", "docs", "papers")
        if plain and _REPOSITORY.fullmatch("/".join(segments)):
            return _reference(kind, "/".join(segments), "main", "", shown)
        return None
    rest = segments[verb + 1 :]
    # A revision is one segment, unless a slash in it was not encoded.
    cut = 3 if rest[:1] == ["refs"] else 1
    revision, path = "/".join(rest[:cut]) or "main", "/".join(rest[cut:])
    path += "/" if shown.endswith("/") else ""
    return _reference(kind, "/".join(segments[:verb]), revision, path, shown)


def _path_at_the_hub(scheme: str, host: str, path: str) -> str | None:
    hub = urlsplit(endpoint())
    if (scheme, host) == (hub.scheme, hub.netloc):
        return path[len(hub.path) :] if path.startswith(f"{hub.path}/") else None
    return path if scheme in ("http", "https") and host in _HOSTS else None


def _take_kind(parts: list[str]) -> str:
    return _KINDS[parts.pop(0)] if parts and parts[0] in _KINDS else "model"


def _reference(kind: str, repo: str, revision: str, path: str, given: str) -> Reference:
    dots = any(part in (".", "..") for part in [*repo.split("/"), *path.split("/"), revision])
    if dots or not _REPOSITORY.fullmatch(repo):
        raise _malformed(given)
    if not path or path.endswith("/"):
        found = f"hf://{'' if kind == 'model' else kind + 's/'}{repo}"
        raise errors.usage(
            "this names a repository or a folder of it, not a file",
            expected=f"{found}/path/of/the.deathtensors",
            found=given[:200],
        )
    return Reference(kind, repo, revision, path)


def _malformed(given: str) -> errors.DeathTensorsError:
    return errors.usage(
        "this is no reference to a file on the Hub",
        expected="hf://org/name/path, hf://org/name@revision/path, or hf://datasets/…",
        found=given[:200],
    )
