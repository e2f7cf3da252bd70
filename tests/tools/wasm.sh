#!/usr/bin/env bash
# Builds the core for JavaScript into web/src/wasm, where the npm package takes it:
# the module, its JavaScript and types, and the module once more as base64 text.
#
# The first toolchain that is there is used, and named: the installed target; rustup,
# to add it; Debian's compiler with its library sources. With
# TOOLCHAIN=installed|rustup|debian only that one is tried. Prints the size, keeps it
# in wasm/size.json, and fails when the module is too long to download.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
target=wasm32-unknown-unknown
only=${TOOLCHAIN:-}
# Bytes of the module after gzip -9: what it may not exceed, and what is aimed at.
most=$((110 * 1000))
aim=$((108 * 1000))
out=web/src/wasm
name=deathtensors_wasm
sysroot=$(rustc --print sysroot)
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$root/target}"
module="$CARGO_TARGET_DIR/$target/web/$name.wasm"
# What every browser of the last years has. Paths of this machine stay here.
flags="-C target-feature=+simd128,+bulk-memory,+sign-ext,+nontrapping-fptoint,+mutable-globals"
flags+=" --remap-path-prefix=$root=. --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=cargo"
export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS="$flags"

build() {
  cargo build --locked --package deathtensors-wasm --profile web --target "$target" "$@"
}

installed() {
  [[ -d $sysroot/lib/rustlib/$target/lib ]]
}

# Debian's compiler brings no linker for this target; rustup's toolchain does.
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
  local host
  host=$(rustc -vV | sed -n 's/^host: //p')
  CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER="$sysroot/lib/rustlib/$host/bin/rust-lld" \
    RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 build -Zbuild-std=core,alloc || return 1
  toolchain="Debian's compiler $(/usr/bin/rustc --version | cut -d' ' -f2)"
}

# What the compiler says about the source cannot be reason to try another: if one is
# there, its answer counts.
compile() {
  if [[ -z $only || $only == installed ]] && installed; then
    toolchain="$(rustc --version | cut -d' ' -f1,2), target as installed"
    build
  elif [[ -z $only || $only == rustup ]] && command -v rustup >/dev/null && rustup target add "$target"; then
    toolchain="$(rustc --version | cut -d' ' -f1,2), target added by rustup"
    build
  elif [[ -z $only || $only == debian ]]; then
    with_debian || missing
  else
    missing
  fi
}

missing() {
  cat >&2 <<'TEXT'
The core could not be built for wasm32-unknown-unknown. Install one of:
  rustup target add wasm32-unknown-unknown
  apt-get install --no-install-recommends rustc-web rust-web-src    (Debian)
TEXT
  exit 1
}

# wasm-bindgen's two halves must be of one version.
bindgen() {
  local version ours
  version=$(locked Cargo.lock wasm-bindgen)
  ours=$(locked wasm/bindgen/Cargo.lock wasm-bindgen-cli-support)
  if [[ $version != "$ours" ]]; then
    echo "wasm-bindgen is $version in Cargo.lock, but $ours in wasm/bindgen/Cargo.toml" >&2
    exit 1
  fi
  local program="build/bindgen/deathtensors-bindgen-$version"
  if [[ ! -x $program ]]; then
    CARGO_TARGET_DIR="$root/build/bindgen" cargo build --locked \
      --manifest-path wasm/bindgen/Cargo.toml
    cp build/bindgen/debug/deathtensors-bindgen "$program"
  fi
  "$program" "$@"
}

locked() {
  sed -n "/^name = \"$2\"\$/{n;s/^version = \"\(.*\)\"\$/\1/p}" "$1"
}

# The optimiser comes with the npm package binaryen. Functions are put in the order of
# their names because gzip finds more in common among neighbours that are alike.
optimise() {
  local program=web/node_modules/.bin/wasm-opt
  [[ -x $program ]] || tests/tools/npm.sh
  "$program" -O3 --converge --reorder-functions-by-name --flexible-inline-max-function-size=10 --always-inline-max-function-size=1 \
    --one-caller-inline-max-function-size=0 --enable-simd --enable-bulk-memory --enable-sign-ext \
    --enable-nontrapping-float-to-int --enable-mutable-globals --enable-reference-types \
    --enable-multivalue --strip-debug --strip-producers "$1" -o "$2"
}

compile
made="build/wasm"
rm -rf "$made"
mkdir -p "$made" "$out"
bindgen "$module" "$made" "$name"
optimise "$made/${name}_bg.wasm" "$made/optimised.wasm"
mv "$made/optimised.wasm" "$made/${name}_bg.wasm"
{
  echo "/** The module as base64, so that nothing has to be fetched or configured. */"
  printf 'export const WASM_BASE64: string =\n  "%s";\n' "$(base64 -w0 "$made/${name}_bg.wasm")"
} >"$made/inline.ts"
cp "$made/$name.js" "$made/$name.d.ts" "$made/${name}_bg.wasm" "$made/inline.ts" "$out/"
raw=$(wc -c <"$out/${name}_bg.wasm")
packed=$(gzip -9 -n -c "$out/${name}_bg.wasm" | wc -c)
printf '{\n  "wasm_bytes": %d,\n  "wasm_gzip_bytes": %d,\n  "limit_gzip_bytes": %d,\n  "aim_gzip_bytes": %d\n}\n' \
  "$raw" "$packed" "$most" "$aim" >wasm/size.json
echo "result: $out, $raw bytes, $packed gzipped (aim $aim, at most $most), $toolchain"
((packed <= most))
