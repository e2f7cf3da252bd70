"""safetensors, with torch."""

from __future__ import annotations

from collections.abc import Callable

from safetensors import safe_open
from safetensors.torch import load_file, save_file

import workloads
from libraries.plain import read_all

Work = Callable[[], object]


def save(workload: tuple[str, int], path: str) -> Work:
    tensors = workloads.tensors(*workload)
    return lambda: save_file(tensors, path)


def load_all(path: str) -> Work:
    return lambda: load_file(path)


def load_and_read(path: str) -> Work:
    def work() -> object:
        tensors = load_file(path)
        read_all(tensors)
        return tensors

    return work


def one(path: str, name: str) -> Work:
    def work() -> object:
        with safe_open(path, "pt") as file:
            return file.get_tensor(name) + 0

    return work


def rows(path: str, name: str, start: int, count: int) -> Work:
    def work() -> object:
        with safe_open(path, "pt") as file:
            return read_all({name: file.get_slice(name)[start : start + count]})

    return work


def rows_of_open(path: str, name: str, start: int, count: int) -> Work:
    file = safe_open(path, "pt")
    return lambda: file.get_slice(name)[start : start + count]


def rows_of_open_read(path: str, name: str, start: int, count: int) -> Work:
    file = safe_open(path, "pt")
    return lambda: read_all({name: file.get_slice(name)[start : start + count]})


def names(path: str) -> Work:
    return lambda: list(safe_open(path, "pt").keys())


def infos(path: str) -> Work:
    file = safe_open(path, "pt")

    def work() -> object:
        slices = ((name, file.get_slice(name)) for name in file.keys())
        return [(name, s.get_dtype(), s.get_shape()) for name, s in slices]

    return work


def warm(folder: str) -> Work:
    path = f"{folder}/warm.safetensors"
    save(("small", 30), path)()
    load_all(path)()
    return lambda: None
