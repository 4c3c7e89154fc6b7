#!/usr/bin/env bash
# Records a window of a real vLLM twice, with our capture and with its own torch profiler, and merges both (see merge.py).
# usage: tests/vllm/merge.sh [TENSOR_PARALLEL_SIZE]     1 (default) or 2; STEPSCOPE_TEST_KEEP: copy the merged trace there
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=$("$here/setup.sh" | head -1)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$here/overlay.sh" "$dir" "$work/venv"
"$work/venv/bin/python" "$here/merge.py" --model "$dir/model" --stepscope "$work/venv/bin/stepscope" --work "$work" \
  --tensor-parallel-size "${1:-1}"
