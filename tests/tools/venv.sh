#!/usr/bin/env bash
# venv.sh create        the virtual environment build/venv
# venv.sh requirements  and what the tests need in it
# venv.sh package       and this package, built from ./python
# venv.sh pin           the newest versions of all that, into tests/constraints.txt
#
# PYTHON names the interpreter to use; python3 if it is not set. What is installed is
# pinned by tests/constraints.txt; with CONSTRAINTS= (empty) the newest versions are taken.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
venv="$root/build/venv"
python=${PYTHON:-python3}
export PIP_DISABLE_PIP_VERSION_CHECK=1
constraints=${CONSTRAINTS-$root/tests/constraints.txt}
if [[ -n $constraints ]]; then
  # Also for what packages are built with.
  export PIP_CONSTRAINT=$constraints PIP_BUILD_CONSTRAINT=$constraints
fi

need() {
  command -v "$1" >/dev/null && return
  echo "$1 was not found. $2" >&2
  exit 1
}

create() {
  need "$python" "Install Python 3.9 or newer, or set PYTHON to where it is."
  local is was=""
  is=$("$python" -c 'import os, sys; print(os.path.realpath(sys.executable), sys.version)')
  [[ -f $venv/.made-by ]] && was=$(cat "$venv/.made-by")
  if [[ $is != "$was" || ! -x $venv/bin/python ]]; then
    rm -rf "$venv"
    mkdir -p "$root/build"
    "$python" -m venv "$venv" || {
      echo "Making a virtual environment failed; on Debian: apt-get install python3-venv" >&2
      exit 1
    }
    "$venv/bin/python" -m pip install --quiet --upgrade 'pip>=24'
    printf '%s\n' "$is" >"$venv/.made-by"
  fi
  "$venv/bin/python" --version
}

requirements() {
  create
  local wanted
  wanted=$(cat "$root/tests/requirements.txt" ${constraints:+"$constraints"})
  if [[ ! -f $venv/.requirements || $(cat "$venv/.requirements") != "$wanted" ]]; then
    "$venv/bin/python" -m pip install --quiet -r "$root/tests/requirements.txt"
    printf '%s\n' "$wanted" >"$venv/.requirements"
  fi
}

package() {
  create
  need cargo "Install Rust: https://www.rust-lang.org/tools/install"
  source "$root/tests/tools/release_env.sh"
  export MATURIN_PEP517_ARGS=--locked
  "$venv/bin/python" -m pip install --quiet --force-reinstall --no-deps "$root/python"
  cd /
  "$venv/bin/python" -c 'import deathtensors; print("result:", deathtensors.__version__)'
}

pin() {
  local fresh="$root/build/pin"
  rm -rf "$fresh"
  "$python" -m venv "$fresh"
  unset PIP_CONSTRAINT PIP_BUILD_CONSTRAINT
  "$fresh/bin/python" -m pip install --quiet --upgrade pip
  "$fresh/bin/python" -m pip install --quiet -r "$root/tests/requirements.txt" maturin
  {
    sed '/^#/!d' "$root/tests/constraints.txt"
    "$fresh/bin/python" -m pip list --format=freeze | sed 's/$/; python_version >= "3.11"/'
  } >"$root/build/constraints.txt"
  mv "$root/build/constraints.txt" "$root/tests/constraints.txt"
}

case ${1:-} in
  create | requirements | package | pin) "$1" ;;
  *)
    echo "usage: venv.sh create|requirements|package|pin" >&2
    exit 2
    ;;
esac
