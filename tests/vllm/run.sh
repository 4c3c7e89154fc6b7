#!/usr/bin/env bash
# Slices windows out of a real vLLM with our package installed, and checks them against vLLM's own log.
# usage: tests/vllm/run.sh [TENSOR_PARALLEL_SIZE]     1 (default) or 2; three to seven minutes behind the first set-up
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=$("$here/setup.sh" | head -1)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$here/overlay.sh" "$dir" "$work/venv"
"$work/venv/bin/python" "$here/check.py" --plain-python "$dir/venv/bin/python" --model "$dir/model" \
  --stepscope "$work/venv/bin/stepscope" --work "$work" --tensor-parallel-size "${1:-1}"
