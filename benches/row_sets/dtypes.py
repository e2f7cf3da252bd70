"""Statistics, dtype by dtype: one tensor each, against one pass over its bytes."""

from __future__ import annotations

from typing import Any

import numpy as np

import deathtensors as dt
from bench import PASS, Bench, Section
from measure import Contender

SECTION = Section("Stats by dtype, file open and mapped")


def _values(dtype: str, size: int) -> Any:
    """Normal values where numpy knows the dtype, else arbitrary codes, of which some
    may be NaN."""
    rng = np.random.default_rng(size)
    floats = {"F16": np.float16, "F32": np.float32, "F64": np.float64}
    parts = {"C64": np.float32, "C128": np.float64}
    if kind := floats.get(dtype) or parts.get(dtype):
        width = np.dtype(kind).itemsize
        return (rng.standard_normal(size // width, np.float32) * 0.02).astype(kind).tobytes()
    if dtype == "BF16":
        normal = rng.standard_normal(size // 2, np.float32) * np.float32(0.02)
        return (normal.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    codes = rng.integers(0, 256, size, np.uint8)
    return ((codes & 1) if dtype == "BOOL" else codes).tobytes()


def _add(dtype: str, bits: int) -> None:
    @SECTION.row(f"stats, {dtype}, {{dtype_bytes}}")
    def make(b: Bench) -> list[Contender]:
        # A multiple of three, so that 6-bit elements come out even as well.
        size = b.dtype_bytes // 96 * 96
        value = (dtype, [size * 8 // bits], _values(dtype, size))
        path = b.file(f"stats.{dtype}.deathtensors", lambda p: dt.save(p, {"w": value}))
        return [
            b.ours("stats_of_open", path=path),
            b.plain(PASS, "pass_over_mapped", path=path),
        ]


for _name, _bits, _, _ in dt._deathtensors.DTYPES:
    _add(_name, _bits)
