"""Runs writing jobs that are cut short: ``LD_PRELOAD=shim.so python server.py shim.so``.

Each line of standard input names a job, a folder and a fault; the job runs in a forked
child, so that a case costs milliseconds, and a line of JSON says how it went.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import signal
import sys
import traceback
from typing import Any, Callable

import deathtensors as dt

FAULTS = (
    "none", "no space", "io error", "short", "interrupted", "kill before", "kill after",
    "full disk", "dead disk",
)  # fmt: skip
KIBIBYTE = 1 << 10
#: Long enough that a file is flushed while it is still being written.
LARGE = 66 << 20


def noise(seed: int, size: int) -> bytes:
    """Bytes that hardly compress."""
    return random.Random(seed).randbytes(size)


def tensors(generation: int) -> dict[str, Any]:
    """Long and short ones; the two generations differ in nothing but their bytes."""
    out: dict[str, Any] = {}
    for nth, size in enumerate((100 * KIBIBYTE, 70 * KIBIBYTE, 300, 90 * KIBIBYTE, 0, 77)):
        out[f"t{nth}"] = ("U8", [size], noise(100 * generation + nth, size))
    return out


def frames(generation: int) -> dict[str, Any]:
    """Enough for several frames."""
    size = 300 * KIBIBYTE
    return {f"t{n}": ("U8", [size], noise(100 * generation + n, size)) for n in range(3)}


def large(generation: int) -> dict[str, Any]:
    return {"t": ("U8", [LARGE], noise(generation, KIBIBYTE) * (LARGE // KIBIBYTE))}


def save(**options: Any) -> Callable[[str, int], None]:
    def job(folder: str, generation: int) -> None:
        what = frames if options.get("compress") else tensors
        dt.save(f"{folder}/x.deathtensors", what(generation), **options)

    return job


def save_large(folder: str, generation: int) -> None:
    dt.save(f"{folder}/x.deathtensors", large(generation))


def append(**options: Any) -> Callable[[str, int], None]:
    def job(folder: str, generation: int) -> None:
        if generation == 0:
            save(**options)(folder, 0)
            return
        more = {f"more {name}": value for name, value in tensors(1).items()}
        dt.append(f"{folder}/x.deathtensors", more)

    return job


def sharded(counts: tuple[int, int] = (3, 3), **options: Any) -> Callable[[str, int], None]:
    def job(folder: str, generation: int) -> None:
        size = 50 * KIBIBYTE
        one = {
            f"t{n}": ("U8", [size], noise(100 * generation + n, size))
            for n in range(counts[generation])
        }
        dt.save_sharded(f"{folder}/x.deathtensors", one, max_shard_bytes=size, **options)

    return job


def from_safetensors(size: int, **options: Any) -> Callable[[str, int], None]:
    def job(folder: str, generation: int) -> None:
        source = f"{folder}/sources/{generation}-{size}.safetensors"
        dt.from_safetensors(source, f"{folder}/x.deathtensors", **options)

    return job


def to_safetensors(compressed: bool) -> Callable[[str, int], None]:
    def job(folder: str, generation: int) -> None:
        source = f"{folder}/sources/{generation}-{int(compressed)}.deathtensors"
        dt.to_safetensors(source, f"{folder}/x.safetensors")

    return job


def write_manifest(folder: str, generation: int) -> None:
    dt.write_manifest(f"{folder}/sources/{generation}-0.deathtensors", f"{folder}/x.json")


def extract(folder: str, generation: int) -> None:
    source, target = f"{folder}/sources/{generation}-0.deathtensors", f"{folder}/x.deathtensors"
    with dt.open(source) as file:
        parts = [(file._raw, name, name) for name in ("t0", "t3")]
        dt._deathtensors.copy_tensors(target, parts, {})


def save_elsewhere(folder: str, generation: int) -> None:
    """Another file in the same folder, which is gone afterwards."""
    dt.save(f"{folder}/elsewhere.deathtensors", frames(generation))
    os.remove(f"{folder}/elsewhere.deathtensors")


SHORT, LONG = 200 * KIBIBYTE, 4500 * KIBIBYTE
#: Each writes generation 0 or 1 of what it writes.
JOBS: dict[str, Callable[[str, int], None]] = {
    "save": save(),
    "save, compressed": save(compress=True),
    "save, footer and digests": save(checksum=True, digests=True),
    "save, large": save_large,
    "save elsewhere": save_elsewhere,
    "append": append(),
    "append, compressed": append(compress=True),
    "append, footer and digests": append(checksum=True, digests=True),
    "save_sharded": sharded(),
    "save_sharded, no footers": sharded(checksum=False),
    "save_sharded, digests": sharded(digests=True),
    "save_sharded, more shards": sharded((2, 3)),
    "from_safetensors": from_safetensors(SHORT, checksum=False),
    "from_safetensors, long": from_safetensors(LONG, checksum=False),
    "from_safetensors, compressed": from_safetensors(SHORT, compress=True, digests=True),
    "to_safetensors": to_safetensors(False),
    "to_safetensors, compressed": to_safetensors(True),
    "write_manifest": write_manifest,
    "copy_tensors": extract,
}


def sources(folder: str) -> None:
    """What the jobs read."""
    os.makedirs(f"{folder}/sources", exist_ok=True)
    for generation in (0, 1):
        for compressed in (False, True):
            path = f"{folder}/sources/{generation}-{int(compressed)}.deathtensors"
            told = {"generation": str(generation)}
            dt.save(path, tensors(generation), global_metadata=told, compress=compressed)
        for size in (SHORT, LONG):
            path = f"{folder}/sources/{generation}-{size}.deathtensors"
            values = {
                f"t{n}": ("U8", [size // 3], noise(generation + n, size // 3)) for n in range(3)
            }
            dt.save(path, values)
            dt.to_safetensors(path, path.replace(".deathtensors", ".safetensors"))
            os.remove(path)


def child(shim: Any, order: dict[str, Any], say: int) -> None:
    told: dict[str, Any] = {"error": None}
    try:
        if order["job"] == "sources":
            sources(order["folder"])
        else:
            shim.faults_later(order.get("later", 0))
            shim.faults_arm(
                order["folder"].encode(),
                order.get("nth", 0),
                FAULTS.index(order.get("fault", "none")),
                order.get("only", "").encode(),
            )
            JOBS[order["job"]](order["folder"], order["generation"])
    except dt.DeathTensorsError as error:
        told["error"] = {
            "code": error.code,
            "kind": error.kind,
            "errno": getattr(error, "errno", None),
            "line": str(error),
        }
    except BaseException:
        told["error"] = {"code": None, "line": traceback.format_exc()}
    shim.faults_disarm()
    told["calls"] = shim.faults_calls()
    told["hit"] = shim.faults_hit()
    told["names"] = shim.faults_names().decode().split()[: told["calls"]]
    os.write(say, json.dumps(told).encode())


def main() -> None:
    shim = ctypes.CDLL(sys.argv[1])
    shim.faults_calls.restype = ctypes.c_long
    shim.faults_names.restype = ctypes.c_char_p
    shim.faults_arm.argtypes = (ctypes.c_char_p, ctypes.c_long, ctypes.c_int, ctypes.c_char_p)
    shim.faults_later.argtypes = (ctypes.c_long,)
    for line in sys.stdin:
        order = json.loads(line)
        hear, say = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(hear)
            try:
                child(shim, order, say)
            finally:
                os._exit(0)
        os.close(say)
        with os.fdopen(hear, "rb") as pipe:
            text = pipe.read()
        _, status = os.waitpid(pid, 0)
        answer = json.loads(text) if text else {"error": None, "hit": 1}
        answer["killed"] = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        answer["ended"] = answer["killed"] or status == 0
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
