#!/usr/bin/env bash
# Kills ranks and sidecars in the middle of captures, again and again, and checks every capture that came of it.
#
#   tests/kills.sh                      about a minute
#   tests/kills.sh 600   longer (SECONDS_TO_RUN=600 does too); SEED=N repeats a run's choices; STEPSCOPE=PATH takes that binary
set -euo pipefail
cd "$(dirname "$0")/.."
exec python3 -B tests/soak/kills.py "$@"
