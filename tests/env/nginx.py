"""A real nginx with the logbroker module in a directory of its own.

    with Nginx(tmp_path, workers=2) as nginx:
        assert nginx.post("/log", b"{}").status == 204

LB_BUILD names the build directory (default: build), LB_NGINX the nginx to
run.  With a sanitized build, any report fails the test at stop().
"""

import contextlib
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess

from env.build import NGINX, module, sanitized
from env.http import Answer
from env.process import Daemon, alive, children, free_port, wait_for


class Nginx:
    """location and log are put into their blocks as they are; spool is what
    follows the path in logbroker_spool."""

    def __init__(self, directory, *, workers=1, spool="size=1m", location="",
                 server="", http="", main="", listen="", preload=None,
                 env=None, directives=None, threads=4):
        self.dir = pathlib.Path(directory)
        self.dir.mkdir(parents=True, exist_ok=True)
        self.spool = self.dir / "spool"
        self.port = free_port()
        self.unix = self.dir / "nginx.sock"
        self.conf = self.dir / "nginx.conf"
        self.error_log = self.dir / "error.log"
        self.access_log = self.dir / "access.log"
        self.reports = self.dir / "reports"
        self.reports.mkdir(exist_ok=True)
        self.process = None
        self.env = dict(os.environ, **(env or {}))
        preloads = [preload] if preload else []
        if sanitized():
            preloads.insert(0, subprocess.check_output(
                ["gcc", "-print-file-name=libasan.so"], text=True).strip())
            self.env["ASAN_OPTIONS"] = (
                f"log_path={self.reports}/asan:detect_leaks=0:"
                "abort_on_error=0")
            self.env["UBSAN_OPTIONS"] = (
                f"log_path={self.reports}/ubsan:print_stacktrace=1")
        if preloads:
            self.env["LD_PRELOAD"] = ":".join(str(p) for p in preloads)
        # nginx drops its environment unless told otherwise
        main += "".join(f"env {name};\n" for name in (
            "LD_PRELOAD", "ASAN_OPTIONS", "UBSAN_OPTIONS", *(env or {})))
        self.main = main
        self.threads = threads
        for temp in ("body", "proxy", "fastcgi", "uwsgi", "scgi"):
            (self.dir / temp).mkdir(exist_ok=True)
        self.write_conf(workers=workers, spool=spool, location=location,
                        server=server, http=http, listen=listen,
                        directives=directives)

    def write_conf(self, *, workers=1, spool="size=1m", location="",
                   server="", http="", listen="", directives=None):
        user = "user root;" if os.getuid() == 0 else ""
        self.count = workers
        if directives is None:
            directives = f"logbroker_spool {self.spool} {spool};"
        self.conf.write_text(f"""
load_module {module()};
{user}
worker_processes {workers};
pid {self.dir}/nginx.pid;
error_log {self.error_log} info;
thread_pool default threads={self.threads};
{self.main}
events {{ worker_connections 1024; }}
http {{
    log_format logbroker '$status $request_method $uri '
        'stream=$logbroker_stream events=$logbroker_events '
        'bytes=$logbroker_bytes ring=$logbroker_ring error=$logbroker_error';
    access_log {self.access_log} logbroker;
    client_body_temp_path {self.dir}/body;
    proxy_temp_path {self.dir}/proxy;
    fastcgi_temp_path {self.dir}/fastcgi;
    uwsgi_temp_path {self.dir}/uwsgi;
    scgi_temp_path {self.dir}/scgi;
    keepalive_requests 1000000;
    {directives}
    {http}
    server {{
        listen 127.0.0.1:{self.port} backlog=4096;
        listen unix:{self.unix};
        {listen}
        {server}
        location /log {{ logbroker; {location} }}
        location = /status {{ logbroker_status; }}
    }}
}}
""")

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, *exc):
        self.stop(check=kind is None)

    def command(self, daemon=False):
        return [NGINX, "-p", str(self.dir), "-c", str(self.conf),
                "-g", f"daemon {'on' if daemon else 'off'};"]

    def test_conf(self):
        """nginx -t: (status, what it says)"""
        p = subprocess.run(
            [NGINX, "-t", "-p", str(self.dir), "-c", str(self.conf)],
            env=self.env, capture_output=True, text=True, check=False)
        return p.returncode, p.stderr

    def start(self, ring=True, daemon=False):
        """ring: wait until each worker has claimed one.  daemon: in the
        background, where nginx takes a binary upgrade."""
        self.unix.unlink(missing_ok=True)  # left there by kill()
        with open(self.dir / "nginx.out", "ab") as out:
            self.process = subprocess.Popen(
                self.command(daemon), env=self.env, stdin=subprocess.DEVNULL,
                stdout=out, stderr=out, start_new_session=True)
        if daemon:
            assert self.process.wait(20) == 0, self.log()
            pid = self.dir / "nginx.pid"
            self.process = Daemon(int(wait_for(
                lambda: pid.exists() and pid.read_text(), what="pid file")))
        wait_for(lambda: self.ready() if ring else self.listening(),
                 what=f"nginx to be ready\n{self.log()}", timeout=30)
        return self

    @property
    def pid(self):
        return self.process.pid

    def workers(self):
        return children(self.process.pid)

    def listening(self):
        assert self.process.poll() is None, self.log()
        return self.connects()

    def connects(self):
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def ready(self):
        if not self.listening():
            return False
        # a ring is also locked while it is created, at epoch 0
        claimed = [r for r in self.status()["rings"]
                   if r.get("locked") and r["epoch"] > 0]
        return len(claimed) >= self.count

    def log(self):
        text = ""
        for path in (self.dir / "nginx.out", self.error_log):
            with contextlib.suppress(OSError):
                text += path.read_text(errors="replace")
        return text[-8000:]

    def access(self):
        return self.access_log.read_text().splitlines()

    def send(self, sig):
        os.kill(self.process.pid, sig)

    def reload(self, spares=True):
        """Returns when there are new workers; by default waits first until
        there is a free ring for each."""
        if spares:
            wait_for(lambda: self.status()["total"]["rings"] >= 2 * self.count,
                     what="spare rings")
        old = set(self.workers())
        self.send(signal.SIGHUP)
        wait_for(lambda: set(self.workers()) - old, what="new workers")

    def stop(self, sig=signal.SIGQUIT, timeout=30, check=True):
        if self.process is None:
            return
        if self.process.poll() is None:
            self.send(sig)
            try:
                self.process.wait(timeout)
            except (subprocess.TimeoutExpired, AssertionError):
                self.kill()
                raise AssertionError(
                    f"nginx did not stop\n{self.log()}") from None
        self.process = None
        if check:
            self.check()

    def kill(self):
        """Master and workers at once, as when the container is killed."""
        pids = [self.process.pid, *self.workers()]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self.process = None
        wait_for(lambda: not any(alive(pid) for pid in pids),
                 what="workers to be gone")
        # a thread that is still writing keeps the port for a moment
        wait_for(lambda: not self.connects(), what="the port to be free")

    def check(self):
        """No sanitizer reports, nothing impossible in the log."""
        reports = [p.read_text(errors="replace")
                   for p in self.reports.iterdir()]
        assert not reports, reports[0]
        with contextlib.suppress(OSError):
            log = self.error_log.read_text(errors="replace")
            for word in ("[alert]", "[emerg]"):
                lines = [x for x in log.splitlines() if word in x
                         and "exited on signal 9" not in x
                         # ... while it was in there
                         and "was locked by" not in x
                         and "open socket" not in x]
                assert not lines, lines

    # requests

    def connect(self, timeout=30):
        return http.client.HTTPConnection("127.0.0.1", self.port,
                                          timeout=timeout)

    def request(self, method, path, body=None, headers=None, conn=None):
        """On a connection of its own unless one is given."""
        c = conn or self.connect()
        try:
            if isinstance(body, str):
                body = body.encode()
            c.request(method, path, body, headers or {})
            r = c.getresponse()
            return Answer(r.status, r.headers, r.read())
        finally:
            if conn is None:
                c.close()

    def post(self, path, body, headers=None, conn=None):
        return self.request("POST", path, body, headers, conn)

    def status(self):
        a = self.request("GET", "/status")
        assert a.status == 200, a
        return json.loads(a.body)
