"""Scenarios inside the ClickHouse process: it dies, stops, waits or gets an
error at a point of an INSERT (see chfault.c)."""

import os
import signal
import time

from world import scenario

# what chfault.c knows, in the order an INSERT comes to them
CALLS = ["write", "sync", "log", "rename", "dirsync", "answer"]
POINTS = [f"insert.{call}.{when}" for call in CALLS
          for when in ("before", "after")]


def turns(w, *rest, at_least=3):
    """(point, n) for the scenario's time, each at least once: n is 1 but for
    calls that an INSERT makes often."""
    points = list(rest or POINTS)
    w.rng.shuffle(points)
    done = 0
    end = time.monotonic() + w.span
    while done < at_least or time.monotonic() < end:
        name = points[done % len(points)]
        often = any(call in name for call in ("write", "insert.sync"))
        yield name, w.rng.randint(1, 20) if often else 1
        done += 1


@scenario
def server_stops_at_each_point(w):
    """SIGSTOP there; on after a while, longer than the flusher waits."""
    w.broker(direct=True)
    hits = 0
    with w.load() as oracle:
        for name, n in turns(w, at_least=4):
            w.strike(name, "stop", n)
            if w.struck() is None:
                continue
            hits += 1
            time.sleep(w.rng.choice([0.2, 2.5, 3]))
            os.kill(w.clickhouse.process.pid, signal.SIGCONT)
    assert hits >= 3, f"only {hits} stops"
    return f"{w.finish(oracle)} stops={hits}"


@scenario
def insert_waits_at_each_point(w):
    """The INSERT's thread alone waits there, longer than the flusher does,
    while the server answers questions; now and then it is killed then."""
    w.broker(direct=True)
    hits = 0
    with w.load() as oracle:
        for name, n in turns(w, at_least=4):
            w.strike(name, "wait:4000", n)
            if w.struck() is None:
                continue
            hits += 1
            time.sleep(w.rng.choice([2.5, 3.5, 5]))
            if w.rng.random() < 0.3:
                w.clickhouse.kill()
                w.clickhouse.start()
    assert hits >= 3, f"only {hits} waits"
    return f"{w.finish(oracle)} waits={hits}"
