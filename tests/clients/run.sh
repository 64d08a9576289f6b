#!/usr/bin/env bash
# Real senders, as on docs/senders.md, against a real broker and ClickHouse. They
# are installed below LOGBROKER_CLIENTS_DIR (build/clients) at the versions that
# stand beside this file; what cannot be installed is skipped by name. --quick
# runs those that need no compiler, once each, and some while the broker or
# ClickHouse is killed; without it compilers are at work for minutes the first
# time, and chromium is installed if it is not there.
# Ends with one line: N passed, N failed, N skipped
set -uo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1

quick=
case ${1-} in
'') ;;
--quick) quick=1 ;;
*) echo "usage: tests/clients/run.sh [--quick]" >&2 && exit 2 ;;
esac

here=$PWD/tests/clients
export LOGBROKER_CLIENTS_DIR=${LOGBROKER_CLIENTS_DIR:-$PWD/build/clients}
there=$LOGBROKER_CLIENTS_DIR
mkdir -p "$there"

# Each into its directory, from an empty one.

venv() {
    timeout 120 /usr/bin/python3 -m venv . &&
        timeout 300 bin/pip install -q -r requirements.txt
}

npm() {
    timeout 300 npm install --silent --omit=dev --no-audit --no-fund --ignore-scripts
}

java() {
    timeout 300 mvn -q -B dependency:copy-dependencies -DoutputDirectory=lib
}

rust() {
    mkdir src && echo 'fn main() {}' >src/main.rs && timeout 900 cargo build -q
}

# what the programs import
go() {
    local wanted
    mapfile -t wanted < <(sed -nE 's/^\t"([a-z]+\.[^"]+)"$/\1/p' "$here"/go/*.go "$here/../../docs/senders.md" | sort -u)
    timeout 900 go build "${wanted[@]}"
}

collector() {
    timeout 900 go build -o collector .
}

filebeat() {
    timeout 900 go build -o filebeat .
}

debian() {
    "$here/../env/unpack.sh"
}

chromium() {
    type -P chromium
}

# install NAME WHAT FILE...: these made what is installed
install() {
    local name=$1 what=$2 file=
    shift 2
    for file in "$@"; do
        cmp -s "$here/$file" "$there/$name/$(basename "$file")" || break
        file=
    done
    [ -n "$file" ] || [ ! -f "$there/$name/.installed" ] || return 0
    rm -rf "${there:?}/$name" && mkdir "$there/$name"
    [ $# = 0 ] || cp "${@/#/$here/}" "$there/$name/"
    if (cd "$there/$name" && "$name") >"$there/$name.log" 2>&1; then
        touch "$there/$name/.installed"
    else
        echo "skipped: senders in $what: they cannot be installed here ($there/$name.log)"
    fi
}

[ -n "$quick" ] || tools/install-deps.sh browser || true

install venv Python requirements.txt &
install npm JavaScript package.json &
install debian "packages of Debian" ../../packages.txt &
install chromium "a browser"
if [ -z "$quick" ]; then
    install java Java java/pom.xml &
    install go Go go/go.mod go/go.sum &
    install rust Rust rust/Cargo.toml &
    install filebeat Filebeat filebeat/go.mod filebeat/go.sum filebeat/main.go &
    install collector "a Collector" collector/go.mod collector/go.sum collector/main.go &
fi
wait

exec /usr/bin/python3 - "$quick" <<'END'
import sys

import pytest


class Count:
    def __init__(self):
        self.of = {"passed": 0, "failed": 0, "skipped": 0}

    def pytest_runtest_logreport(self, report):
        if report.when == "call" or report.outcome != "passed":
            self.of[report.outcome] += 1


count = Count()
options = ["-q", "-p", "no:cacheprovider", "-rs", "-n", "3", "tests/clients"]
if sys.argv[1]:
    options += ["-m", "quick"]
status = pytest.main(options, plugins=[count])
print(", ".join(f"{n} {what}" for what, n in count.of.items()))
sys.exit(count.of["failed"] > 0 or status not in (0, 5))
END
