#!/usr/bin/env bash
# Runs the tests of the unsafe module under Miri, which interprets them and checks every
# access against Rust's rules of memory: bounds, initialisation, aliasing (by both models),
# races, leaks. Maps of files are left out, since Miri has none.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

toolchain=${MIRI_TOOLCHAIN:-nightly}
if ! cargo "+$toolchain" miri --version >/dev/null 2>&1; then
  cat >&2 <<TEXT
Miri is not installed for the toolchain '$toolchain'. It comes with nightly Rust:
  rustup toolchain install nightly --component miri rust-src
MIRI_TOOLCHAIN names another toolchain that has it.
TEXT
  exit 1
fi

run() {
  MIRIFLAGS="-Zmiri-strict-provenance $*" \
    cargo "+$toolchain" miri test --locked --package deathtensors --lib \
    --target-dir build/miri -- map::
}

# Stacked Borrows, the stricter model, and then Tree Borrows, each with other schedules of
# threads and other addresses.
for seed in 0 1 2; do
  run "-Zmiri-seed=$seed"
  run "-Zmiri-seed=$seed" -Zmiri-tree-borrows
done
echo "result: $(cargo "+$toolchain" miri --version)"
