"""Runs the tests that try many inputs for a while, with new inputs in every round.

    python tests/tools/fuzz_python.py [--minutes N] [what pytest takes]

Every round prints how many inputs were tried, and what to run to see a failure again.
The exit status is 1 if any round failed; the rounds after it are run all the same.
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
import subprocess
import sys
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
#: Times as many inputs in a round as in the tests.
FACTOR = 10


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=20, help="how long (default 20)")
    args, rest = parser.parse_known_args()
    files = [str(path) for path in sorted((TESTS / "python").glob("test_fuzz_*.py"))]
    until = time.monotonic() + 60 * args.minutes
    tried = failures = rounds = 0
    while rounds == 0 or time.monotonic() < until:
        rounds += 1
        seed = secrets.randbelow(2**32)
        command = [sys.executable, "-m", "pytest", "-q", f"--hypothesis-seed={seed}", *rest]
        chosen = [] if any("test_fuzz_" in word for word in rest) else files
        environment = {**os.environ, "DEATHTENSORS_FUZZ": str(FACTOR)}
        done = subprocess.run(
            [*command, *chosen], capture_output=True, text=True, env=environment, errors="replace"
        )
        match = re.search(r"^result: .* (\d+) inputs", done.stdout, re.MULTILINE)
        tried += int(match[1]) if match else 0
        word = "ok" if done.returncode == 0 else "FAILED"
        print(f"round {rounds}, seed {seed}: {word}, {tried:,} inputs so far", flush=True)
        if done.returncode:
            failures += 1
            print(done.stdout[-20_000:], done.stderr[-2000:], sep="\n", flush=True)
            print(f"again: DEATHTENSORS_FUZZ={FACTOR} {' '.join([*command, *chosen])}", flush=True)
    print(f"result: {tried:,} inputs in {rounds} rounds, {failures} of which failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
