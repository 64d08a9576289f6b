"""The driver behind flusher.sh."""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import tempfile
import time
import urllib.request

from env.build import BUILD, find
from env.clickhouse import ClickHouse

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]

TICK = os.sysconf("SC_CLK_TCK")
LOG = ROOT / "tests/data/access.log"


def bench(*args):
    return json.loads(subprocess.check_output(
        [BUILD / "bench_flusher", *map(str, args)], text=True))


def cpu(pid):
    """Processor seconds of a process so far, with its threads."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
    return sum(map(int, fields.split()[11:13])) / TICK


def memory(pid):
    """The most memory it has had, MB."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"/proc/{pid}/status has no VmHWM")


def server_pid(server):
    """The server itself: clickhouse.sh ends in it."""
    return server.process.pid


def into_nothing(base):
    print("| from the spool | MB/s, one core | CPU s per GB | sent per GB | "
          "memory |\n|---|---|---|---|---|")
    filled = bench(base / "sink", "fill", LOG, 1024)
    gb = filled["bytes"] / 1e9
    for mode, name in (("encode", "encoded, thrown away"),
                       ("http", "by HTTP, thrown away"),
                       ("zstd", "by HTTP, zstd")):
        runs = [bench(base / "sink", mode) for _ in range(3)]
        used = statistics.median(r["cpu_seconds"] for r in runs)
        print(f"| {name} | {gb * 1000 / used:.0f} | {used / gb:.2f} | "
              f"{runs[0]['sent_bytes'] / gb / 1e6:.0f} MB | "
              f"{max(r['max_rss_kb'] for r in runs) / 1024:.0f} MB |",
              flush=True)
    shutil.rmtree(base / "sink")


def catch_up(base, server, megabytes, max_bytes):
    """The real flusher, the real server: how long a backlog takes."""
    spool = base / f"spool-{max_bytes}"
    filled = bench(spool, "fill", LOG, megabytes)
    server.query("TRUNCATE TABLE logbroker.logs")
    settings = base / "flusher.json"
    settings.write_text(json.dumps({
        "spool": str(spool),
        "clickhouse": {"urls": [server.url]},
        "batch": {"max_rows": 4_000_000, "max_bytes": max_bytes}}))
    before = cpu(server_pid(server))
    begun = time.monotonic()
    with open(base / "flusher.log", "wb") as log:
        p = subprocess.Popen([find("logbroker-flusher"), "--config", settings],
                             stdout=log, stderr=log)
    try:
        while True:
            stat = json.loads(subprocess.check_output(
                [find("logbroker-spool"), "stat", "--json", spool]))
            if not stat["in_flight"] and not any(
                    r["backlog_events"] for r in stat["rings"]):
                break
            if time.monotonic() - begun > 600 or p.poll() is not None:
                raise AssertionError((base / "flusher.log").read_text())
            time.sleep(0.2)
        took = time.monotonic() - begun
        mine, rss = cpu(p.pid), memory(p.pid)
    finally:
        p.terminate()
        p.wait()
    theirs = cpu(server_pid(server)) - before
    rows = int(server.query("SELECT count() FROM logbroker.logs"))
    assert rows == filled["events"], (rows, filled)
    print(f"| {max_bytes >> 20} MB | {took:.1f} | "
          f"{filled['bytes'] / took / 1e6:.0f} | {rows / took / 1000:.0f} | "
          f"{mine:.1f} | {theirs:.1f} | {rss:.0f} MB |", flush=True)
    shutil.rmtree(spool)
    return theirs / rows * 1e6


def formats(server):
    """The same rows into the same table, in the format that is sent and in the
    one people send."""
    print("\n| format | bytes a row | server CPU s per million rows |\n"
          "|---|---|---|")
    server.query("CREATE TABLE logbroker.again AS logbroker.logs")
    rows = 1_000_000
    for name in ("Native", "JSONEachRow"):
        query = (f"SELECT * FROM logbroker.logs LIMIT {rows} FORMAT {name}")
        with urllib.request.urlopen(server.url, query.encode()) as r:
            body = r.read()
        used = []
        for _ in range(3):
            server.query("TRUNCATE TABLE logbroker.again")
            before = cpu(server_pid(server))
            url = (server.url + "/?query=INSERT%20INTO%20logbroker.again%20"
                   f"FORMAT%20{name}&async_insert=0")
            urllib.request.urlopen(url, body).read()
            used.append(cpu(server_pid(server)) - before)
        assert int(server.query("SELECT count() FROM logbroker.again")) == rows
        print(f"| {name} | {len(body) / rows:.0f} | "
              f"{statistics.median(used):.2f} |", flush=True)
    server.query("DROP TABLE logbroker.again SYNC")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, default=1024)
    megabytes = parser.parse_args().megabytes
    with tempfile.TemporaryDirectory(prefix="lb-bench-") as d:
        base = pathlib.Path(d)
        into_nothing(base)
        with ClickHouse(base / "clickhouse") as server:
            print(f"\n| {megabytes} MB into ClickHouse, batches of | s | MB/s "
                  "| thousand events/s | flusher CPU s | ClickHouse CPU s | "
                  "flusher memory |\n|---|---|---|---|---|---|---|")
            for max_bytes in (64 << 20, 256 << 20, 512 << 20):
                catch_up(base, server, megabytes, max_bytes)
            formats(server)


if __name__ == "__main__":
    main()
