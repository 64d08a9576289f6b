"""What type a column of many alike JSON objects should have, as resource and
scope are: bytes a row, what an INSERT and a merge cost the server, and how long
the question takes which rows are of a service.

    tests/queries/run.sh resources [--rows N]
"""

import argparse
import os
import pathlib
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request

from env.clickhouse import ClickHouse

RESOURCE = """
concat('{{"service.name":"svc', toString(number % 20), '","service.version":"1.4.',
    toString(number % 20), '","service.namespace":"shop","service.instance.id":"',
    hex(MD5(toString({n}))), '","telemetry.sdk.name":"opentelemetry",',
    '"telemetry.sdk.language":"java","telemetry.sdk.version":"1.38.0","host.name":"node-',
    toString({n} % 40), '.eu-west-1.compute.internal","host.arch":"amd64","os.type":"linux",',
    '"process.pid":', toString(1000 + {n}), ',"process.runtime.name":"OpenJDK",',
    '"process.runtime.version":"21.0.3+9","k8s.cluster.name":"prod-eu","k8s.namespace.name":"shop",',
    '"k8s.deployment.name":"svc', toString(number % 20), '","k8s.pod.name":"svc-',
    hex(MD5(concat('p', toString({n})))), '","k8s.node.name":"node-', toString({n} % 40),
    '","cloud.provider":"aws","cloud.region":"eu-west-1"}}')"""

MAP = "JSONExtract(resource, 'Map(LowCardinality(String), String)')"
DICTIONARY = "LowCardinality(String)"
VALUE = "JSON_VALUE(resource, '$.\"service.name\"')"

# what it is called, its type, as what it is sent, how it is asked
TYPES = [
    ("no such column", None, None, []),
    ("`String`", "String CODEC(ZSTD(1))", "resource",
     [VALUE, "JSONExtractString(resource, 'service.name')"]),
    ("`LowCardinality(String)`, sent as `String`", DICTIONARY, "resource", []),
    ("**`LowCardinality(String)`, sent as such**", DICTIONARY,
     f"resource::{DICTIONARY}",
     [VALUE, "JSONExtractString(resource, 'service.name')",
      f"{MAP}['service.name']"]),
    ("`Map(LowCardinality(String), String)`",
     "Map(LowCardinality(String), String) CODEC(ZSTD(1))", MAP,
     ["resource['service.name']"]),
    ("`JSON`", "JSON", "resource", ["resource.service.name::String"]),
]


def cpu(server):
    """Seconds of the server so far, of all its processes."""
    total = 0
    for pid in subprocess.run(
            ["pgrep", "-g", str(os.getpgid(server.process.pid))],
            capture_output=True, text=True).stdout.split():
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(
            ")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def http(server, sql, body=None):
    url = f"{server.url}/?async_insert=0&query={urllib.parse.quote(sql)}"
    with urllib.request.urlopen(
            urllib.request.Request(url, body), timeout=300) as r:
        return r.read()


def stored(server):
    return float(server.query(
        "SELECT sum(column_data_compressed_bytes) FROM "
        "system.parts_columns WHERE table = 'x' AND active AND "
        "column = 'resource'"))


def measure(server, rows, kind, sent, questions):
    more = "" if sent is None else f", {sent} AS resource"
    body = http(server, f"SELECT service::String AS service, t{more} "
                "FROM src FORMAT Native")
    column = "" if kind is None else f", resource {kind}"
    best = None
    for _ in range(3):
        server.query("DROP TABLE IF EXISTS x SYNC")
        server.query(f"CREATE TABLE x (service {DICTIONARY}, t UInt64{column})"
                     " ENGINE = MergeTree ORDER BY (service, t)")
        server.query("SYSTEM STOP MERGES x")
        begun = cpu(server)
        http(server, "INSERT INTO x FORMAT Native", body)
        best = min(best or 1e9, cpu(server) - begun)
    server.query("SYSTEM START MERGES x")
    begun = cpu(server)
    server.query("OPTIMIZE TABLE x FINAL")
    merge = cpu(server) - begun
    took = []
    for question in questions:
        runs = []
        for _ in range(3):
            begun = time.monotonic()
            assert int(server.query(
                f"SELECT count() FROM x WHERE {question} = 'svc3' SETTINGS "
                "max_threads = 1, use_query_condition_cache = 0")) == rows / 20
            runs.append(time.monotonic() - begun)
        took.append(f"{min(runs) / rows * 1e6:.3f}")
    return (best / rows * 1e6, merge / rows * 1e6, len(body) / rows,
            stored(server) / rows, " / ".join(took))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=400_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory(prefix="lb-resources-") as d:
        with ClickHouse(pathlib.Path(d) / "clickhouse") as server:
            for many in 200, 20_000:
                server.query("DROP TABLE IF EXISTS src")
                server.query("CREATE TABLE src (service String, t UInt64, "
                             "resource String) ENGINE = Memory")
                server.query(
                    "INSERT INTO src SELECT concat('svc', toString(number % "
                    "20)), number, " + RESOURCE.format(n=f"(number % {many})")
                    + f" FROM numbers({rows})")
                size = float(server.query(
                    "SELECT avg(length(resource)) FROM src"))
                print(f"\n{many} resources of {size:.0f} bytes\n\n"
                      "| type | INSERT, CPU s per million rows | merge | bytes "
                      "a row sent | stored | question, s per million rows |\n"
                      "|---|---|---|---|---|---|")
                for name, kind, sent, questions in TYPES:
                    if kind is None:
                        best, merge, body, _, _ = measure(
                            server, rows, "UInt8", "0", [])
                        print(f"| {name} | {best:.2f} | {merge:.2f} | "
                              f"{body:.0f} | | |")
                        continue
                    best, merge, body, disk, took = measure(
                        server, rows, kind, sent, questions)
                    print(f"| {name} | {best:.2f} | {merge:.2f} | {body:.0f} "
                          f"| {disk:.2f} | {took} |", flush=True)


if __name__ == "__main__":
    main()
