#!/usr/bin/env bash
# Runs a real vLLM on the tiny model, in the foreground, on 127.0.0.1:PORT.
# usage: serve.sh PYTHON MODEL PORT [vllm serve options]     ready when GET /health answers 200, after about a minute
# float32 on purpose: with bfloat16 the CPU build picks AMX kernels, which die with SIGILL on some virtual machines.
set -euo pipefail
python=${1:?usage: serve.sh PYTHON MODEL PORT [options]} model=${2:?} port=${3:?}
shift 3
# Two ranks need a core each: VLLM_CPU_OMP_THREADS_BIND='0|1'.
export VLLM_CPU_KVCACHE_SPACE=1 HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1
exec "$python" -m vllm.entrypoints.cli.main serve "$model" --served-model-name tiny --load-format dummy --dtype float32 \
  --max-model-len 1024 --enforce-eager --host 127.0.0.1 --port "$port" "$@"
