#!/usr/bin/env bash
# Other processors than this machine's, other compilers, other nginx.
#
#   tests/portability/run.sh [--quick] [PART...]
#
#   processors  units of spool and event on 64-bit ARM, and on x86-64 without
#               AVX2, without SSE4.2, and with both, by qemu
#   bits        a 32-bit system is refused by name; with --quick not: units on
#               a big-endian one
#   nginx       the module built for, and tried in, an nginx from source: the
#               tree in LB_NGINX_SOURCE, or one that a package registry has; its
#               files compiled for 64-bit ARM
#   threads     nginx and the module with ThreadSanitizer, and with it the system
#               tests of what threads do; with --quick some of them
#
# What cannot be had here is skipped by name. --quick: fewer rounds of dice, what
# this machine is itself left out, one build of nginx: two minutes. Needs a build
# in LB_BUILD (build). Ends with one line: N passed, N failed, N skipped
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
root=$(cd "$here/../.." && pwd -P)
build=${LB_BUILD:-build}
[ "${build#/}" != "$build" ] || build=$root/$build
work=$root/build-portability
quick=
if [ "${1-}" = --quick ]; then
    quick=1
    shift
    export LB_STEPS=${LB_STEPS:-200}
fi
case " ${*:-none} " in
*[!\ a-z]* | *" -"*) echo "usage: tests/portability/run.sh [--quick] [processors|bits|nginx|threads...]" >&2 && exit 2 ;;
esac
tree=$work/nginx-tree${LB_NGINX_SOURCE:+-given}
parts=" ${*:-processors bits nginx threads} "
passed=0 failed=0 skipped=0
pids=()
mkdir -p "$work"

finish() {
    [ ${#pids[@]} = 0 ] || kill "${pids[@]}" 2>/dev/null
}
trap finish EXIT

# check NAME COMMAND...; 77 skips, the last line says why
check() {
    local name=$1 log begun=$SECONDS
    log=$work/$(tr -c 'a-z0-9\n' - <<<"${name,,}").log
    shift
    "$@" >"$log" 2>&1
    case $? in
    0)
        passed=$((passed + 1))
        echo "ok    $name ($((SECONDS - begun)) s)"
        ;;
    77)
        skipped=$((skipped + 1))
        echo "skip  $name: $(tail -n 1 "$log")"
        ;;
    *)
        failed=$((failed + 1))
        echo "FAIL  $name"
        tail -n 30 "$log" | sed 's/^/      /'
        ;;
    esac
}

lacks() {
    echo "$*"
    return 77
}

# private_apt ARCHITECTURE DIR ARGUMENT...: apt-get with its state in DIR, for
# packages and sources of this release of Debian: the machine's own
# architectures and sources stay as they are.
private_apt() {
    local arch=$1 dir=$2 uri release key=/usr/share/keyrings/debian-archive-keyring.gpg
    shift 2
    mkdir -p "$dir/lists/partial" "$dir/archives/partial"
    if [ ! -s "$dir/sources" ]; then
        uri=$(apt-get download --print-uris libcmocka-dev | sed -n "s|^'\(.*\)/pool/.*|\1|p")
        release=$(. /etc/os-release && echo "${VERSION_CODENAME-}")
        [ -n "$uri" ] && [ -n "$release" ] && [ -r $key ] || lacks "no mirror of Debian" || return
        touch "$dir/status"
        printf '%s [signed-by=%s] %s %s main\n' deb $key "$uri" "$release" deb-src $key "$uri" "$release" >"$dir/sources.tmp"
    fi
    local options=(-q -o APT::Architecture="$arch" -o APT::Architectures="$arch"
        -o Dir::State="$dir" -o Dir::State::status="$dir/status" -o Dir::State::lists="$dir/lists"
        -o Dir::Cache="$dir" -o Dir::Cache::archives="$dir/archives"
        -o Dir::Etc::sourcelist="$dir/sources" -o Dir::Etc::sourceparts=/dev/null
        -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
        -o Acquire::IndexTargets::deb::CNF::DefaultEnabled=false -o APT::Sandbox::User=root)
    if [ ! -s "$dir/sources" ]; then
        cp "$dir/sources.tmp" "$dir/sources"
        timeout 120 apt-get "${options[@]}" update || {
            rm "$dir/sources"
            lacks "no lists of packages from Debian's mirror"
            return
        }
    fi
    (cd "$dir" && timeout 120 apt-get "${options[@]}" "$@") || lacks "Debian's mirror does not give: $*"
}

# libraries PROCESSOR DEBIAN_NAME: what a compiler for it needs, from Debian, in
# $work/root-DEBIAN_NAME
libraries() {
    local cpu=$1 arch=$2 apt=$work/apt-$2 package
    command -v "$cpu-linux-gnu-gcc" >/dev/null || lacks "no $cpu-linux-gnu-gcc" || return
    [ -d "/usr/$cpu-linux-gnu/lib" ] || lacks "no C library for $cpu" || return
    if [ ! -e "$work/root-$arch/usr" ]; then
        private_apt "$arch" "$apt" download libcmocka0 libcmocka-dev libjansson4 libjansson-dev \
            libcrypt-dev libdeflate0 libdeflate-dev liblz4-dev libpcre2-dev libxxhash-dev libzstd-dev zlib1g zlib1g-dev || return
        rm -rf "$work/root.tmp"
        for package in "$apt"/*.deb; do
            dpkg-deb -x "$package" "$work/root.tmp" || return
        done
        # bookworm's libdeflate does not say where in /usr/lib it is
        sed -i "s|^libdir=/usr/lib$|libdir=/usr/lib/$cpu-linux-gnu|" "$work/root.tmp/usr/lib/$cpu-linux-gnu/pkgconfig/libdeflate.pc" || return
        mv "$work/root.tmp" "$work/root-$arch"
    fi
}

# cross PROCESSOR DEBIAN_NAME: core for it in $work/PROCESSOR
cross() {
    local cpu=$1 arch=$2
    command -v "qemu-$cpu" >/dev/null || lacks "no qemu-$cpu" || return
    libraries "$cpu" "$arch" || return
    PKG_CONFIG_LIBDIR=$work/root-$arch/usr/lib/$cpu-linux-gnu/pkgconfig \
        PKG_CONFIG_SYSROOT_DIR=$work/root-$arch \
        cmake -S "$root" -B "$work/$cpu" -DLB_CORE=ON -DCMAKE_SYSTEM_NAME=Linux \
        -DCMAKE_SYSTEM_PROCESSOR="$cpu" -DCMAKE_C_COMPILER="$cpu-linux-gnu-gcc" \
        -DCMAKE_CROSSCOMPILING_EMULATOR="qemu-$cpu;-L;/usr/$cpu-linux-gnu" &&
        cmake --build "$work/$cpu" -j "$(nproc)"
}

# ways FILE SCANNER CRC: what the units said they ran is what they should run
ways() {
    { [ -z "$2" ] || grep -x "scanner: $2" "$1"; } && grep -x "CRC-32C: $3" "$1" || {
        echo "not the ways of this processor, $2 and $3:"
        grep -E '^(scanner|CRC-32C):' "$1"
        return 1
    }
}

# emulated PROCESSOR DEBIAN_NAME SCANNER CRC: all units
emulated() {
    cross "$1" "$2" || return
    cd "$work/$1" || return
    timeout 900 ctest -j "$(nproc)" --output-on-failure --verbose >units || {
        grep -vE '\] \[ +(RUN|OK)' units | tail -n 60
        return 1
    }
    sed -n 's/^[0-9]*: //p' units >said
    ways said "$3" "$4"
}

# model MODEL SCANNER CRC [UNIT]: the units that know the processor, or one, on
# one of x86-64
model() {
    local unit all="test_record test_scanner test_scanner_flat test_lift test_lift_chance replay_scanner replay_lift replay_recovery"
    [ "$(uname -m)" = x86_64 ] || lacks "not on $(uname -m)" || return
    command -v qemu-x86_64 >/dev/null || lacks "no qemu-x86_64" || return
    cd "$build/tests/unit" || return
    : >"$work/said-$1"
    for unit in ${4:-$all}; do
        timeout 600 qemu-x86_64 -cpu "$1" "./$unit" "$root/tests/fuzz/corpus/${unit#replay_}" >>"$work/said-$1" || {
            tail -n 30 "$work/said-$1"
            return 1
        }
    done
    ways "$work/said-$1" "$2" "$3"
}

# refused FILE WORDS CC_OPTION...
refused() {
    local file=$1 words=$2 out
    shift 2
    if out=$(gcc "$@" -ffreestanding -fsyntax-only -x c "$root/$file" 2>&1); then
        echo "$file compiles with $*"
        return 1
    fi
    grep -F "$words" <<<"$out" || {
        echo "$out"
        return 1
    }
}

# nginx_tree: puts an nginx source tree in $tree
nginx_tree() {
    local crate=$work/crate apt=$work/apt-source found=
    [ -z "${LB_NGINX_SOURCE-}" ] || rm -rf "$tree"
    [ ! -e "$tree" ] || return 0
    if [ -n "${LB_NGINX_SOURCE-}" ]; then
        found=$LB_NGINX_SOURCE
        [ -f "$found/src/core/nginx.c" ] || {
            echo "LB_NGINX_SOURCE=$found is no nginx source tree"
            return 1
        }
    else
        if command -v cargo >/dev/null; then
            mkdir -p "$crate/src" && touch "$crate/src/lib.rs"
            printf '[package]\nname = "tree"\nversion = "0.0.0"\n[dependencies]\nnginx-src = "1"\n' >"$crate/Cargo.toml"
            (cd "$crate" && CARGO_HOME=$crate/home timeout 120 cargo vendor -q) >/dev/null
            found=$(ls -d "$crate/vendor/nginx-src/nginx" 2>/dev/null)
        fi
        if [ -z "$found" ]; then
            private_apt "$(dpkg --print-architecture)" "$apt" source --download-only nginx || return
            mkdir -p "$apt/tree" && tar -xf "$apt"/nginx_*.orig.tar.* -C "$apt/tree" --strip-components 1 || return
            found=$apt/tree
        fi
    fi
    cp -rL "$found" "$tree.tmp" && mv "$tree.tmp" "$tree"
}

# nginx_build NAME CONFIGURE...: nginx with the module, in $work/nginx-NAME
nginx_build() {
    local objs=$work/nginx-$1 configure=./configure
    shift
    nginx_tree || return
    cd "$tree" || return
    [ -f configure ] || configure=./auto/configure
    rm -rf "$objs"
    [ -f /usr/include/pcre2.h ] || [ -f /usr/include/pcre.h ] || set -- --without-http_rewrite_module "$@"
    "$configure" --builddir="$objs" --with-cc-opt=-O0 --with-compat --with-threads "$@" \
        --add-dynamic-module="$root/ngx_logbroker_module" || return
    make -s -f "$objs/Makefile" -j "$(nproc)" >"$objs/make.log" 2>&1 || {
        tail -n 30 "$objs/make.log"
        return 1
    }
}

# threads TEST...: these system tests with ThreadSanitizer in nginx and the module
threads() {
    local objs=$work/nginx-threads plain=$tree tree=$tree-threads
    tree=$plain nginx_tree || return
    if [ ! -d "$tree" ]; then
        cp -r "$plain" "$tree.tmp"
        # what nginx says by a plain store, so that the sanitizer hears it
        sed -i 's/^#define ngx_unlock(lock) .*/#define ngx_unlock(lock) __atomic_store_n(lock, 0, __ATOMIC_RELEASE)/' \
            "$tree.tmp/src/os/unix/ngx_atomic.h"
        mv "$tree.tmp" "$tree"
    fi
    nginx_build threads --with-cc-opt="-g -O1 -fsanitize=thread" --with-ld-opt="-fsanitize=thread" \
        --with-debug --with-http_ssl_module --with-http_v2_module --with-http_realip_module \
        --with-http_auth_request_module --with-http_gunzip_module || return
    cd "$root" || return
    # not at random addresses: the sanitizer of GCC 12 wants its own
    LB_NGINX=$objs/nginx LB_MODULE=$objs/ngx_http_logbroker_module.so LB_BUILD=$build \
        LB_TSAN=$here/threads.supp setarch -R /usr/bin/python3 -m pytest -q -p no:cacheprovider "$@"
}

# compiles PROCESSOR DEBIAN_NAME: the module's files, as configured for this
# machine, pass the compiler for another
compiles() {
    local src=$tree/src include=$work/root-$2/usr/include file
    [ -f "$work/nginx-http2/ngx_auto_config.h" ] && [ -d "$src" ] || lacks "no nginx was configured" || return
    libraries "$1" "$2" || return
    for file in "$root"/{ngx_logbroker_module,spool,event}/*.c; do
        "$1-linux-gnu-gcc" -fsyntax-only -O1 -Wall -Wextra -Wpointer-arith -Wno-unused-parameter -Werror \
            -D_GNU_SOURCE -I "$src/core" -I "$src/event" -I "$src/event/modules" -I "$src/event/quic" \
            -I "$src/os/unix" -I "$work/nginx-http2" -I "$src/http" -I "$src/http/v2" -I "$src/http/modules" \
            -I "$root" -isystem "$include" -isystem "$include/$1-linux-gnu" "$file" || return
    done
}

# post DIR WANT CURL_OPTION...
post() {
    local dir=$1 want=$2 got
    shift 2
    got=$(curl -sS -m 10 -o "$dir/answer" -w '%{http_code}' "$@") || return
    [ "$got" = "$want" ] || {
        echo "$got, not $want, for $*: $(cat "$dir/answer")"
        return 1
    }
}

# post_until_stored DIR MESSAGE: workers that start have no ring at first
post_until_stored() {
    local n
    for ((n = 0; n < 100; n++)); do
        post "$1" 204 --unix-socket "$1/h1" http://x/log -d "{\"message\":\"$2\"}" && return
        sleep 0.1
    done
    return 1
}

# nginx NAME CONFIGURE...: takes events, answers, is reloaded, stops; the events
# are in the spool
nginx() {
    local name=$1 dir=$work/nginx-$1/run pid h2='' n
    nginx_build "$@" || return
    mkdir -p "$dir/logs"
    case " $* " in
    *" --with-http_v2_module "*) h2="listen unix:h2 http2;" ;;
    esac
    cat >"$dir/nginx.conf" <<CONF
load_module ../ngx_http_logbroker_module.so;
$([ "$(id -u)" != 0 ] || echo "user root;")
worker_processes 2;
daemon off;
error_log logs/error.log $([ "$name" = debug ] && echo debug || echo info);
pid nginx.pid;
events { worker_connections 64; }
http {
    access_log off;
    logbroker_spool spool size=4m;
    server {
        listen unix:h1;
        location /log { logbroker; }
        location = /status { logbroker_status; }
    }
    $([ -z "$h2" ] || echo "server { $h2 location /log { logbroker; } }")
}
CONF
    cd "$dir" || return
    ../nginx -V 2>&1 | head -n 1
    ../nginx -p . -c nginx.conf &
    pid=$!
    pids+=("$pid")
    post_until_stored . first || return
    seq 3000 | sed 's/.*/{"message":"large &","n":&}/' >large
    post . 204 --unix-socket h1 http://x/log --data-binary @large &&
        gzip -kf large &&
        post . 204 --unix-socket h1 http://x/log/zipped -H 'Content-Encoding: gzip' --data-binary @large.gz &&
        post . 400 --unix-socket h1 http://x/log -d '{"message" "no"}' &&
        post . 200 --unix-socket h1 http://x/status &&
        kill -HUP $pid &&
        post_until_stored . reloaded || return
    if [ -n "$h2" ]; then
        if curl -V | grep -q HTTP2; then
            post . 204 --unix-socket h2 --http2-prior-knowledge http://x/log -d '{"message":"over h2"}' || return
        else
            echo "curl has no HTTP/2"
        fi
    fi
    kill -QUIT $pid
    wait $pid || return
    "$build/tools/logbroker-spool" cat spool >events || return
    n=$(grep -c '"message":"large ' events)
    [ "$n" = 6000 ] && grep -q '"message":"first"' events && grep -q '"message":"reloaded"' events || {
        echo "$n of 6000 lines of large bodies, $(wc -l <events) lines in all"
        return 1
    }
    [ -z "$h2" ] || ! curl -V | grep -q HTTP2 || grep -q '"message":"over h2"' events || return
    ! grep -E '\[(alert|emerg|crit)\]' logs/error.log
}

case $parts in *" processors "*)
    check "64-bit ARM: NEON, CRC" emulated aarch64 arm64 "plain neon" armv8
    check "x86-64: SSE2, no CRC" model qemu64 "plain sse2" portable
    if [ -z "$quick" ]; then
        check "x86-64: SSE2, CRC" model Nehalem "plain sse2" sse4.2
        check "x86-64: AVX2, CRC" model Haswell "plain sse2 avx2" sse4.2
    else
        check "x86-64: CRC alone" model Nehalem "" sse4.2 test_record
        # the units themselves have run it otherwise
        grep -q avx2 /proc/cpuinfo || check "x86-64: AVX2, CRC" model Haswell "plain sse2 avx2" sse4.2
    fi
    ;;
esac
case $parts in *" bits "*)
    check "32 bits are refused" refused spool/lb_format.h "logbroker needs a 64-bit system" \
        -U__SIZE_MAX__ -D__SIZE_MAX__=0xffffffffu
    [ -n "$quick" ] || check "big-endian: s390x" emulated s390x s390x plain portable
    ;;
esac
case $parts in *" nginx "*)
    check "nginx from source" nginx http2 --with-http_v2_module
    check "module compiles for 64-bit ARM" compiles aarch64 arm64
    if [ -z "$quick" ]; then
        check "nginx, debug, no HTTP/2" nginx debug --with-debug
        if command -v clang >/dev/null; then
            check "nginx, clang" nginx clang --with-cc=clang --with-http_v2_module
        fi
    fi
    ;;
esac
case $parts in *" threads "*)
    large=tests/e2e/test_large.py
    if [ -n "$quick" ]; then
        check "threads share nothing unseen" threads "$large" -k "test_ways or test_clients_leave or test_killed"
    else
        # what a limit of time or memory is put on is another matter with a sanitizer
        check "threads share nothing unseen" threads "$large" tests/e2e/test_room.py tests/e2e/test_hang.py \
            tests/e2e/test_keys.py tests/e2e/test_commit.py tests/e2e/test_tail.py \
            -k "not loop_goes_on and not memory and not all_at_once and not upgrade"
    fi
    ;;
esac

echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
