"""Sparse torch tensors to their parts and back.

Importing this imports torch; ``_sparse`` says what the parts are.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from . import errors
from ._file import DtFile
from ._sharded import ShardedReader
from ._sources import check_mapping, string_mapping
from ._write import save

if TYPE_CHECKING:
    from ._paths import StrPath

#: layout -> roles of its compressed and its plain indices
_ROW, _COLUMN = ("crow_indices", "col_indices"), ("ccol_indices", "row_indices")
_COMPRESSED = {"csr": _ROW, "bsr": _ROW, "csc": _COLUMN, "bsc": _COLUMN}
_LAYOUTS = {
    "csr": torch.sparse_csr,
    "bsr": torch.sparse_bsr,
    "csc": torch.sparse_csc,
    "bsc": torch.sparse_bsc,
}
_LAYOUT_NAMES = {layout: name for name, layout in _LAYOUTS.items()}
_INDEX_DTYPES = (torch.int64, torch.int32)
_MOST_ELEMENTS = 2**63 - 1
_MOST_DIMENSIONS = 64


# --- writing


def save_parts(path: StrPath, tensors: Mapping[str, Any], **kwargs: Any) -> None:
    """See ``save_sparse``."""
    check_mapping(tensors)
    given = kwargs.pop("metadata", None)
    if given is not None and not isinstance(given, Mapping):
        raise errors.usage(
            "metadata must be a mapping of tensor names to mappings", found=type(given).__name__
        )
    given = dict(given or {})
    parts: dict[str, Any] = {}
    metadata: dict[str, Mapping[str, str]] = {}
    for name, value in tensors.items():
        notes = string_mapping(given.pop(name, None), f"metadata of tensor '{name}'")
        if not isinstance(value, torch.Tensor) or value.layout in (torch.strided, torch.jagged):
            _put(parts, name, value)
            if notes:
                metadata[name] = notes
            continue
        common, group = _split(name, value.detach())
        for role, part in group.items():
            _put(parts, f"{name}.{role}", part)
            metadata[f"{name}.{role}"] = {"sparse_role": role, "sparse_parent": name, **common}
        on_values = {**metadata[f"{name}.values"], **(notes or {})}
        if value.layout is torch.sparse_coo:
            on_values["sparse_coalesced"] = "true" if value.is_coalesced() else "false"
        metadata[f"{name}.values"] = on_values
    for name, notes in given.items():  # for parts by their own name, or for nothing
        metadata[name] = {**notes, **metadata.get(name, {})}
    save(path, parts, metadata=metadata, **kwargs)


def _put(parts: dict[str, Any], name: str, value: Any) -> None:
    if name in parts:
        raise errors.usage(
            "a sparse tensor's part has the name of another tensor",
            code="usage.duplicate_name",
            tensor=name,
        )
    parts[name] = value


def _split(name: str, value: torch.Tensor) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    """Metadata that all parts share, and the parts by role."""
    shape = torch.tensor(tuple(value.shape), dtype=torch.int64)
    if value.layout is torch.sparse_coo:
        # indices() and values() refuse an uncoalesced tensor.
        indices, values = value._indices(), value._values()
        return {}, {"indices": indices, "values": values, "shape": shape}
    layout = _LAYOUT_NAMES.get(value.layout)
    if layout is None:
        raise errors.usage(f"a tensor of layout {value.layout} cannot be stored", tensor=name)
    compressed, plain = _COMPRESSED[layout]
    return {"sparse_layout": layout}, {
        compressed: getattr(value, compressed)(),
        plain: getattr(value, plain)(),
        "values": value.values(),
        "shape": shape,
    }


# --- reading


def get_parts(f: DtFile | ShardedReader, name: str) -> Any:
    """See ``get_sparse``."""
    if name in f:
        return f.get_tensor(name)
    for role in ("values", "shape"):
        if f"{name}.{role}" not in f:
            if not _is_group(f, name):
                return f.get_tensor(name)
            raise errors.invalid_sparse(
                "a part is missing", name, expected=f"{name}.{role}", found="nothing"
            )
    notes = f.info(f"{name}.values")["metadata"]
    layout = notes.get("sparse_layout", "coo")
    if layout not in _COMPRESSED and layout != "coo":
        known = ", ".join(["coo", *_COMPRESSED])
        raise errors.invalid_sparse("unknown layout", name, expected=known, found=layout)
    roles = _COMPRESSED.get(layout, ("indices",))
    missing = [role for role in roles if f"{name}.{role}" not in f]
    if missing and "sparse_parent" not in notes:
        return f.get_tensor(name)  # names that merely look like a group's
    if missing:
        raise errors.invalid_sparse(
            "a part is missing", name, expected=f"{name}.{missing[0]}", found="nothing"
        )
    shape = _shape(f, name)
    values = f.get_tensor(f"{name}.values")
    indices = [f.get_tensor(f"{name}.{role}") for role in roles]
    if layout == "coo":
        return _coo(name, indices[0], values, shape, notes.get("sparse_coalesced"))
    return _compressed(name, layout, indices[0], indices[1], values, shape)


def _is_group(f: DtFile | ShardedReader, name: str) -> bool:
    """Whether any part says that it belongs to a sparse tensor of that name."""
    roles = {"values", "shape", "indices"}.union(*_COMPRESSED.values())
    parts = [f"{name}.{role}" for role in roles]
    return any(f.info(part)["metadata"].get("sparse_parent") == name for part in parts if part in f)


def _shape(f: DtFile | ShardedReader, name: str) -> list[int]:
    info = f.info(f"{name}.shape")
    dims = info["shape"]
    _check(
        info["dtype"] == "I64" and len(dims) == 1 and dims[0] <= _MOST_DIMENSIONS,
        name,
        "the shape is malformed",
        expected=f"I64, one axis, at most {_MOST_DIMENSIONS} long",
        found=f"{info['dtype']} {dims}",
    )
    shape: list[int] = f.get_tensor(f"{name}.shape").tolist()
    elements = 1
    for dim in shape:
        elements *= max(dim, 1)
    fine = all(dim >= 0 for dim in shape) and elements <= _MOST_ELEMENTS
    _check(fine, name, "the shape is out of range", found=str(shape))
    return shape


def _coo(
    name: str, indices: torch.Tensor, values: torch.Tensor, shape: list[int], flag: str | None
) -> torch.Tensor:
    _check(
        indices.dtype is torch.int64 and indices.ndim == 2,
        name,
        "the indices are malformed",
        expected="I64 with two axes",
        found=f"{indices.dtype} {list(indices.shape)}",
    )
    sparse, count = indices.shape
    _check(
        values.ndim >= 1
        and values.shape[0] == count
        and sparse + values.ndim - 1 == len(shape)
        and list(values.shape[1:]) == shape[sparse:],
        name,
        "indices, values and shape do not agree",
        found=f"indices {list(indices.shape)}, values {list(values.shape)}, shape {shape}",
    )
    if count and sparse:
        bounds = torch.tensor(shape[:sparse], dtype=torch.int64)
        inside = (indices.amin(1) >= 0) & (indices.amax(1) < bounds)
        _check(bool(inside.all()), name, "an index is out of range", found=f"shape {shape}")
    if flag == "true":
        _check(_ascending(indices, shape[:sparse]), name, "the indices are not coalesced")
        return torch.sparse_coo_tensor(
            indices, values, shape, check_invariants=True, is_coalesced=True
        )
    tensor = torch.sparse_coo_tensor(indices, values, shape, check_invariants=True)
    # 0.3.0 wrote no flag, stored coalesced tensors only, and coalesced on reading.
    return tensor if flag == "false" else tensor.coalesce()


def _ascending(indices: torch.Tensor, dims: list[int]) -> bool:
    """Whether each index stands after the one before it, row-major."""
    flat = torch.zeros(indices.shape[1], dtype=torch.int64)
    for axis, dim in zip(indices, dims):
        flat = flat * dim + axis  # cannot overflow: the product of dims was checked
    return bool((flat[1:] > flat[:-1]).all())


def _compressed(
    name: str,
    layout: str,
    compressed: torch.Tensor,
    plain: torch.Tensor,
    values: torch.Tensor,
    shape: list[int],
) -> torch.Tensor:
    _check_compressed(name, layout, compressed, plain, values, shape)
    with warnings.catch_warnings():
        # torch announces that its own support is in beta.
        warnings.filterwarnings("ignore", message="Sparse .* tensor support is in beta")
        return torch.sparse_compressed_tensor(
            compressed, plain, values, shape, layout=_LAYOUTS[layout], check_invariants=True
        )


def _check_compressed(
    name: str,
    layout: str,
    compressed: torch.Tensor,
    plain: torch.Tensor,
    values: torch.Tensor,
    shape: list[int],
) -> None:
    found = (
        f"indices {compressed.dtype} {list(compressed.shape)} and {plain.dtype} "
        f"{list(plain.shape)}, values {list(values.shape)}, shape {shape}"
    )
    batch = compressed.ndim - 1
    blocked = 2 if layout in ("bsr", "bsc") else 0
    _check(
        compressed.dtype is plain.dtype
        and compressed.dtype in _INDEX_DTYPES
        and batch >= 0
        and plain.ndim == batch + 1
        and values.ndim >= batch + 1 + blocked
        and len(shape) == batch + 2 + values.ndim - (batch + 1 + blocked),
        name,
        "the parts do not agree",
        found=found,
    )
    count = plain.shape[-1]
    block = list(values.shape[batch + 1 : batch + 1 + blocked]) or [1, 1]
    matrix = shape[batch : batch + 2]
    _check(
        list(compressed.shape[:-1]) == shape[:batch]
        and list(plain.shape[:-1]) == shape[:batch]
        and list(values.shape[: batch + 1]) == [*shape[:batch], count]
        and list(values.shape[batch + 1 + blocked :]) == shape[batch + 2 :]
        and all(size > 0 and dim % size == 0 for dim, size in zip(matrix, block)),
        name,
        "the parts do not agree",
        found=found,
    )
    rows, columns = (dim // size for dim, size in zip(matrix, block))
    lines, width = (rows, columns) if _COMPRESSED[layout] is _ROW else (columns, rows)
    _check(compressed.shape[-1] == lines + 1, name, "the parts do not agree", found=found)
    if not compressed.numel():
        return  # a batch of none
    ends = compressed.long()
    steps = ends[..., 1:] - ends[..., :-1]
    _check(
        bool((ends[..., 0] == 0).all())
        and bool((ends[..., -1] == count).all())
        and bool(((steps >= 0) & (steps <= width)).all()),
        name,
        "the compressed indices do not ascend from 0 to the number of values",
    )
    if not count:
        return
    inside = bool(((plain >= 0) & (plain < width)).all())
    _check(inside, name, "an index is out of range", expected=f"0 to {width}, exclusive")
    # Within a line indices ascend; where a new line begins they may start again.
    begins = torch.zeros(*shape[:batch], count + 1, dtype=torch.bool).scatter_(-1, ends, True)
    ascending = (plain[..., 1:] > plain[..., :-1]) | begins[..., 1:count]
    _check(bool(ascending.all()), name, "indices are repeated or out of order")


def _check(
    fine: bool, name: str, message: str, *, expected: str | None = None, found: str | None = None
) -> None:
    if not fine:
        raise errors.invalid_sparse(message, name, expected=expected, found=found)
