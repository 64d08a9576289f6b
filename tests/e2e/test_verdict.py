"""The verdict on exactly once is looked at again: whatever becomes of the table
while a broker serves it, the verdict says so, nothing is sent where rows would be
lost, and delivery goes on when the table is right again."""

import concurrent.futures
import json
import signal
import subprocess

import pytest

from env.broker import Broker, figures
from env.build import ROOT, find
from env.door import Door
from env.http import post
from env.process import wait_for

FAST = {"backoff": {"min_ms": 1000, "max_ms": 1000},
        "shutdown_timeout_ms": 1000}
SCHEMA = (ROOT / "conf/clickhouse/01-schema.sql").read_text()
TABLE = SCHEMA[SCHEMA.index("CREATE TABLE"):].rstrip().rstrip(";")


@pytest.fixture(scope="module")
def clickhouse(server):
    return server


def made(name, *changes):
    """The statement that makes the shipped table under this name."""
    sql = TABLE.replace("logbroker.logs", f"logbroker.{name}")
    for old, new in changes:
        assert old in sql, old
        sql = sql.replace(old, new)
    return sql


WINDOW = "non_replicated_deduplication_window = 10000, "
ENGINE = "ENGINE = MergeTree\n"

# name: what becomes of the table, the words, whether delivery has to wait
REMADE = {
    "window": ([(WINDOW, "")], "no deduplication window", False),
    "hour": ([("PARTITION BY toDate(received_at)",
               "PARTITION BY toStartOfHour(received_at)")],
             "partitioned by toStartOfHour(received_at)", False),
    "zone": ([("received_at DateTime64(6, 'UTC')",
               "received_at DateTime64(6, 'Pacific/Auckland')")],
             "time zone Pacific/Auckland", False),
    "replacing": ([(ENGINE, "ENGINE = ReplacingMergeTree\n")],
                  "ReplacingMergeTree, which merges rows away", True),
    "collapsing": ([(ENGINE, "ENGINE = CollapsingMergeTree(sign)\n"),
                    ("timestamp   DateTime64",
                     "sign Int8 DEFAULT 1, timestamp   DateTime64")],
                   "CollapsingMergeTree, which merges rows away", True),
    "summing": ([(ENGINE, "ENGINE = SummingMergeTree\n")],
                "SummingMergeTree, which merges rows away", True),
    "aggregating": ([(ENGINE, "ENGINE = AggregatingMergeTree\n")],
                    "AggregatingMergeTree, which merges rows away", True),
    "null": (None, "Null, which throws every row away", True),
    "memory": (None, "this one is Memory", False),
}


def remade(name):
    """The statement that makes the table anew as the case says."""
    changes = REMADE[name][0]
    if changes is not None:
        return made(name, *changes)
    engine = {"null": "Null", "memory": "Memory"}[name]
    return (f"CREATE TABLE logbroker.{name} ENGINE = {engine} "
            f"AS SELECT * FROM logbroker.logs WHERE 0")


def verdict(broker):
    e = figures(broker).get("exactly_once", {})
    return e.get("verdict"), e.get("reason")


def test_tables_that_change(clickhouse, tmp_path):
    """Each case has a table and a broker of its own: missing at first, made as
    it should be, made anew as it should not be, put right.  Then everything is
    there, once."""

    def case(name):
        _, words, waits = REMADE[name]
        broker = Broker(tmp_path / name, [clickhouse.url], workers=1, rings=2,
                        size="1m", name=name, flusher={
                            **FAST, "clickhouse": {"table": name}})
        sent = 0

        def send(n=20):
            nonlocal sent
            body = "\n".join(json.dumps({"message": str(i), "service": "one"})
                             for i in range(sent, sent + n))
            assert post(broker.port, body)[0] == 204
            sent += n

        def says(wanted, words=""):
            wait_for(lambda: verdict(broker)[0] == wanted
                     and words in verdict(broker)[1], 45,
                     f"{name}: {wanted} {words}", every=0.2)

        try:
            broker.start()
            says("no", "does not exist")
            looked = figures(broker)["exactly_once"]["looked"]

            # it appears, with nothing to deliver
            clickhouse.query(made(name))
            says("yes")
            assert figures(broker)["exactly_once"]["looked"] > looked
            send()
            wait_for(broker.drained, 30, f"{name}: delivery", every=0.2)

            # it becomes another one
            clickhouse.query(f"RENAME TABLE logbroker.{name} TO "
                             f"logbroker.{name}_good")
            clickhouse.query(remade(name))
            says("no", words)
            assert "merges" not in words or waits
            send()
            if waits:
                looked = figures(broker)["exactly_once"]["looked"]
                wait_for(lambda: figures(broker)["exactly_once"]["looked"]
                         > looked, 30, "another look", every=0.2)
                assert not broker.drained(), name
                assert figures(broker)["backlog_events"] == 20
                assert words in figures(broker)["last_error"]["text"]
                assert clickhouse.query(
                    f"SELECT count() FROM logbroker.{name}") == "0\n"
            else:
                wait_for(broker.drained, 30, f"{name}: delivery", every=0.2)
                clickhouse.query(f"INSERT INTO logbroker.{name}_good "
                                 f"SELECT * FROM logbroker.{name}")

            # and is put right
            clickhouse.query(f"RENAME TABLE logbroker.{name} TO "
                             f"logbroker.{name}_bad, logbroker.{name}_good "
                             f"TO logbroker.{name}")
            says("yes")
            send()
            wait_for(broker.drained, 30, f"{name}: all of it", every=0.2)
            return sent, clickhouse.query(
                f"SELECT count(), uniqExact(message) FROM logbroker.{name} "
                "FORMAT TSV")
        finally:
            broker.stop()

    with concurrent.futures.ThreadPoolExecutor(len(REMADE)) as pool:
        done = {name: pool.submit(case, name) for name in REMADE}
    wrong = [str(d.exception()) for d in done.values() if d.exception()]
    assert not wrong, wrong
    for name, d in done.items():
        sent, found = d.result()
        assert found == f"{sent}\t{sent}\n", name


def test_no_more_requests_than_before(clickhouse, tmp_path):
    """The look comes out of the one request a second, and not before the first
    delivery after a start."""
    door = Door(clickhouse.port)
    broker = Broker(tmp_path / "broker", [door.url], workers=1, rings=2,
                    flusher=FAST)
    try:
        # of a spool that has delivered before
        broker.start()
        assert post(broker.port, "{}")[0] == 204
        wait_for(broker.drained, 20, "delivery")
        broker.flusher.stop()
        assert post(broker.port, "{}")[0] == 204
        door.starts.clear()
        broker.start_flusher()
        wait_for(broker.drained, 10, "delivery")
        assert len(door.starts) == 1
        wait_for(lambda: figures(broker).get("batches") == 1, what="figures")
        for n in range(8):
            assert post(broker.port, "{}")[0] == 204
            wait_for(lambda: figures(broker).get("batches") == n + 2, 10,
                     "delivery")
        assert verdict(broker)[0] == "yes"
        # nine batches, one look, and one more if the clocks differ
        assert 10 <= len(door.starts) <= 11
        gaps = [b - a for a, b in zip(door.starts, door.starts[1:])]
        assert min(gaps) > 0.99, gaps
    finally:
        broker.stop()
        door.close()


def test_never_seen_before(clickhouse, tmp_path):
    """The first events of a spool do not go into a table that throws them
    away, though they were there before the flusher."""
    clickhouse.query("CREATE TABLE logbroker.fresh ENGINE = Null "
                     "AS SELECT * FROM logbroker.logs WHERE 0")
    broker = Broker(tmp_path / "broker", [clickhouse.url], workers=1, rings=2,
                    flusher={**FAST, "clickhouse": {"table": "fresh"}})
    try:
        broker.start_nginx()
        assert post(broker.port, '{"message":"0"}')[0] == 204
        broker.start_flusher()
        wait_for(lambda: "Null" in (verdict(broker)[1] or ""), 10, "a look")
        assert figures(broker)["backlog_events"] == 1
        # nor if there is none at first
        clickhouse.query("DROP TABLE logbroker.fresh SYNC")
        broker.flusher.stop()
        broker.start_flusher()
        wait_for(lambda: "not exist" in (verdict(broker)[1] or ""), 10, "looks")
        clickhouse.query(made("fresh"))
        wait_for(broker.drained, 20, "delivery")
        assert clickhouse.query("SELECT message FROM logbroker.fresh") == "0\n"
    finally:
        broker.stop()


def test_soon_after_an_error(clickhouse, tmp_path):
    """A table that goes away is noticed at the next INSERT, not a minute
    later; so is one that comes back."""
    clickhouse.query(made("gone"))
    broker = Broker(tmp_path / "broker", [clickhouse.url], workers=1, rings=2,
                    flusher={**FAST, "clickhouse": {"table": "gone"}})
    try:
        broker.start()
        wait_for(lambda: verdict(broker)[0] == "yes", 10, "a look")
        clickhouse.query("RENAME TABLE logbroker.gone TO logbroker.away")
        assert post(broker.port, "{}")[0] == 204
        wait_for(lambda: verdict(broker)[0] == "no", 8, "the verdict")
        assert "does not exist" in verdict(broker)[1]
        clickhouse.query("RENAME TABLE logbroker.away TO logbroker.gone")
        wait_for(broker.drained, 12, "delivery")
        wait_for(lambda: verdict(broker)[0] == "yes", 15, "the verdict")
    finally:
        broker.stop()


def test_another_table_by_reload(clickhouse, tmp_path):
    """What was known of the old table does not count for the new one: with
    SIGHUP nothing is sent before it was looked at."""
    clickhouse.query(made("old"))
    clickhouse.query("CREATE TABLE logbroker.new ENGINE = Null "
                     "AS SELECT * FROM logbroker.logs WHERE 0")
    broker = Broker(tmp_path / "broker", [clickhouse.url], workers=1, rings=2,
                    flusher={**FAST, "clickhouse": {"table": "old"}})

    def to(table):
        settings = json.loads(broker.settings.read_text())
        settings["clickhouse"]["table"] = table
        broker.settings.write_text(json.dumps(settings))
        broker.flusher.signal(signal.SIGHUP)

    try:
        broker.start()
        assert post(broker.port, "{}")[0] == 204
        wait_for(broker.drained, 20, "delivery")
        wait_for(lambda: verdict(broker)[0] == "yes", 10, "a look")
        to("new")
        wait_for(lambda: "configuration reloaded" in
                 (broker.dir / "flusher.log").read_text(), 10, "reload")
        assert post(broker.port, "{}")[0] == 204
        wait_for(lambda: "Null" in (verdict(broker)[1] or ""), 10, "a look")
        assert post(broker.port, "{}")[0] == 204
        wait_for(lambda: figures(broker)["backlog_events"] == 2, 10, "backlog")
        to("old")
        wait_for(broker.drained, 20, "delivery")
        assert clickhouse.query("SELECT count() FROM logbroker.old") == "3\n"
    finally:
        broker.stop()


def test_dropped_in_the_middle(clickhouse, tmp_path):
    """The table is dropped and made again while it is delivered into: what was
    acked before is gone with it, nothing else."""
    clickhouse.query(made("dropped"))
    broker = Broker(tmp_path / "broker", [clickhouse.url], workers=1, rings=2,
                    flusher={**FAST, "clickhouse": {"table": "dropped"}})
    try:
        broker.start()
        assert post(broker.port, '{"message":"0"}')[0] == 204
        wait_for(broker.drained, 20, "delivery")
        clickhouse.query("DROP TABLE logbroker.dropped SYNC")
        assert post(broker.port, '{"message":"1"}')[0] == 204
        wait_for(lambda: figures(broker)["refused"], 10, "refusal")
        clickhouse.query(made("dropped"))
        assert post(broker.port, '{"message":"2"}')[0] == 204
        wait_for(broker.drained, 20, "delivery")
        assert clickhouse.query("SELECT message FROM logbroker.dropped "
                                "ORDER BY message") == "1\n2\n"
        wait_for(lambda: verdict(broker)[0] == "yes", 30, "the verdict")
    finally:
        broker.stop()


@pytest.mark.parametrize("answer", [
    b"<html><title>It works</title></html>", b"", b"look\t1\tend\n",
    b"look\t" * 100_000, bytes(50_000)],
    ids=["page", "empty", "short", "tabs", "zeros"])
def test_answers_that_are_none(tmp_path, answer):
    """Somebody else answers with 200: no verdict, no delivery, no crash."""
    door = Door(1)
    door.ANSWERS = {}
    door.INSTEAD = {"this": b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n"
                    b"Connection: close\r\n\r\n" % len(answer) + answer}
    door.mode = "this"
    broker = Broker(tmp_path / "broker", [door.url], workers=1, rings=2,
                    flusher=FAST)
    try:
        broker.start()
        wait_for(lambda: figures(broker).get("exactly_once", {}).get("looked"),
                 20, "a look")
        assert verdict(broker)[0] == "unknown"
        assert post(broker.port, "{}")[0] == 204
        wait_for(lambda: figures(broker)["unknown"], 20, "doubt")
        assert figures(broker)["batches"] == 0
        r = subprocess.run(
            [find("logbroker-flusher"), "--check", "--config",
             str(broker.settings)], capture_output=True, text=True, timeout=60,
            env=broker.env)
        assert r.returncode == 4 and "unknown, because" in r.stderr
    finally:
        broker.stop()
        door.close()
    assert not broker.sanitizer_reports()
