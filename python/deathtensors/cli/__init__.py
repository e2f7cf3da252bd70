"""The command line: ``deathtensors`` or ``python -m deathtensors``."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from importlib import import_module

from .. import __version__
from .._spelling import on_the_command_line
from ..errors import DeathTensorsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_OK, _DIFFERENT, _MISUSE, _UNREADABLE = 0, 1, 2, 3
_FAULT = 70
_INTERRUPTED = 130
_TERMINATED = 143
_BROKEN_PIPE = 141

#: command -> module with add_COMMAND_arguments and run_COMMAND; what it does
_COMMANDS = {
    "info": ("_inspect", "show what a file holds"),
    "list": ("_inspect", "list the names of tensors"),
    "stats": ("_inspect", "measure tensors: range, mean, zeros, NaN"),
    "verify": ("_check", "check a file by its footer and digests"),
    "root": ("_check", "print the root digest, which pins the whole content"),
    "diff": ("_check", "compare two files"),
    "convert": ("_convert", "convert to or from safetensors"),
    "manifest": ("_convert", "write the catalogue as JSON beside the file"),
    "append": ("_edit", "add the tensors of other files to a file"),
    "shard": ("_edit", "split a file into shards and an index"),
    "merge": ("_edit", "join the shards of an index into one file"),
    "extract": ("_edit", "copy some tensors into a new file"),
    "view": ("_view", "look into a file in the browser"),
    "hub-push": ("_hub", "push a file, or a sharded model, to the Hugging Face Hub"),
    "hub-pull": ("_hub", "download a file, or a sharded model, from the Hub"),
    "hub-list": ("_hub", "list the files of a repository of the Hub"),
    "hub-info": ("_hub", "show what the Hub says about a repository"),
    "hub-open": ("_hub", "look into a file on the Hub without downloading it"),
    "hub-convert": ("_hub", "convert safetensors on the Hub, in place"),
}

_EPILOG = """\
Wherever a file is read, the index of a sharded model stands for the whole model.
'deathtensors COMMAND --help' says more about a command; every command takes --json.

exit status:
  0    fine
  1    files differ, or verification failed or was not possible
  2    misuse: wrong arguments, no such tensor
  3    a file is missing, cannot be read or written, or is not valid
  70   a fault in this program (DEATHTENSORS_TRACEBACK=1 shows where)
  130  interrupted
  141  the reader of the output went away
  143  told to end (SIGTERM)
"""


class _Parser(argparse.ArgumentParser):
    """Misuse is one line, like every other error."""

    def error(self, message: str) -> NoReturn:
        _complain(f"{message} (see '{self.prog} --help')")
        raise SystemExit(_MISUSE)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the arguments after the program's name; None for the process's own.

    Returns:
        The exit status; ``--help`` lists what each means.

    Raises:
        TypeError: ``argv`` is not a list of strings. Nothing else is raised.
    """
    if isinstance(argv, (str, bytes)):
        raise TypeError("argv must be a list of words, not one string")
    words = sys.argv[1:] if argv is None else list(argv)
    for word in words:
        if not isinstance(word, str):
            raise TypeError(f"argv must hold strings, not {type(word).__name__}")
    with on_the_command_line(), nullcontext() if argv is not None else _ended_in_order():
        return _answer(words)


def _answer(words: list[str]) -> int:
    try:
        status = _run(words)
        if sys.stdout is not None:  # as it is when it was closed from the start
            sys.stdout.flush()
        return status
    except SystemExit as stop:  # argparse, after --help, --version or misuse
        return stop.code if isinstance(stop.code, int) else _OK
    except KeyboardInterrupt:
        return _INTERRUPTED
    except _Terminated:
        return _TERMINATED
    except BrokenPipeError:
        _silence_stdout()
        return _BROKEN_PIPE
    except DeathTensorsError as error:
        _complain(_line(error, words))
        return _status(error)
    except UnicodeEncodeError as error:
        _complain(f"an argument is not valid Unicode: {error.object!a}")
        return _MISUSE
    except OSError as error:
        _complain(str(error))
        return _UNREADABLE
    except Exception as error:
        if os.environ.get("DEATHTENSORS_TRACEBACK"):
            raise
        _complain(f"internal fault: {type(error).__name__}: {error}")
        return _FAULT


class _Terminated(BaseException):
    """SIGTERM came: what was begun is tidied up on the way out."""


@contextmanager
def _ended_in_order() -> Iterator[None]:
    def end(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
        raise _Terminated

    # Not where somebody has other plans for it, nor outside of the main thread.
    ours = False
    with suppress(ValueError):
        if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
            signal.signal(signal.SIGTERM, end)
            ours = True
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _run(words: list[str]) -> int:
    parser, commands = _parser()
    chosen = next((word for word in words if not word.startswith("-")), None)
    if chosen in _COMMANDS:
        # Only the module that is needed is loaded.
        module = import_module(f".{_COMMANDS[chosen][0]}", __name__)
        name = chosen.replace("-", "_")
        getattr(module, f"add_{name}_arguments")(commands[chosen])
        commands[chosen].set_defaults(run=getattr(module, f"run_{name}"))
    args = parser.parse_args(words)
    if args.command is None:
        parser.error("a command is needed")
    status: int = args.run(args)
    return status


def _parser() -> tuple[_Parser, dict[str, argparse.ArgumentParser]]:
    parser = _Parser(
        prog="deathtensors",
        description="Look into, check, convert and rearrange .deathtensors files.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"deathtensors {__version__}")
    sub = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    commands: dict[str, argparse.ArgumentParser] = {}
    for name, (_, text) in _COMMANDS.items():
        command = sub.add_parser(
            name, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False
        )
        command.add_argument("--json", action="store_true", help="print one JSON value instead")
        commands[name] = command
    return parser, commands


# --- errors


def _line(error: DeathTensorsError, words: list[str]) -> str:
    from .._text import printable

    line = str(error)
    # What is not Unicode in a path is shown as a replacement by the compiled module.
    if error.path is not None and _shown(error.path) not in line:
        line = f"{printable(error.path)}: {line}"
    safetensors = [word for word in words if word.endswith(".safetensors")]
    if error.code == "prefix.magic" and safetensors:
        source = safetensors[0]
        target = ""
        if "://" in source:  # it cannot be written beside that
            target = f" {source.rpartition('/')[2].rpartition('.')[0]}.deathtensors"
        line += f"; try: deathtensors convert from-safetensors {printable(source + target)}"
    return line


def _shown(path: str) -> str:
    return os.fsencode(path).decode("utf-8", "replace")


def _status(error: DeathTensorsError) -> int:
    if error.kind in ("integrity", "schema"):
        return _DIFFERENT
    if error.kind == "usage" or error.code == "not_found.tensor":
        return _MISUSE
    return _UNREADABLE


def _complain(line: str) -> None:
    from .._text import printable
    from ._output import encodable

    # Not all of it is ours: argparse quotes what it was given.
    one_line = printable(" ".join(line.split()))
    print(encodable(f"deathtensors: error: {one_line}", sys.stderr), file=sys.stderr)


def _silence_stdout() -> None:
    # The interpreter flushes stdout once more when it ends.
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
