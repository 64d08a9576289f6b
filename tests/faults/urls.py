"""Scenarios with several URLs, and with what is on the way to them: a sick
server beside a healthy one, a proxy with a limit, INSERTs that come late."""

import contextlib
import time

from env.door import Door
from env.process import wait_for

from world import scenario


def rows(w, table="logs"):
    return int(w.clickhouse.query(f"SELECT count() FROM logbroker.{table}"))


def grows(w, by, timeout, what):
    """Seconds it took."""
    begun = time.monotonic()
    n = rows(w)
    wait_for(lambda: rows(w) >= n + by, timeout, what, every=0.1)
    return time.monotonic() - begun


@scenario(share=1.5)
def sick_and_healthy(w):
    """Two URLs, the first one's server read-only, without room,
    with too many parts, or hanging: events go through the other,
    within seconds, and the sick one is not asked all the time."""
    sick = Door(w.clickhouse.port)
    sick.inserts = "pass"
    settings = {"backoff": {"min_ms": 1000, "max_ms": 30000},
                "clickhouse": {"request_timeout_ms": 2000}}
    b = w.broker(urls=[sick.url, w.door.url], flusher=settings)
    modes = ["code:241", "code:242", "code:243", "code:252", "stall", "shut",
             "503"]
    w.rng.shuffle(modes)
    slowest = 0
    begun = time.monotonic()
    end = begun + w.span
    done = 0
    with w.load(threads=1) as oracle:
        while done < 3 or time.monotonic() < end:
            sick.inserts = modes[done % len(modes)]
            # now and then nothing at all is answered there
            sick.mode = w.rng.choice(["pass", "pass", sick.inserts])
            for _ in range(3):
                slowest = max(slowest, grows(
                    w, 1, 15, f"events past a server with {sick.inserts}"))
            # the healthy one fails for a moment, so the sick one has a turn
            w.door.mode = "code:202"
            time.sleep(1.2)
            w.door.mode = "pass"
            done += 1
        sick.inserts = sick.mode = "code:242"
        begun = time.monotonic()
        asked = len(sick.starts)
        while time.monotonic() < begun + 8:
            slowest = max(slowest, grows(w, 1, 15, "events at last"))
        asked = len(sick.starts) - asked
        assert asked <= 5, f"{asked} requests to a sick server in 8 s"
    sick.mode = "pass"
    sick.inserts = None
    result = w.finish(oracle)
    sick.close()
    return f"{result} slowest={slowest:.1f}s sick={asked}/8s"


@scenario
def question_goes_after_the_batch(w):
    """Two servers that do not know of each other: a lost answer is asked for
    where the batch went, however sick that server is for a while."""
    from env.clickhouse import ClickHouse

    other = ClickHouse(w.dir / "other")
    other.start()
    second = Door(other.port)
    try:
        w.broker(urls=[w.door.url, second.url])
        with w.load(threads=1) as oracle:
            for _ in w.for_a_while():
                door = w.rng.choice([w.door, second])
                door.inserts = w.rng.choice(["drop", "hang", "pass"])
            w.door.inserts = second.inserts = "drop"
            time.sleep(3)
            w.door.inserts = second.inserts = None
        wait_for(w.brokers[0].drained, 60, "delivery", every=0.2)
        w.clickhouse.query(
            "CREATE TABLE logbroker.other AS logbroker.logs")
        w.clickhouse.query(
            "INSERT INTO logbroker.other SELECT * FROM url("
            f"'{other.url}/?query=SELECT+*+FROM+logbroker.logs+FORMAT+Native'"
            ", 'Native')")
        for b in w.brokers:
            b.stop()
        return w.finish(oracle, tables=("logs", "other"))
    finally:
        second.close()
        other.stop()


@scenario(share=0.5)
def inserts_arrive_late(w):
    """A proxy holds an INSERT whose client is gone, and lets it go on some
    seconds later, after the flusher has asked and sent the batch again, or after it was refused
    for its size or its content."""
    b = w.broker()
    held = 0
    kinds = ["pass", "code:241", "code:252", "code:27", "limit:1000", "drop",
             "503"]
    w.rng.shuffle(kinds)
    with w.load(threads=1) as oracle:
        for _ in w.for_a_while():
            w.door.release.clear()
            # the first is held, what happens to the next ones?
            what = kinds[held % len(kinds)]
            turns = iter([w.rng.choice(["held", "504"]), what])
            w.door.inserts = lambda: next(turns, "pass")
            n = len(w.door.heard)
            # the held one, a question, the next one, perhaps a question; not
            # longer than the flusher reckons with
            enough = w.rng.choice([2, 3, 4, 4])
            with contextlib.suppress(AssertionError):
                wait_for(lambda: [k for _, k in w.door.heard[n:]].count(
                    "insert") >= enough, 12)
            if w.rng.random() < 0.3:
                b.flusher.kill()
                b.start_flusher()
            time.sleep(w.rng.random())
            w.door.release.set()
            held += 1
            time.sleep(0.5)
        w.door.inserts = None
    return f"{w.finish(oracle)} held={held}"


def biggest(w):
    """Rows of the largest batch so far."""
    return int(w.clickhouse.query(
        "SELECT max(rows) FROM (SELECT count() AS rows FROM logbroker.logs "
        "GROUP BY _part)"))


@scenario(share=0.3)
def batch_too_large_for_a_proxy(w):
    """413 for a body over 300 kB, with a backlog of several times that: it
    goes through in smaller batches; when the limit is gone they grow."""
    w.clickhouse.query("SYSTEM STOP MERGES")  # a part is a batch
    b = w.broker()
    b.flusher.stop()
    limit = 300_000
    with w.load(pause=0) as oracle:
        wait_for(lambda: oracle.count() > 20000, 60, "a backlog")
    w.door.inserts = f"limit:{limit}"
    b.start_flusher()
    wait_for(b.drained, 90, "the backlog in pieces", every=0.2)
    small = len(w.door.heard)
    assert small < 60, f"{small} requests"
    pieces = biggest(w)
    w.door.inserts = None
    with w.load(pause=0, seed=w.seed + 1000) as more:
        wait_for(lambda: biggest(w) > 4 * pieces, 90, "large batches again",
                 every=0.3)
    oracle.acked |= more.acked
    return f"{w.finish(oracle)} requests={small} pieces={pieces}"


@scenario(share=0.3)
def batch_too_large_for_the_server(w):
    """The memory of one query is not enough for the backlog at once: error
    241 of the real server, and smaller batches."""
    b = w.broker()
    b.flusher.stop()
    with w.load(pause=0) as oracle:
        wait_for(lambda: oracle.count() > 60000, 60, "a backlog")
    w.door.inserts = "memory:32000000"
    b.start_flusher()
    wait_for(b.drained, 90, "the backlog in pieces", every=0.2)
    w.door.inserts = None
    log = (b.dir / "flusher.log").read_text()
    assert "MEMORY_LIMIT" in log or "241" in log, "it was not too large"
    return w.finish(oracle)
