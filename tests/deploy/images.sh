#!/usr/bin/env bash
# images.sh [TAG]: builds the images logbroker/broker, logbroker/edge and
# logbroker/clickhouse (tag: latest) on a machine that can pull none: the base
# is made by debootstrap, and the server in logbroker/clickhouse is ClickHouse's
# engine as a library (logbroker/embedded).
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
tag=${1:-latest}
# one at a time: whoever comes second finds everything made
mkdir -p build
exec 8>build/images.lock
flock 8
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

# build NAME DOCKERFILE CONTEXT [BUILD_ARGUMENT...]
build() {
    local name=$1 file=$2 context=$3 log
    shift 3
    log=$(mktemp)
    echo "building logbroker/$name"
    docker build --build-arg BASE=$base --build-arg "WEEK=$(date +%G-%V)" "${@/#/--build-arg=}" -f "$file" \
        -t "logbroker/$name:$tag" "$context" >"$log" 2>&1 || {
        tail -n 30 "$log" >&2
        exit 1
    }
    rm -f "$log"
}

build broker docker/broker/Dockerfile .
build edge docker/edge/Dockerfile .

context=build/images/embedded
library=${LOGBROKER_CHDB_DIR:-build/chdb}/node_modules/@chdb/lib-linux-x64-gnu/libchdb.so
tools/clickhouse/clickhouse.sh --fetch
cmake -S . -B build >/dev/null
cmake --build build -j "$(nproc)" --target logbroker-chserver >/dev/null
rm -rf $context
mkdir -p $context
cp build/tools/logbroker-chserver $context/
ln "$library" $context/ 2>/dev/null || cp "$library" $context/
build embedded docker/clickhouse/embedded.Dockerfile $context
rm -rf $context
build clickhouse docker/clickhouse/Dockerfile . "SERVER=logbroker/embedded:$tag"

# look NAME: what must not be in an image is not, and what it says of itself
look() {
    local image=logbroker/$1:$tag
    docker run --rm --network none --user 0 --entrypoint sh "$image" -c '
        found=$(find / -xdev -type f -perm /6000; ls /usr/bin/*perl* /usr/bin/apt* /usr/bin/passwd /bin/mount 2>/dev/null)
        [ -z "$found" ] || { echo "must not be there: $found"; exit 1; }
        grep -q "^Package: libc6$" /var/lib/dpkg/status || { echo "no list of packages"; exit 1; }
        ! grep -qE "^Package: (perl.*|apt|login|passwd|mount)$" /var/lib/dpkg/status || { echo "the list of packages is not true"; exit 1; }' || exit 1
    [ "$(docker inspect -f '{{index .Config.Labels "org.opencontainers.image.title"}}' "$image")" = "logbroker/$1" ] ||
        { echo "$image: no labels"; exit 1; }
    docker/inventory.py sbom "$image" >"build/$1.cdx.json" || exit 1
}

for name in broker edge clickhouse; do
    look $name
done
