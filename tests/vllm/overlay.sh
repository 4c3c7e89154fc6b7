#!/usr/bin/env bash
# Makes an environment of its own that has our package and sees vLLM's: vLLM's stays as it was, for the comparison.
# usage: overlay.sh VLLM_DIR NEW_ENVIRONMENT     STEPSCOPE_TEST_WHEEL: install this wheel instead of building one
set -euo pipefail
vllm=${1:?usage: overlay.sh VLLM_DIR NEW_ENVIRONMENT} venv=${2:?usage: overlay.sh VLLM_DIR NEW_ENVIRONMENT}
root=$(cd "$(dirname "$0")/../.." && pwd)
"$vllm/venv/bin/python" -m venv "$venv"
site=$("$vllm/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
over=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
echo "import site; site.addsitedir('$site')" >"$over/vllm.pth"
"$venv/bin/pip" install -q --disable-pip-version-check --no-deps "${STEPSCOPE_TEST_WHEEL:-$root/python}"
