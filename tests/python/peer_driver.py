"""Runs inside a published release: ``peer_driver.py FUNCTION < arguments.json``.

Bytes travel as hexadecimal digits.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import deathtensors as dt


def version() -> str:
    return dt.__version__


def save_file(path: str, tensors: list[Any], **options: Any) -> None:
    dt.save_file(path, _tuples(tensors), **options)


def append_file(path: str, tensors: list[Any], **options: Any) -> None:
    dt.append_file(path, _tuples(tensors), **options)


def save_sharded(path: str, tensors: list[Any], **options: Any) -> list[str]:
    values = {name: (dtype, shape, data) for name, dtype, shape, data, _ in _tuples(tensors)}
    metadata = {name: notes for name, _, _, _, notes in _tuples(tensors)}
    return dt.save_sharded(path, values, metadata=metadata, **options)


def describe(path: str, verify: bool = False) -> dict[str, Any]:
    return _describe(dt.open(path, verify=verify))


def describe_sharded(path: str) -> dict[str, Any]:
    with dt.open_sharded(path, verify=True) as reader:
        return {
            "keys": reader.keys(),
            "metadata": reader.metadata(),
            "bytes": {name: reader.get_bytes(name).hex() for name in reader.keys()},
            "infos": {name: reader.info(name) for name in reader.keys()},
        }


def describe_many(paths: list[str]) -> dict[str, Any]:
    return {path: describe(path, verify=True) for path in paths}


def torch_bytes(path: str) -> dict[str, Any]:
    """Every tensor as this release gives it to torch."""
    import torch

    file = dt.open(path)
    found = {}
    for name in file.keys():
        tensor = file.get_tensor(name)
        flat = tensor.contiguous().reshape(-1)
        raw = flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
        found[name] = {"dtype": str(tensor.dtype), "shape": list(tensor.shape), "hex": raw.hex()}
    return found


def write_manifest(path: str) -> str:
    return dt.write_manifest(path)


def save_sparse(path: str, indices: list[Any], values: list[float], shape: list[int]) -> None:
    import torch

    dt.save_sparse(path, {"w": torch.sparse_coo_tensor(indices, values, shape), "d": torch.ones(2)})


def get_sparse(path: str, name: str) -> list[Any]:
    return dt.get_sparse(dt.open(path), name).to_dense().tolist()


def _tuples(tensors: list[Any]) -> list[Any]:
    return [
        (name, dtype, shape, bytes.fromhex(data), metadata)
        for name, dtype, shape, data, metadata in tensors
    ]


def _describe(file: Any) -> dict[str, Any]:
    return {
        "keys": file.keys(),
        "metadata": file.metadata(),
        "infos": {name: file.info(name) for name in file.keys()},
        "bytes": {name: file.get_bytes(name).hex() for name in file.keys()},
        "checksum": file.has_checksum(),
        # 0.1.0 does not know compression.
        "compressed": getattr(file, "is_compressed", lambda: False)(),
    }


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](**json.load(sys.stdin))))
