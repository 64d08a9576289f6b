#!/bin/sh
# Prints the configuration of a broker or an edge: broker.conf or edge.conf, with
# its @NAMES@ filled in. The quickstart, the images (hence compose and Ansible),
# the packages and the tests all use this, so that what holds for one of them
# holds for all.
#
#   render.sh broker LISTEN=10.0.0.5:8080 SPOOL=/var/spool/logbroker SIZE=1g \
#       "TRUSTED=10.0.0.2 10.0.0.3" >/etc/nginx/nginx.conf
#   render.sh edge "BROKERS=10.0.0.5:8080 10.0.0.6:8080" \
#       SENDERS=/etc/logbroker/senders.conf >/etc/nginx/nginx.conf
#
# Both                    default
#   USER                  www-data, if root starts it
#   WORKERS               auto
#   RUN                   /run: folder of nginx.pid
#   TEMP                  /var/lib/nginx: folders of temporary files; bodies above
#                         256 KB wait there, so it needs room
#   LOG                   /var/log/nginx/error.log: a file or stderr
#   MODULES               /usr/lib/nginx/modules
#   LISTEN                80 at the edge (443 with TLS), 8080 at a broker
#   GRPC                  4317: where OTLP over gRPC is taken, if anywhere
#   TLS                   folder of cert.pem and key.pem; without, plain HTTP. With
#                         clients.pem, an edge knows by it who has a certificate
#                         of theirs; with ca.pem, a broker lets in only an edge
#                         that has a certificate of that authority
# Broker
#   TLS_LISTEN            with TLS: a port of its own for it, and LISTEN and GRPC stay
#                         plain: edges can go over from one to the other
#   TLS_GRPC              4318: the same for OTLP over gRPC
#   SPOOL                 /var/spool/logbroker, on a local disk
#   SIZE                  256m, of one ring
#   TRUSTED               127.0.0.1: the edges, whose X-Forwarded-For is believed
#   READER                file of the password of ClickHouse's user "reader", as
#                         whom the page /logs asks; without, it shows what comes,
#                         and nothing that is stored
#   READER_NAME           reader
#   CLICKHOUSE            "http://clickhouse:8123 ...": where it asks; of names the
#                         first alone
#   CLICKHOUSE_CA         /etc/ssl/certs/ca-certificates.crt: whom to trust, with https
#   CLICKHOUSE_SETTINGS   more of them for each question, like "&readonly=2"
# Edge
#   BROKERS               "HOST:PORT ...", or a file of "server HOST:PORT ...;"
#                         lines that is read again at a reload
#   GRPC_BROKERS          the same for gRPC; by default port 4317 of BROKERS
#   SENDERS               a file of "logbroker_sender NAME ...;" lines that is read
#                         again at a reload: nobody else may send. Or "anyone"
#   BROKER_TLS            the brokers have TLS: folder of ca.pem, whom they must be
#                         from, and of cert.pem and key.pem if they want to know
#                         who the edge is
#   BROKER_NAME           logbroker: the name that is in all brokers' certificates
#   READERS               with TLS: the port where those read the logs who have a
#                         certificate of an authority in its folder's readers.pem;
#                         readers-crl.pem beside it, if it is there, has those that
#                         were revoked
#   ACME                  with TLS: folder of the answers to the authority that
#                         issues the certificate (tools/edge/certificate.sh)
#   PLAIN                 80: with TLS, where plain HTTP is sent on to it
#   H2C                   another port, for HTTP/2 without TLS; from nginx 1.25.1
#                         on it is spoken on the usual one as well
#   METRICS               127.0.0.1:9145: where the edge's figures for Prometheus are,
#                         at /metrics, and the status of all brokers, at /cluster:
#                         an address that clients do not reach
#   STATUS_PAGE           where a browser on this machine, or at the other end of a
#                         tunnel, finds that: http://localhost, the port of METRICS. If
#                         it is a name of the internet, it is shown by that one
#   RULES                 rules.conf of this folder: limits, and whatever else holds
#                         for all doors
#   ACCESS_LOG            "/var/log/nginx/access.log json if=$kept"
# shellcheck disable=SC2034
set -eu

fail() {
    echo "render.sh: $*" >&2
    exit 2
}

CONF=$(cd "$(dirname "$0")" && pwd)
kind=${1-}
case $kind in
broker | edge) shift ;;
*) fail "broker or edge?" ;;
esac

USER=www-data
WORKERS=auto
RUN=/run
TEMP=/var/lib/nginx
LOG=/var/log/nginx/error.log
MODULES=/usr/lib/nginx/modules
SPOOL=/var/spool/logbroker
SIZE=256m
TRUSTED=127.0.0.1
READER=
READER_NAME=reader
CLICKHOUSE=http://clickhouse:8123
CLICKHOUSE_CA=/etc/ssl/certs/ca-certificates.crt
CLICKHOUSE_SETTINGS=
BROKERS=
GRPC_BROKERS=
SENDERS=
GRPC=4317
TLS=
BROKER_TLS=
BROKER_NAME=logbroker
READERS=
TLS_LISTEN=
TLS_GRPC=4318
ACME=
PLAIN=80
H2C=
METRICS=127.0.0.1:9145
STATUS_PAGE=
RULES=$CONF/rules.conf
ACCESS_LOG='/var/log/nginx/access.log json if=$kept'
LISTEN=
for pair in "$@"; do
    value=${pair#*=}
    case $pair in
    USER=* | WORKERS=* | RUN=* | TEMP=* | LOG=* | MODULES=* | LISTEN=* | \
        SPOOL=* | SIZE=* | TRUSTED=* | BROKERS=* | TLS=* | PLAIN=* | H2C=* | \
        GRPC=* | GRPC_BROKERS=* | SENDERS=* | METRICS=* | STATUS_PAGE=* | RULES=* | ACCESS_LOG=* | \
        READER=* | READER_NAME=* | CLICKHOUSE=* | CLICKHOUSE_CA=* | CLICKHOUSE_SETTINGS=* | \
        READERS=* | TLS_LISTEN=* | TLS_GRPC=* | BROKER_TLS=* | BROKER_NAME=* | ACME=*) eval "${pair%%=*}=\$value" ;;
    *) fail "what is $pair?" ;;
    esac
done

# names: whose pages they are, in $NAMES
names() {
    OWN_NAME=${1#*://}
    OWN_NAME=$(printf %s "${OWN_NAME%%[:/]*}" | sed 's/\./\\./g')
    NAMES=$(fill names.conf OWN_NAME | tr '\n' ' ')
}

# fill FILE NAME...: @NAME@ becomes the value of that variable, comments go
fill() {
    file=$1
    shift
    script='/^ *#/d'
    for name in "$@"; do
        eval "value=\$$name"
        value=$(printf %s "$value" | sed 's/[&|\\]/\\&/g')
        script="$script
s|@$name@|$value|"
    done
    sed "$script" "$CONF/$file"
}

if [ -n "$USER" ] && [ "$(id -u)" = 0 ]; then
    echo "user $USER;"
fi

# from 1.25.1 on it is a directive, and may share a port with HTTP/1
version=$(PATH=$PATH:/usr/sbin nginx -v 2>&1 | sed 's|.*/||')
parameter=" http2"
directive=
if [ "$(printf '%s\n' 1.25.1 "$version" | sort -V | head -n 1)" = 1.25.1 ]; then
    parameter=
    directive="http2 on;"
fi

# query: the location where the page asks, in $QUERY, and of several servers the
# group, in $CLICKHOUSE_GROUP
query() {
    CLICKHOUSE_GROUP=
    if [ -z "$READER" ]; then
        QUERY='location = /logs/query { default_type text/plain; return 501 "No user of ClickHouse who may read is known here (READER of render.sh, docs/explore.md). Live shows what comes."; }'
        return
    fi
    [ -s "$READER" ] || fail "READER: there is no password in $READER"
    # its characters may mean anything to nginx, those of base64 nothing
    READER="Basic $(printf '%s:%s' "$READER_NAME" "$(tr -d '\n' <"$READER")" | base64 | tr -d '\n')"
    scheme=http
    hosts=
    names=
    for url in $CLICKHOUSE; do
        case $url in
        http://*) scheme=http ;;
        https://*) scheme=https ;;
        *) fail "CLICKHOUSE: $url is not like http://host:8123" ;;
        esac
        host=${url#*://}
        host=${host%%/*}
        hosts="${hosts:+$hosts }$host"
        case $host in
        \[* | [0-9]*.[0-9]*.[0-9]*.[0-9]*) ;;
        *) names=1 ;;
        esac
    done
    RESOLVER=
    if [ -n "$names" ]; then
        # looked up when it is asked: nginx starts while there is no such name
        CLICKHOUSE=$scheme://${hosts%% *}
        server=$(sed -n 's/^nameserver *\([0-9.]*\)$/\1/p' /etc/resolv.conf | head -n 1)
        RESOLVER="${server:+resolver $server valid=10s;}"
    else
        for host in $hosts; do
            CLICKHOUSE_GROUP="$CLICKHOUSE_GROUP server $host;"
        done
        CLICKHOUSE_GROUP="upstream clickhouse {$CLICKHOUSE_GROUP }"
        CLICKHOUSE=$scheme://clickhouse
    fi
    CLICKHOUSE_TLS=
    [ $scheme = http ] ||
        CLICKHOUSE_TLS="proxy_ssl_server_name on; proxy_ssl_name ${hosts%%:*}; proxy_ssl_verify on; proxy_ssl_verify_depth 3; proxy_ssl_trusted_certificate \"$CLICKHOUSE_CA\"; proxy_ssl_protocols TLSv1.2 TLSv1.3;"
    SETTINGS=$CLICKHOUSE_SETTINGS
    QUERY=$(fill query.conf RESOLVER READER CLICKHOUSE_TLS CLICKHOUSE SETTINGS | tr '\n' ' ')
}

if [ "$kind" = broker ]; then
    query
    names http://localhost
    LISTEN=${LISTEN:-8080}
    ssl=
    [ -n "$TLS" ] || [ -z "$TLS_LISTEN" ] || fail "TLS_LISTEN: there is no certificate, TLS is not set"
    if [ -n "$TLS_LISTEN" ]; then
        TLS_LISTEN="listen $TLS_LISTEN ssl backlog=4096;${GRPC:+ listen $TLS_GRPC ssl$parameter;}"
    elif [ -n "$TLS" ]; then
        ssl=" ssl"
        LISTEN="$LISTEN ssl"
    fi
    if [ -n "$TLS" ]; then
        certificate=$TLS
        TLS="ssl_certificate \"$certificate/cert.pem\"; ssl_certificate_key \"$certificate/key.pem\"; ssl_protocols TLSv1.2 TLSv1.3;"
        [ ! -e "$certificate/ca.pem" ] ||
            TLS="$TLS ssl_client_certificate \"$certificate/ca.pem\"; ssl_verify_client on;"
    fi
    [ -z "$GRPC" ] || GRPC="listen $GRPC$ssl$parameter;${directive:+ $directive}"
    trusted=
    for address in $TRUSTED; do
        trusted="${trusted:+$trusted }set_real_ip_from $address;"
    done
    TRUSTED=$trusted
    fill broker.conf NAMES QUERY CLICKHOUSE_GROUP CONF MODULES RUN TEMP LOG WORKERS TLS_LISTEN LISTEN GRPC TLS SPOOL SIZE TRUSTED
    exit
fi

# servers BROKERS: what stands in "upstream", in $servers, and for keys, which
# those have who are out of the rotation, in $by_key
servers() {
    addresses=$1
    servers="include $1;"
    case $1 in
    /*) addresses=$(sed -n 's/^ *server  *\([^ ;]*\).*/\1/p' "$1") ;;
    *) servers= ;;
    esac
    by_key=
    for address in $addresses; do
        by_key="${by_key:+$by_key }server $address max_fails=0 weight=64;"
        case $1 in
        /*) ;;
        *) servers="${servers:+$servers }server $address max_fails=3 fail_timeout=10s;" ;;
        esac
    done
}

[ -n "$BROKERS" ] || fail "no BROKERS"
KNOWN=
case $SENDERS in
'') fail "no SENDERS: the file that says who may send, or anyone" ;;
anyone) SENDERS= ;;
*)
    SENDERS="include \"$SENDERS\";"
    KNOWN="logbroker_senders on; limit_req zone=guesses burst=20 nodelay; limit_conn senders 2048;"
    ;;
esac
servers "$BROKERS"
BROKERS=$servers
BROKERS_BY_KEY=$by_key
STATUS_BROKERS=
STATUS_PATHS=
STATUS_LIST=
STATUS_TAILS=
n=0
for address in $addresses; do
    n=$((n + 1))
    STATUS_BROKERS="$STATUS_BROKERS upstream status_$n { server $address; keepalive 2; }"
    STATUS_PATHS="$STATUS_PATHS /cluster/$n status_$n; /cluster/$n/tail status_$n;"
    STATUS_TAILS="$STATUS_TAILS${STATUS_TAILS:+ }$address=/cluster/$n/tail"
    STATUS_LIST="$STATUS_LIST${STATUS_LIST:+, }"
    STATUS_LIST="$STATUS_LIST{\"address\": \"$address\", \"path\": \"/cluster/$n\", \"status\": "
    STATUS_LIST="$STATUS_LIST<!--# include virtual=\"/cluster/$n\" -->}"
done
if [ -z "$GRPC_BROKERS" ]; then
    for address in $addresses; do
        GRPC_BROKERS="$GRPC_BROKERS ${address%:*}:4317"
    done
fi
servers "$GRPC_BROKERS"
GRPC_BROKERS=$servers
GRPC_BROKERS_BY_KEY=$by_key

# how the brokers are spoken to, for each of proxy_ and grpc_
HTTP=http
GRPCS=grpc
if [ -n "$BROKER_TLS" ]; then
    HTTP=https
    GRPCS=grpcs
    folder=$BROKER_TLS
    BROKER_TLS=
    for what in proxy grpc; do
        BROKER_TLS="$BROKER_TLS ${what}_ssl_trusted_certificate \"$folder/ca.pem\"; ${what}_ssl_verify on; ${what}_ssl_verify_depth 3; ${what}_ssl_name $BROKER_NAME; ${what}_ssl_server_name on; ${what}_ssl_protocols TLSv1.2 TLSv1.3;"
        [ ! -e "$folder/cert.pem" ] ||
            BROKER_TLS="$BROKER_TLS ${what}_ssl_certificate \"$folder/cert.pem\"; ${what}_ssl_certificate_key \"$folder/key.pem\";"
    done
fi

REDIRECT=
ssl=
if [ -n "$READERS" ]; then
    [ -n "$TLS" ] || fail "READERS: those who read show their certificate by TLS, which is not set"
    [ -s "$TLS/readers.pem" ] || fail "READERS: there is no $TLS/readers.pem, the authority of those who read"
    [ "$READERS" != "${LISTEN:-443}" ] || fail "READERS: $READERS is where events come, they need a port of their own"
    READERS_TLS="ssl_certificate \"$TLS/cert.pem\"; ssl_certificate_key \"$TLS/key.pem\"; ssl_client_certificate \"$TLS/readers.pem\";"
    [ ! -e "$TLS/readers-crl.pem" ] || READERS_TLS="$READERS_TLS ssl_crl \"$TLS/readers-crl.pem\";"
    READERS_LOG=${ACCESS_LOG%% *}
    OWN_PORT=$METRICS
    case $OWN_PORT in *:*) ;; *) OWN_PORT=127.0.0.1:$OWN_PORT ;; esac
    READERS=$(fill readers.conf READERS READERS_TLS READERS_LOG OWN_PORT | tr '\n' ' ')
fi
if [ -n "$TLS" ]; then
    ssl=" ssl"
    LISTEN="${LISTEN:-443} ssl$parameter"
    [ -z "$ACME" ] || ACME="location ^~ /.well-known/acme-challenge/ { alias \"$ACME/\"; default_type text/plain; access_log off; }"
    REDIRECT=$(fill edge-redirect.conf PLAIN ACME | tr '\n' ' ')
    clients=
    [ ! -f "$TLS/clients.pem" ] || clients=" ssl_client_certificate $TLS/clients.pem; ssl_verify_client optional;"
    TLS="${directive:+$directive }ssl_certificate $TLS/cert.pem; ssl_certificate_key $TLS/key.pem;$clients"
else
    LISTEN=${LISTEN:-80}
    TLS=$directive
fi
[ -z "$GRPC" ] || GRPC="listen $GRPC$ssl$parameter;"
STATUS_PAGE=${STATUS_PAGE:-http://localhost:${METRICS##*:}/cluster}
names "$STATUS_PAGE"
METRICS=$(fill edge-metrics.conf METRICS HTTP STATUS_TAILS STATUS_LIST | tr '\n' ' ')
[ -z "$H2C" ] || TLS="${TLS:+$TLS }listen $H2C$parameter;"
fill edge.conf NAMES CONF SENDERS KNOWN RULES MODULES RUN TEMP LOG WORKERS LISTEN TLS REDIRECT METRICS READERS ACCESS_LOG \
    HTTP GRPCS BROKER_TLS \
    GRPC GRPC_BROKERS_BY_KEY GRPC_BROKERS BROKERS_BY_KEY BROKERS \
    STATUS_BROKERS STATUS_PATHS STATUS_PAGE
