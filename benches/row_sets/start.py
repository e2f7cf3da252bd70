"""What a new process pays."""

from __future__ import annotations

import sys

from bench import OLD, Bench, Section
from measure import Contender, Target

SECTION = Section("Start")
PASS = "python -c pass"


def _python(b: Bench, label: str, *arguments: str) -> Contender:
    return b.shell(label, sys.executable, *arguments)


def _nothing(b: Bench) -> Contender:
    return _python(b, PASS, "-c", "pass")


@SECTION.row("import deathtensors", Target(0.025, PASS, "above"))
def importing(b: Bench) -> list[Contender]:
    return [
        _python(b, "deathtensors", "-c", "import deathtensors"),
        _nothing(b),
        _python(b, "import safetensors", "-c", "import safetensors"),
        _python(b, "import numpy", "-c", "import numpy"),
        b.old_python(OLD, "-c", "import deathtensors"),
        b.old_python("python -c pass, where 0.3.0 lives", "-c", "pass"),
    ]


@SECTION.row("python -m deathtensors --version", Target(0.060, PASS, "above"))
def version(b: Bench) -> list[Contender]:
    return [
        _python(b, "deathtensors", "-m", "deathtensors", "--version"),
        _nothing(b),
        b.old_python(OLD, "-m", "deathtensors", "--version"),
    ]


@SECTION.row("python -m deathtensors info, {small}", quick=False)
def info(b: Bench) -> list[Contender]:
    return [
        _python(b, "deathtensors", "-m", "deathtensors", "info", b.ours_file(b.small)),
        _nothing(b),
        b.old_python(OLD, "-m", "deathtensors", "info", b.old_file(b.small)),
    ]
