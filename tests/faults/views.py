"""Scenarios of what hangs on the table: materialized views, and the table's
name itself."""

import time

from env.process import wait_for

from world import scenario


def view(w, name="seen", security=""):
    """A view whose target has each message, as docs/queries.md makes one; it
    throws while the table broken has a row."""
    w.clickhouse.query("CREATE TABLE IF NOT EXISTS logbroker.broken (x UInt8) "
                       "ENGINE = MergeTree ORDER BY x")
    w.clickhouse.query(
        f"CREATE TABLE logbroker.{name} (message String, received_at "
        "DateTime64(6, 'UTC'), ring UUID, seq UInt64) ENGINE = MergeTree "
        "PARTITION BY toDate(received_at) ORDER BY message "
        "SETTINGS non_replicated_deduplication_window = 10000")
    w.clickhouse.query(
        f"CREATE MATERIALIZED VIEW logbroker.{name}_view "
        f"TO logbroker.{name} {security} AS "
        "SELECT message, received_at, ring, seq FROM logbroker.logs "
        "WHERE throwIf((SELECT count() FROM logbroker.broken) > 0, "
        "'not now') = 0")


def failures(b):
    f = b.status()["flusher"] or {}
    return f.get("unknown", 0) + f.get("refused", 0)


def flusher(b, figure):
    return (b.status()["flusher"] or {}).get(figure, 0)


def rows(w, table="logs"):
    return int(w.clickhouse.query(f"SELECT count() FROM logbroker.{table}"))


def grow(w, b, what):
    n = rows(w)
    wait_for(lambda: rows(w) > n, 40, what, every=0.1)


@scenario
def view_throws(w):
    """A view throws now and then, one INSERT at a time, and answers get
    lost: the table and the view's have each event exactly once.  Then it
    throws for good: the table has everything all the same, the log names the
    view's loss."""
    view(w)
    b = w.broker()
    thrown = 0
    with w.load(threads=2) as oracle:
        grow(w, b, "events")
        for _ in w.for_a_while():
            n = failures(b)
            w.clickhouse.query("INSERT INTO logbroker.broken VALUES (1)")
            wait_for(lambda: failures(b) > n, 30, "a refusal", every=0.02)
            w.clickhouse.query("TRUNCATE TABLE logbroker.broken")
            thrown += 1
            if w.rng.random() < 0.4:
                b.flusher.kill()
                b.start_flusher()
            turns = iter(w.rng.sample(["drop", "pass", "late", "shut"], 2))
            w.door.mode = lambda: next(turns, "pass")
            grow(w, b, "events after the view threw")
    w.finish(oracle)
    oracle.verify(w.clickhouse, tables=("seen",))

    w.clickhouse.query("INSERT INTO logbroker.broken VALUES (1)")
    with w.load(threads=2, seed=w.seed + 1000) as more:
        for _ in range(2):
            grow(w, b, "events past a view that always throws")
    oracle.acked |= more.acked
    oracle.unknown |= more.unknown
    result = w.finish(oracle)
    log = (b.dir / "flusher.log").read_text()
    assert "view" in log and "not now" in log, "the view's loss is not named"
    return f"{result} thrown={thrown}"


@scenario(share=0.7)
def view_lost_what_it_needs(w):
    """A table that the view reads is gone (60), or its owner may not read it
    (497), in the middle of an INSERT: the logs have everything, exactly once,
    and the log says what the view missed.  Its target is gone, or not for its
    owner: nothing gets in, the batch waits and the log says for what."""
    view(w)
    b = w.broker()
    said = b.dir / "flusher.log"
    parts = []

    def load():
        parts.append(w.load(threads=1, seed=f"{w.seed}-{len(parts)}"))
        return parts[-1]

    def past(what, words):
        with load():
            for _ in range(2):
                grow(w, b, f"events past a view whose {what}")
        assert words in said.read_text(), f"{words}: not in the log"

    def held(what, words, mend):
        n = rows(w)
        before = said.read_text().count(words)
        with load():
            wait_for(lambda: said.read_text().count(words) > before, 30, words)
            assert rows(w) == n, what
            w.clickhouse.query(mend)
            grow(w, b, f"events when the view's {what} no more")

    w.clickhouse.query("RENAME TABLE logbroker.broken TO logbroker.hidden")
    past("condition is gone", "view")
    w.clickhouse.query("RENAME TABLE logbroker.hidden TO logbroker.broken")
    wait_for(b.drained, 60, "delivery", every=0.1)
    w.clickhouse.query("RENAME TABLE logbroker.seen TO logbroker.gone")
    held("target is gone", "seen",
         "RENAME TABLE logbroker.gone TO logbroker.seen")
    wait_for(b.drained, 60, "delivery", every=0.1)
    w.clickhouse.query("DROP VIEW logbroker.seen_view")
    w.clickhouse.query("DROP TABLE logbroker.seen SYNC")
    view(w, security="DEFINER = logbroker SQL SECURITY DEFINER")
    held("owner may not write", "grant INSERT",
         "DROP VIEW logbroker.seen_view")
    for o in parts[1:]:
        parts[0].acked |= o.acked
        parts[0].unknown |= o.unknown
    return w.finish(parts[0])


@scenario
def table_exchanged(w):
    """Another table takes the name while a batch is in doubt, by EXCHANGE or
    by RENAME and a new table: each event is in one of them, once."""
    b = w.broker()
    tables = ["logs"]
    done = 0
    with w.load(threads=2) as oracle:
        for _ in w.for_a_while():
            # in ClickHouse or not, and not known
            w.door.inserts = w.rng.choice(["drop", "drop", "shut", "hang"])
            n = flusher(b, "unknown")
            wait_for(lambda: flusher(b, "unknown") > n, 30, "a batch in doubt",
                     every=0.02)
            killed = w.rng.random() < 0.3
            if killed:
                b.flusher.kill()
            name = f"old{done}"
            w.clickhouse.query(
                f"CREATE TABLE logbroker.{name} AS logbroker.logs")
            if w.rng.random() < 0.5:
                w.clickhouse.query(
                    f"EXCHANGE TABLES logbroker.{name} AND logbroker.logs")
            else:
                w.clickhouse.query(f"RENAME TABLE logbroker.logs TO "
                                   f"logbroker.was{done}, logbroker.{name} TO "
                                   "logbroker.logs")
                name = f"was{done}"
            tables.append(name)
            w.door.inserts = "pass"
            if killed:
                b.start_flusher()
            done += 1
            grow(w, b, "events in the new table")
        w.door.inserts = None
    result = w.finish(oracle, tables=tuple(tables))
    return f"{result} tables={len(tables)}"


@scenario(share=0.5)
def table_renamed_and_back(w):
    """The table loses its name while a batch is in doubt, for longer than
    some questions, and gets it back."""
    b = w.broker()
    with w.load(threads=2) as oracle:
        grow(w, b, "events")
        for _ in w.for_a_while():
            # mostly in ClickHouse, and not known
            w.door.inserts = w.rng.choice(["drop", "drop", "shut"])
            n = flusher(b, "unknown")
            wait_for(lambda: flusher(b, "unknown") > n, 30, "a batch in doubt",
                     every=0.01)
            w.clickhouse.query("RENAME TABLE logbroker.logs TO logbroker.away")
            time.sleep(w.rng.choice([0.1, 2.5, 4]))
            if w.rng.random() < 0.3:
                b.flusher.kill()
                b.start_flusher()
            w.clickhouse.query("RENAME TABLE logbroker.away TO logbroker.logs")
            w.door.inserts = "pass"
            grow(w, b, "events after the rename")
        w.door.inserts = None
    return w.finish(oracle)
