#!/bin/sh
# Checks traces with other people's tools: HolisticTraceAnalysis, Catapult's trace viewer in a headless Chromium, and, where
# the other formats lie beside the JSON files, Perfetto's own descriptors, zstandard and gzip (formats_check.py).
#
#   tests/trace/check.sh TRACE.json SCREENSHOT.png RANK0.json [RANK1.json ...]
#
# What they need goes to ${STEPSCOPE_TEST_CACHE:-$HOME/.cache/stepscope-tests}; Chromium is taken from PATH or
# $CHROMIUM, else from apt. What can't be had is skipped, aloud, and the exit code is 77 then; a failed check is 1.
set -u
here=$(dirname "$0")
if [ $# -lt 3 ]; then
    sed -n '5p' "$0" >&2
    exit 2
fi
trace=$1 screenshot=$2
shift 2
cache=${STEPSCOPE_TEST_CACHE:-$HOME/.cache/stepscope-tests}
mkdir -p "$cache"
result=0

skip() {
    echo "SKIPPED: $1" >&2
    [ $result = 0 ] && result=77
}

python=$cache/hta/bin/python
if ! "$python" -c 'import hta, websocket' 2>/dev/null; then
    { python3 -m venv "$cache/hta" &&
        "$python" -m pip install -q 'HolisticTraceAnalysis==0.5.0' 'pandas<3' 'websocket-client'; } >"$cache/pip.log" 2>&1
fi

if "$python" -c 'import hta' 2>/dev/null; then
    "$python" "$here/hta_check.py" "$@" || result=1
else
    skip "HolisticTraceAnalysis: pip could not install it, see $cache/pip.log"
fi

if [ -e "${trace%.json}.pftrace" ]; then
    formats=$cache/formats/bin/python
    if ! "$formats" -c 'import perfetto, zstandard' 2>/dev/null; then
        { python3 -m venv "$cache/formats" && "$formats" -m pip install -q 'perfetto==0.59.1' 'zstandard'; } \
            >"$cache/formats.log" 2>&1
    fi
    if "$formats" -c 'import perfetto, zstandard' 2>/dev/null; then
        "$formats" "$here/formats_check.py" "$trace" "$@" || result=1
    else
        skip "formats: pip could not install perfetto and zstandard, see $cache/formats.log"
    fi
fi

viewer=$cache/viewer
if ! [ -s "$viewer/trace_viewer_full.html" ] || ! [ -s "$viewer/webcomponents.min.js" ]; then
    mkdir -p "$viewer"
    (cd "$viewer" && "$python" -m pip download -q --no-deps torch-tb-profiler==0.4.3 &&
        "$python" -m zipfile -e torch_tb_profiler-0.4.3-py3-none-any.whl wheel &&
        cp wheel/torch_tb_profiler/static/trace_viewer_full.html . &&
        npm pack --silent webcomponents.js@0.7.24 && tar xzf webcomponents.js-0.7.24.tgz &&
        cp package/webcomponents.min.js .) >"$cache/viewer.log" 2>&1
fi
if [ -z "${CHROMIUM:-}" ] && ! command -v chromium >/dev/null && ! command -v google-chrome >/dev/null; then
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; } >"$cache/apt.log" 2>&1
fi
if ! "$python" -c 'import websocket' 2>/dev/null; then
    skip "viewer: pip could not install websocket-client, see $cache/pip.log"
elif ! [ -s "$viewer/trace_viewer_full.html" ] || ! [ -s "$viewer/webcomponents.min.js" ]; then
    skip "viewer: pip and npm could not bring it, see $cache/viewer.log"
elif [ -n "${CHROMIUM:-}" ] || command -v chromium >/dev/null || command -v google-chrome >/dev/null; then
    "$python" "$here/viewer_check.py" "$trace" "$screenshot" "$viewer" || result=1
else
    skip "viewer: there is no Chromium and apt could not install it, see $cache/apt.log"
fi
exit $result
