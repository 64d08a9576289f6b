#!/usr/bin/env bash
# build.sh: Fluent Bit into this directory, as ./fluentbit. Its source comes with
# the npm package of that name: version 1.8.15, of 2022. Only HTTP in and out and
# the queue in files are built; Debian's Oniguruma is in the place of Onigmo, which
# the package leaves out, and which no setting used here needs.
set -euo pipefail

sum=6a986a6007566c0efccc138967c30c4e188c1912901c5a0f97df3c20dae26519d33d8aebcb2c8f946f1cb02dd964e7bfc406206ee059e2663de22f91c8344615

timeout 100 npm pack --silent fluent-bit@0.0.3 >/dev/null
sha512sum --quiet --check <<<"$sum  fluent-bit-0.0.3.tgz"
tar -xzf fluent-bit-0.0.3.tgz package/src/fluent-bit
src=$PWD/package/src/fluent-bit
mkdir -p "$src/lib/onigmo"
cat >"$src/cmake/onigmo.cmake" <<'END'
add_library(libonigmo INTERFACE IMPORTED GLOBAL)
target_link_libraries(libonigmo INTERFACE onig)
END
echo '#include <oniguruma.h>' >"$src/lib/onigmo/onigmo.h"

mapfile -t off < <(sed -nE 's/^option\((FLB_(IN|OUT|FILTER)_[A-Z0-9_]+) .*/-D\1=No/p' "$src/CMakeLists.txt" |
    grep -vxE -e '-DFLB_(IN_HTTP|OUT_HTTP|IN_STORAGE_BACKLOG|IN_EMITTER)=No')
for part in DEBUG EXAMPLES SHARED_LIB LUAJIT AWS SIGNV4 SQLDB CUSTOM_CALYPTIA PROXY_GO BACKTRACE; do
    off+=("-DFLB_$part=No")
done
cmake -S "$src" -B build -DCMAKE_BUILD_TYPE=Release -DFLB_RELEASE=Yes "${off[@]}"
cmake --build build -j "$(nproc)"
mv build/bin/fluent-bit fluentbit
rm -rf build package fluent-bit-0.0.3.tgz
