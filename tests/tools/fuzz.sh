#!/usr/bin/env bash
# Runs the fuzzers: fuzz.sh SECONDS [TARGET …], each target that long, as many at once as
# there are cores. Fails when one finds something, and says what to do with it.
#
# SEED=N makes what they try depend on nothing else: `make test` does that, so that it does
# not fail by chance.
#
# They start from the conformance vectors and from what earlier runs kept: the archives in
# fuzz/corpus. `fuzz.sh keep [TARGET …]` writes those anew, from what was found here.
#
# cargo-fuzz is installed into build/tools. A nightly compiler is not needed: the
# sanitizers' runtimes come with every toolchain, and only the flags are unstable.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
root=$PWD
seconds=${1:?usage: fuzz.sh SECONDS|keep [TARGET …]}
shift
tools=$root/build/tools
version=0.13.2
out=$root/build/fuzz
triple=$(rustc -vV | sed -n 's/^host: //p')
export CARGO_PROFILE_RELEASE_LTO=off

if [[ ! -x $tools/bin/cargo-fuzz ]] || [[ $("$tools/bin/cargo-fuzz" --version) != *"$version" ]]; then
  cargo install cargo-fuzz --version "=$version" --locked --root "$tools"
fi
cargo run --quiet --locked --package deathtensors-fuzz --bin seeds -- tests/vectors "$out/seeds"
targets=("$@")
if [[ ${#targets[@]} -eq 0 ]]; then
  mapfile -t targets < <(ls "$out/seeds")
fi
for target in "${targets[@]}"; do
  RUSTC_BOOTSTRAP=1 "$tools/bin/cargo-fuzz" build --features fuzzers --target-dir "$out/target" "$target"
done

for target in "${targets[@]}"; do
  mkdir -p "$out/corpus/$target" "$out/found/$target"
  rm -rf "$out/kept/$target"
  mkdir -p "$out/kept/$target"
  if [[ -f fuzz/corpus/$target.tar.gz ]]; then
    tar -xzf "fuzz/corpus/$target.tar.gz" -C "$out/kept/$target"
  fi
done

# Leaks are not looked for: thread-local contexts stay until the process ends.
run() {
  local target=$1
  ASAN_OPTIONS=detect_leaks=0 "$out/target/$triple/release/$target" \
    "${@:2}" "$out/corpus/$target" "$out/kept/$target" "$out/seeds/$target" \
    -max_len=16384 -timeout=20 -malloc_limit_mb=64 -rss_limit_mb=2048 \
    -print_final_stats=1 -artifact_prefix="$out/found/$target/" \
    >"$out/$target.log" 2>&1
}

# The fewest short inputs that reach what all of them reach, in an archive whose bytes
# depend on nothing else.
keep() {
  local target=$1 new=$out/new/$1
  rm -rf "$new"
  mkdir -p "$new" fuzz/corpus
  run "$target" -set_cover_merge=1 "$new"
  tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=644 \
    -cf - -C "$new" $(ls "$new") | gzip -9n >"fuzz/corpus/$target.tar.gz"
  echo "$target: $(ls "$new" | wc -l) inputs, $(stat -c %s "fuzz/corpus/$target.tar.gz") bytes"
}
if [[ $seconds == keep ]]; then
  for target in "${targets[@]}"; do keep "$target"; done
  exit
fi

failed=()
running=0
declare -A name
finish() {
  local process=0 status=0
  wait -n -p process || status=$?
  running=$((running - 1))
  [[ $status -eq 0 ]] || failed+=("${name[$process]}")
}
for target in "${targets[@]}"; do
  while ((running >= $(nproc))); do finish; done
  run "$target" -seed="${SEED:-0}" -dict=fuzz/dictionaries/json.dict -max_total_time="$seconds" &
  name[$!]=$target
  running=$((running + 1))
done
while ((running > 0)); do finish; done

echo "| target | executions | edges reached | inputs kept |"
echo "|---|---|---|---|"
all=0
for target in "${targets[@]}"; do
  log=$out/$target.log
  executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  read -r edges kept < <(sed -n 's/.* cov: \([0-9]*\) .* corp: \([0-9]*\).*/\1 \2/p' "$log" | tail -1) || true
  all=$((all + ${executions:-0}))
  echo "| $target | ${executions:-0} | ${edges:-0} | ${kept:-0} |"
done
for target in "${failed[@]}"; do
  echo "$target found something: $out/found/$target holds the input, $out/$target.log says what." >&2
  echo "Mend it, and keep the input in fuzz/crashers/$target." >&2
  tail -25 "$out/$target.log" >&2
done
[[ ${#failed[@]} -eq 0 ]]
echo "result: $all inputs, nothing found" >&2
