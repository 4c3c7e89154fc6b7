#!/usr/bin/env bash
# What the profiler `cuda` does on a real GPU, as nsys or CUPTI sees it: builds what it needs, runs engines through the
# agent, and prints a table of what was wanted, what was seen, and whether that will do.
#
# usage: tests/gpu/run.sh [--tool auto|nsys|cupti] [--cupti LIBRARY] [--only ROW]... [--out FOLDER]
#        tests/gpu/run.sh --make FOLDER    builds all that is needed into FOLDER, and runs nothing; with --dry quickly
#        tests/gpu/run.sh --bin FOLDER ... runs with what --make built, on a machine without Rust and C
#        tests/gpu/run.sh --dry[=FAULT]    with a stand-in for driver and device: shows that the script works, and with a
#                                          FAULT (see tests/fakes/gpu.c) that it finds one
#
# PYTHON chooses the interpreter [python3]: the one with PyTorch, for the rows that need it. Exit code 0: all was seen and
# will do; 1: a row fell short; 2: bad usage, or nothing could be built; 77: nothing fell short, but not all could be seen.
set -Eeuo pipefail
trap 'exit 2' ERR
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

usage() { sed -n '5,12s/^# \{0,1\}//p' "$0" >&2; exit 2; }

binaries='' make='' out='' dry=no fault='' pass=()
while (($#)); do
  case $1 in
    --dry) dry=yes ;;
    --dry=*) dry=yes fault=${1#--dry=} ;;
    --bin | --make | --out | --tool | --only | --cupti)
      (($# > 1)) || usage
      case $1 in
        --bin) binaries=$2 ;;
        --make) make=$2 ;;
        --out) out=$2 ;;
        *) pass+=("$1" "$2") ;;
      esac
      shift
      ;;
    *) usage ;;
  esac
  shift
done

library() { # NAME SOURCE: a shared library from C
  cc -std=gnu11 -shared -fPIC -O1 -Wall -Wextra -Werror -o "$1" "$2" -ldl -lpthread
}

layout() { # where this machine has CUPTI's header, it says that the reader's layout is right
  local header newest
  for header in /usr/local/cuda*/extras/CUPTI/include/cupti_activity.h /usr/local/cuda*/targets/*/include/cupti_activity.h; do
    [[ -e $header ]] || continue
    newest=$(grep -ohE '^} CUpti_ActivityKernel[0-9]+' "${header%.h}"*.h | grep -oE 'C.*' | sort -V | tail -1)
    cc -std=gnu11 -fsyntax-only -w -I"${header%/*}" -I"${header%%/extras/*}/include" -DKERNEL="$newest" "$here/cupti_layout.c"
    echo "CUPTI's layout is that of $header"
    return
  done
}

build() { # FOLDER PROFILE: everything, into FOLDER
  local folder=$1 profile=$2 target=${CARGO_TARGET_DIR:-$root/target} built=$2
  [[ $profile == dev ]] && built=debug
  mkdir -p "$folder"
  (
    cd "$root"
    cargo build --locked --profile "$profile" --bin stepscope --example cuda_engine
    cargo rustc --locked --lib --crate-type cdylib --no-default-features --features agent --profile agent
  )
  cp "$target/$built/stepscope" "$target/$built/examples/cuda_engine" "$target/agent/libstepscope.so" "$folder/"
  layout
  library "$folder/libgpu_reader.so" "$here/cupti_reader.c"
  library "$folder/libnvtx_tool.so" "$root/tests/fakes/nvtx_tool.c"
}

wheel() { # FOLDER: the Python package, for engines on PyTorch
  (cd "$root" && "$python" -m pip wheel -q --disable-pip-version-check --no-deps -w "$1" ./python)
}

profile=release
[[ $dry == yes ]] && profile=dev
if [[ -z $binaries ]] && ! command -v cargo >/dev/null; then
  echo "no cargo here: build on another machine with --make, and give the folder as --bin" >&2
  exit 2
fi
if [[ -n $make ]]; then
  build "$make" "$profile"
  [[ $dry == yes ]] || wheel "$make"
  ls -l "$make"
  exit 0
fi
if [[ -z $binaries ]]; then
  binaries=$work/bin
  build "$binaries" "$profile"
  if [[ $dry == no ]] && "$python" -c 'import torch' 2>/dev/null; then
    wheel "$binaries" || echo "no wheel: the row that needs the package will not be seen" >&2
  fi
fi
binaries=$(cd "$binaries" && pwd)

title="Stepscope on this machine's GPU"
if [[ $dry == yes ]]; then
  mkdir "$work/driver"
  library "$work/driver/libcuda.so.1" "$root/tests/fakes/gpu.c"
  ln -s libcuda.so.1 "$work/driver/libcuda.so"
  export STEPSCOPE_TEST_GPU=$fault
  title="A DRY RUN, with a stand-in for driver and device${fault:+ that is wrong: $fault}"
  pass+=(--driver "$work/driver")
fi
for file in "$binaries"/*.whl; do
  [[ -e $file ]] || continue
  if "$python" -m pip install -q --disable-pip-version-check --no-index --no-deps --no-compile --target "$work/site" "$file"; then
    export PYTHONPATH=$work/site${PYTHONPATH:+:$PYTHONPATH}
    # What an installation has and a folder has not: the package's .pth, which installs the hook of STEPSCOPE_STEP.
    echo "import site; site.addsitedir('$work/site')" >"$work/site/sitecustomize.py"
  fi
done
export PYTHONPATH=$here${PYTHONPATH:+:$PYTHONPATH} PYTHONDONTWRITEBYTECODE=1
code=0 kept=$out
[[ -n $kept ]] || kept=$(mktemp -d -t stepscope-gpu-XXXXXX)
"$python" "$here/check.py" --binaries "$binaries" --out "$kept" --title "$title" "${pass[@]}" || code=$?
# The logs of what fell short stay.
[[ -n $out || $code == 1 ]] || rm -rf "$kept"
exit "$code"
