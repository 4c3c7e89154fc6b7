#!/usr/bin/env bash
# Holds what a trace says of requests against what their clients saw and what vLLM counted (see lifecycles.py).
# usage: tests/vllm/lifecycles.sh [TENSOR_PARALLEL_SIZE]     1 (default) or 2; two minutes behind the first set-up
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=$("$here/setup.sh" | head -1)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$here/overlay.sh" "$dir" "$work/venv"
"$work/venv/bin/python" "$here/lifecycles.py" --model "$dir/model" --stepscope "$work/venv/bin/stepscope" --work "$work" \
  --tensor-parallel-size "${1:-1}"
