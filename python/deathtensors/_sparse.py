"""Sparse torch tensors, stored as groups of ordinary ones.

A sparse tensor ``w`` is stored as its parts: ``w.values`` and ``w.shape``, and its
indices, which are ``w.indices`` (COO), ``w.crow_indices`` and ``w.col_indices``
(CSR, BSR), or ``w.ccol_indices`` and ``w.row_indices`` (CSC, BSC). Each part's
metadata says ``sparse_role`` and ``sparse_parent``; ``sparse_layout`` says which of
the compressed layouts it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

from . import errors
from ._arguments import looked_up
from ._reader import Reader

if TYPE_CHECKING:
    from ._file import DtFile
    from ._paths import StrPath
    from ._sharded import ShardedReader


def save_sparse(path: StrPath, tensors: Mapping[str, Any], **kwargs: Any) -> None:
    """Save tensors, some of which may be sparse: COO, CSR, CSC, BSR or BSC.

    An uncoalesced COO tensor is stored, and comes back, uncoalesced. Values that are
    not sparse are saved as ``save`` does.

    Args:
        path: the file to write.
        tensors: values by name.
        kwargs: as for ``save``. Metadata for a sparse tensor's name goes to its
            values.

    Raises:
        UsageError: two names collide, or a value cannot be used.

    >>> import torch, deathtensors as dt
    >>> dt.save_sparse("sparse.deathtensors", {"w": torch.eye(3).to_sparse()})
    >>> with dt.open("sparse.deathtensors") as f:
    ...     print(f.keys(), dt.get_sparse(f, "w").to_dense().trace().item())
    ['w.indices', 'w.values', 'w.shape'] 3.0
    """
    _with_torch().save_parts(path, tensors, **kwargs)


def get_sparse(f: DtFile | ShardedReader, name: str) -> Any:
    """Read a tensor saved by ``save_sparse`` in its layout; a dense one as it is.

    Indices are checked before torch sees them. Each of its parts is a call of its own for
    the limit ``memory_bytes``.

    Args:
        f: an open file or sharded model.
        name: the name under which the sparse tensor was saved.

    Raises:
        TensorNotFoundError: there is neither a sparse nor a dense tensor of that name.
        FormatError: the parts do not make a sparse tensor (code ``sparse.invalid``).
    """
    if not isinstance(f, Reader):
        raise errors.usage("f must be an open file or sharded model", found=type(f).__name__)
    return _with_torch().get_parts(f, looked_up(name))


def _with_torch() -> ModuleType:
    try:
        from . import _sparse_torch
    except ModuleNotFoundError as error:
        raise errors.missing_package("torch", "for sparse tensors", "torch") from error
    return _sparse_torch
