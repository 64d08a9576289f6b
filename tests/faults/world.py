"""What every fault scenario has: one ClickHouse, a door before it, brokers,
a load and an oracle."""

import contextlib
import os
import pathlib
import random
import time

from env.broker import Broker
from env.build import library
from env.clickhouse import ClickHouse
from env.door import Door
from env.oracle import Oracle
from env.process import wait_for
from env.senders import DOORS, LOCATIONS

ROOT = pathlib.Path(__file__).resolve().parents[2]

PATIENCE = {"backoff": {"min_ms": 1000, "max_ms": 2000},
            "clickhouse": {"request_timeout_ms": 2000}}
SCENARIOS = {}


def scenario(f=None, *, share=1.0, seconds=None):
    """share: of the time one scenario gets under load; less where a turn is
    short and one more shows nothing new.  seconds: so many instead, in a run
    of less than an hour."""

    def add(f):
        f.share = share
        f.seconds = seconds
        SCENARIOS[f.__name__] = f
        return f

    return add(f) if f is not None else add


class World:
    """One ClickHouse, one door before it, some brokers, one load."""

    def __init__(self, directory, seed, span):
        self.dir = pathlib.Path(directory)
        self.rng = random.Random(seed)
        self.seed = seed
        self.span = span
        self.strikes = self.dir / "strikes"
        self.strikes.mkdir()
        self.clickhouse = ClickHouse(
            self.dir / "clickhouse",
            env={"LB_CHFAULT_DIR": str(self.strikes),
                 "LD_PRELOAD": str(library("tests/faults/chfault.c",
                                           self.dir))})
        self.clickhouse.start()
        self.door = Door(self.clickhouse.port)
        self.brokers = []
        self.environment = {}
        self.uuids = {}

    def preload(self, *libraries, trouble=False):
        """For the processes of brokers made after it."""
        before = os.environ.get("LD_PRELOAD", "")
        if trouble:
            self.trouble = self.dir / "trouble"
            self.trouble.mkdir()
            libraries += (library("tests/env/faults.c", self.dir),)
            self.environment["LB_FAULT_DIR"] = str(self.trouble)
        self.environment["LD_PRELOAD"] = " ".join(
            map(str, (*before.split(), *libraries)))

    def broker(self, direct=False, **kw):
        """direct: not through the door, so that connections are refused while
        ClickHouse is down."""
        n = len(self.brokers)
        kw.setdefault("flusher", PATIENCE)
        kw.setdefault("extra_server", LOCATIONS)
        url = self.clickhouse.url if direct else self.door.url
        b = Broker(self.dir / f"broker-{n}", kw.pop("urls", [url]),
                   name=f"broker-{n}", env=self.environment, **kw)
        self.brokers.append(b)
        return b.start()

    # the ClickHouse process (see chfault.c)

    def strike(self, point, action, n=1, times=1, table="logs"):
        """From now on this happens at a point of an INSERT into the table."""
        if table not in self.uuids:
            self.uuids[table] = self.clickhouse.query(
                "SELECT uuid FROM system.tables WHERE database = 'logbroker' "
                f"AND name = '{table}'").strip()
        uuid = self.uuids[table]
        (self.strikes / "reached").unlink(missing_ok=True)
        new = self.strikes / "point.new"
        new.write_text(f"{point} {n} {action} {times} {uuid}\n")
        new.rename(self.strikes / "point")

    def struck(self, timeout=8):
        """The name of the point, or None if nothing came there."""
        reached = self.strikes / "reached"
        with contextlib.suppress(AssertionError):
            wait_for(reached.exists, timeout)
        (self.strikes / "point").unlink(missing_ok=True)
        return reached.read_text().split()[1] if reached.exists() else None

    def revive(self):
        """ClickHouse, after it was killed."""
        self.clickhouse.process.wait(10)
        self.clickhouse.start()

    def load(self, **kw):
        kw.setdefault("seed", self.seed)
        # several thousand events a second are enough, and leave the machine
        # to what is tried
        kw.setdefault("pause", 0.002)
        kw.setdefault("doors", DOORS)
        return Oracle([b.port for b in self.brokers], **kw)

    def for_a_while(self):
        """Turns until the scenario's time is over; the faults between them
        come at any moment."""
        turn = 0
        end = time.monotonic() + self.span
        while time.monotonic() < end:
            yield turn
            turn += 1
            time.sleep(self.rng.random() * 0.8)

    def next_insert(self, timeout):
        """Returns as it begins to arrive at the door, or after so long."""
        if self.door.inserts is None:
            self.door.inserts = "pass"

        def inserts():
            return sum(kind == "insert" for _, kind in self.door.heard)

        n = inserts()
        with contextlib.suppress(AssertionError):
            wait_for(lambda: inserts() > n, timeout, every=0.001)

    def settled(self, timeout):
        (self.strikes / "point").unlink(missing_ok=True)

        def drained():
            # a point may be come to just when nobody waits for it any more
            if self.clickhouse.process.poll() is not None:
                self.revive()
            return all(b.drained() for b in self.brokers)

        wait_for(drained, timeout, "everything delivered", every=0.2)

    def finish(self, oracle, **kw):
        """Everything works again: all of it must arrive."""
        self.door.mode = "pass"
        self.settled(120)
        return oracle.verify(self.clickhouse, **kw)

    def close(self):
        for b in self.brokers:
            with contextlib.suppress(Exception):
                b.stop()
        self.door.close()
        self.clickhouse.stop()
        reports = [r for b in self.brokers for r in b.sanitizer_reports()]
        assert not reports, reports[0]
