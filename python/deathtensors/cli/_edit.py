"""``append``, ``shard``, ``merge`` and ``extract``: tensors from file to file.

Data goes through the compiled module and never becomes a Python object.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from .. import _deathtensors, errors
from .._arguments import level, natural, not_itself, unicode_only
from .._elsewhere import is_elsewhere
from .._file import DtFile
from .._paths import Exact, expand_path
from .._rooms import workroom
from .._sharded import ShardedReader, open_any
from .._text import printable
from .._write import from_safetensors, to_safetensors
from ._convert import say_wrote
from ._options import add_remote, limits_of, reading, size
from ._output import ProgressBar

if TYPE_CHECKING:
    from .._deathtensors import File, Progress, Source

# --- append


def add_append_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``append``."""
    parser.add_argument("path", help="the file to add to")
    parser.add_argument(
        "src", nargs="+", help="files whose tensors to add (.deathtensors or .safetensors)"
    )
    parser.add_argument("--prefix", default="", help="put this before every new name")
    add_remote(parser)


def run_append(args: argparse.Namespace) -> int:
    """Add the tensors of other files to a file."""
    path = expand_path(args.path)
    unicode_only(args.prefix, "the prefix")
    sources: list[Source] = []
    with ExitStack() as stack:
        for number, src in enumerate(args.src):
            if src.endswith(".safetensors"):
                folder = stack.enter_context(workroom(path))
                copy = os.path.join(folder, "converted.deathtensors")
                from_safetensors(src, Exact(copy), checksum=False, **reading(args))
                src = Exact(copy)
            reader = open_any(src, **reading(args))
            stack.callback(reader.close)
            sources += _sources(reader, args.prefix, number)
        with ProgressBar("appending") as seen:
            _deathtensors.append(path, sources, None, limits=limits_of(args), progress=seen)
    return say_wrote([path], args.json)


def _sources(reader: DtFile | ShardedReader, prefix: str, number: int) -> list[Source]:
    found: list[Source] = []
    for place, file in enumerate(reader._files()):
        for info in file.infos():
            name = info["name"]
            data = partial(file.buffer, name, writable=False)
            tie = (number, place, *info["data_offsets"])
            found.append((prefix + name, info["dtype"], info["shape"], data, info["metadata"], tie))
    return found


# --- shard, merge, extract


def add_shard_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``shard``."""
    parser.add_argument("src", help="the file to split, or an index to split anew")
    parser.add_argument("dst", help="the index to write; shards are written beside it")
    parser.add_argument(
        "--max-bytes",
        type=size,
        default=5 * 2**30,
        metavar="SIZE",
        help="most tensor bytes in a shard, such as 500MB or 2GiB (default 5GiB)",
    )
    _add_writing(parser)


def run_shard(args: argparse.Namespace) -> int:
    """Split a file into shards and an index."""
    dst = expand_path(args.dst)
    with open_any(args.src, **reading(args)) as reader, ProgressBar("writing") as seen:
        _not_a_source(reader, dst)
        shards = _deathtensors.copy_tensors_sharded(
            dst,
            _parts(reader, reader.keys()),
            args.max_bytes,
            _own_metadata(reader),
            progress=seen,
            **_writing(args, reader),
        )
    return say_wrote([dst, *shards], args.json)


def add_merge_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``merge``."""
    parser.add_argument("index", help="the index of the sharded model")
    parser.add_argument("dst", help="the file to write (.deathtensors or .safetensors)")
    _add_writing(parser)


def run_merge(args: argparse.Namespace) -> int:
    """Join the shards of an index into one file."""
    with ShardedReader(args.index, **reading(args)) as reader, ProgressBar("writing") as seen:
        path = _copy(reader, reader.keys(), args, seen)
    return say_wrote([path], args.json)


def add_extract_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``extract``."""
    parser.add_argument("src", help="the file to take from, or a shard index")
    parser.add_argument("dst", help="the file to write (.deathtensors or .safetensors)")
    parser.add_argument(
        "name", nargs="+", help="names, or patterns such as 'layers.0.*' (quote them)"
    )
    _add_writing(parser)


def run_extract(args: argparse.Namespace) -> int:
    """Copy some tensors into a new file."""
    with open_any(args.src, **reading(args)) as reader, ProgressBar("writing") as seen:
        path = _copy(reader, _matching(reader.keys(), args.name), args, seen)
    return say_wrote([path], args.json)


def _matching(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """Names that any pattern means, in the file's order; each pattern must mean one."""
    from fnmatch import fnmatchcase

    wanted: set[str] = set()
    for pattern in patterns:
        # A name may itself look like a pattern.
        exact = pattern in names
        found = [pattern] if exact else [name for name in names if fnmatchcase(name, pattern)]
        if not found:
            raise errors.make(
                "not_found.tensor",
                "not_found",
                f"no tensor is named or matches '{printable(pattern)}'",
                pattern,
            )
        wanted.update(found)
    return [name for name in names if name in wanted]


def _copy(
    reader: DtFile | ShardedReader,
    names: Sequence[str],
    args: argparse.Namespace,
    seen: Progress | None,
) -> str:
    dst = expand_path(args.dst)
    _not_a_source(reader, dst)
    parts = _parts(reader, names)
    if not dst.endswith(".safetensors"):
        _deathtensors.copy_tensors(
            dst, parts, _own_metadata(reader), progress=seen, **_writing(args, reader)
        )
        return dst
    with workroom(dst) as folder:
        between = os.path.join(folder, "tensors.deathtensors")
        _deathtensors.copy_tensors(between, parts, _own_metadata(reader), progress=seen)
        return to_safetensors(Exact(between), Exact(dst))


def _not_a_source(reader: DtFile | ShardedReader, dst: str) -> None:
    """Refuse a target that is the source: its file, its index, or one of its shards."""
    if isinstance(reader, DtFile):
        sources = [reader.path]
    else:
        sources = [reader.index_path, *reader.shard_paths()]
    for source in sources:
        if not is_elsewhere(source):
            not_itself(source, dst)


def _parts(reader: DtFile | ShardedReader, names: Sequence[str]) -> list[tuple[File, str, str]]:
    return [(reader._file(name), name, name) for name in names]


def _own_metadata(reader: DtFile | ShardedReader) -> dict[str, str]:
    """Global metadata without what an index or a shard says of itself."""
    return {
        key: value
        for key, value in reader.metadata().items()
        if not key.startswith("deathtensors.shard")
    }


# --- how new files are written


def _add_writing(parser: argparse.ArgumentParser) -> None:
    either = argparse.BooleanOptionalAction
    add_remote(parser)
    writing = parser.add_argument_group("writing (default: as the source is)")
    writing.add_argument("--checksum", action=either, help="a SHA-256 footer")
    writing.add_argument("--compress", action=either, help="zstd compression")
    writing.add_argument("--digests", action=either, help="a digest of every tensor")
    writing.add_argument(
        "--level", type=int, default=3, metavar="N", help="zstd level, 1 to 22 (default 3)"
    )
    writing.add_argument(
        "--alignment", type=int, default=1, metavar="N", help="start tensors at multiples of N"
    )


def _writing(args: argparse.Namespace, reader: DtFile | ShardedReader) -> dict[str, Any]:
    files = list(reader._files())

    def chosen(option: bool | None, of_source: list[bool]) -> bool:
        return bool(of_source) and all(of_source) if option is None else option

    return {
        "checksum": chosen(args.checksum, [file.has_checksum() for file in files]),
        "compress": chosen(args.compress, [file.is_compressed() for file in files]),
        "digests": chosen(args.digests, [file.has_digests() for file in files]),
        "compress_level": level(args.level),
        "alignment": natural(args.alignment, "alignment"),
    }
