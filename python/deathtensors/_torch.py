"""Torch tensors as sources, and buffers as torch tensors.

Importing this imports torch; nothing else here does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.dlpack import to_dlpack  # type: ignore[attr-defined, unused-ignore]

from . import _deathtensors, errors
from ._endian import BIG, swapped

if TYPE_CHECKING:
    from ._deathtensors import Buffer, Source

#: The format's name -> torch's dtype, of those that this torch has.
DTYPES: dict[str, torch.dtype] = {
    name: getattr(torch, torch_name.split(".")[1])
    for name, _, torch_name, _ in _deathtensors.DTYPES
    if torch_name is not None and hasattr(torch, torch_name.split(".")[1])
}
NAMES: dict[torch.dtype, str] = {dtype: name for name, dtype in DTYPES.items()}

_STRIDED = torch.strided
_PLAIN = (torch.Tensor, torch.nn.Parameter)
_UINT8 = torch.uint8


# --- buffer -> tensor


def tensor(buffer: Buffer, dtype: str, shape: Sequence[int], name: str) -> torch.Tensor:
    """The bytes as a tensor of that dtype and shape, without a copy."""
    kind = DTYPES.get(dtype)
    if kind is None:
        raise errors.usage(
            f"torch {torch.__version__} has no dtype for {dtype}; get_bytes() returns the bytes",
            code="usage.unavailable",
            tensor=name,
        )
    if dtype == "F4":
        shape = _packed_shape(shape, name)
    if not buffer.nbytes:
        return torch.empty(tuple(shape), dtype=kind, device="cpu")
    data: Any = swapped(buffer, dtype) if BIG else buffer
    value = torch.frombuffer(data, dtype=kind)
    # Of the same number of elements, so nothing is resized; unlike reshape() it
    # makes no view of another tensor, which costs less and holds no base alive.
    return value if len(shape) == 1 else value.resize_(tuple(shape))


def _packed_shape(shape: Sequence[int], name: str) -> list[int]:
    # torch counts pairs of 4-bit numbers, the format counts numbers.
    if not shape or shape[-1] % 2:
        raise errors.usage(
            "torch packs F4 in pairs along the last axis; get_bytes() returns the bytes",
            code="usage.unavailable",
            tensor=name,
            expected="a last axis of even length",
            found=f"shape {list(shape)}",
        )
    return [*shape[:-1], shape[-1] // 2]


# --- tensor -> source


class _Bytes:
    """A contiguous tensor's memory as bytes, exported when it is asked for.

    Bytes, because DLPack does not know every dtype that torch does.
    """

    __slots__ = ("_tensor",)

    def __init__(self, value: torch.Tensor) -> None:
        self._tensor = value

    def __dlpack__(self, **_: object) -> object:
        return to_dlpack(self._tensor.detach().reshape(-1).view(_UINT8))

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0  # kDLCPU


def source(name: str, value: torch.Tensor, metadata: Mapping[str, str] | None) -> Source:
    """A tensor as a source for the compiled module.

    Contiguous tensors in CPU memory are written from where they are; others are
    copied when it is their turn, so that one copy lives at a time.
    """
    if type(value) not in _PLAIN:
        value = _plain(name, value)
    dtype = NAMES.get(value.dtype)
    if dtype is None or value.layout is not _STRIDED or value.is_nested:
        dtype = _unusual(name, value)
    shape = tuple(value.shape)
    if dtype == "F4":
        shape = _unpacked_shape(shape, name)
    if not value.numel():
        return name, dtype, shape, b"", metadata, None
    if value.is_meta:
        raise errors.usage("a meta tensor has no data", tensor=name)
    address = _address(name, value)
    _check_storage(name, value)
    if (
        address
        and value.is_cpu
        and value.is_contiguous()
        and not value.is_conj()
        and not value.is_neg()
        and not BIG
    ):
        return name, dtype, shape, _Bytes(value), metadata, address
    return name, dtype, shape, partial(_copy, value, dtype), metadata, _tie(value, address)


def _copy(value: torch.Tensor, dtype: str) -> Any:
    """The tensor's bytes as on disk, in memory of their own."""
    with torch.no_grad():
        if value.is_mkldnn:
            value = value.to_dense()
        # copy_ resolves what a view may hide: strides, device, conjugation, sign.
        fresh = torch.empty(value.shape, dtype=value.dtype, device="cpu").copy_(value)
    if not BIG:
        return _Bytes(fresh)
    from ctypes import string_at

    return swapped(string_at(fresh.data_ptr(), fresh.nbytes), dtype)


def _address(name: str, value: torch.Tensor) -> int:
    """Where the tensor's memory starts, or 0 where that is nobody's business."""
    try:
        return value.data_ptr()
    except RuntimeError:
        if value.is_mkldnn or not value.is_cpu:
            return 0
        raise errors.usage(
            "a tensor inside a transform (vmap, grad) or a trace has no data of its own",
            tensor=name,
        ) from None


def _check_storage(name: str, value: torch.Tensor) -> None:
    """Refuse a tensor that reaches beyond its storage, as after ``resize_(0)``."""
    try:
        held = value.untyped_storage().nbytes()
        # Of a contiguous tensor, its elements; otherwise one more than the last one's place.
        extent = (
            value.numel()
            if value.is_contiguous()
            else 1 + sum((dim - 1) * step for dim, step in zip(value.shape, value.stride()))
        )
        needed = (value.storage_offset() + extent) * value.element_size()
    except (RuntimeError, NotImplementedError):  # it has no storage in this sense
        return
    if needed > held:
        raise errors.usage(
            "its storage was freed or is too small",
            tensor=name,
            expected=f"at least {needed} bytes",
            found=f"{held} bytes",
        )


def _tie(value: torch.Tensor, address: int) -> tuple[object, ...] | None:
    if not address:
        return None
    return address, str(value.device), value.stride(), value.is_conj(), value.is_neg()


def _unpacked_shape(shape: tuple[int, ...], name: str) -> tuple[int, ...]:
    if not shape:
        raise errors.usage(
            "a float4 scalar holds two numbers; reshape it to (1,) first", tensor=name
        )
    return (*shape[:-1], shape[-1] * 2)


def _unusual(name: str, value: torch.Tensor) -> str:
    """The dtype of a tensor that is not simply strided, or the reason why not."""
    if value.is_nested:
        raise errors.usage("a nested tensor; save its parts, or pad it", tensor=name)
    if value.is_quantized:
        raise errors.usage(
            "a quantised tensor; save its int_repr(), scale and zero point, or dequantize() it",
            tensor=name,
        )
    layout = value.layout
    if layout is not _STRIDED and not value.is_mkldnn:
        raise errors.usage(f"a tensor of layout {layout}; use save_sparse()", tensor=name)
    dtype = NAMES.get(value.dtype)
    if dtype is None:
        raise errors.usage(
            "dtype cannot be stored",
            tensor=name,
            expected="one that the format has",
            found=str(value.dtype),
        )
    return dtype


def _plain(name: str, value: torch.Tensor) -> torch.Tensor:
    """A subclass's own memory, where it has any."""
    kind = type(value).__name__
    if value.is_nested:
        raise errors.usage("a nested tensor; save its parts, or pad it", tensor=name)
    if torch.nn.parameter.is_lazy(value):
        raise errors.usage("an uninitialised parameter has no data", tensor=name)
    try:
        with torch._C.DisableTorchFunctionSubclass():
            plain = value.as_subclass(torch.Tensor)
            held = plain.is_meta or plain.layout is not _STRIDED or _has_memory(plain)
    except (RuntimeError, NotImplementedError, TypeError):
        held = False
    if not held:
        raise errors.usage(
            f"a {kind} has no memory of its own; convert it to a plain tensor first",
            tensor=name,
        )
    return plain


def _has_memory(value: torch.Tensor) -> bool:
    # A wrapper around other tensors, or a fake one, has a storage in name only.
    storage = value.untyped_storage()
    return storage.device.type == value.device.type and (
        not value.numel() or storage.data_ptr() != 0
    )
