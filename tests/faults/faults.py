"""Faults under load, one oracle: what was acknowledged is delivered exactly
once.  See run.sh."""

import argparse
import contextlib
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

import clickhoused  # noqa: E402
from nginxd import children, wait_for  # noqa: E402
from stack import Broker, Door, Oracle  # noqa: E402

PATIENCE = {"backoff": {"min_ms": 1000, "max_ms": 2000},
            "clickhouse": {"request_timeout_ms": 2000}}
SCENARIOS = {}


def scenario(f):
    SCENARIOS[f.__name__] = f
    return f


class World:
    """One ClickHouse, one door before it, some brokers, one load."""

    def __init__(self, directory, seed, span):
        self.dir = pathlib.Path(directory)
        self.rng = random.Random(seed)
        self.seed = seed
        self.span = span
        self.clickhouse = clickhoused.ClickHouse(self.dir / "clickhouse")
        self.clickhouse.start()
        self.door = Door(self.clickhouse.port)
        self.brokers = []
        self.environment = {}

    def broker(self, direct=False, **kw):
        """direct: not through the door, so that connections are refused while
        ClickHouse is down."""
        n = len(self.brokers)
        kw.setdefault("flusher", PATIENCE)
        url = self.clickhouse.url if direct else self.door.url
        b = Broker(self.dir / f"broker-{n}", [url],
                   name=f"broker-{n}", **kw)
        b.nginx_env.update(self.environment)
        self.brokers.append(b)
        return b.start()

    def load(self, **kw):
        return Oracle([b.port for b in self.brokers], seed=self.seed, **kw)

    def for_a_while(self):
        """Turns until the scenario's time is over; the faults between them
        come at any moment."""
        end = time.monotonic() + self.span
        while time.monotonic() < end:
            yield
            time.sleep(self.rng.random() * 0.8)

    def finish(self, oracle, **kw):
        """Everything works again: all of it must arrive."""
        self.door.mode = "pass"
        wait_for(lambda: all(b.drained() for b in self.brokers), 120,
                 "everything delivered", every=0.2)
        return oracle.verify(self.clickhouse, **kw)

    def close(self):
        for b in self.brokers:
            with contextlib.suppress(Exception):
                b.stop()
        self.door.close()
        self.clickhouse.stop()
        reports = [r for b in self.brokers for r in b.sanitizer_reports()]
        assert not reports, reports[0]


def through_the_door(*modes):
    """Each request meets one of these, or nothing."""

    def run(w):
        w.broker()
        with w.load() as oracle:
            w.door.mode = lambda: w.rng.choice([*modes, *modes, "pass"])
            for _ in w.for_a_while():
                pass
        return w.finish(oracle)

    return run


@scenario
def answers_get_lost(w):
    """ClickHouse commits, the connection breaks."""
    return through_the_door("drop")(w)


@scenario
def requests_are_cut(w):
    """Reset in the middle of a body."""
    return through_the_door("cut")(w)


@scenario
def answers_hang(w):
    """ClickHouse commits; the answer never comes, or after the timeout."""
    return through_the_door("hang", "late")(w)


@scenario
def false_answers(w):
    """500 after the commit, 200 with an exception, 200 with nothing."""
    return through_the_door("500", "exception", "empty")(w)


@scenario
def overload(w):
    """503, 429, and closed doors."""
    return through_the_door("503", "429", "shut")(w)


@scenario
def flusher_killed(w):
    """Several times in a row, also while it is starting."""
    b = w.broker()
    with w.load() as oracle:
        for _ in w.for_a_while():
            for _ in range(w.rng.randint(1, 3)):
                b.flusher.kill()
                b.start_flusher()
                time.sleep(w.rng.choice([0, 0.01, 0.05]))
    return w.finish(oracle)


@scenario
def flusher_killed_in_doubt(w):
    """Killed while the outcome of its batch is not known."""
    b = w.broker()
    with w.load() as oracle:
        w.door.mode = lambda: w.rng.choice(["drop", "hang", "cut", "pass"])
        for _ in w.for_a_while():
            if w.rng.random() < 0.5:
                b.flusher.kill()
                b.start_flusher()
    return w.finish(oracle)


@scenario
def workers_killed(w):
    """kill -9 of workers, also one after the other while they recover."""
    b = w.broker(sync=w.rng.choice(["always", "off"]))
    with w.load() as oracle:
        for _ in w.for_a_while():
            for _ in range(w.rng.randint(1, 3)):
                b.kill_worker(w.rng)
    return w.finish(oracle)


@scenario
def nginx_killed(w):
    """Master and workers at once, as when a container is killed."""
    b = w.broker(sync=w.rng.choice(["always", "off"]))
    with w.load() as oracle:
        for _ in w.for_a_while():
            b.kill_nginx()
            b.start_nginx()
    return w.finish(oracle)


@scenario
def frozen(w):
    """SIGSTOP and SIGCONT of workers and flusher."""
    b = w.broker()
    with w.load() as oracle:
        for _ in w.for_a_while():
            pids = [b.flusher.pid, *children(b.nginx.pid)]
            pid = w.rng.choice(pids)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                time.sleep(w.rng.random() * 2)
                os.kill(pid, signal.SIGCONT)
    return w.finish(oracle)


@scenario
def reloads(w):
    """nginx -s reload without a pause."""
    b = w.broker()
    with w.load(keepalive=False) as oracle:
        for _ in w.for_a_while():
            b.reload()
    assert set(oracle.statuses) == {204}, oracle.statuses
    return w.finish(oracle)


@scenario
def clickhouse_killed(w):
    """kill -9 at any moment, in the middle of an INSERT too."""
    w.broker(direct=True)
    with w.load() as oracle:
        for _ in w.for_a_while():
            w.clickhouse.kill()
            time.sleep(w.rng.random() * 3)
            w.clickhouse.start()
            time.sleep(w.rng.random() * 2)
    return w.finish(oracle)


@scenario
def table_missing(w):
    """Not there at first, and away now and then."""
    w.clickhouse.query("RENAME TABLE logbroker.logs TO logbroker.away")
    w.broker()
    with w.load() as oracle:
        away = True
        for _ in w.for_a_while():
            names = ("away", "logs") if away else ("logs", "away")
            w.clickhouse.query("RENAME TABLE logbroker.%s TO logbroker.%s"
                               % names)
            away = not away
    if away:
        w.clickhouse.query("RENAME TABLE logbroker.away TO logbroker.logs")
    return w.finish(oracle)


@scenario
def wrong_password(w):
    """Wrong, then put right with SIGHUP."""
    b = w.broker(user="logbroker", password="wrong")
    with w.load() as oracle:
        for _ in w.for_a_while():
            pass
        (b.dir / "password").write_text(w.clickhouse.password + "\n")
        b.flusher.signal(signal.SIGHUP)
    return w.finish(oracle)


@scenario
def three_nodes(w):
    """Three brokers, lost answers and kills: never two requests within one
    second, checks and repetitions counted."""
    for i in range(3):
        w.broker(index=i, count=3)
    with w.load() as oracle:
        w.door.mode = lambda: w.rng.choice(["drop", "pass", "pass"])
        for _ in w.for_a_while():
            b = w.rng.choice(w.brokers)
            if w.rng.random() < 0.3:
                b.flusher.kill()
                b.start_flusher()
    result = w.finish(oracle)
    starts = w.door.starts
    gap = min(b - a for a, b in zip(starts, starts[1:]))
    assert gap > 0.99, f"two requests {gap:.3f} s apart"
    return f"{result} requests={len(starts)} closest={gap:.3f}s"


@scenario
def disk_errors(w):
    """EIO from writes and syncs of the rings: once, and for a while."""
    preload = w.dir / "faults.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", preload,
                    ROOT / "tests/e2e/faults.c", "-ldl"], check=True)
    trouble = w.dir / "trouble"
    trouble.mkdir()
    before = os.environ.get("LD_PRELOAD", "")
    w.environment = {"LB_FAULT_DIR": str(trouble),
                     "LD_PRELOAD": f"{before} {preload}".strip()}
    w.broker(rings=16)
    with w.load() as oracle:
        for _ in w.for_a_while():
            (trouble / "fail").write_text("5")
            time.sleep(w.rng.choice([0.01, 0.3]))
            (trouble / "fail").unlink()
    # a group that failed may still be found later
    return w.finish(oracle, refused_may_arrive=True)


@scenario
def everything(w):
    """All of it in any order."""
    b = w.broker()
    w.door.mode = lambda: w.rng.choice(
        ["drop", "cut", "500", "503", "late", "pass", "pass", "pass"])

    def flusher():
        b.flusher.kill()
        b.start_flusher()

    def nginx():
        b.kill_nginx()
        b.start_nginx()

    def server():
        w.clickhouse.kill()
        w.clickhouse.start()

    with w.load() as oracle:
        for _ in w.for_a_while():
            w.rng.choice([flusher, flusher, nginx, server, b.reload,
                          lambda: b.kill_worker(w.rng)])()
    return w.finish(oracle)


def run_one(name, seed, span):
    """True if the promises held."""
    directory = tempfile.mkdtemp(prefix=f"lb-{name}-")
    world = None
    try:
        world = World(directory, seed, span)
        result = SCENARIOS[name](world)
        world.close()
        world = None
        shutil.rmtree(directory)
        print(f"{name:24} seed={seed} {result}", flush=True)
        return True
    except Exception as e:  # noqa: BLE001: any failure is a red scenario
        print(f"{name:24} seed={seed} FAILED {type(e).__name__}: {e}\n"
              f"{'':24} replay: --scenario {name} --seed {seed}; "
              f"files: {directory}", flush=True)
        return False
    finally:
        if world is not None:
            with contextlib.suppress(Exception):
                world.close()


def main():
    parser = argparse.ArgumentParser(prog="tests/faults/run.sh",
                                     description=__doc__)
    parser.add_argument("--seed", type=int, default=20261123)
    parser.add_argument("--duration", type=int, default=300,
                        metavar="SECONDS", help="of all scenarios together")
    parser.add_argument("--hours", type=float, help="instead of --duration")
    parser.add_argument("--scenario", choices=SCENARIOS, action="append")
    args = parser.parse_args()

    names = args.scenario or list(SCENARIOS)
    duration = args.hours * 3600 if args.hours else args.duration
    # around the load of each: start, drain, check
    span = max(3, min(60, duration / len(names) - 8))
    end = time.monotonic() + duration
    failed = passed = 0
    seed = args.seed
    while True:
        for name in names:
            if run_one(name, seed, span):
                passed += 1
            else:
                failed += 1
        seed += 1
        if args.scenario and not args.hours or time.monotonic() > end - span:
            break
    print(json.dumps({"scenarios": passed + failed, "failed": failed}))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
