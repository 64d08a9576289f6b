#!/usr/bin/env bash
# smoke.sh URL QUERY_COMMAND...: posts an event at the edge and finds it in
# ClickHouse, once, within two minutes.
#
#   tests/deploy/smoke.sh https://logs.example.com \
#       ssh -J ops@JUMP ops@CLICKHOUSE sudo docker exec -i logbroker-clickhouse \
#       curl -sS --data-binary @- http://127.0.0.1:8123/
#
# QUERY_COMMAND gets a query on its standard input and prints the answer. Where
# the service refuses the unknown, LOGBROKER_TOKEN is the token of a sender.
set -euo pipefail

[ $# -ge 2 ] || { sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2; }
url=$1
shift
id=smoke-$(date +%s)-$RANDOM$RANDOM

fail() {
    echo "smoke test: $*" >&2
    exit 1
}

# not on the command line, which everyone on the machine can read
token() {
    [ -z "${LOGBROKER_TOKEN-}" ] || printf 'header = "Authorization: Bearer %s"\n' "$LOGBROKER_TOKEN"
}

# The same request until it is clear what became of it: the key keeps it from
# being stored twice.
status=000
for _ in $(seq 30); do
    status=$(token | curl -K - -sS --max-time 10 -o /dev/null -w '%{http_code}' \
        -H "Idempotency-Key: $id" -H 'Content-Type: application/json' \
        -d "{\"level\":\"info\",\"service\":\"smoke\",\"message\":\"$id\"}" \
        "$url/log/smoke" || true)
    case $status in
    204) break ;;
    000 | 429 | 502 | 503 | 504) sleep 2 ;;
    *) break ;;
    esac
done
[ "$status" = 204 ] || fail "$url/log/smoke answered $status"
sent=$(date +%s)

count=
for _ in $(seq 60); do
    count=$("$@" <<<"SELECT count() FROM logbroker.logs WHERE stream = 'smoke' AND message = '$id'" || true)
    [ "$count" = 0 ] || [ -z "$count" ] || break
    sleep 2
done
[ "$count" = 1 ] || fail "event $id: ClickHouse has ${count:-no answer}, not 1"
echo "smoke test: event $id is in ClickHouse, $(($(date +%s) - sent)) s after the answer"
