#!/usr/bin/env bash
# Installs the package from the repository into a clean virtual environment and runs the tests there.
# usage: tests/python/run.sh [unittest options]    PYTHON chooses the interpreter; needs cargo, cc and a package index
# STEPSCOPE_TEST_WHEEL: test this wheel instead of building one
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
if [[ -n ${STEPSCOPE_TEST_WHEEL:-} ]]; then
  "$work/venv/bin/pip" install -q --disable-pip-version-check "$STEPSCOPE_TEST_WHEEL"
else
  STEPSCOPE_BUILD_PROFILE=${STEPSCOPE_BUILD_PROFILE:-dev} \
    "$work/venv/bin/pip" install -q --disable-pip-version-check "$root/python"
fi
# What vLLM's API server is made of, for the routes in it.
"$work/venv/bin/pip" install -q --disable-pip-version-check starlette uvicorn
cc -shared -fPIC -O1 -Wall -Wextra -Werror -I"$root/include" -Wl,-soname,libstepscope.so.1 \
  -o "$work/librecorder.so" "$here/recorder.c"
mkdir "$work/driver"
cc -std=gnu11 -shared -fPIC -O1 -Wall -Wextra -Werror -o "$work/driver/libcuda.so.1" "$root/tests/fakes/cuda.c"
cd "$here"
STEPSCOPE_TEST_RECORDER=$work/librecorder.so STEPSCOPE_TEST_DRIVER=$work/driver/libcuda.so.1 PYTHONDONTWRITEBYTECODE=1 \
  "$work/venv/bin/python" -m unittest discover -t . -p 'test_*.py' "$@"
