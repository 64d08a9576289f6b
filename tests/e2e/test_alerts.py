"""The rules of Prometheus: each alert is told about in the run-book, is seen
firing and quiet by promtool, and asks for metrics that are served.  That each
comes to somebody is shown by tests/deploy/alerts.sh."""

import re
import shutil
import subprocess

import pytest

from env.broker import Broker
from env.build import ROOT
from env.clickhouse import ClickHouse
from env.edge import Edge
from env.http import PROMETHEUS, get, metrics
from env.process import wait_for

CONF = ROOT / "conf/prometheus"
RULES = (CONF / "logbroker.rules.yml").read_text()
ALERTS = re.findall(r"alert: (\w+)", RULES)
# of engines with replicas, of figures the embedded one does not make, of timers
NOT_HERE = {"ClickHouseAsyncMetrics_MaxPartCountForPartition",
            "ClickHouseAsyncMetrics_ReplicasMaxAbsoluteDelay",
            # tools/clickhouse/backup.sh metrics, by the node exporter
            "logbroker_backup_newest_timestamp_seconds"}


@pytest.mark.skipif(not shutil.which("promtool"), reason="no promtool")
@pytest.mark.parametrize("command", [
    ["check", "rules", "logbroker.rules.yml"],
    ["test", "rules", "logbroker.test.yml"],
    ["check", "config", "--syntax-only", "prometheus.yml"]])
def test_promtool(command):
    p = subprocess.run(["promtool", *command], cwd=CONF, text=True,
                       capture_output=True, check=False)
    assert p.returncode == 0, p.stdout + p.stderr


def test_each_is_tested():
    text = (CONF / "logbroker.test.yml").read_text()
    cases = re.findall(r"alertname: (\w+)\n +eval_time: \w+\n +exp_alerts:"
                       r"( \[\])?", text)
    assert {name for name, quiet in cases if not quiet} == set(ALERTS)


def test_each_is_in_the_run_book():
    text = (ROOT / "docs/operations.md").read_text()
    told = {name for line in re.findall(r"^### (.*)", text, re.M)
            for name in re.findall(r"Logbroker\w+", line)}
    assert told == set(ALERTS)


def test_metrics_are_served(tmp_path):
    with ClickHouse(tmp_path / "clickhouse") as server:
        broker = Broker(tmp_path / "broker", [server.url], workers=1).start()
        edge = Edge(tmp_path / "edge", [broker.port])
        try:
            text = wait_for(lambda: (t := get(
                broker.port, accept=PROMETHEUS)[1]) and
                "logbroker_exactly_once " in t and t, 30, "figures")
            text += get(edge.figures, "/metrics")[1]
            text += get(server.port, "/metrics")[1]
            served = {re.sub(r"\{.*", "", name) for name in metrics(text)}
        finally:
            edge.stop()
            broker.stop()
    asked = set()
    for expr in re.findall(r"expr: (.*)", RULES):
        asked |= set(re.findall(r"\b(?:logbroker|ClickHouse)\w+_\w+", expr))
    assert len(asked) > 20
    assert asked - served == NOT_HERE
