#!/usr/bin/env python3
"""What one event of 200 bytes costs straight at a broker, through the edge as it is
shipped, which carries many as one, and through one that passes on each by itself.

    tests/bench/edge.py [--seconds N] [--rounds N] [--connections N]

The ways take turns, in the opposite order in every other round; medians of the
rounds. No two bodies are the same. Microseconds of processor time a request, user
and kernel, of all workers with their threads; wrk makes the load, a stand-in acks
the rings. Edge and brokers have a worker each.

LB_BUILD names the build directory (default: build).
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import statistics
import subprocess
import tempfile

from bench import cpu_parts
from env.build import BUILD
from env.edge import Edge, ShippedBroker
from env.process import wait_for
from ways import COUNT, HERE, lines

GATHER = "logbroker_gather /gathered $gather;"

# brokers; what the edge is without, None: there is no edge
WAYS = {
    "straight to a broker": (1, None),
    "the edge, one broker": (1, ""),
    "the same, one by one": (1, GATHER),
    "the edge, two brokers": (2, ""),
    "the same two, one by one": (2, GATHER),
}


def counted(brokers):
    rings = [r for b in brokers for r in b.status()["rings"]]
    return {k: sum(r[k] for r in rings) for k in ("records", "syncs")}


@contextlib.contextmanager
def way(directory, brokers, without):
    """(where to send, workers of the edge, the brokers)"""
    with contextlib.ExitStack() as stack:
        made = []
        for i in range(brokers):
            b = stack.enter_context(ShippedBroker(
                directory / f"b{i}", size="512m"))
            b.count = 1
            wait_for(b.ready, what="a ring")
            drain = stack.enter_context(subprocess.Popen(
                [BUILD / "bench_drain", b.spool]))
            stack.callback(drain.kill)
            made.append(b)
        if without is None:
            yield made[0].port, [], made
            return
        edge = stack.enter_context(Edge(
            directory / "edge", [b.port for b in made],
            # one client alone is not to send so much
            replace=[("rate=20000r/s", "rate=1000000r/s"),
                     *([(without, "")] if without else [])]))
        yield edge.port, wait_for(edge.workers, what="a worker"), made


def measure(name, args):
    with tempfile.TemporaryDirectory() as d, \
            way(pathlib.Path(d), *WAYS[name]) as (port, edge, brokers):
        body = pathlib.Path(d) / "body"
        body.write_bytes(lines([COUNT]))
        theirs = [w for b in brokers for w in b.workers()]
        before = counted(brokers), cpu_parts(edge), cpu_parts(theirs)
        out = subprocess.run(
            ["wrk", "-t", "1", "-c", str(args.connections), "-d",
             f"{args.seconds}s", "-s", HERE / "load.lua",
             f"http://127.0.0.1:{port}/log"],
            env={**os.environ, "BENCH_BODY": str(body), "BENCH_COUNT": COUNT},
            capture_output=True, text=True, check=True)
        after = counted(brokers), cpu_parts(edge), cpu_parts(theirs)
    done = json.loads(re.search(r"^BENCH (.*)$", out.stdout, re.M)[1])
    assert not done["bad"] and not done["broken"], (name, done)
    n = done["requests"]
    us = [(b - a) / n * 1e6 for i in (1, 2) for a, b in zip(before[i], after[i])]
    return {"edge": us[:2], "broker": us[2:], "all": sum(us),
            "rate": n / done["us"] * 1e6, "p50": done["p50"] / 1e3,
            "p99": done["p99"] / 1e3,
            "records": (after[0]["records"] - before[0]["records"])
            / max(1, after[0]["syncs"] - before[0]["syncs"])}


def main():
    args = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    args.add_argument("--seconds", type=int, default=3)
    args.add_argument("--rounds", type=int, default=5)
    args.add_argument("--connections", type=int, default=64)
    args = args.parse_args()
    runs = {name: [] for name in WAYS}
    for n in range(args.rounds):
        for name in WAYS if n % 2 else reversed(WAYS):
            runs[name].append(measure(name, args))
    print("| | edge | broker | both (range) | requests a sync | requests/s |"
          " p50 / p99, ms |\n|---|---|---|---|---|---|---|")
    for name, made in runs.items():
        def middle(what, i=None, made=made):
            return statistics.median(
                m[what] if i is None else m[what][i] for m in made)

        def two(what, middle=middle):
            return f"{middle(what, 0):.1f} + {middle(what, 1):.1f}"
        total = sorted(m["all"] for m in made)
        print(f"| {name} | {'' if WAYS[name][1] is None else two('edge')} | "
              f"{two('broker')} | **{middle('all'):.1f}** ({total[0]:.1f}–"
              f"{total[-1]:.1f}) | {middle('records'):.0f} | "
              f"{middle('rate'):,.0f} | {middle('p50'):.1f} / "
              f"{middle('p99'):.0f} |")


if __name__ == "__main__":
    main()
