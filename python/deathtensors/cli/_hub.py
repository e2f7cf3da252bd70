"""``hub-push``, ``hub-pull``, ``hub-list``, ``hub-info``, ``hub-open``, ``hub-convert``."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from contextlib import suppress
from importlib import import_module
from typing import Any

from .. import errors, huggingface
from .._arguments import not_itself
from .._deathtensors import CANONICAL_EXTENSION, LEGACY_EXTENSION
from .._file import DtFile
from .._paths import Exact, expand_path
from .._rooms import workroom
from .._sharded import ShardedReader, is_index, open_any
from .._text import human_bytes, plural, printable
from ..huggingface._load import with_token
from ..huggingface._repository import Repository
from ._convert import say_wrote
from ._inspect import facts_of, say_facts, say_one, say_tensors
from ._options import add_limits, add_remote, limits_of, remote_of
from ._output import ProgressBar, say, say_json, summary, warn

_MODELS = (CANONICAL_EXTENSION, LEGACY_EXTENSION, ".safetensors")
#: How many items of a list ``hub-info`` shows.
_ITEMS = 5


def _add_repository(parser: argparse.ArgumentParser) -> None:
    """What all these commands have in common."""
    where = parser.add_argument_group("where")
    where.add_argument(
        "--repo-type",
        default="model",
        choices=["model", "dataset", "space"],
        help="kind of repository (default: model)",
    )
    where.add_argument("--revision", help="branch, tag or commit (default: main)")
    where.add_argument(
        "--token", help="default: HF_TOKEN, HUGGING_FACE_HUB_TOKEN, or the stored login"
    )


def _where(args: argparse.Namespace) -> dict[str, Any]:
    _quiet_client(args)
    return {"repo_type": args.repo_type, "revision": args.revision, "token": args.token}


def _quiet_client(args: argparse.Namespace) -> None:
    """Keep the client's own bars out of what programs read."""
    if args.json or sys.stderr is None or not sys.stderr.isatty():
        with suppress(ImportError):  # told by whoever needs it
            import_module("huggingface_hub.utils").disable_progress_bars()


# --- hub-push


def add_hub_push_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``hub-push``."""
    parser.add_argument("path", help="a .deathtensors file, a shard index, or a .safetensors file")
    parser.add_argument("repo_id", help="such as org/model; it may also come first")
    parser.add_argument("name", nargs="?", metavar="path_in_repo", help="as --path-in-repo")
    parser.add_argument("--path-in-repo", help="where to put it (default: its own name)")
    parser.add_argument("--message", help="title of the commit")
    parser.add_argument("--private", action="store_true", help="make a new repository private")
    parser.add_argument(
        "--compress",
        action=argparse.BooleanOptionalAction,
        help="push a copy with or without zstd compression (default: as it is)",
    )
    parser.add_argument("--no-manifest", action="store_true", help="push no catalogue beside it")
    parser.add_argument("--no-card", action="store_true", help="leave the model card alone")
    _add_repository(parser)
    add_limits(parser)


def run_hub_push(args: argparse.Namespace) -> int:
    """Push a file, or a sharded model."""
    path, repo_id = _told_apart(args.path, args.repo_id)
    name = _once(args.path_in_repo, "--path-in-repo", args.name)
    options: dict[str, Any] = {
        **_where(args),
        "commit_message": args.message,
        "private": args.private or None,
        "manifest": not args.no_manifest,
        "card": not args.no_card,
        "limits": limits_of(args),
    }
    if _is_shard_index(expand_path(path), args):
        if args.compress is not None:
            raise errors.usage("shards are pushed as they are; use 'deathtensors shard' first")
        folder = _folder_for(path, name)
        urls = huggingface.push_sharded_to_hub(repo_id, path, folder, **options)
    else:
        with ProgressBar("preparing") as seen:
            url = huggingface.push_to_hub(
                repo_id, path, name, compress=args.compress, progress=seen, **options
            )
        urls = [url]
    if args.json:
        say_json({"urls": urls})
    for url in [] if args.json else urls:
        say(printable(url))
    return 0


def _once(option: str | None, name: str, word: str | None) -> str | None:
    """What is said by an option or by a word of its own, but not by both."""
    if option is not None and word is not None and option != word:
        raise errors.usage(f"{name} says one name, and the last word another", found=word)
    return word if option is None else option


def _told_apart(first: str, second: str) -> tuple[str, str]:
    """Path and repository, in either order: releases before 0.4 took the latter first."""
    is_path = [word.lower().endswith(_MODELS) for word in (first, second)]
    if is_path[0] == is_path[1]:
        is_path = [os.path.isfile(expand_path(word)) for word in (first, second)]
    return (second, first) if is_path == [False, True] else (first, second)


def _is_shard_index(path: str, args: argparse.Namespace) -> bool:
    if path.lower().endswith(".safetensors"):
        return False
    with DtFile(Exact(path), limits=limits_of(args)) as file:
        return is_index(file)


def _folder_for(path: str, name: str | None) -> str | None:
    """The folder of a sharded model in a repository. Its files keep their names."""
    if name is None:
        return None
    folder, _, last = name.rpartition("/")
    if last and last != os.path.basename(path):
        raise errors.usage(
            "the files of a sharded model keep their names",
            expected=f"a folder such as '{name}/'",
            found=name,
        )
    return folder


# --- hub-pull


def add_hub_pull_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``hub-pull``."""
    _add_file(parser)
    parser.add_argument("--output", metavar="PATH", help="copy it there, a file or a folder")
    _add_repository(parser)
    add_limits(parser)


def _add_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("repo_id", help="such as org/model")
    parser.add_argument("filename", help="its path in the repository")


def run_hub_pull(args: argparse.Namespace) -> int:
    """Download a file, with its shards if it is an index."""
    with huggingface.HubCachedFile(args.repo_id, args.filename, **_where(args)) as path:
        paths = [path]
    if args.filename.lower().endswith(_MODELS[:2]) and _is_shard_index(path, args):
        paths += _pull_shards(args)
    if args.output is not None:
        return say_wrote(_copied(paths, expand_path(args.output)), args.json)
    if args.json:
        say_json({"paths": paths})
    else:
        say(paths[0])
    return 0


def _pull_shards(args: argparse.Namespace) -> list[str]:
    where = _where(args)
    with huggingface.load_sharded_from_hub(
        args.repo_id, args.filename, **where, limits=limits_of(args)
    ) as model:
        for _ in model._files():
            pass
        return model.shard_paths()


def _copied(paths: list[str], output: str) -> list[str]:
    """Copies of a file, and of its shards beside it, each whole or not there."""
    if os.path.isdir(output) or output.endswith(os.sep):
        output = os.path.join(output, os.path.basename(paths[0]))
    folder = os.path.dirname(output)
    targets = [output, *(os.path.join(folder, os.path.basename(path)) for path in paths[1:])]
    for path, target in zip(paths, targets):
        not_itself(path, target)
    try:
        os.makedirs(folder or ".", exist_ok=True)
    except OSError as error:
        raise errors.from_os_error(error, folder) from error
    with workroom(output) as room:
        # The index last, as it is written too.
        for path, target in reversed(list(zip(paths, targets))):
            unfinished = os.path.join(room, os.path.basename(target))
            try:
                shutil.copyfile(path, unfinished)
                os.replace(unfinished, target)
            except OSError as error:
                raise errors.from_os_error(error, target) from error
    return targets


# --- hub-list, hub-info


def add_hub_list_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``hub-list``."""
    parser.add_argument("repo_id", help="such as org/model")
    _add_repository(parser)


def run_hub_list(args: argparse.Namespace) -> int:
    """List the .deathtensors files of a repository."""
    found = huggingface.list_repo_models(args.repo_id, **_where(args))
    if args.json:
        say_json(found)
    elif not found:
        say(f"(no .deathtensors files in {printable(args.repo_id)})")
    for name in [] if args.json else found:
        say(printable(name))
    return 0 if found else 1


def add_hub_info_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``hub-info``."""
    add_hub_list_arguments(parser)


def run_hub_info(args: argparse.Namespace) -> int:
    """Show what the Hub says about a repository."""
    found = huggingface.hub_model_info(args.repo_id, **_where(args))
    if args.json:
        say_json(found)
        return 0
    for key, value in found.items():
        if isinstance(value, list) and len(value) > _ITEMS:
            say(f"{key}: ({len(value)} items)")
            for item in value[:_ITEMS]:
                say(f"  - {printable(item)}")
            say(f"  ... and {len(value) - _ITEMS} more")
        else:
            text = ", ".join(value) if isinstance(value, list) else str(value)
            say(f"{key}: {printable(text)}".rstrip())
    return 0


# --- hub-open


def add_hub_open_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``hub-open``."""
    _add_file(parser)
    parser.add_argument("--list", action="store_true", help="only the table of tensors")
    parser.add_argument("--tensor", metavar="NAME", help="measure that tensor, and read no other")
    _add_repository(parser)
    add_remote(parser, token=False)


def run_hub_open(args: argparse.Namespace) -> int:
    """Look into a file without downloading it."""
    where = _where(args)
    repo = Repository(args.repo_id, where["repo_type"], where["revision"], where["token"])
    remote = with_token(repo, remote_of(args))
    address = repo.address(args.filename)
    with open_any(address, limits=limits_of(args), remote=remote) as reader:
        said = _look(reader, args)
        cost = reader.counters or {}
    if args.json:
        say_json({**said, "transfer": cost})
    else:
        took = f"{plural(cost['requests'], 'request')} and {human_bytes(cost['bytes'])}"
        warn(f"it took {took}; nothing was downloaded")
    return 0


def _look(reader: DtFile | ShardedReader, args: argparse.Namespace) -> dict[str, Any]:
    """Say what was asked for, or give it where JSON is wanted."""
    if args.tensor is not None:
        said = {**reader.info(args.tensor), "stats": reader.stats(args.tensor)}
        if not args.json:
            say_one(args.tensor, said["stats"])
        return said
    infos, facts = reader.infos(), facts_of(reader)
    if args.json:
        more = {} if args.list else {**facts, "metadata": reader.metadata()}
        return {**more, "tensors": infos}
    if not args.list:
        say_facts(reader, facts)
        say()
    say_tensors(infos)
    say(summary(len(infos), facts["parameters"], facts["tensor_bytes"]))
    return {}


# --- hub-convert


def add_hub_convert_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``hub-convert``."""
    parser.add_argument("repo_id", help="such as org/model")
    parser.add_argument(
        "safetensors", help="the file to convert, or a model.safetensors.index.json"
    )
    parser.add_argument("out", nargs="?", help="as --output-name")
    parser.add_argument("--output-name", help="the file to write (default: other extension)")
    parser.add_argument("--compress", action="store_true", help="compress with zstd")
    parser.add_argument("--digests", action="store_true", help="carry a SHA-256 per tensor")
    parser.add_argument(
        "--delete-original",
        action="store_true",
        help="compare every tensor, then delete the original in the same commit",
    )
    parser.add_argument("--message", help="title of the commit")
    parser.add_argument("--no-manifest", action="store_true", help="push no catalogue beside it")
    _add_repository(parser)
    add_limits(parser)


def run_hub_convert(args: argparse.Namespace) -> int:
    """Convert safetensors on the Hub, in place."""
    with ProgressBar("converting") as seen:
        url = huggingface.convert_safetensors_on_hub(
            args.repo_id,
            args.safetensors,
            _once(args.output_name, "--output-name", args.out),
            compress=args.compress,
            digests=args.digests,
            delete_original=args.delete_original,
            commit_message=args.message,
            manifest=not args.no_manifest,
            limits=limits_of(args),
            progress=seen,
            **_where(args),
        )
    if args.json:
        say_json({"url": url})
    else:
        say(printable(url))
    return 0
