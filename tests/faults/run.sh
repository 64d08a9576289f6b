#!/usr/bin/env bash
# Faults under load: per scenario one line, acknowledged= delivered= lost=
# duplicated=; exit 1 if anything is lost or duplicated. See --help.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
tools/install-deps.sh build broker edge quickstart test
tools/clickhouse/clickhouse.sh --fetch
cmake -S . -B build >/dev/null
cmake --build build -j "$(nproc)" --target ngx_http_logbroker_module \
    logbroker-flusher logbroker-spool logbroker-chserver >/dev/null
exec /usr/bin/python3 tests/faults/faults.py "$@"
