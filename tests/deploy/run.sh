#!/usr/bin/env bash
# All checks of the deployment; each passes, fails or says why it was skipped.
# --quick leaves out those that start containers. Those that wait more than they
# compute run beside the others. Ends with one line:
# N passed, N failed, N skipped
set -uo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1
quick=
[ "${1-}" != --quick ] || quick=1
work=$(mktemp -d)
beside=
trap '[ -z "$beside" ] || kill -INT -- "-$beside" 2>/dev/null; rm -rf "$work"' EXIT

# part NAME COMMAND...
part() {
    local name=$1 begun=$SECONDS status
    shift
    echo "== $name"
    "$@"
    status=$?
    echo "   $name took $((SECONDS - begun)) s"
    echo $status >>"$work/ended"
    [ $status = 0 ] || [ $status = 77 ] || echo "$name failed"
}

# a group of its own, so that whoever ends this ends them too
set -m
{
    part alerts ./alerts.sh ${quick:+--quick}
    [ -n "$quick" ] || part docker ./docker.sh
} >"$work/beside" 2>&1 </dev/null &
beside=$!
set +m
part terraform ./terraform.sh
part guide ./guide.sh
part pipeline ./ci.sh ${quick:+--quick}
wait $beside
beside=
cat "$work/beside"
part ansible ./ansible.sh ${quick:+--quick}

passed=$(grep -cx 0 "$work/ended") skipped=$(grep -cx 77 "$work/ended")
failed=$(($(wc -l <"$work/ended") - passed - skipped))
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
