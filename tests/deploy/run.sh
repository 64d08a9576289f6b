#!/usr/bin/env bash
# All checks of the deployment; each passes, fails or says why it was skipped.
# --quick leaves out those that start containers. Ends with one line:
# N passed, N failed, N skipped
set -uo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1
quick=
[ "${1-}" != --quick ] || quick=1
passed=0 failed=0 skipped=0

# part NAME COMMAND...
part() {
    local name=$1 begun=$SECONDS status
    shift
    echo "== $name"
    "$@"
    status=$?
    echo "   $name took $((SECONDS - begun)) s"
    case $status in
    0) passed=$((passed + 1)) ;;
    77) skipped=$((skipped + 1)) ;;
    *) failed=$((failed + 1)) && echo "$name failed" ;;
    esac
}

part terraform ./terraform.sh
part guide ./guide.sh
part pipeline ./ci.sh ${quick:+--quick}
part alerts ./alerts.sh ${quick:+--quick}
[ -n "$quick" ] || part docker ./docker.sh
part ansible ./ansible.sh ${quick:+--quick}
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
