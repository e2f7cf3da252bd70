"""Options that several commands have in common."""

from __future__ import annotations

import argparse
from typing import Any

from .._deathtensors import LIMITS

_UNITS = {
    "": 1,
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
    "TIB": 2**40,
}


def add_remote(parser: argparse.ArgumentParser, *, token: bool = True) -> None:
    """How files at an address are read.

    Args:
        parser: of a command that reads files.
        token: whether the option of that name is added too.
    """
    where = parser.add_argument_group("files at an address (https://…, hf://org/name/path)")
    if token:
        where.add_argument(
            "--token",
            help="what the server is shown; default for the Hub: HF_TOKEN, or the stored login",
        )
    where.add_argument(
        "--budget", type=size, metavar="SIZE", help="most bytes to transfer, such as 50MB"
    )
    where.add_argument("--cache", metavar="FOLDER", help="keep what was read in that folder")
    add_limits(parser)


def add_limits(parser: argparse.ArgumentParser) -> None:
    """What files may ask for."""
    parser.add_argument(
        "--limit",
        action="append",
        type=_limit,
        default=[],
        metavar="NAME=VALUE",
        help=f"refuse files that ask for more, such as memory_bytes=2GiB; also {_others()}",
    )


def _others() -> str:
    return ", ".join(name for name in LIMITS if name != "memory_bytes")


def reading(args: argparse.Namespace) -> dict[str, Any]:
    """What ``open`` takes as ``limits`` and ``remote``."""
    return {"limits": limits_of(args), "remote": remote_of(args)}


def limits_of(args: argparse.Namespace) -> dict[str, int]:
    """What ``open`` takes as ``limits``; of one that is given twice the last counts."""
    return dict(args.limit)


def remote_of(args: argparse.Namespace) -> dict[str, Any]:
    """What ``open`` takes as ``remote``."""
    found = {"token": args.token, "budget_bytes": args.budget, "cache_dir": args.cache}
    return {name: value for name, value in found.items() if value is not None}


def _limit(text: str) -> tuple[str, int]:
    name, equals, value = text.partition("=")
    if not equals or name not in LIMITS:
        raise argparse.ArgumentTypeError(
            f"'{text}' is not NAME=VALUE with one of the names {', '.join(LIMITS)}"
        )
    if value.isascii() and value.isdigit():
        return name, int(value)
    if not name.endswith("_bytes"):
        raise argparse.ArgumentTypeError(f"'{value}' is not a number, which {name} is")
    return name, size(value)


def size(text: str) -> int:
    """A length in bytes as people write it: ``5GB``, ``512 MiB``, ``1000``."""
    number = text.strip().rstrip("BKMGTIbkmgti ")
    unit = text.strip()[len(number) :].strip().upper()
    try:
        found = int(float(number) * _UNITS[unit if unit in _UNITS else f"{unit}B"])
    except (ValueError, KeyError, OverflowError):
        raise argparse.ArgumentTypeError(f"'{text}' is not a size such as 500MB or 2GiB") from None
    if found < 1:
        raise argparse.ArgumentTypeError("a size must be at least 1 byte")
    if found >= 2**63:
        raise argparse.ArgumentTypeError(f"'{text}' is more than a file can have")
    return found
