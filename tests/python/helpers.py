"""What several tests share. Nothing here uses the library under test, except
where a function's name says so."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
VECTORS = ROOT / "tests" / "vectors"
BUILD = ROOT / "build"

#: Bits of one element; the first 15 are the dtypes of 0.3.0.
DTYPE_BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 64),
    "C128": 128,
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}
PUBLISHED = list(DTYPE_BITS)[:15]
NUMPY_DTYPES: dict[str, Any] = {
    "BOOL": np.dtype("|b1"), "U8": np.dtype("|u1"), "I8": np.dtype("|i1"),
    "U16": np.dtype("<u2"), "I16": np.dtype("<i2"), "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16), "I32": np.dtype("<i4"), "U32": np.dtype("<u4"),
    "F32": np.dtype("<f4"), "I64": np.dtype("<i8"), "U64": np.dtype("<u8"),
    "F64": np.dtype("<f8"), "C64": np.dtype("<c8"), "C128": np.dtype("<c16"),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn), "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "F8_E8M0": np.dtype(ml_dtypes.float8_e8m0fnu),
    "F8_E4M3FNUZ": np.dtype(ml_dtypes.float8_e4m3fnuz),
    "F8_E5M2FNUZ": np.dtype(ml_dtypes.float8_e5m2fnuz),
}  # fmt: skip
TORCH_DTYPES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16",
    "F16": "float16", "BF16": "bfloat16", "I32": "int32", "U32": "uint32", "F32": "float32",
    "I64": "int64", "U64": "uint64", "F64": "float64", "C64": "complex64",
    "C128": "complex128", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
    "F8_E8M0": "float8_e8m0fnu", "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
}  # fmt: skip


def nbytes(dtype: str, shape: list[int]) -> int:
    count = 1
    for dim in shape:
        count *= dim
    return count * DTYPE_BITS[dtype] // 8


def data_for(dtype: str, shape: list[int], seed: int = 0) -> bytes:
    """Arbitrary bytes of the right length; booleans are zeros and ones."""
    size = nbytes(dtype, shape)
    out = np.random.default_rng([seed, size]).integers(0, 256, size, np.uint8)
    return bytes((out & 1) if dtype == "BOOL" else out)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def parse(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A second, tiny reader: prefix, header, where the blob is. Trusts the file."""
    data = Path(path).read_bytes()
    assert data[:8] == b"DTLEGION"
    version, flags, length = struct.unpack_from("<IIQ", data, 8)
    assert version == 1
    text = data[24 : 24 + length]
    start = (24 + length + 7) // 8 * 8
    end = len(data) - (32 if flags & 2 else 0)
    return {
        "flags": flags,
        "text": text,
        "header": json.loads(text),
        "blob_start": start,
        "blob": data[start:end],
        "footer": data[end:],
        "footed": data[24:end],
    }


def seek_table(blob: bytes) -> list[tuple[int, int]]:
    """The (compressed, decompressed) sizes at the end of a seekable blob."""
    count, descriptor, magic = struct.unpack_from("<IBI", blob, len(blob) - 9)
    assert (magic, descriptor) == (0x8F92EAB1, 0)
    start = len(blob) - 17 - 8 * count
    assert struct.unpack_from("<II", blob, start) == (0x184D2A5E, 8 * count + 9)
    return [struct.unpack_from("<II", blob, start + 8 + 8 * i) for i in range(count)]


def run_python(
    code: str, *args: Any, env: dict[str, str] | None = None, cwd: Any = None, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Runs code in a fresh interpreter, with this folder importable."""
    full = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), **(env or {})}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, args)],
        capture_output=True,
        text=True,
        env=full,
        cwd=cwd,
        timeout=600,
    )
    if check and done.returncode:
        raise AssertionError(f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def bits(array: Any) -> bytes:
    """An array's bytes in C order, whatever its dtype."""
    return np.ascontiguousarray(array).tobytes()


def torch_bits(tensor: Any) -> bytes:
    """A tensor's bytes in C order, whatever its dtype, without this library."""
    import torch

    if not tensor.numel():
        return b""
    plain = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous()
    return plain.reshape(-1).view(torch.uint8).numpy().tobytes()


def safetensors_file(
    tensors: list[tuple[str, str, list[int], bytes]], metadata: dict[str, str] | None = None
) -> bytes:
    """A safetensors file by hand, tensors in the order given."""
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": metadata}
    at = 0
    for name, dtype, shape, data in tensors:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(data for *_, data in tensors)


def parse_safetensors(data: bytes) -> tuple[dict[str, Any], dict[str, str] | None]:
    """Entries in file order, each with its bytes as ``data``, and ``__metadata__``."""
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    metadata = header.pop("__metadata__", None)
    for entry in header.values():
        start, end = entry["data_offsets"]
        entry["data"] = data[8 + length + start : 8 + length + end]
    return header, metadata


def listing(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())
