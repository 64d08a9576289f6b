#!/usr/bin/env bash
# What the table costs in bytes and in ClickHouse's processor time, with changes of
# it: tests/bench/table.sh [--rows N] [--batches N] [--plain] [CHANGE ...]
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
"$root/tools/install-deps.sh" build quickstart test >/dev/null
"$root/tools/clickhouse/clickhouse.sh" --fetch
if ! [ -x "$root/build/tools/logbroker-chserver" ]; then
    cmake -S "$root" -B "$root/build" >/dev/null
    cmake --build "$root/build" -j "$(nproc)" --target logbroker-chserver >/dev/null
fi
exec /usr/bin/python3 "$root/tests/bench/table.py" "$@"
