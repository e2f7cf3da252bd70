"""What the numbers were taken on and with."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

from libraries.plain import CORES


def describe(folder: Path) -> dict[str, str]:
    """The machine, in words."""
    out = {
        "processor": _processor(),
        "cores": f"{CORES} that this process may use, {os.cpu_count()} in all",
        "memory": _memory(),
        "files on": _file_system(folder),
        "system": f"{platform.system()} {platform.release()}, {_distribution()}",
    }
    return {key: value for key, value in out.items() if value}


def versions() -> dict[str, str]:
    """The libraries that took part; "absent" is one that could not."""
    import deathtensors as dt

    out = {"deathtensors": dt.__version__}
    for package in ("safetensors", "torch", "ztensor", "numpy"):
        try:
            out[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            out[package] = "absent"
    out["zstd (command)"] = zstd_version() or "absent (Debian package zstd)"
    out["Python"] = platform.python_version()
    return out


def zstd_version() -> str | None:
    """That of the zstd command, if there is one."""
    if not shutil.which("zstd"):
        return None
    said = subprocess.run(["zstd", "--version"], capture_output=True, text=True).stdout
    found = re.search(r"v(\d+(?:\.\d+)+)", said)
    return found.group(1) if found else "of unknown version"


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return platform.processor() or platform.machine()
    text = path.read_text()
    name = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    flags = re.search(r"^flags\s*: (.*)$", text, re.MULTILINE)
    known = set(flags.group(1).split()) if flags else set()
    wide = [f for f in ("avx2", "avx512f", "sha_ni") if f in known]
    return ", ".join([name.group(1) if name else platform.machine(), *wide])


def _memory() -> str:
    path = Path("/proc/meminfo")
    found = re.search(r"MemTotal:\s*(\d+)", path.read_text()) if path.exists() else None
    return f"{int(found.group(1)) / (1 << 20):.0f} GiB" if found else ""


def _file_system(folder: Path) -> str:
    said = subprocess.run(["df", "-PT", folder], capture_output=True, text=True).stdout
    lines = said.splitlines()
    return lines[1].split()[1] if len(lines) > 1 else ""


def _distribution() -> str:
    path = Path("/etc/os-release")
    found = (
        re.search(r'^PRETTY_NAME="?([^"\n]*)', path.read_text(), re.M) if path.exists() else None
    )
    return found.group(1) if found else ""
