#!/usr/bin/env bash
# Slices windows out of an engine that emits NVTX through the real PyTorch and the real `nvtx` package, and shows one of the
# traces to other people's tools.
# usage: tests/nvtx/run.sh [SCREENSHOT.png]     exit code 77: PyTorch or `nvtx` could not be had, and it is said which
# STEPSCOPE_TEST_WHEEL: test this wheel instead of building one
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=$(realpath -m "${STEPSCOPE_TEST_CACHE:-$HOME/.cache/stepscope-tests}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# PyTorch is the one that vLLM's check has.
vllm=$("$here/../vllm/setup.sh" 2>"$work/setup.log" | head -1) || {
  echo "SKIPPED: there is no PyTorch: $(tail -1 "$work/setup.log")" >&2
  exit 77
}
python=$vllm/venv/bin/python
if ! PYTHONPATH=$cache/nvtx "$python" -c 'import nvtx' 2>/dev/null; then
  rm -rf "$cache/nvtx"
  "$python" -m pip install -q --disable-pip-version-check --target "$cache/nvtx" nvtx==0.2.17 2>"$work/pip.log" || {
    echo "SKIPPED: pip could not install nvtx: $(tail -1 "$work/pip.log")" >&2
    exit 77
  }
fi
if ! "$python" -c 'import torch; torch.cuda.nvtx.range_push("x")' 2>"$work/torch.log"; then
  echo "SKIPPED: this PyTorch has no NVTX: $(tail -1 "$work/torch.log")" >&2
  exit 77
fi

"$here/../vllm/overlay.sh" "$vllm" "$work/venv"
PYTHONPATH=$cache/nvtx "$work/venv/bin/python" "$here/check.py" "$work/venv/bin/stepscope" "$work/venv/bin/python" "$work"
"$here/../trace/check.sh" "$work/prefix/trace.json" "${1:-$work/viewer.png}" "$work/prefix/rank0.json"
