#!/usr/bin/env bash
# Shows without a GPU that run.sh works: on a stand-in for driver and device it finds nothing, on one that is wrong it finds
# what is wrong, and on this machine as it is it says what it can't see.
set -euo pipefail
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
PYTHONDONTWRITEBYTECODE=1 python3 -m unittest -q test_tools
./run.sh --dry --make "$work/bin" >/dev/null

failed=0
expect() { # CODE ROW ARGUMENTS...: the exit code, and the row that FAILED
  local code=0 wanted=$1 row=$2
  shift 2
  ./run.sh --bin "$work/bin" --out "$work/out" "$@" >"$work/said" || code=$?
  if [[ $code == "$wanted" ]] && { [[ -z $row ]] || grep -q "^FAILED   $row  (" "$work/said"; }; then
    echo "ok: run.sh $*: $code${row:+, $row FAILED}"
  else
    echo "FAILED: run.sh $*: exit code $code instead of $wanted${row:+, or $row did not fail}"
    cat "$work/said"
    failed=1
  fi
  rm -rf "$work/out"
}

expect 0 '' --dry
expect 1 'kernels, lead 1' --dry=no-sync --only 'kernels, lead 1'
expect 1 'kernels, lead 0' --dry=leaky --only 'kernels, lead 0'
expect 1 'idle engine' --dry=deaf --only 'idle engine'
expect 1 'device_ns, CUDA graph' --dry=slow-clock --only 'device_ns, CUDA graph'
if "$work/bin/stepscope" cuda-driver | grep -q '"devices":\[\]'; then # no GPU
  expect 77 '' --tool cupti
  expect 77 '' --only ranges
fi
exit "$failed"
