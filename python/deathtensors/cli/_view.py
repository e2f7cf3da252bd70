"""``view``: the viewer in a browser, for one file on this machine or an address."""

from __future__ import annotations

import argparse
import json
import os
import sys
import webbrowser
from contextlib import suppress
from urllib.parse import quote

from .. import errors
from .._file import DtFile
from .._paths import Exact, absolute, expand_path
from .._sharded import ShardedReader, is_index
from .._text import printable
from ._output import say, say_json, warn

#: Where the built viewer is in the package.
_FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "viewer")
_MOST_INDEX_BYTES = 64 << 20


def add_view_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``view``."""
    parser.description = (
        "Look into a file in the browser. A file on this machine is served to this machine "
        "only, at an address that nobody can guess, until Ctrl-C."
    )
    parser.add_argument(
        "source",
        metavar="PATH|URL",
        help="a .deathtensors or .safetensors file or an index of shards; or an address: "
        "https://… or hf://org/name/path",
    )
    parser.add_argument(
        "--port", type=_port, default=0, help="the port to serve at; one that is free unless given"
    )
    parser.add_argument(
        "--no-browser", action="store_true", help="only print the address, open nothing"
    )


def run_view(args: argparse.Namespace) -> int:
    """Serve the viewer until it is interrupted."""
    from ._view_server import Server, served_files

    site = served_files(_FOLDER)
    if "index.html" not in site:
        raise errors.make(
            "not_found.file",
            "not_found",
            "this installation has no viewer; in a copy of the source, 'make build' puts it into "
            + printable(_FOLDER),
            path=_FOLDER,
        )
    files = {} if _is_address(args.source) else _files(expand_path(args.source))
    # Ctrl-C is how one leaves it.
    with suppress(KeyboardInterrupt), Server(site, files, args.port) as server:
        source = args.source
        if files:
            source = f"{server.address}file/{quote(os.fsencode(next(iter(files))))}"
        address = f"{server.address}#source={quote(source, safe='/:')}"
        if args.json:
            say_json({"url": address, "source": source, "port": server.port})
        else:
            say(f"{printable(args.source)} can be looked at here, until Ctrl-C:")
            say(f"  {address}")
        _flush()
        # The browser is given a door that opens once: other users of this machine
        # can read the arguments that a browser was started with.
        if not args.no_browser and not webbrowser.open(server.door_to(address)):
            warn("no browser could be started: open the address in one")
        server.wait()
    return 0


def _is_address(source: str) -> bool:
    scheme = source.split("://", 1)[0].lower() if "://" in source else ""
    if scheme and scheme not in ("http", "https", "hf"):
        raise errors.usage(
            "the viewer cannot open that kind of address",
            expected="http, https or hf",
            found=scheme,
        )
    if scheme and "@" in source.split("://", 1)[1].split("/", 1)[0]:
        raise errors.usage("an address with a password in it would show it to everybody here")
    return bool(scheme)


def _files(path: str) -> dict[str, str]:
    """The file that was asked for, and the shards of an index, each by the name it is served as."""
    folder, name = os.path.split(os.path.normpath(absolute(path)))
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            raise OSError(None, "not a file; name a file, or the index of the shards")
        with open(path, "rb") as file:
            start = file.read(8)
    except OSError as error:
        raise errors.from_os_error(error, path) from None
    shards: list[str] = []
    if start == b"DTLEGION":
        shards = _shards_of_ours(path)
    elif name.endswith(".safetensors.index.json"):
        shards = _shards_of_safetensors(path)
    return {name: os.path.join(folder, name), **{one: os.path.join(folder, one) for one in shards}}


def _shards_of_ours(path: str) -> list[str]:
    try:
        with DtFile(Exact(path)) as file:
            if not is_index(file):
                return []
        with ShardedReader(Exact(path)) as model:
            return [os.path.basename(shard) for shard in model.shard_paths()]
    except errors.DeathTensorsError as error:
        if isinstance(error, errors.FileAccessError):
            raise
        return []  # the viewer says what is wrong with a file, better than one line does


def _shards_of_safetensors(path: str) -> list[str]:
    with open(path, "rb") as file:
        text = file.read(_MOST_INDEX_BYTES + 1)
    if len(text) > _MOST_INDEX_BYTES:
        return []
    try:
        names = set(json.loads(text)["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []  # as above
    # Nothing outside of the index's folder, whatever the index says.
    plain = [one for one in names if isinstance(one, str) and one == os.path.basename(one)]
    plain = [one for one in plain if "\0" not in one]
    return sorted(one for one in plain if one.endswith(".safetensors"))


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return int(text)


def _flush() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()
