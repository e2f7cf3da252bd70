"""Taking a file out of the page cache."""

from __future__ import annotations

import ctypes
import mmap
import os

from measure import Absent

#: More of the file than this in the cache, and a row cannot be called cold.
_MOST_LEFT = 0.02


def drop(path: str) -> None:
    """Asks the kernel to forget the file's pages, and checks that it did.

    Raises:
        Absent: it kept them (a file system in memory, or a map of the file).
    """
    if not hasattr(os, "posix_fadvise"):
        raise Absent("needs posix_fadvise")
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        left = _resident(file.fileno())
    if left > _MOST_LEFT:
        raise Absent(f"{left:.0%} of the file stayed in the page cache")


def _resident(fd: int) -> float:
    """The share of the file's pages that are in the page cache."""
    libc = ctypes.CDLL(None, use_errno=True)
    # A private map can be written to, which ctypes wants; nothing is written.
    with mmap.mmap(fd, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE) as view:
        pages = -(-len(view) // mmap.PAGESIZE)
        flags = (ctypes.c_ubyte * pages)()
        start = ctypes.c_char.from_buffer(view)
        failed = libc.mincore(
            ctypes.c_void_p(ctypes.addressof(start)), ctypes.c_size_t(len(view)), flags
        )
        del start
        if failed:
            raise OSError(ctypes.get_errno(), "mincore failed")
        return sum(flag & 1 for flag in flags) / pages
