#!/usr/bin/env bash
# Monitoring. First what compose and Ansible give Prometheus and Grafana
# (test_monitoring.py). Then everything goes wrong that there is an alert for,
# until each has come to somebody, by a real Prometheus, Alertmanager, node
# exporter and blackbox exporter (test_alerts.py; two minutes).
#
#   tests/deploy/alerts.sh            all
#   tests/deploy/alerts.sh --quick    the first alone
#
# Exit status: 0 passed, 1 failed, 77 it could not be tried.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)

skip() {
    echo "SKIP  alerts: $1"
    exit 77
}

/usr/bin/python3 -c "import yaml, pytest" 2>/dev/null || skip "no python3-yaml"
/usr/bin/python3 -m pytest -q --tb=short -p no:cacheprovider "$here/test_monitoring.py" || exit 1
[ "${1-}" != --quick ] || exit 0

[ "$(id -u)" = 0 ] || skip "file systems are mounted, which needs root"
for tool in prometheus prometheus-alertmanager prometheus-node-exporter \
    prometheus-blackbox-exporter mkfs.ext4 openssl python3; do
    command -v $tool >/dev/null || skip "no $tool (tools/install-deps.sh deploy)"
done
[ -f "${LB_BUILD:-$here/../../build}/ngx_http_logbroker_module.so" ] ||
    skip "nothing is built"

/usr/bin/python3 -m pytest -q --tb=short -p no:cacheprovider "$here/test_alerts.py"
