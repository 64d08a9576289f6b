#!/usr/bin/env bash
# The benchmark of the whole way: what a million events cost from the HTTP
# request to rows in the table, process by process, beside what one would take
# instead. Builds, starts everything on loopback, measures, stops everything.
#
#   tests/bench/e2e.sh [--quick] [--rounds N] [--seconds N] [--only A,B] [--out DIR]
#
#   --quick      only sees that it runs: one round of a second, no compiler; a peer
#                that is not built yet is skipped by name
#   --only       some of direct,edge,edge2,collector,collector-file,victorialogs,
#                fastapi,fastapi-fsync
#   --out DIR    table.md and results.json go there (default: build/bench-e2e)
#
# The peers in Go are built below LOGBROKER_PEERS_DIR (build/peers), minutes the
# first time. LB_BUILD names the build directory (default: build).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
export LB_BUILD=${LB_BUILD:-$root/build}
export LOGBROKER_PEERS_DIR=${LOGBROKER_PEERS_DIR:-$root/build/peers}

"$root/tools/install-deps.sh" build broker edge bench
"$root/tools/clickhouse/clickhouse.sh" --fetch
if ! [ -x "$LB_BUILD/logbroker-flusher" ] || ! [ -f "$LB_BUILD/ngx_http_logbroker_module.so" ]; then
    cmake -S "$root" -B "$LB_BUILD" >/dev/null
    cmake --build "$LB_BUILD" -j "$(nproc)" >/dev/null
fi

# peer NAME PACKAGE: built in a folder of its own
peer() {
    local there=$LOGBROKER_PEERS_DIR/$1
    [ ! -x "$there/$1" ] || return 0
    command -v go >/dev/null || return 0
    mkdir -p "$there"
    cp "$here/peers/$1/"* "$there"
    (cd "$there" && timeout 1200 go build -o "$1" "$2") ||
        echo "tests/bench/e2e.sh: $1 could not be built" >&2
}

case " $* " in
*' --quick '*) ;;
*)
    peer collector .
    peer victorialogs github.com/VictoriaMetrics/VictoriaLogs/app/victoria-logs
    ;;
esac

exec /usr/bin/python3 "$here/e2e.py" "$@"
