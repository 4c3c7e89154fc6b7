#!/usr/bin/env bash
# The sidecar in front of a real vLLM: the same answers with and without it, and vLLM's own benchmark client with one URL
# for load and profile (see behind.py).
# usage: tests/proxy/run.sh     two minutes behind the first set-up
# STEPSCOPE_TEST_COMMAND: this `stepscope` in front, instead of the package's
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
vllm=$here/../vllm
dir=$("$vllm/setup.sh" | head -1)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$vllm/overlay.sh" "$dir" "$work/venv"
PYTHONPATH=$vllm "$work/venv/bin/python" "$here/behind.py" --model "$dir/model" --work "$work" \
  --stepscope "${STEPSCOPE_TEST_COMMAND:-$work/venv/bin/stepscope}"
