"""The physical limits: writing, reading, hashing and adding up the same bytes."""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import torch

import workloads

Work = Callable[[], object]

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
_STRIP = 8 << 20


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(CORES)


def _bytes_of(tensors: Mapping[str, torch.Tensor]) -> list[Any]:
    flat = (t.reshape(-1).view(torch.uint8).numpy() for t in tensors.values() if t.numel())
    return list(flat)


def _mapped(path: str) -> Any:
    with open(path, "rb") as file:
        return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)


def add_up(pieces: list[Any]) -> int:
    """One pass over the bytes, in 64-bit words, on all cores."""
    strips = [p[at : at + _STRIP] for p in pieces for at in range(0, len(p), _STRIP)]
    words = [s[: len(s) // 8 * 8].view(np.uint64) for s in strips]
    return sum(int(s) for s in _pool().map(np.add.reduce, words))


def read_all(tensors: Mapping[str, torch.Tensor]) -> object:
    """Makes every byte of the tensors be read, so that lazy loading gains nothing."""
    pieces = _bytes_of(tensors)
    add_up(pieces)
    return pieces


def write(workload: tuple[str, int], path: str) -> Work:
    pieces = _bytes_of(workloads.tensors(*workload))

    def work() -> None:
        with open(path, "wb", buffering=0) as file:
            for piece in pieces:
                # One call writes 2 GiB at most, which is more than any piece here.
                file.write(piece)

    return work


def write_gathered(workload: tuple[str, int], path: str) -> Work:
    """For many small pieces: joined in memory, then one write."""
    pieces = _bytes_of(workloads.tensors(*workload))

    def work() -> None:
        with open(path, "wb", buffering=0) as file:
            file.write(b"".join(pieces))

    return work


def sha256(workload: tuple[str, int]) -> Work:
    pieces = _bytes_of(workloads.tensors(*workload))

    def work() -> str:
        digest = hashlib.sha256()
        for piece in pieces:
            digest.update(piece)
        return digest.hexdigest()

    return work


def sha256_file(path: str) -> Work:
    return lambda: hashlib.sha256(_mapped(path)).hexdigest()


def sha256_in_parallel(path: str) -> Work:
    """As many messages as there are cores: what the processor can hash at all."""

    def work() -> list[str]:
        data = _mapped(path)
        parts = [data[nth * len(data) // CORES :][: len(data) // CORES] for nth in range(CORES)]
        return list(_pool().map(lambda part: hashlib.sha256(part).hexdigest(), parts))

    return work


def pass_over_file(path: str) -> Work:
    return lambda: add_up([_mapped(path)])


def pass_over_mapped(path: str) -> Work:
    """The file was mapped, and each page touched, before."""
    data = _mapped(path)
    return lambda: add_up([data])


def read(path: str) -> Work:
    """Into memory that was there before."""
    target = memoryview(bytearray(os.path.getsize(path)))

    def work() -> None:
        with open(path, "rb", buffering=0) as file:
            at = 0
            while got := file.readinto(target[at : at + _STRIP]):
                at += got

    return work


def read_in_parallel(path: str) -> Work:
    target = memoryview(bytearray(os.path.getsize(path)))

    def work() -> None:
        with open(path, "rb", buffering=0) as file:
            fd = file.fileno()

            def strip(at: int) -> int:
                return os.preadv(fd, [target[at : at + _STRIP]], at)

            done = sum(_pool().map(strip, range(0, len(target), _STRIP)))
            assert done == len(target)

    return work
