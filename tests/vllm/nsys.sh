#!/usr/bin/env bash
# Slices a window out of a real vLLM that runs under the real nsys, and reads the report (see nsys.py).
# usage: tests/vllm/nsys.sh [TENSOR_PARALLEL_SIZE]     1 (default) or 2     exit code 77: nsys can't be had
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
"$here/../nsys/install.sh"
dir=$("$here/setup.sh" | head -1)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$here/overlay.sh" "$dir" "$work/venv"
"$work/venv/bin/python" "$here/nsys.py" --model "$dir/model" --stepscope "$work/venv/bin/stepscope" --work "$work" \
  --tensor-parallel-size "${1:-1}"
