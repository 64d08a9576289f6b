"""Scenarios with a batch that a backlog has made larger than the first may be:
what begins anew, or after a failure, would choose a smaller one."""

import re
import threading
import time

from env.process import wait_for

from world import scenario

FIRST = 64 << 20  # flusher/size.h
GROWN = 1.1
PAD = 200_000


def token(body):
    return re.search(rb"insert_deduplication_token=([\w.-]+)",
                     body.head).group(1)


class Grown:
    """A backlog, and the first INSERT of a grown batch out of it."""

    def __init__(self, w, mode):
        """mode: what the door does with that, a function."""
        self.w, self.mode = w, mode
        self.met = threading.Event()
        w.door.inserts = self._insert
        # the time a batch may take is a fifth of the request's
        self.broker = w.broker(size="256m", flusher={
            "backoff": {"min_ms": 1000, "max_ms": 2000},
            "clickhouse": {"request_timeout_ms": 60000}})
        self.broker.flusher.kill()
        with w.load(pad=PAD, pause=0, doors=("log",)) as self.oracle:
            wait_for(lambda: self._waits() > 3 * FIRST, 120, "a backlog",
                     every=0.2)
        rings = self.broker.stat()["rings"]
        events = sum(r["backlog_events"] for r in rings)
        self.event = self._waits() / events
        self.broker.start_flusher()

    def _waits(self):
        return sum(r["backlog_bytes"] for r in self.broker.stat()["rings"])

    def _insert(self):
        if self.met.is_set():
            return "pass"
        # what is fixed is in the checkpoint before it is sent
        if self.broker.stat()["rows"] * self.event < GROWN * FIRST:
            return "pass"
        mode = self.mode()
        self.w.door.bodies = []  # of this one and those that follow
        self.met.set()
        return mode

    def wait(self):
        """What comes of it; None: each INSERT took longer than a batch may
        that is to grow."""
        wait_for(lambda: self.met.is_set() or self.broker.drained(), 120,
                 "a grown batch", every=0.05)
        if not self.met.is_set():
            return None
        wait_for(lambda: self.w.door.bodies and self.w.door.bodies[0].head, 20,
                 "its beginning", every=0.01)
        return self.w.door.bodies[0]

    def restart(self):
        self.broker.flusher.kill()
        self.broker.start_flusher()

    def finish(self):
        result = self.w.finish(self.oracle)
        if not self.met.is_set():
            return f"{result} skipped: too slow here for a batch to grow"
        bodies = [b for b in self.w.door.bodies if b.head]
        name = token(bodies[0])
        sent = [b for b in bodies if token(b) == name]
        assert sent[-1].size > GROWN * FIRST, "sent again, and smaller"
        for b in sent:
            assert b.begins(sent[-1]), "other bytes under the same token"
        return (f"{result} grown={sent[-1].size >> 20}MiB "
                f"attempts={len(sent)}")


@scenario(seconds=8)
def flusher_killed_in_a_grown_batch(w):
    """Anywhere in its INSERT, or when ClickHouse has it and nobody knows; the
    next flusher, which begins with the first size, sends it as it was."""
    grown = Grown(w, lambda: w.rng.choice(["pass", "drop", "stall"]))
    body = grown.wait()
    if body is None:
        return grown.finish()
    if w.rng.random() < 0.7:
        # the answer may be there before
        size = w.rng.randrange(FIRST)
        wait_for(lambda: body.size >= size, 20, "bytes of it", every=0.001)
    else:
        time.sleep(w.rng.random())
    grown.restart()
    return grown.finish()


@scenario(seconds=8)
def clickhouse_killed_in_a_grown_batch(w):
    """At a point of its INSERT; now and then the flusher too.  Without success
    the size begins anew, and the batch is sent as it was."""
    point = w.rng.choice([
        "insert.write.before", "insert.sync.after", "insert.log.after",
        "insert.rename.before", "insert.rename.after", "insert.answer.before"])

    def strike():
        w.strike(point, "kill")
        return "pass"

    grown = Grown(w, strike)
    if grown.wait() is None:
        return grown.finish()
    assert w.struck(60), f"the INSERT did not come to {point}"
    if w.rng.random() < 0.5:
        grown.restart()
    w.revive()
    return f"{grown.finish()} at={point}"
