#!/usr/bin/env bash
# Slices a window out of the simulated engine and shows the traces to other people's tools (see check.sh).
# usage: tests/trace/run.sh [SCREENSHOT.png]     exit code 77: a tool could not be had, and check.sh says which
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
(cd "$root" && cargo build --locked --quiet --bin stepscope)
stepscope=${CARGO_TARGET_DIR:-$root/target}/debug/stepscope
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$work"' EXIT
export STEPSCOPE_DIR=$work/segments
"$stepscope" engine --ranks 2 --iterations 0 --step-us 2000 >"$work/engine.log" &
# Two GPUs beside it, by a stand-in for NVML.
cc -std=gnu11 -O1 -fPIC -shared -o "$work/libnvidia-ml.so.1" "$here/../fakes/nvml.c"
echo "devices=2 gpm@1=1" >"$work/nvml"
STEPSCOPE_TEST_NVML=$work/nvml STEPSCOPE_NVML_LIBRARY=$work/libnvidia-ml.so.1 \
  "$stepscope" serve --nvml-window-period-ms 10 --listen 127.0.0.1:0 --data "$work/data" 2>"$work/serve.log" &
for _ in $(seq 300); do
  url=$(sed -n 's/.*listening on \(http:[^ ]*\).*/\1/p' "$work/serve.log")
  [[ -n $url ]] && "$stepscope" status --url "$url" --json | grep -q '"rank":1' && break
  sleep 0.1
done
"$stepscope" start --url "$url" --delay-iterations 5 --max-iterations 50 --wait
# The file's name chooses the format.
for format in json json.gz json.zst pftrace jsonl csv; do
  "$stepscope" get --url "$url" -o "$work/all.$format"
  for rank in 0 1; do
    "$stepscope" get --url "$url" --rank "$rank" -o "$work/rank$rank.$format" >/dev/null
  done
done
"$here/check.sh" "$work/all.json" "${1:-$work/viewer.png}" "$work/rank0.json" "$work/rank1.json"
