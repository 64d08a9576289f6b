#!/usr/bin/env bash
# Builds the images and runs docker/compose.yaml for real: who can reach whom,
# what the containers may do, and that events posted at the edge arrive exactly
# once while containers are killed (compose.py).
#
# Starts a Docker engine for itself where none runs and this is root. Exit
# status: 0 all passed, 1 something failed, 77 could not be tried here.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)

skip() {
    echo "SKIP  docker: $1"
    exit 77
}

for tool in docker docker-compose dockerd; do
    command -v $tool >/dev/null || skip "no $tool (tools/install-deps.sh deploy)"
done

if ! docker info >/dev/null 2>&1; then
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

"$here/images.sh"
/usr/bin/python3 "$here/compose.py"
