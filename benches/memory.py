"""How much memory a job takes: the peak of resident memory in a fresh process, above
what was resident before the job, with its input tensors and all code loaded.

Pages of mapped files count while they are resident, as the kernel counts them.
Run as a script it is that process: job in, bytes out, as JSON.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from libraries import Job
from measure import Absent


def peak(job: Job, python: Path | str, environment: Mapping[str, str] | None = None) -> float:
    """Bytes, by the kernel's VmHWM."""
    if not Path("/proc/self/clear_refs").exists():
        raise Absent("needs Linux")
    done = subprocess.run(
        [python, __file__, json.dumps(dataclasses.asdict(job))],
        capture_output=True,
        text=True,
        env=environment,
        timeout=1200,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"code {done.returncode}"])[-1]
        raise Absent(f"failed: {last}")
    return float(json.loads(done.stdout.splitlines()[-1]))


def _main() -> None:
    job = Job(**json.loads(sys.argv[1]))
    with tempfile.TemporaryDirectory() as folder:
        Job(job.library, "warm", {"folder": folder}).prepare()()
    work = job.prepare()
    # Resets the peak to what is resident now.
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    kept = work()
    most = _status("VmHWM")
    del kept
    print(json.dumps(max(0, most - before)))
    sys.stdout.flush()
    os._exit(0)


def _status(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(key)


if __name__ == "__main__":
    _main()
