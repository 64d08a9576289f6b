"""The kill loop: every process of the service, and ClickHouse at every named
point of an INSERT, killed and frozen again and again under one load."""

import collections
import contextlib
import os
import signal
import time

from env.process import children, wait_for

from server import POINTS
from world import scenario

OURS = [f"{point}.{when}" for point in
        ("checkpoint.write", "checkpoint.sync", "ring.write", "ring.sync",
         "net.send", "net.recv") for when in ("before", "after")]


@scenario(seconds=60)
def kill_loop(w):
    """One kill or freeze after another: of ClickHouse, the flusher, a worker,
    nginx, at a named point or at any moment, two of them at once now and
    then, while answers get lost.  run.sh --kill-loop MINUTES for longer."""
    w.preload(trouble=True)
    b = w.broker()
    hits = collections.Counter()
    ours = w.trouble / "point"
    reached = w.trouble / "reached"

    def arm_ours():
        reached.unlink(missing_ok=True)
        new = w.trouble / "point.new"
        sig = w.rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGSTOP])
        new.write_text(f"{w.rng.choice(OURS)} {w.rng.randint(1, 4)} "
                       f"{int(sig)}")
        new.rename(ours)

    def settle_ours(timeout):
        with contextlib.suppress(AssertionError):
            wait_for(reached.exists, timeout)
        ours.unlink(missing_ok=True)
        if reached.exists():
            hits["ours"] += 1
            time.sleep(w.rng.random())
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(reached.read_text()), signal.SIGCONT)
        if not b.flusher.running():
            b.start_flusher()

    def server(point):
        often = "write" in point or "insert.sync" in point
        w.strike(point, w.rng.choice(["kill", "kill", "kill", "stop"]),
                 w.rng.randint(1, 20) if often else 1)
        at = w.struck(5)
        if at is None:
            return
        hits[at] += 1
        # a stopped server is killed after a while, or goes on
        if w.clickhouse.process.poll() is None:
            time.sleep(w.rng.choice([0.1, 1, 2.5]))
            if w.rng.random() < 0.5:
                os.kill(w.clickhouse.process.pid, signal.SIGCONT)
                return
            w.clickhouse.kill()
            w.clickhouse.start()
        else:
            w.revive()

    def process():
        hits["process"] += 1
        kind = w.rng.choice(["flusher", "worker", "worker", "nginx", "freeze"])
        if kind == "flusher":
            b.flusher.kill()
            b.start_flusher()
        elif kind == "worker":
            b.kill_worker(w.rng)
        elif kind == "nginx":
            b.kill_nginx()
            b.start_nginx()
        else:
            pid = w.rng.choice([b.flusher.pid, *children(b.nginx.pid)])
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                time.sleep(w.rng.random() * 2)
                os.kill(pid, signal.SIGCONT)

    points = []
    end = time.monotonic() + w.span
    with w.load(threads=3) as oracle:
        while time.monotonic() < end:
            # a point may be come to just when nobody waits for it any more
            if w.clickhouse.process.poll() is not None:
                w.revive()
            if not points:
                points = list(POINTS)
                w.rng.shuffle(points)
            w.door.mode = w.rng.choice(
                ["pass", "pass", lambda: w.rng.choice(["drop", "pass"])])
            both = w.rng.random() < 0.3
            if both:
                arm_ours()
            if both or w.rng.random() < 0.6:
                server(points.pop())
            else:
                process()
            if both:
                settle_ours(0.5)
            elif w.rng.random() < 0.4:
                arm_ours()
                settle_ours(4)
        w.door.mode = "pass"
    result = w.finish(oracle)
    missed = set(POINTS) - hits.keys()
    assert w.span < 300 or not missed, f"{result}: never at {missed}"
    return (f"{result} kills={sum(hits.values())} "
            f"points={len(hits.keys() & set(POINTS))}")
