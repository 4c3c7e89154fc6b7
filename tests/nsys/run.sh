#!/usr/bin/env bash
# Slices windows out of the simulated engine under the real nsys, and reads its reports (see check.py).
# usage: tests/nsys/run.sh     exit code 77: nsys can't be had, and install.sh says why
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
"$here/install.sh"
target=${CARGO_TARGET_DIR:-$root/target}
(cd "$root" && cargo build --locked --quiet --bin stepscope &&
  cargo rustc --locked --quiet --lib --crate-type cdylib --no-default-features --features agent --profile agent)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cc -std=gnu11 -O1 -o "$work/emitter" "$root/tests/fakes/nvtx_emitter.c" -ldl
"${PYTHON:-python3}" "$here/check.py" --stepscope "$target/debug/stepscope" --library "$target/agent/libstepscope.so" \
  --emitter "$work/emitter" --work "$work"
