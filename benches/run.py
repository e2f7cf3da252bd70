"""Times this library against others, and prints one table.

    python benches/run.py                  everything, about a quarter of an hour
    python benches/run.py --quick          smaller, about a minute
    python benches/run.py --rows 'save'    only rows whose name matches

docs/benchmarks.md says how to read it. The exit code says only whether it ran: times
depend on the machine, and are for people to judge.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import os
import re
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_NEEDED = ("deathtensors", "numpy", "torch", "safetensors", "ml_dtypes")


def main() -> int:
    options = _options()
    if missing := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
        print(f"not installed: {', '.join(missing)}. Try:", file=sys.stderr)
        print(
            "  make build && build/venv/bin/pip install -r benches/requirements.txt",
            file=sys.stderr,
        )
        print("  build/venv/bin/python benches/run.py", file=sys.stderr)
        return 2

    import deathtensors as dt
    import machine
    import measure
    import old_release
    import report
    from bench import Bench
    from neighbours import Neighbours
    from row_sets import SECTIONS

    folder = Path(options.dir) if options.dir else ROOT / "build" / "bench"
    folder = folder / "files"
    folder.mkdir(parents=True, exist_ok=True)

    left_out = "left out" if options.without_old else ""
    old = old_release.Starter(options.old_python, left_out)
    bench = Bench(folder, ROOT / "build", dt.get_num_threads(), options.quick, old)
    effort = measure.QUICK if options.quick else measure.FULL
    versions = machine.versions()
    facts = {"Machine": machine.describe(folder), "Versions": versions}
    for heading, entries in facts.items():
        print(f"{heading}: " + "; ".join(f"{k} {v}" for k, v in entries.items()))
    if options.quick:
        print("Quick: smaller, fewer rows and runs: the targets are only a hint.")

    started = time.monotonic()
    around = Neighbours(options.wait, old.processes)
    rows: list[measure.Row] = []
    try:
        for section in SECTIONS:
            wanted = [
                entry
                for entry in section
                if options.rows.search(f"{entry.section}: {entry.title(bench)}")
                and (entry.quick or not options.quick)
            ]
            for nth, entry in enumerate(wanted):
                if nth == 0:
                    print(f"\n{section.name}\n{report.header_text()}")
                row = entry.row(bench)
                # What others of us have written must not be flushed meanwhile.
                os.sync()
                measure.measure(row, effort, around)
                print(report.row_text(row), flush=True)
                rows.append(row)
                _let_go(row)
                gc.collect()
    finally:
        old.close()
        bench.clean_up(options.keep)

    facts["Run"] = {
        "of": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "on": f"{bench.threads} threads",
        "in": f"{time.monotonic() - started:.0f} s",
        "with others using": f"{around.summary()} of the processor meanwhile",
    }
    print("\n" + "; ".join(f"{k} {v}" for k, v in facts["Run"].items()))
    print(report.summary(rows))
    if options.json:
        report.write_json(options.json, facts, rows)
    if options.markdown:
        report.write_markdown(options.markdown, facts, rows)
    return 0


def _let_go(row: object) -> None:
    """Closes the files that a measured row's work holds open."""
    from measure import Row

    assert isinstance(row, Row)
    for contender in row.contenders:
        contender.run = lambda _: 0.0
        contender.before = contender.after = lambda: None


def _options() -> argparse.Namespace:
    about, *_ = (__doc__ or "").split("\n\n")
    parser = argparse.ArgumentParser(description=about)
    add = parser.add_argument
    add("--quick", action="store_true", help="smaller and fewer runs")
    add("--rows", type=re.compile, default=re.compile(""), metavar="REGEX",
        help="only rows whose 'section: work' matches")  # fmt: skip
    add("--json", type=Path, metavar="PATH", help="write every sample there")
    add("--markdown", type=Path, nargs="?", const=ROOT / "docs" / "benchmarks.md", metavar="PATH",
        help="write the table there, between its markers (docs/benchmarks.md)")  # fmt: skip
    add("--wait", type=float, default=0.0, metavar="SECONDS",
        help="patience with a busy machine: what others disturb is measured again")  # fmt: skip
    add("--dir", metavar="PATH", help="folder for the files, about 10 GB (build/bench)")
    add("--keep", action="store_true", help="leave the input files")
    add("--old-python", metavar="PATH",
        help="an interpreter that has deathtensors 0.3.0 and torch; else one is built")  # fmt: skip
    add("--without-old", action="store_true", help="leave 0.3.0 out, which takes most of the time")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
