#!/usr/bin/env bash
# Builds the library of this tree's contract (`contract-VERSION`) and stores it here. To be run on the commit whose contract
# is to be kept, and never again for the same version: what is stored is a witness of that time.
set -euo pipefail
stored=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$stored/../../.." && pwd)
version=$(sed -n 's/^pub const CONTRACT: &str = "\([0-9]*\.[0-9]*\)\..*/\1/p' "$root/core/src/abi/mod.rs")
here=$stored/contract-$version
[ -d "$here" ] || { echo "this tree has contract $version, of which there is no crate here" >&2; exit 1; }
[ ! -e "$here-x86_64-linux-gnu.so.zst" ] || { echo "contract $version is stored already" >&2; exit 1; }
[ "$(uname -sm)" = "Linux x86_64" ] || { echo "stored for x86_64 Linux only" >&2; exit 1; }
target=${CARGO_TARGET_DIR:-$here/target}
# The same versions of everything else as the program had; no paths of this machine in the library.
[ -f "$here/Cargo.lock" ] || cp "$root/Cargo.lock" "$here/Cargo.lock"
export RUSTFLAGS="--remap-path-prefix=$HOME=/home --remap-path-prefix=$root=/veilwatch"
cargo build --release --manifest-path "$here/Cargo.toml" --target-dir "$target"
zstd -19 --force --quiet "$target/release/libveilwatch_stored_contract.so" \
    -o "$here-x86_64-linux-gnu.so.zst"
sha256sum "$target/release/libveilwatch_stored_contract.so"
