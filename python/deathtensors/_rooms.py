"""Folders for files on the way, which do not pile up."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from . import errors

#: What a folder of ours has in it, locked as long as its process lives.
_MARK = ".deathtensors-lock"
#: Where locks do not reach other machines, they are given that many seconds.
_PATIENCE = 3600.0


@contextmanager
def workroom(beside: str | None = None) -> Iterator[str]:
    """A new folder that is deleted in the end.

    A process that is killed leaves it, and the next one that makes such a folder at the
    same place, an hour later or more, deletes it.

    Args:
        beside: a file; the folder is made in that file's folder, where there is room
            for the result too. None for the folder for temporary files.

    Raises:
        FileAccessError: it cannot be made.
    """
    parent = tempfile.gettempdir() if beside is None else os.path.dirname(beside) or "."
    prefix = "deathtensors-" if beside is None else ".deathtensors-"
    _tidy(parent, prefix)
    try:
        made = tempfile.TemporaryDirectory(prefix=prefix, dir=parent)
    except OSError as error:
        raise errors.from_os_error(error, parent) from error
    with made as path:
        lock = _locked(os.path.join(path, _MARK), os.O_CREAT | os.O_EXCL)
        try:
            yield path
        finally:
            if lock is not None:
                os.close(lock)


def _tidy(parent: str, prefix: str) -> None:
    """Delete what killed processes of this user left."""
    with suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            if entry.name.startswith(prefix):
                with suppress(OSError):
                    _delete_if_left(entry.path)


def _delete_if_left(path: str) -> None:
    facts = os.lstat(path)
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != _user():
        return
    mark = os.path.join(path, _MARK)
    newest = max([facts.st_mtime, *(os.lstat(os.path.join(path, one)).st_mtime
                                    for one in os.listdir(path))])  # fmt: skip
    if time.time() - newest < _PATIENCE:
        return
    lock = _locked(mark, 0)
    if lock is not None:
        try:
            shutil.rmtree(path)
        finally:
            os.close(lock)


def _locked(mark: str, how: int) -> int | None:
    """The file, locked; None where there is none, another holds it, or there are no locks."""
    try:
        import fcntl
    except ImportError:  # Windows: nothing is tidied up there
        return None
    flags = os.O_RDWR | how | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        file = os.open(mark, flags, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        return None
    return file


def _user() -> int:
    return os.geteuid() if hasattr(os, "geteuid") else -1
