"""Writing files: from tensors, from raw bytes, and from safetensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Optional, cast

from . import _deathtensors, errors
from ._arguments import flag, known_limits, level, natural, not_itself
from ._elsewhere import connect, is_elsewhere, ranges
from ._file import DtFile
from ._paths import Exact, expand_path, with_extension
from ._sources import sources, string_mapping, tuple_sources

if TYPE_CHECKING:
    from ._deathtensors import Progress
    from ._elsewhere import RemoteArgument, Source
    from ._paths import StrPath

#: name, dtype, shape, data, metadata
TensorTuple = tuple[str, str, Sequence[int], Any, Optional[Mapping[str, str]]]

#: The largest shard unless told otherwise: 5 GiB.
MAX_SHARD_BYTES = 5 * 1024**3


def save(
    path: StrPath,
    tensors: Mapping[str, Any],
    metadata: Mapping[str, Mapping[str, str]] | None = None,
    global_metadata: Mapping[str, str] | None = None,
    checksum: bool = False,
    compress: bool = False,
    compress_level: int = 3,
    *,
    digests: bool = False,
    alignment: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Save tensors to one file.

    Data goes from where it is straight to the file; only tensors that are not
    contiguous, or not in CPU memory, are copied, one at a time. Values that share
    memory, dtype and shape (tied weights) are stored once. The file appears whole or
    not at all: an existing one stays as it is until the new one is complete.

    Args:
        path: the file to write; ``~`` and ``$VARIABLES`` are expanded.
        tensors: values by name: torch tensors of any strides or device, numpy
            arrays, ``(dtype, shape, data)`` tuples, mappings with ``dtype``,
            ``shape``, ``data`` and maybe ``metadata``, or anything with DLPack or
            the buffer protocol. ``data`` is bytes, little-endian and row-major, or
            a function without arguments that returns them when it is their turn.
        metadata: strings for each tensor, ``{tensor name: {key: value}}``.
        global_metadata: strings for the file, ``{key: value}``.
        checksum: end the file in a SHA-256 footer.
        compress: compress the data with zstd, in frames, so that single tensors
            and rows can still be read alone.
        compress_level: zstd's level, 1 (fast) to 22 (small).
        digests: give every tensor a SHA-256 digest and the file a root digest, so
            that it can be pinned, and checked piece by piece.
        alignment: let every tensor start at a multiple of so many bytes, a power of
            two; None for its element size.
        progress: called now and then with bytes done and bytes in all; an exception
            from it cancels the saving.

    Raises:
        UsageError: a value, name, or option cannot be used.
        FileAccessError: the file cannot be written.

    >>> import numpy, deathtensors as dt
    >>> tensors = {"weight": numpy.ones((4, 4), "float32"), "bias": numpy.zeros(4)}
    >>> dt.save("example.deathtensors", tensors, checksum=True)
    >>> dt.open("example.deathtensors").keys()
    ['weight', 'bias']
    """
    _deathtensors.save(
        expand_path(path),
        sources(tensors, metadata),
        string_mapping(global_metadata, "global metadata"),
        checksum=flag(checksum, "checksum"),
        compress=flag(compress, "compress"),
        compress_level=level(compress_level),
        digests=flag(digests, "digests"),
        alignment=_alignment(alignment),
        progress=progress,
    )


def save_file(
    path: StrPath,
    tensors: Iterable[TensorTuple],
    global_metadata: Mapping[str, str] | None = None,
    checksum: bool = False,
    compress: bool = False,
    compress_level: int = 3,
    *,
    digests: bool = False,
    alignment: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Save raw bytes: tuples of ``(name, dtype, shape, data, metadata)``.

    Args:
        path: the file to write.
        tensors: any iterable of tuples. ``data`` is anything with the buffer
            protocol, little-endian and row-major, or a function without arguments
            that returns it when it is its turn; ``metadata`` a mapping or None.
        global_metadata, checksum, compress, compress_level, digests, alignment,
            progress: see ``save``.

    Raises:
        UsageError: data is not as long as dtype and shape say, a name stands twice,
            or an option cannot be used.
        FileAccessError: the file cannot be written.

    >>> import deathtensors as dt
    >>> dt.save_file("example.deathtensors", [("w", "I16", [2], bytes(4), {})])
    >>> dt.open("example.deathtensors").info("w")["nbytes"]
    4
    """
    _deathtensors.save(
        expand_path(path),
        tuple_sources(tensors),
        string_mapping(global_metadata, "global metadata"),
        checksum=flag(checksum, "checksum"),
        compress=flag(compress, "compress"),
        compress_level=level(compress_level),
        digests=flag(digests, "digests"),
        alignment=_alignment(alignment),
        progress=progress,
    )


def append(
    path: StrPath,
    tensors: Mapping[str, Any],
    metadata: Mapping[str, Mapping[str, str]] | None = None,
    extra_global_metadata: Mapping[str, str] | None = None,
    *,
    digests: bool | None = None,
    alignment: int | None = None,
    compress_level: int = 3,
    limits: Mapping[str, int] | None = None,
    progress: Progress | None = None,
) -> None:
    """Add tensors to a file.

    The file's compression and checksum stay as they are. Old data is copied by the
    operating system, compressed frames as they are, and the old file is whole until
    the new one is complete.

    Args:
        path: the file to add to.
        tensors, metadata, compress_level, progress: see ``save``; no name may be in
            the file already.
        extra_global_metadata: strings to add to the file's; keys that it has already
            keep their value.
        digests: whether the new tensors get digests; None for as the file has.
        alignment: of the new tensors, see ``save``.
        limits: what the file may ask for, see ``DtFile``.

    Raises:
        UsageError: a name exists already, a value cannot be used, or the file is the
            index of a sharded model.
        MissingFileError: no file has that path.

    >>> import numpy, deathtensors as dt
    >>> dt.save("example.deathtensors", {"a": numpy.zeros(2)})
    >>> dt.append("example.deathtensors", {"b": numpy.ones(3)})
    >>> dt.open("example.deathtensors").keys()
    ['a', 'b']
    """
    _deathtensors.append(
        expand_path(path),
        sources(tensors, metadata),
        string_mapping(extra_global_metadata, "extra global metadata"),
        digests=None if digests is None else flag(digests, "digests"),
        alignment=_alignment(alignment),
        compress_level=level(compress_level),
        limits=known_limits(limits),
        progress=progress,
    )


def append_file(
    path: StrPath,
    tensors: Iterable[TensorTuple],
    extra_global_metadata: Mapping[str, str] | None = None,
    *,
    digests: bool | None = None,
    alignment: int | None = None,
    compress_level: int = 3,
    limits: Mapping[str, int] | None = None,
    progress: Progress | None = None,
) -> None:
    """Add raw bytes to a file: ``append`` for the tuples that ``save_file`` takes.

    >>> import deathtensors as dt
    >>> dt.save_file("example.deathtensors", [("a", "U8", [2], b"ab", None)])
    >>> dt.append_file("example.deathtensors", [("b", "U8", [3], b"cde", None)])
    >>> dt.open("example.deathtensors").get_bytes("b")
    b'cde'
    """
    _deathtensors.append(
        expand_path(path),
        tuple_sources(tensors),
        string_mapping(extra_global_metadata, "extra global metadata"),
        digests=None if digests is None else flag(digests, "digests"),
        alignment=_alignment(alignment),
        compress_level=level(compress_level),
        limits=known_limits(limits),
        progress=progress,
    )


def save_sharded(
    path: StrPath,
    tensors: Mapping[str, Any],
    max_shard_bytes: int = MAX_SHARD_BYTES,
    metadata: Mapping[str, Mapping[str, str]] | None = None,
    global_metadata: Mapping[str, str] | None = None,
    checksum: bool = True,
    compress: bool = False,
    compress_level: int = 3,
    *,
    digests: bool = False,
    alignment: int | None = None,
    progress: Progress | None = None,
) -> list[str]:
    """Save tensors to several files and an index.

    The index is written to ``path``; the shards stand beside it and are named
    ``<stem>-00001-of-00003.deathtensors`` and so on. Each shard is an ordinary file.
    Read them together with ``open_sharded(path)``.

    Args:
        path: the index file.
        max_shard_bytes: the most tensor bytes in one shard; a tensor larger than
            that has a shard to itself.
        tensors, metadata, global_metadata, checksum, compress, compress_level,
            digests, alignment, progress: see ``save``. With ``digests`` the index
            carries each shard's root, so that one root pins the whole model.

    Returns:
        The paths of the shards, without the index.

    >>> import numpy, deathtensors as dt
    >>> tensors = {"a": numpy.zeros(100), "b": numpy.ones(100)}
    >>> len(dt.save_sharded("sharded.deathtensors", tensors, max_shard_bytes=1000))
    2
    """
    return _deathtensors.save_sharded(
        expand_path(path),
        sources(tensors, metadata),
        natural(max_shard_bytes, "max_shard_bytes"),
        string_mapping(global_metadata, "global metadata"),
        checksum=flag(checksum, "checksum"),
        compress=flag(compress, "compress"),
        compress_level=level(compress_level),
        digests=flag(digests, "digests"),
        alignment=_alignment(alignment),
        progress=progress,
    )


def from_safetensors(
    src: Source,
    dst: StrPath | None = None,
    checksum: bool = True,
    compress: bool = False,
    *,
    compress_level: int = 3,
    digests: bool = False,
    alignment: int | None = None,
    limits: Mapping[str, int] | None = None,
    remote: RemoteArgument = None,
    progress: Progress | None = None,
) -> str:
    """Convert a ``.safetensors`` file; neither torch nor safetensors is needed.

    Order, dtypes, shapes, bytes and ``__metadata__`` are kept, so that converting
    back gives the same tensors.

    Args:
        src: the file to read; or a URL or a file object, as for ``open``, which is read
            once and never stored, and for which ``dst`` must be given.
        dst: the file to write; None for the same name with ``.deathtensors``.
        limits, remote: as for ``open``.
        checksum, compress, compress_level, digests, alignment, progress: see ``save``.

    Returns:
        The path that was written.

    Raises:
        FormatError: ``src`` breaks the rules of safetensors.
        MissingFileError: there is no ``src``.
    """
    options: dict[str, Any] = {
        "checksum": flag(checksum, "checksum"),
        "compress": flag(compress, "compress"),
        "compress_level": level(compress_level),
        "digests": flag(digests, "digests"),
        "alignment": _alignment(alignment),
        "limits": known_limits(limits),
        "progress": progress,
    }
    if is_elsewhere(src):
        if dst is None:
            raise errors.usage("dst must say where to write what is read from elsewhere")
        target = expand_path(dst)
        transfer = connect(src, remote)
        try:
            _deathtensors.from_safetensors(ranges(transfer), target, **options)
        finally:
            transfer.close()
        return target
    source = expand_path(cast("StrPath", src))
    target = _target(source, dst, _deathtensors.CANONICAL_EXTENSION)
    not_itself(source, target)
    _deathtensors.from_safetensors(source, target, **options)
    return target


def to_safetensors(
    src: StrPath,
    dst: StrPath | None = None,
    *,
    limits: Mapping[str, int] | None = None,
    progress: Progress | None = None,
) -> str:
    """Convert to a ``.safetensors`` file; neither torch nor safetensors is needed.

    Order, dtypes, shapes, bytes and metadata are kept. The metadata of single tensors,
    for which safetensors has no place, goes into the file's, under
    ``deathtensors.tensor_metadata``.

    Args:
        src: the file to read.
        dst: the file to write; None for the same name with ``.safetensors``.
        limits: as for ``open``.
        progress: called now and then with bytes done and bytes in all.

    Returns:
        The path that was written.

    Raises:
        UsageError: ``src`` is a shard index, which holds no tensors itself.
        UnsupportedError: safetensors has no such dtype.
        FormatError: a tensor is named ``__metadata__``, or ``src`` is refused.
    """
    source = expand_path(src)
    target = _target(source, dst, ".safetensors")
    not_itself(source, target)
    with DtFile(Exact(source), limits=limits) as file:
        if file._is_index:
            raise errors.usage(
                f"{source} is a shard index and holds no tensors itself; merge it first"
            )
    _deathtensors.to_safetensors(source, target, limits=known_limits(limits), progress=progress)
    return target


def write_manifest(
    dt_path: StrPath,
    manifest_path: StrPath | None = None,
    *,
    limits: Mapping[str, int] | None = None,
) -> str:
    """Write a file's catalogue as JSON beside it, for tools that read no tensors.

    Args:
        dt_path: the file to describe.
        manifest_path: where to write; None for ``dt_path`` with ``.json`` added.
        limits: as for ``open``.

    Returns:
        The path that was written.

    >>> import numpy, deathtensors as dt
    >>> dt.save("example.deathtensors", {"w": numpy.zeros((2, 3), "float32")})
    >>> dt.read_manifest(dt.write_manifest("example.deathtensors"))["tensors"]["w"]["shape"]
    [2, 3]
    """
    from datetime import datetime, timezone

    source = expand_path(dt_path)
    target = expand_path(manifest_path) if manifest_path is not None else source + ".json"
    not_itself(source, target)
    with DtFile(Exact(source), limits=limits) as file:
        written_at = datetime.now(timezone.utc).isoformat()
        _deathtensors.write_manifest(file._raw, target, written_at)
    return target


def read_manifest(
    manifest_path: StrPath, *, limits: Mapping[str, int] | None = None
) -> dict[str, Any]:
    """Read what ``write_manifest`` wrote.

    Args:
        manifest_path: the file to read.
        limits: as for ``open``; its text may be 16 times as long as a header.

    Returns:
        deathtensors_version, format_version, magic, global_metadata, tensors (each
        as ``info()`` gives it) and written_at.

    Raises:
        FormatError: the file is not a manifest.
        MissingFileError: no file has that path.
    """
    return _deathtensors.read_manifest(expand_path(manifest_path), limits=known_limits(limits))


def _alignment(alignment: int | None) -> int:
    return 1 if alignment is None else natural(alignment, "alignment")


def _target(source: str, dst: StrPath | None, extension: str) -> str:
    return with_extension(source, extension) if dst is None else expand_path(dst)
