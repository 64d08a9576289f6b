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
work=$(mktemp -d)
log=$work/log
trap 'rm -rf "$work"' EXIT

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

# A run that reaches no machine fails, whatever the playbook and the reason; here
# as in a folder that anyone may write to, where Ansible takes no ansible.cfg.
nobody() {
    local book limit out failed=0
    # reached ARGUMENT...: in a way that must not be a success
    reached() {
        if out=$(ansible-playbook "$book" "$@" -e confirm=yes -e logbroker_senders=anyone \
            -e logbroker_clickhouse_password=0123456789abcdef 2>&1) ||
            grep -q UNREACHABLE <<<"$out"; then
            failed=1
            echo "$book $*"
            tail -n 5 <<<"$out"
        fi
    }
    printf 'all: {children: {inside: {children: {edge: {}, broker: {}, clickhouse: {}}}}}\n' >"$work/empty.yml"
    for book in *.yml; do
        [ "$book" != guard.yml ] && [ "$book" != inventory.example.yml ] || continue
        reached
        reached -i "$work/nosuch.json"
        reached -i "$work/empty.yml"
        reached -i localhost,
        for limit in localhost,jump jump broker-1,nosuch; do
            [ "$book $limit" = "site.yml jump" ] || reached -i inventory.example.yml --limit "$limit"
        done
        for limit in $(sed -n 's/^    guard_groups: \[\(.*\)\]$/\1/p' "$book" | tr -d ,); do
            python3 -c '
import sys, yaml
book = yaml.safe_load(open("inventory.example.yml"))
inside = book["all"]["children"]["inside"]["children"]
for group in inside if sys.argv[1] == "inside" else [sys.argv[1]]:
    inside[group] = {}
yaml.safe_dump(book, sys.stdout)' "$limit" >"$work/without.yml"
            reached -i "$work/without.yml"
        done
    done
    return $failed
}
export -f nobody
export work
check "no playbook is well with no machine" bash -c ': >$work/none.cfg && export ANSIBLE_CONFIG=$work/none.cfg && nobody'
check "a tag that names nothing is noticed" bash -c '
    ! out=$(ansible-playbook -i inventory.example.yml site.yml --tags brokr 2>&1) &&
    grep -q "names nothing: site.yml has common" <<<"$out"'
check "a forgotten password is noticed" bash -c '
    ! out=$(ansible-playbook -i inventory.example.yml site.yml --tags common \
        -e logbroker_clickhouse_password= 2>&1) &&
    grep -q "must have at least 16 characters" <<<"$out"'
check "a floating tag is noticed" bash -c '
    ! out=$(ansible-playbook -i inventory.example.yml site.yml --tags common \
        -e logbroker_version=latest 2>&1) && grep -q "must be fixed tags" <<<"$out"'
check "senders of the vault" /usr/bin/python3 -m pytest -q --tb=short -p no:cacheprovider \
    ${quick:+-k "page or clear"} "$here/test_senders.py"
check "readers with a certificate" /usr/bin/python3 -m pytest -q --tb=short -p no:cacheprovider "$here/test_readers.py"
check "TLS to the brokers" /usr/bin/python3 -m pytest -q --tb=short -p no:cacheprovider "$here/test_broker_tls.py"
check "ACME without a name, or with several edges, is noticed" bash -c '
    d=$(mktemp -d) && trap "rm -rf $d" EXIT
    echo "edge-9 logbroker_address=192.0.2.9 logbroker_node_index=0 logbroker_node_count=0" |
        sed "1i[edge]" >"$d/more"
    for set in "{\"logbroker_tls_names\":[]} -i inventory.example.yml" \
        "logbroker_tls_names=a.example -i inventory.example.yml -i $d/more"; do
        # shellcheck disable=SC2086
        ! out=$(ansible-playbook site.yml --tags common -e logbroker_version=9.9.9 -e logbroker_tls=acme -e logbroker_senders=anyone \
            -e logbroker_clickhouse_password=0123456789abcdef -e $set 2>&1) &&
            grep -q "acme needs logbroker_tls_names" <<<"$out" || { echo "$out"; exit 1; }
    done'
check "a bucket without a key is noticed" bash -c '
    ! out=$(ansible-playbook -i inventory.example.yml site.yml --tags common -e logbroker_version=9.9.9 \
        -e "logbroker_clickhouse_password=0123456789abcdef" \
        -e logbroker_backup_endpoint=https://storage.yandexcloud.net/bucket/ 2>&1) &&
    grep -q "needs logbroker_backup_key_id" <<<"$out"'
check "replicas of ClickHouse" /usr/bin/python3 -m pytest -q --tb=short -p no:cacheprovider "$here/test_cluster.py"
[ $failed = 0 ] || exit 1
[ -z "$quick" ] || exit 0

[ "$(id -u)" = 0 ] || skip "the machines of the test need root"
for tool in docker docker-registry htpasswd ip iptables losetup mkfs.ext4 openssl ssh ssh-keygen python3; do
    command -v $tool >/dev/null || skip "no $tool (tools/install-deps.sh deploy)"
done
docker info >/dev/null 2>&1 || skip "the Docker engine does not run"

/usr/bin/python3 -m pytest -v -s --tb=short -p no:cacheprovider "$here/test_hosts.py"
