#!/usr/bin/env bash
# clickhouse.sh DIR PORT: a ClickHouse HTTP server on 127.0.0.1:PORT in the
# foreground, with its data in DIR, for the quickstart and the tests.
#
# Uses `clickhouse` from the PATH if there is one, else the engine in the npm
# package chdb, which is fetched once into LOGBROKER_CHDB_DIR (default:
# build/chdb).  The default user needs no password, from loopback only; the
# password of the flusher's user is in DIR/password, that of the user who may
# read in DIR/reader_password.
# clickhouse.sh --fetch only fetches.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
cache=${LOGBROKER_CHDB_DIR:-$root/build/chdb}
version=3.4.0
case $(uname -m) in
aarch64) platform=linux-arm64-gnu ;;
*) platform=linux-x64-gnu ;;
esac
library=$cache/node_modules/@chdb/lib-$platform/libchdb.so
other="install clickhouse so that it is on the PATH, or set LOGBROKER_CLICKHOUSE_URL to a server that is there"

fail() {
    echo "clickhouse.sh: $*" >&2
    exit 1
}

fetch() {
    local words
    if command -v clickhouse >/dev/null || [ -f "$library" ]; then
        return
    fi
    case $(uname -m) in
    x86_64 | aarch64) ;;
    *) fail "there is no embedded engine for $(uname -m): $other" ;;
    esac
    command -v npm >/dev/null || fail "npm is needed to fetch chdb@$version; or $other"
    mkdir -p "$cache"
    # one at a time: tests may start several servers at once
    exec 9>"$cache/.lock"
    flock 9
    if [ ! -f "$library" ]; then
        # npm itself would try for minutes; a Ctrl-C is for it, too
        words=$(timeout --foreground 40 npm view "chdb@$version" version --fetch-retries=1 \
            --fetch-timeout=15000 --loglevel=error 2>&1) ||
            fail "npm finds no chdb@$version in its registry within 40 s ($(grep -v 'complete log\|_logs' <<<"${words:-no answer}" | head -n 3 | tr '\n' ' ')): $other"
        npm install --prefix "$cache" --no-save --ignore-scripts --no-audit --no-fund \
            --fetch-retries=2 --fetch-timeout=60000 --loglevel=error "chdb@$version" >/dev/null ||
            fail "npm could not install chdb@$version: $other"
    fi
    exec 9>&-
    [ -f "$library" ] || fail "chdb@$version has no libchdb.so for this machine: $other"
}

if [ "${1-}" = --fetch ]; then
    fetch
    exit
fi

[ $# = 2 ] || fail "usage: clickhouse.sh DIR PORT"
fetch
mkdir -p "$1/data" "$1/tmp"
dir=$(cd "$1" && pwd)
xml=$(sed 's/&/\&amp;/g; s/</\&lt;/g' <<<"$dir")
port=$2

# before anything in it is written: kept by the server until it ends, however
exec 8>"$dir/lock"
flock -n 8 || fail "$dir is in use: another server runs on it"
if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
    fail "127.0.0.1:$port is in use: end what listens there or take another port"
fi

cat >"$dir/config.xml" <<EOF
<clickhouse>
    <logger>
        <level>warning</level>
        <log>$xml/clickhouse.log</log>
        <errorlog>$xml/clickhouse.err.log</errorlog>
        <size>50M</size>
        <count>2</count>
    </logger>
    <path>$xml/data/</path>
    <tmp_path>$xml/tmp/</tmp_path>
    <users_config>$xml/users.xml</users_config>
    <listen_host>127.0.0.1</listen_host>
    <http_port>$port</http_port>
    <timezone>UTC</timezone>
    $(sed -n '/<http_handlers>/,/<.http_handlers>/p' "$root/conf/clickhouse/config.xml")
    <mark_cache_size>268435456</mark_cache_size>
    <max_server_memory_usage>6000000000</max_server_memory_usage>
    <query_log>
        <database>system</database>
        <table>query_log</table>
        <flush_interval_milliseconds>1000</flush_interval_milliseconds>
    </query_log>
</clickhouse>
EOF
# hash FILE: of the password in it, which is made if there is none
hash() {
    [ -s "$1" ] || (umask 077 && head -c 18 /dev/urandom | base64 >"$1")
    tr -d '\n' <"$1" | sha256sum | cut -d ' ' -f 1
}

# the flusher's user and the reader, with passwords of this server's own
mkdir -p "$dir/users.d"
[ -e "$dir/users.d/readers.xml" ] ||
    sed "s/@READER_SHA256@/$(hash "$dir/reader_password")/" "$root/conf/clickhouse/readers.xml" >"$dir/users.d/readers.xml"
flusher=$(sed -n "s/@PASSWORD_SHA256@/$(hash "$dir/password")/; /<logbroker>/,/<\/logbroker>/p" \
    "$root/conf/clickhouse/users.xml")
cat >"$dir/users.xml" <<EOF
<clickhouse>
    <profiles><default/></profiles>
    <quotas><default/></quotas>
    <users>
        <default>
            <password></password>
            <networks><ip>127.0.0.1</ip><ip>::1</ip></networks>
            <profile>default</profile>
            <quota>default</quota>
            <access_management>1</access_management>
            <named_collection_control>1</named_collection_control>
        </default>
$flusher
    </users>
</clickhouse>
EOF

cd "$dir"
if command -v clickhouse >/dev/null; then
    exec clickhouse server --config-file="$dir/config.xml"
fi
server=${LOGBROKER_CHSERVER:-$root/build/tools/logbroker-chserver}
[ -x "$server" ] || fail "$server is missing: build first"
exec "$server" "$library" "$dir/config.xml" "$dir/data"
