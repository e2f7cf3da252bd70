#!/usr/bin/env bash
# Builds the npm package (web/dist) and the viewer, and puts the viewer where the
# Python package takes it from. Needs tests/tools/npm.sh and tests/tools/wasm.sh.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root/web"

npm run --silent build
npm run --silent viewer
target="$root/python/deathtensors/viewer"
rm -rf "$target"
cp -r viewer/dist "$target"
bytes=$(find "$target" -type f \( -name '*.html' -o -name '*.js' -o -name '*.css' -o -name '*.wasm' \) \
  -exec gzip -9 -c {} \; | wc -c)
echo "result: viewer, $((bytes / 1000)) KB gzipped"
