#!/usr/bin/env bash
# Runs benchmark clients as they are against a real vLLM and a sidecar: what each called measured is what was captured.
# usage: tests/clients/run.sh [CLIENT...]     all of them without names; three minutes behind the first set-up
# What could not be had is said in the table at the end.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=$("$here/../vllm/setup.sh" | head -1)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$here/../vllm/overlay.sh" "$dir" "$work/venv"
code=0
"$here/setup.sh" "$dir" >"$work/clients" || code=$?
case $code in
  0) { read -r environment; read -r endpoints; } <"$work/clients" ;;
  77) environment="" endpoints="" ;;
  *) exit "$code" ;;
esac
clients=$(IFS=,; echo "$*")
"$work/venv/bin/python" "$here/check.py" --model "$dir/model" --stepscope "$work/venv/bin/stepscope" --work "$work" \
  --clients "$clients" --environment "$environment" --endpoints "$endpoints"
