#!/usr/bin/env bash
# install-deps.sh GROUP...: installs what is missing of the groups in
# packages.txt, and says what. Needs root only if something is missing.
set -euo pipefail

list=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/packages.txt
wanted=()

for group in "$@"; do
    while read -r groups package; do
        case ,$groups, in
        *,"$group",*) wanted+=("$package") ;;
        esac
    done < <(grep -v '^#' "$list")
done

# The quickstart fetches the ClickHouse engine with npm; Debian's is large, so
# it is taken only where there is neither another npm nor a ClickHouse.
case " $* " in
*" quickstart "*)
    if [ -z "${LOGBROKER_CLICKHOUSE_URL-}" ] && ! command -v clickhouse >/dev/null &&
        ! command -v npm >/dev/null; then
        wanted+=(npm)
    fi
    ;;
esac

missing=()
for package in "${wanted[@]}"; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing+=("$package")
done

[ ${#missing[@]} -gt 0 ] || exit 0

echo "installing: ${missing[*]}"

sudo=()
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || {
        echo "install-deps.sh: this needs root; install the packages above and run again" >&2
        exit 1
    }
    sudo=(sudo)
fi

# nginx is run by hand here: its package must not start a server of its own.
policy=/usr/sbin/policy-rc.d
placed=
if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" tee $policy >/dev/null
    "${sudo[@]}" chmod +x $policy
    placed=1
fi

log=$(mktemp)
status=0
{
    "${sudo[@]}" apt-get update -q &&
        "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
            apt-get install -q -y --no-install-recommends "${missing[@]}"
} >"$log" 2>&1 || status=$?

[ -z "$placed" ] || "${sudo[@]}" rm -f $policy

if [ $status != 0 ]; then
    tail -n 20 "$log" >&2
    echo "install-deps.sh: apt-get failed, see $log" >&2
    exit 1
fi
rm -f "$log"
