#!/usr/bin/env bash
# Installs what the npm package is built and tested with, exactly as locked, into
# web/node_modules; nothing to do when that is already there. No package's own install
# script is run. (The lock must list the optional packages of every platform, or `npm ci`
# refuses it: after adding one, `npm install --package-lock-only` completes it.)
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root/web"

command -v node >/dev/null || {
  echo "node was not found. Install Node.js 20 or newer: https://nodejs.org" >&2
  exit 1
}
major=$(node -p 'process.versions.node.split(".")[0]')
if ((major < 20)); then
  echo "Node.js 20 or newer is needed, and this is $(node --version)." >&2
  exit 1
fi
stamp=node_modules/.installed-from
wanted=$(cat package-lock.json; node --version)
if [[ ! -f $stamp || $(cat "$stamp") != "$wanted" ]]; then
  npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
  printf '%s\n' "$wanted" >"$stamp"
fi
echo "result: node $(node --version)"
