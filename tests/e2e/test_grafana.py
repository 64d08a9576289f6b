"""The dashboards ask for metrics there are, and for SQL that ClickHouse
takes."""

import json
import re
import urllib.parse

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


def percent(value):
    """Grafana's format percentencode."""
    return urllib.parse.quote(value, safe="-_.~")


def quoted(*values):
    """Grafana's format sqlstring."""
    return ",".join("'" + v.replace("'", "''") + "'" for v in values)


def plain(sql, search="", service=("shop",)):
    """As Grafana fills it in, everything chosen."""
    now = "now()"
    for name, value in (
            (r"\$__timeFilter\((\w+)\)",
             r"\1 >= now() - INTERVAL 1 HOUR AND \1 <= now() + 1"),
            (r"\$__timeInterval\((\w+)\)",
             r"toStartOfInterval(\1, INTERVAL 60 second)"),
            (r"\$__fromTime", f"({now} - INTERVAL 1 HOUR)"),
            (r"\$__toTime", f"({now} + 1)"),
            (r"\$\{stream:sqlstring\}", quoted("default")),
            (r"\$\{service:sqlstring\}", quoted(*service)),
            (r"\$\{level:sqlstring\}", quoted("error", "info")),
            (r"\$\{search:percentencode\}", percent(search))):
        sql = re.sub(name, value.replace("\\", "\\\\")
                     if "{" in name else value, sql)
    assert "$" not in sql, sql
    return sql


def ask(server, sql):
    return [json.loads(x) for x in server.query(
        sql + " FORMAT JSONEachRow").splitlines()]


def statements():
    return {p["title"]: t["rawSql"] for p in panels("logs")[1]
            for t in p["targets"]}


def test_logs(delivered):
    server, _ = delivered
    rows = {title: ask(server, plain(sql))
            for title, sql in statements().items()}
    assert sum(int(r["events"]) for r in rows["Events by level"]) == 2
    assert {r["body"] for r in rows["Events"]} == {
        "order 17 failed", "order 18 paid"}
    assert rows["Loudest services"][0]["errors"] in (1, "1")
    assert [r["shape"] for r in rows["Commonest errors"]] == ["order N failed"]
    assert len(rows["Audit"]) == 1
    for variable in panels("logs")[0]["templating"]["list"]:
        if variable["type"] == "query":
            assert server.query(variable["query"])


SEARCHES = {
    "Оплата не прошла: O'Brien": ["ОПЛАТА", "прошл", "O'B", "o'brien", "'"],
    r"C:\temp\ is full (100%)": ["\\", "TEMP\\", "100%", "(1"],
    'a "quoted" $__word + {brace}': ['"', "$__w", "+ {", "$__timeFilter(x)"],
    "Ёлка – straße": ["ёЛКА", "–", "STRA", " – s"],
}


def test_any_search(delivered):
    """What is typed is looked for as it is, in any alphabet and case, and
    breaks no statement."""
    server, broker = delivered
    for message in SEARCHES:
        assert post(broker.port, json.dumps(
            {"service": "words", "level": "info", "message": message}
        ).encode())[0] == 204
    wait_for(broker.drained, 60, "delivery", every=0.1)
    sql = statements()
    for message, words in SEARCHES.items():
        for word in words:
            found = [r["body"] for r in ask(server, plain(
                sql["Events"], word, ("words",)))]
            expected = [m for m in SEARCHES if word.lower() in m.lower()]
            assert sorted(found) == sorted(expected), word
            counted = ask(server, plain(sql["Events by level"], word,
                                        ("words",)))
            assert sum(int(r["events"]) for r in counted) == len(expected)


def test_any_service(delivered):
    """Names are chosen as the list of the variable has them."""
    server, broker = delivered
    names = {"O'Brien & Co", "back\\slash\\", "счёт", 'x"y'}
    for name in names:
        assert post(broker.port, json.dumps(
            {"service": name, "level": "info", "message": "named"}
        ).encode())[0] == 204
    wait_for(broker.drained, 60, "delivery", every=0.1)
    query = next(v["query"] for v in panels("logs")[0]["templating"]["list"]
                 if v["name"] == "service")
    chosen = [r["service"] for r in ask(server, query)]
    for title, sql in statements().items():
        rows = ask(server, plain(sql, service=chosen))
        if title == "Loudest services":
            assert names <= {r["service"] for r in rows}


@pytest.mark.parametrize("title", sorted(statements()))
def test_reads_no_more_than_the_time_shown(delivered, title):
    """Each statement leaves out the partitions of other days: Grafana asks it
    again twice a minute."""
    server, _ = delivered
    # a day of long ago
    server.query("INSERT INTO logbroker.logs (timestamp, received_at, stream, "
                 "seq) SELECT now() - INTERVAL 20 DAY, now() - INTERVAL 20 "
                 "DAY, 'old', number FROM numbers(10)")
    plan = server.query("EXPLAIN indexes = 1 " + plain(statements()[title]))
    parts = re.search(r"(?:Min-?Max|Partition)\n.*?Parts: (\d+)/(\d+)", plan,
                      re.S)
    assert parts and int(parts[1]) < int(parts[2]), plan


def test_audit_of_a_time(delivered):
    """What is missing within the time, twice, or only beyond its edges."""
    server, _ = delivered
    ring = "00000000-0000-0000-0000-0000000000aa"
    server.query(
        "INSERT INTO logbroker.logs (received_at, broker, ring, seq) SELECT "
        "now() - INTERVAL 70 MINUTE + INTERVAL number SECOND, 'b', "
        f"'{ring}', number FROM numbers(4000) WHERE number NOT IN (3000, 3001, "
        "100)")
    server.query("INSERT INTO logbroker.logs (received_at, broker, ring, seq) "
                 f"VALUES (now() - INTERVAL 5 MINUTE, 'b', '{ring}', 3500)")
    row = next(r for r in ask(server, plain(statements()["Audit"]))
               if r["ring"] == ring)
    assert (int(row["gaps"]), int(row["duplicates"])) == (2, 1)
    assert int(row["first_seq"]) in range(595, 606)
    assert int(row["last_seq"]) == 3999
