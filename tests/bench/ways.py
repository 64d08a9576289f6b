"""The ways of e2e.py: each takes events on one side and makes rows of them on the
other, with a table of its own on the same server."""

import contextlib
import http.client
import json
import os
import pathlib
import re
import time
import urllib.parse

from env.build import BUILD, find
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


def array(messages):
    return ("[" + ",".join(json.dumps(event(m), separators=(",", ":"))
                           for m in messages) + "]").encode()


HUNDRED = [f"{COUNT} {i:02}" for i in range(100)]
# what a request holds, or where there are no requests, a write
BODIES = {"one event": [COUNT], "100 events": HUNDRED,
          "OTLP, 100 events": HUNDRED,
          "lines over TCP, one a write": [COUNT],
          "lines over TCP, 100 a write": HUNDRED}


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
    lines = False  # over TCP, which nobody answers
    table = None  # in ClickHouse, if it is there

    def __init__(self, directory, clickhouse):
        self.dir, self.clickhouse = directory, clickhouse
        self.dir.mkdir(parents=True)
        self.port = free_port()

    def where(self, body):
        """The path, the type, and the bytes."""
        if body.startswith("OTLP"):
            return "/v1/logs", PROTOBUF, otlp(BODIES[body])
        return self.path, self.type, self.encode(BODIES[body])

    def seconds(self, body, seconds):
        """How long to send: less where what waits would not fit."""
        return seconds

    @classmethod
    def name(cls):
        return cls.__doc__ + (" (lines over TCP: written, acknowledged by "
                              "nobody)" if cls.lines else "")

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
    bodies = ("one event", "100 events")
    column = "message"
    edges, brokers, replace = 0, 1, ()

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
            b = ShippedBroker(self.dir / f"b{i}", "1g", self.replace)
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
            self.edge = Edge(
                self.dir / "edge", [b.port for b, *_ in self.nodes],
                # one client alone is not to send so much
                replace=[("rate=20000r/s", "rate=1000000r/s")])
            self.port = self.edge.port
        self.filled()

    def filled(self):
        """A new ring is filled with zeros; a node in service has done that."""
        spent = None
        while spent != (now := cpu(self.processes()["broker"])):
            spent = now
            os.sync()
            time.sleep(1)

    def seconds(self, body, seconds):
        # a core takes up to 800 MB/s of these, and a ring is 1 GB
        return seconds if body == "one event" else 1

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
    bodies = ("one event", "100 events", "OTLP, 100 events")


class DirectOff(Logbroker):
    """logbroker, straight to a broker, `sync off`"""
    bodies = ("one event",)
    replace = [("logbroker_sync always", "logbroker_sync off")]


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


class Plain(Way):
    """Into a table without indexes, as one would make it for a first try."""
    column = "message"

    def start(self):
        self.table = "p_" + re.sub(r"\W", "_", self.dir.name)
        self.clickhouse.query(
            f"CREATE TABLE {self.table} (time DateTime64(3), level "
            "LowCardinality(String), service LowCardinality(String), host "
            "LowCardinality(String), message String) ORDER BY (service, time)")
        self.again()

    def insert(self):
        return "/?" + urllib.parse.urlencode({
            "query": f"INSERT INTO {self.table} FORMAT JSONEachRow",
            "date_time_input_format": "best_effort"})


class FastApi(Plain):
    """FastAPI, sends once a second"""
    sync = "0"

    def again(self):
        self.agent = Process("fastapi", [
            "/usr/bin/python3", "-m", "uvicorn", "replaced:app", "--app-dir",
            str(HERE), "--host", "127.0.0.1", "--port", str(self.port),
            "--no-access-log", "--log-level", "warning"], self.dir / "log",
            {**os.environ, "BENCH_FILE": str(self.dir / "bodies"),
             "BENCH_FSYNC": self.sync,
             "BENCH_CLICKHOUSE": self.clickhouse.url + self.insert()})
        wait_for(self.listens, what="FastAPI to listen")


class FastApiSync(FastApi):
    """FastAPI, each body synced first"""
    sync = "1"


class FluentBit(Plain):
    """Fluent Bit 1.8, queue in memory"""
    encode = staticmethod(array)  # of lines it would take the first alone
    stored = False

    def again(self):
        program = PEERS / "fluentbit/fluentbit"
        if not program.exists():
            raise FileNotFoundError("not built")
        (self.dir / "conf").write_text(f"""
[SERVICE]
    flush 1
    log_level warn
    {f"storage.path {self.dir}/queue" if self.stored else ""}
[INPUT]
    name http
    listen 127.0.0.1
    port {self.port}
    storage.type {"filesystem" if self.stored else "memory"}
[OUTPUT]
    name http
    match *
    host 127.0.0.1
    port {self.clickhouse.port}
    uri {self.insert()}
    format json_lines
    json_date_key false
    retry_limit no_limits
""")
        self.agent = Process("fluentbit", [program, "-c", self.dir / "conf"],
                             self.dir / "log")
        wait_for(self.listens, what="Fluent Bit to listen")


class FluentBitFile(FluentBit):
    """Fluent Bit 1.8, queue in files"""
    stored = True


class SyslogNg(Plain):
    """syslog-ng, queue in memory"""
    bodies = ("lines over TCP, one a write", "lines over TCP, 100 a write")
    lines, buffer = True, ""

    def again(self):
        root = PEERS / "debian"
        program = root / "usr/sbin/syslog-ng"
        modules = next(root.glob("usr/lib/syslog-ng/[0-9]*"), None)
        if not program.exists() or not (modules / "libhttp.so").exists():
            raise FileNotFoundError("not fetched from Debian's packages")
        queue = self.dir / "queue"
        queue.mkdir(exist_ok=True)
        (self.dir / "conf").write_text(f"""@version: 3.38
options {{ stats-freq(0); }};
source lines {{ network(ip("127.0.0.1") port({self.port}) transport("tcp")
    flags(no-parse) max-connections(100) log-fetch-limit(1000)
    log-iw-size(200000)); }};
destination clickhouse {{ http(url("{self.clickhouse.url}{self.insert()}")
    method("POST") body("${{MESSAGE}}") delimiter("\n") workers(1)
    batch-lines(100000) batch-bytes(67108864) batch-timeout(1000)
    {self.buffer.format(queue) or "log-fifo-size(400000)"}); }};
log {{ source(lines); destination(clickhouse); flags(flow-control); }};
""")
        libraries = {str(p.parent) for p in root.glob("usr/lib/**/lib*.so*")}
        self.agent = Process("syslog-ng", [
            program, "-F", "--no-caps", "-f", self.dir / "conf",
            f"--module-path={modules}",
            *(f"--{name}={self.dir / name}"
              for name in ("persist-file", "control", "pidfile"))],
            self.dir / "log",
            {**os.environ, "LD_LIBRARY_PATH": ":".join(sorted(libraries))})
        wait_for(self.listens, what="syslog-ng to listen")


class SyslogNgFile(SyslogNg):
    """syslog-ng, queue in a file, `reliable(yes)`"""
    buffer = """disk-buffer(reliable(yes) dir("{}")
        disk-buf-size(2147483648) mem-buf-size(67108864))"""


WAYS = {"direct": Direct, "direct-off": DirectOff, "edge": ThroughEdge, "edge2": ThroughEdgeToTwo,
        "fluentbit": FluentBit, "fluentbit-file": FluentBitFile,
        "fastapi": FastApi, "fastapi-fsync": FastApiSync,
        "syslog-ng": SyslogNg, "syslog-ng-file": SyslogNgFile,
        "collector": Collector, "collector-file": CollectorFile,
        "victorialogs": VictoriaLogs}
SKIPPED = {"rsyslog": "Debian has no omhttp for it"}
