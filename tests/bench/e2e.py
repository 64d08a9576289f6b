"""The driver behind e2e.sh.

A way is what takes events and makes rows of them (ways.py).  In each round all
ways run one after another, in the opposite order in every other one, each with a
table of its own on the same server.  A run is a closed loop of 64 connections, no
two bodies the same, until the last event that was acknowledged can be found; the
CPU time of every process is that of the whole run.
"""

import argparse
import contextlib
import datetime
import http.client
import json
import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import tempfile
import threading
import time

import e2e_tables
from env.build import BUILD, find
from env.clickhouse import ClickHouse
from env.process import wait_for
from ways import BODIES, COUNT, HERE, SKIPPED, WAYS, cpu, memory

CONNECTIONS = 64
OURS = ("direct", "direct-off", "edge", "edge2")


def load(way, body, seconds, directory):
    """A run of wrk, or of bench_lines: how many were acknowledged, and how
    fast."""
    path, kind, data = way.where(body)
    file = directory / "body"
    # the first number is counted up: enough to tell the bodies apart
    file.write_bytes(data)
    argv = ["wrk", "-t", "1", "-c", str(CONNECTIONS), "-d", f"{seconds}s",
            "--timeout", "60s", "-s", HERE / "load.lua",
            f"http://127.0.0.1:{way.port}{path}"]
    if way.lines:
        argv = [find("bench_lines"), str(way.port), str(CONNECTIONS),
                str(seconds), file, COUNT]
    p = subprocess.run(argv, env={
        **os.environ, "BENCH_BODY": str(file), "BENCH_TYPE": kind,
        "BENCH_COUNT": COUNT}, capture_output=True, text=True, check=False,
        timeout=seconds + 90)
    found = re.search(r"^BENCH (.*)$", p.stdout, re.M)
    raw = json.loads(found[1]) if found else {}
    if not raw.get("requests") or raw["bad"] or raw["broken"]:
        raise RuntimeError(f"{body}: {argv[0]} says "
                           f"{p.stdout[-300:]}{p.stderr[-300:]}")
    return raw


def settled(way, least, patience=20, timeout=120):
    """All that was acknowledged has its row, and none comes any more; or none
    has come for so many seconds.  How many there are, and since when."""
    last = [0, time.monotonic()]

    def still():
        rows = way.rows()
        if rows != last[0]:
            last[:] = [rows, time.monotonic()]
        return (rows >= least and time.monotonic() - last[1] > 1.5) or \
            time.monotonic() - last[1] > patience
    wait_for(still, timeout, "rows", 0.5)
    return last


def run(way, body, seconds, directory):
    os.sync()  # what others left to be written is not on this one's account
    before = {k: cpu(v) for k, v in way.processes().items()}
    rows = way.rows()
    begun = time.monotonic()
    raw = load(way, body, seconds, directory)
    events = raw["requests"] * len(BODIES[body])
    there, since = settled(way, rows + events)
    rows = there - rows
    after = {k: cpu(v) for k, v in way.processes().items()}
    # those that were on their way when wrk stopped have rows too
    stored = max(min(rows, events + CONNECTIONS * len(BODIES[body])), 1)
    out = {k: (after[k] - before[k]) / stored * 1e6 for k in before}
    return {"cpu": out, "sum": sum(out.values()), "missing": events - rows,
            "answered": events / raw["us"] * 1e6,
            "rows": rows / (since - begun),
            "memory": memory([p for k, v in way.processes().items()
                              if k != "ClickHouse" for p in v])}


class Client(threading.Thread):
    """Sends one event after another and remembers what was acknowledged."""

    def __init__(self, way, name, pause=0.0):
        super().__init__()
        self.way, self.word, self.pause = way, name, pause
        self.acked, self.unknown, self.end = {}, 0, False
        self.start()

    def run(self):
        self.peer, n = None, 0
        while not self.end:
            name = f"{self.word}x{n}x"
            n += 1
            try:
                if self.line(name) if self.way.lines else self.post(name):
                    self.acked[name] = time.monotonic()
            except (OSError, http.client.HTTPException):
                self.peer = None
                self.unknown += 1
                time.sleep(0.01)
            time.sleep(self.pause)

    def post(self, name):
        self.peer = self.peer or http.client.HTTPConnection(
            "127.0.0.1", self.way.port, timeout=10)
        self.peer.request("POST", self.way.path, self.way.encode([name]),
                          {"Content-Type": self.way.type})
        r = self.peer.getresponse()
        r.read()
        return r.status < 300

    def line(self, name):
        """True: the kernel took it; nobody says more."""
        self.peer = self.peer or socket.create_connection(
            ("127.0.0.1", self.way.port), timeout=10)
        self.peer.sendall(self.way.encode([name]))
        # about as many as with a way that answers
        time.sleep(0.002)
        return True


def freshness(way, seconds):
    """Seconds from the answer to the row, with 20 events a second."""
    client = Client(way, f"fresh{time.time_ns()}", 0.05)
    end, seen = time.monotonic() + seconds, {}

    def look():
        for name in way.messages(client.word):
            seen.setdefault(name, time.monotonic())
        if time.monotonic() > end:
            client.end = True
        return client.end and not client.is_alive() \
            and len(seen) >= len(client.acked)
    try:
        wait_for(look, seconds + 60, "all rows", 0.03)
    finally:
        client.end = True
    took = sorted(seen[n] - at for n, at in client.acked.items())
    return {"p50": statistics.median(took),
            "p99": took[int(len(took) * 0.99)]}


def sending(way, seconds):
    """Waits until an INSERT is under way; not longer than that."""
    end = time.monotonic() + seconds
    c = http.client.HTTPConnection("127.0.0.1", way.clickhouse.port, timeout=9)
    count = b"0\n"
    while count == b"0\n" and time.monotonic() < end:
        c.request("POST", "/", "SELECT count() FROM system.processes "
                  "WHERE query_kind = 'Insert'")
        count = c.getresponse().read()
    c.close()


def killed(way):
    """kill -9 under load, while it sends, and a start, three times: of what was
    acknowledged, how many have no row, and how many rows there are too many."""
    word = f"kill{time.time_ns()}"
    clients = [Client(way, f"{word}c{i}") for i in range(4)]
    try:
        for _ in range(3):
            time.sleep(1)
            sending(way, 2)
            way.kill()
            time.sleep(0.3)
            way.again()
        time.sleep(1)
    finally:
        for c in clients:
            c.end = True
        for c in clients:
            c.join()
    acked = {n for c in clients for n in c.acked}
    settled(way, 1 << 60, patience=6)
    stored = way.messages(word)
    return {"acked": len(acked), "lost": len(acked - set(stored)),
            "doubled": len(stored) - len(set(stored))}


def measure(name, clickhouse, args, directory, results):
    way = WAYS[name](directory, clickhouse)
    try:
        way.start()
        for body in way.bodies:
            seconds = way.seconds(body, args.seconds)
            try:
                r = run(way, body, seconds, directory)
            except RuntimeError as e:
                print(f"{name}, once more: {e}", flush=True)
                settled(way, 1 << 60, patience=6)
                r = run(way, body, seconds, directory)
            results.setdefault((name, body), []).append(r)
        if (name, "fresh") not in results:
            results[name, "fresh"] = freshness(way, 2 if args.quick else 8)
            results[name, "killed"] = killed(way)
    finally:
        with contextlib.suppress(AttributeError):
            way.stop()
        # neither its disk nor its merges are the next one's
        if way.table:
            clickhouse.query(f"DROP TABLE IF EXISTS {way.table} SYNC")
        shutil.rmtree(directory, ignore_errors=True)


def rounds(args, clickhouse, directory, results, about):
    """All rounds; what cannot be measured is left out by name."""
    names = args.only.split(",")
    skipped = about["skipped"]
    for i in range(args.rounds):
        for name in names if i % 2 == 0 else names[::-1]:
            called = WAYS[name].__doc__
            if called in skipped:
                continue
            begun = time.monotonic()
            try:
                measure(name, clickhouse, args, directory / f"{name}-{i}",
                        results)
            except (OSError, RuntimeError, AssertionError,
                    subprocess.TimeoutExpired) as e:
                skipped[called] = str(e)
            print(f"round {i + 1}: {name}, {time.monotonic() - begun:.0f} s"
                  + (f", left out: {skipped[called]}" if called in skipped
                     else ""), flush=True)
            e2e_tables.save(args.out, results, about)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--only", default=",".join(WAYS))
    parser.add_argument("--out", type=pathlib.Path,
                        default=BUILD / "bench-e2e")
    parser.add_argument("--docs", action="store_true")
    args = parser.parse_args()
    if args.docs:
        e2e_tables.write_docs(args.out)
        return
    if args.quick:
        args.rounds = args.seconds = 1
    results = {}
    about = {"date": datetime.date.today().isoformat(),
             "rounds": args.rounds, "seconds": args.seconds,
             "load": os.getloadavg()[0], "skipped": dict(SKIPPED)}
    with tempfile.TemporaryDirectory(prefix="lb-e2e-") as d, \
            ClickHouse(pathlib.Path(d) / "clickhouse") as clickhouse:
        rounds(args, clickhouse, pathlib.Path(d), results, about)
    print(f"\n{args.out}/table.md, and for README.md readme.md:\n")
    print((args.out / "table.md").read_text())
    print((args.out / "readme.md").read_text())
    for name in OURS:
        assert WAYS[name].__doc__ not in about["skipped"], \
            f"{name}: {about['skipped'][WAYS[name].__doc__]}"
    ours = [r for (name, _), r in results.items() if name in OURS]
    for r in ours:
        for one in r if isinstance(r, list) else [r]:
            assert one.get("missing", 0) <= 0, one
            assert not one.get("lost") and not one.get("doubled"), one


if __name__ == "__main__":
    main()
