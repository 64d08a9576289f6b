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

from env.build import NGINX, module, preloads, sanitizers
from env.http import Answer
from env.process import (Daemon, alive, children, free_port, state, threads_of,
                         wait_for)


def configuration(directory, http, *, main="", workers=1, threads=4):
    """An nginx.conf that keeps to its directory; http goes in as it is."""
    user = "user root;" if os.getuid() == 0 else ""
    for temp in ("body", "proxy", "fastcgi", "uwsgi", "scgi"):
        (directory / temp).mkdir(exist_ok=True)
    return f"""
{main}
{user}
worker_processes {workers};
pid {directory}/nginx.pid;
error_log {directory}/error.log info;
thread_pool default threads={threads};
events {{ worker_connections 1024; }}
http {{
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    {http}
}}
"""


class Nginx:
    """With the module, a spool, /log and /status.  location and server are put
    into their blocks as they are; spool is what follows the path in
    logbroker_spool.  Others than this one are made by another text()."""

    ENDS = signal.SIGQUIT  # by default, in stop()

    def __init__(self, directory, *, preload=None, env=None, main="",
                 threads=4, access=None, **conf):
        """access: what follows access_log."""
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
        self.env = {**os.environ, **(env or {}), **sanitizers(self.reports)}
        self.env["LD_PRELOAD"] = preloads(
            *([preload] if preload else []),
            *self.env.get("LD_PRELOAD", "").replace(":", " ").split())
        # nginx drops its environment unless told otherwise
        self.main = main + "".join(f"env {name};\n" for name in sorted({
            "LB_FAULT_DIR", "LD_PRELOAD", "ASAN_OPTIONS", "UBSAN_OPTIONS",
            "TSAN_OPTIONS",
            *(env or {})}))
        self.threads = threads
        self.access_to = access or f"{self.access_log} logbroker"
        self.write_conf(**conf)

    def write_conf(self, **conf):
        self.conf.write_text(self.text(**conf))

    def text(self, *, workers=1, spool="size=1m", location="", server="",
             http="", listen="", directives=None):
        self.count = workers
        if directives is None:
            directives = f"logbroker_spool {self.spool} {spool};"
        return configuration(
            self.dir, main=f"load_module \"{module()}\";\n{self.main}",
            workers=workers, threads=self.threads, http=f"""
    log_format logbroker '$status $request_method $uri '
        'stream=$logbroker_stream events=$logbroker_events '
        'bytes=$logbroker_bytes ring=$logbroker_ring error=$logbroker_error';
    access_log {self.access_to};
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
        location = /tail {{ logbroker_tail; }}
    }}""")

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, *exc):
        self.stop(check=kind is None)

    def command(self, daemon=False):
        return [NGINX, "-p", str(self.dir), "-c", str(self.conf), "-e", "stderr",
                "-g", f"daemon {'on' if daemon else 'off'};"]

    def test_conf(self):
        """nginx -t: (status, what it says)"""
        p = subprocess.run([*self.command(), "-t"], env=self.env,
                           capture_output=True, text=True, check=False)
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
            self.process = Daemon(wait_for(self.pid_in_file, what="pid file"))
        try:
            wait_for(self.ready if ring else self.listening, 60,
                     "nginx to be ready")
        except AssertionError as e:
            raise AssertionError(f"{e}\n{self.log()}") from None
        return self

    def pid_in_file(self):
        try:
            return int((self.dir / "nginx.pid").read_text())
        except (OSError, ValueError):
            return 0

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
        """Every worker has a ring, and no other one is being taken."""
        if not self.listening():
            return False
        try:
            status = self.status()
        except (OSError, http.client.HTTPException, ValueError):
            return False  # of a worker that was just killed
        # a ring is also locked while it is created, at epoch 0, and by a
        # worker that has only begun to take it
        workers = status["workers"]
        return workers["starting"] + workers["without_ring"] == 0 and len(
            [r for r in status["rings"] if r.get("locked") and r["epoch"] > 0]
        ) >= self.count

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

    def upgrade(self):
        """To a second master, with workers of its own; returns the old one,
        which serves beside it."""
        old = self.process
        self.send(signal.SIGUSR2)
        wait_for((self.dir / "nginx.pid.oldbin").exists, what="upgrade")
        self.process = Daemon(wait_for(
            lambda: self.pid_in_file() not in (0, old.pid)
            and self.pid_in_file(), what="the new master"))
        wait_for(lambda: len(self.workers()) == self.count,
                 what="new workers")
        return old

    def stop(self, sig=None, timeout=30, check=True):
        if self.process is None:
            return
        if self.process.poll() is None:
            self.send(sig or self.ENDS)
            try:
                self.process.wait(timeout)
            except (subprocess.TimeoutExpired, AssertionError):
                where = "".join(map(threads_of, self.workers()))
                self.kill()
                raise AssertionError(f"nginx did not stop\n{where}"
                                     f"{self.log()}") from None
        self.process = None
        if check:
            self.check()

    def kill(self):
        """Master and workers at once, as when the container is killed."""
        # a master that runs may fork another worker meanwhile
        os.kill(self.process.pid, signal.SIGSTOP)
        wait_for(lambda: state(self.process.pid) in "TZ", what="nginx to stop")
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
                         and "open socket" not in x
                         # as in containers
                         and "setrlimit(RLIMIT_NOFILE" not in x]
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
