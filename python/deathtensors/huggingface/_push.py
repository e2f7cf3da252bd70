"""From this machine to the Hub."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .. import _deathtensors, errors
from .._arguments import flag, words, words_or_none
from .._file import DtFile
from .._paths import Exact, expand_path, with_extension
from .._rooms import workroom
from .._sharded import ShardedReader
from .._write import from_safetensors
from ._card import new_card, tagged_card
from ._repository import Repository

if TYPE_CHECKING:
    from .._deathtensors import Progress
    from .._paths import StrPath
    from ._repository import Token

#: How often a push is tried whose card was read at a commit that is not the newest any more.
_ATTEMPTS = 3


#: What a file in a repository is expected to be by its name, and would no longer be.
_FOREIGN = (".safetensors", ".md", ".json", ".bin", ".pt", ".pth", ".gguf", ".onnx", ".py")


def push_to_hub(
    repo_id: str,
    local_path: StrPath,
    path_in_repo: str | None = None,
    repo_type: str = "model",
    revision: str | None = None,
    token: Token = None,
    commit_message: str | None = None,
    private: bool | None = None,
    create_repo_if_missing: bool = True,
    compress: bool | None = None,
    *,
    manifest: bool = True,
    card: bool = True,
    limits: Mapping[str, int] | None = None,
    progress: Progress | None = None,
) -> str:
    """Push a file to a repository, in one commit.

    Contents that the Hub has already are not sent again, and a push that changes
    nothing makes no commit.

    Args:
        repo_id: ``namespace/name``.
        local_path: a ``.deathtensors`` file; a ``.safetensors`` file is converted on
            the way.
        path_in_repo: where to put it; None for its own name.
        repo_type: "model", "dataset" or "space".
        revision: the branch; None for ``main``.
        token: see the module.
        commit_message: the commit's title.
        private: whether a new repository is private; None for the Hub's default. True
            refuses to push to one that is there and public.
        create_repo_if_missing: make the repository if there is none.
        compress: True or False pushes a copy with or without compression, which keeps
            names, metadata, digests and footer; None pushes the file as it is.
        manifest: put the catalogue beside the file, as ``<path>.json``, so that a page
            shows what is inside with one small request.
        card: tag the card (``README.md``) with ``deathtensors``, if it is not, and make
            one if there is none. What it says already stays as it is.
        limits: what the local file may ask for, see ``DtFile``.
        progress: called now and then with bytes done and bytes in all, while the file
            is compressed or converted; the client shows bars of its own for uploads.

    Returns:
        The address of the file's page.

    Raises:
        MissingFileError: there is no such local file.
        FormatError: the local file is not one of ours.
        NetworkError: the Hub refused, or was not reached; see the module.
        UsageError: the repository is public, and ``private`` was asked for.
        MissingPackageError: huggingface_hub is not installed.

    Copies are made in the folder for temporary files (``TMPDIR``).
    """
    path = expand_path(local_path)
    manifest, card = flag(manifest, "manifest"), flag(card, "card")
    compress = None if compress is None else flag(compress, "compress")
    create = flag(create_repo_if_missing, "create_repo_if_missing")
    safetensors = path.lower().endswith(".safetensors")
    repo = Repository(repo_id, repo_type, revision, token)
    target = _target(path, path_in_repo, safetensors)
    repo.path(target, "path_in_repo")
    message = words_or_none(commit_message, "commit_message")
    message = message or f"Upload {target} with deathtensors"
    if safetensors:
        _must_exist(path)
    else:
        DtFile(Exact(path), limits=limits).close()  # refused before anything is asked of the Hub
    info = repo.prepare(create=create, private=private)
    with workroom() as room:
        repo.check_writable()
        ready = _ready(path, room, safetensors, compress, limits, progress)
        files = {target: ready}
        if manifest:
            files[f"{target}.json"] = write_sidecar(ready, room, limits)
        _commit(repo, info, message, files, [target] if card else None)
    return repo.url(target)


def push_sharded_to_hub(
    repo_id: str,
    local_index_path: StrPath,
    path_in_repo_prefix: str | None = None,
    repo_type: str = "model",
    revision: str | None = None,
    token: Token = None,
    commit_message: str | None = None,
    private: bool | None = None,
    create_repo_if_missing: bool = True,
    *,
    manifest: bool = True,
    card: bool = True,
    limits: Mapping[str, int] | None = None,
) -> list[str]:
    """Push a shard index and all of its shards, in one commit.

    Every shard is opened first, so that nothing is sent of a model that is not whole.

    Args:
        local_index_path: the index, as ``save_sharded`` wrote it.
        path_in_repo_prefix: the folder to put them in; None for the top.
        repo_id, repo_type, revision, token, commit_message, private,
            create_repo_if_missing, manifest, card, limits: see ``push_to_hub``.

    Returns:
        The addresses of their pages: the index, then the shards in order.

    Raises:
        MissingFileError: the index or a shard is not there.
        FormatError: the file is not a shard index, or a shard is not the one it means.
        NetworkError, UsageError, MissingPackageError: see ``push_to_hub``.
    """
    index = expand_path(local_index_path)
    manifest, card = flag(manifest, "manifest"), flag(card, "card")
    create = flag(create_repo_if_missing, "create_repo_if_missing")
    with ShardedReader(Exact(index), limits=limits) as model:
        for _ in model._files():
            pass
        paths = [index, *model.shard_paths()]
    repo = Repository(repo_id, repo_type, revision, token)
    folder = (words_or_none(path_in_repo_prefix, "path_in_repo_prefix") or "").strip("/")
    targets = {f"{folder}/{os.path.basename(path)}".lstrip("/"): path for path in paths}
    first = next(iter(targets))
    repo.path(first, "path_in_repo_prefix")
    message = words_or_none(commit_message, "commit_message")
    message = message or f"Upload {first} and its shards with deathtensors"
    info = repo.prepare(create=create, private=private)
    with workroom() as room:
        files = dict(targets)
        if manifest:
            for target, path in targets.items():
                files[f"{target}.json"] = write_sidecar(path, room, limits)
        _commit(repo, info, message, files, [first] if card else None)
    return [repo.url(target) for target in targets]


def write_sidecar(path: str, room: str, limits: Mapping[str, int] | None = None) -> str:
    """A file's catalogue as JSON, in a folder for temporary files.

    It is dated as the file is, so that pushing a file twice changes nothing.
    """
    from datetime import datetime, timezone

    written = datetime.fromtimestamp(os.path.getmtime(path), timezone.utc).isoformat()
    target = os.path.join(room, f"{os.path.basename(path)}.json")
    with DtFile(Exact(path), limits=limits) as file:
        _deathtensors.write_manifest(file._raw, target, written)
    return target


# --- what is pushed


def _target(path: str, path_in_repo: str | None, safetensors: bool) -> str:
    target = os.path.basename(path) if path_in_repo is None else words(path_in_repo, "path_in_repo")
    if target.endswith("/"):
        target += os.path.basename(path)
    if safetensors and target.lower().endswith(".safetensors"):
        target = with_extension(target, _deathtensors.CANONICAL_EXTENSION)
    if target.lower().endswith(_FOREIGN):
        raise errors.usage(
            "the name says that it is something else",
            expected=f"a name that ends in {_deathtensors.CANONICAL_EXTENSION}",
            found=target,
        )
    return target


def _must_exist(path: str) -> None:
    try:
        os.stat(path)
    except OSError as error:
        raise errors.from_os_error(error, path) from error


def _ready(
    path: str,
    room: str,
    safetensors: bool,
    compress: bool | None,
    limits: Mapping[str, int] | None,
    progress: Progress | None,
) -> str:
    """The path of what is sent: the file itself, or a copy as it was asked for."""
    name = with_extension(os.path.basename(path), _deathtensors.CANONICAL_EXTENSION)
    copy = os.path.join(room, name)
    if safetensors:
        return from_safetensors(
            Exact(path), Exact(copy), compress=bool(compress), limits=limits, progress=progress
        )
    with DtFile(Exact(path), limits=limits) as file:
        if compress is None or compress == file.is_compressed() or not len(file):
            return path
        _deathtensors.copy_tensors(
            copy,
            [(file._raw, name, name) for name in file],
            file.metadata(),
            checksum=file.has_checksum(),
            compress=compress,
            digests=file.has_digests(),
            progress=progress,
        )
    return copy


# --- the commit


def _commit(
    repo: Repository, info: Any, message: str, files: Mapping[str, str], named: list[str] | None
) -> None:
    """Commit files, with the card if it needs its tag; ``named`` are those to name in it."""
    left = _ATTEMPTS
    while True:
        # An addition serves one attempt; what was sent is not sent again.
        additions = [repo.addition(*file) for file in files.items()]
        text = None if named is None else _card(repo, info, named)
        if text is None:
            repo.commit(message, additions)
            return
        additions.append(repo.addition("README.md", text.encode()))
        try:
            # The card was read at that commit: another's change to it is not undone.
            repo.commit(message, additions, parent=info.sha)
            return
        except errors.DeathTensorsError as error:
            left -= 1
            if error.code != "network.changed" or not left:
                raise
            info = repo.info()
        except ValueError as error:
            # What the card said before is not as the Hub wants it: it is its owner's.
            if "README.md" not in str(error):
                raise
            named = None


def _card(repo: Repository, info: Any, named: list[str]) -> str | None:
    library = repo.type == "model"
    if repo.type == "space":
        return None  # its card says how it runs
    if not any(one.rfilename == "README.md" for one in info.siblings or ()):
        return new_card(repo.id, named, library=library)
    path, _ = repo.download("README.md", commit=info.sha)
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return tagged_card(file.read(), library=library)
    except (OSError, UnicodeDecodeError):
        return None
