"""Rows ClickHouse can never take: found, set aside with its words, listed,
replayed; the good rows of the same batch arrive exactly once."""

import json
import time

import pytest

from env.broker import FAST, dead, figures
from env.door import Door
from env.http import post
from env.process import wait_for


def rows(clickhouse, table="logs"):
    return sorted(clickhouse.query(
        f"SELECT message FROM logbroker.{table}").split())


def batch(broker, messages):
    body = "\n".join('{"message":"%s"}' % m for m in messages)
    assert post(broker.port, body)[0] == 204


def test_constraint(clickhouse, make_broker):
    """Three bad rows in a batch of two requests; then the constraint goes and
    they are replayed."""
    clickhouse.query("ALTER TABLE logbroker.logs ADD CONSTRAINT taste "
                     "CHECK NOT startsWith(message, 'bad')")
    broker = make_broker(clickhouse.url, flusher=FAST)
    broker.start_nginx()
    first = [f"good{i}" for i in range(40)]
    second = [f"good{i}" for i in range(40, 60)]
    bad = ["bad0", "bad1", "bad2"]
    batch(broker, first[:11] + bad[:1] + first[11:])
    batch(broker, second[:7] + bad[1:] + second[7:])
    broker.start_flusher()
    wait_for(broker.drained, 120, "delivery", every=0.1)
    assert rows(clickhouse) == sorted(first + second)

    letters = dead(broker, "list")
    assert [d["event"]["message"] for d in letters] == bad
    assert [d["seq"] for d in letters] == [11, 48, 49]
    assert all("taste" in d["reason"] and d["state"] == "open"
               for d in letters)
    f = wait_for(lambda: figures(broker).get("delivered_events") == 60
                 and figures(broker), what="figures")
    assert (f["dead_letters"], f["dead_events"]) == (3, 3)
    # the audit's gaps are these rows and no others
    assert clickhouse.query("SELECT sum(gaps), sum(duplicates) FROM "
                            "logbroker.logbroker_audit FORMAT TSV") == "3\t0\n"

    # one is given up, the others fit now
    clickhouse.query("ALTER TABLE logbroker.logs DROP CONSTRAINT taste")
    assert dead(broker, "show", letters[1]["letter"]) == \
        '{"message":"bad1"}\n'
    dead(broker, "drop", letters[1]["letter"])
    dead(broker, "replay", "all")
    assert "before" in dead(broker, "replay", letters[0]["letter"], status=1)
    wait_for(lambda: len(rows(clickhouse)) == 62, 60, "replayed rows")
    wait_for(broker.drained, 60, "delivery")
    assert rows(clickhouse) == sorted(first + second + ["bad0", "bad2"])
    assert [d["state"] for d in dead(broker, "list")] == ["done"] * 3
    wait_for(lambda: figures(broker)["dead_letters"] == 0, what="figures")


def test_stricter_column_in_a_table_of_ones_own(
        clickhouse, make_broker):
    clickhouse.query("CREATE TABLE logbroker.strict AS logbroker.logs")
    clickhouse.query("ALTER TABLE logbroker.strict MODIFY COLUMN host UInt16")
    broker = make_broker(clickhouse.url, flusher={
        **FAST, "clickhouse": {"table": "strict"}})
    broker.start_nginx()
    assert post(broker.port, "".join(
        json.dumps({"host": str(n), "message": f"m{n}"})
        for n in range(20)) + '{"host":"web-1","message":"word"}')[0] == 204
    broker.start_flusher()
    wait_for(broker.drained, 60, "delivery", every=0.1)
    assert len(set(rows(clickhouse, "strict"))) == 20
    assert [d["event"]["message"] for d in dead(broker, "list")] == ["word"]


def test_view_that_throws(clickhouse, make_broker):
    """The refusal comes from a materialized view behind the table."""
    clickhouse.query("CREATE TABLE logbroker.copy (m String) ENGINE = "
                     "MergeTree ORDER BY m")
    clickhouse.query(
        "CREATE MATERIALIZED VIEW logbroker.picky TO logbroker.copy AS "
        "SELECT message AS m FROM logbroker.logs "
        "WHERE throwIf(message = 'bad', 'not this one') = 0")
    broker = make_broker(clickhouse.url, flusher=FAST)
    broker.start_nginx()
    batch(broker, ["a", "b", "bad", "c"])
    broker.start_flusher()
    wait_for(broker.drained, 60, "delivery", every=0.1)
    got = rows(clickhouse)
    assert [m for m in got if m != "bad"] == ["a", "b", "c"]
    # the table may have the row that only the view could not take
    assert got.count("bad") + len(dead(broker, "list")) == 1


def test_schema_errors_hold(clickhouse, make_broker):
    """A column that is gone is nobody's bad row."""
    clickhouse.query("ALTER TABLE logbroker.logs DROP COLUMN client")
    broker = make_broker(clickhouse.url, flusher=FAST).start()
    batch(broker, ["a", "b"])
    wait_for(lambda: figures(broker).get("requests", 0) >= 5, 60, "attempts")
    assert dead(broker, "list") == []
    f = figures(broker)
    assert f["in_flight"]["rows"] == 2 and f["dead_events"] == 0
    clickhouse.query("ALTER TABLE logbroker.logs ADD COLUMN client String")
    wait_for(broker.drained, 60, "delivery", every=0.1)
    assert rows(clickhouse) == ["a", "b"]


@pytest.mark.slow
@pytest.mark.release_only
def test_killed_while_halving(clickhouse, make_broker):
    """The flusher dies again and again while it looks for bad rows, and some
    answers get lost."""
    clickhouse.query("ALTER TABLE logbroker.logs ADD CONSTRAINT taste "
                     "CHECK NOT startsWith(message, 'bad')")
    door = Door(clickhouse.port)
    turns = iter(range(10**9))
    door.mode = lambda: "drop" if next(turns) % 5 == 3 else "pass"
    broker = make_broker(door.url, flusher=FAST)
    broker.start_nginx()
    messages = [f"bad{i}" if i % 13 == 5 else f"good{i}" for i in range(20)]
    batch(broker, messages)
    for kills in range(6):
        broker.start_flusher()
        before = len(door.starts)
        wait_for(lambda: len(door.starts) >= before + 4 or broker.drained(),
                 60, "requests")
        broker.flusher.kill()
    broker.start_flusher()
    wait_for(broker.drained, 180, "delivery", every=0.1)
    assert rows(clickhouse) == sorted(m for m in messages if "good" in m)
    assert [d["event"]["message"] for d in dead(broker, "list")] == \
        [m for m in messages if "bad" in m]
    door.close()


def test_full_dead_letters_hold(clickhouse, make_broker):
    """No room for another dead letter: nothing moves until some are dropped,
    and then the file starts anew."""
    clickhouse.query("ALTER TABLE logbroker.logs ADD CONSTRAINT taste "
                     "CHECK NOT startsWith(message, 'bad')")
    broker = make_broker(clickhouse.url, flusher={
        **FAST, "dead_letters": {"max_bytes": 1 << 20}})
    broker.start_nginx()
    batch(broker, ["bad" + "x" * 600000])
    batch(broker, ["bad" + "y" * 600000])
    broker.start_flusher()
    wait_for(lambda: "dead letters are full"
             in (figures(broker).get("last_error") or {}).get("text", ""),
             60, "words")
    assert len(dead(broker, "list")) == 1
    dead(broker, "drop", "all")
    wait_for(broker.drained, 60, "room", every=0.1)
    letters = dead(broker, "list")
    assert [d["event"]["message"][:4] for d in letters] == ["bady"]
    wait_for(lambda: figures(broker)["dead_events"] == 2, what="figures")


def test_many_rows_break_a_constraint(clickhouse, make_broker):
    """One in a hundred of 20,000: the server says which, and the others are in
    within seconds, a thousand a second at least."""
    clickhouse.query("ALTER TABLE logbroker.logs ADD CONSTRAINT taste "
                     "CHECK NOT startsWith(message, 'bad'), ADD CONSTRAINT "
                     "short CHECK length(message) < 10")
    broker = make_broker(clickhouse.url, flusher=FAST)
    broker.start_nginx()
    names = [f"bad{n}" if n % 100 == 7 else f"much-too-long{n}"
             if n % 1000 == 500 else f"good{n}" for n in range(20000)]
    for n in range(0, len(names), 500):
        batch(broker, names[n:n + 500])
    begun = time.monotonic()
    broker.start_flusher()
    wait_for(broker.drained, 60, "delivery", every=0.1)
    took = time.monotonic() - begun
    good = [m for m in names if m.startswith("good")]
    assert rows(clickhouse) == sorted(good)
    assert sorted(d["event"]["message"] for d in dead(broker, "list")) == \
        sorted(set(names) - set(good))
    assert took < 20, f"{len(names) / took:.0f} events/s"
    f = wait_for(lambda: figures(broker).get("delivered_events") == len(good)
                 and figures(broker), what="figures")
    assert f["dead_events"] == 220 and f["unaccounted_events"] == 0
    assert clickhouse.query(
        "SELECT sum(gaps), sum(duplicates) FROM logbroker.logbroker_audit "
        "FORMAT TSV") == "220\t0\n"


def test_a_constraint_on_a_column_of_ones_own(clickhouse, make_broker):
    """The same where it is about what the table makes of an event itself, by
    columns that are made of others; as the shipped user."""
    clickhouse.query(
        "ALTER TABLE logbroker.logs ADD COLUMN code Nullable(UInt16) "
        "MATERIALIZED JSONExtract(attributes, 'code', 'Nullable(UInt16)'), "
        "ADD COLUMN `class` Enum8('good' = 0, 'it''s bad' = 1) "
        "DEFAULT if(code >= 600, 'it''s bad', 'good'), "
        "ADD CONSTRAINT codes CHECK `class` = 'good'")
    broker = make_broker(clickhouse.url, flusher=FAST, user="logbroker",
                         password=clickhouse.password)
    broker.start_nginx()
    for n in range(0, 20000, 500):
        assert post(broker.port, "".join(
            '{"message":"m%d","code":%d}' % (i, 999 if i % 100 == 7 else 200)
            for i in range(n, n + 500)))[0] == 204
    begun = time.monotonic()
    broker.start_flusher()
    wait_for(broker.drained, 60, "delivery", every=0.1)
    took = time.monotonic() - begun
    good = [f"m{n}" for n in range(20000) if n % 100 != 7]
    assert rows(clickhouse) == sorted(good)
    assert len(dead(broker, "list")) == 200
    assert took < 20, f"{20000 / took:.0f} events/s"


def test_every_row_breaks_a_constraint(clickhouse, make_broker):
    clickhouse.query("ALTER TABLE logbroker.logs ADD CONSTRAINT none "
                     "CHECK message = 'never; (Expression: ('")
    broker = make_broker(clickhouse.url, flusher=FAST)
    broker.start_nginx()
    batch(broker, [f"m{n}" for n in range(300)])
    broker.start_flusher()
    wait_for(broker.drained, 60, "delivery", every=0.1)
    assert rows(clickhouse) == []
    assert len(dead(broker, "list")) == 300
    clickhouse.query("ALTER TABLE logbroker.logs DROP CONSTRAINT none")
    dead(broker, "replay", "all")
    wait_for(lambda: len(rows(clickhouse)) == 300, 60, "replayed rows")


def test_killed_while_rows_are_set_aside(clickhouse, make_broker):
    """A batch without its excluded rows is in flight when the flusher dies,
    and its outcome is unknown."""
    clickhouse.query("ALTER TABLE logbroker.logs ADD CONSTRAINT taste "
                     "CHECK NOT startsWith(message, 'bad')")
    door = Door(clickhouse.port)
    broker = make_broker(door.url, flusher=FAST)
    broker.start_nginx()
    batch(broker, [f"bad{n}" if n % 10 == 3 else f"good{n}"
                   for n in range(100)])
    broker.start_flusher()
    wait_for(lambda: len(dead(broker, "list")) == 10, 30, "letters")
    door.mode = "drop"
    wait_for(lambda: len(rows(clickhouse)) == 90, 30, "rows")
    broker.flusher.kill()
    door.mode = "pass"
    broker.start_flusher()
    wait_for(broker.drained, 30, "delivery")
    assert len(set(rows(clickhouse))) == len(rows(clickhouse)) == 90
    assert len(dead(broker, "list")) == 10
    f = wait_for(lambda: figures(broker).get("dead_events") == 10
                 and figures(broker), what="figures")
    assert f["unaccounted_events"] == 0
    door.close()
