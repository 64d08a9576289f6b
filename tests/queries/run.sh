#!/usr/bin/env bash
# How long the questions of docs/queries.md take on so many rows, in a real
# ClickHouse: tests/queries/run.sh [--rows N] [--days N] [--times N], then of the
# same rows so many times over.  10000000 take about 2 GB of disk.
# "run.sh resources" compares types for a column of resources, "run.sh explore"
# measures the page of the logs.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=tests/env/engine.sh
. "$root/tests/env/engine.sh"
what=queries
case ${1:-} in
resources | explore)
    what=$1
    shift
    ;;
esac
exec /usr/bin/python3 "$root/tests/queries/$what.py" "$@"
