"""A model in several files, read as one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from . import _deathtensors
from ._arguments import looked_up, open_options
from ._file import DtFile
from ._paths import expand_path
from ._reader import Reader
from ._text import plural

if TYPE_CHECKING:
    from ._deathtensors import File, Progress, Sharded
    from ._paths import StrPath


class ShardedReader(Reader):
    """The tensors of a shard index; each shard is opened when first needed.

    A ShardedReader is a context manager, iterates over names, may be used from
    several threads, and pickles by path.

    Args:
        index_path: the index, the file without ``-00001-of-00003`` in its name.
        verify: check everything that a file carries when it is opened.
        root: the index's root digest, which pins the shards too.
        backend, limits: see ``DtFile``.

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
        index_path: StrPath,
        verify: bool = False,
        *,
        root: str | None = None,
        backend: str = "auto",
        limits: Mapping[str, int] | None = None,
    ) -> None:
        self._options = open_options(verify, root, backend, limits)
        verify, root, backend, limits = self._options
        expanded = expand_path(index_path)
        self._home = os.path.join(os.getcwd(), expanded)
        self._raw = _deathtensors.Sharded(
            expanded, verify=verify, root=root, backend=backend, limits=limits
        )

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
        with DtFile(self.index_path) as index:
            reports = {os.path.basename(self.index_path): index.verify_report()}
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

    def __repr__(self) -> str:
        tensors = plural(len(self), "tensor")
        shards = plural(len(self._raw.shard_names()), "shard")
        return f"<deathtensors.ShardedReader {self.index_path!r} with {tensors} in {shards}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (type(self), self._home, *self._options)


def open_sharded(
    index_path: StrPath,
    verify: bool = False,
    *,
    root: str | None = None,
    backend: str = "auto",
    limits: Mapping[str, int] | None = None,
) -> ShardedReader:
    """Open a model in several files. See ``ShardedReader`` for the arguments."""
    return ShardedReader(index_path, verify, root=root, backend=backend, limits=limits)


def is_index(file: DtFile) -> bool:
    """Whether a file is a shard index rather than a file of tensors."""
    return not len(file) and file.metadata().get("deathtensors.sharded") == "true"


def open_any(
    path: StrPath,
    verify: bool = False,
    *,
    root: str | None = None,
    backend: str = "auto",
    limits: Mapping[str, int] | None = None,
) -> DtFile | ShardedReader:
    """Open a file, or, when it is a shard index, the whole model."""
    file = DtFile(path, verify, root=root, backend=backend, limits=limits)
    if not is_index(file):
        return file
    file.close()
    return ShardedReader(path, verify, root=root, backend=backend, limits=limits)


def _together(checks: list[bool | None]) -> bool | None:
    if False in checks:
        return False
    return None if None in checks or not checks else True


def _reopen(
    cls: type[ShardedReader],
    path: str,
    verify: bool,
    root: str | None,
    backend: str,
    limits: Mapping[str, int] | None,
) -> ShardedReader:
    return cls(path, verify, root=root, backend=backend, limits=limits)
