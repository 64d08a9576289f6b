"""The driver behind e2e.sh.

A way is what takes events by HTTP and makes rows of them.  In each round all ways
run one after another, in the opposite order in every other one, each with a table
of its own on the same server.  A run is a closed loop of 64 connections, no two
bodies the same, until the last event that was acknowledged can be found; the CPU
time of every process is that of the whole run.
"""

import argparse
import contextlib
import http.client
import json
import os
import pathlib
import re
import statistics
import subprocess
import tempfile
import threading
import time
import urllib.parse

from env.build import BUILD, find
from env.clickhouse import ClickHouse
from env.edge import Edge, ShippedBroker
from env.process import Process, children, free_port, wait_for
from env.senders import Otlp

HERE = pathlib.Path(__file__).resolve().parent
PEERS = pathlib.Path(os.environ.get("LOGBROKER_PEERS_DIR",
                                    BUILD / "peers"))
TICK = os.sysconf("SC_CLK_TCK")
COUNT = "1000000000000"  # becomes a number that no other body has
JSON, PROTOBUF = "application/json", "application/x-protobuf"


def event(message):
    e = {"time": "2026-05-17T10:05:07.123Z", "level": "info",
         "service": "web", "host": "web-3", "message": message}
    room = 199 - len(json.dumps(e, separators=(",", ":")))
    e["message"] += " GET /images/logo.png HTTP/1.1 200 5138 " \
        "Mozilla/5.0 (X11; Linux x86_64)"[:max(0, room)].ljust(max(0, room), ".")
    return e


def lines(messages):
    return "".join(json.dumps(event(m), separators=(",", ":")) + "\n"
                   for m in messages).encode()


def otlp(messages):
    return Otlp.body([{k: v for k, v in event(m).items() if k != "time"}
                      for m in messages])


HUNDRED = [f"{COUNT} {i:02}" for i in range(100)]
# name: events, how they are written
BODIES = {"one event": ([COUNT], lines), "100 events": (HUNDRED, lines),
          "OTLP, 100 events": (HUNDRED, otlp)}


def tree(pid):
    return [pid, *(p for c in children(pid) for p in tree(c))]


def cpu(pids):
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
            fields = stat.rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / TICK


def memory(pids):
    """The most that was resident, MB; what they share counts for each."""
    kb = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            found = re.search(r"VmHWM:\s+(\d+)", pathlib.Path(
                f"/proc/{pid}/status").read_text())
            kb += int(found[1]) if found else 0
    return kb / 1024


class Way:
    bodies = ("one event", "100 events")
    path, type, encode = "/log", JSON, staticmethod(lines)
    restarts = True

    def __init__(self, directory, clickhouse):
        self.dir, self.clickhouse = directory, clickhouse
        self.dir.mkdir(parents=True)
        self.port = free_port()

    def where(self, body):
        return ("/v1/logs", PROTOBUF) if body.startswith("OTLP") \
            else (self.path, self.type)

    def processes(self):
        """By what they are called: pids, of which the last is ClickHouse."""
        return {"agent": tree(self.agent.pid),
                "ClickHouse": tree(self.clickhouse.process.pid)}

    def rows(self):
        return int(self.clickhouse.query(
            f"SELECT count() FROM {self.table}"))

    def messages(self, word):
        return [m.split()[0] for m in self.clickhouse.query(
            f"SELECT {self.column} FROM {self.table} WHERE {self.column} "
            f"LIKE '{word}%' FORMAT TabSeparated").splitlines()]

    def listens(self):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            c.connect()
            return True
        except OSError:
            return False
        finally:
            c.close()

    def kill(self):
        self.agent.kill()

    def stop(self):
        self.agent.stop()


class Logbroker(Way):
    column = "message"
    edges, brokers = 0, 1

    def start(self):
        self.database = "w_" + re.sub(r"\W", "_", self.dir.name)
        self.table = f"{self.database}.logs"
        schema = self.clickhouse.query(
            "SHOW CREATE TABLE logbroker.logs FORMAT TSVRaw")
        self.clickhouse.query(f"CREATE DATABASE {self.database}")
        self.clickhouse.query(schema.replace(
            "CREATE TABLE logbroker.logs", f"CREATE TABLE {self.table}"))
        self.nodes = []
        for i in range(self.brokers):
            b = ShippedBroker(self.dir / f"b{i}", size="256m")
            b.count = 1
            wait_for(b.ready, what="a ring")
            settings = self.dir / f"flusher{i}.json"
            settings.write_text(json.dumps({
                "spool": str(b.spool), "broker": f"b{i}",
                "clickhouse": {"urls": [self.clickhouse.url],
                               "database": self.database, "table": "logs"},
                "node": {"index": i, "count": self.brokers}}))
            self.nodes.append([b, settings, self.flusher(settings)])
        self.edge = None
        self.port = self.nodes[0][0].port
        if self.edges:
            self.edge = Edge(self.dir / "edge", [b.port for b, *_ in self.nodes])
            self.port = self.edge.port

    def flusher(self, settings):
        return Process("flusher", [find("logbroker-flusher"), "--config",
                                   str(settings)], self.dir / "flusher.log")

    def processes(self):
        out = {"edge": self.edge.workers()} if self.edge else {}
        return {**out,
                "broker": [w for b, *_ in self.nodes for w in b.workers()],
                "flusher": [f.pid for *_, f in self.nodes],
                "ClickHouse": tree(self.clickhouse.process.pid)}

    def kill(self):
        for b, _, flusher in self.nodes:
            b.kill()
            flusher.kill()

    def again(self):
        for node in self.nodes:
            node[0].start(ring=False)
            node[2] = self.flusher(node[1])

    def stop(self):
        if self.edge:
            self.edge.stop(check=False)
        for b, _, flusher in self.nodes:
            b.stop(check=False)
            flusher.stop()


class Direct(Logbroker):
    """logbroker, straight to a broker"""
    bodies = tuple(BODIES)


class ThroughEdge(Logbroker):
    """logbroker, edge and one broker"""
    edges = 1


class ThroughEdgeToTwo(Logbroker):
    """logbroker, edge and two brokers"""
    edges, brokers = 1, 2


class Collector(Way):
    """OpenTelemetry Collector, queue in memory"""
    bodies = ("OTLP, 100 events",)
    path, type, encode = "/v1/logs", PROTOBUF, staticmethod(otlp)
    column, stored = "Body", ""

    def start(self):
        if not (PEERS / "collector/collector").exists():
            raise FileNotFoundError("not built")
        self.database = "c_" + re.sub(r"\W", "_", self.dir.name)
        self.table = f"{self.database}.otel_logs"
        self.clickhouse.query(f"CREATE DATABASE {self.database}")
        (self.dir / "queue").mkdir()
        (self.dir / "config.yaml").write_text(f"""
receivers: {{otlp: {{protocols: {{http: {{endpoint: "127.0.0.1:{self.port}"}}}}}}}}
exporters:
  clickhouse:
    endpoint: {self.clickhouse.url}
    database: {self.database}
    compress: none
    async_insert: false
    sending_queue: {{{"storage: file_storage, " if self.stored else ""}queue_size: 10000000, sizer: items,
      batch: {{flush_timeout: 1s, min_size: 100000, max_size: 200000, sizer: items}}}}
{f'extensions: {{file_storage: {{directory: {self.dir}/queue, fsync: true}}}}' if self.stored else ''}
service:
  telemetry: {{metrics: {{level: none}}, logs: {{level: warn}}}}
  {'extensions: [file_storage]' if self.stored else ''}
  pipelines: {{logs: {{receivers: [otlp], exporters: [clickhouse]}}}}
""")
        self.again()

    def again(self):
        self.agent = Process("collector", [
            PEERS / "collector/collector", "--config",
            str(self.dir / "config.yaml")], self.dir / "log")
        try:
            wait_for(lambda: not self.agent.running() or self.listens(), 20,
                     "the collector to listen")
            assert self.agent.running()
        except AssertionError:
            self.agent.stop()
            said = (self.dir / "log").read_text().strip().splitlines()
            raise RuntimeError("does not run: "
                               + (said or ["no words"])[-1][:300]) from None


class CollectorFile(Collector):
    """OpenTelemetry Collector, queue in a file, synced"""
    stored = "file"


class VictoriaLogs(Way):
    """VictoriaLogs, its own storage"""
    path = "/insert/jsonline?_stream_fields=service,host&_time_field=time" \
        "&_msg_field=message"

    def start(self):
        if not (PEERS / "victorialogs/victorialogs").exists():
            raise FileNotFoundError("not built")
        self.again()

    def again(self):
        self.agent = Process("victorialogs", [
            PEERS / "victorialogs/victorialogs",
            f"-storageDataPath={self.dir}/data", "-retentionPeriod=100y",
            f"-httpListenAddr=127.0.0.1:{self.port}",
            "-loggerLevel=WARN"], self.dir / "log")
        wait_for(self.listens, what="VictoriaLogs to listen")

    def processes(self):
        return {"agent": [self.agent.pid]}

    def ask(self, query):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        c.request("GET", "/select/logsql/query?"
                  + urllib.parse.urlencode({"query": query}))
        answer = c.getresponse().read().decode()
        c.close()
        return [json.loads(x) for x in answer.splitlines()]

    def rows(self):
        found = self.ask("* | stats count() n")
        return int(found[0]["n"]) if found else 0

    def messages(self, word):
        return [m["_msg"].split()[0]
                for m in self.ask(f'"{word}"* | fields _msg')]


class FastApi(Way):
    """FastAPI, sends once a second"""
    column, sync = "message", "0"

    def start(self):
        self.table = "f_" + re.sub(r"\W", "_", self.dir.name)
        self.clickhouse.query(
            f"CREATE TABLE {self.table} (time DateTime64(3), level "
            "LowCardinality(String), service LowCardinality(String), host "
            "LowCardinality(String), message String) ORDER BY (service, time)")
        self.again()

    def again(self):
        query = urllib.parse.urlencode({
            "query": f"INSERT INTO {self.table} FORMAT JSONEachRow",
            "date_time_input_format": "best_effort"})
        self.agent = Process("fastapi", [
            "/usr/bin/python3", "-m", "uvicorn", "replaced:app", "--app-dir",
            str(HERE), "--host", "127.0.0.1", "--port", str(self.port),
            "--no-access-log", "--log-level", "warning"], self.dir / "log",
            {**os.environ, "BENCH_FILE": str(self.dir / "bodies"),
             "BENCH_FSYNC": self.sync,
             "BENCH_CLICKHOUSE": f"{self.clickhouse.url}/?{query}"})
        wait_for(self.listens, what="FastAPI to listen")


class FastApiSync(FastApi):
    """FastAPI, each body synced first"""
    sync = "1"


WAYS = {"direct": Direct, "edge": ThroughEdge, "edge2": ThroughEdgeToTwo,
        "fastapi": FastApi, "fastapi-fsync": FastApiSync,
        "collector": Collector, "collector-file": CollectorFile,
        "victorialogs": VictoriaLogs}
SKIPPED = {"Fluent Bit": "not among Debian's packages",
           "syslog-ng, rsyslog": "no HTTP input in Debian"}


def load(way, body, seconds, directory):
    """A run of wrk: how many were acknowledged, and how fast."""
    messages, write = BODIES[body]
    file = directory / "body"
    # the first number is counted up: enough to tell the bodies apart
    file.write_bytes(write(messages))
    path, kind = way.where(body)
    p = subprocess.run(
        ["wrk", "-t", "1", "-c", "64", "-d", f"{seconds}s", "--timeout",
         "60s", "-s", HERE / "load.lua",
         f"http://127.0.0.1:{way.port}{path}"],
        env={**os.environ, "BENCH_BODY": str(file), "BENCH_TYPE": kind,
             "BENCH_COUNT": COUNT}, capture_output=True, text=True,
        check=False)
    found = re.search(r"^BENCH (.*)$", p.stdout, re.M)
    raw = json.loads(found[1]) if found else {}
    if not raw.get("requests") or raw["bad"] or raw["broken"]:
        raise RuntimeError(f"{body}: wrk says {p.stdout[-300:]}{p.stderr}")
    return raw


def settled(way, least, patience=20, timeout=120):
    """All that was acknowledged has its row, and none comes any more; or none
    has come for so many seconds."""
    last = [0, time.monotonic()]

    def still():
        rows = way.rows()
        if rows != last[0]:
            last[:] = [rows, time.monotonic()]
        return (rows >= least and time.monotonic() - last[1] > 1.5) or \
            time.monotonic() - last[1] > patience
    wait_for(still, timeout, "rows", 0.5)
    return last[0]


def run(way, body, seconds, directory):
    before = {k: cpu(v) for k, v in way.processes().items()}
    rows = way.rows()
    begun = time.monotonic()
    raw = load(way, body, seconds, directory)
    events = raw["requests"] * len(BODIES[body][0])
    rows = settled(way, rows + events) - rows
    took = time.monotonic() - begun - 1.5
    after = {k: cpu(v) for k, v in way.processes().items()}
    out = {k: (after[k] - before[k]) / max(rows, 1) * 1e6 for k in before}
    return {"cpu": out, "sum": sum(out.values()), "missing": events - rows,
            "answered": events / raw["us"] * 1e6, "rows": rows / took,
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
        c, n = None, 0
        headers = {"Content-Type": self.way.type}
        while not self.end:
            name = f"{self.word}x{n}x"
            n += 1
            try:
                c = c or http.client.HTTPConnection("127.0.0.1",
                                                    self.way.port, timeout=10)
                c.request("POST", self.way.path, self.way.encode([name]),
                          headers)
                r = c.getresponse()
                r.read()
                if r.status < 300:
                    self.acked[name] = time.monotonic()
            except (OSError, http.client.HTTPException):
                c = None
                self.unknown += 1
                time.sleep(0.01)
            time.sleep(self.pause)


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


def killed(way):
    """kill -9 under load, and a start: of what was acknowledged, how many
    have no row, and how many rows there are too many."""
    word = f"kill{time.time_ns()}"
    clients = [Client(way, f"{word}c{i}") for i in range(4)]
    try:
        time.sleep(1.7)
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
    settled(way, 1 << 60, patience=8)
    stored = way.messages(word)
    return {"acked": len(acked), "lost": len(acked - set(stored)),
            "doubled": len(stored) - len(set(stored))}


def median(runs, get):
    return statistics.median(get(r) for r in runs)


def tables(results, skipped):
    out = ["| | " + " | ".join(["edge", "broker or agent", "flusher",
                                "ClickHouse", "all", "answered events/s",
                                "rows/s", "memory, MB"]) + " |",
           "|---|" + "---|" * 8]
    for body in BODIES:
        for name, way in WAYS.items():
            runs = results.get((name, body))
            if not runs:
                continue

            def part(*keys):
                if not set(keys) & set(runs[0]["cpu"]):
                    return ""
                return f"{median(runs, lambda r: sum(r['cpu'].get(k, 0) for k in keys)):.2f}"
            sums = [r["sum"] for r in runs]
            out.append(
                f"| {body}: {way.__doc__} | {part('edge')} | "
                f"{part('broker', 'agent')} | {part('flusher')} | "
                f"{part('ClickHouse')} | **{statistics.median(sums):.2f}** "
                f"({min(sums):.2f}–{max(sums):.2f}) | "
                f"{median(runs, lambda r: r['answered']):,.0f} | "
                f"{median(runs, lambda r: r['rows']):,.0f} | "
                f"{median(runs, lambda r: r['memory']):.0f} |")
    out += ["", "| | fresh: p50, s | p99, s | killed: acknowledged | lost | "
            "doubled |", "|---|---|---|---|---|---|"]
    for name, way in WAYS.items():
        f, k = results.get((name, "fresh")), results.get((name, "killed"))
        if f and k:
            out.append(f"| {way.__doc__} | {f['p50']:.2f} | {f['p99']:.2f} | "
                       f"{k['acked']:,} | {k['lost']:,} | {k['doubled']:,} |")
    out += ["", "Skipped: " + "; ".join(
        f"{k} ({v})" for k, v in skipped.items()) + "."]
    return "\n".join(out) + "\n"


def measure(name, clickhouse, args, directory, results, first):
    way = WAYS[name](directory, clickhouse)
    try:
        way.start()
        for body in way.bodies:
            results.setdefault((name, body), []).append(
                run(way, body, args.seconds, directory))
        if first:
            results[name, "fresh"] = freshness(way, 2 if args.quick else 8)
            results[name, "killed"] = killed(way)
    finally:
        with contextlib.suppress(AttributeError):
            way.stop()


def write(directory, results, skipped):
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "table.md").write_text(tables(results, skipped))
    (directory / "results.json").write_text(json.dumps(
        {" / ".join(k): v for k, v in results.items()}, indent=1))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--only", default=",".join(WAYS))
    parser.add_argument("--out", type=pathlib.Path,
                        default=BUILD / "bench-e2e")
    args = parser.parse_args()
    if args.quick:
        args.rounds = args.seconds = 1
    names = args.only.split(",")
    results, skipped = {}, dict(SKIPPED)
    with tempfile.TemporaryDirectory(prefix="lb-e2e-") as d, \
            ClickHouse(pathlib.Path(d) / "clickhouse") as clickhouse:
        for i in range(args.rounds):
            for name in names if i % 2 == 0 else names[::-1]:
                if WAYS[name].__doc__ in skipped:
                    continue
                try:
                    measure(name, clickhouse, args,
                            pathlib.Path(d) / f"{name}-{i}", results, i == 0)
                except (FileNotFoundError, RuntimeError) as e:
                    skipped[WAYS[name].__doc__] = str(e)
                print(f"round {i + 1}: {name}", flush=True)
            write(args.out, results, skipped)
    print((args.out / "table.md").read_text())
    ours = [r for (name, _), r in results.items()
            if name in ("direct", "edge", "edge2")]
    for r in ours:
        for one in r if isinstance(r, list) else [r]:
            assert one.get("missing", 0) <= 0, one
            assert not one.get("lost") and not one.get("doubled"), one


if __name__ == "__main__":
    main()
