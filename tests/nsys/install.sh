#!/usr/bin/env bash
# Makes sure that NVIDIA's nsys is there: from Debian's or Ubuntu's packages if it is not. Exit code 77 and the reason if
# it can't be had. No GPU is needed: without one nsys traces NVTX all the same.
set -uo pipefail
can_skip() { echo "SKIPPED: $1" >&2; exit 77; }
if ! command -v nsys >/dev/null; then
  [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null || can_skip "there is no nsys, and no right to install it"
  log=$(mktemp)
  sources=/etc/apt/sources.list.d/debian.sources
  if [[ -f $sources ]] && ! grep -q non-free "$sources"; then
    sed 's/^Components: .*/Components: contrib non-free non-free-firmware/' "$sources" >/etc/apt/sources.list.d/debian-non-free.sources
  fi
  { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends nsight-systems; } \
    >"$log" 2>&1 || can_skip "there is no nsys, and apt can't install it: $(tail -1 "$log")"
  rm -f "$log"
fi
# It speaks to its own agent over the loopback device.
nsys --version || can_skip "nsys is there and can't be run"
