#!/usr/bin/env bash
# deny.sh CHECK...   cargo-deny's checks by deny.toml, of every workspace whose code is
# handed out or makes what is. cargo-deny is installed into build/tools.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
version=0.20.2
program=build/tools/bin/cargo-deny
if [[ ! -x $program ]] || [[ $("$program" --version) != *"$version" ]]; then
  # Compiling it is most of the time that a check takes.
  CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off \
    cargo install cargo-deny --version "=$version" --locked --root build/tools
fi
for workspace in . wasm/bindgen; do
  "$program" --locked --config "$PWD/deny.toml" --manifest-path "$workspace/Cargo.toml" check "$@"
done
echo "result: $*, cargo-deny $version"
