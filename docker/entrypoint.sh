#!/bin/sh
# Entry point of the images: fills the configuration templates from the
# environment into /run/logbroker and becomes the server. No secret is in the
# environment: the password of the flusher's user is in a file.
#
#   broker       LOGBROKER_WORKERS (auto)  LOGBROKER_RING_SIZE (256m)
#                LOGBROKER_TRUSTED  addresses of the edge, space separated
#                LOGBROKER_CLICKHOUSE_URLS (http://clickhouse:8123)  where the
#                page /logs asks, as the user reader, once there is a password
#                for it; with https /etc/logbroker/clickhouse/ca.pem as below
#                /etc/logbroker/broker/tls/{cert,key}.pem  turn TLS on; with
#                ca.pem only an edge with a certificate of that authority is let in.
#                In tls-beside in the place of tls: on ports of its own, 8443 and,
#                for gRPC, 4318
#   flusher      LOGBROKER_CLICKHOUSE_URLS (http://clickhouse:8123)
#                LOGBROKER_CLICKHOUSE_USER (logbroker)
#                LOGBROKER_BROKER (the host name)
#                LOGBROKER_NODE_INDEX (0)  LOGBROKER_NODE_COUNT (1)
#                /etc/logbroker/clickhouse/ca.pem  whom to trust, with https
#                /etc/logbroker/clickhouse/{cert,key}.pem  how to be known
#   edge         LOGBROKER_WORKERS (auto)
#                LOGBROKER_BROKERS  "HOST:PORT ...", unless there is a file
#                /etc/logbroker/edge/brokers.conf with "server HOST:PORT ...;"
#                lines, which a HUP reads again; for OTLP over gRPC their
#                port 4317, or what is in grpc_brokers.conf beside it
#                /etc/logbroker/edge/senders.conf  who may send, how much; a HUP
#                reads it again. LOGBROKER_SENDERS=anyone does without
#                /etc/logbroker/edge/rules.conf  limits, passwords, addresses for
#                all doors, instead of those in conf/nginx/rules.conf; a HUP
#                reads them again
#                /etc/logbroker/edge/tls/{cert,key}.pem  turn TLS on,
#                clients.pem beside them certificates of senders; with
#                readers.pem those who have a certificate of that authority read
#                the logs on port 8444, but for those in readers-crl.pem
#                /etc/logbroker/edge/acme/  answers to who issues that certificate
#                /etc/logbroker/edge/broker-tls/ca.pem  the brokers have TLS, with
#                certificates of this authority for the name "logbroker";
#                {cert,key}.pem beside it  how to be known to them; brokers.conf
#                and grpc_brokers.conf there count then, if they are there
#                Ports: 8080, 8443 with TLS; 8082 is HTTP/2 without TLS; 8081
#                has figures for Prometheus, at /metrics, and the page of all
#                brokers, at /cluster, and is not for clients; LOGBROKER_OWN_PORT
#                (9145)  where the machine has it;
#                4317 is OTLP over gRPC, with TLS if there is a certificate
#   clickhouse   LOGBROKER_CLICKHOUSE_MEMORY  share of the memory (0.8)
#                /etc/logbroker/clickhouse/config.d/*.xml  more settings; with
#                cluster.xml the tables and the user are those of a replica
#   keeper       /etc/logbroker/keeper/keeper.xml
#   spool        logbroker-spool, with the flusher's settings in
#                /run/logbroker/flusher.json
#
#   health       whether what this container runs is well
#
# LOGBROKER_PASSWORD_FILE (/run/secrets/clickhouse_password), of the flushers,
# and LOGBROKER_READER_PASSWORD_FILE (/run/secrets/reader_password), of those who
# read: ClickHouse makes a file that is missing if its folder can be written to.
set -eu

share=/usr/share/logbroker
run=/run/logbroker
password=${LOGBROKER_PASSWORD_FILE:-/run/secrets/clickhouse_password}
reader=${LOGBROKER_READER_PASSWORD_FILE:-/run/secrets/reader_password}

fail() {
    echo "logbroker: $*" >&2
    exit 1
}

# fill TEMPLATE NAME=VALUE...: @NAME@ replaced, comments left out
fill() {
    template=$1
    shift
    script='/^ *#/d'
    for pair in "$@"; do
        value=$(printf %s "${pair#*=}" | sed 's/[&|\\]/\\&/g')
        script="$script
s|@${pair%%=*}@|$value|"
    done
    sed "$script" "$template"
}

# a list of words as a JSON array of strings
json_list() {
    list=
    for word in $1; do
        list="$list, \"$word\""
    done
    echo "[${list#, }]"
}

# The first process of a container ignores signals it has no handler for. The
# server that takes this one's place brings its own.
trap 'exit 0' TERM INT QUIT

wait_for_password() {
    until [ -s "$password" ]; do
        [ -n "${told-}" ] || echo "logbroker: waiting for $password" >&2
        told=1
        sleep 1
    done
}

serve_nginx() {
    exec nginx -e stderr -c "$run/nginx.conf" -g "daemon off;"
}

broker() {
    tls=/etc/logbroker/broker/tls
    beside=
    if [ ! -f $tls/cert.pem ]; then
        tls=
        [ ! -f /etc/logbroker/broker/tls-beside/cert.pem ] || beside="TLS_LISTEN=8443"
        [ -z "$beside" ] || tls=/etc/logbroker/broker/tls-beside
    fi
    rm -f $run/nginx.pid
    none=
    # an empty one is none, and stays none
    [ ! -e "$reader" ] || [ -s "$reader" ] || none=1
    broker_settings
    # ClickHouse may make that password later; nginx takes a signal as soon as it
    # has written its pid
    [ -n "$by$none" ] || [ ! -d "${reader%/*}" ] || {
        until [ -s "$reader" ] && [ -s $run/nginx.pid ]; do
            sleep 1
        done
        broker_settings && kill -HUP "$(cat $run/nginx.pid)"
    } &
    serve_nginx
}

broker_settings() {
    by=
    [ ! -s "$reader" ] || by=$reader
    ca=/etc/logbroker/clickhouse/ca.pem
    [ -f $ca ] || ca=/etc/ssl/certs/ca-certificates.crt
    (umask 077 && $share/nginx/render.sh broker USER= RUN=$run TEMP=$run LOG=stderr \
        "WORKERS=${LOGBROKER_WORKERS:-auto}" LISTEN=8080 \
        SPOOL=/var/spool/logbroker "SIZE=${LOGBROKER_RING_SIZE:-256m}" \
        "TRUSTED=${LOGBROKER_TRUSTED:-127.0.0.1}" TLS=$tls ${beside:+"$beside"} "READER=$by" CLICKHOUSE_CA=$ca \
        "CLICKHOUSE=${LOGBROKER_CLICKHOUSE_URLS:-http://clickhouse:8123}" >$run/nginx.new)
    mv $run/nginx.new $run/nginx.conf
}

flusher_settings() {
    tls=
    [ ! -f /etc/logbroker/clickhouse/ca.pem ] ||
        tls="$tls \"ca_file\": \"/etc/logbroker/clickhouse/ca.pem\","
    [ ! -f /etc/logbroker/clickhouse/cert.pem ] ||
        tls="$tls \"client_certificate\": \"/etc/logbroker/clickhouse/cert.pem\", \"client_key\": \"/etc/logbroker/clickhouse/key.pem\","
    cat >$run/flusher.json <<EOT
{
  "spool": "/var/spool/logbroker",
  "clickhouse": {
    "urls": $(json_list "${LOGBROKER_CLICKHOUSE_URLS:-http://clickhouse:8123}"),
    "user": "${LOGBROKER_CLICKHOUSE_USER:-logbroker}",$tls
    "password_file": "$password"
  },
  "broker": "${LOGBROKER_BROKER:-$(hostname)}",
  "node": {"index": ${LOGBROKER_NODE_INDEX:-0}, "count": ${LOGBROKER_NODE_COUNT:-1}}
}
EOT
}

flusher() {
    wait_for_password
    flusher_settings
    # it is started again by whoever runs the container
    exec logbroker-flusher --config $run/flusher.json --watchdog 60
}

edge() {
    brokers=/etc/logbroker/edge/brokers.conf
    tls=/etc/logbroker/edge/tls
    grpc=/etc/logbroker/edge/grpc_brokers.conf
    if [ -f /etc/logbroker/edge/broker-tls/brokers.conf ]; then
        brokers=/etc/logbroker/edge/broker-tls/brokers.conf
        grpc=/etc/logbroker/edge/broker-tls/grpc_brokers.conf
    fi
    if [ ! -f $brokers ]; then
        [ -n "${LOGBROKER_BROKERS-}" ] || fail "no brokers: set LOGBROKER_BROKERS or mount $brokers"
        brokers=$LOGBROKER_BROKERS
    fi
    [ -f $grpc ] || grpc=
    rules=/etc/logbroker/edge/rules.conf
    [ -f $rules ] || rules=$share/nginx/rules.conf
    senders=/etc/logbroker/edge/senders.conf
    if [ ! -f $senders ]; then
        [ "${LOGBROKER_SENDERS-}" = anyone ] ||
            fail "nobody may send: mount $senders (docs/access.md), or set LOGBROKER_SENDERS=anyone"
        senders=anyone
    fi
    where="LISTEN=8080 H2C=8082"
    [ ! -f $tls/cert.pem ] || where="LISTEN=8443 TLS=$tls PLAIN=8080"
    [ ! -f $tls/cert.pem ] || [ ! -f $tls/readers.pem ] || where="$where READERS=8444"
    [ ! -d /etc/logbroker/edge/acme ] || where="$where ACME=/etc/logbroker/edge/acme"
    [ ! -f /etc/logbroker/edge/broker-tls/ca.pem ] ||
        where="$where BROKER_TLS=/etc/logbroker/edge/broker-tls"
    # shellcheck disable=SC2086
    $share/nginx/render.sh edge USER= RUN=$run TEMP=$run LOG=stderr \
        "WORKERS=${LOGBROKER_WORKERS:-auto}" $where "BROKERS=$brokers" "GRPC_BROKERS=$grpc" \
        "SENDERS=$senders" "RULES=$rules" METRICS=8081 \
        "STATUS_PAGE=http://localhost:${LOGBROKER_OWN_PORT:-9145}/cluster" \
        "ACCESS_LOG=/dev/stdout json if=\$kept" >$run/nginx.conf
    serve_nginx
}

# Applies the schema, whose statements may be run again, as soon as the server
# answers; ends when it is done.
schema() {
    until curl -fsS -o /dev/null --max-time 5 http://127.0.0.1:8123/ping 2>/dev/null; do
        sleep 0.5
    done
    until $share/clickhouse/apply.sh http://127.0.0.1:8123 "$1"; do
        sleep 5
    done
}

# make_password FILE: one is made if there is none and its folder can be
# written to
make_password() {
    [ ! -s "$1" ] || return 0
    (umask 077 && head -c 18 /dev/urandom | base64 >"$1.new") 2>/dev/null || return 1
    mv "$1.new" "$1"
}

hash() {
    tr -d '\n' <"$1" | sha256sum | cut -d ' ' -f 1
}

clickhouse() {
    make_password "$password" || fail "$password is missing and cannot be made"
    fill $share/clickhouse/config.xml "MEMORY=${LOGBROKER_CLICKHOUSE_MEMORY:-0.8}" >$run/config.xml
    mkdir -p $run/users.d $run/config.d
    cp $share/clickhouse/local-user.xml $run/users.xml
    [ ! -d /etc/logbroker/clickhouse/config.d ] || cp -R /etc/logbroker/clickhouse/config.d $run/
    from=$share/clickhouse
    # Each replica makes its own tables, whether or not the others are there.
    if [ -f $run/config.d/cluster.xml ]; then
        from=$run/cluster
        cp -R $share/clickhouse/cluster $run/
        sed -i 's/ ON CLUSTER logbroker//' $from/*.sql
    fi
    fill $from/users.xml "PASSWORD_SHA256=$(hash "$password")" >$run/users.d/logbroker.xml
    # without a password there are no readers
    if make_password "$reader"; then
        fill $share/clickhouse/readers.xml "READER_SHA256=$(hash "$reader")" >$run/users.d/readers.xml
    fi
    schema "$from" &
    mkdir -p /var/lib/clickhouse/data /var/lib/clickhouse/tmp
    cd /var/lib/clickhouse
    # signals are for the server, not for a watchdog before it
    export CLICKHOUSE_WATCHDOG_ENABLE=0
    exec clickhouse server --config-file=$run/config.xml
}

keeper() {
    touch $run/keeper
    cd /var/lib/clickhouse
    export CLICKHOUSE_WATCHDOG_ENABLE=0
    exec clickhouse keeper --config-file=/etc/logbroker/keeper/keeper.xml
}

# The flusher has no port; the time of its figures is renewed every 20 seconds,
# whether or not ClickHouse answers. One request to it may take a minute.
health() {
    spool=/var/spool/logbroker
    if [ -f $run/flusher.json ]; then
        [ -n "$(find $spool/flusher.json -newermt '-2 minutes' ! -newermt '+1 minute')" ] || fail "the flusher does nothing"
        exec logbroker-spool stat --json $spool >/dev/null
    fi
    url=http://127.0.0.1:8080/health
    [ ! -f $run/config.xml ] || url=http://127.0.0.1:8123/ping
    [ ! -f $run/keeper ] || url=http://127.0.0.1:9182/ready
    # a broker with TLS may want a certificate: any answer will do
    [ ! -f /etc/logbroker/broker/tls/cert.pem ] ||
        exec curl -ksS --max-time 4 -o /dev/null https://127.0.0.1:8080/health
    exec curl -fsS --max-time 4 -o /dev/null $url
}

case ${1:-${LOGBROKER_ROLE-}} in
nginx | broker) broker ;;
flusher) flusher ;;
edge) edge ;;
clickhouse) clickhouse ;;
keeper) keeper ;;
spool)
    shift
    flusher_settings
    exec logbroker-spool "$@"
    ;;
health) health ;;
*) exec "$@" ;;
esac
