"""Safe, fast storage for named tensors.

A ``.deathtensors`` file is a header that says which tensors are where, and their
bytes. Opening one reads the header; nothing in a file is ever executed.

>>> import numpy, deathtensors as dt
>>> dt.save("example.deathtensors", {"w": numpy.ones((2, 3), "float32")}, checksum=True)
>>> with dt.open("example.deathtensors") as f:
...     print(f.keys(), f.get_tensor("w", "numpy").shape, f.verify())
['w'] (2, 3) True

Tensors go in as torch tensors, numpy arrays, raw bytes, or anything with DLPack or
the buffer protocol, and come out as torch tensors (the default) or numpy arrays.
Neither package is required, nor imported before it is needed.
"""

from __future__ import annotations

from . import _arguments, _deathtensors, errors
from ._deathtensors import (
    CANONICAL_EXTENSION,
    DTYPES,
    FORMAT_VERSION,
    LEGACY_EXTENSION,
    LIMITS,
    MAGIC,
    __version__,
    get_num_threads,
)
from ._file import DtFile, open
from ._paths import expand_path
from .errors import (
    DeathTensorsError,
    FileAccessError,
    FormatError,
    IntegrityError,
    LimitError,
    MissingFileError,
    MissingPackageError,
    NetworkError,
    PermissionDeniedError,
    RemoteDeniedError,
    RemoteMissingError,
    SchemaError,
    TensorNotFoundError,
    UnsupportedError,
    UsageError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._diff import diff
    from ._schema import Schema
    from ._sharded import ShardedReader, open_sharded
    from ._sparse import get_sparse, save_sparse
    from ._write import (
        append,
        append_file,
        from_safetensors,
        read_manifest,
        save,
        save_file,
        save_sharded,
        to_safetensors,
        write_manifest,
    )
    from .cli import main

__author__ = "death legion"

__all__ = [
    "CANONICAL_EXTENSION",
    "FORMAT_VERSION",
    "LEGACY_EXTENSION",
    "LIMITS",
    "MAGIC",
    "DeathTensorsError",
    "DtFile",
    "FileAccessError",
    "FormatError",
    "IntegrityError",
    "LimitError",
    "MissingFileError",
    "MissingPackageError",
    "NetworkError",
    "PermissionDeniedError",
    "RemoteDeniedError",
    "RemoteMissingError",
    "Schema",
    "SchemaError",
    "ShardedReader",
    "TensorNotFoundError",
    "UnsupportedError",
    "UsageError",
    "__author__",
    "__version__",
    "append",
    "append_file",
    "diff",
    "errors",
    "expand_path",
    "file_magic",
    "format_version",
    "from_safetensors",
    "get_num_threads",
    "get_sparse",
    "library_author",
    "library_version",
    "main",
    "open",
    "open_sharded",
    "read_manifest",
    "save",
    "save_file",
    "save_sharded",
    "save_sparse",
    "set_num_threads",
    "supported_dtypes",
    "to_safetensors",
    "write_manifest",
]

# What is loaded when it is first used, so that importing the package stays fast.
_LATER = {
    **dict.fromkeys(("save", "save_file", "append", "append_file", "save_sharded"), "_write"),
    **dict.fromkeys(("from_safetensors", "to_safetensors"), "_write"),
    **dict.fromkeys(("write_manifest", "read_manifest"), "_write"),
    **dict.fromkeys(("ShardedReader", "open_sharded"), "_sharded"),
    **dict.fromkeys(("save_sparse", "get_sparse"), "_sparse"),
    "diff": "_diff",
    "Schema": "_schema",
    "main": "cli",
}


def __getattr__(name: str) -> Any:
    module = _LATER.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    try:
        value = getattr(import_module(f".{module}", __name__), name)
    except OSError as error:  # such as no descriptor left to read it with
        raise errors.from_os_error(error, error.filename or module) from None
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})


def set_num_threads(n: int | None) -> None:
    """Use so many threads for compression, digests and statistics; None for all cores.

    Raises:
        UsageError: ``n`` is not an integer of at least 1, or is more than anybody has.
    """
    _deathtensors.set_num_threads(None if n is None else _arguments.integer(n, "n", 1, 2**31 - 1))


def supported_dtypes() -> list[str]:
    """The format's names of all dtypes, such as "F32"."""
    return [name for name, _, _, _ in DTYPES]


def file_magic() -> bytes:
    """The eight bytes that every file begins with."""
    return MAGIC


def format_version() -> int:
    """The version of the format that is written."""
    return FORMAT_VERSION


def library_version() -> str:
    """The version of this library."""
    return __version__


def library_author() -> str:
    """Who made this library."""
    return __author__
