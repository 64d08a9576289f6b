#!/usr/bin/env bash
# The whole service on this machine: ClickHouse, brokers, edge; see --help.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")"
root=$PWD

usage() {
    cat <<'EOF'
usage: ./quickstart.sh [--once]

Installs what is missing, builds, starts ClickHouse, brokers (nginx with the
module, and a flusher each) and the edge nginx on loopback, posts a thousand
real log lines, shows them arriving, and stays up until Ctrl-C. With --once it
ends after the summary: exit 0 if every event arrived exactly once, else 1.

  LOGBROKER_PORT             the edge (8080); broker n listens on the port + n
  LOGBROKER_CLICKHOUSE_PORT  ClickHouse (8123)
  LOGBROKER_DATA             folder for all data (.quickstart); a later run
                             goes on with what is in it
  LOGBROKER_BROKERS          number of brokers (2)
  LOGBROKER_CLICKHOUSE_URL   use this ClickHouse server instead of starting one
                             (http://user:password@host:8123)
EOF
}

once=
case ${1-} in
'') ;;
--once) once=1 ;;
-h | --help) usage && exit ;;
*) usage >&2 && exit 2 ;;
esac

port=${LOGBROKER_PORT:-8080}
clickhouse_port=${LOGBROKER_CLICKHOUSE_PORT:-8123}
brokers=${LOGBROKER_BROKERS:-2}
clickhouse=${LOGBROKER_CLICKHOUSE_URL:-http://127.0.0.1:$clickhouse_port}
data=${LOGBROKER_DATA:-$root/.quickstart}
nginx=/usr/sbin/nginx
begun=$(date +%s)
pids=()
names=()
failed=

step() {
    printf '[%3d s] %s\n' $(($(date +%s) - begun)) "$*"
}

fail() {
    echo "quickstart: $*" >&2
    failed=1
    exit 1
}

for number in "$port" "$clickhouse_port" "$brokers"; do
    case $number in
    '' | *[!0-9]*) fail "\"$number\" is not a number, see --help" ;;
    esac
done
if [ "$brokers" -lt 1 ] || [ "$brokers" -gt 16 ]; then
    fail "LOGBROKER_BROKERS must be 1 to 16"
fi

# Everything that was started, in the order in which it should end: no new
# events, then what is left is delivered, then ClickHouse.
stop() {
    local i pid
    trap '' INT TERM
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
        pid=${pids[i]}
        kill -0 "$pid" 2>/dev/null || continue
        kill -TERM "$pid" 2>/dev/null || true
        for _ in $(seq 150); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    [ -z "$failed" ] || [ ! -d "$data/logs" ] || echo "quickstart: the logs are in $data/logs" >&2
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# start NAME COMMAND...: in the background, output in the log of that name
start() {
    local name=$1
    shift
    "$@" >>"$data/logs/$name.log" 2>&1 </dev/null &
    pids+=($!)
    names+=("$name")
}

all_running() {
    local i
    for i in "${!pids[@]}"; do
        kill -0 "${pids[i]}" 2>/dev/null || {
            tail -n 5 "$data/logs/${names[i]}.log" >&2 || true
            fail "${names[i]} has ended"
        }
    done
}

# wait_for SECONDS WHAT COMMAND...
wait_for() {
    local end=$(($(date +%s) + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        all_running
        [ "$(date +%s)" -lt "$end" ] || fail "$what: nothing after waiting"
        sleep 0.1
    done
}

taken() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

free_port() {
    ! taken "$1" || fail "port $1 on 127.0.0.1 is taken: end what listens there or set $2"
}

query() {
    curl -sS --fail-with-body --max-time 60 "$clickhouse/" --data-binary "$1"
}

# ---- build

step "looking for missing packages"
tools/install-deps.sh build broker edge quickstart

step "building (log: build/build.log)"
mkdir -p build
{
    cmake -S . -B build &&
        cmake --build build -j "$(nproc)" --target ngx_http_logbroker_module \
            logbroker-flusher logbroker-spool logbroker-chserver
} >build/build.log 2>&1 || {
    tail -n 20 build/build.log >&2
    fail "the build failed"
}

if [ -z "${LOGBROKER_CLICKHOUSE_URL-}" ]; then
    step "fetching ClickHouse, unless it is there"
    tools/clickhouse/clickhouse.sh --fetch || fail "no ClickHouse, see above"
fi

# ---- start

mkdir -p "$data/logs"
data=$(cd "$data" && pwd)

exec 8>"$data/lock"
flock -n 8 || fail "another quickstart uses $data: end it or set LOGBROKER_DATA"

free_port "$port" LOGBROKER_PORT
for ((i = 1; i <= brokers; i++)); do
    free_port $((port + i)) LOGBROKER_PORT
done

password=
if [ -z "${LOGBROKER_CLICKHOUSE_URL-}" ]; then
    free_port "$clickhouse_port" LOGBROKER_CLICKHOUSE_PORT
    step "starting ClickHouse on 127.0.0.1:$clickhouse_port"
    start clickhouse tools/clickhouse/clickhouse.sh "$data/clickhouse" "$clickhouse_port"
    password=$data/clickhouse/password
fi
wait_for 60 "ClickHouse at $clickhouse" query "SELECT 1"
tools/clickhouse/apply.sh "$clickhouse" || fail "the tables could not be made"
before=$(query "SELECT count() FROM logbroker.logs")

# nginx_conf KIND DIR NAME=VALUE...
nginx_conf() {
    local kind=$1 dir=$2
    shift 2
    mkdir -p "$dir"
    conf/nginx/render.sh "$kind" USER=root "RUN=$dir" "TEMP=$dir" LOG=stderr "$@" >"$dir/nginx.conf"
}

addresses=
for ((i = 1; i <= brokers; i++)); do
    dir=$data/broker-$i
    step "starting broker $i on 127.0.0.1:$((port + i))"
    nginx_conf broker "$dir" "MODULES=$root/build" WORKERS=2 \
        "LISTEN=127.0.0.1:$((port + i))" "SPOOL=$dir/spool" SIZE=64m TRUSTED=127.0.0.1
    jq -n --arg spool "$dir/spool" --arg url "$clickhouse" --arg broker "broker-$i" \
        --arg password "$password" --argjson index $((i - 1)) --argjson count "$brokers" \
        '{spool: $spool, broker: $broker, node: {index: $index, count: $count},
          clickhouse: ({urls: [$url]} +
              if $password != "" then {user: "logbroker", password_file: $password} else {} end)}' \
        >"$dir/flusher.json"
    # ended in the opposite order: first nginx, then its flusher
    start "flusher-$i" build/flusher/logbroker-flusher --config "$dir/flusher.json"
    start "broker-$i" "$nginx" -p "$dir" -e stderr -c "$dir/nginx.conf" -g "daemon off;"
    addresses+=" 127.0.0.1:$((port + i))"
done
for ((i = 1; i <= brokers; i++)); do
    wait_for 30 "broker $i" curl -fsS "http://127.0.0.1:$((port + i))/health"
done

step "starting the edge on 127.0.0.1:$port"
nginx_conf edge "$data/edge" WORKERS=1 "LISTEN=127.0.0.1:$port" "BROKERS=$addresses" \
    "ACCESS_LOG=/dev/stderr json if=\$trouble"
start edge "$nginx" -p "$data/edge" -e stderr -c "$data/edge/nginx.conf" -g "daemon off;"
wait_for 30 "the edge" curl -fsS "http://127.0.0.1:$port/health"

# ---- a real sample

lines=1000
each=50
run=$(date +%s%N)
step "posting $lines lines of an access log, $each per request"
for ((i = 0; i < lines; i += each)); do
    status=$(sed -n "$((i + 1)),$((i + each))p" tests/data/access.log |
        curl -sS --retry 5 --retry-delay 1 -o "$data/answer" -w '%{http_code}' \
            -H 'Content-Type: text/plain' --data-binary @- \
            "http://127.0.0.1:$port/log/quickstart-$run")
    [ "$status" = 204 ] || fail "the edge answered $status: $(cat "$data/answer")"
done
sent=$(date +%s%N)

arrived() {
    [ "$(query "SELECT count() FROM logbroker.logs WHERE stream = 'quickstart-$run'")" -ge $lines ]
}
wait_for 60 "$lines rows in ClickHouse" arrived
step "all in ClickHouse $((($(date +%s%N) - sent) / 1000000)) ms after the last answer"

# ---- what happened?

echo
echo "Events in logbroker.logs: $before before, $(query "SELECT count() FROM logbroker.logs") now. By broker:"
query "SELECT broker, count() AS events, uniqExact(ring) AS rings
    FROM logbroker.logs WHERE stream = 'quickstart-$run'
    GROUP BY broker ORDER BY broker FORMAT PrettyCompactMonoBlock"
echo "Three of them:"
query "SELECT received_at, broker, seq, substring(message, 1, 60) AS message
    FROM logbroker.logs WHERE stream = 'quickstart-$run'
    ORDER BY received_at, broker, ring, seq LIMIT 3 FORMAT PrettyCompactMonoBlock"
echo "The audit (SELECT * FROM logbroker.logbroker_audit), summed up:"
query "SELECT count() AS rings, sum(events) AS events, sum(gaps) AS gaps,
    sum(duplicates) AS duplicates FROM logbroker.logbroker_audit
    FORMAT PrettyCompactMonoBlock"

verdicts_known() {
    local i
    for ((i = 1; i <= brokers; i++)); do
        jq -e '.exactly_once.verdict != "unknown"' "$data/broker-$i/spool/flusher.json" || return 1
    done
}
wait_for 30 "a look at the table by each flusher" verdicts_known

requests=0
seconds=0
for ((i = 1; i <= brokers; i++)); do
    figures=$(cat "$data/broker-$i/spool/flusher.json")
    requests=$((requests + $(jq .requests <<<"$figures")))
    alive=$(jq "now - .started | ceil" <<<"$figures")
    [ "$alive" -le "$seconds" ] || seconds=$alive
    verdict=$(jq -r '.exactly_once | .verdict + if .reason != "" then ", because " + .reason else "" end' \
        <<<"$figures")
    echo "Exactly once, says the flusher of broker $i: $verdict"
    [ "$verdict" = yes ] || fail "the table is not as it should be"
done
echo "Requests to ClickHouse: $requests in $seconds s from all brokers together (at most 1 per second)"

distinct=$(query "SELECT uniqExact(ring, seq) FROM logbroker.logs WHERE stream = 'quickstart-$run'")
count=$(query "SELECT count() FROM logbroker.logs WHERE stream = 'quickstart-$run'")
faults=$(query "SELECT sum(gaps) + sum(duplicates) FROM logbroker.logbroker_audit")
[ "$count/$distinct" = $lines/$lines ] ||
    fail "$count rows, $distinct of them distinct: not exactly once"
[ "$faults" = 0 ] || fail "the audit shows gaps or duplicates"
[ $requests -le $((seconds + 1)) ] || fail "more than one request per second"
echo
step "every event arrived exactly once"

[ -z "$once" ] || exit 0

cat <<EOF

Try it:
  curl -d '{"level":"info","message":"hi"}' localhost:$port/log
  curl '${clickhouse/127.0.0.1/localhost}/?query=SELECT+count()+FROM+logbroker.logs'
  curl localhost:$((port + 1))/status
Logs: $data/logs. Ctrl-C ends everything; a later run goes on with the data.
EOF

# Ctrl-C reaches everything at once: only "wait" tells a trap at the moment
while :; do
    all_running
    sleep 1 >/dev/null 2>&1 &
    wait $! || true
done
