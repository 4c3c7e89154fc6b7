#!/usr/bin/env bash
# Captures windows of a real vLLM with its own torch profiler behind our contract (see native.py).
# usage: tests/vllm/native.sh [TENSOR_PARALLEL_SIZE]
#   1 (default) or 2; STEPSCOPE_TEST_COMMAND: run this stepscope as the sidecar, not the one of the Python package
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=$("$here/setup.sh" | head -1)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$here/overlay.sh" "$dir" "$work/venv"
"$work/venv/bin/python" "$here/native.py" --model "$dir/model" \
  --stepscope "${STEPSCOPE_TEST_COMMAND:-$work/venv/bin/stepscope}" --work "$work" --tensor-parallel-size "${1:-1}"
