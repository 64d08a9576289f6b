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


def killed(w, name, n=1):
    """ClickHouse dies there and comes back; False if it never came there."""
    w.strike(name, "kill", n)
    if w.struck() is None:
        return False
    w.revive()
    return True


@scenario(share=0.5)
def token_before_rename(w):
    """Killed when the token is in the deduplication log and the part has no
    name yet: the server knows the token, and the rows are nowhere."""
    w.broker(direct=True)
    hits = 0
    with w.load() as oracle:
        for name, n in turns(w, "insert.log.after", "insert.rename.before"):
            hits += killed(w, name, n)
    assert hits >= 3, f"only {hits} kills"
    return f"{w.finish(oracle)} kills={hits}"


@scenario(share=0.5)
def rename_fails(w):
    """The same without a crash: no room for the new name, once or thrice."""
    w.broker(direct=True)
    hits = 0
    with w.load() as oracle:
        for name, _ in turns(w, "insert.rename.before"):
            w.strike(name, w.rng.choice(["ENOSPC", "EIO"]),
                     times=w.rng.choice([1, 1, 3]))
            hits += w.struck() is not None
    assert hits >= 3, f"only {hits} failures"
    return f"{w.finish(oracle)} failures={hits}"


@scenario
def insert_calls_fail(w):
    """ENOSPC, EIO and EDQUOT at every call of an INSERT, once, for some calls
    in a row, and for a while."""
    w.broker(direct=True)
    hits = 0
    before = [p for p in POINTS if p.endswith("before")]
    with w.load() as oracle:
        for name, n in turns(w, *before, at_least=len(before)):
            w.strike(name, w.rng.choice(["ENOSPC", "EIO", "EDQUOT"]), n,
                     times=w.rng.choice([1, 2, 30]))
            hits += w.struck() is not None
    assert hits >= 3, f"only {hits} failures"
    return f"{w.finish(oracle)} failures={hits}"


@scenario(share=2)
def server_dies_at_each_point(w):
    """SIGKILL before and after each call of an INSERT."""
    w.broker(direct=True)
    hits = set()
    with w.load() as oracle:
        for name, n in turns(w, at_least=len(POINTS)):
            if killed(w, name, n):
                hits.add(name)
    assert len(hits) >= len(POINTS) - 2, f"not reached: {set(POINTS) - hits}"
    return f"{w.finish(oracle)} points={len(hits)}"


@scenario
def server_dies_anywhere(w):
    """SIGKILL at a random call of an INSERT, or a random time after its
    first."""
    w.broker(direct=True)
    hits = 0
    with w.load() as oracle:
        for _ in turns(w, "any", at_least=5):
            if w.rng.random() < 0.5:
                hits += killed(w, "insert", w.rng.randint(1, 110))
                continue
            w.strike("insert.write.before", "wait:0")
            if w.struck() is not None:
                time.sleep(w.rng.random() * 0.02)
                w.clickhouse.kill()
                w.clickhouse.start()
                hits += 1
    assert hits >= 3, f"only {hits} kills"
    return f"{w.finish(oracle)} kills={hits}"


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
