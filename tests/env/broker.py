"""The whole service on loopback for system tests: ClickHouse, brokers (nginx
with the module, and a flusher each), and an oracle that remembers what was
acknowledged.

LB_BUILD names the build directory (default: build).  If that build has
sanitizers, their reports are collected and any report fails the test.
"""

import contextlib
import http.client
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import urllib.request

from env.build import NGINX, find, sanitized
from env.http import post
from env.process import Process, free_port, wait_for


class Daemon:
    """What of Process makes sense for a process that is not our child."""

    def __init__(self, pidfile):
        self.pidfile = pidfile

    @property
    def pid(self):
        return int(self.pidfile.read_text() or 0)

    def signal(self, sig):
        os.kill(self.pid, sig)

    def stop(self, timeout=20):
        with contextlib.suppress(OSError, ValueError):
            pid = self.pid
            os.kill(pid, signal.SIGTERM)
            wait_for(lambda: not pathlib.Path(f"/proc/{pid}").exists(),
                     timeout, f"end of {pid}")


def children(pid):
    try:
        text = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(c) for c in text.split()]


class Broker:
    """One broker node: nginx and flusher over one spool."""

    def __init__(self, directory, clickhouse_urls, *, name="broker-0",
                 index=0, count=1, workers=2, sync="always", size="16m",
                 rings=16, extra_location="", extra_http="", user=None,
                 password=None, flusher=None, env=None):
        """env: more environment for nginx and flusher."""
        self.dir = pathlib.Path(directory)
        self.dir.mkdir(parents=True, exist_ok=True)
        self.spool = self.dir / "spool"
        self.port = free_port()
        self.name = name
        self.nginx = None
        self.flusher = None
        self.reports = self.dir / "reports"
        self.reports.mkdir(exist_ok=True)
        self.env = {**os.environ, **(env or {})}
        self.nginx_env = dict(self.env)
        if sanitized():
            options = f"log_path={self.reports}/asan:detect_leaks=0"
            self.env["ASAN_OPTIONS"] = options
            self.env["UBSAN_OPTIONS"] = (
                f"log_path={self.reports}/ubsan:print_stacktrace=1")
            self.nginx_env = dict(self.env)
            asan = subprocess.check_output(
                ["gcc", "-print-file-name=libasan.so"], text=True).strip()
            self.nginx_env["LD_PRELOAD"] = " ".join(
                [asan, *self.env.get("LD_PRELOAD", "").split()])
        # workers, and a binary upgrade, get only what is named
        lines = [f"env {name};" for name in sorted(
            {"LB_FAULT_DIR", "LD_PRELOAD", "ASAN_OPTIONS", "UBSAN_OPTIONS",
             *(env or {})})]
        if os.getuid() == 0:
            lines.append("user root;")
        main = "\n".join(lines)
        for temp in ("body", "proxy", "fastcgi", "uwsgi", "scgi"):
            (self.dir / temp).mkdir(exist_ok=True)
        self.conf = self.dir / "nginx.conf"
        self.conf.write_text(f"""
load_module {find("ngx_http_logbroker_module.so")};
{main}
worker_processes {workers};
pid {self.dir}/nginx.pid;
error_log {self.dir}/error.log info;
thread_pool default threads=4;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {self.dir}/body;
    proxy_temp_path {self.dir}/proxy;
    fastcgi_temp_path {self.dir}/fastcgi;
    uwsgi_temp_path {self.dir}/uwsgi;
    scgi_temp_path {self.dir}/scgi;
    client_body_buffer_size 64k;
    client_max_body_size 32m;
    keepalive_requests 1000000;
    logbroker_spool {self.spool} size={size} rings={rings};
    logbroker_sync {sync};
    {extra_http}
    server {{
        listen 127.0.0.1:{self.port} backlog=4096;
        location /log {{ logbroker; {extra_location} }}
        location = /status {{ logbroker_status; }}
    }}
}}
""")
        settings = {
            "spool": str(self.spool),
            "clickhouse": {"urls": list(clickhouse_urls),
                           "database": "logbroker", "table": "logs"},
            "broker": name,
            "node": {"index": index, "count": count},
        }
        if user:
            settings["clickhouse"]["user"] = user
        if password:
            secret = self.dir / "password"
            secret.write_text(password)
            settings["clickhouse"]["password_file"] = str(secret)
        for key, value in (flusher or {}).items():
            if isinstance(value, dict) and key in settings:
                settings[key].update(value)
            else:
                settings[key] = value
        self.settings = self.dir / "flusher.json"
        self.settings.write_text(json.dumps(settings))

    # nginx

    def start_nginx(self, daemon=False, ready=True):
        """As a daemon, nginx is not our child (a binary upgrade needs that:
        it is ignored by a master whose parent is the one it started with).
        Without ready it need not get a ring."""
        wait_for(lambda: not self.listening(), what="port to be free")
        self.nginx = Process(
            f"{self.name} nginx",
            [NGINX, "-p", str(self.dir), "-c", str(self.conf),
             "-g", f"daemon {'on' if daemon else 'off'};"],
            self.dir / "nginx.out", self.nginx_env)
        if daemon:
            assert self.nginx.p.wait(30) == 0
            self.nginx = Daemon(self.dir / "nginx.pid")
        wait_for(self.ready if ready else self.listening,
                 what=f"{self.name}: nginx ready "
                 f"(see {self.dir}/error.log)", timeout=60)

    def listening(self):
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def ready(self):
        """Every worker has a ring: as many rings are locked as there are
        workers."""
        try:
            rings = self.status()["rings"]
        except (OSError, http.client.HTTPException, ValueError, KeyError):
            return False
        workers = [c for c in children(self.nginx.pid)]
        return len([r for r in rings if r["locked"] and r["epoch"]]) \
            >= len(workers) > 0

    def status(self):
        with urllib.request.urlopen(
                f"http://127.0.0.1:{self.port}/status", timeout=10) as r:
            return json.load(r)

    def reload(self):
        self.nginx.signal(signal.SIGHUP)

    def kill_worker(self, rng=random):
        workers = children(self.nginx.pid)
        if workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(rng.choice(workers), signal.SIGKILL)

    def kill_nginx(self):
        """Master and workers at once, as when a container is killed."""
        pids = [self.nginx.pid, *children(self.nginx.pid)]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.nginx.p.wait()
        wait_for(lambda: not any(
            pathlib.Path(f"/proc/{pid}").exists() for pid in pids[1:]),
            what="workers to be gone")

    # flusher

    def start_flusher(self):
        self.flusher = Process(
            f"{self.name} flusher",
            [find("logbroker-flusher"), "--config", str(self.settings)],
            self.dir / "flusher.log", self.env)

    # both

    def start(self):
        self.start_nginx()
        self.start_flusher()
        return self

    def stop(self):
        for p in (self.nginx, self.flusher):
            if p is not None:
                p.stop()

    def stat(self):
        out = subprocess.run(
            [find("logbroker-spool"), "stat", "--json", str(self.spool)],
            capture_output=True, text=True, check=True, env=self.env)
        return json.loads(out.stdout)

    def backlog(self):
        s = self.stat()
        return sum(r["backlog_events"] for r in s["rings"])

    def drained(self):
        s = self.stat()
        return not s["in_flight"] and not any(
            r["backlog_events"] for r in s["rings"])

    def sanitizer_reports(self):
        return [p.read_text(errors="replace")
                for p in self.reports.iterdir()]


FAST = {"backoff": {"min_ms": 1000, "max_ms": 1000}}
AT_ONCE = {**FAST, "shutdown_timeout_ms": 0}
NOWHERE = "http://127.0.0.1:1"


def figures(broker):
    return broker.status()["flusher"] or {}


def settled(broker, clickhouse, rows):
    """Everything is delivered, once."""
    wait_for(broker.drained, 60, "everything delivered", every=0.1)
    assert clickhouse.query(
        "SELECT count(), uniqExact(ring, seq) FROM logbroker.logs "
        "FORMAT TSV") == f"{rows}\t{rows}\n"
    assert clickhouse.query("SELECT sum(gaps), sum(duplicates) FROM "
                            "logbroker.logbroker_audit FORMAT TSV") == "0\t0\n"


def reach(broker, url):
    settings = json.loads(broker.settings.read_text())
    settings["clickhouse"]["urls"] = [url]
    broker.settings.write_text(json.dumps(settings))


def fill(broker, n, word):
    for i in range(0, n, 10):
        assert post(broker.port, "".join(
            '{"message":"%s %d"}' % (word, i + k) for k in range(10)))[0] == 204
