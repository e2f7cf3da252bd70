"""deathtensors 0.3.0, in a process of its own that lives as long as the benchmark.

Run as a script, it is that process: it reads jobs as JSON lines, and answers how
many seconds each took, by its own clock.
"""

from __future__ import annotations

import dataclasses
import gc
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


class Starter:
    """Starts it when it is first asked for. What failed once is not tried again."""

    def __init__(self, python: str | None = None, why_not: str = "") -> None:
        self._python = python
        self._running: OldRelease | None = None
        self._why_not = why_not

    def __call__(self) -> OldRelease:
        if self._why_not:
            raise Absent(self._why_not)
        if self._running is None:
            try:
                self._running = OldRelease(Path(self._python) if self._python else interpreter())
            except Exception as e:
                self._why_not = f"could not be built: {e}".splitlines()[0]
                raise Absent(self._why_not) from e
        return self._running

    def processes(self) -> list[int]:
        return [self._running.pid] if self._running else []

    def close(self) -> None:
        if self._running:
            self._running.close()


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
        self.pid = self._process.pid

    def prepare(self, job: Job) -> None:
        self._ask(job, burst=0)

    def time(self, job: Job, burst: int) -> float:
        return float(self._ask(job, burst))

    def close(self) -> None:
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait(timeout=60)

    def _ask(self, job: Job, burst: int) -> Any:
        assert self._process.stdin and self._process.stdout
        try:
            self._process.stdin.write(json.dumps([dataclasses.asdict(job), burst]) + "\n")
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
    gc.disable()

    @cache
    def prepared(text: str) -> Callable[[int], float]:
        return clock(Job(**json.loads(text)).prepare())

    for line in sys.stdin:
        named, burst = json.loads(line)
        try:
            work = prepared(json.dumps(named))
            value = work(burst) if burst else None
            gc.collect()
            outcome = ["ok", value]
        except Exception as e:
            outcome = ["error", f"{type(e).__name__}: {e}"]
        answers.write(json.dumps(outcome) + "\n")
        answers.flush()


if __name__ == "__main__":
    _serve()
