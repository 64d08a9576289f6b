#!/usr/bin/env bash
# unpack.sh: the packages of the group `unpacked` into this directory, rather than
# installed: they would replace the machine's own syslog.
set -euo pipefail

list=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/packages.txt
sed -n 's/^unpacked  *//p' "$list" | xargs timeout 200 apt-get download -q
for package in *.deb; do
    dpkg -x "$package" .
done
rm -- *.deb
