"""What the table costs: bytes a row by column, and the server's processor time
for INSERTs and for the merge after them, with the table of conf/clickhouse and
with changes of it.

    tests/bench/table.sh [--rows N] [--batches N] [--rounds N] [--sorted]
                         [--strings] [CHANGE ...]

The rows are those of tests/queries/logs.py: "web", a web server's log, and
"mix", many services. They are sent as the flusher sends them: Native, as they
came, every column, LowCardinality as such, in blocks of 4,096 rows, with a token
and with the index of words left to merges. --sorted: by the table's key;
--strings: LowCardinality as String. Medians of the rounds, which take turns.
"""

import argparse
import pathlib
import re
import statistics
import sys
import tempfile
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests/queries"))

import logs
import resources

from env.clickhouse import ClickHouse

SCHEMA = ROOT / "conf/clickhouse/01-schema.sql"

LOW = ["stream", "level", "service", "host", "broker"]
BLOCK = 4096
NUMBERS = {"trace": 1, "debug": 5, "info": 9, "notice": 10, "warn": 13,
           "error": 17, "fatal": 21}
AT_ONCE = "`words` built by the INSERT"
TEXT = ("message TYPE text(tokenizer = splitByNonAlpha, "
        "preprocessor = lowerUTF8(message))")
NAMES = [name.strip() for name in logs.COLUMNS.split(",")]
MORE = {"span_id": "''", "trace_flags": "0::UInt8",
        "severity_number": f"transform(level, {[*NUMBERS]}, "
                           f"{[*NUMBERS.values()]}, 0)::UInt8",
        **dict.fromkeys(["event_name", "resource", "scope"],
                        "''::LowCardinality(String)")}
COLUMNS = ", ".join([*NAMES, *MORE])


def statement():
    """CREATE TABLE of the shipped schema."""
    text = re.sub(r"--.*", "", SCHEMA.read_text())
    return re.search(r"CREATE TABLE IF NOT EXISTS logbroker\.logs\b.*?;\n",
                     text, re.S).group(0).rstrip().rstrip(";")


def codec(column, new):
    def change(sql):
        out = re.sub(rf"(?m)^(\s+{column}\s.*?)CODEC\(.*\)(,?)$",
                     rf"\1CODEC({new})\2", sql)
        assert out != sql, column
        return out
    return change


def without(index):
    def change(sql):
        out = re.sub(rf"(?m)^\s+INDEX {index} .*\n", "", sql)
        assert out != sql, index
        return re.sub(r",(\s*\)\s*ENGINE)", r"\1", out)
    return change


def index(name, new):
    def change(sql):
        out = re.sub(rf"(?m)^(\s+INDEX {name}\s+).*?(,?)$", rf"\1{new}\2", sql)
        assert out != sql, name
        return out
    return change


def more(what):
    """One more index."""
    def change(sql):
        return re.sub(r"(?m)^(\s+INDEX words )", rf"    INDEX more {what} GRANULARITY 1,\n\1", sql)
    return change


def chain(*changes):
    def change(sql):
        for c in changes:
            sql = c(sql)
        return sql
    return change


CHANGES = {
    "as shipped": lambda sql: sql,
    AT_ONCE: lambda sql: sql,
    "without `GCD`": lambda sql: sql.replace("CODEC(GCD, ", "CODEC("),
    "message, attributes `ZSTD(3)`": chain(codec("message", "ZSTD(3)"),
                                           codec("attributes", "ZSTD(3)")),
    "without `words`": without("words"),
    "without indexes": lambda sql: re.sub(
        r",(\s*\)\s*ENGINE)", r"\1", re.sub(r"(?m)^\s+INDEX .*\n", "", sql)),
    "without `trace_ids`": without("trace_ids"),
    "without `times`": without("times"),
    "`words` as a text index": index("words", TEXT),
    "`words`, and of `lower(message)`": more("lower(message) TYPE tokenbf_v1(16384, 3, 0)"),
    "`words`, and a text index": more(
        "lowerUTF8(message) TYPE text(tokenizer = splitByNonAlpha)"),
    "`words`, and `ngrambf_v1`": more("lowerUTF8(message) TYPE ngrambf_v1(3, 65536, 3, 0)"),
    "`words`, and `sparse_grams`": more("lowerUTF8(message) TYPE sparse_grams(3, 100, 65536, 3, 0)"),
    "`words`, and of `attributes`": more("attributes TYPE tokenbf_v1(16384, 3, 0)"),
    "`attributes` as `JSON`": lambda sql: sql.replace(
        "(attributes", "(toString(attributes)").replace(
        "    attributes  String ", "    attributes  JSON "),
}


def body(server, kind, by_key, strings):
    """The rows as an INSERT's body."""
    low = "String" if strings else "LowCardinality(String)"
    names = [f"{c}::{low} AS {c}" if c in LOW else c for c in NAMES]
    names += [f"{value} AS {c}" for c, value in MORE.items()]
    order = "ORDER BY stream, service, level, timestamp" if by_key else ""
    sql = (f"SELECT {', '.join(names)} FROM (SELECT * FROM {kind} {order}) "
           f"SETTINGS max_block_size = {BLOCK}, max_threads = 1 FORMAT Native")
    with urllib.request.urlopen(server.url, sql.encode(), timeout=300) as r:
        return r.read()


def columns(server, table):
    """Bytes on disk: of each column, of the indexes, of all."""
    each = dict(line.split("\t") for line in server.query(
        "SELECT column, sum(column_bytes_on_disk) FROM system.parts_columns "
        f"WHERE active AND table = '{table}' GROUP BY column FORMAT TSV"
        ).splitlines())
    indexes, all_of_it = server.query(
        "SELECT sum(secondary_indices_compressed_bytes), sum(bytes_on_disk) "
        f"FROM system.parts WHERE active AND table = '{table}' FORMAT TSV"
        ).split()
    return {k: int(v) for k, v in each.items()}, int(indexes), int(all_of_it)


def measure(server, sql, bodies, rows, at_once=False):
    """CPU s of the INSERTs and of the merge, bytes; at_once: the INSERTs build all
    indexes."""
    later = "" if at_once else "words"
    server.query("DROP TABLE IF EXISTS logbroker.t SYNC")
    server.query(sql.replace("logbroker.logs", "logbroker.t"))
    server.query("SYSTEM STOP MERGES logbroker.t")
    before = resources.cpu(server)
    for n, b in enumerate(bodies):
        query = f"INSERT INTO logbroker.t ({COLUMNS}) FORMAT Native"
        urllib.request.urlopen(
            f"{server.url}/?async_insert=0&max_insert_block_size=4000000&"
            "min_insert_block_size_rows=4000000&min_insert_block_size_bytes="
            f"8589934592&insert_deduplication_token={n}&"
            f"exclude_materialize_skip_indexes_on_insert={later}&query="
            + urllib.parse.quote(query), b, timeout=300).read()
    inserted = resources.cpu(server) - before
    server.query("SYSTEM START MERGES logbroker.t")
    before = resources.cpu(server)
    server.query("OPTIMIZE TABLE logbroker.t FINAL")
    merged = resources.cpu(server) - before
    assert int(server.query("SELECT count() FROM logbroker.t")) == rows
    assert server.query("SELECT count() FROM system.parts WHERE active AND "
                        "table = 't'") == "1\n"
    return inserted, merged, *columns(server, "t")


def batches(server, lines, kind, rows, count, by_key=False, strings=False):
    """(the INSERTs' bodies, bytes of an event as JSON)"""
    bodies = []
    raw = []
    each = rows // count
    for n in range(count):
        server.query(f"CREATE OR REPLACE TABLE default.{kind} ENGINE = Memory "
                     f"AS {logs.rows(kind, lines, rows, n * each, each)} "
                     f"SETTINGS max_block_size = {BLOCK}, max_threads = 1, "
                     f"min_insert_block_size_rows = {BLOCK}, "
                     "min_insert_block_size_bytes = 0")
        raw.append(float(server.query(
            f"SELECT avg(length({logs.RAW})) FROM default.{kind}")))
        bodies.append(body(server, kind, by_key, strings))
    server.query(f"DROP TABLE default.{kind} SYNC")
    return bodies, sum(raw) / count


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--batches", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--sorted", action="store_true")
    parser.add_argument("--strings", action="store_true")
    parser.add_argument("--kind", default="mix,web")
    parser.add_argument("changes", nargs="*")
    args = parser.parse_args()
    rows = args.rows
    million = rows / 1e6
    with tempfile.TemporaryDirectory(prefix="lb-table-") as d:
        with ClickHouse(pathlib.Path(d) / "clickhouse") as server:
            lines = logs.pieces(server)
            for kind in args.kind.split(","):
                bodies, raw = batches(server, lines, kind, rows,
                                      args.batches, args.sorted,
                                      args.strings)
                print(f"\n{kind}: {rows} rows, {raw:.0f} bytes each as JSON, "
                      f"{sum(map(len, bodies)) / rows:.0f} as Native\n\n"
                      "| table | INSERT, CPU s per million rows | merge | "
                      "bytes a row | indexes | columns |\n"
                      "|---|---|---|---|---|---|", flush=True)
                names = args.changes or [*CHANGES]
                rounds = [{name: measure(server, CHANGES[name](statement()),
                                         bodies, rows, name == AT_ONCE)
                           for name in names} for _ in range(args.rounds)]
                for name in names:
                    put, merge = (statistics.median(r[name][i] for r in rounds)
                                  for i in (0, 1))
                    each, indexes, all_of_it = rounds[0][name][2:]
                    by_column = ", ".join(
                        f"{c} {b / rows:.1f}" for c, b in sorted(
                            each.items(), key=lambda x: -x[1])
                        if b >= rows / 20)
                    print(f"| {name} | {put / million:.2f} | "
                          f"{merge / million:.2f} | {all_of_it / rows:.1f} | "
                          f"{indexes / rows:.1f} | {by_column} |", flush=True)


if __name__ == "__main__":
    main()
