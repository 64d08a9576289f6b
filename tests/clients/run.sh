#!/usr/bin/env bash
# Real clients of OpenTelemetry and Elasticsearch, as on docs/senders.md, against
# a real broker and ClickHouse. They are installed below build/clients at the
# versions of requirements.txt, package.json and go/go.mod here; what cannot be
# installed is skipped by name. --quick leaves out the kills, and Go, whose
# clients take minutes to build the first time.
# Ends with one line: N passed, N failed, N skipped
set -uo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1

quick=
case ${1-} in
'') ;;
--quick) quick=1 ;;
*) echo "usage: tests/clients/run.sh [--quick]" >&2 && exit 2 ;;
esac

here=tests/clients
there=build/clients
mkdir -p "$there"

# current FILE...: these made what is installed
current() {
    local file
    for file in "$@"; do
        cmp -s "$here/$file" "$there/$file" || return 1
    done
}

python_clients() {
    current requirements.txt && return
    rm -rf "$there/venv"
    timeout 120 /usr/bin/python3 -m venv "$there/venv" &&
        timeout 300 "$there/venv/bin/pip" install -q -r "$here/requirements.txt" &&
        cp "$here/requirements.txt" "$there/"
}

js_clients() {
    command -v npm >/dev/null || return 1
    current package.json && return
    rm -rf "$there/npm"
    mkdir -p "$there/npm"
    cp "$here/package.json" "$there/npm/"
    timeout 300 npm install --prefix "$there/npm" --silent --omit=dev --no-audit --no-fund --ignore-scripts &&
        cp "$here/package.json" "$there/"
}

go_clients() {
    mkdir -p "$there/go" && cp "$here/go/go.mod" "$there/go/" || return 1
    (cd "$there/go" && timeout 300 go mod download) && cp "$here/go/go.sum" "$there/go/"
}

# install WHAT DIRECTORY COMMAND: without it, or half of it, the tests skip
install() {
    echo "== $1"
    "$3" && return
    echo "skipped: the clients in $1 cannot be installed here"
    rm -rf "${there:?}/$2"
}

install Python venv python_clients
install JavaScript npm js_clients
if [ -z "$quick" ]; then
    install Go go go_clients
else
    rm -rf "${there:?}/go"
fi

exec /usr/bin/python3 - "$quick" <<'EOF'
import sys

import pytest


class Count:
    def __init__(self):
        self.of = {"passed": 0, "failed": 0, "skipped": 0}

    def pytest_runtest_logreport(self, report):
        if report.when == "call" or report.outcome != "passed":
            self.of[report.outcome] += 1


count = Count()
options = ["-q", "-p", "no:cacheprovider", "-rs", "tests/clients"]
if sys.argv[1]:
    options += ["-k", "not killed"]
status = pytest.main(options, plugins=[count])
print(", ".join(f"{n} {what}" for what, n in count.of.items()))
sys.exit(count.of["failed"] > 0 or status not in (0, 5))
EOF
