#!/usr/bin/env bash
# Whether a capture changes what `vllm bench serve` measures: one vLLM, the benchmark again and again, in turns with a capture of
# its whole measured phase (`--profile`) and without.
# usage: benches/vllm/bench_serve.sh [bench_serve.py's options]     six minutes behind the first set-up, on two quiet cores
# STEPSCOPE_TEST_WHEEL: measure this wheel instead of building one
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
dir=$("$root/tests/vllm/setup.sh" | head -1)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$root/tests/vllm/overlay.sh" "$dir" "$work/venv"
"$work/venv/bin/python" "$here/bench_serve.py" --model "$dir/model" --stepscope "$work/venv/bin/stepscope" --work "$work" "$@"
