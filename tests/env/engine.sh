# shellcheck shell=bash
# Sourced by what needs an embedded ClickHouse and no more: root is the checkout.
# shellcheck disable=SC2154
"$root/tools/install-deps.sh" build quickstart test >/dev/null
"$root/tools/clickhouse/clickhouse.sh" --fetch
if ! [ -x "$root/build/tools/logbroker-chserver" ]; then
    cmake -S "$root" -B "$root/build" >/dev/null
    cmake --build "$root/build" -j "$(nproc)" --target logbroker-chserver >/dev/null
fi
