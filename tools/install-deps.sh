#!/usr/bin/env bash
# install-deps.sh GROUP...: installs what is missing of the groups in
# packages.txt, and says what before and after. Needs root only if something is
# missing. No service is started or left enabled that was not there before.
#
# install-deps.sh --packages NAME...: the part of it that root does.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
list=$here/../packages.txt
policy=/usr/sbin/policy-rc.d
ours="placed by logbroker's install-deps.sh"
placed=
before=
log=
pid=

fail() {
    [ -z "$log" ] || tail -n 20 "$log" >&2 || true
    echo "install-deps.sh: $*${log:+, see $log}" >&2
    exit 1
}

# nginx is run by hand here: its package must not start a server of its own.
# Whatever becomes of this script, the next package of somebody else's may.
place() {
    if [ -e $policy ] && ! grep -qs "$ours" $policy; then
        return
    fi
    placed=1
    cat >$policy <<END
#!/bin/sh
# $ours while it runs; else it says nothing and may be deleted
! grep -qs install-deps /proc/$$/cmdline || exit 101
END
    chmod 755 $policy
}

# What apt has begun it ends: half of it would be in the way of the next one,
# and its services would start once the policy is gone.
finish() {
    local new
    trap '' HUP INT TERM
    if [ -n "$pid" ] && kill -INT "$pid" 2>/dev/null; then
        echo "install-deps.sh: waiting until apt-get has ended what it cannot leave half done" >&2 || true
        while kill -0 "$pid" 2>/dev/null; do
            wait "$pid" || true
        done
    fi
    [ -n "$placed" ] || return 0
    rm -f $policy
    placed=
    mapfile -t new < <(comm -13 <(cat <<<"$before") <(services))
    [ ${#new[@]} -gt 0 ] || return 0
    systemctl --root=/ disable "${new[@]}" >>"$log" 2>&1 || true
    echo "  not started, and not at the next boot either: ${new[*]}" || true
}

apt() {
    exec env DEBIAN_FRONTEND=noninteractive LC_ALL=C apt-get -q -o DPkg::Lock::Timeout=300 "$@"
}

# watched COMMAND...: says every ten seconds how far it is. In a process group of
# its own, so that a Ctrl-C is for this script.
watched() {
    local i=0 status=0
    set -m
    "$@" >>"$log" 2>&1 </dev/null &
    pid=$!
    set +m
    while kill -0 "$pid" 2>/dev/null; do
        sleep 0.2
        i=$((i + 1))
        [ $((i % 50)) != 0 ] || echo "  ... $(tail -n 1 "$log" | cut -c 1-72)"
    done
    wait "$pid" || status=$?
    pid=
    return $status
}

# services: those that start by themselves
services() {
    command -v systemctl >/dev/null || return 0
    { systemctl --root=/ list-unit-files --type=service,socket --state=enabled --no-legend --plain 2>/dev/null || true; } |
        cut -d ' ' -f 1 | sort
}

# install PACKAGE|PACKAGE...
install() {
    local package name other names=()
    log=$(mktemp /tmp/logbroker-install.XXXXXX)
    trap finish EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM

    echo "missing: $*"
    watched apt update || fail "apt-get update failed"

    # a package may have another name in another release
    for package in "$@"; do
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
    (apt install --assume-no --no-install-recommends "${names[@]}") >"$log.plan" 2>&1 || true
    sed -nE 's/^([0-9]+) upgraded, ([0-9]+) newly.*/installing \2 packages, upgrading \1:/p
        s/^(Need to get|After this operation).*/  &/p' "$log.plan"
    rm -f "$log.plan"
    echo "  log: $log"

    before=$(services)
    place
    watched apt install -y --no-install-recommends "${names[@]}" || fail "apt-get install failed"
    finish
    echo "installed: ${names[*]}"
    rm -f "$log"
}

if [ "${1-}" = --packages ]; then
    shift
    install "$@"
    exit
fi

wanted=()
for group in "$@"; do
    known=
    while read -r groups package; do
        case ,$groups, in
        *,"$group",*)
            known=1
            [[ " ${wanted[*]} " == *" $package "* ]] || wanted+=("$package")
            ;;
        esac
    done < <(grep -v '^#' "$list")
    [ -n "$known" ] || fail "packages.txt has no group $group"
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

command -v apt-get >/dev/null || fail "there is no apt-get here: install by hand what these packages of Debian hold: ${missing[*]}"

if [ "$(id -u)" = 0 ]; then
    install "${missing[@]}"
else
    # it may ask for the password, but not behind what follows
    { command -v sudo >/dev/null && sudo true; } ||
        fail "root is needed to install ${missing[*]}: let root run tools/install-deps.sh $*, then run this again"
    sudo "$here/install-deps.sh" --packages "${missing[@]}"
fi
