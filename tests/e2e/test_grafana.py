"""The dashboards ask for metrics there are, and for SQL that ClickHouse
takes."""

import json
import re

import pytest

from env.broker import Broker
from env.build import ROOT
from env.clickhouse import ClickHouse
from env.http import PROMETHEUS, get, metrics, post
from env.process import wait_for

DASHBOARDS = ROOT / "conf/grafana"


def panels(name):
    dashboard = json.loads((DASHBOARDS / f"{name}.json").read_text())
    assert dashboard["schemaVersion"] >= 36 and dashboard["uid"]
    ids = [p["id"] for p in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    places = set()
    for p in dashboard["panels"]:
        g = p["gridPos"]
        cells = {(x, y) for x in range(g["x"], g["x"] + g["w"])
                 for y in range(g["y"], g["y"] + g["h"])}
        assert g["x"] + g["w"] <= 24 and not places & cells, p["title"]
        places |= cells
    return dashboard, dashboard["panels"]


@pytest.fixture(scope="module")
def delivered(tmp_path_factory):
    base = tmp_path_factory.mktemp("grafana")
    with ClickHouse(base / "clickhouse") as ch:
        broker = Broker(base / "broker", [ch.url], workers=1).start()
        post(broker.port, '{"level":"error","service":"shop",'
             '"message":"order 17 failed"}{"level":"info","service":"shop",'
             '"message":"order 18 paid"}')
        wait_for(broker.drained, 60, "delivery", every=0.1)
        wait_for(lambda: "logbroker_exactly_once" in get(
            broker.port, accept=PROMETHEUS)[1], 30, "figures")
        yield ch, broker
        broker.stop()


def test_service(delivered):
    _, broker = delivered
    served = set(metrics(get(broker.port, accept=PROMETHEUS)[1]))
    served = {re.sub(r"\{.*", "", name) for name in served}
    asked = set()
    dashboard, found = panels("service")
    for panel in found:
        for target in panel["targets"]:
            names = set(re.findall(r"logbroker_\w+", target["expr"]))
            assert names, target
            assert names <= served, (panel["title"], names - served)
            asked |= names
    assert len(asked) > 20
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            assert "logbroker_build_info" in json.dumps(variable)


def plain(sql):
    """As Grafana fills it in, everything chosen."""
    for name, value in (
            (r"\$__timeFilter\((\w+)\)",
             r"\1 >= now() - INTERVAL 1 HOUR AND \1 <= now() + 1"),
            (r"\$__timeInterval\((\w+)\)",
             r"toStartOfInterval(\1, INTERVAL 60 second)"),
            (r"\$\{stream:sqlstring\}", "'default'"),
            (r"\$\{service:sqlstring\}", "'shop'"),
            (r"\$\{level:sqlstring\}", "'error','info'"),
            (r"\$\{search\}", "")):
        sql = re.sub(name, value, sql)
    assert "$" not in sql, sql
    return sql


def test_logs(delivered):
    server, _ = delivered
    rows = {}
    dashboard, found = panels("logs")
    for panel in found:
        for target in panel["targets"]:
            rows[panel["title"]] = [
                json.loads(x) for x in server.query(
                    plain(target["rawSql"]) + " FORMAT JSONEachRow"
                ).splitlines()]
    assert sum(int(r["events"]) for r in rows["Events by level"]) == 2
    assert {r["body"] for r in rows["Events"]} == {
        "order 17 failed", "order 18 paid"}
    assert rows["Loudest services"][0]["errors"] in (1, "1")
    assert [r["shape"] for r in rows["Commonest errors"]] == ["order N failed"]
    assert len(rows["Audit"]) == 1
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            assert server.query(variable["query"])
