"""The SQL of docs/queries.md: what it reads and how long it takes."""

import argparse
import json
import pathlib
import re
import tempfile
import time
import urllib.request

from env.clickhouse import ClickHouse

ROOT = pathlib.Path(__file__).resolve().parents[2]

DOCS = ROOT / "docs/queries.md"

# Days of events, ending now: 40 services of different loudness, 3 percent
# errors and warnings, 8 events a request, one chargeback in 100000.
FILL = """
INSERT INTO logbroker.logs (timestamp, received_at, stream, level, service, host,
    message, trace_id, attributes, client, broker, ring, seq)
SELECT
    toDateTime64(now64(6) - INTERVAL {days} DAY, 9, 'UTC')
        + toIntervalMicrosecond(toUInt64(number * (86400000000 * {days} / {rows}))) AS timestamp,
    timestamp AS received_at,
    if(h % 5 = 0, 'access', 'default') AS stream,
    multiIf(h % 1000 < 10, 'error', h % 1000 < 30, 'warn', h % 10 = 9, 'debug', 'info') AS level,
    multiIf(h % 7 = 0, 'checkout', h % 7 < 3, 'catalogue',
            concat('service-', toString(h % 38))) AS service,
    concat('node-', toString(h % 60)) AS host,
    multiIf(h % 100003 = 17, concat('chargeback of order ', toString(h % 10000019)),
            level = 'error', concat('request ', toString(h % 1000003), ' failed: connection to db-',
                                    toString(h % 9), ' timed out after ', toString(h % 5000), ' ms'),
            concat('GET /api/v1/orders/', toString(h % 10000019), ' HTTP/1.1 from ',
                   toString(h % 251), '.', toString(h % 241), ' in ', toString(h % 900), ' ms')) AS message,
    lower(hex(MD5(toString(intDiv(number, 8))))) AS trace_id,
    concat('{{"status":', toString(if(level = 'error', 500, 200)),
           ',"duration":', toString((h % 900) / 1000),
           ',"uri":"/api/v1/orders","user":', toString(h % 100003), '}}') AS attributes,
    concat('10.0.', toString(h % 4), '.', toString(h % 200)) AS client,
    'broker-1' AS broker,
    toUUID('00000000-0000-0000-0000-000000000001') AS ring,
    number AS seq
FROM (SELECT number, cityHash64(number) AS h FROM numbers({first}, {count}))
"""


def statements(page=DOCS):
    """(the words before it, the statement) of the page."""
    text = page.read_text()
    return [(re.sub(r"[*`]", "", text[:m.start()].strip().rsplit("\n", 1)[-1]),
             m.group(1).strip())
            for m in re.finditer(r"```sql\n(.*?)```", text, re.S)]


def fill(server, rows, days=1):
    part = 1_000_000
    for first in range(0, rows, part):
        server.query(FILL.format(rows=rows, days=days, first=first,
                                 count=min(part, rows - first)))
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


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=10_000_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory(prefix="lb-queries-") as d:
        with ClickHouse(pathlib.Path(d) / "clickhouse") as server:
            begun = time.monotonic()
            fill(server, rows)
            size = server.query(
                "SELECT formatReadableSize(sum(bytes_on_disk)), "
                "formatReadableSize(sum(data_uncompressed_bytes)) FROM "
                "system.parts WHERE active AND table = 'logs'").split("\t")
            print(f"{rows} rows, {size[1].strip()}, on disk {size[0]}; made "
                  f"in {time.monotonic() - begun:.0f} s\n")
            print("| question | seconds | rows read | by |\n|---|---|---|---|")
            for words, sql in statements():
                if not sql.startswith("SELECT"):
                    break
                _, took, read, used = measure(server, sql)
                words = words.split(".")[0].split(",")[0].strip()
                print(f"| {words} | {took:.3f} | {read} | "
                      f"{', '.join(used) or 'all of it'} |", flush=True)


if __name__ == "__main__":
    main()
