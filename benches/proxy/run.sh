#!/usr/bin/env bash
# What passing through the sidecar costs, beside nginx and beside nothing in between: requests per second of one core,
# processor time per request, and what is added to a request that has the machine to itself.
# usage: benches/proxy/run.sh [ROUNDS] [SECONDS]     7 rounds of 3 s each; needs two cores, nginx and wrk (Debian's packages)
# Proxy or nginx have core 0; the load (wrk) and the engine (another nginx that answers at once) core 1. Exit code 77: a tool
# can't be had.
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-7} seconds=${2:-3}
can_skip() { echo "SKIPPED: $1" >&2; exit 77; }
for tool in nginx wrk; do
  command -v "$tool" >/dev/null && continue
  [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null || can_skip "there is no $tool, and no right to install it"
  { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends nginx-light wrk; } \
    >/dev/null 2>&1 || can_skip "there is no $tool, and apt can't install it"
done
(($(nproc) >= 2)) || can_skip "two cores are needed"
[[ -n ${STEPSCOPE:-} ]] || cargo build --release --locked --quiet
stepscope=${STEPSCOPE:-target/release/stepscope}

work=$(mktemp -d)
processes=()
cleanup() {
  for process in "${processes[@]}"; do kill "$process" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT
engine=47310 nginx=47311 proxy=47312

head -c 1400 /dev/zero | tr '\0' 'x' >"$work/body" # a chat request's worth
common() {
  printf 'daemon off; worker_processes 1; master_process off; pid %s/%s.pid; error_log stderr crit;
events { worker_connections 8192; }
http { access_log off; keepalive_requests 1000000000; keepalive_timeout 300s; tcp_nodelay on;
client_body_temp_path %s/b; proxy_temp_path %s/p; fastcgi_temp_path %s/f; uwsgi_temp_path %s/u; scgi_temp_path %s/s;\n' \
    "$work" "$1" "$work" "$work" "$work" "$work" "$work"
}
answer=$(head -c 800 /dev/zero | tr '\0' 'y')
{ common engine; cat <<EOF
server { listen 127.0.0.1:$engine backlog=8192; location / { client_max_body_size 0; return 200 "$answer"; } } }
EOF
} >"$work/engine.conf"
{ common nginx; cat <<EOF
upstream engine { server 127.0.0.1:$engine; keepalive 1024; keepalive_requests 1000000000; }
server { listen 127.0.0.1:$nginx backlog=8192; location / {
  client_max_body_size 0; proxy_pass http://engine; proxy_http_version 1.1; proxy_set_header Connection "";
  proxy_set_header Host \$http_host; proxy_set_header X-Forwarded-For \$proxy_add_x_forwarded_for;
  proxy_set_header X-Forwarded-Proto \$scheme; proxy_set_header X-Forwarded-Host \$http_host;
  proxy_buffering off; proxy_request_buffering off; } } }
EOF
} >"$work/nginx.conf"
cat >"$work/post.lua" <<EOF
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer token"
wrk.body = string.rep("x", 1400)
EOF

taskset -c 1 nginx -c "$work/engine.conf" & processes+=($!)
taskset -c 0 nginx -c "$work/nginx.conf" & processes+=($!); nginx_pid=$!
taskset -c 0 "$stepscope" serve --upstream "http://127.0.0.1:$engine" --listen "127.0.0.1:$proxy" --dir "$work/segments" \
  --data "$work/data" --log-level warn & processes+=($!); proxy_pid=$!
for port in $engine $nginx $proxy; do
  for _ in {1..200}; do curl -sf -o /dev/null "http://127.0.0.1:$port/x" && break; sleep 0.05; done
done

ticks() { awk '{print $14 + $15}' "/proc/$1/stat"; } # user and system, hundredths of a second
# load PORT CONNECTIONS PID: requests per second, median and p99 in µs, µs of processor time per request
load() {
  local before=0 after=0 out
  [[ $3 == - ]] || before=$(ticks "$3")
  out=$(taskset -c 1 wrk -t1 -c"$2" -d"${seconds}s" --latency -s "$work/post.lua" "http://127.0.0.1:$1/v1/chat/completions")
  [[ $3 == - ]] || after=$(ticks "$3")
  grep -q 'Non-2xx' <<<"$out" && { echo "errors: $out" >&2; exit 1; }
  awk -v used=$((after - before)) '
    function us(t) { return t ~ /us$/ ? t + 0 : t ~ /ms$/ ? t * 1000 : t * 1000000 }
    $1 == "50%" { p50 = us($2) } $1 == "99%" { p99 = us($2) } /requests in/ { n = $1 } /^Requests\/sec/ { rate = $2 }
    END { printf "%d %d %d %.1f\n", rate, p50, p99, n ? used * 10000 / n : 0 }' <<<"$out"
}

echo "$rounds rounds of $seconds s, $(nproc) cores, load average $(cut -d' ' -f1-3 /proc/loadavg)"
for round in $(seq "$rounds"); do
  for connections in 64 1; do
    for what in "nothing $engine -" "nginx $nginx $nginx_pid" "stepscope $proxy $proxy_pid"; do
      read -r name port pid <<<"$what"
      echo "$connections $name $(load "$port" "$connections" "$pid")"
    done
  done
done >"$work/all"

awk '
  { key = $1 " " $2; n[key]++; for (i = 3; i <= 6; i++) v[key, i, n[key]] = $i }
  function median(key, i,   j, k, t, a, m) {
    m = n[key]; for (j = 1; j <= m; j++) a[j] = v[key, i, j]
    for (j = 1; j <= m; j++) for (k = j + 1; k <= m; k++) if (a[k] < a[j]) { t = a[j]; a[j] = a[k]; a[k] = t }
    return a[int((m + 1) / 2)]
  }
  function ratio(c, i,   j, k, t, a, m) { # of each round, then the median of those
    m = n[c " nginx"]; for (j = 1; j <= m; j++) a[j] = v[c " stepscope", i, j] / v[c " nginx", i, j]
    for (j = 1; j <= m; j++) for (k = j + 1; k <= m; k++) if (a[k] < a[j]) { t = a[j]; a[j] = a[k]; a[k] = t }
    return a[int((m + 1) / 2)]
  }
  END {
    printf "%-12s %-10s %12s %9s %9s %16s\n", "connections", "between", "requests/s", "p50 us", "p99 us", "cpu us/request"
    split("64 1", cs); split("nothing nginx stepscope", names)
    for (c = 1; c <= 2; c++) for (k = 1; k <= 3; k++) {
      key = cs[c] " " names[k]
      printf "%-12s %-10s %12d %9d %9d %16.1f\n", cs[c], names[k], median(key, 3), median(key, 4), median(key, 5), median(key, 6)
    }
    printf "stepscope / nginx: %.2f of the requests per second, %.2f of the processor time per request\n", ratio(64, 3), ratio(64, 6)
    printf "added to a request alone, median: nginx %d us, stepscope %d us\n",
      median("1 nginx", 4) - median("1 nothing", 4), median("1 stepscope", 4) - median("1 nothing", 4)
  }' "$work/all"
