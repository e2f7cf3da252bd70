"""A mistake on purpose, made by the compiled module: it is told of 4096 bytes where there are
16, and reads them. ``sanitizers.sh`` runs this to see that the tool it runs the Python tests
with would have noticed."""

from __future__ import annotations

import ctypes
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))

from test_foreign_memory import Exporter

from deathtensors import _deathtensors

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
short = libc.malloc(16)
exporter = Exporter(data=short, shape=[4096])
with tempfile.TemporaryDirectory() as folder:
    source = ("w", "U8", [4096], exporter, None, None)
    _deathtensors.save(f"{folder}/x", [source], None, compress=True)
print("nobody noticed", _deathtensors.__file__)
