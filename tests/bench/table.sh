#!/usr/bin/env bash
# What the table costs in bytes and in ClickHouse's processor time, with changes of
# it: tests/bench/table.sh [--rows N] [--batches N] [--rounds N] [--sorted]
# [--strings] [CHANGE ...]
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=tests/env/engine.sh
. "$root/tests/env/engine.sh"
exec /usr/bin/python3 "$root/tests/bench/table.py" "$@"
