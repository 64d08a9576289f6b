#!/usr/bin/env bash
# apply.sh URL [FOLDER]: runs the statements of conf/clickhouse/*.sql, or of
# FOLDER, on a ClickHouse server, as the user in URL
# (http://user:password@host:8123) or the default one.
set -euo pipefail

[ $# = 1 ] || [ $# = 2 ] || { echo "usage: apply.sh URL [FOLDER]" >&2; exit 2; }
url=$1
while [ "${url%/}" != "$url" ]; do url=${url%/}; done
# as it may be shown, whatever was forgotten to be escaped in the password
server=$(sed -E 's,//.*@,//,; s,[?#].*,,' <<<"$url")
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
conf=$here/../../conf/clickhouse
# in the image the statements lie beside this
[ -d "$conf" ] || conf=$here
[ $# = 1 ] || conf=$2
oldest=24.8

fail() {
    echo "apply.sh: $*" >&2
    exit 1
}

[[ $url =~ ^https?://([^][/?#@\ ]*@)?([A-Za-z0-9._-]+|\[[0-9a-fA-F:.]+\])(:[0-9]+)?(/[^?#@\ ]*)?$ ]] ||
    fail "the URL of ClickHouse must be like http://host:8123 or https://user:password@host:8443;" \
        "in the password / ? # @ [ ] % and blanks are written %2F %3F %23 %40 %5B %5D %25 %20"

# run SQL WHAT [SECONDS]: its answer
run() {
    local answer
    if ! answer=$(curl -sS --fail-with-body --connect-timeout 5 --max-time "${3-60}" \
        --data-binary @- "$url/" <<<"$1" 2>&1); then
        answer=${answer//"$url"/"$server"}
        fail "$2: $(head -c 1000 <<<"$answer" | tr -s '\n' ' ')"
    fi
    printf '%s\n' "$answer"
}

version=$(run "SELECT version()" "no answer from ClickHouse at $server" 15)
[[ $version =~ ^[0-9]+\.[0-9]+\.[0-9.]+$ ]] ||
    fail "$server does not answer as ClickHouse does: it says \"$(head -c 60 <<<"$version" | tr -d '\n')\" to SELECT version()"
[ "$(printf '%s\n' $oldest "$version" | sort -V | head -n 1)" = $oldest ] ||
    fail "ClickHouse at $server is $version, too old: it must be $oldest or newer"

for file in "$conf"/*.sql; do
    statement=
    while IFS= read -r line; do
        case $line in
        --* | '') ;;
        *';')
            statement+="${line%;}"
            run "$statement" "$file" >/dev/null
            statement=
            ;;
        *) statement+="$line"$'\n' ;;
        esac
    done <"$file"
done
