"""``convert`` and ``manifest``."""

from __future__ import annotations

import argparse
import os

from .. import errors
from .._elsewhere import is_elsewhere
from .._text import printable
from .._write import from_safetensors, to_safetensors, write_manifest
from ._options import add_limits, add_remote, limits_of, reading
from ._output import ProgressBar, exact_bytes, say, say_json


def add_convert_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``convert``."""
    parser.add_argument("direction", choices=["to-safetensors", "from-safetensors"])
    parser.add_argument("src", help="the file to read")
    parser.add_argument("dst", nargs="?", help="the file to write (default: other extension)")
    writing = parser.add_argument_group("from-safetensors")
    writing.add_argument("--no-checksum", action="store_true", help="write no SHA-256 footer")
    writing.add_argument("--compress", action="store_true", help="compress with zstd")
    writing.add_argument(
        "--level", type=int, default=3, metavar="N", help="zstd level, 1 to 22 (default 3)"
    )
    writing.add_argument("--digests", action="store_true", help="give every tensor a digest")
    add_remote(parser)


def run_convert(args: argparse.Namespace) -> int:
    """Convert to or from safetensors."""
    if args.dst is None and is_elsewhere(args.src) and args.direction == "from-safetensors":
        raise errors.usage(f"name the file to write, after {args.src}")
    with ProgressBar("converting") as seen:
        if args.direction == "to-safetensors":
            path = to_safetensors(args.src, args.dst, limits=limits_of(args), progress=seen)
        else:
            path = from_safetensors(
                args.src,
                args.dst,
                checksum=not args.no_checksum,
                compress=args.compress,
                compress_level=args.level,
                digests=args.digests,
                **reading(args),
                progress=seen,
            )
    return say_wrote([path], args.json)


def add_manifest_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``manifest``."""
    parser.add_argument("path", help="a .deathtensors file")
    parser.add_argument("out", nargs="?", help="the file to write (default: PATH.json)")
    add_limits(parser)


def run_manifest(args: argparse.Namespace) -> int:
    """Write the catalogue as JSON beside the file."""
    return say_wrote([write_manifest(args.path, args.out, limits=limits_of(args))], args.json)


def say_wrote(paths: list[str], as_json: bool) -> int:
    """Say which files were written, and that all is fine."""
    sizes = {path: os.path.getsize(path) for path in paths}
    if as_json:
        say_json({"wrote": [{"path": path, "bytes": size} for path, size in sizes.items()]})
    else:
        for path, size in sizes.items():
            say(f"wrote {printable(path)}: {exact_bytes(size)}")
    return 0
