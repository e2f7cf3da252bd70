#!/usr/bin/env bash
# Runs tests under tools that see mistakes with memory and races while they happen:
#
#   sanitizers.sh address   Rust's tests, zstd and the Python module, by AddressSanitizer
#   sanitizers.sh thread    the tests with threads, by ThreadSanitizer
#   sanitizers.sh memcheck  the unsafe module's tests and some more, by Valgrind
#
# and all of them when none is named. Each first makes mistakes on purpose (canary.rs,
# canary.py), and fails if its tool does not report them, or reports what is none. The table
# is in build/sanitizers.md.
#
# A nightly compiler is not needed: the sanitizers' runtimes come with every toolchain, and
# only the flags are unstable. Assertions are on, those of the standard library about its
# unsafe functions too, as in every build for debugging.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
root=$PWD
out=$root/build/sanitizers
python=$root/build/venv/bin/python
triple=$(rustc -vV | sed -n 's/^host: //p')
export RUSTC_BOOTSTRAP=1 PYO3_PYTHON=$python
table=$root/build/sanitizers.md
mkdir -p "$out"

fail() {
  echo "$*" >&2
  exit 1
}

now() { date +%s; }

# row WHAT TESTS SECONDS
row() { echo "| $1 | $2 | $3 s | nothing |" >>"$table"; }

# How many tests passed, as cargo or pytest say in a log.
passed() {
  sed -n 's/^test result: ok. \([0-9]*\) passed.*/\1/p; s/^\([0-9]*\) passed.*/\1/p' "$1" |
    awk '{ sum += $1 } END { print sum + 0 }'
}

# tried WHAT LOG COMMAND…   runs tests, and adds a row.
tried() {
  local what=$1 log=$out/$2.log started status=0
  shift 2
  started=$(now)
  "$@" >"$log" 2>&1 || status=$?
  if [[ $status -ne 0 ]]; then
    tail -n 80 "$log" >&2
    fail "$what: exit code $status; $log has all of it"
  fi
  [[ $(passed "$log") -gt 0 ]] || fail "$what: no test ran"
  row "$what" "$(passed "$log")" "$(($(now) - started))"
}

# noticed WORDS COMMAND…   a mistake that must be reported in these words.
noticed() {
  local words=$1 log=$out/canary.log
  shift
  if "$@" >"$log" 2>&1 || ! grep -qF "$words" "$log"; then
    cat "$log" >&2
    fail "not reported as '$words': $*"
  fi
}

# quiet COMMAND…   no mistake, of which nothing must be reported.
quiet() {
  "$@" >"$out/canary.log" 2>&1 && return
  cat "$out/canary.log" >&2
  fail "reported, and should not be: $*"
}

run_all() {
  local program
  for program in "$@"; do "$program" || return; done
}

# Builds the crate's tests; their programs are `unit` and `it` then.
build_tests() {
  local list=$out/programs.json
  cargo test --locked "$@" --package deathtensors --lib --test it --no-run --message-format=json \
    >"$list"
  unit=$(sed -n 's/.*"executable":"\([^"]*\/deathtensors-[^"]*\)".*/\1/p' "$list")
  it=$(sed -n 's/.*"executable":"\([^"]*\/it-[^"]*\)".*/\1/p' "$list")
  [[ -x $unit && -x $it ]] || fail "cargo built no tests: $unit, $it"
}

# A row for what was spent on building.
built() { echo "| $1, building | | $(($(now) - $2)) s | |" >>"$table"; }

address() (
  started=$(now)
  export CARGO_TARGET_DIR=$out/address
  export RUSTFLAGS="-Zsanitizer=address"
  # zstd too, whose C is compiled with the package.
  export "CFLAGS_${triple//-/_}=-fsanitize=address -fno-omit-frame-pointer"
  # Contexts of zstd stay until their thread ends, which some never do.
  export ASAN_OPTIONS="detect_leaks=0:detect_stack_use_after_return=1"
  canary=$out/address/canary
  mkdir -p "$out/address"
  rustc -g "$RUSTFLAGS" --edition=2024 tests/tools/canary.rs -o "$canary"
  build_tests --target "$triple"
  cargo build --locked --target "$triple" --package deathtensors-python
  built AddressSanitizer "$started"

  noticed "heap-use-after-free" "$canary" freed
  noticed "heap-buffer-overflow" "$canary" outside
  quiet "$canary" fine
  tried "native crate, AddressSanitizer" address-native run_all "$unit" "$it"

  # Python loads the module, so the runtime has to be there before: as a library, made of the
  # archive that programs are linked with. (It stops if a library has the name libasan.so.)
  runtime=$out/address-runtime
  cp "$(rustc --print sysroot)/lib/rustlib/$triple/lib"/librustc*_rt.asan.a "$runtime.a"
  ar d "$runtime.a" asan_preinit.cpp.o
  cc -shared -o "$runtime.so" -Wl,--whole-archive "$runtime.a" -Wl,--no-whole-archive \
    -lpthread -ldl -lm -lrt
  package=$out/package
  rm -rf "$package"
  mkdir -p "$package"
  cp -r python/deathtensors "$package/"
  module=$package/deathtensors/_deathtensors.so
  cp "$CARGO_TARGET_DIR/$triple/debug/lib_deathtensors.so" "$module"
  with=(env LD_PRELOAD="$runtime.so" PYTHONPATH="$package" PYTHONMALLOC=malloc "$python")
  noticed "heap-buffer-overflow" "${with[@]}" tests/tools/canary.py
  nm -D "$module" | grep __asan_report >/dev/null || fail "$module was not built for it"
  tried "Python module, AddressSanitizer" address-python "${with[@]}" -m pytest -q \
    tests/python/test_foreign_memory.py tests/python/test_threads.py tests/python/test_numpy.py
)

thread() (
  started=$(now)
  export CARGO_TARGET_DIR=$out/thread CARGO_PROFILE_DEV_LTO=fat CARGO_PROFILE_TEST_LTO=fat
  export RUSTFLAGS="-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer \
    -Zunstable-options -Csave-temps -Clinker=$root/tests/tools/tsan-cc \
    -Clinker-flavor=gnu-lld-cc"
  export TSAN_OPTIONS="suppressions=$root/tests/tools/tsan.supp"
  canary=$out/thread/canary
  mkdir -p "$out/thread"
  # shellcheck disable=SC2086
  rustc -g $RUSTFLAGS -Clto=fat --edition=2024 tests/tools/canary.rs -o "$canary"
  build_tests --target "$triple"
  find "$out/thread" -name '*.rcgu.*' -delete # a gigabyte, of use only to the linker
  built ThreadSanitizer "$started"
  noticed "data race" "$canary" race
  quiet "$canary" fine
  tried "unsafe module, ThreadSanitizer" thread-map "$unit" map::
  tried "threads, ThreadSanitizer" thread-threads "$it" threads::
)

memcheck() (
  command -v valgrind >/dev/null || fail "valgrind was not found; on Debian: apt-get install valgrind"
  started=$(now)
  unset RUSTC_BOOTSTRAP # which would have everything that was built before built again
  canary=$out/canary-memcheck
  rustc -g --edition=2024 tests/tools/canary.rs -o "$canary"
  build_tests
  built Valgrind "$started"
  with=(valgrind -q --error-exitcode=9)
  noticed "uninitialised value" "${with[@]}" "$canary" uninitialised
  noticed "Invalid read" "${with[@]}" "$canary" freed
  noticed "Invalid read" "${with[@]}" "$canary" outside
  quiet "${with[@]}" "$canary" fine
  tried "unsafe module, Valgrind" memcheck-map "${with[@]}" "$unit" map::
  # All of them take ten minutes.
  tried "native crate, a part, Valgrind" memcheck-native "${with[@]}" "$it" append:: \
    convert:: damage:: legacy:: random_access:: reading:: seekable:: together::
)

tools=("$@")
[[ ${#tools[@]} -gt 0 ]] || tools=(address thread memcheck)
printf '| what | tests | time | found |\n|---|---|---|---|\n' >"$table"
for tool in "${tools[@]}"; do
  case $tool in
    address | thread | memcheck) "$tool" ;;
    *) fail "usage: sanitizers.sh [address|thread|memcheck …]" ;;
  esac
done
cat "$table"
echo "result: $(awk -F'|' '{ sum += $3 } END { print sum + 0 }' "$table") tests, nothing found"
