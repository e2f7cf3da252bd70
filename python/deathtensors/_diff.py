"""What differs between two files, or two models in several files."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from . import _deathtensors
from ._arguments import flag
from ._file import DtFile
from ._sharded import ShardedReader, open_any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._deathtensors import Progress
    from ._elsewhere import RemoteArgument, Source


def diff(
    path_a: Source | DtFile | ShardedReader,
    path_b: Source | DtFile | ShardedReader,
    *,
    compare_bytes: bool = False,
    limits: Mapping[str, int] | None = None,
    remote: RemoteArgument = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Compare two files, from a to b.

    Where both carry a digest of a tensor, the digests are compared and its bytes are
    not read: a difference that came after the digests, by damage, goes unseen then;
    ``compare_bytes`` reads the bytes. Either path may be a shard index: then the
    whole model is compared.

    Args:
        path_a, path_b: the files, as paths, as URLs, or already open.
        compare_bytes: read and compare the bytes all the same.
        limits, remote: as for ``open``, of files that are not open yet.
        progress: called now and then with bytes done and bytes in all.

    Returns:
        added and removed: names only in b, only in a; shape_changed, dtype_changed
        and metadata_changed: ``{name: (in a, in b)}``; value_changed: names of equal
        dtype and shape whose bytes differ; global_metadata_changed: ``(a, b)`` or
        None; equal: whether there is no difference at all.

    >>> import numpy, deathtensors as dt
    >>> dt.save("a.deathtensors", {"w": numpy.zeros(2)})
    >>> dt.save("b.deathtensors", {"w": numpy.ones(2)})
    >>> dt.diff("a.deathtensors", "b.deathtensors")["value_changed"]
    ['w']
    """
    compare_bytes = flag(compare_bytes, "compare_bytes")
    with _opened(path_a, limits, remote) as a, _opened(path_b, limits, remote) as b:
        if isinstance(a, DtFile) and isinstance(b, DtFile):
            return _deathtensors.diff(
                a._raw, b._raw, compare_bytes=compare_bytes, progress=progress
            )
        return _diff_models(a, b, compare_bytes, progress)


def _opened(
    file: Source | DtFile | ShardedReader,
    limits: Mapping[str, int] | None,
    remote: RemoteArgument,
) -> AbstractContextManager[DtFile | ShardedReader]:
    # What the caller opened stays open.
    if isinstance(file, (DtFile, ShardedReader)):
        return nullcontext(file)
    return open_any(file, limits=limits, remote=remote)


def _diff_models(
    a: DtFile | ShardedReader,
    b: DtFile | ShardedReader,
    compare_bytes: bool,
    progress: Progress | None,
) -> dict[str, Any]:
    names_a, names_b = a.keys(), b.keys()
    common = set(names_a).intersection(names_b)
    found: dict[str, Any] = {
        "added": sorted(set(names_b) - common),
        "removed": sorted(set(names_a) - common),
        "shape_changed": {},
        "dtype_changed": {},
        "value_changed": [],
        "metadata_changed": {},
    }
    # Every pair of files that have a tensor in common, compared as files are.
    pairs = {
        (_file_name(a, name), _file_name(b, name)): (a._file(name), b._file(name))
        for name in names_a
        if name in common
    }
    for file_a, file_b in pairs.values():
        part = _deathtensors.diff(file_a, file_b, compare_bytes=compare_bytes, progress=progress)
        for what in ("shape_changed", "dtype_changed", "metadata_changed"):
            found[what].update(part[what])
        found["value_changed"] += part["value_changed"]
    for what in ("shape_changed", "dtype_changed", "metadata_changed"):
        found[what] = dict(sorted(found[what].items()))
    found["value_changed"].sort()
    meta_a, meta_b = a.metadata(), b.metadata()
    found["global_metadata_changed"] = (meta_a, meta_b) if meta_a != meta_b else None
    found["equal"] = not any(found.values())
    return found


def _file_name(reader: DtFile | ShardedReader, name: str) -> str:
    return reader.which_shard(name) if isinstance(reader, ShardedReader) else ""
