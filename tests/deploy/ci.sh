#!/usr/bin/env bash
# Checks .gitlab-ci.yml: its structure against GitLab's schema, that no image is
# without a fixed version and no secret in any file; which jobs run when, and
# what they do in a checkout as a runner makes it (test_jobs.py); those that make
# images and try them, with a registry and an engine of their own (test_images.py).
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
trap 'rm -rf "$work"' EXIT
git archive HEAD | tar -x -C "$work"
cp .gitlab-ci.yml "$work/"
cd "$work" || exit 1
git init -q -b main . && git add .gitlab-ci.yml
git -c user.name=test -c user.email=test@example.com commit -qm test
git remote add origin git@gitlab.example.com:logs/logbroker.git

tool() {
    npx --yes gitlab-ci-local@4.70.0 --no-color --evaluate-rule-changes=false "$@" 2>"$work/error"
}

tool --list >"$work/list" || {
    grep -q 'ENOTFOUND\|EAI_AGAIN\|network' "$work/error" && skip "npm cannot be reached"
    cat "$work/list" "$work/error"
    echo "FAIL  pipeline: the structure"
    exit 1
}
echo "ok    structure"

failed=0
echo "-- which jobs run, and what they do on a runner"
/usr/bin/python3 -m pytest -q --tb=short -p no:cacheprovider "$root/tests/deploy/test_jobs.py" || failed=1

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

if [ -z "$quick" ]; then
    echo "-- images"
    if ! docker info >/dev/null 2>&1; then
        echo "skip  jobs images and images-check: the Docker engine does not run"
    elif ! command -v docker-registry >/dev/null || ! command -v htpasswd >/dev/null; then
        echo "skip  jobs images and images-check: no docker-registry or htpasswd (tools/install-deps.sh deploy)"
    elif ! "$root/tests/deploy/images.sh" >"$work/images" 2>&1; then
        tail -n 20 "$work/images"
        failed=1
    else
        /usr/bin/python3 -m pytest -v --tb=short -p no:cacheprovider "$root/tests/deploy/test_images.py" || failed=1
    fi
fi
exit $failed
