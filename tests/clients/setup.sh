#!/usr/bin/env bash
# Installs the clients that vLLM's package does not bring, once; a second call is a no-op. Prints two lines: the folder of their
# environment, and that of MLCommons' repository, empty where it can't be had.
# usage: tests/clients/setup.sh VLLM_DIR     needs: a package index; exit 77 where SGLang can't be had
# STEPSCOPE_TEST_ENDPOINTS: where to clone MLCommons' repository from, if not from where it lives
set -euo pipefail
vllm=${1:?usage: setup.sh VLLM_DIR}
sglang=0.5.23
dir=$(realpath -m "${STEPSCOPE_TEST_CACHE:-$HOME/.cache/stepscope-tests}/clients")
mkdir -p "$dir"
environment=$dir/sglang-$sglang
if [[ ! -f $environment/ready ]]; then
  # SGLang wants CUDA's packages, which its two clients never touch: it comes without any, and what those import beside
  # vLLM's environment comes by name.
  rm -rf "$environment"
  "$vllm/venv/bin/python" -m venv "$environment"
  site=$("$vllm/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
  over=$("$environment/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
  echo "import site; site.addsitedir('$site')" >"$over/vllm.pth"
  install() { "$environment/bin/pip" install -q --disable-pip-version-check "$@" >&2; }
  if ! install --no-deps "sglang==$sglang" || ! install IPython datasets gguf orjson pandas cyclopts; then
    echo "SGLang $sglang can't be installed here" >&2
    exit 77
  fi
  touch "$environment/ready"
fi
echo "$environment"
source=$dir/endpoints
[[ -z ${STEPSCOPE_TEST_ENDPOINTS:-} ]] || source=$source-elsewhere
trigger=src/inference_endpoint/commands/benchmark/profiling.py
if [[ ! -f $source/$trigger ]]; then
  rm -rf "$source"
  GIT_TERMINAL_PROMPT=0 timeout 120 git clone -q --depth 1 \
    "${STEPSCOPE_TEST_ENDPOINTS:-https://github.com/mlcommons/endpoints}" "$source" >&2 || rm -rf "$source"
fi
if [[ -f $source/$trigger ]]; then echo "$source"; else echo; fi
