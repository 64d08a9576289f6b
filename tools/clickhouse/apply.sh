#!/usr/bin/env bash
# apply.sh URL: runs conf/clickhouse/*.sql on a ClickHouse server, as the user
# in URL (http://user:password@host:8123) or the default one.
set -euo pipefail

[ $# = 1 ] || { echo "usage: apply.sh URL" >&2; exit 2; }
url=$1
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
conf=$here/../../conf/clickhouse
# in the image the statements lie beside this
[ -d "$conf" ] || conf=$here

run() {
    local answer
    if ! answer=$(curl -sS --fail-with-body --max-time 60 --data-binary @- "$url/" <<<"$1"); then
        echo "apply.sh: $2: $answer" >&2
        exit 1
    fi
}

for file in "$conf"/*.sql; do
    statement=
    while IFS= read -r line; do
        case $line in
        --* | '') ;;
        *';')
            statement+="${line%;}"
            run "$statement" "$file"
            statement=
            ;;
        *) statement+="$line"$'\n' ;;
        esac
    done <"$file"
done
