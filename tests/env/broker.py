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
import threading
import time
import urllib.request

from env.nginx import BUILD, NGINX, free_port, sanitized, wait_for


def find(name):
    for path in (BUILD / name, *BUILD.glob(f"*/{name}")):
        if path.is_file():
            return str(path)
    raise AssertionError(f"{name} is not in {BUILD}: build first")


class Process:
    """A child with its output in a file, ended by its own pid only."""

    def __init__(self, name, argv, log, env=None, cwd=None):
        self.name = name
        self.log = log
        self.out = open(log, "ab")
        self.p = subprocess.Popen(
            argv, stdout=self.out, stderr=self.out, stdin=subprocess.DEVNULL,
            env=env, cwd=cwd, start_new_session=True)

    @property
    def pid(self):
        return self.p.pid

    def running(self):
        return self.p.poll() is None

    def signal(self, sig):
        if self.running():
            os.kill(self.p.pid, sig)

    def stop(self, timeout=20):
        self.signal(signal.SIGTERM)
        try:
            self.p.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
        self.out.close()
        return self.p.returncode

    def kill(self):
        self.signal(signal.SIGKILL)
        self.p.wait()


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


class Door:
    """Passes TCP connections on to a server and remembers when the first byte
    of each came: the flusher makes one connection per request, ahead of it.

    mode, looked at when that byte comes (shut: when the connection begins,
    unless a function says so), may be a function that returns one of
      pass   as it is
      shut   the connection is closed at once
      cut    the request ends after some bytes of its body (the embedded engine
             stops listening after a cut header)
      drop   the server answers, the answer is thrown away
      hang   the same, but the connection stays open
      late   the answer comes 3 s later
      stall  the server never hears of it, and the connection stays open
      held   read to its end, no answer; it goes on to the server, whose
             answer nobody hears, when release is set
      504    the same, and the client is told 504 meanwhile
      memory:N  the server may use N bytes for this request
      limit:N  as a proxy that takes N bytes: 413, or as it is
      code:N   error N of ClickHouse; the server never hears of it
      and a key of ANSWERS: the server answers, the client gets this instead,
      or, for the keys of INSTEAD, the server never hears of it.

    inserts, if not None, is the mode of requests that are INSERTs.  heard has
    (time, "insert" or "question") of each request that began to arrive while
    inserts was set."""

    ANSWERS = {
        "500": b"HTTP/1.1 500 Internal Server Error\r\n"
               b"Content-Length: 4\r\nConnection: close\r\n\r\noops",
        "exception": b"HTTP/1.1 200 OK\r\nContent-Length: 41\r\n"
                     b"Connection: close\r\n\r\n"
                     b"Code: 241. DB::Exception: not enough mem.",
        "empty": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
                 b"Connection: close\r\n\r\n",
    }
    INSTEAD = {
        "503": b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n"
               b"Connection: close\r\n\r\n",
        "429": b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n"
               b"Connection: close\r\n\r\n",
        "exception instead": ANSWERS["exception"],
        "empty instead": ANSWERS["empty"],
    }

    TOO_LARGE = b"HTTP/1.1 413 Request Entity Too Large\r\n" \
                b"Content-Length: 0\r\nConnection: close\r\n\r\n"

    def __init__(self, port, host="127.0.0.1", listen=0):
        self.starts = []
        self.heard = []
        self.mode = "pass"
        self.inserts = None
        self.release = threading.Event()
        self.target = port
        self.listener = socket.create_server(
            (host, listen), backlog=64,
            family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.port = self.listener.getsockname()[1]
        self.url = (f"http://[{host}]:{self.port}" if ":" in host
                    else f"http://{host}:{self.port}")
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                inner, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(inner,),
                             daemon=True).start()

    def _serve(self, inner):
        with inner, contextlib.suppress(OSError):
            if self.mode == "shut" or not inner.recv(1, socket.MSG_PEEK):
                return
            self.starts.append(time.monotonic())
            mode = self.mode() if callable(self.mode) else self.mode
            if self.inserts is not None:
                insert = b"INSERT" in inner.recv(200, socket.MSG_PEEK)
                self.heard.append((time.monotonic(),
                                   "insert" if insert else "question"))
                if insert:
                    mode = self.inserts
                    mode = mode() if callable(mode) else mode
            if mode == "shut":
                return
            if mode == "stall":
                while inner.recv(1 << 16):
                    pass
                return
            if mode in ("held", "504"):
                self._hold(inner, mode)
                return
            if mode.startswith("code:"):
                self._instead(inner, self._error(int(mode[5:])))
                return
            if mode.startswith("limit:"):
                # what this server sends is chunked, its end told by the data
                limit = int(mode[6:])
                data = b""
                while len(data) <= limit and not self._whole(data):
                    more = inner.recv(1 << 16)
                    if not more:
                        return
                    data += more
                if len(data) > limit:
                    self._instead(inner, self.TOO_LARGE, data)
                    return
                with socket.create_connection(
                        ("127.0.0.1", self.target)) as outer:
                    outer.sendall(data)
                    self._answer(outer, inner, "pass")
                return
            if mode in self.INSTEAD:
                self._instead(inner, self.INSTEAD[mode])
                return
            with socket.create_connection(
                    ("127.0.0.1", self.target)) as outer:
                if mode.startswith("memory:"):
                    first = inner.recv(1 << 16)
                    outer.sendall(first.replace(
                        b"/?", b"/?max_memory_usage=%d&" % int(mode[7:]), 1))
                there = threading.Thread(
                    target=self._request, daemon=True,
                    args=(inner, outer, 1000 if mode == "cut" else None))
                there.start()
                self._answer(outer, inner, mode)
                with contextlib.suppress(OSError):
                    inner.shutdown(socket.SHUT_RDWR)
                there.join(60)

    @staticmethod
    def _instead(inner, answer, data=b""):
        """Read to the end first, so that the answer is not lost in a reset
        connection."""
        inner.settimeout(0.2)
        with contextlib.suppress(OSError):
            while not Door._whole(data):
                more = inner.recv(1 << 16)
                if not more:
                    return
                data += more
        inner.settimeout(None)
        inner.sendall(answer)
        inner.shutdown(socket.SHUT_WR)
        while inner.recv(1 << 16):
            pass

    @staticmethod
    def _error(code):
        text = f"Code: {code}. DB::Exception: as the test wants it".encode()
        return (b"HTTP/1.1 500 Internal Server Error\r\n"
                b"X-ClickHouse-Exception-Code: %d\r\n"
                b"Content-Length: %d\r\nConnection: close\r\n\r\n%s"
                % (code, len(text), text))

    @staticmethod
    def _whole(data):
        """A request as the flusher makes them."""
        if b"chunked" not in data[:4096] and b"\r\n\r\n" in data[:8192]:
            head, _, body = data.partition(b"\r\n\r\n")
            for line in head.lower().splitlines():
                if line.startswith(b"content-length:"):
                    return len(body) >= int(line[15:])
        return data.endswith(b"\r\n0\r\n\r\n")

    def _hold(self, inner, mode):
        data = b""
        while not self._whole(data):
            more = inner.recv(1 << 16)
            if not more:
                return
            data += more
        if mode == "504":
            inner.sendall(b"HTTP/1.1 504 Gateway Timeout\r\n"
                          b"Content-Length: 0\r\nConnection: close\r\n\r\n")
            inner.shutdown(socket.SHUT_WR)
        inner.close()
        self.release.wait(120)
        with socket.create_connection(("127.0.0.1", self.target)) as outer:
            outer.sendall(data)
            outer.recv(1 << 16)

    @staticmethod
    def _request(inner, outer, limit):
        head = b"" if limit is not None else None
        with contextlib.suppress(OSError):
            while data := inner.recv(1 << 16):
                if head is not None:
                    head += data
                    if b"\r\n\r\n" not in head:
                        continue
                    limit += head.index(b"\r\n\r\n") + 4
                    data, head = head, None
                if limit is not None:
                    data = data[:limit]
                    limit -= len(data)
                outer.sendall(data)
                if limit == 0:
                    break
        with contextlib.suppress(OSError):
            outer.shutdown(socket.SHUT_RDWR if limit == 0
                           else socket.SHUT_WR)

    def _answer(self, outer, inner, mode):
        data = outer.recv(1 << 16)
        if mode == "drop":
            return
        if mode == "hang":
            time.sleep(30)
            return
        if mode == "late":
            time.sleep(3)
        if mode in self.ANSWERS:
            inner.sendall(self.ANSWERS[mode])
            return
        while data:
            inner.sendall(data)
            data = outer.recv(1 << 16)

    def close(self):
        self.listener.close()


class Oracle:
    """Clients that remember what they were told.  Every event carries a
    unique id as its message."""

    def __init__(self, ports, *, threads=4, events=3, seed=1, path="/log",
                 keepalive=True, host="127.0.0.1", pause=0):
        """pause: seconds between a client's requests."""
        self.host = host
        self.pause = pause
        self.ports = ports
        self.path = path
        self.headers = {} if keepalive else {"Connection": "close"}
        self.events = events
        self.seed = seed
        self.acked = set()
        self.refused = set()   # told: nothing stored
        self.unknown = set()   # no answer
        self.statuses = {}
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(i,),
                                         daemon=True)
                        for i in range(threads)]

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *exc):
        self.stopping.set()
        for t in self.threads:
            t.join(60)
            assert not t.is_alive()

    def _run(self, number):
        rng = random.Random(f"{self.seed}-{number}")
        conn = None
        n = 0
        while not self.stopping.is_set():
            ids = [f"{self.seed}-{number}-{n}-{i}"
                   for i in range(rng.randint(1, self.events))]
            n += 1
            body = "".join(
                json.dumps({"message": i, "level": "info",
                            "pad": "x" * rng.randint(0, 300)}) + "\n"
                for i in ids)
            status = None
            try:
                if conn is None:
                    conn = http.client.HTTPConnection(
                        self.host, rng.choice(self.ports), timeout=30)
                    conn.connect()
            except OSError:
                conn = None
                time.sleep(0.01)
                continue
            try:
                conn.request("POST", self.path, body.encode(), self.headers)
                response = conn.getresponse()
                response.read()
                status = response.status
                if response.will_close:
                    conn = None
            except (OSError, http.client.HTTPException):
                conn = None
            with self.lock:
                self.statuses[status] = self.statuses.get(status, 0) + 1
                if status == 204:
                    self.acked.update(ids)
                elif status is None or status in (502, 504):
                    self.unknown.update(ids)
                else:
                    self.refused.update(ids)
            time.sleep(self.pause if status in (204, None) else 0.01)

    def count(self):
        with self.lock:
            return len(self.acked)

    def verify(self, clickhouse, where="1", refused_may_arrive=False,
               tables=("logs",)):
        """Each acknowledged event exactly once in all tables together,
        nothing refused (unless a disk failed in between), nothing invented;
        seqs without gaps.  Returns the figures."""
        source = "(%s)" % " UNION ALL ".join(
            f"SELECT message, ring, seq, received_at FROM logbroker.{t}"
            for t in tables)
        rows = clickhouse.query(
            f"SELECT message, count() FROM {source} "
            f"WHERE {where} GROUP BY message FORMAT TabSeparated")
        found = {}
        for line in rows.splitlines():
            message, n = line.split("\t")
            found[message] = int(n)
        lost = self.acked - found.keys()
        twice = {m for m, n in found.items() if n != 1}
        refused = self.refused & found.keys()
        invented = found.keys() - self.acked - self.refused - self.unknown
        result = (f"acknowledged={len(self.acked)} delivered={len(found)} "
                  f"lost={len(lost)} duplicated={len(twice)} "
                  f"unknown={len(self.unknown)} "
                  f"statuses={dict(self.statuses)}")
        assert not lost, f"{result}: lost {sorted(lost)[:5]}"
        assert not twice, f"{result}: twice {sorted(twice)[:5]}"
        assert refused_may_arrive or not refused, f"{result}: refused {sorted(refused)[:5]}"
        assert not invented, f"{result}: invented {sorted(invented)[:5]}"
        audit = json.loads(clickhouse.query(
            "SELECT sum(gaps) AS gaps, sum(duplicates) AS duplicates, "
            "max(brokers) AS brokers "
            "FROM logbroker.logbroker_audit FORMAT JSONEachRow"
            if tables == ("logs",) else
            "SELECT sum(last - first + 1 - n) AS gaps, sum(events - n) AS "
            "duplicates, 1 AS brokers FROM (SELECT min(seq) AS first, "
            "max(seq) AS last, uniqExact(seq) AS n, count() AS events FROM "
            f"{source} GROUP BY ring) FORMAT JSONEachRow"))
        assert int(audit["gaps"]) == 0, audit
        assert int(audit["duplicates"]) == 0, audit
        assert int(audit["brokers"]) <= 1, audit
        return result


def post(port, body, path="/log", headers=None, timeout=30,
         host="127.0.0.1"):
    """One request on a connection of its own: (status, headers, body)."""
    conn = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        if isinstance(body, str):
            body = body.encode()
        conn.request("POST", path, body, headers or {})
        r = conn.getresponse()
        return r.status, dict(r.getheaders()), r.read()
    finally:
        conn.close()
