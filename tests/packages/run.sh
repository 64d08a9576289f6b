#!/usr/bin/env bash
# Builds the Debian packages, looks at them, and, where docker can run, leads
# them through a life on a clean machine: install, start, take events, upgrade
# with a spool in it, remove, purge.
#
#   tests/packages/run.sh            all
#   tests/packages/run.sh --quick    build and look alone
#
# Exit status: 0 all passed, 1 something failed, 77 only the quick part could
# be tried.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
root=$(cd "$here/../.." && pwd -P)
quick=
case ${1-} in
'') ;;
--quick) quick=1 ;;
*) echo "usage: tests/packages/run.sh [--quick]" >&2 && exit 2 ;;
esac

image=logbroker-packages-test
build=$root/build/packages
failed=0
container=
log=$(mktemp)

finish() {
    rm -f "$log"
    [ -z "$container" ] || docker rm -f "$container" >/dev/null 2>&1
}
trap finish EXIT

# check NAME COMMAND...
check() {
    local name=$1
    shift
    if "$@" >"$log" 2>&1; then
        echo "ok    $name"
    else
        failed=1
        echo "FAIL  $name"
        sed 's/^/      /' "$log"
    fi
}

# packages VERSION: builds them into $build/VERSION, as from a checkout that was
# made with umask 002
packages() {
    cmake -S "$root" -B "$build" -DLB_TESTS=OFF -DCMAKE_BUILD_TYPE=RelWithDebInfo &&
        chmod -R g+w "$build/conf/control" &&
        cmake --build "$build" -j "$(nproc)" &&
        mkdir -p "$build/$1" &&
        (cd "$build" && cpack -D CPACK_PACKAGE_VERSION="$1" -B "$build/$1")
}

contents() {
    dpkg -c "$build/1.0.0/logbroker_1.0.0-1_$arch.deb" &&
        dpkg -c "$build/1.0.0/libnginx-mod-http-logbroker_1.0.0-1_$arch.deb"
}

has() {
    local file
    contents >"$log.list" || return 1
    for file in ./usr/sbin/logbroker-flusher ./usr/bin/logbroker-spool \
        ./usr/lib/nginx/modules/ngx_http_logbroker_module.so \
        ./usr/share/nginx/modules-available/mod-http-logbroker.conf \
        ./usr/lib/systemd/system/logbroker-flusher.service \
        $(cd "$root/conf" && find nginx -type f -printf './usr/share/logbroker/%p\n') \
        ./usr/share/logbroker/clickhouse/apply.sh ./usr/share/logbroker/clickhouse/users.xml \
        ./usr/share/man/man1/logbroker-spool.1.gz ./usr/share/man/man8/logbroker-flusher.8.gz; do
        grep -q " $file\$" "$log.list" || { echo "$file is missing"; return 1; }
    done
    # nobody may write to them
    ! grep -E '^-.......w' "$log.list"
    rm -f "$log.list"
}

depends() {
    local module library
    module=$(dpkg -f "$build/1.0.0/libnginx-mod-http-logbroker_1.0.0-1_$arch.deb" Depends)
    echo "$module"
    for library in nginx libdeflate0 libjansson4 liblz4-1 libzstd1 zlib1g; do
        grep -q "$library" <<<"$module" || { echo "$library is missing"; return 1; }
    done
    dpkg -f "$build/1.0.0/logbroker_1.0.0-1_$arch.deb" Depends | grep libcurl4
}

unpacked() {
    rm -rf "$build/root"
    for file in "$build"/1.0.0/*.deb; do
        dpkg-deb -x "$file" "$build/root" || return 1
    done
}

# Links of the pages, and the files of conf and tools they name, are there.
pointers() {
    local page target missing=0
    local doc=$build/root/usr/share/doc/logbroker
    for page in "$doc"/docs/*.md; do
        for target in $(sed '/^```/,/^```/d' "$page" | grep -oE '\]\([^)# ]+' | sed 's/^](//' | grep -v ://); do
            [ -e "${page%/*}/$target" ] || { echo "${page##*/}: no $target" && missing=1; }
        done
        for target in $(grep -oE '\b(conf|tools)/[a-z0-9_./-]+\.[a-z]+\b' "$page" | sort -u); do
            [ -e "$doc/$target" ] || { echo "${page##*/}: no $target" && missing=1; }
        done
    done
    for target in $(gzip -dc "$build"/root/usr/share/man/*/*.gz | grep -oE '/usr/share/[a-z0-9_./-]+[a-z0-9]'); do
        [ -e "$build/root$target" ] || { echo "a manual page: no $target" && missing=1; }
    done
    [ $missing = 0 ]
}

# as Debian's: nothing of the linker's tables can be written to, calls that write
# to what the compiler knows the size of are checked
compiled() {
    local file elf
    for file in usr/sbin/logbroker-flusher usr/bin/logbroker-spool usr/lib/nginx/modules/ngx_http_logbroker_module.so; do
        elf=$(readelf -adW "$build/root/$file")
        grep -qE 'BIND_NOW|Flags:.* NOW' <<<"$elf" || { echo "$file: not -z now"; return 1; }
        grep -q GNU_RELRO <<<"$elf" || { echo "$file: not -z relro"; return 1; }
        grep -q '_chk@' <<<"$elf" || { echo "$file: not fortified"; return 1; }
        ! grep -q '\.symtab' <<<"$elf" || { echo "$file: not stripped"; return 1; }
    done
}

# The scale ends at 10 for no protection at all.
hardened() {
    local exposure
    exposure=$(systemd-analyze security --offline=true --no-pager \
        "$root/conf/systemd/logbroker-flusher.service" |
        sed -n 's/.*Overall exposure level.*: \([0-9.]*\) .*/\1/p')
    echo "exposure level: ${exposure:-unknown}"
    [ -n "$exposure" ] && awk -v e="$exposure" 'BEGIN { exit !(e <= 2.0) }'
}

arch=$(dpkg --print-architecture)
check "packages are built" packages 1.0.0
check "they hold what they should" has
check "they depend on what they need" depends
check "they can be unpacked" unpacked
check "what their pages point at is there" pointers
check "they are compiled as Debian's are" compiled
if command -v lintian >/dev/null; then
    check "lintian has nothing to say" lintian --allow-root --fail-on error,warning --tag-display-limit 0 "$build"/1.0.0/*.deb
else
    echo "skip  lintian: it is not here"
fi
! command -v man >/dev/null || check "manual pages have no mistake" bash -c "
    for page in '$build'/conf/*.[18]; do
        out=\$(man --warnings -l \"\$page\" 2>&1 >/dev/null) && [ -z \"\$out\" ] || { echo \"\$page: \$out\"; exit 1; }
    done"
! command -v systemd-analyze >/dev/null || check "the flusher's unit is hardened" hardened
[ $failed = 0 ] || exit 1
[ -z "$quick" ] || exit 0

docker info >/dev/null 2>&1 || {
    echo "SKIP  packages: no docker here, only the quick part was tried"
    exit 77
}

inside() {
    docker exec -i "$container" "$@"
}

# until_ok COMMAND...: for at most 30 s
until_ok() {
    local end=$((SECONDS + 30))
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || { "$@"; return 1; }
        sleep 0.2
    done
}

machine() {
    DOCKER_BUILDKIT=0 docker build -t $image "$here" || return 1
    # as little more than a container as systemd needs
    container=$(docker run --detach --network none --cap-add=SYS_ADMIN \
        --security-opt seccomp=unconfined --security-opt apparmor=unconfined \
        --cgroupns=host -v /sys/fs/cgroup:/sys/fs/cgroup:rw \
        --tmpfs /run:exec --tmpfs /tmp $image) || return 1
    until_ok inside systemctl show --property=Version
    until_ok inside systemctl is-active nginx
}

copy() {
    docker cp "$build/$1" "$container:/root/$1" >/dev/null
}

install() {
    copy "$1" && inside sh -c "dpkg -i /root/$1/*.deb"
}

# by the shipped configuration, as docs/packages.md tells
configure() {
    inside sh -c 'cd /etc/nginx && { [ -f nginx.conf.before ] || cp nginx.conf nginx.conf.before; } &&
        /usr/share/logbroker/nginx/render.sh broker LISTEN=127.0.0.1:8080 SIZE=4m >nginx.conf' &&
        inside sh -c 'cat >/etc/logbroker/flusher.json' <<'END' &&
{"spool": "/var/spool/logbroker", "clickhouse": {"urls": ["http://127.0.0.1:1"]}}
END
        inside systemctl restart nginx && inside systemctl start logbroker-flusher
}

# an edge beside the broker, with the files of the packages alone
edge() {
    inside sh -c '/usr/share/logbroker/nginx/render.sh edge BROKERS=127.0.0.1:8080 SENDERS=anyone \
        LISTEN=127.0.0.1:8081 GRPC=127.0.0.1:8082 RUN=/run/edge TEMP=/run/edge LOG=stderr \
        ACCESS_LOG=off >/root/edge.conf && mkdir -p /run/edge && nginx -c /root/edge.conf' || return 1
    until_ok inside curl -fsS http://127.0.0.1:8081/health &&
        inside curl -fsS -d '{"streams":[{"stream":{},"values":[["1","through the edge"]]}]}' \
            -H 'Content-Type: application/json' http://127.0.0.1:8081/loki/api/v1/push &&
        inside nginx -c /root/edge.conf -s quit
}

status() {
    inside curl -fsS http://127.0.0.1:8080/status
}

# is FILTER: the status says so
is() {
    status | jq -e "$1"
}

post() {
    local i
    for ((i = 0; i < $1; i++)); do
        inside curl -fsS -d "{\"n\":$i}" http://127.0.0.1:8080/log || return 1
    done
}

spool_modes() {
    inside sh -c 'stat -c "%U:%G %a %n" /var/spool/logbroker /var/spool/logbroker/*'
    [ "$(inside stat -c '%G %a' /var/spool/logbroker)" = "logbroker 2770" ] &&
        ! inside find /var/spool/logbroker -perm /o=w | grep .
}

# A watchdog that hears nothing ends the flusher; systemd starts it anew.
watchdog() {
    local before
    before=$(inside systemctl show -P MainPID logbroker-flusher)
    inside mkdir -p /run/systemd/system/logbroker-flusher.service.d
    inside sh -c 'printf "[Service]\nWatchdogSec=2\n" >/run/systemd/system/logbroker-flusher.service.d/quick.conf'
    inside systemctl daemon-reload && inside systemctl restart logbroker-flusher || return 1
    before=$(inside systemctl show -P MainPID logbroker-flusher)
    # alive: three periods and more
    sleep 7
    [ "$(inside systemctl show -P MainPID logbroker-flusher)" = "$before" ] || return 1
    inside sh -c "kill -STOP $before" || return 1
    until_ok inside sh -c "test \$(systemctl show -P NRestarts logbroker-flusher) -ge 1"
    inside rm -r /run/systemd/system/logbroker-flusher.service.d
    inside systemctl daemon-reload
    until_ok inside systemctl is-active logbroker-flusher
}

upgrade() {
    local before after
    before=$(status | jq '[.rings[] | {uuid, next_seq}] | sort') || return 1
    install 1.0.1 || return 1
    until_ok is '.total.backlog_events == 10' || return 1
    after=$(status | jq '[.rings[] | {uuid, next_seq}] | sort')
    [ "$before" = "$after" ] || { echo "$before"; echo "$after"; return 1; }
    [ "$(inside dpkg-query -f '${Version}' -W logbroker)" = 1.0.1-1 ] || return 1
    inside systemctl is-active logbroker-flusher nginx || return 1
    post 5 && until_ok is '.total.backlog_events == 15'
}

# A server beside others, by a file in conf.d: without the module nginx goes on
# without it, and has it again with the module.
removed_with_conf() {
    inside mv /etc/nginx/nginx.conf.before /etc/nginx/nginx.conf
    inside sh -c 'cat >/etc/nginx/sites-available/logs && ln -s ../sites-available/logs /etc/nginx/sites-enabled/logs' <<'END'
server { listen 127.0.0.1:8088; location /log { logbroker; } }
END
    inside sh -c 'cat >/etc/nginx/conf.d/logbroker.conf' <<'END'
logbroker_spool /var/spool/logbroker size=4m;
server { listen 127.0.0.1:8080; location /log { logbroker; } location /status { logbroker_status; } }
END
    inside sh -c 'echo "server { listen 127.0.0.1:8089; location / { return 200 mine; } }" >/etc/nginx/conf.d/mine.conf'
    inside systemctl restart nginx && post 1 || return 1
    inside dpkg --remove libnginx-mod-http-logbroker || return 1
    inside nginx -t && inside systemctl restart nginx || return 1
    until_ok inside curl -fsS http://127.0.0.1:8089/ || return 1
    install 1.0.1 && inside systemctl restart nginx || return 1
    until_ok is '.total.backlog_events == 16' || return 1
    inside rm /etc/nginx/conf.d/logbroker.conf /etc/nginx/conf.d/mine.conf /etc/nginx/sites-enabled/logs
}

# nginx.conf itself cannot be put aside: then the module stays.
not_removed() {
    configure && until_ok is '.total.backlog_events == 16' || return 1
    ! inside dpkg --remove libnginx-mod-http-logbroker || return 1
    inside nginx -t && inside systemctl restart nginx && until_ok is '.total.backlog_events == 16'
    # the configuration it includes is the module's
    inside dpkg --remove logbroker && inside nginx -t && inside systemctl restart nginx || return 1
    install 1.0.1 && until_ok is '.total.backlog_events == 16 and .flusher_runs'
}

purged() {
    inside mv /etc/nginx/nginx.conf.before /etc/nginx/nginx.conf
    inside sh -c 'dpkg --purge libnginx-mod-http-logbroker logbroker' || return 1
    inside nginx -t || return 1
    inside systemctl is-active nginx || return 1
    ! inside systemctl is-active logbroker-flusher || return 1
    inside sh -c 'ls /etc/nginx/modules-enabled; ls /usr/sbin/logbroker-flusher /usr/bin/logbroker-spool 2>&1'
    ! inside sh -c 'ls /etc/nginx/modules-enabled | grep logbroker || ls /usr/sbin/logbroker-flusher || ls /lib/systemd/system/logbroker*' || return 1
    ! inside ls -d /etc/logbroker /etc/nginx/logbroker-removed || return 1
    ! inside sh -c 'find /etc/systemd /var/lib/systemd | grep logbroker' || return 1
    # what was not delivered is not thrown away
    inside sh -c 'ls /var/spool/logbroker/ring-0000'
}

removed_and_back() {
    inside mv /etc/nginx/nginx.conf.before /etc/nginx/nginx.conf
    inside dpkg --remove libnginx-mod-http-logbroker || return 1
    inside nginx -t || return 1
    install 1.0.1 && configure && until_ok is '.total.backlog_events == 15'
}

check "another version is built" packages 1.0.1
check "a clean machine" machine
[ $failed = 0 ] || exit 1
check "install" install 1.0.0
check "nginx takes the module" inside nginx -t
check "without settings the flusher does not start" bash -c "! docker exec $container systemctl is-active logbroker-flusher"
check "configure and start" configure
check "the flusher is ready" until_ok inside systemctl is-active logbroker-flusher
check "events are taken" post 9
check "an edge takes one" edge
check "they are in the backlog" until_ok is '.total.backlog_events == 10 and .flusher_runs'
check "the spool is for nobody else" spool_modes
check "a flusher that hangs is started anew" watchdog
check "upgrade with a spool in it" upgrade
check "remove and install again" removed_and_back
check "remove with a file in conf.d" removed_with_conf
check "remove with an nginx.conf that needs it" not_removed
check "purge" purged
[ $failed = 0 ]
