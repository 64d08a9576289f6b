"""The SQL of docs/queries.md: what it reads and how long it takes."""

import argparse
import datetime
import json
import pathlib
import re
import tempfile
import time
import urllib.request

import logs

from env.clickhouse import ClickHouse

ROOT = pathlib.Path(__file__).resolve().parents[2]

DOCS = ROOT / "docs/queries.md"


def statements(page=DOCS):
    """(the words before it, the statement) of the page."""
    text = page.read_text()
    return [(re.sub(r"[*`]", "", text[:m.start()].strip().rsplit("\n", 1)[-1]),
             m.group(1).strip())
            for m in re.finditer(r"```sql\n(.*?)```", text, re.S)]


def fill(server, rows, days=1):
    """So many of logs.py's mix, spread over the days before now."""
    lines = logs.pieces(server)
    until = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M:%S}"
    part = 1_000_000
    for first in range(0, rows, part):
        server.query(
            f"INSERT INTO logbroker.logs ({logs.COLUMNS}) " + logs.rows(
                "mix", lines, rows, first, min(part, rows - first), until,
                days * 86400))
    # as merges leave it after a while
    for day in server.query("SELECT DISTINCT partition FROM system.parts WHERE "
                            "active AND table = 'logs'").split():
        server.query(f"OPTIMIZE TABLE logbroker.logs PARTITION '{day}' FINAL")


def ask(server, sql):
    """(answer, seconds, rows read)"""
    request = urllib.request.Request(
        server.url + "/?wait_end_of_query=1", (sql + "\nFORMAT TSV").encode())
    begun = time.monotonic()
    with urllib.request.urlopen(request, timeout=300) as r:
        answer = r.read().decode()
        took = time.monotonic() - begun
        summary = json.loads(r.headers["X-ClickHouse-Summary"])
    return answer, took, int(summary["read_rows"])


def indexes(server, sql):
    """The indexes that leave something out."""
    plan = server.query("EXPLAIN indexes = 1 " + sql)
    found = []
    name = None
    kinds = {"PrimaryKey": "primary key", "Partition": "partitions",
             "MinMax": "partitions", "Min-Max": "partitions",
             "Statistics": "statistics", "Skip": None}
    for line in plan.splitlines():
        line = line.strip("│├└─ ")
        if line in kinds:
            name = kinds[line]
        elif line.startswith("Name:"):
            name = line.split(":", 1)[1].strip()
        elif line.startswith("Granules:"):
            used, total = map(int, re.findall(r"\d+", line)[:2])
            if used < total and name not in found:
                found.append(name)
    return found


def measure(server, sql, rounds=3):
    """(answer, seconds of the fastest, rows read, indexes)"""
    runs = [ask(server, sql) for _ in range(rounds)]
    answer, _, read = runs[0]
    return answer, min(r[1] for r in runs), read, indexes(server, sql)


def multiply(server, times):
    """The same rows so many times over, in parts of their own."""
    server.query("SYSTEM STOP MERGES logbroker.logs")
    server.query("CREATE TABLE logbroker.base AS logbroker.logs")
    days = server.query("SELECT DISTINCT partition FROM system.parts WHERE "
                        "active AND table = 'logs'").split()
    for table, source, n in (("base", "logs", 1), ("logs", "base", times - 1)):
        for day in days * n:
            server.query(f"ALTER TABLE logbroker.{table} ATTACH PARTITION "
                         f"'{day}' FROM logbroker.{source}")


def table(server):
    rows, size = server.query(
        "SELECT sum(rows), formatReadableSize(sum(bytes_on_disk)) FROM "
        "system.parts WHERE active AND database = 'logbroker' AND table = "
        "'logs' FORMAT TSV").strip().split("\t")
    print(f"\n{rows} rows, on disk {size}\n\n"
          "| question | ms | rows read | by |\n|---|--:|--:|---|")
    for words, sql in statements():
        if not sql.startswith("SELECT"):
            break
        _, took, read, used = measure(server, sql)
        words = words.split(".")[0].split(",")[0].strip()
        print(f"| {words} | {took * 1000:.0f} | {read:,} | "
              f"{', '.join(used) or 'all of it'} |", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--times", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lb-queries-") as d:
        with ClickHouse(pathlib.Path(d) / "clickhouse") as server:
            fill(server, args.rows, args.days)
            table(server)
            if args.times > 1:
                multiply(server, args.times)
                table(server)


if __name__ == "__main__":
    main()
