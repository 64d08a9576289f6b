#!/usr/bin/env bash
# The whole service on this machine: ClickHouse, brokers, edge; see --help.
set -euo pipefail

called_in=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")"
root=$PWD

usage() {
    cat <<'EOF'
usage: ./quickstart.sh [--once]

Installs what is missing, builds, starts ClickHouse, brokers (nginx with the
module, and a flusher each) and the edge nginx on loopback, posts a thousand
real log lines, shows them arriving, and stays up until Ctrl-C; what dies
meanwhile is started again. With --once it ends after the summary: exit 0 if
every event arrived exactly once, else 1.

  LOGBROKER_PORT             the edge (8080); broker n listens on the port + n,
                             what is for no client at the edge on the next
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
commands=()
started=()
restarts=()
failed=
err=2

while [ "${clickhouse%/}" != "$clickhouse" ]; do clickhouse=${clickhouse%/}; done
case $clickhouse in
*://*) ;;
*) clickhouse=http://$clickhouse ;;
esac
# without user and password, as it may be shown
server=$(sed -E 's,//.*@,//,; s,[?#].*,,' <<<"$clickhouse")
login=    # user:password of this script
user=     # of the flushers
password= # file with theirs
case $data in
/*) ;;
*) data=$called_in/$data ;;
esac

step() {
    printf '[%3d s] %s\n' $(($(date +%s) - begun)) "$*"
}

fail() {
    echo "quickstart: $*" >&$err
    failed=1
    exit 1
}

# is NAME VALUE LEAST MOST
is() {
    case $2 in
    '' | *[!0-9]* | 0?* | ???????*) fail "$1 is \"$2\": it must be a number from $3 to $4" ;;
    esac
    if [ "$2" -lt "$3" ] || [ "$2" -gt "$4" ]; then
        fail "$1 is $2: it must be a number from $3 to $4"
    fi
}
is LOGBROKER_BROKERS "$brokers" 1 16
is LOGBROKER_PORT "$port" 1 $((65535 - brokers - 1))
is LOGBROKER_CLICKHOUSE_PORT "$clickhouse_port" 1 65535
if [ -z "${LOGBROKER_CLICKHOUSE_URL-}" ] && [ "$clickhouse_port" -ge "$port" ] &&
    [ "$clickhouse_port" -le $((port + brokers + 1)) ]; then
    fail "LOGBROKER_CLICKHOUSE_PORT is $clickhouse_port: $port to $((port + brokers + 1)) are the edge's and the brokers'"
fi

# gone SECONDS PID: is it, within that time? -PID is a process group.
gone() {
    local i
    for ((i = 0; i < 10 * $1; i++)); do
        kill -0 -- "$2" 2>/dev/null || return 0
        sleep 0.1
    done
    return 1
}

# end PID: asked to, then made to; with it what it has started.
end() {
    kill -TERM "$1" 2>/dev/null || true
    gone 15 "$1" || true
    end_group "$1"
    wait "$1" 2>/dev/null || true
}

end_group() {
    kill -TERM -- "-$1" 2>/dev/null || return 0
    gone 5 "-$1" || kill -KILL -- "-$1" 2>/dev/null || true
}

# Everything that was started, in the order in which it should end: no new
# events, then what is left is delivered, then ClickHouse.
stop() {
    local i
    trap '' INT TERM HUP
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
        end "${pids[i]}"
    done
    if [ -n "$failed" ] && [ ${#pids[@]} -gt 0 ] && [ -n "$(ls -A "$data/logs" 2>/dev/null)" ]; then
        echo "quickstart: the logs are in $data/logs" >&$err
    fi
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# launch NUMBER: in the background, output in the log of its name. In a process
# group of its own: a Ctrl-C ends this script, which ends the others in order.
launch() {
    set -m
    eval "${commands[$1]}" >>"$data/logs/${names[$1]}.log" 2>&1 </dev/null 6>&- &
    set +m
    pids[$1]=$!
    started[$1]=$(date +%s)
}

# start NAME COMMAND...
start() {
    names+=("$1")
    shift
    commands+=("exec $(printf '%q ' "$@")")
    launch $((${#names[@]} - 1))
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

# What has ended is started again; what ends by itself, again and again, is not.
keep_running() {
    local i status how
    for i in "${!pids[@]}"; do
        ! kill -0 "${pids[i]}" 2>/dev/null || continue
        status=0
        wait "${pids[i]}" 2>/dev/null || status=$?
        how="with $status"
        [ $status -le 128 ] || how="by signal $(kill -l $status)"
        [ $(($(date +%s) - started[i])) -lt 5 ] || restarts[i]=0
        case $how in
        *KILL | *TERM) ;;
        *) restarts[i]=$((${restarts[i]:-0} + 1)) ;;
        esac
        if [ "${restarts[i]:-0}" -gt 2 ]; then
            tail -n 5 "$data/logs/${names[i]}.log" >&$err || true
            fail "${names[i]} has ended $how, as soon as it was started, three times"
        fi
        step "${names[i]} has ended $how: starting it again"
        # workers that an nginx left behind hold its port
        end_group "${pids[i]}"
        launch "$i"
    done
}

# wait_for SECONDS WHAT COMMAND...: until it succeeds; what it said last is shown
wait_for() {
    local waiting=$1 what=$2 end said
    end=$(($(date +%s) + waiting))
    shift 2
    until said=$("$@" 2>&1); do
        all_running
        [ "$(date +%s)" -lt "$end" ] || {
            said=$(tr '\n' ' ' <<<"$said")
            fail "$what: nothing after $waiting s of waiting${said:+: $said}"
        }
        sleep 0.1
    done
}

# holders: who has the lock open
holders() {
    find -L /proc/[0-9]*/fd -maxdepth 1 -samefile "$data/lock" 2>/dev/null | cut -d / -f 3 | sort -u | grep -vx $$ || true
}

taken() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

free_port() {
    ! taken "$1" || fail "port $1 on 127.0.0.1 is taken: end what listens there or set $2"
}

query() {
    curl -sS --fail-with-body --max-time 60 -K <(credentials) "$server/" --data-binary "$1"
}

# for curl: who asks, but not in the list of processes
credentials() {
    [ -z "$login" ] || printf 'user = "%s"\n' "$(sed 's/[\\"]/\\&/g' <<<"$login")"
}

# ---- what would be in the way

mkdir -p "$data/logs" || fail "LOGBROKER_DATA is \"$data\": it cannot be made, see above"
data=$(cd "$data" && pwd)

# (8 and 9 are clickhouse.sh's)
exec 7>>"$data/lock"
flock -n 7 || {
    # what was started inherits it, and stays if a kill -9 hits this script
    owner=$(tail -n 1 "$data/lock")
    ! grep -qs quickstart "/proc/$owner/cmdline" ||
        fail "another quickstart uses $data: end it (process $owner) or set LOGBROKER_DATA"
    step "ending what a quickstart left behind that was killed"
    mapfile -t left < <(holders)
    kill -TERM "${left[@]}" 2>/dev/null || true
    flock -w 15 7 || {
        mapfile -t left < <(holders)
        kill -KILL "${left[@]}" 2>/dev/null || true
    }
    flock -w 5 7 || fail "$data is in use: set LOGBROKER_DATA"
}
echo $$ >"$data/lock"

free_port "$port" LOGBROKER_PORT
for ((i = 1; i <= brokers + 1; i++)); do
    free_port $((port + i)) LOGBROKER_PORT
done
[ -n "${LOGBROKER_CLICKHOUSE_URL-}" ] || free_port "$clickhouse_port" LOGBROKER_CLICKHOUSE_PORT

# ---- build

step "looking for missing packages"
tools/install-deps.sh build broker edge quickstart

if [ -n "${LOGBROKER_CLICKHOUSE_URL-}" ]; then
    step "looking at ClickHouse at $server"
    tools/clickhouse/apply.sh "$clickhouse" || fail "LOGBROKER_CLICKHOUSE_URL is of no use, see above"
    case $clickhouse in
    *@*)
        # user:password, where %40 stands for @
        login=${clickhouse#*://}
        login=$(printf %b "$(sed 's/\\/\\\\/g; s/%/\\x/g' <<<"${login%%@*}")")
        [[ $login == *:* ]] || login=$login:
        user=${login%%:*}
        rm -f "$data/password"
        if [ -n "${login#*:}" ]; then
            password=$data/password
            (umask 077 && printf '%s\n' "${login#*:}" >"$password")
        fi
        ;;
    esac
else
    step "fetching ClickHouse, unless it is there"
    tools/clickhouse/clickhouse.sh --fetch || fail "no ClickHouse, see above"
fi

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

# ---- start

if [ -z "${LOGBROKER_CLICKHOUSE_URL-}" ]; then
    step "starting ClickHouse on 127.0.0.1:$clickhouse_port"
    start clickhouse tools/clickhouse/clickhouse.sh "$data/clickhouse" "$clickhouse_port"
    user=logbroker
    password=$data/clickhouse/password
    wait_for 60 "ClickHouse at $server" query "SELECT 1"
    tools/clickhouse/apply.sh "$clickhouse" || fail "the tables could not be made, see above"
fi
before=$(query "SELECT count() FROM logbroker.logs")
# The page of the logs asks as the reader; in another's server as whom the URL
# names, who may change nothing then.
reader=("READER=$data/clickhouse/reader_password")
if [ -n "${LOGBROKER_CLICKHOUSE_URL-}" ]; then
    (umask 077 && printf '%s\n' "${login#*:}" >"$data/reader_password")
    reader=("READER=$data/reader_password" "READER_NAME=${user:-default}" "CLICKHOUSE_SETTINGS=&readonly=2")
fi

# nginx_conf KIND DIR NAME=VALUE...
nginx_conf() {
    local kind=$1 dir=$2
    shift 2
    mkdir -p "$dir"
    (umask 077 && conf/nginx/render.sh "$kind" USER=root GRPC= "RUN=$dir" "TEMP=$dir" LOG=stderr "$@" >"$dir/nginx.conf")
}

addresses=
for ((i = 1; i <= brokers; i++)); do
    dir=$data/broker-$i
    step "starting broker $i on 127.0.0.1:$((port + i))"
    nginx_conf broker "$dir" "MODULES=$root/build" WORKERS=2 \
        "LISTEN=127.0.0.1:$((port + i))" "SPOOL=$dir/spool" SIZE=64m TRUSTED=127.0.0.1 \
        "${reader[@]}" "CLICKHOUSE=$server"
    jq -n --arg spool "$dir/spool" --arg url "$server" --arg user "$user" --arg broker "broker-$i" \
        --arg password "$password" --argjson index $((i - 1)) --argjson count "$brokers" \
        '{spool: $spool, broker: $broker, node: {index: $index, count: $count},
          clickhouse: ({urls: [$url]} +
              if $user != "" then {user: $user} else {} end +
              if $password != "" then {password_file: $password} else {} end)}' \
        >"$dir/flusher.json"
    # ended in the opposite order: first nginx, then its flusher
    start "flusher-$i" build/flusher/logbroker-flusher --config "$dir/flusher.json" --watchdog 60
    start "broker-$i" "$nginx" -p "$dir" -e stderr -c "$dir/nginx.conf" -g "daemon off;"
    addresses+=" 127.0.0.1:$((port + i))"
done
for ((i = 1; i <= brokers; i++)); do
    # takes it events, each of its workers?
    wait_for 30 "broker $i" curl -sS --fail-with-body "http://127.0.0.1:$((port + i))/health"
done

step "starting the edge on 127.0.0.1:$port"
nginx_conf edge "$data/edge" "MODULES=$root/build" WORKERS=1 "LISTEN=127.0.0.1:$port" "BROKERS=$addresses" \
    "METRICS=127.0.0.1:$((port + brokers + 1))" SENDERS=anyone "ACCESS_LOG=/dev/stderr json if=\$trouble"
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
  curl ${login:+-u '$user' }'${server/127.0.0.1/localhost}/?query=SELECT+count()+FROM+logbroker.logs'
  kill -9 \$(cat '$data/broker-1/nginx.pid')     # or any other: nothing is lost
Open in a browser: the logs, and whether all is well
  http://localhost:$((port + brokers + 1))/logs
  http://localhost:$((port + brokers + 1))/cluster
Logs: $data/logs. What dies is started again. Ctrl-C ends everything; a later
run goes on with the data.
EOF

# workers of nginx that died, which it has replaced itself
died() {
    cat "$data"/logs/broker-*.log | grep -c 'exited on signal' || true
}
dead=$(died)

# bash has words of its own for what is killed
exec 6>&2 2>/dev/null
err=6

# only "wait" tells a trap at the moment
while :; do
    keep_running
    now=$(died)
    [ "$now" = "$dead" ] || step "a worker of a broker has ended by a signal: nginx has started another"
    dead=$now
    sleep 1 >/dev/null 6>&- 7>&- &
    wait $! || true
done
