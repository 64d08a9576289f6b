#!/usr/bin/env bash
# Checks ansible/: syntax, lint and the settings of replicas, then, where docker can run, a whole life on
# throw-away machines (test_hosts.py).
#
#   tests/deploy/ansible.sh            all
#   tests/deploy/ansible.sh --quick    syntax and lint alone
#
# The machines run the images that images.sh builds.
#
# Exit status: 0 all passed, 1 something failed, 77 nothing or only the quick
# part could be tried.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
root=$(cd "$here/../.." && pwd -P)
quick=
case ${1-} in
'') ;;
--quick) quick=1 ;;
*) echo "usage: tests/deploy/ansible.sh [--quick]" >&2 && exit 2 ;;
esac

skip() {
    echo "SKIP  ansible: $1"
    exit 77
}

for tool in ansible-playbook ansible-lint; do
    command -v $tool >/dev/null || skip "no $tool (tools/install-deps.sh deploy)"
done

failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# check NAME COMMAND...
check() {
    local name=$1
    shift
    if "$@" >"$log" 2>&1; then
        echo "ok    $name"
    else
        failed=1
        echo "FAIL  $name"
        sed 's/^/      /' "$log"
    fi
}

cd "$root/ansible" || exit 1
check "syntax" ansible-playbook -i inventory.example.yml --syntax-check \
    site.yml rollback.yml uninstall.yml reboot.yml resize.yml
check "lint, production profile" ansible-lint --nocolor
check "a forgotten password is noticed" bash -c '
    ! out=$(ansible-playbook -i inventory.example.yml site.yml --tags none \
        -e logbroker_clickhouse_password= 2>&1) &&
    grep -q "must have at least 16 characters" <<<"$out"'
check "a floating tag is noticed" bash -c '
    ! out=$(ansible-playbook -i inventory.example.yml site.yml --tags none \
        -e logbroker_version=latest 2>&1) && grep -q "must be fixed tags" <<<"$out"'
check "senders of the vault" /usr/bin/python3 -m pytest -q --tb=short -p no:cacheprovider "$here/test_senders.py"
check "replicas of ClickHouse" /usr/bin/python3 -m pytest -q --tb=short -p no:cacheprovider "$here/test_cluster.py"
[ $failed = 0 ] || exit 1
[ -z "$quick" ] || exit 0

[ "$(id -u)" = 0 ] || skip "the machines of the test need root"
for tool in docker docker-registry htpasswd ip iptables losetup mkfs.ext4 openssl ssh ssh-keygen python3; do
    command -v $tool >/dev/null || skip "no $tool (tools/install-deps.sh deploy)"
done
docker info >/dev/null 2>&1 || skip "the Docker engine does not run"

/usr/bin/python3 -m pytest -v -s --tb=short -p no:cacheprovider "$here/test_hosts.py"
