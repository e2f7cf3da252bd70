# Sourced by whatever builds something that is handed out, from anywhere in the checkout:
# the same source gives the same bytes wherever it is built, and they say nothing about the
# machine. (Cargo has no stable setting for this: `trim-paths` is for nightly compilers.)
_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
RUSTFLAGS="${RUSTFLAGS:-} --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=cargo --remap-path-prefix=$_root=."
export RUSTFLAGS
# The time that archives give their files.
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-1767225600}"
export LC_ALL=C TZ=UTC
unset _root
