#!/usr/bin/env bash
# Builds everything that is handed out (wheel, source distribution, npm package with its
# wasm module and viewer) twice, from copies of the source in two folders of different
# names, checks what is in it, and compares the bytes.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
out=$root/build/reproducible
rm -rf "$out"
mkdir -p "$out"

# What git would hand over, changes that are not committed included.
copy() {
  mkdir -p "$1"
  (cd "$root" && git ls-files -z --cached --others --exclude-standard |
    tar --null --ignore-failed-read --files-from=- -cf -) | tar -C "$1" -xf -
}

build() {
  local here=$1
  cd "$here"
  # The generator of the wasm module's JavaScript is a tool, not a product: compiled once.
  mkdir -p build/bindgen
  cp "$root"/build/bindgen/deathtensors-bindgen-* build/bindgen/ 2>/dev/null || true
  tests/tools/npm.sh
  tests/tools/wasm.sh
  tests/tools/viewer.sh
  tests/tools/venv.sh create
  export PIP_CONSTRAINT=$here/tests/constraints.txt PIP_BUILD_CONSTRAINT=$here/tests/constraints.txt
  build/venv/bin/python -m pip install --quiet maturin
  source tests/tools/release_env.sh
  build/venv/bin/maturin build --release --locked --features abi3 --out artifacts \
    --manifest-path python/Cargo.toml --interpreter build/venv/bin/python
  build/venv/bin/maturin sdist --out artifacts --manifest-path python/Cargo.toml
  npm pack --silent --ignore-scripts --pack-destination artifacts ./web
}

for name in one another/place; do copy "$out/$name"; done
for name in one another/place; do (build "$out/$name"); done

python=${PYTHON:-python3}
for name in one another/place; do
  "$python" "$out/$name/tests/tools/artifacts.py" "$out/$name"/artifacts/*
done
cd "$out"
(cd one/artifacts && sha256sum -- *) | tee sums
(cd another/place/artifacts && sha256sum --check --strict "$out/sums")
echo "result: $(wc -l <sums) artifacts, the same bytes twice"
