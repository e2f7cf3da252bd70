"""The compiled module: everything about the format, from the Rust core.

Private. The public API in ``deathtensors`` is a thin layer over it. A *source*
is the tuple ``(name, dtype, shape, data, metadata, tie)``: ``data`` is an object
with the buffer protocol (C-contiguous), or with ``__dlpack__`` (contiguous, in
CPU memory), or a callable without arguments that returns one when it is its
turn to be written; ``tie`` is any hashable, and sources with the same ``tie``,
dtype and shape are stored once. A *progress* is called with bytes done and bytes
in all, now and then, from the calling thread; what it raises cancels the work.
Lengths and offsets are in bytes, ends are exclusive.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, TypeAlias, final

__version__: str
MAGIC: bytes
FORMAT_VERSION: int
CANONICAL_EXTENSION: str
LEGACY_EXTENSION: str
#: ``(name, bits, torch name or None, numpy name or None)``, 0.3.0's dtypes first.
DTYPES: list[tuple[str, int, str | None, str | None]]
#: ``(code, kind, meaning)`` of every error.
CODES: list[tuple[str, str, str]]
#: The default of every limit, by name.
LIMITS: dict[str, int]
#: ``(name, default, code, meaning)`` of every limit.
LIMIT_TABLE: list[tuple[str, int, str, str]]

Source: TypeAlias = tuple[str, str, Sequence[int], Any, Mapping[str, str] | None, Hashable | None]
Progress: TypeAlias = Callable[[int, int], object]

def nbytes(dtype: str, shape: Sequence[int]) -> int: ...
def printable(text: str) -> str: ...
def set_num_threads(n: int | None) -> None: ...
def get_num_threads() -> int: ...
def save(
    path: str,
    sources: Sequence[Source],
    global_metadata: Mapping[str, str] | None,
    *,
    checksum: bool = False,
    compress: bool = False,
    compress_level: int = 3,
    digests: bool = False,
    alignment: int = 1,
    progress: Progress | None = None,
) -> None: ...
def append(
    path: str,
    sources: Sequence[Source],
    extra_global_metadata: Mapping[str, str] | None,
    *,
    digests: bool | None = None,
    compress_level: int = 3,
    alignment: int = 1,
    limits: Mapping[str, int] | None = None,
    progress: Progress | None = None,
) -> None: ...
def save_sharded(
    path: str,
    sources: Sequence[Source],
    max_shard_bytes: int,
    global_metadata: Mapping[str, str] | None,
    *,
    checksum: bool = True,
    compress: bool = False,
    compress_level: int = 3,
    digests: bool = False,
    alignment: int = 1,
    progress: Progress | None = None,
) -> list[str]: ...
def from_safetensors(
    src: str | Ranges,
    dst: str,
    *,
    checksum: bool = True,
    compress: bool = False,
    compress_level: int = 3,
    digests: bool = False,
    alignment: int = 1,
    limits: Mapping[str, int] | None = None,
    progress: Progress | None = None,
) -> None: ...
def to_safetensors(
    src: str,
    dst: str,
    *,
    limits: Mapping[str, int] | None = None,
    progress: Progress | None = None,
) -> None: ...

# Copies tensors from open files into one new file, without decoding them into
# Python: ``parts`` is [(file, name in that file, name in the new file)].
def copy_tensors(
    dst: str,
    parts: Sequence[tuple[File, str, str]],
    global_metadata: Mapping[str, str] | None,
    *,
    checksum: bool = False,
    compress: bool = False,
    compress_level: int = 3,
    digests: bool = False,
    alignment: int = 1,
    progress: Progress | None = None,
) -> None: ...

# The same, into shards and an index; returns the shards' paths.
def copy_tensors_sharded(
    dst: str,
    parts: Sequence[tuple[File, str, str]],
    max_shard_bytes: int,
    global_metadata: Mapping[str, str] | None,
    *,
    checksum: bool = True,
    compress: bool = False,
    compress_level: int = 3,
    digests: bool = False,
    alignment: int = 1,
    progress: Progress | None = None,
) -> list[str]: ...
def diff(
    a: File, b: File, *, compare_bytes: bool = False, progress: Progress | None = None
) -> dict[str, Any]: ...
def shard_name(stem: str, nth: int, count: int, extension: str) -> str:
    """The file name of the nth shard, counted from 0."""

def shard_metadata(nth: int, count: int, metadata: Mapping[str, str]) -> dict[str, str]:
    """The metadata of the nth shard: the user's, and what marks it."""

def index_metadata(
    listed: Sequence[tuple[str, Sequence[str], int, str | None]], metadata: Mapping[str, str]
) -> dict[str, str]:
    """The metadata of the index of shards: path, names, bytes and root of each."""

def read_safetensors_index(
    text: bytes, *, limits: Mapping[str, int] | None = None
) -> list[tuple[str, list[str]]]:
    """The shards that an index of safetensors names, each with its tensors' names."""

def write_manifest(file: File, path: str, written_at: str) -> None: ...
def read_manifest(path: str, *, limits: Mapping[str, int] | None = None) -> dict[str, Any]: ...

@final
class Buffer:
    """One tensor's bytes, or some rows of them, through the buffer protocol.

    Writable unless asked for otherwise. It owns its memory or keeps the file's
    mapping alive.
    """

    @property
    def nbytes(self) -> int: ...
    @property
    def is_view(self) -> bool:
        """Whether it is a view of the mapped file, with nothing copied."""

    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

@final
class Ranges:
    """A file of ``length`` bytes that ``fetch`` brings by ranges (docs/remote.md)."""

    def __new__(
        cls, name: str, length: int, fetch: Callable[[list[tuple[int, int]]], list[bytes]]
    ) -> Ranges: ...

@final
class File:
    """An open file. Safe to use from several threads."""

    def __new__(
        cls,
        path: str,
        *,
        verify: bool = False,
        root: str | None = None,
        backend: str = "auto",
        limits: Mapping[str, int] | None = None,
        progress: Progress | None = None,
    ) -> File: ...
    @staticmethod
    def remote(
        ranges: Ranges,
        *,
        verify: bool = False,
        root: str | None = None,
        limits: Mapping[str, int] | None = None,
        progress: Progress | None = None,
    ) -> File: ...
    @property
    def path(self) -> str: ...
    @property
    def root(self) -> str | None: ...
    @property
    def closed(self) -> bool: ...
    @property
    def is_index(self) -> bool: ...
    @property
    def facts(self) -> dict[str, Any]:
        """created_by, file_bytes, header_bytes, data_start, stored_bytes (the blob as on
        disk), data_bytes (the blob uncompressed), tensor_bytes (sum over distinct spans),
        frames (number, or None), parameters (elements, tied ones once)."""

    def keys(self) -> list[str]: ...
    def __len__(self) -> int: ...
    def __contains__(self, name: object, /) -> bool: ...
    def info(self, name: str) -> dict[str, Any]: ...
    def infos(self, most: int | None = None) -> list[dict[str, Any]]: ...
    def metadata(self) -> dict[str, str]: ...
    def is_compressed(self) -> bool: ...
    def has_checksum(self) -> bool: ...
    def has_digests(self) -> bool: ...
    def get_bytes(self, name: str) -> bytes: ...
    def buffer(
        self,
        name: str,
        start: int | None = None,
        count: int | None = None,
        *,
        writable: bool = True,
    ) -> Buffer:
        """The tensor's bytes; with ``start`` or ``count``, rows of its first axis."""

    def check_copies(self, names: Sequence[str], *, held: int = 0) -> None:
        """Refuses copies of those tensors that take more memory than the limit, where the
        call holds so many bytes already."""

    def buffers(
        self, names: Sequence[str], *, held: int = 0, progress: Progress | None = None
    ) -> list[Buffer]:
        """Those tensors' bytes, read together; tied ones share one Buffer. The call holds
        ``held`` bytes already."""

    def stats(self, name: str) -> dict[str, Any]: ...
    def all_stats(self, *, progress: Progress | None = None) -> dict[str, dict[str, Any]]: ...
    def verify(self, *, progress: Progress | None = None) -> dict[str, Any]:
        """Checks everything that the file carries: the footer, and each tensor's digest.

        Returns ``{"footer": True | False | None, "root": True | False | None, "frames":
        True | False | None, "tensors": {name: True | False | None}, "errors": [exception]}``;
        None means that the file carries nothing to check it by.
        """

    def verify_tensor(self, name: str) -> bool:
        """Checks one tensor by its digest; False when it carries none; raises when it differs."""

    def close(self) -> None: ...

@final
class Sharded:
    """A shard index and its shards, each opened when first needed."""

    def __new__(
        cls,
        path: str,
        *,
        verify: bool = False,
        root: str | None = None,
        backend: str = "auto",
        limits: Mapping[str, int] | None = None,
    ) -> Sharded: ...
    @staticmethod
    def remote(
        index: Ranges | str,
        open_shard: Callable[[str], Ranges | str],
        *,
        verify: bool = False,
        root: str | None = None,
        backend: str = "auto",
        limits: Mapping[str, int] | None = None,
    ) -> Sharded: ...
    @property
    def path(self) -> str: ...
    @property
    def root(self) -> str | None: ...
    def keys(self) -> list[str]: ...
    def __len__(self) -> int: ...
    def __contains__(self, name: object, /) -> bool: ...
    def metadata(self) -> dict[str, str]: ...
    def which_shard(self, name: str) -> str: ...
    def shard_names(self) -> list[str]: ...
    def shard_paths(self) -> list[str]: ...
    def file(self, name: str) -> File:
        """The open shard that holds that tensor."""

    def shard(self, index: int) -> File: ...
    def close(self) -> None: ...

@final
class Schema:
    def __new__(cls) -> Schema: ...
    def expect(
        self,
        name: str,
        dtype: str | None,
        shape: Sequence[int | None] | None,
        metadata_keys: Sequence[str] | None,
    ) -> None: ...
    def allow_extra(self, allow: bool) -> None: ...
    def validate(self, file: File) -> None: ...
    def problems(self, file: File) -> list[str]: ...
