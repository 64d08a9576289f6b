#!/usr/bin/env bash
# Checks .gitlab-ci.yml: its structure against GitLab's schema, which jobs run
# when, and that no image is without a fixed version.
#
# Exit status: 0 all passed, 1 something failed, 77 could not be tried here.
set -uo pipefail

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
jobs "a runner that may run containers: compose too" \
    "ansible-check compose-check terraform-check tests" LOGBROKER_PRIVILEGED_RUNNER=yes

manual() {
    tool --list-csv --variable=YC_TERRAFORM_KEY=key --variable=LOGBROKER_ROLLOUT="$1" |
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
exit $failed
