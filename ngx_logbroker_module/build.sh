#!/bin/bash
#
# Builds ngx_http_logbroker_module.so against an nginx source tree.
#
#   build.sh NGINX_SOURCE BUILD_DIR OUTPUT [CC_FLAGS [LD_FLAGS [CONFIGURE...]]]
#
# Debian's nginx-dev brings its tree with the flags of the packaged nginx in
# conf_flags; another tree gets the flags a loadable module needs and what is
# given as CONFIGURE.  CC is the compiler, cc by default.  The tree itself is
# left as it is.  LB_ADDON names another module's folder than this one.

set -eu -o pipefail

cc=${CC:-cc}

here=$(cd "$(dirname "$0")" && pwd)
module=${LB_ADDON:-$here}
source=$1
build=$2
output=$3
cc_flags=${4:-}
ld_flags=${5:-}
shift $(($# < 5 ? $# : 5))

NGX_CONF_FLAGS=(--with-compat --with-threads)
if [ -f "$source/conf_flags" ]; then
    # shellcheck disable=SC1091
    . "$source/conf_flags"
fi

# nginx's configure takes no path with a space in it: then by other names,
# the same each time, so that make knows what it has made.
case $module$build in
*[[:space:]]*)
    names=${TMPDIR:-/tmp}/logbroker-$(id -u)-$(printf %s "$module$build" | cksum | cut -d ' ' -f 1)
    [ -d "$names" ] || mkdir -m 700 "$names"
    [ -O "$names" ] || { echo "$names belongs to somebody else" >&2; exit 1; }
    mkdir -p "$build"
    ln -sfn "$(dirname "$module")" "$names/root"
    ln -sfn "$build" "$names/build"
    module=$names/root/$(basename "$module")
    build=$names/build
    ;;
esac

configure=./configure
if [ ! -f "$source/configure" ]; then
    configure=./auto/configure
fi

mkdir -p "$build"

# A new configuration only when something it depends on has changed.
files=$(cd "$here/.." && echo ngx_logbroker_module/*.[ch] spool/*.[ch] event/*.[ch])
stamp="$cc|$cc_flags|$ld_flags|$*|$source|$files"
if [ ! -f "$build/Makefile" ] || [ "$module/config" -nt "$build/Makefile" ] ||
    [ "$here/build.sh" -nt "$build/Makefile" ] ||
    [ "$here/../spool/CMakeLists.txt" -nt "$build/Makefile" ] ||
    [ "$here/../event/CMakeLists.txt" -nt "$build/Makefile" ] ||
    [ -n "$(find "$module" "$module/uplot/" \( -name 'page.*' -o -name '*.html' -o -name 'uPlot*' \) -newer "$build/Makefile")" ] ||
    [ "$stamp" != "$(cat "$build/flags" 2>/dev/null)" ]; then
    if ! (cd "$source" && "$configure" --with-cc="$cc" \
        --with-cc-opt="-g -O2 -fPIC $cc_flags" \
        --with-ld-opt="-Wl,-z,relro -Wl,-z,now -fPIC $ld_flags" \
        "${NGX_CONF_FLAGS[@]}" "$@" --add-dynamic-module="$module" \
        --builddir="$build") >"$build/configure.log" 2>&1; then
        tail -n 20 "$build/configure.log" >&2
        echo "configuring nginx failed: see $build/configure.log" >&2
        exit 1
    fi
    printf %s "$stamp" >"$build/flags"
fi

make -s -f "$build/Makefile" -C "$source" modules
cp "$build/$(basename "$output")" "$output.tmp"
mv "$output.tmp" "$output"
