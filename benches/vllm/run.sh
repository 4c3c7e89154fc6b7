#!/usr/bin/env bash
# What our package costs a real vLLM, beside the same vLLM without it and beside vLLM's own torch profiler, in one run.
# usage: benches/vllm/run.sh [ROUNDS]     about fifteen minutes behind the first set-up, on two cores that do nothing else
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
dir=$("$root/tests/vllm/setup.sh" | head -1)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$root/tests/vllm/overlay.sh" "$dir" "$work/venv"
PYTHONPATH=$root/tests/vllm "$work/venv/bin/python" "$here/bench.py" --plain-python "$dir/venv/bin/python" \
  --python "$work/venv/bin/python" --model "$dir/model" --stepscope "$work/venv/bin/stepscope" --work "$work" \
  --rounds "${1:-7}"
