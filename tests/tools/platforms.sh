#!/usr/bin/env bash
# Runs the tests of the Rust crates, among them every conformance vector, on platforms
# unlike the usual one:
#
#   platforms.sh big-endian   s390x-unknown-linux-gnu, emulated by QEMU
#   platforms.sh 32-bit       i686-unknown-linux-gnu, which an x86-64 machine runs by itself
#   platforms.sh windows      x86_64-pc-windows-gnu, under Wine
#   platforms.sh macos        aarch64-apple-darwin: compiled and linked, since nothing
#                             here can run it
#
# Without arguments, all of them. Linkers and emulators come from Debian. The standard
# library of a target is the first that is there: installed; added by rustup; built from
# the source that comes with Debian's compiler.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
work=$root/build/platforms
mkdir -p "$work/logs"
crates=(-p deathtensors-core -p deathtensors -p deathtensors-wasm)
zig=0.17.1
sysroot=$(rustc --print sysroot)
export CARGO_TARGET_DIR=$work/target

install() {
  local missing=()
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [[ ${#missing[@]} -eq 0 ]] && return
  if ! command -v apt-get >/dev/null || [[ $(id -u) -ne 0 ]]; then
    echo "needed, from Debian: ${missing[*]}" >&2
    exit 1
  fi
  apt-get update -qq || true
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# Sets `toolchain`: how cargo and rustc are called for a target.
choose() {
  local target=$1
  if [[ -d $sysroot/lib/rustlib/$target/lib ]] ||
    { command -v rustup >/dev/null && rustup target add "$target" 2>/dev/null; }; then
    toolchain=(env)
    std=()
    return
  fi
  install rustc-web rust-web-src
  toolchain=(env RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1)
  std=(-Zbuild-std)
}

# cargo_test NAME TARGET ARGUMENTS...   what it says goes to a log.
cargo_test() {
  local name=$1 target=$2 log=$work/logs/$1.log
  shift 2
  choose "$target"
  if ! "${toolchain[@]}" cargo test --locked --no-fail-fast "${crates[@]}" --lib --tests \
    --target "$target" "${std[@]}" "$@" >"$log" 2>&1; then
    tail -n 80 "$log"
    echo "$name: failed; all of it is in ${log#"$root"/}" >&2
    exit 1
  fi
}

# Runs the tests, and adds up what their runners count.
run() {
  cargo_test "$1" "$2"
  awk -v what="$1: $2" '
    /^test result: ok/ { passed += $4 }
    END { print what ", " passed " tests passed"; exit !passed }
  ' "$work/logs/$1.log"
}

big_endian() {
  install qemu-user gcc-s390x-linux-gnu libc6-dev-s390x-cross
  export CC_s390x_unknown_linux_gnu=s390x-linux-gnu-gcc
  export CARGO_TARGET_S390X_UNKNOWN_LINUX_GNU_LINKER=s390x-linux-gnu-gcc
  export CARGO_TARGET_S390X_UNKNOWN_LINUX_GNU_RUNNER="qemu-s390x -L /usr/s390x-linux-gnu"
  # Optimised code multiplies two f32 as f64 by MDEBR, which QEMU 7.2, Debian 12's, gets
  # wrong: 3 by 4 makes 128.
  export CARGO_PROFILE_DEV_OPT_LEVEL=0
  run big-endian s390x-unknown-linux-gnu
}

bits_32() {
  install gcc-i686-linux-gnu libc6-dev-i386-cross
  export CC_i686_unknown_linux_gnu=i686-linux-gnu-gcc
  export CARGO_TARGET_I686_UNKNOWN_LINUX_GNU_LINKER=i686-linux-gnu-gcc
  local libraries=/usr/i686-linux-gnu/lib
  export CARGO_TARGET_I686_UNKNOWN_LINUX_GNU_RUNNER="$libraries/ld-linux.so.2 --library-path $libraries"
  run 32-bit i686-unknown-linux-gnu
}

windows() {
  install gcc-mingw-w64-x86-64 wine wine64
  export CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER=x86_64-w64-mingw32-gcc
  export CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER=wine
  export WINEPREFIX=$work/wine WINEDEBUG=-all
  run windows x86_64-pc-windows-gnu
}

# Zig, from PyPI, brings a C compiler, a linker and what it takes of Apple's headers.
zig() {
  local home=$work/zig
  if [[ ! -x $home/bin/python ]]; then
    "${PYTHON:-python3}" -m venv "$home"
    "$home/bin/python" -m pip install --quiet --disable-pip-version-check "ziglang==$zig"
  fi
  # Without what only Apple's own compiler takes, and a library that nothing here calls.
  cat >"$home/cc" <<SCRIPT
#!/usr/bin/env bash
kept=()
while ((\$#)); do
  case \$1 in
    -arch) shift ;;
    --target=* | -mmacosx-version-min=* | -liconv) ;;
    *) kept+=("\$1") ;;
  esac
  shift
done
exec "$home/bin/python" -m ziglang cc -target aarch64-macos "\${kept[@]}"
SCRIPT
  printf '#!/bin/sh\nexec "%s" -m ziglang ar "$@"\n' "$home/bin/python" >"$home/ar"
  chmod +x "$home/cc" "$home/ar"
}

macos() {
  zig
  export CC_aarch64_apple_darwin=$work/zig/cc AR_aarch64_apple_darwin=$work/zig/ar
  export CARGO_TARGET_AARCH64_APPLE_DARWIN_LINKER=$work/zig/cc
  # Whoever looks for Apple's folder of headers need not.
  export SDKROOT=$work/zig
  cargo_test macos aarch64-apple-darwin --no-run
  echo "macos: aarch64-apple-darwin, $(grep -c Executable "$work/logs/macos.log") test programs compiled and linked"
}

[[ $# -gt 0 ]] || set -- big-endian 32-bit windows macos
for name in "$@"; do
  case $name in
    big-endian) big_endian ;;
    32-bit) bits_32 ;;
    windows) windows ;;
    macos) macos ;;
    *)
      echo "usage: platforms.sh [big-endian] [32-bit] [windows] [macos]" >&2
      exit 2
      ;;
  esac
done
echo "result: $*"
