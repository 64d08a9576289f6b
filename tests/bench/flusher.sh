#!/usr/bin/env bash
# How fast the flusher is, and what ClickHouse makes of it: a spool of real log
# lines into nothing, by HTTP into nothing, and into a real ClickHouse; then the
# same rows as Native and as JSONEachRow, for the server's processor time.
#
#   tests/bench/flusher.sh [--megabytes N]    backlog for ClickHouse (1024)
#
# LB_BUILD names the build directory (default: build).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
build=$(realpath -m "${LB_BUILD:-$root/build}")

"$root/tools/install-deps.sh" build broker quickstart bench >/dev/null
"$root/tools/clickhouse/clickhouse.sh" --fetch
{
    cmake -S "$root" -B "$build"
    cmake --build "$build" -j "$(nproc)" --target bench_flusher logbroker-flusher \
        logbroker-spool logbroker-chserver
} >/dev/null
exec env LB_BUILD="$build" /usr/bin/python3 "$here/flusher.py" "$@"
