#!/usr/bin/env bash
# Builds the source distribution, installs it into a fresh virtual environment
# (which compiles it from what it contains, nothing else), and uses it.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
out="$root/build/sdist"
export PIP_CONSTRAINT="$root/tests/constraints.txt" PIP_BUILD_CONSTRAINT="$root/tests/constraints.txt"
rm -rf "$out"
mkdir -p "$out"
"$root/build/venv/bin/python" -m build --sdist --outdir "$out" "$root/python"
sdist=$(ls "$out"/deathtensors-*.tar.gz)

"${PYTHON:-python3}" -m venv "$out/venv"
# Compiled objects are kept between runs; the sources still come from the sdist.
CARGO_TARGET_DIR="$root/build/sdist-target" \
  "$out/venv/bin/python" -m pip install --quiet --disable-pip-version-check "$sdist"

cd "$out"
venv/bin/python - <<'PYTHON'
import sys

import deathtensors as dt

assert "numpy" not in sys.modules and "torch" not in sys.modules
dt.save("x.deathtensors", {"w": ("F32", [2], bytes(8))}, checksum=True, compress=True)
with dt.open("x.deathtensors", verify=True) as f:
    assert f.keys() == ["w"] and bytes(f.get_bytes("w")) == bytes(8)
PYTHON
venv/bin/deathtensors --version
venv/bin/deathtensors verify x.deathtensors
echo "result: $(basename "$sdist"), $(($(wc -c <"$sdist") / 1024)) KiB"
