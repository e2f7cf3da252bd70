"""NumPy arrays as sources, and buffers as NumPy arrays.

Importing this imports numpy; nothing else here does.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _deathtensors, errors
from ._endian import BIG, WIDTHS, swapped

if TYPE_CHECKING:
    from ._deathtensors import Buffer, Source

_NUMPY_NAMES = {dtype: name for dtype, _, _, name in _deathtensors.DTYPES if name is not None}
#: Those that numpy has itself; the others are in the ``ml_dtypes`` package.
_OWN = {dtype: np.dtype(name) for dtype, name in _NUMPY_NAMES.items() if name[0] in "<|"}
#: As they are on disk: these arrays can be written as they stand.
_NAMES: dict[np.dtype[Any], str] = {dtype: name for name, dtype in _OWN.items()}
_EXTENDED = {name: dtype for dtype, name in _NUMPY_NAMES.items() if dtype not in _OWN}
_DTYPES: dict[str, np.dtype[Any]] = dict(_OWN)


# --- buffer -> array


def array(buffer: Buffer, dtype: str, shape: Sequence[int], name: str) -> np.ndarray[Any, Any]:
    """The bytes as an array of that dtype and shape, without a copy."""
    kind = _DTYPES.get(dtype)
    if kind is None:
        kind = _extended_dtype(dtype, name)
    if not buffer.nbytes:
        return np.empty(shape, kind)
    # The format's own dtypes say "<", so that numpy itself minds the byte order.
    data: Any = swapped(buffer, dtype) if BIG and dtype not in _OWN else buffer
    view: np.ndarray[Any, Any] = np.ndarray(shape, kind, data)
    return view


def _extended_dtype(dtype: str, name: str) -> np.dtype[Any]:
    wanted = _NUMPY_NAMES.get(dtype)
    if wanted is None:
        raise errors.usage(
            f"numpy has no dtype for {dtype}; get_bytes() returns the packed bytes",
            code="usage.unavailable",
            tensor=name,
        )
    try:
        import ml_dtypes
    except ModuleNotFoundError as error:
        raise errors.missing_package("ml_dtypes", f"for {dtype} arrays", "ml_dtypes") from error
    scalar = getattr(ml_dtypes, wanted, None)
    if scalar is None:
        raise errors.missing_package(
            f"a newer ml_dtypes than {ml_dtypes.__version__}",
            f"for {dtype} arrays",
            "--upgrade ml_dtypes",
        )
    found: np.dtype[Any] = np.dtype(scalar)
    _DTYPES[dtype] = found
    return found


# --- array -> source


def source(name: str, value: Any, metadata: Mapping[str, str] | None) -> Source:
    """An array, or a scalar of numpy's, as a source for the compiled module.

    Little-endian C-contiguous arrays are written from where they are; others are
    copied when it is their turn.
    """
    plain = value if type(value) is np.ndarray else _plain(name, value)
    kind = plain.dtype
    dtype = _NAMES.get(kind) or _disk_dtype(name, kind)
    shape = plain.shape
    if not plain.size:
        return name, dtype, shape, b"", metadata, None
    address = plain.__array_interface__["data"][0]
    if not plain.flags.c_contiguous or not _as_on_disk(kind):
        tie = (address, plain.strides, kind.str)
        return name, dtype, shape, partial(_copy, plain, dtype), metadata, tie
    # Arrays of the extended dtypes have no buffer protocol of their own.
    data = plain if kind in _NAMES else plain.reshape(-1).view(np.uint8)
    return name, dtype, shape, data, metadata, address


def dtype_name(name: str, dtype: Any) -> str:
    """The format's name for something that numpy takes for a dtype."""
    kind = np.dtype(dtype)
    return _NAMES.get(kind) or _disk_dtype(name, kind)


def _plain(name: str, value: Any) -> np.ndarray[Any, Any]:
    if isinstance(value, np.ma.MaskedArray):
        raise errors.usage(
            "a masked array would lose its mask; call .filled() or save data and mask",
            tensor=name,
        )
    return np.asarray(value)


def _disk_dtype(name: str, kind: np.dtype[Any]) -> str:
    dtype = _EXTENDED.get(kind.name)
    if dtype is None and kind.names is None and kind.kind in "biufc":
        dtype = _NAMES.get(kind.newbyteorder("<"))
    if dtype is not None:
        return dtype
    if kind.name.startswith(
        ("float4", "float6", "int2", "int4", "uint2", "uint4", "int1", "uint1")
    ):
        why = (
            f"numpy keeps {kind.name} one element to a byte; pack it and save (dtype, shape, bytes)"
        )
    elif kind.char in "gG":
        why = f"{kind.name} differs from machine to machine; convert it to float64 or complex128"
    else:
        why = f"an array of numpy dtype {kind} cannot be stored"
    raise errors.usage(why, tensor=name)


def _as_on_disk(kind: np.dtype[Any]) -> bool:
    if kind in _NAMES:
        return True
    return kind.isnative and (kind.itemsize == 1 or sys.byteorder == "little")


def _copy(plain: np.ndarray[Any, Any], dtype: str) -> Any:
    if dtype in _OWN:
        return np.ascontiguousarray(plain, dtype=_OWN[dtype])
    # An extended dtype: numpy cannot turn it round, but its bits it can.
    width = WIDTHS.get(dtype, 1)
    bits = np.ascontiguousarray(plain).reshape(-1).view(f"u{width}")
    return np.ascontiguousarray(bits, dtype=f"<u{width}")
