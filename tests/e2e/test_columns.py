"""Columns that a table may lack: filled where it has them, in attributes where
it has not, and each event once whenever it gets or loses them."""

import itertools
import json
import random
import re
import signal
import subprocess
import time

import pytest

from env.broker import FAST, figures, settled
from env.build import ROOT
from env.clickhouse import SCRIPTS
from env.door import Door
from env.http import post
from env.oracle import Oracle
from env.process import wait_for

CONF = ROOT / "conf/clickhouse"
MORE = ["span_id", "trace_flags", "severity_number", "event_name", "resource",
        "scope"]

OTLP = json.dumps({"resourceLogs": [{
    "resource": {"attributes": [
        {"key": "service.name", "value": {"stringValue": "pay"}},
        {"key": "host.name", "value": {"stringValue": "h1"}},
        {"key": "zone", "value": {"stringValue": "a"}},
        {"key": "process.pid", "value": {"intValue": "7"}}]},
    "scopeLogs": [{
        "scope": {"name": "lib", "version": "1.2", "attributes": [
            {"key": "k", "value": {"stringValue": "v"}}]},
        "logRecords": [
            {"timeUnixNano": "1772600767123456789", "severityNumber": 18,
             "severityText": "Error", "body": {"stringValue": "boom"},
             "attributes": [{"key": "n", "value": {"intValue": "N"}}],
             "traceId": "5b8efff798038103d269b633813fc60c",
             "spanId": "eee19b7ec3c1b174", "flags": 1,
             "eventName": "payment.failed"},
            {"body": {"stringValue": "plain"}}]}]}]})


def columns(*names):
    return ", ".join(names or MORE)


def old_table(clickhouse, name="logs"):
    """As releases made it that did not know these columns."""
    sql = (CONF / "01-schema.sql").read_text()
    sql = sql[sql.index("CREATE TABLE"):].rstrip().rstrip(";")
    begin = sql.index("    -- What OpenTelemetry")
    sql = sql[:begin] + sql[sql.index("    -- words of a message"):]
    clickhouse.query(f"DROP TABLE IF EXISTS logbroker.{name} SYNC")
    clickhouse.query(sql.replace("logbroker.logs", f"logbroker.{name}"))


def upgrade(clickhouse):
    subprocess.run([SCRIPTS / "apply.sh", clickhouse.url], check=True)


def drop(clickhouse, *names):
    """The columns go, and what stands for them before."""
    aliases = clickhouse.query(
        "SELECT name FROM system.columns WHERE database = 'logbroker' AND "
        "table = 'logs' AND default_kind = 'ALIAS'").split()
    for name in [*aliases, *(names or MORE)]:
        clickhouse.query(f"ALTER TABLE logbroker.logs DROP COLUMN {name}")


def rows(clickhouse, what="*", where="1"):
    return [json.loads(line) for line in clickhouse.query(
        f"SELECT {what} FROM logbroker.logs WHERE {where} ORDER BY ring, seq "
        "FORMAT JSONEachRow").splitlines()]


def send(broker, body, path="/log", headers=None):
    status = post(broker.port, body, path, headers)[0]
    assert status in (200, 204), status


@pytest.fixture
def otlp_broker(make_broker, clickhouse):
    def make(*urls, **kw):
        return make_broker(*(urls or [clickhouse.url]),
                           **{"flusher": FAST,
                              "extra_server": "location /v1/ "
                                              "{ logbroker_otlp; }", **kw})

    return make


def send_otlp(broker, numbers=itertools.count(1)):
    """Another one each time, or it would be taken for the first sent again."""
    body = OTLP.replace('"N"', f'"{next(numbers)}"')
    send(broker, body, "/v1/logs", {"Content-Type": "application/json"})


def test_filled(clickhouse, otlp_broker):
    broker = otlp_broker().start()
    send_otlp(broker)
    wait_for(broker.drained, 30, "delivery", every=0.1)
    boom, plain = rows(clickhouse, "*")
    assert (boom["span_id"], boom["trace_flags"], boom["severity_number"],
            boom["event_name"]) == ("eee19b7ec3c1b174", 1, 18,
                                    "payment.failed")
    assert list(json.loads(boom["attributes"])) == ["n"]
    for row in boom, plain:
        assert (row["service"], row["host"]) == ("pay", "h1")
        assert json.loads(row["resource"]) == {
            "service.name": "pay", "host.name": "h1", "zone": "a",
            "process.pid": 7}
        assert json.loads(row["scope"]) == {"name": "lib", "version": "1.2",
                                            "k": "v"}
    assert (plain["span_id"], plain["trace_flags"], plain["severity_number"],
            plain["event_name"], plain["attributes"]) == ("", 0, 0, "", "{}")
    assert clickhouse.query(
        "SELECT count() FROM logbroker.logs WHERE "
        "JSON_VALUE(resource, '$.\"service.name\"') = 'pay'") == "2\n"


def test_events_as_they_are(clickhouse, otlp_broker):
    """Members of /log by the names that loggers use; what is none stays."""
    broker = otlp_broker().start()
    events = [
        ({"SpanId": "s1", "level": "warn", "TraceFlags": "01"},
         {"span_id": "s1", "severity_number": 13, "trace_flags": 1}),
        ({"traceparent":
          "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
         {"span_id": "00f067aa0ba902b7", "trace_flags": 1,
          "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"}),
        ({"severity_number": 3, "event": {"name": "e"}, "flags": 1},
         {"severity_number": 3, "level": "trace", "event_name": "e",
          "trace_flags": 0, "attributes": '{"flags":1}'}),
        ({"resource": {"service.name": "a", "x": 1}, "scope": {"name": "l"},
          "spanId": "s", "flags": 255},
         {"resource": '{"service.name":"a","x":1}', "service": "a",
          "scope": '{"name":"l"}', "trace_flags": 255, "attributes": "{}"}),
        ({"resource": "disk", "scope": {}, "span_id": 7, "event_name": ""},
         {"resource": "", "attributes": '{"resource":"disk","scope":{},'
                                        '"span_id":7,"event_name":""}'}),
        ({"level": "notice", "mdc": {"span_id": "m", "trace_flags": "00"}},
         {"span_id": "m", "severity_number": 10, "trace_flags": 0,
          "attributes": '{"mdc":{"trace_flags":"00"}}'}),
    ]
    for event, _ in events:
        send(broker, json.dumps(event, separators=(",", ":")))
    wait_for(broker.drained, 30, "delivery", every=0.1)
    # records of two workers' rings
    found = rows(clickhouse, "*", "1")
    assert len(found) == len(events)
    left = list(found)
    for event, want in events:
        same = [r for r in left if all(r[k] == v for k, v in want.items())]
        assert same, (event, want, found)
        left.remove(same[0])


def test_the_table_gets_and_loses_them(clickhouse, otlp_broker):
    """A broker serves the table through it all; what it cannot put into a
    column stays in attributes, and old rows are read as new ones."""
    old_table(clickhouse)
    broker = otlp_broker().start()
    log = (broker.dir / "flusher.log").read_text

    def once(n):
        send_otlp(broker)
        wait_for(broker.drained, 60, "delivery", every=0.1)
        assert clickhouse.query("SELECT count(), uniqExact(ring, seq) FROM "
                                "logbroker.logs FORMAT TSV") == f"{n}\t{n}\n"

    def looked():
        # a table made anew or an error is looked at at once, another in a
        # minute: not this test's subject
        broker.flusher.signal(signal.SIGHUP)

    once(2)
    row = json.loads(rows(clickhouse, "attributes", "message = 'boom'")[0][
        "attributes"])
    assert row["span_id"] == "eee19b7ec3c1b174"
    assert row["severity_number"] == 18
    assert row["resource"]["zone"] == "a" and row["scope"]["name"] == "lib"
    assert "no columns " + columns() in log()

    upgrade(clickhouse)
    before = rows(clickhouse, columns(), "message = 'boom'")
    looked()
    wait_for(lambda: "every column there is something for" in log(), 30,
             "the look")
    once(4)
    after = rows(clickhouse, columns(), "message = 'boom'")
    assert after[:1] == before and len(after) == 2
    # the same, whether made of attributes or sent as they are
    assert after[0] == after[1]
    assert sorted(r["attributes"] for r in rows(
        clickhouse, "attributes", "message = 'plain'"))[-1] == "{}"

    drop(clickhouse, "resource", "span_id")
    once(6)
    assert "has lost columns" in log()
    row = json.loads(max((r["attributes"] for r in rows(
        clickhouse, "attributes", "message = 'boom' AND "
        "received_at = (SELECT max(received_at) FROM logbroker.logs)")),
        key=len))
    assert row["span_id"] == "eee19b7ec3c1b174"
    assert row["resource"]["zone"] == "a" and "scope" not in row
    assert clickhouse.query("SELECT sum(gaps), sum(duplicates) FROM "
                            "logbroker.logbroker_audit FORMAT TSV") == "0\t0\n"


@pytest.mark.parametrize("first", ["flusher", "table"])
def test_upgrade_under_load(clickhouse, otlp_broker, first):
    """Both orders, with kills: the columns come while batches are on their
    way.  For the older flusher stands one that has not looked again: it sends
    what that one sends, and begins again knowing no more."""
    rng = random.Random(first)
    old_table(clickhouse)
    broker = otlp_broker().start()
    wait_for(lambda: figures(broker).get("requests"), what="the look")

    def table():
        wait_for(lambda: rows(clickhouse, "seq", "message = 'boom'"), 60,
                 "something in the old table", every=0.1)
        upgrade(clickhouse)

    def flusher():
        broker.flusher.kill()
        broker.start_flusher()

    def server():
        clickhouse.kill()
        clickhouse.start()

    with Oracle([broker.port], seed=first, threads=2) as oracle:
        for action in ([flusher, server, table, flusher, server, flusher]
                       if first == "flusher" else
                       [server, table, server, flusher, server, flusher]):
            before = oracle.count()
            send_otlp(broker)
            action()
            wait_for(lambda: oracle.count() > before + 50, what="progress")
            time.sleep(rng.random())  # any moment of a tick
    wait_for(broker.drained, 90, "delivery", every=0.2)
    send_otlp(broker)
    wait_for(broker.drained, 90, "delivery", every=0.2)
    booms = rows(clickhouse, columns("attributes", *MORE), "message = 'boom'")
    assert len(booms) == 7
    # before and after, and all alike
    kinds = {"span_id" in json.loads(b.pop("attributes")) for b in booms}
    assert kinds == {False, True}
    assert all(b == booms[0] for b in booms)
    assert booms[0]["span_id"] == "eee19b7ec3c1b174"
    clickhouse.query("ALTER TABLE logbroker.logs DELETE WHERE message IN "
                     "('boom', 'plain') SETTINGS mutations_sync = 1")
    seen = clickhouse.query("SELECT count(), uniqExact(message) FROM "
                            "logbroker.logs FORMAT TSV").split()
    assert seen[0] == seen[1]
    stored = set(clickhouse.query("SELECT message FROM logbroker.logs")
                 .split())
    assert oracle.acked <= stored
    assert stored <= oracle.acked | oracle.unknown


@pytest.mark.parametrize("there", ["in", "not in"])
@pytest.mark.parametrize("change", ["gets", "loses"])
def test_a_batch_in_doubt(clickhouse, otlp_broker, there, change):
    """It was fixed before the table changed: it is settled as it was, and sent
    again with the bytes it had, as long as the table can take them."""
    if change == "gets":
        old_table(clickhouse)
    rng = random.Random(there)
    door = Door(clickhouse.port)
    broker = otlp_broker(door.url, workers=1).start()
    log = (broker.dir / "flusher.log").read_text
    wait_for(lambda: figures(broker).get("requests"), what="first contact")
    door.mode = "drop" if there == "in" else "cut"
    # in one batch, and large enough to be cut
    broker.flusher.signal(signal.SIGSTOP)
    send_otlp(broker)
    send(broker, "".join('{"message":"%064x"}' % rng.getrandbits(256)
                         for _ in range(2000)))
    broker.flusher.signal(signal.SIGCONT)
    wait_for(lambda: figures(broker).get("unknown"), what="doubt")
    token = re.search(r"will ask.*token=(\S+)", log()).group(1)
    # (one that was killed waits longer for what may come late)
    again = change == "gets" or there == "in"
    if again:
        broker.flusher.kill()
    if change == "gets":
        upgrade(clickhouse)
    else:
        drop(clickhouse)
    door.mode = "pass"
    if again:
        broker.start_flusher()
    settled(broker, clickhouse, 2002)
    boom = rows(clickhouse, "*", "message = 'boom'")[0]
    attributes = json.loads(boom["attributes"])
    asked = f"the batch of 2002 rows is in token={token}"
    if there == "in":
        assert asked in log()
        assert ("span_id" in attributes) == (change == "gets")
    elif change == "gets":
        assert f"is not in, sending it again token={token}" in log()
        assert attributes["span_id"] == boom["span_id"] == "eee19b7ec3c1b174"
    else:
        assert "has lost columns of it" in log()
        assert attributes["span_id"] == "eee19b7ec3c1b174"
        assert attributes["resource"]["zone"] == "a"
    door.close()


def test_a_table_of_ones_own(clickhouse, otlp_broker):
    """Some of the columns, of other types: those that can take anything are
    filled."""
    old_table(clickhouse)
    for column in ("span_id Nullable(String)", "trace_flags String",
                   "severity_number LowCardinality(UInt16)",
                   "event_name String MATERIALIZED "
                   "JSONExtractString(attributes, 'event_name')",
                   "resource Map(String, String)", "scope String"):
        clickhouse.query(
            f"ALTER TABLE logbroker.logs ADD COLUMN {column} "
            "SETTINGS allow_suspicious_low_cardinality_types = 1")
    broker = otlp_broker().start()
    send_otlp(broker)
    settled(broker, clickhouse, 2)
    boom = rows(clickhouse, "*, event_name", "message = 'boom'")[0]
    assert (boom["span_id"], boom["severity_number"], boom["event_name"]) == (
        "eee19b7ec3c1b174", 18, "payment.failed")
    assert json.loads(boom["scope"])["name"] == "lib"
    assert boom["resource"] == {} and boom["trace_flags"] == ""
    attributes = json.loads(boom["attributes"])
    assert attributes["resource"]["zone"] == "a"
    assert attributes["flags"] == 1
    assert "trace_flags, event_name, resource that can be filled" in (
        broker.dir / "flusher.log").read_text()
