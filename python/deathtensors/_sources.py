"""Values as users give them, turned into what the compiled module writes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Optional

from . import errors
from ._arguments import unicode_only
from ._deathtensors import DTYPES
from ._endian import BIG, swapped

if TYPE_CHECKING:
    from ._deathtensors import Source

_Handler = Callable[[str, Any, Optional[Mapping[str, str]]], "Source"]

#: What ``__dlpack_device__`` says of memory that the processor can read.
_CPU_DEVICES = (1, 3)  # kDLCPU, kDLCUDAHost

_BITS = {row[0]: row[1] for row in DTYPES}


def sources(
    tensors: Mapping[str, Any], metadata: Mapping[str, Mapping[str, str]] | None
) -> list[Source]:
    """Every value of a mapping as a source, in order; no data is copied here."""
    check_mapping(tensors)
    notes = _checked_metadata(tensors, metadata)
    # By type, since a model has thousands of values of one or two types.
    handlers: dict[type, _Handler] = {}
    found: list[Source] = []
    for name, value in tensors.items():
        kind = type(value)
        handler = handlers.get(kind)
        if handler is None:
            handler = handlers[kind] = _handler(name, value)
        found.append(handler(checked_name(name), value, notes.get(name)))
    return found


def tuple_sources(tensors: Iterable[Sequence[Any]]) -> list[Source]:
    """``(name, dtype, shape, data, metadata)`` tuples as sources."""
    found: list[Source] = []
    for row in tensors:
        if not isinstance(row, (tuple, list)) or len(row) != 5:
            raise errors.usage(
                "each tensor must be a tuple (name, dtype, shape, data, metadata)",
                found=f"{type(row).__name__} of length {len(row)}"
                if isinstance(row, (tuple, list))
                else type(row).__name__,
            )
        name, dtype, shape, data, metadata = row
        notes = string_mapping(metadata, f"metadata of tensor '{name}'")
        found.append(_raw_source(checked_name(name), dtype, shape, data, notes))
    return found


def string_mapping(mapping: Mapping[str, str] | None, what: str) -> dict[str, str] | None:
    """Metadata as a dict, once every key and value is known to be a string."""
    if mapping is None:
        return None
    if not isinstance(mapping, Mapping):
        raise errors.usage(f"{what} must be a mapping", found=type(mapping).__name__)
    for key, value in mapping.items():
        if not isinstance(key, str) or not isinstance(value, str):
            wrong = value if isinstance(key, str) else key
            where = f"'{key}'" if isinstance(key, str) else "a key"
            raise errors.usage(
                f"{what}: {where} must be a string",
                expected="str",
                found=f"{type(wrong).__name__} {wrong!r}",
            )
        if not (str.isascii(key) and str.isascii(value)):
            unicode_only(key, f"{what}: a key")
            unicode_only(value, f"{what}: '{key}'")
    return dict(mapping) or None


def check_mapping(tensors: object) -> None:
    """Refuse what is not a mapping of names to values."""
    if not isinstance(tensors, Mapping):
        hint = "; did you mean its state_dict()?" if hasattr(tensors, "state_dict") else ""
        raise errors.usage(
            f"tensors must be a mapping of names to values{hint}", found=type(tensors).__name__
        )


def checked_name(name: object) -> str:
    """A tensor's name, which must be a string."""
    if not isinstance(name, str):
        raise errors.usage(
            "a tensor's name must be a string", found=f"{type(name).__name__} {name!r}"
        )
    return unicode_only(name, "the name", tensor=name)


def _checked_metadata(
    tensors: Mapping[str, Any], metadata: Mapping[str, Mapping[str, str]] | None
) -> dict[str, dict[str, str] | None]:
    if metadata is None:
        return {}
    if not isinstance(metadata, Mapping):
        raise errors.usage(
            "metadata must be a mapping of tensor names to mappings", found=type(metadata).__name__
        )
    for name in metadata:
        if name not in tensors:
            raise errors.usage("has metadata but is not among the tensors", tensor=str(name))
    return {
        name: string_mapping(notes, f"metadata of tensor '{name}'")
        for name, notes in metadata.items()
    }


# --- one handler for each kind of value


def _handler(name: str, value: object) -> _Handler:
    """How to read values of this one's type."""
    # A value of a framework exists only once that framework is imported.
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, getattr(torch, "Tensor", ())):
        from ._torch import source as torch_source

        return torch_source
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, (numpy.ndarray, numpy.generic)):
        from ._numpy import source as numpy_source

        return numpy_source
    if isinstance(value, tuple):
        return _from_tuple
    if isinstance(value, Mapping):
        return _from_mapping
    return _from_object


def _from_tuple(name: str, value: Any, metadata: Mapping[str, str] | None) -> Source:
    if len(value) != 3 or not isinstance(value[0], str):
        raise _unsupported(name, value, "a tuple must be (dtype, shape, data)")
    return _raw_source(name, value[0], value[1], value[2], metadata)


def _from_mapping(name: str, value: Any, metadata: Mapping[str, str] | None) -> Source:
    missing = [key for key in ("dtype", "shape", "data") if key not in value]
    if missing:
        raise _unsupported(name, value, f"a mapping must have {', '.join(map(repr, missing))}")
    own = string_mapping(value.get("metadata"), f"metadata of tensor '{name}'")
    notes = {**(own or {}), **(metadata or {})} or None
    return _raw_source(name, value["dtype"], value["shape"], value["data"], notes)


def _raw_source(
    name: str, dtype: Any, shape: Any, data: Any, metadata: Mapping[str, str] | None
) -> Source:
    """Bytes that are already as on disk, or a callable that returns them."""
    if not isinstance(dtype, str):
        raise errors.usage("dtype must be a string", tensor=name, found=type(dtype).__name__)
    dims = _dimensions(name, shape)
    unicode_only(dtype, "dtype", tensor=name)
    if isinstance(data, (bytes, bytearray)):
        return name, dtype, dims, data, metadata, ("object", id(data))
    if callable(data):  # which may well return something else each time
        return name, dtype, dims, partial(_called, name, dtype, dims, data), metadata, None
    found, tie, _ = _raw_data(name, dtype, data)
    return name, dtype, dims, found, metadata, tie


def _raw_data(name: str, dtype: str, data: Any) -> tuple[Any, Any, tuple[int, ...] | None]:
    """What to write for data of a declared dtype, its tie, and its shape if it has one.

    Plain bytes are written as they are; numbers must be of the dtype declared.
    """
    plain = _plain_bytes(data)
    if plain is not None:
        return _contiguous(plain), _tie(plain, data), None
    handler = _handler(name, data)
    if handler is _from_tuple or handler is _from_mapping:
        raise _unsupported(name, data)
    _, got, shape, found, _, tie = handler(name, data, None)
    if got in ("U8", "I8") or (got == "BOOL" and dtype in ("U8", "I8")):
        return found, tie, tuple(shape) if got == dtype else None
    # Unsigned integers of the same width are bit patterns: the way to hand over
    # bfloat16 without a library that knows it.
    pattern = got.startswith("U") and _BITS.get(got) == _BITS.get(dtype)
    if got != dtype and dtype in _BITS and not pattern:
        raise errors.usage(
            "data is not of the dtype declared; give its bytes to store them as another",
            tensor=name,
            expected=dtype,
            found=got,
        )
    return found, tie, tuple(shape)


def _plain_bytes(data: Any) -> memoryview | None:
    """A view of data that does not say what numbers it holds; None where it does."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(data, getattr(torch, "Tensor", ())):
        return None
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(data, (numpy.ndarray, numpy.generic)):
        kind = data.dtype
        # ml_dtypes say that they are void, but have a name of their own.
        if kind.names is not None or not kind.name.startswith(("void", "bytes")):
            return None
    try:
        view = memoryview(data)
    except (TypeError, ValueError, BufferError):
        return None
    letters = view.format.lstrip("<>=@!")
    return None if letters in _KINDS and letters not in "Bbc" else view


def _called(name: str, dtype: str, dims: tuple[int, ...], function: Callable[[], Any]) -> Any:
    """What a function returned, checked and made ready like a direct value."""
    value = function()
    if isinstance(value, (bytes, bytearray)):
        return value
    if value is None:
        raise errors.usage("the function for its data returned None", tensor=name)
    found, _, shape = _raw_data(name, dtype, value)
    # A flat array is as good as bytes; the compiled module minds the length.
    if shape is not None and len(shape) > 1 and shape != dims:
        raise errors.usage(
            "the function for its data returned another shape than declared",
            tensor=name,
            expected=str(list(dims)),
            found=str(list(shape)),
        )
    return found() if callable(found) else found


def _contiguous(view: memoryview) -> Any:
    return view if view.c_contiguous else view.tobytes


def _tie(view: memoryview, owner: object) -> tuple[str, int] | None:
    """One object given twice is one memory, if the view keeps it alive meanwhile."""
    return ("object", id(owner)) if view.obj is owner else None


def _dimensions(name: str, shape: Any) -> tuple[int, ...]:
    try:
        dims = tuple(dim.__index__() for dim in shape)
    except (TypeError, AttributeError):
        dims = (-1,)
    if any(dim < 0 for dim in dims):
        raise errors.usage(
            "shape must be a sequence of integers of at least 0", tensor=name, found=repr(shape)
        )
    return dims


# --- objects with the buffer protocol

#: What the letters of a memoryview's format are: kind of number, by size in bytes.
_KINDS = {
    "?": "BOOL",
    **dict.fromkeys("BcHILQN", "U"),
    **dict.fromkeys("bhilqn", "I"),
    **dict.fromkeys("efd", "F"),
    **dict.fromkeys(("Zf", "Zd"), "C"),
}


def _from_object(name: str, value: Any, metadata: Mapping[str, str] | None) -> Source:
    try:
        view = memoryview(value)
    except (TypeError, ValueError, BufferError):
        return _from_protocol(name, value, metadata)
    order, letters = view.format[:1], view.format
    if order in "<>=@!":
        letters = letters[1:]
    else:
        order = "@"
    kind = _KINDS.get(letters)
    if kind is None:
        return _from_protocol(name, value, metadata)
    dtype = kind if kind == "BOOL" else f"{kind}{8 * view.itemsize}"
    big = order in ">!" or (order in "=@" and BIG)
    turned = big and view.itemsize > 1
    data = partial(_swapped_view, view, dtype) if turned else _contiguous(view)
    return name, dtype, tuple(view.shape or ()), data, metadata, _tie(view, value)


def _swapped_view(view: memoryview, dtype: str) -> Any:
    return swapped(view.tobytes(), dtype)


# --- objects of other frameworks


def _from_protocol(name: str, value: Any, metadata: Mapping[str, str] | None) -> Source:
    """Anything that can show itself as a numpy array or through DLPack."""
    if not (hasattr(value, "__array__") or hasattr(value, "__dlpack__")):
        raise _unsupported(name, value)
    lazy = None if _in_memory(value) else _described(name, value)
    if lazy is None:
        return _as_source(name, value, metadata)
    dtype, shape = lazy
    # Elsewhere than in memory (a device, another file): fetched when it is its turn.
    return name, dtype, shape, partial(_fetch, name, value, dtype, shape), metadata, None


def _in_memory(value: Any) -> bool:
    device = getattr(value, "__dlpack_device__", None)
    try:
        return device is not None and device()[0] in _CPU_DEVICES
    except Exception:  # another library's code
        return False


def _described(name: str, value: Any) -> tuple[str, tuple[int, ...]] | None:
    """Its dtype and shape in the format's terms, if it says so in numpy's."""
    try:
        from ._numpy import dtype_name

        return dtype_name(name, value.dtype), tuple(int(dim) for dim in value.shape)
    except Exception:  # no numpy, or a dtype that only its own library understands
        return None


def _fetch(name: str, value: Any, dtype: str, shape: tuple[int, ...]) -> Any:
    _, got, dims, data, _, _ = _as_source(name, value, None)
    if (got, tuple(dims)) != (dtype, shape):
        raise errors.usage(
            "changed while it was being saved",
            tensor=name,
            expected=f"{dtype} {list(shape)}",
            found=f"{got} {list(dims)}",
        )
    return data() if callable(data) else data


def _as_source(name: str, value: Any, metadata: Mapping[str, str] | None) -> Source:
    reasons = []
    for convert in (_by_array, _by_numpy, _by_torch):
        try:
            other = convert(value)
        except Exception as error:  # another library's code
            reasons.append(f"{type(error).__name__}: {error}")
            continue
        if other is not None:
            return _handler(name, other)(name, other, metadata)
    raise _unsupported(name, value, "; ".join(reasons))


def _by_array(value: Any) -> Any:
    if not hasattr(value, "__array__"):
        return None
    import numpy

    return numpy.asarray(value)


def _by_numpy(value: Any) -> Any:
    if not hasattr(value, "__dlpack__"):
        return None
    import numpy

    return numpy.from_dlpack(value)


def _by_torch(value: Any) -> Any:
    if not hasattr(value, "__dlpack__"):
        return None
    from torch.utils.dlpack import from_dlpack

    return from_dlpack(value)


def _unsupported(name: str, value: object, why: str = "") -> errors.DeathTensorsError:
    return errors.usage(
        f"value cannot be stored{f': {why}' if why else ''}",
        tensor=name,
        expected="a torch tensor, a numpy array, (dtype, shape, bytes), or an object with "
        "DLPack or the buffer protocol",
        found=type(value).__name__,
    )
