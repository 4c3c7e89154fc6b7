#!/usr/bin/env bash
# Slices windows out of a real vLLM with our package installed, and checks them against vLLM's own log.
# usage: tests/vllm/run.sh [TENSOR_PARALLEL_SIZE]     1 (default) or 2; three to seven minutes behind the first set-up
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
dir=$("$here/setup.sh" | head -1)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Our package goes into an environment of its own that sees vLLM's: vLLM's stays as it was, for the comparison.
"$dir/venv/bin/python" -m venv "$work/venv"
site=$("$dir/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
over=$("$work/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
echo "import site; site.addsitedir('$site')" >"$over/vllm.pth"
if [[ -n ${STEPSCOPE_WHEEL:-} ]]; then
  "$work/venv/bin/pip" install -q --disable-pip-version-check --no-deps "$STEPSCOPE_WHEEL"
else
  "$work/venv/bin/pip" install -q --disable-pip-version-check --no-deps "$root/python"
fi
"$work/venv/bin/python" "$here/check.py" --plain-python "$dir/venv/bin/python" --model "$dir/model" \
  --stepscope "$work/venv/bin/stepscope" --work "$work" --tensor-parallel-size "${1:-1}"
