#!/usr/bin/env python3
"""How long small requests wait beside large ones, and what a burst of large
ones leaves in memory. One worker, its thread pool, one disk.

    tests/bench/mixed.py [--seconds N] [--only PATTERN] [--sync always|off]

For each mix: the time from sending to 204 of requests of 200 bytes (four
connections, some hundred requests a second each) while two connections send
the large body one after another; "loop" is a request that needs no disk. Then the most memory of the worker while 60
clients send a bomb at the same moment, and what is left of it afterwards.

LB_BUILD names the build directory (default: build).
"""

import argparse
import gzip
import http.client
import multiprocessing
import pathlib
import re
import subprocess
import tempfile
import threading
import time

from env.nginx import Nginx

ROOT = pathlib.Path(__file__).resolve().parents[2]
DRAIN = ROOT / "build" / "bench_drain"
SMALL = b'{"level":"info","message":"%s"}' % (b"m" * 170)
GZIP = {"Content-Encoding": "gzip"}
TEXT = {"Content-Type": "text/plain"}
LINE = b'{"time":"2026-01-01T00:00:00Z","level":"info","message":"%s"}\n' \
    % (b"some words of a log line " * 6)

MIXES = {
    "nothing": (None, {}),
    "bombs of spaces, gzip": (gzip.compress(b" " * 30_000_000), GZIP),
    "30 MB of NDJSON": (LINE * (30_000_000 // len(LINE)), {}),
    "30 MB of NDJSON, gzip": (
        gzip.compress(LINE * (30_000_000 // len(LINE)), 1), GZIP),
    "short lines of text, gzip": (
        gzip.compress(b"a\n" * 15_000_000), GZIP | TEXT),
    "empty events, gzip": (gzip.compress(b"{}" * 15_000_000), GZIP),
    "an array of 900,000 events": (
        b"[" + b",".join([b'{"n":1}'] * 900_000) + b"]", {}),
    "an error at the end of 30 MB": (
        LINE * (30_000_000 // len(LINE)) + b"{", {}),
    "100 KB of NDJSON": (LINE * (100_000 // len(LINE)), {}),
}


def heavy(port, name, stop, done):
    body, headers = MIXES[name]
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    while not stop.is_set():
        c.request("POST", "/log", body, headers)
        r = c.getresponse()
        r.read()
        with done.get_lock():
            done.value += 1


def small(port, until, times, failed, method="POST", path="/log"):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    while time.monotonic() < until:
        begun = time.perf_counter()
        c.request(method, path, SMALL if method == "POST" else None)
        r = c.getresponse()
        r.read()
        times.append(time.perf_counter() - begun)
        if r.status >= 300:
            failed.append(r.status)
        time.sleep(0.002)


def measure(port, name, seconds):
    stop, done = multiprocessing.Event(), multiprocessing.Value("i", 0)
    heavies = [multiprocessing.Process(target=heavy,
                                       args=(port, name, stop, done))
               for _ in range(2 if MIXES[name][0] else 0)]
    for p in heavies:
        p.start()
    time.sleep(0.5 if heavies else 0)
    times, loop, failed = [], [], []
    until = time.monotonic() + seconds
    threads = [threading.Thread(target=small, args=(port, until, times, failed))
               for _ in range(4)]
    threads.append(threading.Thread(
        target=small, args=(port, until, loop, failed, "GET", "/ok")))
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    stop.set()
    for p in heavies:
        p.join(60)
        p.kill()
    times.sort()
    loop.sort()
    n = len(times)
    print(f"{name:30} {n:7} {1e3 * times[n // 2]:8.1f} "
          f"{1e3 * times[n * 99 // 100]:8.1f} {1e3 * times[-1]:8.1f} "
          f"{1e3 * loop[len(loop) * 99 // 100]:8.1f} {1e3 * loop[-1]:8.1f} "
          f"{done.value:7}" + (f"  not 204: {len(failed)}" if failed else ""),
          flush=True)


def memory(pid, what):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(what + r":\s+(\d+)", text)[1]) // 1024


def burst(nginx, name):
    pid = nginx.workers()[0]
    pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")
    before = memory(pid, "VmRSS")
    body, headers = MIXES[name]
    clients = [nginx.connect(300) for _ in range(60)]
    for c in clients:
        c.request("POST", "/log", body, headers)
    statuses = [c.getresponse().status for c in clients]
    peak = memory(pid, "VmHWM")
    # the clients stay connected
    time.sleep(3)
    print(f"{name:30} {before:7} {peak:8} {memory(pid, 'VmRSS'):8}"
          f"   {sorted(set(statuses))}", flush=True)


def main():
    args = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    args.add_argument("--seconds", type=float, default=5)
    args.add_argument("--only", default="")
    args.add_argument("--sync", default="always", choices=["always", "off"])
    args = args.parse_args()
    names = [n for n in MIXES if re.search(args.only, n)]
    with tempfile.TemporaryDirectory() as directory, Nginx(
            directory, spool="size=512m rings=2",
            http="client_max_body_size 32m; client_body_buffer_size 256k;"
                 f"logbroker_sync {args.sync};",
            server="location = /ok { return 200; }") as nginx, \
            subprocess.Popen([DRAIN, nginx.spool]) as drain:
        try:
            print(f"{'beside (ms, sync ' + args.sync + ')':30} requests"
                  "      p50      p99      max loop p99 loop max   large")
            for name in names:
                measure(nginx.port, name, args.seconds)
            print(f"\n{'60 at once (MB)':30}  before     peak    after")
            for name in names:
                if "gzip" in name:
                    burst(nginx, name)
        finally:
            drain.kill()


if __name__ == "__main__":
    main()
