#!/usr/bin/env bash
# Deliberate breakages in a copy of the tree: which scenario notices which;
# exit 1 if one survives. See --help; --quick is the short form.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
case ${1-} in
--table | --help | -h) ;;
*)
    tools/install-deps.sh build broker edge quickstart test
    tools/clickhouse/clickhouse.sh --fetch
    ;;
esac
exec /usr/bin/python3 tests/faults/mutations.py "$@"
