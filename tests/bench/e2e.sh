#!/usr/bin/env bash
# The benchmark of the whole way: what a million events cost from the HTTP
# request to rows in the table, process by process, beside what one would take
# instead. Builds, starts everything on loopback, measures, stops everything.
#
#   tests/bench/e2e.sh [--quick] [--rounds N] [--seconds N] [--only A,B] [--out DIR]
#   tests/bench/e2e.sh --docs [--out DIR]
#
#   --quick      only sees that it runs: one round of a second, no compiler; a peer
#                that is not there yet is skipped by name
#   --only       some of direct,direct-off,edge,edge2,fluentbit,fluentbit-file,
#                fastapi,fastapi-fsync,syslog-ng,syslog-ng-file,collector,
#                collector-file,victorialogs
#   --out DIR    table.md, readme.md and results.json go there (default:
#                build/bench-e2e)
#   --docs       measures nothing: puts the tables of the last run into
#                docs/performance.md and README.md
#
# A quarter of an hour on a machine that does nothing else. The peers are built
# below LOGBROKER_PEERS_DIR (build/peers), minutes the first time; those that
# cannot be had are skipped by name. LB_BUILD names the build directory (build).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
export LB_BUILD=${LB_BUILD:-$root/build}
export LOGBROKER_PEERS_DIR=${LOGBROKER_PEERS_DIR:-$root/build/peers}

case " $* " in
*' --docs '*) exec /usr/bin/python3 "$here/e2e.py" "$@" ;;
esac

"$root/tools/install-deps.sh" build broker edge bench
"$root/tools/clickhouse/clickhouse.sh" --fetch
if ! [ -x "$LB_BUILD/logbroker-flusher" ] || ! [ -f "$LB_BUILD/ngx_http_logbroker_module.so" ] ||
    ! [ -x "$LB_BUILD/bench_lines" ]; then
    cmake -S "$root" -B "$LB_BUILD" >/dev/null
    cmake --build "$LB_BUILD" -j "$(nproc)" >/dev/null
fi

# peer NAME COMMAND...: made in a folder of its own, from what is beside this
peer() {
    local there=$LOGBROKER_PEERS_DIR/$1
    [ ! -e "$there/.made" ] || return 0
    rm -rf "$there"
    mkdir -p "$there"
    cp "$here/peers/$1/"* "$there" 2>/dev/null || true
    if (cd "$there" && timeout 1200 "${@:2}") >"$there.log" 2>&1; then
        touch "$there/.made"
    else
        echo "tests/bench/e2e.sh: $1 cannot be had here, see $there.log" >&2
    fi
}

case " $* " in
*' --quick '*) ;;
*)
    mkdir -p "$LOGBROKER_PEERS_DIR"
    peer debian "$root/tests/env/unpack.sh"
    peer fluentbit ./build.sh
    peer collector go build -o collector .
    peer victorialogs go build -o victorialogs github.com/VictoriaMetrics/VictoriaLogs/app/victoria-logs
    ;;
esac

exec /usr/bin/python3 "$here/e2e.py" "$@"
