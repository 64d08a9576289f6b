#!/usr/bin/env bash
# The benchmark: how far from bare nginx, and how far from what one would take
# instead. Builds, starts everything on loopback, measures, stops everything.
#
#   tests/bench/run.sh [--out DIR] [--quick] [--rounds N] [--seconds N]
#                      [--only PATTERN] [--variants A,B] [--port PORT]
#
#   --out DIR    table.md, plot.svg and results.json go there (default: build/bench)
#   --quick      only sees that it runs: few cells, one round of one second
#   --only       regular expression on cells, such as event200_c64
#   --variants   some of off,always,accesslog,fastapi,fastapi-fsync
#   --port       first of ten free ports on 127.0.0.1 (default 18900)
#
# LB_BUILD names the build directory (default: build).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
build=$(realpath -m "${LB_BUILD:-$root/build}")

"$root/tools/install-deps.sh" build broker bench

if grep -qs 'LB_SANITIZE:BOOL=ON\|CMAKE_BUILD_TYPE:[A-Z]*=Debug' "$build/CMakeCache.txt"; then
    echo "tests/bench/run.sh: $build is not a release build: name another with LB_BUILD" >&2
    exit 1
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! {
    cmake -S "$root" -B "$build" &&
        cmake --build "$build" -j "$(nproc)" --target ngx_http_logbroker_module bench_drain &&
        LB_ADDON=$here/floor "$root/ngx_logbroker_module/build.sh" \
            "$(sed -n 's/^LB_NGINX_SRC:[A-Z]*=//p' "$build/CMakeCache.txt")" \
            "$build/bench/floor" "$build/ngx_http_bench_floor_module.so"
} >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    echo "tests/bench/run.sh: the build failed" >&2
    exit 1
fi

exec /usr/bin/python3 "$here/bench.py" --build "$build" "$@"
