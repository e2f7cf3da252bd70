"""``python -m deathtensors``."""

from __future__ import annotations

import sys

from deathtensors.cli import main

if __name__ == "__main__":
    sys.exit(main())
