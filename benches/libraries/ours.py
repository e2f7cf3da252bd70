"""deathtensors: this one, or in the old release's interpreter that one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

import deathtensors as dt
import workloads
from libraries.plain import read_all

Work = Callable[[], object]

_OLD = dt.__version__ == "0.3.0"


def save(workload: tuple[str, int], path: str, **options: Any) -> Work:
    tensors = workloads.tensors(*workload)
    return lambda: dt.save(path, tensors, **options)


def load_all(path: str, **options: Any) -> Work:
    return lambda: dt.open(path, **options).get_tensors()


def load_and_read(path: str, **options: Any) -> Work:
    def work() -> object:
        tensors = dt.open(path, **options).get_tensors()
        read_all(tensors)
        return tensors

    return work


def load_on_one_thread(path: str) -> Work:
    def work() -> object:
        dt.set_num_threads(1)
        try:
            return dt.open(path).get_tensors()
        finally:
            dt.set_num_threads(None)

    return work


def one(path: str, name: str, **options: Any) -> Work:
    def work() -> object:
        with dt.open(path, **options) as file:
            return file.get_tensor(name) + 0

    return work


def rows(path: str, name: str, start: int, count: int, **options: Any) -> Work:
    """Opens, and reads rows so that they are in memory."""

    def work() -> object:
        with dt.open(path, **options) as file:
            return read_all({name: file.get_tensor_slice(name, start, count)})

    return work


def rows_of_open(path: str, name: str, start: int, count: int) -> Work:
    file = dt.open(path)
    return lambda: file.get_tensor_slice(name, start, count)


def rows_of_open_read(path: str, name: str, start: int, count: int) -> Work:
    file = dt.open(path)
    return lambda: read_all({name: file.get_tensor_slice(name, start, count)})


def all_by_rows(path: str, count: int) -> Work:
    """The whole file, never more than some rows of it at a time."""

    def work() -> None:
        with dt.open(path) as file:
            for name in file.keys():
                length = file.info(name)["shape"][0]
                for start in range(0, length, count):
                    file.get_tensor_slice(name, start, min(count, length - start))

    return work


def names(path: str) -> Work:
    return lambda: dt.open(path).keys()


def infos(path: str) -> Work:
    file = dt.open(path)
    return lambda: [file.info(name) for name in file.keys()]


def infos_together(path: str) -> Work:
    file = dt.open(path)
    return lambda: file.infos()


def stats(path: str, **options: Any) -> Work:
    return lambda: dt.open(path, **options).all_stats()


def stats_of_open(path: str) -> Work:
    file = dt.open(path)
    return lambda: file.all_stats()


def verify(path: str, **options: Any) -> Work:
    def work() -> object:
        if _OLD:
            # It checks compressed files while it opens them, or not at all.
            return dt.open(path, verify=True)
        file = dt.open(path, **options)
        assert file.verify()
        return file

    return work


def append(path: str) -> Work:
    more = {"added.weight": torch.ones(1_024)}
    return lambda: dt.append(path, more)


def from_safetensors(src: str, dst: str, **options: Any) -> Work:
    return lambda: dt.from_safetensors(src, dst, **options)


def to_safetensors(src: str, dst: str) -> Work:
    return lambda: dt.to_safetensors(src, dst)


def diff(a: str, b: str, **options: Any) -> Work:
    def work() -> object:
        found = dt.diff(a, b, **options)
        assert found["equal"]
        return found

    return work


def warm(folder: str) -> Work:
    """A little of everything, so that only memory for the data is left to measure."""
    path = f"{folder}/warm.deathtensors"
    other = f"{folder}/warm.safetensors"
    for options in ({"checksum": True}, {"checksum": True, "compress": True}):
        save(("small", 30), path, **options)()
        with dt.open(path) as file:
            file.get_tensors()
            file.all_stats()
            file.get_tensor_slice(file.keys()[0], 0, 1)
        verify(path)()
        append(path)()
        to_safetensors(path, other)()
        from_safetensors(other, path)()
    return lambda: None
