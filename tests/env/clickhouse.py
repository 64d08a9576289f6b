"""A real ClickHouse server for a test, in a directory of its own."""

import os
import pathlib
import signal
import subprocess
import time
import urllib.error
import urllib.request

from env.process import free_port

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "tools" / "clickhouse"


class ClickHouse:
    """Started on entry, with the schema applied; data survives stop and
    kill."""

    def __init__(self, directory, port=None, env=None):
        self.dir = pathlib.Path(directory)
        self.dir.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        self.env = {**os.environ, **(env or {})}
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = self.dir / "server.out"
        self.process = None
        self.applied = False

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc):
        self.stop()

    @property
    def password(self):
        """Of the flusher's user, logbroker."""
        return (self.dir / "password").read_text().strip()

    def start(self, timeout=60):
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen(
                [SCRIPTS / "clickhouse.sh", self.dir, str(self.port)],
                stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                env=self.env, start_new_session=True)
        end = time.monotonic() + timeout
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError(
                    "ClickHouse did not start: " + self.log.read_text())
            time.sleep(0.02)
        if not self.applied:
            subprocess.run([SCRIPTS / "apply.sh", self.url], check=True)
            self.applied = True

    def ready(self):
        try:
            with urllib.request.urlopen(self.url + "/ping", timeout=5) as r:
                return r.read() == b"Ok.\n"
        except OSError:
            return False

    def stop(self):
        self._end(signal.SIGTERM)

    def kill(self):
        self._end(signal.SIGKILL)

    def _end(self, sig):
        if self.process is not None and self.process.poll() is None:
            os.kill(self.process.pid, sig)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None

    def query(self, sql, user=None, password=None):
        """The answer as text; the server's words as an exception."""
        request = urllib.request.Request(self.url + "/", sql.encode())
        if user:
            request.add_header("X-ClickHouse-User", user)
        if password:
            request.add_header("X-ClickHouse-Key", password)
        try:
            with urllib.request.urlopen(request, timeout=120) as r:
                return r.read().decode()
        except urllib.error.HTTPError as e:
            raise AssertionError(e.read().decode(errors="replace")) from None
