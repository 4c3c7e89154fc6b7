#!/usr/bin/env bash
# Holds a live sidecar, a simulated engine behind it, to its own OpenAPI document: every phase and every check of schemathesis.
#
#   tests/service/schemathesis.sh [SECONDS]     60 unless told; SEED=N repeats a run's choices; STEPSCOPE=PATH takes that binary
#
# schemathesis is installed into a folder of its own below ~/.cache/stepscope-tests. Exit code 77: it could not be had.
# What is bent for it, and why, stands in schemathesis_hooks.py.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
seconds=${1:-60}
version=4.32.5

environment=${XDG_CACHE_HOME:-$HOME/.cache}/stepscope-tests/schemathesis-$version
if [[ ! -x $environment/bin/st ]]; then
  rm -rf "$environment"
  { python3 -m venv "$environment" && "$environment/bin/pip" install -q --disable-pip-version-check "schemathesis==$version"; } ||
    { rm -rf "$environment"; echo "SKIPPED: schemathesis $version can't be installed" >&2; exit 77; }
fi

stepscope=${STEPSCOPE:-}
if [[ -z $stepscope ]]; then
  (cd "$root" && cargo build --locked --quiet --bin stepscope)
  stepscope=${CARGO_TARGET_DIR:-$root/target}/debug/stepscope
fi

work=$(mktemp -d)
failed=yes
end() {
  kill $(jobs -p) 2>/dev/null || true
  wait
  if [[ $failed == yes ]]; then echo "left for you to look at: $work"; else rm -rf "$work"; fi
}
trap end EXIT
unset "${!STEPSCOPE_@}"
export STEPSCOPE_DIR=$work/segments
mkdir -m 700 "$STEPSCOPE_DIR"
token=$(head -c 24 /dev/urandom | base64 | tr -d '/+=')
printf '[[token]]\nname = "tester"\ntoken = "%s"\nrights = ["look", "capture", "delete"]\n' "$token" >"$work/tokens"
chmod 600 "$work/tokens"

"$stepscope" engine --requests --ranks 2 --iterations 0 --step-us 2000 --job tested >"$work/engine.log" &
# Limits as high as the document says that numbers may be: it can't know what an operator has set.
largest=9007199254740991
"$stepscope" serve --listen 127.0.0.1:0 --data "$work/data" --tokens-file "$work/tokens" --audit-log "$work/audit.jsonl" \
  --start-rate-per-second 0 --max-duration-ms $largest --max-bytes $largest --max-events $largest \
  --retention-max-captures 30 2>"$work/serve.log" &
export STEPSCOPE_TOKEN=$token
for _ in $(seq 300); do
  url=$(sed -n 's/.*listening on \(http:[^ ]*\).*/\1/p' "$work/serve.log")
  [[ -n $url ]] && "$stepscope" status --url "$url" --json 2>/dev/null | grep -q '"rank":1' && break
  sleep 0.1
done
# So that there is something to look at from the first request on.
"$stepscope" start --url "$url" --max-iterations 20 --wait >/dev/null

# One worker: with two, ast.parse of Python 3.11 fails now and then ("AST constructor recursion depth mismatch").
cd "$work"
export STEPSCOPE_TEST_URL=$url SCHEMATHESIS_HOOKS=schemathesis_hooks PYTHONPATH=$here PYTHONDONTWRITEBYTECODE=1
"$environment/bin/st" run "$url/openapi.json" --header "Authorization: Bearer $token" \
  --checks all --phases examples,coverage,fuzzing,stateful --max-time "$seconds" --workers 1 --request-timeout 20 \
  --continue-on-failure ${SEED:+--seed "$SEED"} ${SCHEMATHESIS_ARGUMENTS:-}

panics=$(grep -c panicked "$work/serve.log" || true)
[[ $panics == 0 ]] || { echo "FAILED: $panics panics in $work/serve.log"; exit 1; }
grep -q "$token" "$work/serve.log" "$work/audit.jsonl" && { echo "FAILED: the token is in a log in $work"; exit 1; }
# Whatever was left running ends, and a window is as exact as ever.
"$stepscope" stop --url "$url" --wait >/dev/null || true
"$stepscope" start --url "$url" --max-iterations 20 --wait >/dev/null || { echo "FAILED: a window after all that"; exit 1; }
failed=no
