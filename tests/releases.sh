#!/usr/bin/env bash
# The newcomer's path on bare Debian releases: each is bootstrapped into a
# folder, and what README.md says is done there, from a clone of HEAD.
#
#   tests/releases.sh [--tests] [RELEASE...]      default: bookworm trixie
#
# quickstart.sh by root, until a browser shows the first log, if this machine has
# chromium; by somebody who may use sudo, and by somebody who may do neither
# (who is told what to do); with --tests also
# tests/run.sh --quick. Needs root, debootstrap and Debian's archive; 77 if
# there is none. LB_RELEASES is where the releases are kept (build/releases).
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
store=${LB_RELEASES:-$root/build/releases}
tests=
if [ "${1-}" = --tests ]; then
    tests=1
    shift
fi
releases=("$@")
[ $# -gt 0 ] || releases=(bookworm trixie)

skip() {
    echo "tests/releases.sh: skipped: $*"
    exit 77
}
[ "$(id -u)" = 0 ] || skip "root is needed"
command -v debootstrap >/dev/null || skip "no debootstrap"

failed=0
mkdir -p "$store"

# within DIR USER COMMAND: in it, with /proc and /dev of its own namespace, and
# the certificates this machine trusts
within() {
    unshare --mount --pid --fork bash -c '
        mount --make-rprivate / && mount --bind "$1" "$1"
        mount -t proc proc "$1/proc" && mount -t sysfs sys "$1/sys" && mount --rbind /dev "$1/dev" &&
            mount -t tmpfs tmpfs "$1/dev/shm" && cp /etc/resolv.conf /etc/hosts "$1/etc/" &&
            cp /etc/ssl/certs/ca-certificates.crt "$1/etc/ssl/certs/" &&
            exec chroot "$1" su - "$2" -c "export NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt; $3"' bash "$@"
}

export -f within

# check NAME LOG WORDS COMMAND...: it says these words
check() {
    local name=$1 log=$2 words=$3 begun
    shift 3
    begun=$(date +%s)
    "$@" >"$log" 2>&1
    if grep -q -- "$words" "$log"; then
        echo "ok    $name ($(($(date +%s) - begun)) s)"
        grep -- "the first log seen" "$log"
    else
        failed=1
        echo "FAIL  $name: not said: $words; see $log"
        tail -n 15 "$log" | sed 's/^/      /'
    fi
}

for release in "${releases[@]}"; do
    base=$store/$release
    if [ ! -e "$base/complete" ]; then
        rm -rf "$base"
        debootstrap --variant=minbase --include=ca-certificates "$release" "$base" >"$store/$release.log" 2>&1 ||
            skip "no $release: see $store/$release.log"
        touch "$base/complete"
    fi
    for who in neither root sudo; do
        dir=$store/$release-$who
        rm -rf "$dir"
        cp -a "$base" "$dir"
        user=root
        if [ $who != root ]; then
            user=someone
            chroot "$dir" useradd -m -s /bin/bash someone
        fi
        if [ $who = sudo ]; then
            chroot "$dir" sh -c 'apt-get update -q && apt-get install -q -y --no-install-recommends sudo' \
                >"$store/$release-$who.log" 2>&1
            echo 'someone ALL=(ALL) NOPASSWD: ALL' >"$dir/etc/sudoers.d/someone"
        fi
        home=$(chroot "$dir" sh -c "echo ~$user")
        mkdir "$dir$home/log broker"
        git -C "$root" archive HEAD | tar -x -C "$dir$home/log broker"
        chroot "$dir" chown -R "$user" "$home/log broker"

        words="every event arrived exactly once"
        start=(within "$dir" "$user" "cd 'log broker' && ./quickstart.sh --once")
        if [ $who = neither ]; then
            words="let root run tools/install-deps.sh"
        elif [ $who = root ] && command -v chromium >/dev/null; then
            words="the first log seen after"
            start=("$root/tests/first_log.py" bash -c 'within "$@"' bash
                "$dir" "$user" "cd 'log broker' && exec ./quickstart.sh")
        fi
        log=$store/$release-$who.log
        check "$release, $who: quickstart" "$log" "$words" "${start[@]}"
        [ $who = neither ] || check "$release, $who: audit" "$log.audit" "every event arrived exactly once" cat "$log"
        if [ -n "$tests" ] && [ $who = root ]; then
            # in a folder without a space, which a cross compiler needs
            mv "$dir$home/log broker" "$dir$home/logbroker"
            find "$dir$home/logbroker/build" -mindepth 1 -maxdepth 1 ! -name chdb -exec rm -rf {} +
            check "$release: tests" "$store/$release-tests.log" "^[0-9]* passed, 0 failed$" \
                within "$dir" root "apt-get install -q -y git && cd logbroker && git init -q && git add -A && ./tests/run.sh --quick"
        fi
        [ $failed = 1 ] || rm -rf "$dir"
    done
done
exit $failed
