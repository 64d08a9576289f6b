#!/usr/bin/env bash
# images.sh [TAG]: builds the images logbroker/broker, logbroker/edge and
# logbroker/clickhouse (tag: latest) on a machine that can pull none: the base
# is made by debootstrap, and ClickHouse is its engine as a library.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
tag=${1:-latest}
base=debian:bookworm-20251229-slim

if [ -z "$(docker images -q $base)" ]; then
    if ! docker pull -q $base >/dev/null 2>&1; then
        echo "making $base with debootstrap"
        dir=$(mktemp -d)
        trap 'rm -rf "$dir"' EXIT
        debootstrap --variant=minbase --include=ca-certificates bookworm "$dir/root" >"$dir/log" 2>&1 ||
            { tail -n 5 "$dir/log" >&2; exit 1; }
        rm -rf "$dir"/root/var/cache/apt/*.bin "$dir"/root/var/cache/apt/archives/*.deb
        tar -C "$dir/root" -c . | docker import - $base >/dev/null
    fi
fi

# build NAME DOCKERFILE CONTEXT
build() {
    local log
    log=$(mktemp)
    echo "building logbroker/$1"
    docker build --build-arg BASE=$base -f "$2" -t "logbroker/$1:$tag" "$3" >"$log" 2>&1 || {
        tail -n 30 "$log" >&2
        exit 1
    }
    rm -f "$log"
}

build broker docker/broker/Dockerfile .
build edge docker/edge/Dockerfile .

context=build/images/clickhouse
library=${LOGBROKER_CHDB_DIR:-build/chdb}/node_modules/@chdb/lib-linux-x64-gnu/libchdb.so
tools/clickhouse/clickhouse.sh --fetch
cmake -S . -B build >/dev/null
cmake --build build -j "$(nproc)" --target logbroker-chserver >/dev/null
rm -rf $context
mkdir -p $context
cp -r packages.txt conf docker tools $context/
cp build/tools/logbroker-chserver $context/
ln "$library" $context/ 2>/dev/null || cp "$library" $context/
build clickhouse docker/clickhouse/embedded.Dockerfile $context
rm -rf $context
