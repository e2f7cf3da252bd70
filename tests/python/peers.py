"""The published releases, each in a virtual environment of its own.

They are built from PyPI's source distributions into build/peers (about a minute
each, once) and driven by one subprocess a call, in JSON. Torch and numpy are
those of the tests' own environment.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from helpers import BUILD

DRIVER = Path(__file__).with_name("peer_driver.py")


class Peer:
    """One published release."""

    def __init__(self, version: str) -> None:
        self.version = version
        # By interpreter too: a wheel of one does not load into another.
        self.home = BUILD / "peers" / version / sysconfig.get_config_var("SOABI")
        self.python = self.home / "bin" / "python"
        if not (self.home / ".complete").exists():
            self._build()
        (folder,) = self.home.glob("lib/python*/site-packages")
        # Behind the peer's own packages, so that its deathtensors comes first.
        (folder / "tests_environment.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
        assert self.call("version") == version

    def _build(self) -> None:
        def run(*command: str) -> None:
            subprocess.run(command, check=True, timeout=1200)

        run(sys.executable, "-m", "venv", "--clear", str(self.home))
        run(
            str(self.python), "-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check",
            f"deathtensors=={self.version}",
        )  # fmt: skip
        (self.home / ".complete").touch()

    def call(self, what: str, **arguments: Any) -> Any:
        """Runs one function of the driver in the peer; its result, or PeerError."""
        done = subprocess.run(
            [self.python, DRIVER, what],
            input=json.dumps(arguments, default=str),
            capture_output=True,
            text=True,
            timeout=300,
            env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
        )
        if done.returncode:
            raise PeerError(f"{self.version}: {what}: {done.stderr.strip()[-2000:]}")
        return json.loads(done.stdout)


class PeerError(Exception):
    """A published release refused, or fell over."""
