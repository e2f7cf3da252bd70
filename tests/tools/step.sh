#!/usr/bin/env bash
# step.sh LABEL COMMAND...   runs a step of a longer job and prints one line:
# label, outcome, time. What the command says goes to build/logs, and its end is
# shown when it fails. V=1 shows everything as it comes.
set -uo pipefail
export LC_ALL=C
now() { echo "${EPOCHREALTIME:-$(date +%s)}"; }
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
label=$1
shift
mkdir -p "$root/build/logs"
log="$root/build/logs/$(printf '%s' "$label" | tr -cs 'A-Za-z0-9._-' '_').log"

printf '  %-44s ' "$label"
started=$(now)
if [[ ${V:-} == 1 ]]; then
  echo
  "$@" 2>&1 | tee "$log"
  status=${PIPESTATUS[0]}
  printf '  %-44s ' "$label"
else
  "$@" >"$log" 2>&1
  status=$?
fi
took=$(awk -v a="$started" -v b="$(now)" 'BEGIN { printf "%7.1f s", b - a }')

if [[ $status -eq 0 ]]; then
  # A step may say in its last line what it found, after "result:".
  said=$(sed -n 's/^result: //p' "$log" | tail -n 1)
  printf 'ok   %s%s\n' "$took" "${said:+   $said}"
else
  printf 'FAIL %s   (exit code %s)\n' "$took" "$status"
  if [[ ${V:-} != 1 ]]; then
    echo "  --- the last lines of ${log#"$root"/} ---"
    tail -n 60 "$log" | sed 's/^/  | /'
  fi
fi
exit "$status"
