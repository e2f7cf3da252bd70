"""A model in several files, read as one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast
from weakref import finalize

from . import _deathtensors
from ._arguments import looked_up, open_options
from ._elsewhere import cannot_travel, connect, is_elsewhere, ranges, refuse_backend
from ._file import DtFile
from ._paths import absolute, expand_path
from ._reader import Reader
from ._text import plural

if TYPE_CHECKING:
    from ._deathtensors import File, Progress, Ranges, Sharded
    from ._elsewhere import RemoteArgument, Source
    from ._paths import StrPath
    from ._remote import Transfer


class ShardedReader(Reader):
    """The tensors of a shard index; each shard is opened when first needed.

    A ShardedReader is a context manager, iterates over names, may be used from
    several threads, and pickles by path.

    Args:
        index_path: the index, the file without ``-00001-of-00003`` in its name.
        verify: check everything that a file carries when it is opened.
        root: the index's root digest, which pins the shards too.
        backend, limits, remote: see ``DtFile``; the index may be a URL too, and then its
            shards are of the same revision.

    Raises:
        MissingFileError: no file has that path.
        FormatError: the file is not a shard index, or is refused.

    >>> import numpy, deathtensors as dt
    >>> shards = dt.save_sharded("sharded.deathtensors", {"w": numpy.ones(4)})
    >>> with dt.open_sharded("sharded.deathtensors") as model:
    ...     print(model.which_shard("w"), model.get_tensor("w", "numpy"))
    sharded-00001-of-00001.deathtensors [1. 1. 1. 1.]
    """

    _raw: Sharded

    def __init__(
        self,
        index_path: Source,
        verify: bool = False,
        *,
        root: str | None = None,
        backend: str = "auto",
        limits: Mapping[str, int] | None = None,
        remote: RemoteArgument = None,
    ) -> None:
        self._options = open_options(verify, root, backend, limits)
        self._remote = remote
        self._transfers: list[Transfer] = []
        if is_elsewhere(index_path):
            self._open_remote(index_path)
        else:
            self._open_path(cast("StrPath", index_path))

    def _open_path(self, index_path: StrPath) -> None:
        verify, root, backend, limits = self._options
        expanded = expand_path(index_path)
        self._home: StrPath | None = absolute(expanded)
        self._raw = _deathtensors.Sharded(
            expanded, verify=verify, root=root, backend=backend, limits=limits
        )

    def _open_remote(self, source: Source) -> None:
        verify, root, backend, limits = self._options
        refuse_backend(backend)
        index = connect(source, self._remote)
        transfers = self._transfers
        transfers.append(index)

        def open_shard(name: str) -> Ranges:
            transfer = index.sibling(name)
            transfers.append(transfer)
            return ranges(transfer)

        try:
            self._raw = _deathtensors.Sharded.remote(
                ranges(index), open_shard, verify=verify, root=root, limits=limits
            )
        except BaseException:
            _close_all(transfers)
            raise
        finalize(self, _close_all, transfers)
        self._home = index.pinned

    def _file(self, name: str) -> File:
        return self._raw.file(looked_up(name))

    def _files(self) -> Iterator[File]:
        for index in range(len(self._raw.shard_names())):
            yield self._raw.shard(index)

    @property
    def index_path(self) -> str:
        """The path of the index, expanded."""
        return self._raw.path

    @property
    def counters(self) -> dict[str, int] | None:
        """What index and shards have cost together; see ``DtFile.counters``."""
        # Transfers of one index count together.
        return self._transfers[0].counters if self._transfers else None

    def close(self) -> None:
        """Let go of all files. Tensors and buffers already read stay valid."""
        self._raw.close()
        _close_all(self._transfers)

    @property
    def root(self) -> str | None:
        """The index's root digest, which pins every shard; None without digests."""
        return self._raw.root

    def which_shard(self, name: str) -> str:
        """The file name of the shard that holds a tensor.

        Raises:
            TensorNotFoundError: no tensor has that name.
        """
        return self._raw.which_shard(looked_up(name))

    def shard_paths(self) -> list[str]:
        """The paths of all shards, in order."""
        return self._raw.shard_paths()

    def verify_report(self, *, progress: Progress | None = None) -> dict[str, Any]:
        """Check index and shards like ``verify()``, but tell rather than raise.

        Returns:
            As for a DtFile, with all files taken together: False where any differs,
            None where any carries nothing to check by; and files, the report of each
            by its file name.
        """
        index = self._open_index()
        reports = {os.path.basename(self.index_path): index.verify()}
        index.close()
        for name, file in zip(self._raw.shard_names(), self._files()):
            reports[name] = file.verify(progress=progress)
        parts = list(reports.values())
        return {
            **{what: _together([part[what] for part in parts]) for what in ("footer", "root")},
            "frames": _together([part["frames"] for part in parts[1:]]),
            "tensors": {name: good for part in parts for name, good in part["tensors"].items()},
            "errors": [error for part in parts for error in part["errors"]],
            "files": reports,
        }

    def _open_index(self) -> File:
        """The index as a file of its own: the very one that was opened, where it is remote."""
        limits = self._options[3]
        if self._transfers:
            return _deathtensors.File.remote(ranges(self._transfers[0]), limits=limits)
        return _deathtensors.File(os.fspath(cast("StrPath", self._home)), limits=limits)

    def __repr__(self) -> str:
        tensors = plural(len(self), "tensor")
        shards = plural(len(self._raw.shard_names()), "shard")
        return f"<deathtensors.ShardedReader {self.index_path!r} with {tensors} in {shards}>"

    def __reduce__(self) -> tuple[Any, ...]:
        if self._home is None:
            raise cannot_travel(self.index_path)
        return _reopen, (type(self), self._home, *self._options, self._remote)


def _close_all(transfers: list[Transfer]) -> None:
    for transfer in transfers:
        transfer.close()


def open_sharded(
    index_path: Source,
    verify: bool = False,
    *,
    root: str | None = None,
    backend: str = "auto",
    limits: Mapping[str, int] | None = None,
    remote: RemoteArgument = None,
) -> ShardedReader:
    """Open a model in several files. See ``ShardedReader`` for the arguments."""
    return ShardedReader(
        index_path, verify, root=root, backend=backend, limits=limits, remote=remote
    )


def is_index(file: DtFile) -> bool:
    """Whether a file is a shard index rather than a file of tensors."""
    return file._is_index


def open_any(
    path: Source,
    verify: bool = False,
    *,
    root: str | None = None,
    backend: str = "auto",
    limits: Mapping[str, int] | None = None,
    remote: RemoteArgument = None,
) -> DtFile | ShardedReader:
    """Open a file, or, when it is a shard index, the whole model."""
    file = DtFile(path, verify, root=root, backend=backend, limits=limits, remote=remote)
    if not is_index(file):
        return file
    # The same content, if it is a remote one that changes meanwhile.
    again = path if file._home is None else file._home
    file.close()
    return ShardedReader(again, verify, root=root, backend=backend, limits=limits, remote=remote)


def _together(checks: list[bool | None]) -> bool | None:
    if False in checks:
        return False
    return None if None in checks or not checks else True


def _reopen(
    cls: type[ShardedReader],
    path: StrPath,
    verify: bool,
    root: str | None,
    backend: str,
    limits: Mapping[str, int] | None,
    remote: RemoteArgument = None,
) -> ShardedReader:
    return cls(path, verify, root=root, backend=backend, limits=limits, remote=remote)
