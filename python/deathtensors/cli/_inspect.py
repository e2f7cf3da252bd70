"""``info``, ``list`` and ``stats``."""

from __future__ import annotations

import argparse
from typing import Any

from .._deathtensors import FORMAT_VERSION
from .._file import DtFile
from .._sharded import ShardedReader, open_any
from .._text import printable
from ._options import add_remote, reading
from ._output import (
    Column,
    ProgressBar,
    exact_bytes,
    metadata_text,
    say,
    say_json,
    say_table,
    shape_text,
    summary,
)

# --- info


def add_info_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``info``."""
    parser.add_argument("path", help="a .deathtensors file, or a shard index")
    add_remote(parser)


def run_info(args: argparse.Namespace) -> int:
    """Show what a file holds."""
    with open_any(args.path, **reading(args)) as reader:
        facts = facts_of(reader)
        infos = reader.infos()
        if args.json:
            say_json({**facts, "metadata": reader.metadata(), "tensors": infos})
            return 0
        say_facts(reader, facts)
        say()
        say_tensors(infos)
        say(summary(len(infos), facts["parameters"], facts["tensor_bytes"]))
    return 0


def facts_of(reader: DtFile | ShardedReader) -> dict[str, Any]:
    """The file as a whole; of a sharded model, its files taken together."""
    files = list(reader._files())
    parts = [file.facts for file in files]
    sums = {
        what: sum(part[what] for part in parts)
        for what in ("file_bytes", "stored_bytes", "data_bytes", "tensor_bytes", "parameters")
    }
    counted = [part["frames"] for part in parts if part["frames"] is not None]
    return {
        "path": reader.path if isinstance(reader, DtFile) else reader.index_path,
        "format_version": FORMAT_VERSION,
        "created_by": parts[0]["created_by"] if parts else None,
        "shards": reader.shard_paths() if isinstance(reader, ShardedReader) else None,
        "compressed": any(file.is_compressed() for file in files),
        "frames": sum(counted) if counted else None,
        "checksum": bool(files) and all(file.has_checksum() for file in files),
        "digests": bool(files) and all(file.has_digests() for file in files),
        "root": reader.root,
        **sums,
    }


def say_facts(reader: DtFile | ShardedReader, facts: dict[str, Any]) -> None:
    written_by = f", written by {printable(facts['created_by'])}" if facts["created_by"] else ""
    lines = [
        ("file", printable(facts["path"])),
        ("format", f"deathtensors {facts['format_version']}{written_by}"),
        ("size", exact_bytes(facts["file_bytes"])),
        ("compressed", _compression(facts)),
        ("checksum", "SHA-256 footer" if facts["checksum"] else "none"),
        ("digests", "SHA-256 of every tensor" if facts["digests"] else "none"),
    ]
    if facts["root"]:
        lines.append(("root", facts["root"]))
    if facts["shards"] is not None:
        lines.insert(1, ("shards", str(len(facts["shards"]))))
    for name, text in lines:
        say(f"{name + ':':<12}{text}")
    metadata = reader.metadata()
    say(f"{'metadata:':<12}{'' if metadata else 'none'}".rstrip())
    for key, value in metadata.items():
        say(f"  {printable(key)} = {printable(value)}")


def _compression(facts: dict[str, Any]) -> str:
    if not facts["compressed"]:
        return "no"
    share = facts["stored_bytes"] / facts["data_bytes"] if facts["data_bytes"] else 1.0
    frames = f"{facts['frames']:,} frames, " if facts["frames"] is not None else ""
    return f"zstd, {frames}{exact_bytes(facts['stored_bytes'])}, {share:.1%} of the data"


def say_tensors(infos: list[dict[str, Any]]) -> None:
    columns = [
        Column("name", shrinks=True),
        Column("dtype"),
        Column("shape"),
        Column("bytes", right=True),
    ]
    rows = [
        [
            printable(info["name"]),
            info["dtype"],
            shape_text(info["shape"]),
            f"{info['nbytes']:,}",
            metadata_text(info["metadata"]),
        ]
        for info in infos
    ]
    if any(row[-1] for row in rows):
        columns.append(Column("metadata", shrinks=True, optional=True))
    if rows:
        say_table(columns, rows)


# --- list


def add_list_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``list``."""
    parser.add_argument("path", help="a .deathtensors file, or a shard index")
    parser.add_argument("-l", "--long", action="store_true", help="with dtype, shape and size")
    add_remote(parser)


def run_list(args: argparse.Namespace) -> int:
    """List the names of tensors."""
    with open_any(args.path, **reading(args)) as reader:
        if args.long:
            infos = reader.infos()
            if args.json:
                say_json(infos)
                return 0
            say_tensors(infos)
            facts = facts_of(reader)
            say(summary(len(infos), facts["parameters"], facts["tensor_bytes"]))
        elif args.json:
            say_json(reader.keys())
        else:
            for name in reader:
                say(printable(name))
    return 0


# --- stats

_MEASURES = ("min", "max", "mean", "stddev", "nnz", "nan")


def add_stats_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``stats``."""
    parser.add_argument("path", help="a .deathtensors file, or a shard index")
    parser.add_argument("tensor", nargs="*", help="only these tensors")
    add_remote(parser)


def run_stats(args: argparse.Namespace) -> int:
    """Measure tensors."""
    with open_any(args.path, **reading(args)) as reader:
        if args.tensor:
            found = {name: reader.stats(name) for name in args.tensor}
        else:
            with ProgressBar("measuring") as seen:
                found = reader.all_stats(progress=seen)
    if args.json:
        say_json(found)
    elif len(args.tensor) == 1:
        say_one(args.tensor[0], found[args.tensor[0]])
    elif found:
        _say_stats(found)
    else:
        say("no tensors")
    return 0


def say_one(name: str, measures: dict[str, Any]) -> None:
    say(printable(name))
    for what, value in measures.items():
        say(f"  {what + ':':<9}{_exact(value)}")


def _say_stats(found: dict[str, dict[str, Any]]) -> None:
    columns = [
        Column("name", shrinks=True),
        Column("dtype", optional=True),
        Column("shape", optional=True),
        *(Column(what, right=True) for what in _MEASURES),
        Column("inf", right=True),
    ]
    rows = [
        [
            printable(name),
            one["dtype"],
            shape_text(one["shape"]),
            *(_short(one.get(what)) for what in _MEASURES),
            _short((one.get("posinf") or 0) + (one.get("neginf") or 0)),
        ]
        for name, one in found.items()
    ]
    say_table(columns, rows)
    count = sum(one["count"] for one in found.values())
    say(summary(len(found), count, sum(one["nbytes"] for one in found.values())))


def _short(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _exact(value: Any) -> str:
    if value is None:
        return "-"
    return shape_text(value) if isinstance(value, (tuple, type([]))) else str(value)
