#!/usr/bin/env bash
# Checks .gitlab-ci.yml: its structure against GitLab's schema, which jobs run
# when, that no image is without a fixed version and no secret in any file. Then
# runs jobs that need no cloud; the one that pushes images gets a registry on
# this machine in the place of Yandex's.
#
#   tests/deploy/ci.sh            all
#   tests/deploy/ci.sh --quick    without images
#
# Exit status: 0 all passed, 1 something failed, 77 could not be tried here.
set -uo pipefail

quick=
case ${1-} in
'') ;;
--quick) quick=1 ;;
*) echo "usage: tests/deploy/ci.sh [--quick]" >&2 && exit 2 ;;
esac

cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1

skip() {
    echo "SKIP  pipeline: $1"
    exit 77
}

for tool in npx rsync git; do
    command -v $tool >/dev/null || skip "no $tool"
done
root=$PWD
work=$(mktemp -d)
registry=
finish() {
    [ -z "$registry" ] || kill "$registry"
    rm -rf "$work"
}
trap finish EXIT
git archive HEAD | tar -x -C "$work"
cp .gitlab-ci.yml "$work/"
cd "$work" || exit 1
git init -q -b main . && git add .gitlab-ci.yml
git -c user.name=test -c user.email=test@example.com commit -qm test
git remote add origin git@gitlab.example.com:logs/logbroker.git

tool() {
    npx --yes gitlab-ci-local@4.70.0 --no-color "$@" 2>"$work/error"
}

tool --list >"$work/list" || {
    grep -q 'ENOTFOUND\|EAI_AGAIN\|network' "$work/error" && skip "npm cannot be reached"
    cat "$work/list" "$work/error"
    echo "FAIL  pipeline: the structure"
    exit 1
}
echo "ok    structure"

failed=0
# jobs WHAT EXPECTED VARIABLE...
jobs() {
    local what=$1 expected=$2 got
    shift 2
    got=$(tool --list-csv "${@/#/--variable=}" | grep ';' | tail -n +2 | sed 's/;.*//; s/"//g; s/: \[.*//' | sort -u | tr '\n' ' ')
    if [ "$got" = "$expected " ]; then
        echo "ok    $what"
    else
        failed=1
        printf 'FAIL  %s\n      has    %s\n      wanted %s\n' "$what" "$got" "$expected"
        cat "$work/error"
    fi
}
checks="ansible-check terraform-check tests"
jobs "without a cloud: checks alone" "$checks"
jobs "default branch: everything, to the smoke test" \
    "ansible-check images infrastructure plan rollback rollout smoke terraform-check tests" \
    YC_REGISTRY=cr.yandex/x YC_TERRAFORM_KEY=key
jobs "no registry yet: infrastructure, no roll-out" \
    "ansible-check infrastructure plan terraform-check tests" YC_TERRAFORM_KEY=key
jobs "a runner that may run containers: compose too" \
    "ansible-check compose-check terraform-check tests" LOGBROKER_PRIVILEGED_RUNNER=yes

manual() {
    tool --list-csv --variable=YC_TERRAFORM_KEY=key --variable=YC_REGISTRY=cr.yandex/x --variable=LOGBROKER_ROLLOUT="$1" |
        sed 's/"//g' | awk -F';' '$1 == "rollout" || $1 == "infrastructure" {print $4}' | sort -u
}
if [ "$(manual auto)" = on_success ] && [ "$(manual manual)" = manual ]; then
    echo "ok    LOGBROKER_ROLLOUT=manual waits for a person"
else
    failed=1
    echo "FAIL  LOGBROKER_ROLLOUT: auto $(manual auto), manual $(manual manual)"
fi

floating=$(grep -nE '(image|name|_IMAGE|services).*(:latest|[a-z]+/[a-z]+)$' "$root/.gitlab-ci.yml" | grep -v '\$')
if [ -z "$floating" ]; then
    echo "ok    every image has a version"
else
    failed=1
    echo "FAIL  no version: $floating"
fi

# Keys and tokens of Yandex Cloud and private keys, and files that hold secrets
# or settings of one's own.
secret='BEGIN [A-Z ]*PRIVATE KEY-----(\\n|$)|\b(YCA[JM]|YC[NOP]|AQVN)[A-Za-z0-9_-]{21,}|\bt1\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{40,}|\by[0-3]_[A-Za-z0-9_-]{40,}'
found=$(
    git -C "$root" grep -IlE "$secret" -- . ':!tests/deploy/ci.sh'
    git -C "$root" ls-files | grep -E '(^|/)(vault\.yml|inventory\.json)$|\.(tfvars|tfbackend|tfstate|pem|key|p12)$'
)
if [ -z "$found" ]; then
    echo "ok    no file holds a secret"
else
    failed=1
    echo "FAIL  secrets in: $found"
fi

# runs JOB VARIABLE...: the job passes on this machine
runs() {
    local job=$1
    shift
    if tool --force-shell-executor "$job" "${@/#/--variable=}" >"$work/job" 2>&1; then
        echo "ok    job $job"
    else
        failed=1
        echo "FAIL  job $job"
        tail -n 40 "$work/job" "$work/error"
    fi
}

if command -v ansible-lint >/dev/null; then
    runs ansible-check
else
    echo "skip  job ansible-check: no ansible-lint"
fi
if command -v terraform >/dev/null && [ -n "${TERRAFORM_OFFLINE-}" ]; then
    runs terraform-check
else
    echo "skip  job terraform-check: no terraform, or TERRAFORM_OFFLINE is not set"
fi

images() {
    local tag name tags address=127.0.0.1:18700
    "$root/tests/deploy/images.sh" >"$work/images" 2>&1 || {
        tail -n 20 "$work/images"
        return 1
    }
    echo '{"id": "key", "private_key": "of the account that may push"}' >"$work/key.json"
    htpasswd -Bbn json_key "$(cat "$work/key.json")" >"$work/htpasswd"
    cat >"$work/registry.yml" <<EOT
version: 0.1
log: {level: warn}
storage:
  filesystem: {rootdirectory: $work/registry}
http: {addr: "$address", secret: none}
auth:
  htpasswd: {realm: registry, path: $work/htpasswd}
EOT
    docker-registry serve "$work/registry.yml" >"$work/registry.log" 2>&1 &
    registry=$!
    for _ in $(seq 100); do
        curl -s -o /dev/null "http://$address/v2/" && break
        sleep 0.1
    done

    # what the images are made from, where the job's --pull finds it
    export DOCKER_CONFIG=$work/docker
    docker login --username json_key --password-stdin $address <"$work/key.json" >/dev/null 2>&1
    for name in debian:bookworm-20251229-slim logbroker/embedded:latest; do
        docker tag $name "$address/mirror/$name"
        docker push -q "$address/mirror/$name" >/dev/null || return 1
        docker rmi "$address/mirror/$name" >/dev/null
    done

    # this machine's engine serves it, not one in a container
    sed -i '/^  services: \["docker:.*-dind"\]$/d' .gitlab-ci.yml
    runs images "YC_REGISTRY=$address/crp" "YC_REGISTRY_KEY=$work/key.json" \
        "LOGBROKER_BUILD_ARGS=--build-arg BASE=$address/mirror/debian:bookworm-20251229-slim --build-arg SERVER=$address/mirror/logbroker/embedded:latest"
    tag=$(git rev-parse --short=8 HEAD)
    for name in broker edge clickhouse; do
        tags=$(curl -sS -u "json_key:$(cat "$work/key.json")" "http://$address/v2/crp/$name/tags/list")
        if grep -q "\"$tag\"" <<<"$tags" && grep -q '"cache"' <<<"$tags"; then
            echo "ok    $name:$tag is in the registry"
        else
            failed=1
            echo "FAIL  $name:$tag is not in the registry: $tags"
        fi
        docker rmi "$address/crp/$name:$tag" "$address/crp/$name:cache" >/dev/null 2>&1
    done
    docker rmi $address/mirror/debian:bookworm-20251229-slim $address/mirror/logbroker/embedded >/dev/null 2>&1
    if ! grep -rls '"auth":' "$work"/.docker-*; then
        echo "ok    no login is left behind"
    else
        failed=1
        echo "FAIL  a login is left behind"
    fi
}

if [ -z "$quick" ]; then
    if ! docker info >/dev/null 2>&1; then
        echo "skip  job images: the Docker engine does not run"
    elif ! command -v docker-registry >/dev/null || ! command -v htpasswd >/dev/null; then
        echo "skip  job images: no docker-registry or htpasswd (tools/install-deps.sh deploy)"
    elif ! images; then
        failed=1
        echo "FAIL  images"
    fi
fi
exit $failed
