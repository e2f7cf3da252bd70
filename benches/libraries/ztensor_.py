"""zTensor 2, through DLPack, which is its own way to torch."""

from __future__ import annotations

import os
from collections.abc import Callable

import torch
import ztensor

import workloads
from libraries.plain import read_all

Work = Callable[[], object]

_NAMES = {torch.float32: "f32", torch.bfloat16: "bf16", torch.float16: "f16", torch.int64: "i64"}


def save(workload: tuple[str, int], path: str, compress: bool = False) -> Work:
    tensors = workloads.tensors(*workload)
    encoding = "zt.zstd-seekable/1" if compress else None

    def work() -> object:
        align = 4_096 if compress else None
        with ztensor.Writer(path, canonical=not compress, align=align) as writer:
            # The canonical form wants names in order.
            for name in sorted(tensors):
                tensor = tensors[name]
                data = tensor.view(torch.uint8).numpy().reshape(-1)
                shape, dtype = list(tensor.shape), _NAMES[tensor.dtype]
                writer.add(name, data, shape=shape, dtype=dtype, encoding=encoding)
            return writer.finish()

    return work


def load_all(path: str) -> Work:
    return lambda: {name: torch.from_dlpack(t) for name, t in ztensor.open(path).items()}


def load_and_read(path: str) -> Work:
    def work() -> object:
        tensors = {name: torch.from_dlpack(t) for name, t in ztensor.open(path).items()}
        read_all(tensors)
        return tensors

    return work


def one(path: str, name: str) -> Work:
    return lambda: torch.from_dlpack(ztensor.open(path)[name]) + 0


def rows(path: str, name: str, start: int, count: int) -> Work:
    def work() -> object:
        tensor = torch.from_dlpack(ztensor.open(path)[name])
        return read_all({name: tensor[start : start + count]})

    return work


def names(path: str) -> Work:
    return lambda: ztensor.index(path).keys()


def infos(path: str) -> Work:
    source = ztensor.index(path)
    return lambda: [(t.name, t.dtype, t.shape, t.nbytes) for t in source.values()]


def verify(path: str) -> Work:
    """Every tensor's digest, which is XXH3."""

    def work() -> object:
        found = ztensor.verify(path, deep=True)
        assert found.checked and not found.undigested
        return found

    return work


def append(path: str) -> Work:
    """In place: this writer can do that."""
    data = torch.ones(1_024).view(torch.uint8).numpy()

    def work() -> object:
        with ztensor.Writer(path, canonical=False, append=True) as writer:
            writer.add("added.weight", data, shape=[1_024], dtype="f32")
            return writer.finish()

    return work


def warm(folder: str) -> Work:
    path = f"{folder}/warm.zt"
    for compress in (False, True):
        if os.path.exists(path):
            os.unlink(path)
        save(("small", 30), path, compress)()
        load_all(path)()
    return lambda: None
