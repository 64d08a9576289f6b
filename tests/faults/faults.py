"""Faults under load, one oracle: what was acknowledged is delivered exactly
once.  See run.sh."""

import argparse
import concurrent.futures
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
import traceback

from world import SCENARIOS, World, scenario
from env.clickhouse import ClickHouse
from env import profiles
from env.process import children, wait_for
import behind_edge  # noqa: F401: more scenarios
import checkpoint  # noqa: F401
import disks  # noqa: F401
import grown  # noqa: F401
import killloop  # noqa: F401
import poison  # noqa: F401
import server  # noqa: F401
import urls  # noqa: F401
import views  # noqa: F401

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
    """500 after the commit; 200 with an exception or with nothing, after the
    commit and without one."""
    return through_the_door("500", "exception", "empty", "exception instead",
                            "empty instead")(w)


@scenario
def overload(w):
    """503, 429, and closed doors."""
    return through_the_door("503", "429", "shut")(w)


@scenario
def flusher_killed(w):
    """While an INSERT is on its way, at any other moment, several times in a
    row, also while it is starting."""
    b = w.broker()
    with w.load() as oracle:
        for _ in w.for_a_while():
            for _ in range(w.rng.randint(1, 3)):
                if w.rng.random() < 0.7:
                    w.next_insert(4)
                    time.sleep(w.rng.choice([0, 0.002, 0.005, 0.03]))
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
def rings_change(w):
    """Outages that fill small rings while workers die and nginx is reloaded:
    full rings are left, drained ones are taken."""
    b = w.broker(size="128k", workers=3,
                 sync=w.rng.choice(["always", "off"]))
    full = False
    with w.load(pause=0) as oracle:
        for _ in w.for_a_while():
            w.door.mode = w.rng.choice(["shut", "shut", "pass"])
            w.rng.choice([lambda: None, b.reload, b.kill_nginx,
                          lambda: b.kill_worker(w.rng)])()
            if not b.listening():
                b.start_nginx()
            full |= 503 in oracle.statuses
    w.door.mode = "pass"
    assert full, "the spool was never full"
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
    """SIGSTOP and SIGCONT of workers and flusher; now and then of the flusher
    in the middle of an INSERT, for longer than that may take."""
    b = w.broker()
    with w.load() as oracle:
        for turn in w.for_a_while():
            if turn % 3 == 0:
                w.next_insert(4)
                pid, span = b.flusher.pid, 2.5
            else:
                pid = w.rng.choice([b.flusher.pid, *children(b.nginx.pid)])
                span = w.rng.random() * 2
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                time.sleep(span)
                os.kill(pid, signal.SIGCONT)
    return w.finish(oracle)


@scenario
def reloads(w):
    """nginx -s reload without a pause."""
    b = w.broker()
    with w.load(keepalive=False) as oracle:
        for _ in w.for_a_while():
            b.reload()
    assert not oracle.refused | oracle.unknown, oracle.statuses
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
    w.preload(trouble=True)
    trouble = w.trouble
    w.broker(rings=16)
    with w.load() as oracle:
        for _ in w.for_a_while():
            (trouble / "fail").write_text("5")
            time.sleep(w.rng.choice([0.01, 0.3]))
            (trouble / "fail").unlink()
    return w.finish(oracle)


FLUSHER_POINTS = [f"{point}.{when}" for point in
                  ("checkpoint.write", "checkpoint.sync", "ring.sync",
                   "ring.write", "net.send", "net.recv")
                  for when in ("before", "after")]
WORKER_POINTS = [f"ring.{call}.{when}" for call in ("write", "sync")
                 for when in ("before", "after")]


def at_every_point(w, sig, who):
    """A process dies, or stops for a while, at each named point in turn, now
    and then twice in a row: the second time while it recovers."""
    w.preload(trouble=True)
    points = FLUSHER_POINTS if who == "flusher" else WORKER_POINTS
    # only one of the two processes sees the points
    sync = "off" if who == "flusher" else "always"
    b = w.broker(sync=sync)
    if who == "flusher":
        # nginx without the shim, so that ring points are the flusher's
        b.nginx.stop()
        b.nginx.env.pop("LB_FAULT_DIR")
        b.start_nginx()
    else:
        b.flusher.kill()
        b.env.pop("LB_FAULT_DIR")
        b.start_flusher()
    reached = w.trouble / "reached"
    hits = 0
    turns = [(p, n) for p in points for n in (1, w.rng.randint(2, 4))]
    w.rng.shuffle(turns)
    # long enough for each of them once
    if w.span < 10:
        turns = turns[:8]
    with w.load(threads=2) as oracle:
        for name, n in turns:
            for again in range(w.rng.choice([1, 1, 2])):
                reached.unlink(missing_ok=True)
                temp = w.trouble / "point.new"
                temp.write_text(f"{name} {n} {int(sig)}")
                temp.rename(w.trouble / "point")
                with contextlib.suppress(AssertionError):
                    wait_for(reached.exists, 4, name)
                (w.trouble / "point").unlink(missing_ok=True)
                if not reached.exists():
                    continue
                hits += 1
                if sig == signal.SIGSTOP:
                    # now and then longer than a request may take
                    time.sleep(2.5 if "net" in name and w.rng.random() < 0.5
                               else w.rng.random())
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(reached.read_text()), signal.SIGCONT)
                elif who == "flusher":
                    b.flusher.p.wait(10)
                    b.start_flusher()
    assert hits >= len(turns) / 2, f"only {hits} of {len(turns)} reached"
    result = w.finish(oracle)
    return f"{result} points={hits}"


@scenario
def flusher_dies_at_each_point(w):
    """SIGKILL before and after each write, sync, send and receive."""
    return at_every_point(w, signal.SIGKILL, "flusher")


@scenario
def flusher_stops_at_each_point(w):
    """SIGSTOP there, and on after a while."""
    return at_every_point(w, signal.SIGSTOP, "flusher")


@scenario
def workers_die_at_each_point(w):
    """SIGKILL before and after each write and sync."""
    return at_every_point(w, signal.SIGKILL, "worker")


@scenario
def workers_stop_at_each_point(w):
    """SIGSTOP there, and on after a while."""
    return at_every_point(w, signal.SIGSTOP, "worker")


FAKETIME = pathlib.Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")


def fake_clock(w, **how):
    """For nginx and flusher of the next brokers."""
    w.preload(FAKETIME)
    w.environment.update(DONT_FAKE_MONOTONIC="1", NO_FAKE_STAT="1",
                         FAKETIME_DONT_FAKE_MONOTONIC="1", **how)


@scenario
def clocks_jump(w):
    """The wall clock is set, hours forward and back, under nginx and
    flusher; both must have seen it."""
    clock = w.dir / "clock"

    def jump(by):
        temp = w.dir / "clock.new"
        temp.write_text(f"{by:+d}s\n")
        temp.rename(clock)

    jump(0)
    fake_clock(w, FAKETIME_TIMESTAMP_FILE=str(clock), FAKETIME_NO_CACHE="1")
    b = w.broker()
    jumps = [7200, -7200, 100000, 1, -90, 0]
    flusher = set()

    def seen(hours):
        """By the flusher, at its last success."""
        then = (b.status()["flusher"] or {}).get("last_success") or 0
        flusher.add(then and round((then - time.time()) / 3600))
        return hours in flusher

    with w.load() as oracle:
        for hours in (2, -2):
            jump(hours * 3600)
            wait_for(lambda: seen(hours), 60,
                     f"the flusher's clock set by {hours} h", every=0.1)
        for _ in w.for_a_while():
            jump(w.rng.choice(jumps))
    jump(0)
    result = w.finish(oracle)
    worker = {int(h) for h in w.clickhouse.query(
        "SELECT DISTINCT round(dateDiff('second', now(), received_at) / 3600) "
        "FROM logbroker.logs").split()}
    assert {2, -2} <= worker, f"hours the workers' clock was off: {worker}"
    assert {2, -2} <= flusher, f"hours the flusher's clock was off: {flusher}"
    return f"{result} worker={sorted(worker)}h flusher={sorted(flusher)}h"


@scenario
def clocks_differ(w):
    """Three nodes, the clock of one 3.4 s ahead: after the first answers it
    goes by ClickHouse's clock, and no two requests come within a second."""
    for i in range(3):
        w.environment.clear()
        if i == 1:
            fake_clock(w, FAKETIME="+3.4s")
        w.broker(index=i, count=3)
    with w.load(threads=2, keepalive=False) as oracle:
        # every node has had some answers
        wait_for(lambda: all((b.status()["flusher"] or {}).get("batches", 0)
                             >= 4 for b in w.brokers), 60, "answers")
        skip = len(w.door.starts)
        for _ in w.for_a_while():
            pass
        wait_for(lambda: len(w.door.starts) >= skip + 12, 60, "requests")
    starts = w.door.starts[skip:]
    offset = w.brokers[1].status()["flusher"]["clock_offset_seconds"]
    assert 3.2 < offset < 3.6, offset
    result = w.finish(oracle)
    gap = min(b - a for a, b in zip(starts, starts[1:]))
    assert gap > 0.99, f"two requests {gap:.3f} s apart"
    return f"{result} closest={gap:.3f}s"


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


@scenario
def hostile_profiles(w):
    """Some fifty profiles of the ClickHouse user, each with a broker of its own:
    delivered once, or held with words and delivered when it was put right."""
    own = ClickHouse(w.dir / "profiles")
    try:
        return profiles.run(own, w.dir)
    finally:
        own.stop()


def run_here(name, seed, span):
    """True if the promises held."""
    directory = tempfile.mkdtemp(prefix=f"lb-{name}-")
    begun = time.monotonic()
    world = None
    try:
        world = World(directory, seed, span)
        result = SCENARIOS[name](world)
        world.close()
        world = None
        shutil.rmtree(directory)
        print(f"{name:30} seed={seed} {result} "
              f"{time.monotonic() - begun:.0f}s", flush=True)
        return True
    except Exception as e:  # noqa: BLE001: any failure is a red scenario
        where = traceback.extract_tb(e.__traceback__)
        line = [f for f in where if "/faults/" in f.filename][-1]
        print(f"{name:30} seed={seed} FAILED {type(e).__name__}: {e} "
              f"({os.path.basename(line.filename)}:{line.lineno})\n"
              f"{'':30} replay: --scenario {name} --seed {seed} "
              f"--span {span:.1f}; files: {directory}", flush=True)
        return False
    finally:
        if world is not None:
            with contextlib.suppress(Exception):
                world.close()


def run_one(name, seed, span):
    """The same in a process of its own: (passed, what it says)."""
    p = subprocess.run(
        [sys.executable, __file__, "--scenario", name, "--seed", str(seed),
         "--span", f"{span:.1f}"], stdout=subprocess.PIPE, text=True,
        check=False)
    said = "".join(line + "\n" for line in p.stdout.splitlines()
                   if not line.startswith("{"))
    return p.returncode == 0, said or f"{name}: ended by itself\n"


def main():
    parser = argparse.ArgumentParser(prog="tests/faults/run.sh",
                                     description=__doc__)
    parser.add_argument("--seed", type=int, default=20261123)
    parser.add_argument("--duration", type=int, default=360,
                        metavar="SECONDS", help="of all scenarios together")
    parser.add_argument("--hours", type=float, help="instead of --duration")
    parser.add_argument("--scenario", choices=SCENARIOS, action="append")
    parser.add_argument("--span", type=float, metavar="SECONDS",
                        help="under load of each scenario, one after another")
    parser.add_argument("--jobs", type=int, default=3,
                        help="scenarios at once (default: 3)")
    parser.add_argument("--list", action="store_true",
                        help="the names of the scenarios")
    parser.add_argument("--kill-loop", type=float, metavar="MINUTES",
                        help="the scenario kill_loop alone, for so long")
    args = parser.parse_args()

    if args.kill_loop:
        args.scenario, args.span = ["kill_loop"], args.kill_loop * 60

    if args.list:
        print("\n".join(SCENARIOS))
        return 0

    names = list(args.scenario or SCENARIOS)
    if args.span:
        results = [run_here(name, args.seed, args.span) for name in names]
        print(json.dumps({"scenarios": len(results),
                          "failed": results.count(False)}))
        return 1 if False in results else 0

    duration = args.hours * 3600 if args.hours else args.duration
    jobs = min(args.jobs, len(names))
    # the load of each takes its share of what start, drain and check leave
    fixed = {name: SCENARIOS[name].seconds for name in names
             if SCENARIOS[name].seconds and not args.hours}
    shares = sum(SCENARIOS[name].share for name in names if name not in fixed)
    left = max(0, duration * jobs - 12 * len(names) - sum(fixed.values()))
    spans = {name: fixed.get(name) or
             max(3 * min(1, SCENARIOS[name].share),
                 min(60, left / (shares or 1) * SCENARIOS[name].share))
             for name in names}
    # the long ones first, so that none is left alone at the end
    names.sort(key=lambda name: -spans[name])
    end = time.monotonic() + duration
    failed = passed = 0
    seed = args.seed
    while True:
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            for done in concurrent.futures.as_completed(
                    pool.submit(run_one, name, seed, spans[name])
                    for name in names):
                held, said = done.result()
                print(said, end="", flush=True)
                passed += held
                failed += not held
        seed += 1
        if (args.scenario and not args.hours or
                time.monotonic() > end - max(spans.values())):
            break
    print(json.dumps({"scenarios": passed + failed, "failed": failed}))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
