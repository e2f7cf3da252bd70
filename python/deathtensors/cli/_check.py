"""``verify``, ``root`` and ``diff``."""

from __future__ import annotations

import argparse
from typing import Any

from .._diff import diff
from .._file import DtFile
from .._reader import is_verified
from .._sharded import ShardedReader, open_any
from .._text import plural, printable
from ..errors import IntegrityError
from ._options import add_remote, reading
from ._output import ProgressBar, metadata_text, say, say_json, shape_text, warn

_WORDS = {True: "ok", False: "BAD", None: "none"}


# --- verify


def add_verify_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``verify``."""
    parser.add_argument("path", help="a .deathtensors file, or a shard index")
    parser.add_argument("tensor", nargs="*", help="only these tensors, by their digests")
    parser.add_argument("--root", metavar="HEX", help="the root digest that the file must have")
    add_remote(parser)


def run_verify(args: argparse.Namespace) -> int:
    """Check a file by what it carries."""
    with open_any(args.path, root=args.root, **reading(args)) as reader:
        if args.tensor:
            return _verify_some(reader, args)
        with ProgressBar("verifying") as seen:
            report = reader.verify_report(progress=seen)
    good = is_verified(report)
    if args.json:
        say_json({"path": args.path, "verified": good, **report})
    else:
        _say_report(args.path, report, good)
    return 0 if good else 1


def _verify_some(reader: DtFile | ShardedReader, args: argparse.Namespace) -> int:
    found: dict[str, bool | None] = {}
    failures: list[IntegrityError] = []
    for name in args.tensor:
        try:
            found[name] = reader.verify(name) or None
        except IntegrityError as error:
            found[name] = False
            failures.append(error)
    good = all(found.values())
    if args.json:
        say_json({"path": args.path, "verified": good, "tensors": found, "errors": failures})
        return 0 if good else 1
    for name, fine in found.items():
        say(f"{_WORDS[fine]:<5}{printable(name)}")
    for failure in failures:
        say(str(failure))
    return 0 if good else 1


def _say_report(path: str, report: dict[str, Any], good: bool) -> None:
    tensors = report["tensors"]
    checked = [fine for fine in tensors.values() if fine is not None]
    bad = [name for name, fine in tensors.items() if fine is False]
    say(f"footer:   {_WORDS[report['footer']]}")
    say(f"root:     {_WORDS[report['root']]}")
    say(f"frames:   {_WORDS[report['frames']]}")
    digests = f"{len(checked):,} of {plural(len(tensors), 'tensor')} checked, {len(bad):,} bad"
    say(f"digests:  {digests if checked else 'none'}")
    for name in bad:
        say(f"  BAD {printable(name)}")
    for error in report["errors"]:
        say(f"  {error}")
    shown = printable(path)
    if good:
        say(f"OK: {shown} verified ({plural(len(tensors), 'tensor')})")
    elif report["errors"]:
        say(f"FAILED: {shown} is damaged")
    elif report["footer"] is None and not checked:
        say(f"WARN: {shown} has no checksum footer and no digests; cannot verify")
    else:
        say(
            f"WARN: {shown} could be checked in part only; {len(tensors) - len(checked):,} "
            "tensors have no digest"
        )


# --- root


def add_root_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``root``."""
    parser.add_argument("path", help="a .deathtensors file, or a shard index")
    add_remote(parser)


def run_root(args: argparse.Namespace) -> int:
    """Print the root digest."""
    with open_any(args.path, **reading(args)) as reader:
        digest = reader.root
    if args.json:
        say_json({"path": args.path, "root": digest})
    elif digest is not None:
        say(digest)
    else:
        warn(f"deathtensors: error: {printable(args.path)} has no digests, hence no root")
    return 0 if digest is not None else 1


# --- diff


def add_diff_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``diff``."""
    parser.description = (
        "Compare two files. Values that both files have digests of are compared by digest, "
        "unread; --bytes reads the bytes."
    )
    parser.add_argument("a", help="a .deathtensors file, or a shard index")
    parser.add_argument("b", help="the one to compare it with")
    parser.add_argument(
        "--bytes", action="store_true", help="compare bytes even where both have digests"
    )
    add_remote(parser)


def run_diff(args: argparse.Namespace) -> int:
    """Compare two files."""
    with ProgressBar("comparing") as seen:
        found = diff(args.a, args.b, compare_bytes=args.bytes, **reading(args), progress=seen)
    if args.json:
        say_json(found)
    else:
        _say_differences(found)
    return 0 if found["equal"] else 1


def _say_differences(found: dict[str, Any]) -> None:
    if found["equal"]:
        say("files are identical")
        return
    for what in ("added", "removed"):
        for name in found[what]:
            say(f"{what + ':':<18}{printable(name)}")
    for name, (a, b) in found["shape_changed"].items():
        say(f"{'shape changed:':<18}{printable(name)}: {shape_text(a)} -> {shape_text(b)}")
    for name, (a, b) in found["dtype_changed"].items():
        say(f"{'dtype changed:':<18}{printable(name)}: {a} -> {b}")
    for name in found["value_changed"]:
        say(f"{'value changed:':<18}{printable(name)}")
    for name, (a, b) in found["metadata_changed"].items():
        say(f"{'metadata changed:':<18}{printable(name)}: {_braces(a)} -> {_braces(b)}")
    if found["global_metadata_changed"]:
        a, b = found["global_metadata_changed"]
        say(f"{'global metadata:':<18}{_braces(a)} -> {_braces(b)}")
    counts = [
        (len(found[what]), what.replace("_", " "))
        for what in (
            "added",
            "removed",
            "shape_changed",
            "dtype_changed",
            "value_changed",
            "metadata_changed",
        )
    ]
    say(", ".join(f"{count:,} {what}" for count, what in counts if count) or "no tensor differs")


def _braces(metadata: dict[str, str]) -> str:
    return f"{{{metadata_text(metadata)}}}"
