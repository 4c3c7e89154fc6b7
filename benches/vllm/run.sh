#!/usr/bin/env bash
# What our package costs a real vLLM, and the stall of a window beside vLLM's own torch profiler, in one run.
# usage: benches/vllm/run.sh [bench.py's options]     fifteen minutes behind the first set-up, on two quiet cores
# STEPSCOPE_TEST_WHEEL: measure this wheel instead of building one
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
dir=$("$root/tests/vllm/setup.sh" | head -1)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$root/tests/vllm/overlay.sh" "$dir" "$work/venv"
"$work/venv/bin/python" "$here/bench.py" --plain-python "$dir/venv/bin/python" --python "$work/venv/bin/python" \
  --model "$dir/model" --stepscope "$work/venv/bin/stepscope" --work "$work" "$@"
