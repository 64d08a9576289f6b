#!/usr/bin/env python3
"""From 204 to a visible row: brokers that all start at once, a request each
every quarter of a second, and a look at the table every 30 ms."""

import argparse
import pathlib
import statistics
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from env.broker import Broker  # noqa: E402
from env.clickhouse import ClickHouse  # noqa: E402
from env.http import post  # noqa: E402
from env.process import wait_for  # noqa: E402


def measure(nodes, seconds, directory):
    """Seconds of each event, in the order they were acknowledged."""
    clickhouse = ClickHouse(directory / "clickhouse")
    clickhouse.start()
    brokers = [Broker(directory / f"b{i}", [clickhouse.url], workers=1,
                      name=f"b{i}", index=i, count=nodes)
               for i in range(nodes)]
    acked, seen = {}, {}
    stop = threading.Event()

    def client(i):
        n = 0
        while not stop.is_set():
            name = f"{i}-{n}"
            assert post(brokers[i].port, '{"message":"%s"}' % name)[0] == 204
            acked[name] = time.monotonic()
            n += 1
            time.sleep(0.25)

    def look():
        while len(seen) < len(acked) or not stop.is_set():
            found = clickhouse.query("SELECT message FROM logbroker.logs "
                                     "FORMAT TabSeparated").split()
            now = time.monotonic()
            for name in found:
                seen.setdefault(name, now)
            time.sleep(0.03)

    try:
        for b in brokers:
            b.start()
        clients = [threading.Thread(target=client, args=(i,))
                   for i in range(nodes)]
        looker = threading.Thread(target=look)
        for t in (*clients, looker):
            t.start()
        time.sleep(seconds)
        stop.set()
        for t in clients:
            t.join()
        wait_for(lambda: not looker.is_alive(), 60 + 5 * nodes, "delivery")
    finally:
        stop.set()
        for b in brokers:
            b.stop()
        clickhouse.stop()
    return [seen[name] - at for name, at in
            sorted(acked.items(), key=lambda item: item[1])]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2, 6])
    parser.add_argument("--seconds", type=float, default=45)
    args = parser.parse_args()
    print("| nodes | events | median | 99 % | longest |")
    print("|---|---|---|---|---|")
    for nodes in args.nodes:
        with tempfile.TemporaryDirectory(prefix="lb-fresh-") as directory:
            took = sorted(measure(nodes, args.seconds,
                                  pathlib.Path(directory)))
        print(f"| {nodes} | {len(took)} | {statistics.median(took):.2f} | "
              f"{took[int(len(took) * 0.99)]:.2f} | {took[-1]:.2f} |",
              flush=True)


if __name__ == "__main__":
    main()
