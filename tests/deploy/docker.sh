#!/usr/bin/env bash
# Builds the images and runs docker/compose.yaml for real: who can reach whom,
# what the containers may do, and that events posted at the edge arrive exactly
# once while containers are killed (compose.py).
#
#   tests/deploy/docker.sh                       images built here
#   tests/deploy/docker.sh --release FILE        those of a release.json
#
# The engine is that of DOCKER_HOST, on this machine or not; without DOCKER_HOST
# one is started where none runs and this is root. Exit status: 0 all passed, 1
# something failed, 77 could not be tried here.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)

skip() {
    echo "SKIP  docker: $1"
    exit 77
}

release=
case ${1-} in
'') ;;
--release) release=${2?the file release.json} ;;
*) echo "usage: tests/deploy/docker.sh [--release FILE]" >&2 && exit 2 ;;
esac

for tool in docker docker-compose; do
    command -v $tool >/dev/null || skip "no $tool (tools/install-deps.sh deploy)"
done

if [ -n "${DOCKER_HOST-}" ]; then
    docker info >/dev/null || exit 1
elif ! docker info >/dev/null 2>&1; then
    command -v dockerd >/dev/null || skip "no dockerd (tools/install-deps.sh deploy)"
    [ "$(id -u)" = 0 ] || skip "the Docker engine does not run, and starting it needs root"
    dir=$(mktemp -d)
    export DOCKER_HOST=unix://$dir/docker.sock
    dockerd --data-root "$dir/data" --exec-root "$dir/exec" --pidfile "$dir/pid" \
        --host "$DOCKER_HOST" >"$dir/log" 2>&1 &
    engine=$!
    trap 'kill $engine 2>/dev/null; wait $engine 2>/dev/null || true; rm -rf "$dir"' EXIT
    for _ in $(seq 300); do
        docker info >/dev/null 2>&1 && break
        kill -0 $engine 2>/dev/null || skip "the Docker engine does not start here: $(tail -n 1 "$dir/log")"
        sleep 0.1
    done
    docker info >/dev/null 2>&1 || skip "the Docker engine does not answer"
fi

if [ -z "$release" ]; then
    "$here/images.sh"
else
    for name in broker edge clickhouse; do
        image=$(jq -re ".${name}_image" "$release")
        docker pull -q "$image"
        docker tag "$image" "logbroker/$name:latest"
    done
fi
/usr/bin/python3 "$here/compose.py"
