#!/usr/bin/env bash
# Proves that the core needs neither std nor an operating system: builds it for
# wasm32-unknown-unknown where nothing but the crates core and alloc can be found.
#
# The first of these that is there is used, and named: the target, if it is
# installed; rustup, to add it; Debian's compiler with its library sources. With
# TOOLCHAIN=installed|rustup|debian only that one is tried.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
target=wasm32-unknown-unknown
only=${TOOLCHAIN:-}
sysroot=$(rustc --print sysroot)
export CARGO_TARGET_DIR="$root/build/no_std"

build() {
  cargo build --locked --package deathtensors-core --target "$target" "$@"
}

# The target's own libraries include std, which would hide a use of it. So the
# compiler is shown a copy of the folder that has core and alloc only.
with_target() {
  local libraries="$sysroot/lib/rustlib/$target/lib" lean="$root/build/no_std/sysroot"
  [[ -d $libraries ]] || return 1
  rm -rf "$lean"
  mkdir -p "$lean/lib/rustlib/$target/lib"
  local crate
  for crate in core alloc compiler_builtins rustc_std_workspace_core rustc_std_workspace_alloc; do
    find "$libraries" -name "lib$crate-*" -exec ln -s {} "$lean/lib/rustlib/$target/lib/" ';'
  done
  CARGO_ENCODED_RUSTFLAGS="--sysroot=$lean" build || return 1
  echo "result: $target, $1"
}

with_rustup() {
  command -v rustup >/dev/null && rustup target add "$target" && with_target "added by rustup"
}

with_debian() {
  if [[ ! -d /usr/lib/rustlib/src || ! -x /usr/bin/rustc ]]; then
    command -v apt-get >/dev/null || return 1
    if [[ $(id -u) -ne 0 ]]; then
      echo "not root, so apt-get cannot install rustc-web and rust-web-src" >&2
      return 1
    fi
    apt-get update -qq || true
    apt-get install -y -qq --no-install-recommends rustc-web rust-web-src || return 1
  fi
  # Debian's compiler brings no linker for this target; rustup's toolchain does.
  local host
  host=$(rustc -vV | sed -n 's/^host: //p')
  CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER="$sysroot/lib/rustlib/$host/bin/rust-lld" \
    RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 build -Zbuild-std=core,alloc || return 1
  echo "result: $target, Debian's compiler $(/usr/bin/rustc --version | cut -d' ' -f2)"
}

# What the core says about its own source cannot be reason to try elsewhere: if
# a toolchain is there, its answer counts.
if [[ -z $only || $only == installed ]] && [[ -d $sysroot/lib/rustlib/$target/lib ]]; then
  with_target "as installed"
  exit
fi
if [[ -z $only || $only == rustup ]] && with_rustup; then exit 0; fi
if [[ -z $only || $only == debian ]] && with_debian; then exit 0; fi
cat >&2 <<'TEXT'
The core could not be built for wasm32-unknown-unknown. Install one of:
  rustup target add wasm32-unknown-unknown
  apt-get install --no-install-recommends rustc-web rust-web-src    (Debian)
TEXT
exit 1
