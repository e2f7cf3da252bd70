"""Statistics agree with an exact, slow reference made of fractions."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import deathtensors as dt
from helpers import DTYPE_BITS, NUMPY_DTYPES, data_for

INTEGERS = {"U8", "I8", "U16", "I16", "I32", "U32", "I64", "U64"}
FIELDS = (
    "dtype", "shape", "nbytes", "count", "min", "max", "mean", "stddev", "nnz", "nan", "posinf",
    "neginf", "absmax", "l2",
)  # fmt: skip


# --- every dtype decoded by hand, bit by bit


def small_float(bits: int, exponent: int, mantissa: int, bias: int) -> float:
    """A float without infinities or NaN: sign, exponent, mantissa."""
    sign = -1.0 if bits >> (exponent + mantissa) & 1 else 1.0
    e = bits >> mantissa & ((1 << exponent) - 1)
    m = bits & ((1 << mantissa) - 1)
    if e == 0:
        return sign * math.ldexp(m, 1 - bias - mantissa)
    return sign * math.ldexp((1 << mantissa) + m, e - bias - mantissa)


def f8_e4m3(b: int) -> float:
    return math.nan if b & 0x7F == 0x7F else small_float(b, 4, 3, 7)


def f8_e5m2(b: int) -> float:
    if b & 0x7C == 0x7C:
        return math.nan if b & 3 else (-math.inf if b & 0x80 else math.inf)
    return small_float(b, 5, 2, 15)


def f8_e8m0(b: int) -> float:
    return math.nan if b == 255 else math.ldexp(1.0, b - 127)


def fnuz(b: int, exponent: int, mantissa: int, bias: int) -> float:
    return math.nan if b == 0x80 else small_float(b, exponent, mantissa, bias)


def packed(data: bytes, width: int) -> Iterator[int]:
    """Elements narrower than a byte, the first in the lowest bits."""
    whole = int.from_bytes(data, "little")
    for i in range(len(data) * 8 // width):
        yield whole >> (i * width) & ((1 << width) - 1)


def decode(dtype: str, data: bytes) -> list[Any]:
    codes = {"U8": "B", "I8": "b", "U16": "H", "I16": "h", "U32": "I", "I32": "i", "U64": "Q",
             "I64": "q", "F16": "e", "F32": "f", "F64": "d"}  # fmt: skip
    if dtype in codes:
        count = len(data) * 8 // DTYPE_BITS[dtype]
        return list(struct.unpack(f"<{count}{codes[dtype]}", data))
    if dtype == "BOOL":
        return [int(b != 0) for b in data]
    if dtype == "BF16":
        pairs = struct.unpack(f"<{len(data) // 2}H", data)
        return [struct.unpack("<f", struct.pack("<I", bits << 16))[0] for bits in pairs]
    if dtype in ("C64", "C128"):
        parts = decode({"C64": "F32", "C128": "F64"}[dtype], data)
        return [complex(re, im) for re, im in zip(parts[::2], parts[1::2])]
    if dtype == "F4":
        return [small_float(bits, 2, 1, 1) for bits in packed(data, 4)]
    if dtype == "F6_E2M3":
        return [small_float(bits, 2, 3, 1) for bits in packed(data, 6)]
    if dtype == "F6_E3M2":
        return [small_float(bits, 3, 2, 3) for bits in packed(data, 6)]
    by_byte = {
        "F8_E4M3": f8_e4m3,
        "F8_E5M2": f8_e5m2,
        "F8_E8M0": f8_e8m0,
        "F8_E4M3FNUZ": lambda b: fnuz(b, 4, 3, 8),
        "F8_E5M2FNUZ": lambda b: fnuz(b, 5, 2, 16),
    }
    return [by_byte[dtype](b) for b in data]


def reference(dtype: str, data: bytes) -> dict[str, Any]:
    values = decode(dtype, data)
    nnz = sum(1 for v in values if v != 0)  # NaN is not zero
    magnitudes = [math.hypot(v.real, v.imag) if isinstance(v, complex) else v for v in values]
    finite = [Fraction(v) for v in magnitudes if math.isfinite(v)]
    n = len(finite)
    mean = sum(finite, Fraction()) / n if n else None
    squares = sum((v * v for v in finite), Fraction())
    variance = sum(((v - mean) ** 2 for v in finite), Fraction()) / n if n else None
    return {
        "count": len(values),
        "nnz": nnz,
        "nan": sum(math.isnan(v) for v in magnitudes),
        "posinf": sum(v == math.inf for v in magnitudes),
        "neginf": sum(v == -math.inf for v in magnitudes),
        "min": min(finite) if n else None,
        "max": max(finite) if n else None,
        "absmax": max(map(abs, finite)) if n else None,
        "mean": mean,
        "stddev": root(variance),
        "l2": root(squares),
    }


def root(square: Fraction | None) -> Fraction | None:
    """A square root to 200 binary digits."""
    if square is None:
        return None
    scaled = (square.numerator << 800) // square.denominator
    return Fraction(math.isqrt(scaled), 1 << 400)


def stats(tmp_path: Path, dtype: str, data: bytes, shape: list[int], **how: Any) -> dict[str, Any]:
    path = tmp_path / "x.deathtensors"
    dt.save_file(path, [("w", dtype, shape, data, {})], **how)
    with dt.open(path) as f:
        found = f.stats("w")
        assert found == f.all_stats()["w"] or any(v != v for v in found.values())
    return found


def check(found: dict[str, Any], wanted: dict[str, Any], dtype: str, tolerance: float) -> None:
    for field in ("count", "nnz", "nan", "posinf", "neginf"):
        assert found[field] == wanted[field], field
    if wanted["mean"] is None:
        for field in ("min", "max", "mean", "stddev"):
            assert math.isnan(found[field]), field
        return
    for field in ("min", "max", "absmax"):
        exact = wanted[field]
        if dtype in INTEGERS:
            assert type(found[field]) is int
            assert found[field] == exact, field
        elif dtype in ("C64", "C128"):
            assert found[field] == pytest.approx(float(exact), rel=1e-15), field
        else:
            assert Fraction(found[field]) == exact, field
    # The scale of rounding errors is that of the values, not of their sum.
    for field in ("mean", "stddev"):
        error = abs(Fraction(found[field]) - wanted[field])
        assert error <= Fraction(tolerance) * max(wanted["absmax"], wanted[field]), field
    assert abs(Fraction(found["l2"]) - wanted["l2"]) <= Fraction(tolerance) * wanted["l2"]


@pytest.mark.parametrize("dtype", DTYPE_BITS)
def test_every_bit_pattern_or_many_of_every_dtype(dtype: str, tmp_path: Path) -> None:
    bits = DTYPE_BITS[dtype]
    if bits <= 16:
        width = max(bits, 8)
        size = (1 << width) * width // 8
        data = b"".join(i.to_bytes(width // 8, "little") for i in range(1 << width))
        if bits < 8:  # every triple of bytes' worth of patterns is too much; every byte is enough
            data = bytes(range(256)) * 3
        assert bits < 8 or len(data) == size
        data = bytes(i % 2 for i in range(256)) if dtype == "BOOL" else data
    else:
        data = data_for(dtype, [4096])
        # Random bits of floats are of every size; sums would lose all but the largest.
        if dtype in ("F32", "F64", "C64", "C128"):
            random = np.random.default_rng(1).standard_normal(8192)
            data = random.astype("<f4" if dtype in ("F32", "C64") else "<f8").tobytes()
    count = len(data) * 8 // bits
    found = stats(tmp_path, dtype, data, [count])
    assert tuple(found) == FIELDS
    assert (found["dtype"], found["shape"], found["nbytes"]) == (dtype, [count], len(data))
    check(found, reference(dtype, data), dtype, 1e-12)


@settings(max_examples=300)
@given(
    dtype=st.sampled_from(["F16", "BF16", "F32", "F64", "C64", "C128", "F8_E4M3", "F8_E5M2"]),
    raw=st.binary(min_size=0, max_size=160),
)
def test_arbitrary_bits_with_nan_and_infinities(dtype: str, raw: bytes, tmp_path: Path) -> None:
    size = DTYPE_BITS[dtype] // 8
    data = raw[: len(raw) // size * size]
    found = stats(tmp_path, dtype, data, [len(data) // size])
    wanted = reference(dtype, data)
    for field in ("count", "nnz", "nan", "posinf", "neginf"):
        assert found[field] == wanted[field], field
    if wanted["mean"] is not None and dtype not in ("C64", "C128"):
        assert Fraction(found["min"]) == wanted["min"]
        assert Fraction(found["max"]) == wanted["max"]


@settings(max_examples=200)
@given(dtype=st.sampled_from(sorted(INTEGERS)), raw=st.binary(min_size=8, max_size=400))
def test_integers_are_exact(dtype: str, raw: bytes, tmp_path: Path) -> None:
    size = DTYPE_BITS[dtype] // 8
    data = raw[: len(raw) // size * size]
    check(stats(tmp_path, dtype, data, [len(data) // size]), reference(dtype, data), dtype, 1e-14)


@pytest.mark.parametrize("dtype", ["I64", "U64"])
def test_integers_beyond_the_reach_of_a_float(dtype: str, tmp_path: Path) -> None:
    top = (1 << 63) - 1 if dtype == "I64" else (1 << 64) - 1
    values = [top, top - 1, 0 if dtype == "U64" else -(1 << 63), 1]
    data = struct.pack("<4" + ("q" if dtype == "I64" else "Q"), *values)
    found = stats(tmp_path, dtype, data, [4])
    assert (found["max"], found["min"]) == (max(values), min(values))
    assert found["absmax"] == max(map(abs, values))
    assert found["mean"] == pytest.approx(float(Fraction(sum(values), 4)), rel=1e-15)


def test_a_large_offset_does_not_drown_the_deviation(tmp_path: Path) -> None:
    values = np.array([1e9 + 1, 1e9 + 2, 1e9 + 3] * 1000, "<f8")
    found = stats(tmp_path, "F64", values.tobytes(), [3000])
    assert found["stddev"] == pytest.approx(math.sqrt(2 / 3), rel=1e-6)
    assert found["mean"] == pytest.approx(1e9 + 2, rel=1e-15)


def test_values_whose_squares_overflow(tmp_path: Path) -> None:
    values = np.array([1e200, -1e200, 1e-200], "<f8")
    found = stats(tmp_path, "F64", values.tobytes(), [3])
    assert found["absmax"] == 1e200
    assert found["l2"] == pytest.approx(math.sqrt(2) * 1e200, rel=1e-12)
    assert found["stddev"] == pytest.approx(math.sqrt(2 / 3) * 1e200, rel=1e-12)


@pytest.mark.parametrize("dtype", DTYPE_BITS)
@pytest.mark.parametrize("shape", [[0], [3, 0]])
def test_no_elements(dtype: str, shape: list[int], tmp_path: Path) -> None:
    found = stats(tmp_path, dtype, b"", shape)
    assert (found["count"], found["nbytes"], found["nnz"]) == (0, 0, 0)
    assert (found["nan"], found["posinf"], found["neginf"]) == (0, 0, 0)
    assert tuple(found) == FIELDS


def test_nothing_finite(tmp_path: Path) -> None:
    data = struct.pack("<4f", math.nan, math.inf, -math.inf, math.nan)
    found = stats(tmp_path, "F32", data, [4])
    assert (found["nan"], found["posinf"], found["neginf"], found["nnz"]) == (2, 1, 1, 4)
    check(found, reference("F32", data), "F32", 0)


def test_negative_zero_is_zero(tmp_path: Path) -> None:
    found = stats(tmp_path, "F32", struct.pack("<3f", -0.0, 0.0, 1.0), [3])
    assert found["nnz"] == 1
    assert found["min"] == 0.0


def test_scalars(tmp_path: Path) -> None:
    found = stats(tmp_path, "F32", struct.pack("<f", 2.5), [])
    assert (found["count"], found["mean"], found["stddev"], found["l2"]) == (1, 2.5, 0.0, 2.5)


@pytest.mark.parametrize("dtype", [d for d in NUMPY_DTYPES if d not in ("BOOL", "F8_E8M0")])
def test_nnz_and_extremes_as_numpy_counts_them(dtype: str, tmp_path: Path) -> None:
    kind = NUMPY_DTYPES[dtype]
    values = (np.random.default_rng(7).standard_normal(1000) * 3).astype(kind)
    values[::5] = 0
    found = stats(tmp_path, dtype, values.tobytes(), [1000])
    wide = values.astype(np.complex128 if kind.kind == "c" else np.float64)
    assert found["nnz"] == np.count_nonzero(wide)
    assert found["max"] == np.abs(wide).max() if kind.kind == "c" else wide.max()
    assert found["mean"] == pytest.approx((np.abs(wide) if kind.kind == "c" else wide).mean(), 1e-9)


def test_large_tensors_do_not_depend_on_threads_or_storage(tmp_path: Path) -> None:
    values = np.random.default_rng(3).standard_normal(3_000_017).astype("<f4")
    values[::1000] = np.nan
    found = []
    try:
        for threads in (1, 2, 3, 8):
            dt.set_num_threads(threads)
            for how in ({}, {"compress": True}):
                found.append(stats(tmp_path, "F32", values.tobytes(), [len(values)], **how))
    finally:
        dt.set_num_threads(None)
    assert all(one == found[0] for one in found)
    wide = values[np.isfinite(values)].astype(np.float64)
    assert found[0]["nan"] == 3001
    assert found[0]["mean"] == pytest.approx(wide.mean(), rel=1e-9)
    assert found[0]["stddev"] == pytest.approx(wide.std(), rel=1e-12)
    assert found[0]["l2"] == pytest.approx(np.linalg.norm(wide), rel=1e-12)


def test_all_stats_has_every_tensor_in_order(tmp_path: Path) -> None:
    path = tmp_path / "x.deathtensors"
    dt.save(path, {"b": np.arange(3), "a": np.ones((2, 2)), "none": np.zeros(0)})
    with dt.open(path) as f:
        found = f.all_stats()
        assert list(found) == ["b", "a", "none"]
        assert found["b"]["max"] == 2 and found["a"]["mean"] == 1.0
