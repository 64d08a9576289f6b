#!/usr/bin/env bash
# install-deps.sh GROUP...: installs what is missing of the groups in
# packages.txt, and says what before and after. Needs root only if something is
# missing. No service is started or left enabled that was not there before.
set -euo pipefail

list=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/packages.txt
wanted=()

for group in "$@"; do
    while read -r groups package; do
        case ,$groups, in
        *,"$group",*) [[ " ${wanted[*]} " == *" $package "* ]] || wanted+=("$package") ;;
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

# installed PACKAGE|PACKAGE...: one of them
installed() {
    local package
    for package in ${1//|/ }; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" != installed ] || return 0
    done
    return 1
}

missing=()
for package in "${wanted[@]}"; do
    installed "$package" || missing+=("$package")
done

[ ${#missing[@]} -gt 0 ] || exit 0

sudo=()
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || {
        echo "install-deps.sh: root is needed to install ${missing[*]}: let root run" \
            "tools/install-deps.sh $*, then run this again" >&2
        exit 1
    }
    sudo=(sudo)
fi

log=$(mktemp /tmp/logbroker-install.XXXXXX)
policy=/usr/sbin/policy-rc.d
placed=

# nginx is run by hand here: its package must not start a server of its own.
finish() {
    [ -z "$placed" ] || "${sudo[@]}" rm -f $policy
    placed=
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
    tail -n 20 "$log" >&2
    echo "install-deps.sh: $*, see $log" >&2
    exit 1
}

apt() {
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive LC_ALL=C apt-get -q "$@"
}

# watched COMMAND...: says every ten seconds how far it is
watched() {
    local pid i=0 status=0
    "$@" >>"$log" 2>&1 </dev/null &
    pid=$!
    while kill -0 $pid 2>/dev/null; do
        sleep 0.2
        i=$((i + 1))
        [ $((i % 50)) != 0 ] || echo "  ... $(tail -n 1 "$log" | cut -c 1-72)"
    done
    wait $pid || status=$?
    return $status
}

# services: those that start by themselves
services() {
    command -v systemctl >/dev/null || return 0
    { systemctl --root=/ list-unit-files --type=service --state=enabled --no-legend --plain 2>/dev/null || true; } |
        cut -d ' ' -f 1 | sort
}

echo "missing: ${missing[*]}"
watched apt update || fail "apt-get update failed"

# a package may have another name in another release
names=()
for package in "${missing[@]}"; do
    name=
    for other in ${package//|/ }; do
        if [ -n "$(apt-cache policy "$other" 2>/dev/null | grep 'Candidate: [^(]')" ]; then
            name=$other
            break
        fi
    done
    names+=("${name:-${package%%|*}}")
done

# the question is answered with no
apt install --assume-no --no-install-recommends "${names[@]}" >"$log.plan" 2>&1 || true
sed -nE 's/^([0-9]+) upgraded, ([0-9]+) newly.*/installing \2 packages, upgrading \1:/p
    s/^(Need to get|After this operation).*/  &/p' "$log.plan"
rm -f "$log.plan"
echo "  log: $log"

if [ ! -e $policy ]; then
    placed=1
    printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" tee $policy >/dev/null
    "${sudo[@]}" chmod +x $policy
fi
before=$(services)
watched apt install -y --no-install-recommends "${names[@]}" || fail "apt-get install failed"
finish

mapfile -t new < <(comm -13 <(cat <<<"$before") <(services) | grep -E '^(nginx|prometheus)' || true)
if [ ${#new[@]} -gt 0 ]; then
    "${sudo[@]}" systemctl --root=/ disable "${new[@]}" >>"$log" 2>&1 || true
    echo "  not started, and not at the next boot either: ${new[*]}"
fi
echo "installed: ${names[*]}"
rm -f "$log"
