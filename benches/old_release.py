"""deathtensors 0.3.0, in a process of its own that lives as long as the benchmark.

Run as a script, it is that process: it reads jobs as JSON lines, and answers how
many seconds each took, by its own clock.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from libraries import Job
from measure import Absent, clock

VERSION = "0.3.0"
_TESTS = Path(__file__).resolve().parent.parent / "tests" / "python"


def interpreter() -> Path:
    """An interpreter that has it: built from PyPI by the tests' own helper, once."""
    sys.path.append(str(_TESTS))
    import peers

    python: Path = peers.Peer(VERSION).python
    return python


class OldRelease:
    def __init__(self, python: Path) -> None:
        self.python = python
        self.environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        self._process = subprocess.Popen(
            [python, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=self.environment,
        )

    def prepare(self, job: Job) -> None:
        self._ask("prepare", job)

    def time(self, job: Job) -> float:
        return float(self._ask("time", job))

    def forget(self) -> None:
        """Closes what prepared jobs hold open, and frees workloads."""
        self._ask("forget", None)

    def close(self) -> None:
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait(timeout=60)

    def _ask(self, what: str, job: Job | None) -> Any:
        assert self._process.stdin and self._process.stdout
        try:
            named = dataclasses.asdict(job) if job else None
            self._process.stdin.write(json.dumps([what, named]) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise Absent(f"the process of {VERSION} ended, code {self._process.wait()}")
        outcome, value = json.loads(answer)
        if outcome == "error":
            raise Absent(f"failed: {value}")
        return value


def _serve() -> None:
    # Nothing that a library prints may come between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    import gc

    import workloads

    gc.disable()

    @cache
    def prepared(text: str) -> Callable[[], float]:
        return clock(Job(**json.loads(text)).prepare())

    for line in sys.stdin:
        what, named = json.loads(line)
        try:
            value = None
            if what == "forget":
                prepared.cache_clear()
                workloads.tensors.cache_clear()
                gc.collect()
            else:
                work = prepared(json.dumps(named))
                if what == "time":
                    value = work()
                    gc.collect()
            outcome = ["ok", value]
        except Exception as e:
            outcome = ["error", f"{type(e).__name__}: {e}"]
        answers.write(json.dumps(outcome) + "\n")
        answers.flush()


if __name__ == "__main__":
    _serve()
