"""torch.save, torch.load with a map, and statistics by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

import workloads
from libraries.plain import read_all

Work = Callable[[], object]


def save(workload: tuple[str, int], path: str) -> Work:
    tensors = workloads.tensors(*workload)
    return lambda: torch.save(tensors, path)


def _load(path: str) -> dict[str, torch.Tensor]:
    loaded: dict[str, torch.Tensor] = torch.load(path, mmap=True)
    return loaded


def load_all(path: str) -> Work:
    return lambda: _load(path)


def load_and_read(path: str) -> Work:
    def work() -> object:
        tensors = _load(path)
        read_all(tensors)
        return tensors

    return work


def one(path: str, name: str) -> Work:
    return lambda: _load(path)[name] + 0


def rows(path: str, name: str, start: int, count: int) -> Work:
    return lambda: read_all({name: _load(path)[name][start : start + count]})


def names(path: str) -> Work:
    return lambda: list(_load(path))


def stats(path: str) -> Work:
    """What someone would write who needs these numbers: the file is mapped."""

    def of(tensor: torch.Tensor) -> Any:
        wide = tensor.float()
        least, most = torch.aminmax(wide)
        # Apart they are faster than torch.std_mean.
        mean, std = wide.mean(), wide.std()
        nonzero = torch.count_nonzero(tensor)
        return least.item(), most.item(), mean.item(), std.item(), nonzero.item()

    return lambda: {name: of(tensor) for name, tensor in _load(path).items()}


def warm(folder: str) -> Work:
    path = f"{folder}/warm.pt"
    save(("small", 30), path)()
    load_all(path)()
    return lambda: None
