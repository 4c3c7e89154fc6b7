#!/usr/bin/env bash
# Sends a live sidecar mutated bodies, and drops mutated segments into its folder, while a real engine is captured.
#
#   tests/fuzz.sh                       about a minute, and at least 10,000 bodies
#   tests/fuzz.sh 600    longer (SECONDS_TO_RUN=600 does too); SEED=N repeats a run's choices; STEPSCOPE=PATH takes that binary
set -euo pipefail
cd "$(dirname "$0")/.."
exec python3 -B tests/soak/fuzz.py "$@"
