"""Models, damage and bounds for the tests that try many inputs.

In the tests they are the same every time. ``make fuzz-python`` sets
``DEATHTENSORS_FUZZ`` to a factor: so many times as many inputs, new ones each time.
"""

from __future__ import annotations

import functools
import io
import os
import re
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import DTYPE_BITS, NUMPY_DTYPES, data_for

FACTOR = int(os.environ.get("DEATHTENSORS_FUZZ", "0"))
#: How many inputs were tried so far, over all tests.
tried = 0


def fuzzed(examples: int, **strategies: Any) -> Callable[[Any], Any]:
    """A test that is given many inputs: so many, or ``FACTOR`` times as many."""

    def decorate(test: Any) -> Any:
        @functools.wraps(test)
        def counted(*args: Any, **kwargs: Any) -> None:
            global tried
            tried += 1
            test(*args, **kwargs)

        return settings(max_examples=examples * (FACTOR or 1))(given(**strategies)(counted))

    return decorate


#: What a terminal acts upon, except for the ends of lines.
ACTED_UPON = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]"
)


# --- models


@dataclass
class Made:
    """One tensor: what is to be on disk, and how it is handed over."""

    dtype: str
    shape: list[int]
    data: bytes
    form: str = "tuple"
    metadata: dict[str, str] = field(default_factory=dict)

    def value(self) -> Any:
        """Something that ``save`` takes for this tensor."""
        array = self.array()
        if self.form == "tuple" or array is None:
            return self.dtype, self.shape, self.data
        if self.form == "mapping":
            return {"dtype": self.dtype, "shape": self.shape, "data": bytearray(self.data)}
        if self.form == "later":
            return self.dtype, self.shape, lambda: self.data
        if self.form == "buffer":
            return self.dtype, self.shape, memoryview(self.data)
        if self.form == "torch" and self.dtype in ("F32", "F64", "I64", "U8", "BOOL", "C64"):
            import torch

            return torch.from_numpy(array.copy())
        return _laid_out(array, self.form)

    def array(self) -> Any:
        """As a NumPy array; None where NumPy has no such dtype."""
        kind = NUMPY_DTYPES.get(self.dtype)
        if kind is None:
            return None
        return np.frombuffer(self.data, kind).reshape(self.shape)


def _laid_out(array: Any, form: str) -> Any:
    """The same values in another order of memory, or of bytes."""
    if form == "big-endian" and array.dtype.kind in "iufc" and array.dtype.itemsize > 1:
        return array.byteswap().view(array.dtype.newbyteorder(">"))
    if not array.ndim:
        return array  # most of these would give it an axis
    if form == "fortran":
        return np.asfortranarray(array)
    if form == "strided":
        wide = np.zeros([2 * dim for dim in array.shape], array.dtype)
        view = wide[tuple(slice(None, 2 * dim, 2) for dim in array.shape)]
        view[...] = array
        return view
    if form == "backwards":
        turn = (slice(None, None, -1),) * array.ndim
        return np.ascontiguousarray(array[turn])[turn]
    if form == "transposed":
        return np.ascontiguousarray(array.T).T
    return array  # of bytes, hence read-only


FORMS = (
    "tuple", "mapping", "later", "buffer", "torch", "read-only", "fortran", "big-endian",
    "strided", "backwards", "transposed",
)  # fmt: skip

_letters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
_odd_names = st.sampled_from(
    [
        "a", "weight", "layer.0.weight", "/", "..", "../x", "C:\\x", "__metadata__", "-", "--help",
        "*", "[a]", "?", "e\u0301", "\u00e9", "\u202e", "\x1b[2J", "\n", "\t", " ", "\x7f", "\x85",
        "\u200b", "\ufeff", "\U0001f480", "\U0010ffff", "n" * 4096, "\u91cd" * 1365, "True", "null",
        "{}", "\"", "\\", "\\u0000", "%s", "{0}", "$HOME", "~",
    ]
)  # fmt: skip
names = st.one_of(_odd_names, st.text(_letters, min_size=1, max_size=12))
notes = st.dictionaries(
    st.one_of(st.text(_letters, max_size=8), _odd_names), st.text(_letters, max_size=30), max_size=3
)
shapes = st.one_of(
    st.just([]),
    st.lists(st.integers(0, 5), min_size=1, max_size=4),
    st.lists(st.integers(0, 2), min_size=5, max_size=8),
    st.lists(st.integers(0, 300), min_size=1, max_size=2),
)


@st.composite
def tensors(draw: Any, kinds: Any = None, large: bool = True) -> Made:
    """Any dtype, rank 0 to 8, sizes from nothing to several frames of zstd."""
    dtype = draw(st.sampled_from(kinds or list(DTYPE_BITS)))
    shape = list(draw(shapes))
    if large and draw(st.integers(0, 30)) == 13:
        shape = [draw(st.integers(1, 40)), 16 << 10]
    per_byte = {4: 2, 6: 4}.get(DTYPE_BITS[dtype], 1)
    if per_byte > 1:
        shape = [*shape, per_byte] if shape else [per_byte]
    data = data_for(dtype, shape, draw(st.integers(0, 2**20)))
    if draw(st.booleans()) and dtype != "BOOL":
        data = data[: len(data) // 2] + bytes(len(data) - len(data) // 2)  # compresses
    return Made(dtype, shape, data, draw(st.sampled_from(FORMS)), draw(notes))


def models(kinds: Any = None, least: int = 0, most: int = 6, large: bool = True) -> Any:
    """Some tensors by name."""
    return st.dictionaries(names, tensors(kinds, large), min_size=least, max_size=most)


options = st.fixed_dictionaries(
    {
        "checksum": st.booleans(),
        "digests": st.booleans(),
        "compress": st.booleans(),
        "compress_level": st.sampled_from([1, 3, 9]),
        "alignment": st.sampled_from([None, 1, 2, 8, 64, 256, 4096]),
    }
)


def write(path: Any, model: dict[str, Made], **how: Any) -> None:
    """Save a model with this library."""
    import deathtensors as dt

    metadata = {name: made.metadata for name, made in model.items()}
    dt.save(path, {name: made.value() for name, made in model.items()}, metadata, **how)


def check(reader: Any, model: dict[str, Made], *, metadata: bool = True) -> None:
    """See that a reader has exactly this model, in any way of asking."""
    assert reader.keys() == list(model) and len(reader) == len(model)
    for name, made in model.items():
        info = reader.info(name)
        assert (info["name"], info["dtype"]) == (name, made.dtype)
        assert (list(info["shape"]), info["nbytes"]) == (made.shape, len(made.data))
        assert not metadata or info["metadata"] == made.metadata
        assert reader.get_bytes(name) == made.data
        assert bytes(reader.get_buffer(name)) == made.data
        wanted = made.array()
        if wanted is not None:
            array = reader.get_tensor(name, "numpy")
            assert (array.dtype, array.shape) == (wanted.dtype, wanted.shape)
            assert array.tobytes() == made.data


def command(*words: str) -> tuple[int, str]:
    """One command: its exit status, and all that it printed."""
    import deathtensors as dt

    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(out):
        status = dt.main(list(words))
    return status, out.getvalue()


# --- damage

#: What can happen to a file: an operation, a place from 0 to 1, and some bytes.
hurts = st.lists(
    st.tuples(
        st.sampled_from(
            ["flip", "set", "insert", "delete", "cut", "splice", "number", "word", "length"]
        ),
        st.floats(0, 1, exclude_max=True),
        st.one_of(
            st.binary(min_size=1, max_size=8),
            st.sampled_from([b"\xff" * 8, bytes(8), b"\x7f" + b"\xff" * 7, b"0", b"-1", b"1e9",
                             b"18446744073709551616", b"9007199254740993", b'"', b"{", b"\\u0000"]),
        ),
    ),
    min_size=1,
    max_size=4,
)  # fmt: skip


def hurt(data: bytes, other: bytes, how: list[tuple[str, float, bytes]]) -> bytes:
    """A file after some damage; ``splice`` goes on with the other file."""
    for what, where, some in how:
        at = int(where * len(data))
        if what == "flip" and data:
            data = data[:at] + bytes([data[at] ^ (some[0] or 1)]) + data[at + 1 :]
        elif what == "set":
            data = data[:at] + some + data[at + len(some) :]
        elif what == "insert":
            data = data[:at] + some * (1 + some[0] % 3) + data[at:]
        elif what == "delete":
            data = data[:at] + data[at + 1 + some[0] :]
        elif what == "cut":
            data = data[:at]
        elif what == "splice":
            data = data[:at] + other[int(some[0] / 256 * len(other)) :]
        elif what in ("number", "word"):
            # Within the header, whose length is put right afterwards.
            begin = 24 if data[:8] == b"DTLEGION" else 8
            length = int.from_bytes(data[begin - 8 : begin], "little")
            text = data[begin : begin + min(length, 1 << 20)]
            pattern = rb"\d+" if what == "number" else rb'"[^"]*"'
            places = list(re.finditer(pattern, text))
            if not places:
                continue
            place = places[int(where * len(places))]
            new = some if what == "number" else b'"' + some + b'"'
            text = text[: place.start()] + new + text[place.end() :]
            rest = data[begin + length :] if length < len(data) else b""
            data = data[: begin - 8] + len(text).to_bytes(8, "little") + text + rest
        elif what == "length" and len(data) > 24:
            begin = 16 if data[:8] == b"DTLEGION" else 0
            data = data[:begin] + (some + bytes(8))[:8] + data[begin + 8 :]
    return data


# --- bounds


class TooLong(BaseException):
    """What took too long, whatever the code in between catches."""


@contextmanager
def bounded(seconds: float = 20, memory: int = 768 << 20) -> Iterator[None]:
    """End what takes too long, and refuse memory beyond what is there already.

    Args:
        seconds: after which ``TooLong`` is raised.
        memory: bytes of address space that may be added.
    """

    def stop(*_: object) -> None:
        raise TooLong(f"not done after {seconds} s")

    with open("/proc/self/statm") as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    resource.setrlimit(resource.RLIMIT_AS, (taken + memory, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
