"""From safetensors to deathtensors, on the Hub.

The source is read by ranges, all of it from one commit, and never stored here; what
is made of it is stored once, in a folder for temporary files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any, Optional

from .. import _deathtensors, errors
from .._arguments import flag, known_limits, words_or_none
from .._elsewhere import connect, ranges
from .._file import DtFile
from .._paths import Exact, with_extension
from .._rooms import workroom
from .._write import append, save
from ._load import with_token
from ._problems import moved
from ._push import write_sidecar
from ._repository import Repository
from ._same import check_same

if TYPE_CHECKING:
    from .._deathtensors import Progress
    from ._repository import Token

    #: A shard's file name, the names of its tensors, their bytes, and its root.
    _Listed = tuple[str, list[str], int, Optional[str]]

_INDEX = ".safetensors.index.json"
#: Files up to this size are sent with the commit, or else as the Hub says.
_SMALL = 10 << 20


def convert_safetensors_on_hub(
    repo_id: str,
    safetensors_filename: str,
    deathtensors_filename: str | None = None,
    repo_type: str = "model",
    revision: str | None = None,
    token: Token = None,
    compress: bool = False,
    delete_original: bool = False,
    commit_message: str | None = None,
    *,
    digests: bool = False,
    manifest: bool = True,
    limits: Mapping[str, int] | None = None,
    progress: Progress | None = None,
) -> str:
    """Convert a safetensors file of a repository, in one commit to the same repository.

    A sharded model is converted as a whole when its index is named
    (``model.safetensors.index.json``): each shard becomes one, and takes room on this
    machine only while it is its turn.

    If anybody commits to the branch meanwhile, nothing is changed. The original is
    deleted only after each of its tensors was read again and compared with what was
    written; on the Hub it stays in the history.

    Args:
        repo_id: ``namespace/name``.
        safetensors_filename: the file to convert, or the index of a sharded model.
        deathtensors_filename: the file to write; None for the same name with
            ``.deathtensors``. Of a sharded model it is the index, and shards are named
            after it.
        repo_type: "model", "dataset" or "space".
        revision: the branch; None for ``main``.
        token: see the module.
        compress: compress the data with zstd.
        delete_original: delete what was converted, in the same commit.
        commit_message: the commit's title.
        digests: carry a SHA-256 for each tensor, and a root that pins the whole.
        manifest: put the catalogue beside each file, as ``<path>.json``.
        limits: what the source may ask for, see ``DtFile``.
        progress: called now and then with bytes done and bytes in all, for each file.

    Returns:
        The address of the new file's page.

    Raises:
        FormatError: the source breaks the rules of safetensors, or an index is not one, or
            names shards in other folders.
        IntegrityError: a tensor that was written differs from its original.
        NetworkError: the Hub refused, or was not reached, or somebody committed
            meanwhile (``network.changed``); see the module.
        UsageError: the original is the target.
        MissingPackageError: huggingface_hub is not installed.
    """
    repo = Repository(repo_id, repo_type, revision, token)
    source = repo.path(safetensors_filename, "safetensors_filename")
    sharded = source.endswith(_INDEX)
    target = words_or_none(deathtensors_filename, "deathtensors_filename")
    target = repo.path(target or _target(source, sharded), "deathtensors_filename")
    message = words_or_none(commit_message, "commit_message")
    message = message or _message(source, flag(delete_original, "delete_original"))
    if not target.endswith((_deathtensors.CANONICAL_EXTENSION, _deathtensors.LEGACY_EXTENSION)):
        raise errors.usage(
            "the name of the new file says that it is something else",
            expected=f"a name that ends in {_deathtensors.CANONICAL_EXTENSION}",
            found=target,
        )
    repo.need_token("commit")
    job = _Job(
        repo,
        compress=flag(compress, "compress"),
        delete=flag(delete_original, "delete_original"),
        digests=flag(digests, "digests"),
        manifest=flag(manifest, "manifest"),
        limits=known_limits(limits),
        progress=progress,
    )
    gone = job.convert_model(source, target) if sharded else job.convert_file(source, target)
    job.commit(message, gone)
    return repo.url(target)


def _target(source: str, sharded: bool) -> str:
    end = _deathtensors.CANONICAL_EXTENSION
    if sharded:
        return source[: -len(_INDEX)] + end
    return with_extension(source, end) if source.endswith(".safetensors") else source + end


def _message(source: str, delete: bool) -> str:
    end = ", and delete it" if delete else ""
    return f"Convert {source} to deathtensors{end}"


class _Job:
    """One conversion: what it reads, all of one commit, and what it will commit."""

    def __init__(
        self,
        repo: Repository,
        *,
        compress: bool,
        delete: bool,
        digests: bool,
        manifest: bool,
        limits: Mapping[str, int] | None,
        progress: Progress | None,
    ) -> None:
        self._repo = repo
        self._compress, self.delete, self._manifest = compress, delete, manifest
        self._digests = digests
        self._limits = limits
        self._progress = progress
        self._base: str = repo.info().sha
        repo.check_writable()
        self._additions: list[Any] = []

    # --- one file

    def convert_file(self, source: str, target: str) -> list[str]:
        """Convert and send one file; returns what may be deleted then."""
        self._convert(source, target)
        return [source]

    def _convert(
        self,
        source: str,
        target: str,
        marks: Mapping[str, str] | None = None,
        names: list[str] | None = None,
    ) -> _Listed:
        """Convert and send one file.

        Args:
            source: the file of safetensors.
            target: the file to make of it.
            marks: metadata to add.
            names: the tensors that it must hold, if they are known.

        Returns:
            What an index says about it.
        """
        address = self._repo.address(source, self._base)
        with workroom() as room:
            path = os.path.join(room, os.path.basename(target))
            with closing(connect(address, with_token(self._repo, None))) as transfer:
                _deathtensors.from_safetensors(
                    ranges(transfer),
                    path,
                    checksum=True,
                    compress=self._compress,
                    digests=self._digests,
                    limits=self._limits,
                    progress=self._progress,
                )
            if marks:
                append(Exact(path), {}, extra_global_metadata=marks)
            with DtFile(Exact(path)) as file:
                found, root = file.keys(), file.root
                size = sum(info["nbytes"] for info in file.infos())
            if names is not None and sorted(names) != sorted(found):
                raise _mismatch(source, names, found)
            if self.delete:
                # Connected anew, so that nothing of the first reading is trusted.
                with closing(connect(address, with_token(self._repo, None))) as transfer:
                    check_same(transfer, path)
            self._send(target, path, room)
        return os.path.basename(target), found, size, root

    # --- a sharded model

    def convert_model(self, source: str, target: str) -> list[str]:
        """Convert and send all shards and the index; returns what may be deleted then."""
        shards, said = self._read_index(source)
        stem, extension = os.path.splitext(target)
        listed = []
        for nth, (shard, names) in enumerate(shards):
            name = _deathtensors.shard_name(stem, nth, len(shards), extension)
            marks = _deathtensors.shard_metadata(nth, len(shards), {})
            listed.append(self._convert(_beside(source, shard), name, marks, names))
        with workroom() as room:
            path = os.path.join(room, os.path.basename(target))
            metadata = _deathtensors.index_metadata(listed, said)
            save(path, {}, global_metadata=metadata, checksum=True, digests=self._digests)
            self._send(target, path, room)
        return [source, *(_beside(source, shard) for shard, _ in shards)]

    def _read_index(self, source: str) -> tuple[list[tuple[str, list[str]]], dict[str, str]]:
        """The shards and their tensors, sorted by the shards' names, and the metadata."""
        path, _ = self._repo.download(source, commit=self._base)
        with open(path, "rb") as file:
            # One byte more than may be, so that it is refused.
            text = file.read({**_deathtensors.LIMITS, **(self._limits or {})}["header_bytes"] + 1)
        shards = _deathtensors.read_safetensors_index(text, limits=self._limits)
        if not shards:
            message = f"{source}: the index names no shards"
            raise errors.make("shards.list", "format", message, path=source)
        metadata = json.loads(text).get("metadata")
        # What is no text is told as JSON; sizes are of the original's files.
        said = {
            key: value if isinstance(value, str) else json.dumps(value)
            for key, value in (metadata.items() if isinstance(metadata, dict) else ())
            if key != "total_size"
        }
        return sorted(shards), said

    # --- what is sent

    def _send(self, target: str, path: str, room: str) -> None:
        """Upload a file; the commit will name it. It may be deleted then."""
        content: str | bytes = path
        if os.path.getsize(path) <= _SMALL:  # the Hub may want it with the commit
            with open(path, "rb") as file:
                content = file.read()
        addition = self._repo.addition(target, content)
        self._check_unmoved()
        self._repo.upload(addition)
        self._additions.append(addition)
        if self._manifest:
            with open(write_sidecar(path, room), "rb") as file:
                sidecar = self._repo.addition(f"{target}.json", file.read())
            self._additions.append(sidecar)

    def _check_unmoved(self) -> None:
        """Refuse to send what could not be committed any more."""
        if self._repo.info().sha != self._base:
            raise moved(self._repo)

    def commit(self, message: str, gone: list[str]) -> None:
        """Commit all of it, unless somebody was faster."""
        self._repo.commit(
            message,
            self._additions,
            deleted=gone if self.delete else (),
            parent=self._base,
        )


def _beside(index: str, shard: str) -> str:
    folder = index.rpartition("/")[0]
    return f"{folder}/{shard}" if folder else shard


def _mismatch(source: str, names: list[str], found: list[str]) -> errors.DeathTensorsError:
    odd = min({*names} ^ {*found})
    whose = "the index" if odd in names else "the shard"
    message = f"{source}: only {whose} has the tensor '{odd}'"
    return errors.make("shards.mismatch", "format", message, odd, path=source)
