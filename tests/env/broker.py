"""The whole service on loopback for system tests: ClickHouse, brokers (nginx
with the module, and a flusher each), and an oracle that remembers what was
acknowledged.

LB_BUILD names the build directory (default: build).  If that build has
sanitizers, their reports are collected and any report fails the test.
"""

import contextlib
import json
import os
import random
import signal
import subprocess

from env.build import find, sanitizers
from env.http import post
from env.nginx import Nginx
from env.process import Process, wait_for


# from any address, and whoever it is of
GATHERED = """
    location = /gathered {
        client_body_buffer_size 256k;
        client_max_body_size 256k;
        logbroker_gathered /log;
    }
"""


class Broker:
    """One broker node: nginx and flusher over one spool."""

    def __init__(self, directory, clickhouse_urls, *, name="broker-0",
                 index=0, count=1, workers=2, sync="always", size="16m",
                 rings=16, extra_location="", extra_server="", extra_http="",
                 user=None,
                 password=None, flusher=None, env=None):
        """env: more environment for nginx and flusher."""
        gathered = "" if extra_location else GATHERED
        self.nginx = Nginx(
            directory, workers=workers, spool=f"size={size} rings={rings}",
            location=extra_location, server=gathered + extra_server,
            access="off",
            env=env, http=f"""
    client_body_buffer_size 64k;
    client_max_body_size 32m;
    logbroker_sync {sync};
    {extra_http}""")
        self.dir, self.spool = self.nginx.dir, self.nginx.spool
        self.port, self.conf = self.nginx.port, self.nginx.conf
        self.name = name
        self.flusher = None
        self.env = {**os.environ, **(env or {}),
                    **sanitizers(self.nginx.reports)}
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
        self.nginx.start(ring=ready, daemon=daemon)

    def listening(self):
        return self.nginx.connects()

    def ready(self):
        return self.nginx.ready()

    def status(self):
        return self.nginx.status()

    def reload(self):
        self.nginx.send(signal.SIGHUP)

    def kill_worker(self, rng=random):
        workers = self.nginx.workers()
        if workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(rng.choice(workers), signal.SIGKILL)

    def kill_nginx(self):
        self.nginx.kill()

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
        with contextlib.suppress(AssertionError):
            self.nginx.stop(signal.SIGTERM, timeout=20, check=False)
        if self.flusher is not None:
            self.flusher.stop()

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
                for p in self.nginx.reports.iterdir()]


FAST = {"backoff": {"min_ms": 1000, "max_ms": 1000}}
AT_ONCE = {**FAST, "shutdown_timeout_ms": 0}
NOWHERE = "http://127.0.0.1:1"


def dead(broker, action, *letters, status=0):
    """logbroker-spool dead: its letters for "list", else what it says."""
    r = subprocess.run(
        [find("logbroker-spool"), "dead", action, "--json",
         str(broker.spool), *map(str, letters)],
        capture_output=True, text=True, timeout=60, env=broker.env)
    assert r.returncode == status, r.stderr
    if action != "list":
        return r.stdout + r.stderr
    return [json.loads(line) for line in r.stdout.splitlines()]


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
