#!/usr/bin/env bash
# Compares the stubs with what the installed, compiled module really has. Run from
# a folder without the sources, so that nothing but the installed package is seen.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root/build"
exec "$root/build/venv/bin/python" -m mypy.stubtest deathtensors._deathtensors \
  --ignore-unused-allowlist --allowlist "$root/tests/tools/stubtest_allowed.txt"
