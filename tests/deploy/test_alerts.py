"""Every alert fires, and comes to somebody: a real Prometheus with the rules
that are shipped watches brokers, edges, ClickHouse and this machine, in each of
which something is wrong; a real Alertmanager tells a receiver.  Only the times
are shorter: looks are a second apart, "for" is one second, the ranges of rates
ten.  What a number is compared with stays, so this takes a minute or two."""

import contextlib
import http.client
import http.server
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import threading
import time

import pytest

from env.broker import Broker
from env.build import ROOT, library
from env.clickhouse import ClickHouse
from env.edge import Edge
from env.faults import Faults
from env.http import post
from env.process import Process, free_port, wait_for

CONF = ROOT / "conf/prometheus"
RULES = (CONF / "logbroker.rules.yml").read_text()
PROGRAMS = ("prometheus", "prometheus-alertmanager",
            "prometheus-node-exporter", "prometheus-blackbox-exporter")

# which alerts cannot be had here, and why (logbroker.test.yml has them)
NOT_HERE = {
    "LogbrokerClickHouseReplica": "the embedded engine has no replicas",
    "LogbrokerBackupOld": "36 hours; tests/e2e/test_backups.py has the figure",
    "LogbrokerMemory": "takes all memory of the machine",
    "LogbrokerMachineClock": "takes the machine's clock",
}


class WithoutMajority(http.server.BaseHTTPRequestHandler):
    """Keeper's /ready where there is no leader (the engine that runs here has
    no Keeper)."""

    def do_GET(self):
        self.send_error(503)

    def log_message(self, *_):
        pass


class Receiver:
    """Remembers what it was told: {alert: {instance, ...}}"""

    def __init__(self):
        outer = self
        self.told = {}
        self.lock = threading.Lock()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                length = int(self.headers["Content-Length"])
                for a in json.loads(self.rfile.read(length))["alerts"]:
                    if a["status"] == "firing":
                        with outer.lock:
                            outer.told.setdefault(
                                a["labels"]["alertname"], set()).add(
                                    a["labels"].get("instance"))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0),
                                                      Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever,
                         daemon=True).start()


def address(port):
    return f"127.0.0.1:{port}"


class Watch:
    """Prometheus and those around it, with the configuration as shipped."""

    def __init__(self, d, receiver, ca):
        self.d, self.processes = d, []
        self.ports = {p: free_port() for p in PROGRAMS}
        text = (CONF / "alertmanager.yml").read_text()
        text = re.sub(r"group_(wait|interval): \w+", r"group_\1: 1s", text)
        text = re.sub(r"  - name: (\w+)", r"  - name: \1\n    webhook_configs:"
                      f" [{{url: '{receiver.url}'}}]", text)
        (d / "alertmanager.yml").write_text(text)
        text = (CONF / "blackbox.yml").read_text()
        (d / "blackbox.yml").write_text(
            text + f"      tls_config: {{ca_file: {ca}}}\n")
        self.run("prometheus-alertmanager",
                 f"--config.file={d}/alertmanager.yml",
                 f"--storage.path={d}/am", "--cluster.listen-address=")
        self.run("prometheus-node-exporter")
        self.run("prometheus-blackbox-exporter",
                 f"--config.file={d}/blackbox.yml")

    def run(self, program, *args, port=None):
        port = port or self.ports[program]
        self.processes.append(Process(
            program, [program, f"--web.listen-address={address(port)}", *args],
            self.d / f"{program}-{port}.log"))

    def prometheus(self, name, targets):
        d = self.d / name
        (d / "targets").mkdir(parents=True)
        text = (CONF / "prometheus.yml").read_text()
        (d / "prometheus.yml").write_text(text.replace("15s", "1s"))
        text = re.sub(r"for: \w+", "for: 1s", RULES)
        (d / "logbroker.rules.yml").write_text(
            re.sub(r"\[\d+[mh]\]", "[10s]", text))
        targets["alertmanager"] = [address(
            self.ports["prometheus-alertmanager"])]
        for job, those in targets.items():
            group = {"targets": those}
            if job in ("probe", "keeper"):
                group["labels"] = {"__blackbox__": address(
                    self.ports["prometheus-blackbox-exporter"])}
            (d / f"targets/{job}.yml").write_text(json.dumps([group]))
        self.run("prometheus", f"--config.file={d}/prometheus.yml",
                 f"--storage.tsdb.path={d}/data", port=free_port())

    def stop(self):
        for p in self.processes:
            p.stop()


def certificate(d):
    d.mkdir()
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1", "-subj",
         "/CN=logs", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout",
         d / "key.pem", "-out", d / "cert.pem"], check=True,
        capture_output=True)
    return d


@contextlib.contextmanager
def disk(d, read_only):
    """A small file system that is full, or that cannot be written to."""
    d.mkdir()
    with open(d / "image", "wb") as f:
        f.truncate(8 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", d / "image"],
                   check=True)
    (d / "disk").mkdir()
    subprocess.run(["mount", "-o", "loop" + (",ro" if read_only else ""),
                    d / "image", d / "disk"], check=True)
    try:
        if not read_only:
            with contextlib.suppress(OSError), \
                    open(d / "disk/ballast", "wb", buffering=0) as f:
                while True:
                    f.write(bytes(65536))
        yield
    finally:
        subprocess.run(["umount", d / "disk"], check=True)


def damage(spool, text):
    """A bit of these bytes flips, in whichever ring they are."""
    for path in spool.iterdir():
        data = path.read_bytes() if path.is_file() else b""
        if text in data:
            with open(path, "r+b") as f:
                f.seek(data.index(text))
                f.write(bytes([text[0] ^ 1]))
            return
    raise AssertionError("in no ring")


class Wrong:
    """A service in which everything is wrong, one thing in each place."""

    def __init__(self, d, stack):
        self.d, self.stack = d, stack
        self.so = library("tests/env/faults.c", d)
        self.server = stack.enter_context(ClickHouse(d / "clickhouse"))
        self.posts = []  # (port, body), again and again
        self.made = 0
        self.well = self.broker("well", index=0, count=1)
        self.posts.append((self.well.port, "{}"))

    def broker(self, name, faults=None, start=True, **kw):
        self.made += 1
        kw.setdefault("index", self.made)
        kw.setdefault("count", 40)
        if faults:
            kw["env"] = {"LD_PRELOAD": str(self.so), **faults.env}
        b = Broker(self.d / name, [kw.pop("url", self.server.url)], name=name,
                   workers=1, extra_server="location = /metrics {"
                   " logbroker_status metrics; }", **kw)
        b.start_nginx()
        if start:
            b.start_flusher()
        self.stack.callback(self.end, b)
        return b

    @staticmethod
    def end(b):
        if b.flusher is not None:
            b.flusher.kill()
        b.kill_nginx()

    def faults(self, name):
        return Faults(self.so, self.d / f"faults-{name}")

    def same_node(self):
        """As index 0 of 1 as the one that is well; into another table."""
        self.server.query("CREATE TABLE logbroker.other AS logbroker.logs "
                          "SETTINGS non_replicated_deduplication_window = 0")
        b = self.broker("same", index=0, count=1, flusher={
            "clickhouse": {"table": "other"}})
        self.posts.append((b.port, "{}"))
        return b

    def frozen(self):
        """The flusher is stopped, and the spool runs full."""
        b = self.broker("frozen", size="64k", rings=2)
        wait_for((b.spool / "flusher.json").exists, what="figures")
        b.flusher.signal(signal.SIGSTOP)
        self.posts.append((b.port, json.dumps({"message": "x" * 20000})))
        return b

    def failing_disk(self):
        f = self.faults("fail")
        b = self.broker("failing", f)
        f.set("fail", 5)
        self.posts.append((b.port, "{}"))
        return b

    def hanging_disk(self):
        """Slow for some seconds, then not at all."""
        f = self.faults("hang")
        b = self.broker("hanging", f)
        f.set("delay", 800)
        self.posts.append((b.port, "{}"))
        return b, f

    def clock(self):
        f = self.faults("clock")
        b = self.broker("clock", f, start=False)
        f.set("clock", 5)
        b.start_flusher()
        self.posts.append((b.port, "{}"))
        return b

    def bit_rot(self):
        b = self.broker("rot", start=False)
        for n in range(3):
            assert post(b.port, '{"message":"rots %d"}' % n)[0] == 204
        damage(b.spool, b"rots 1")
        # what was lost before Prometheus first looked is no increase
        return b

    def unaccounted(self):
        """A defect there is none of: what the flusher would write."""
        b = self.broker("defect")
        state = b.spool / "flusher.json"
        wait_for(state.exists, what="figures")
        b.flusher.kill()
        state.write_text(json.dumps(
            {**json.loads(state.read_text()), "unaccounted_events": 3}))
        return b

    def clickhouse_troubles(self):
        q = self.server.query
        q("CREATE TABLE slow (n UInt8) ENGINE = MergeTree ORDER BY n SETTINGS "
          "parts_to_delay_insert = 1, max_delay_to_insert = 1, "
          "min_delay_to_insert_ms = 10")
        q("CREATE TABLE refuses (n UInt8, CONSTRAINT c CHECK n = 0) "
          "ENGINE = MergeTree ORDER BY n")
        q("SYSTEM STOP MERGES slow")

    def go_on(self, stop):
        """Clients that send all the time, each on its own."""
        def send(port, body):
            while not stop.wait(0.2):
                with contextlib.suppress(OSError):
                    post(port, body, timeout=5)

        def insert():
            while not stop.wait(0.5):
                for sql in ("INSERT INTO slow VALUES (1)",
                            "INSERT INTO refuses VALUES (1)"):
                    with contextlib.suppress(AssertionError, OSError):
                        self.server.query(sql)

        threads = [threading.Thread(target=send, args=p) for p in self.posts]
        threads.append(threading.Thread(target=insert))
        for t in threads:
            t.start()
        return threads


@pytest.mark.skipif(os.getuid() != 0, reason="mounts file systems")
def test_each_alert_comes(tmp_path):
    for program in PROGRAMS:
        if not shutil.which(program):
            pytest.skip(f"no {program} (tools/install-deps.sh deploy)")
    receiver = Receiver()
    stop = threading.Event()
    with contextlib.ExitStack() as stack:
        wrong = Wrong(tmp_path, stack)
        cert = certificate(tmp_path / "tls")
        same, frozen = wrong.same_node(), wrong.frozen()
        failing, clock = wrong.failing_disk(), wrong.clock()
        hanging, faults = wrong.hanging_disk()
        rot, defect = wrong.bit_rot(), wrong.unaccounted()
        wrong.clickhouse_troubles()
        edge = Edge(tmp_path / "edge", [wrong.well.port])
        alone = Edge(tmp_path / "alone", [free_port()], tls=cert,
                     plain=free_port())
        for e in (edge, alone):
            stack.callback(e.stop)
        wrong.posts.append((edge.port, "{}"))
        stack.enter_context(disk(tmp_path / "full", False))
        stack.enter_context(disk(tmp_path / "ro", True))
        nobody = free_port()
        keeper = http.server.ThreadingHTTPServer(("127.0.0.1", 0),
                                                 WithoutMajority)
        threading.Thread(target=keeper.serve_forever, daemon=True).start()
        stack.callback(keeper.shutdown)
        alone_keeper = f"http://127.0.0.1:{keeper.server_port}/ready"

        watch = Watch(tmp_path, receiver, cert / "cert.pem")
        stack.callback(watch.stop)
        secure = f"https://127.0.0.1:{alone.port}/health"
        watch.prometheus("watch", {
            "logbroker": [address(p) for p in (
                wrong.well.port, same.port, frozen.port, failing.port,
                clock.port, hanging.port, rot.port, defect.port, nobody)],
            "edge": [address(p) for p in (edge.figures, alone.figures,
                                          nobody)],
            "probe": [f"http://127.0.0.1:{edge.port}/health", secure,
                      f"http://127.0.0.1:{nobody}/health"],
            "clickhouse": [address(wrong.server.port), address(nobody)],
            "keeper": [f"http://127.0.0.1:{edge.port}/health", alone_keeper,
                       f"http://127.0.0.1:{nobody}/ready"],
            "node": [address(watch.ports["prometheus-node-exporter"]),
                     address(nobody)],
        })
        watch.prometheus("blind", {})

        threads = wrong.go_on(stop)

        def on_error():
            context = ssl._create_unverified_context()
            while not stop.wait(0.2):
                with contextlib.suppress(OSError):
                    c = http.client.HTTPSConnection(
                        "127.0.0.1", alone.port, context=context, timeout=5)
                    c.request("POST", "/log", b"{}")
                    c.getresponse().read()
                    c.close()
        threads.append(threading.Thread(target=on_error))
        threads[-1].start()
        stack.callback(lambda: (stop.set(), [t.join() for t in threads]))

        def told(alert, instance=None):
            with receiver.lock:
                return instance in receiver.told.get(alert, ())

        wait_for(lambda: told("LogbrokerSlowDisk", address(hanging.port)), 60,
                 "a slow disk", every=0.2)
        faults.set("hang", 1)
        rot.start_flusher()

        expected = [
            ("LogbrokerUnaccounted", defect), ("LogbrokerFlusherDown", defect),
            ("LogbrokerNotExactlyOnce", same), ("LogbrokerDown", nobody),
            ("LogbrokerFlusherFrozen", frozen), ("LogbrokerFlusherDown", frozen),
            ("LogbrokerSpoolFull", frozen), ("LogbrokerRefusing", frozen),
            ("LogbrokerLag", frozen), ("LogbrokerDeadLetters", rot),
            ("LogbrokerDiskFailing", failing), ("LogbrokerDiskHangs", hanging),
            ("LogbrokerLostBytes", rot), ("LogbrokerSlowDisk", hanging),
            ("LogbrokerTooManyRequests", None), ("LogbrokerSameNode", None),
            ("LogbrokerNodes", None), ("LogbrokerClock", clock),
            ("LogbrokerEdgeDown", nobody),
            ("LogbrokerUnreachable", f"http://127.0.0.1:{nobody}/health"),
            ("LogbrokerEdgeErrors", alone.figures),
            ("LogbrokerCertificate", secure),
            ("LogbrokerClickHouseDown", nobody),
            ("LogbrokerClickHouseParts", wrong.server),
            ("LogbrokerClickHouseInserts", wrong.server),
            ("LogbrokerKeeper", f"http://127.0.0.1:{nobody}/ready"),
            ("LogbrokerKeeper", alone_keeper),
            ("LogbrokerNodeDown", nobody),
            ("LogbrokerDiskSpace", watch.ports["prometheus-node-exporter"]),
            ("LogbrokerDiskReadOnly", watch.ports["prometheus-node-exporter"]),
            ("LogbrokerNotWatched", None), ("LogbrokerWatchdog", None),
        ]
        alerts = set(re.findall(r"alert: (\w+)", RULES))
        assert {a for a, _ in expected} == alerts - NOT_HERE.keys()

        def instance(where):
            if hasattr(where, "port"):
                where = where.port
            return address(where) if isinstance(where, int) else where

        def missing():
            return [(a, instance(w)) for a, w in expected
                    if not told(a, instance(w))]

        end = time.monotonic() + 150
        while missing() and time.monotonic() < end:
            time.sleep(0.5)
        assert not missing(), receiver.told
        # and nobody says anything of those that are well
        well = {address(wrong.well.port), address(edge.figures),
                f"http://127.0.0.1:{edge.port}/health"}
        assert not [(a, i & well) for a, i in receiver.told.items()
                    if i & well]
