"""From the Hub to this machine: whole files into the client's cache, or by ranges."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .. import _deathtensors, errors
from .._arguments import flag, looked_up
from .._file import DtFile, warn_of_index
from .._paths import Exact
from .._sharded import ShardedReader
from .._text import printable
from ..remote import RemoteOptions
from ._repository import Repository

if TYPE_CHECKING:
    from types import TracebackType

    from .._deathtensors import File
    from .._paths import StrPath
    from ._repository import Token


def load_from_hub(
    repo_id: str,
    filename: str,
    repo_type: str = "model",
    revision: str | None = None,
    token: Token = None,
    cache_dir: StrPath | None = None,
    verify: bool = False,
    *,
    lazy: bool = False,
    root: str | None = None,
    backend: str = "auto",
    limits: Mapping[str, int] | None = None,
    remote: RemoteOptions | Mapping[str, Any] | None = None,
) -> DtFile:
    """Open a file of a repository.

    It is downloaded into the cache of ``huggingface_hub``, unless it is there already,
    and opened from there. With ``lazy`` nothing is downloaded: what is asked for is
    read by ranges, all of it from the commit that the revision meant at first.

    Args:
        repo_id: ``namespace/name``.
        filename: its path in the repository.
        repo_type: "model", "dataset" or "space".
        revision: a branch, a tag or a commit; None for ``main``.
        token: see the module.
        cache_dir: another cache than the client's usual one; not with ``lazy``.
        lazy: read from the Hub instead of downloading.
        verify, root, backend, limits: see ``DtFile``.
        remote: how to read, see ``deathtensors.remote``; only with ``lazy``.

    Raises:
        NetworkError: the Hub refused, or was not reached; see the module.
        FormatError, UnsupportedError, LimitError: the file is refused.
        IntegrityError: ``verify`` or ``root`` found a difference.
        MissingPackageError: huggingface_hub is not installed.
    """
    repo = Repository(repo_id, repo_type, revision, token)
    repo.path(filename, "filename")
    if flag(lazy, "lazy"):
        if cache_dir is not None:
            raise errors.usage(
                "cache_dir is of whole files, and lazy=True downloads none; "
                "remote={'cache_dir': …} keeps what was read"
            )
        file = DtFile(
            repo.address(filename),
            verify,
            root=root,
            backend=backend,
            limits=limits,
            remote=with_token(repo, remote),
        )
        warn_of_index(file)
        return file
    if remote is not None:
        raise errors.usage("remote says how to read with lazy=True")
    path, _ = repo.download(filename, cache_dir=cache_dir)
    try:
        file = DtFile(Exact(path), verify, root=root, backend=backend, limits=limits)
        warn_of_index(file)
        return file
    except errors.IntegrityError as error:
        # The client would go on giving the same file, if it came damaged.
        held = os.path.realpath(path)
        error.args = (f"{error}; to download it again, delete '{printable(held)}'",)
        raise


def with_token(repo: Repository, remote: RemoteOptions | Mapping[str, Any] | None) -> RemoteOptions:
    """How to read by ranges, as the caller said, with the token that the caller gave."""
    options = RemoteOptions.of(remote)
    if options.token is not None:
        return options
    folder = options.cache_dir
    # It was expanded already.
    exact = None if folder is None else Exact(os.fspath(folder))
    return replace(options, token=repo.given, cache_dir=exact)


def load_sharded_from_hub(
    repo_id: str,
    index_filename: str,
    repo_type: str = "model",
    revision: str | None = None,
    token: Token = None,
    cache_dir: StrPath | None = None,
    verify: bool = False,
    *,
    root: str | None = None,
    backend: str = "auto",
    limits: Mapping[str, int] | None = None,
) -> ShardedReader:
    """Open a sharded model of a repository.

    The index is downloaded now, a shard when a tensor of it is first asked for, each
    of the commit that the index is of.

    Args:
        index_filename: the path of the index in the repository.
        verify: check all that the index carries now, and a shard when it is opened.
        root: the index's root digest, which pins the shards too.
        repo_id, repo_type, revision, token, cache_dir, backend, limits: see
            ``load_from_hub``.

    Raises:
        NetworkError: the Hub refused, or was not reached; see the module.
        FormatError: the file is not a shard index, or is refused.
        IntegrityError: ``verify`` or ``root`` found a difference.
        MissingPackageError: huggingface_hub is not installed.
    """
    repo = Repository(repo_id, repo_type, revision, token)
    return _HubShards(
        repo,
        repo.path(index_filename, "index_filename"),
        cache_dir,
        verify,
        root=root,
        backend=backend,
        limits=limits,
    )


class _HubShards(ShardedReader):
    """A ShardedReader that downloads a shard before it is opened.

    The client's cache has a folder for each commit, so that a shard comes to lie
    beside its index, where the base class looks for it.
    """

    def __init__(
        self,
        repo: Repository,
        index: str,
        cache_dir: StrPath | None,
        verify: bool = False,
        **options: Any,
    ) -> None:
        path, self._commit = repo.download(index, cache_dir=cache_dir)
        self._repo, self._index, self._cache_dir = repo, index, cache_dir
        self._lock = threading.Lock()
        self._there: set[str] = set()
        super().__init__(Exact(path), verify, **options)

    def _file(self, name: str) -> File:
        self._have(self.which_shard(looked_up(name)))
        return super()._file(name)

    def _files(self) -> Iterator[File]:
        for index, shard in enumerate(self._raw.shard_names()):
            self._have(shard)
            yield self._raw.shard(index)

    def _have(self, shard: str) -> None:
        with self._lock:
            if shard in self._there:
                return
            folder = self._index.rpartition("/")[0]
            path = f"{folder}/{shard}" if folder else shard
            self._repo.download(path, commit=self._commit, cache_dir=self._cache_dir)
            self._there.add(shard)

    def __reduce__(self) -> tuple[Any, ...]:
        # A token stays out of pickles; whoever opens one has the environment's, or the
        # stored login.
        repo = (self._repo.id, self._repo.type, self._commit)
        return _open_again, (type(self), repo, self._index, self._cache_dir, *self._options)


def _open_again(
    cls: type[_HubShards],
    repo: tuple[str, str, str],
    index: str,
    cache_dir: StrPath | None,
    verify: bool,
    root: str | None,
    backend: str,
    limits: Mapping[str, int] | None,
) -> _HubShards:
    return cls(
        Repository(*repo), index, cache_dir, verify, root=root, backend=backend, limits=limits
    )


def list_repo_models(
    repo_id: str, repo_type: str = "model", revision: str | None = None, token: Token = None
) -> list[str]:
    """The paths of all ``.deathtensors`` and ``.dt`` files of a repository, sorted.

    Raises:
        NetworkError: the Hub refused, or was not reached; see the module.
        MissingPackageError: huggingface_hub is not installed.
    """
    return _models(Repository(repo_id, repo_type, revision, token).files())


def _models(paths: list[str]) -> list[str]:
    endings = (_deathtensors.CANONICAL_EXTENSION, _deathtensors.LEGACY_EXTENSION)
    return sorted(path for path in paths if path.lower().endswith(endings))


def hub_model_info(
    repo_id: str, repo_type: str = "model", revision: str | None = None, token: Token = None
) -> dict[str, Any]:
    """What the Hub says about a repository.

    Returns:
        repo_id, repo_type, sha (the commit), private, tags, downloads, likes,
        last_modified (text), and deathtensors_files as ``list_repo_models`` gives them,
        of that commit.

    Raises:
        NetworkError: the Hub refused, or was not reached; see the module.
        MissingPackageError: huggingface_hub is not installed.
    """
    repo = Repository(repo_id, repo_type, revision, token)
    info = repo.info()
    return {
        "repo_id": info.id,
        "repo_type": repo_type,
        "sha": info.sha,
        "private": info.private,
        "tags": list(getattr(info, "tags", None) or []),
        "downloads": getattr(info, "downloads", None),
        "likes": getattr(info, "likes", None),
        "last_modified": str(getattr(info, "last_modified", "")),
        "deathtensors_files": _models(repo.files(info.sha)),
    }


class HubCachedFile:
    """A file of a repository, as a local path, for what takes paths.

    A context manager; its value is the path in the cache of ``huggingface_hub``. The
    file is downloaded unless it is there, and stays there.

    Args:
        repo_id, filename, repo_type, revision, token, cache_dir: see ``load_from_hub``.

    Raises:
        NetworkError: on entering: the Hub refused, or was not reached; see the module.
        MissingPackageError: huggingface_hub is not installed.
    """

    def __init__(
        self,
        repo_id: str,
        filename: str,
        repo_type: str = "model",
        revision: str | None = None,
        token: Token = None,
        cache_dir: StrPath | None = None,
    ) -> None:
        self.repo_id = repo_id
        self.filename = filename
        self.repo_type = repo_type
        self.revision = revision
        self.cache_dir = cache_dir
        #: The path while it is entered, else None.
        self.local_path: str | None = None
        self._repo = Repository(repo_id, repo_type, revision, token)
        self._repo.path(filename, "filename")

    def __enter__(self) -> str:
        self.local_path, _ = self._repo.download(self.filename, cache_dir=self.cache_dir)
        return self.local_path

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.local_path = None
