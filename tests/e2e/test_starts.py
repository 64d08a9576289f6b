"""How a worker comes by its ring, and how it loses it: starts on large rings
and with a long backlog, rings of another size, rings that vanish, leaving."""

import concurrent.futures
import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

from env import spool
from env.build import find, sanitized
from env.nginx import Nginx
from env.process import wait_for

OK = "location = /ok { return 200 ok; }"
SOON = 5 if sanitized() else 1
BIG = json.dumps({"text": "x" * 500000}).encode() + b"\n"


def first_answer(nginx, statuses=(204,)):
    """Seconds until a request is answered with success."""
    begun = time.monotonic()
    while True:
        with contextlib.suppress(OSError):
            if nginx.post("/log", '{"first":1}').status in statuses:
                return time.monotonic() - begun
        assert time.monotonic() - begun < 30, nginx.log()
        time.sleep(0.005)


class Other:
    """Another client meanwhile: the longest it had to wait."""

    def __init__(self, nginx, method="GET", path="/ok", body=None):
        self.request = nginx.connect, method, path, body
        self.slowest = 0
        self.statuses = set()
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        connect, method, path, body = self.request
        conn = None
        while not self.stop.is_set():
            begun = time.monotonic()
            try:
                conn = conn or connect()
                conn.request(method, path, body)
                answer = conn.getresponse()
                answer.read()
                self.statuses.add(answer.status)
                self.slowest = max(self.slowest, time.monotonic() - begun)
            except OSError:
                conn = None
            time.sleep(0.002)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.stop.set()
        self.thread.join()


def needs_room(path, gigabytes):
    if shutil.disk_usage(path).free < gigabytes << 30:
        pytest.skip(f"needs {gigabytes} GB of disk")


@pytest.mark.release_only
def test_large_ring(tmp_path):
    """A ring is used as soon as it is allocated.  It is filled meanwhile: with
    one thread in the pool that delays nobody, and nobody waits for it to
    leave."""
    needs_room(tmp_path, 10)
    nginx = Nginx(tmp_path, spool="size=8g rings=1", server=OK, threads=1)
    begun = time.monotonic()
    nginx.start(ring=False)
    try:
        assert first_answer(nginx) < 1
        assert time.monotonic() - begun < 2
        ring = nginx.spool / "ring-0000"
        assert ring.stat().st_blocks * 512 >= 8 << 30
        with Other(nginx) as ok, Other(nginx, "POST", "/log", b"{}") as log:
            time.sleep(3)
        assert ok.statuses == {200} and log.statuses == {204}
        assert ok.slowest < 0.25, ok.slowest
        assert log.slowest < 0.5, log.slowest
        begun = time.monotonic()
        nginx.stop()
        assert time.monotonic() - begun < 2
    finally:
        nginx.stop(check=False)
    # and where it was left, nothing is missing
    nginx.start(ring=False)
    try:
        assert first_answer(nginx) < 1
        nginx.kill()
        nginx.start(ring=False)
        assert first_answer(nginx) < 1
        events = spool.events(nginx.spool)
        assert events.count(b'{"first":1}') == 3
    finally:
        nginx.stop()


def backlog(nginx, megabytes):
    """In the worker's own ring: larger bodies would go into a second one."""
    conn = nginx.connect()
    for _ in range(megabytes * 2):
        assert nginx.post("/log", BIG, conn=conn).status == 204
    return megabytes * 2


def writer_page(ring, page=None):
    fd = os.open(ring, os.O_RDWR)
    try:
        if page is None:
            return os.pread(fd, 4096, 4096)
        os.pwrite(fd, page, 4096)
    finally:
        os.close(fd)


@pytest.mark.release_only
def test_backlog(tmp_path):
    """Neither a kill nor a commit cell that is far behind the records, as an
    older release left it after a power cut, delays the first answer; what lies
    behind the cell is found all the same."""
    needs_room(tmp_path, 3)
    nginx = Nginx(tmp_path, spool="size=600m rings=2", server=OK,
                  http="client_max_body_size 16m; "
                       "client_body_buffer_size 16m;")
    with nginx:
        old = writer_page(nginx.spool / "ring-0000")
        n = backlog(nginx, 400)
        wait_for(lambda: nginx.status()["total"]["rings"] == 2, what="spare")
        nginx.kill()
        nginx.start(ring=False)
        assert first_answer(nginx) < SOON
        nginx.kill()

        ring = max(spool.rings(nginx.spool),
                   key=lambda r: r.cell.next_seq)
        assert ring.slot == 0
        writer_page(ring.path, old)
        nginx.start(ring=False)
        with Other(nginx) as ok:
            assert first_answer(nginx) < SOON
            # the other one has to be recovered now, as long as it takes
            nginx.write_conf(spool="size=600m rings=2", server=OK, workers=2)
            nginx.send(signal.SIGHUP)
            wait_for(lambda: nginx.status()["rings"][0].get(
                "recovered", 0) >= n, what="recovery")
        assert ok.slowest < 0.5, ok.slowest
        nginx.stop()
        assert spool.rings(nginx.spool)[0].cell.next_seq >= n


@pytest.mark.parametrize("sync", ["always", "off"])
@pytest.mark.parametrize("how", ["deleted", "cut"])
def test_ring_vanishes(tmp_path, sync, how):
    """What goes into a file that is no longer there is not answered with
    success: at once, or, without sync, within the second."""
    with Nginx(tmp_path, location=f"logbroker_sync {sync};",
               spool="size=1m rings=4") as nginx:
        assert nginx.post("/log", '{"before":1}').status == 204
        slot = nginx.status()["worker"]["slot"]
        ring = nginx.spool / f"ring-{slot:04}"
        if how == "deleted":
            ring.unlink()
        else:
            os.truncate(ring, 20000)
        if sync == "off":
            wait_for(lambda: "was deleted, replaced or cut short" in
                     nginx.error_log.read_text(), timeout=3, what="a word")
        acked = [b'{"n":%d}' % i for i in range(100)
                 if nginx.post("/log", '{"n":%d}' % i).status == 204]
        wait_for(lambda: nginx.status()["worker"]["slot"] is not None,
                 what="another ring")
        assert nginx.post("/log", '{"after":1}').status == 204
        if how == "cut":
            ring.unlink()  # nothing in there can be read
        stored = spool.events(nginx.spool)
        assert set(acked) <= set(stored)
        assert b'{"after":1}' in stored
        assert "was deleted, replaced or cut short" in \
            nginx.error_log.read_text()


def test_spool_vanishes(tmp_path):
    """Another directory in its place, as when a disk is mounted over it: 503
    and the reason, until the spool is back; no new one is made meanwhile."""
    with Nginx(tmp_path, workers=2) as nginx:
        assert nginx.post("/log", '{"before":1}').status == 204
        away = tmp_path / "away"
        nginx.spool.rename(away)
        nginx.spool.mkdir()
        wait_for(lambda: nginx.post("/log", "{}").status == 503, timeout=3,
                 what="503")
        time.sleep(1.1)  # for the other worker
        for _ in range(20):
            assert nginx.post("/log", '{"nowhere":1}').status == 503
        assert "the spool has gone" in nginx.status()["worker"]["problem"]
        assert "mount it again" in nginx.error_log.read_text()
        assert not list(nginx.spool.iterdir())
        nginx.spool.rmdir()
        away.rename(nginx.spool)
        wait_for(lambda: nginx.post("/log", '{"after":1}').status == 204,
                 what="the spool")
        stored = spool.events(nginx.spool)
        assert {b'{"before":1}', b'{"after":1}'} <= set(stored)
        assert b'{"nowhere":1}' not in stored
        # another one after all: the flusher serves the old one until then
        settings = tmp_path / "flusher.json"
        settings.write_text(json.dumps({
            "spool": str(nginx.spool),
            "clickhouse": {"urls": ["http://127.0.0.1:1"]}}))
        with subprocess.Popen(
                [find("logbroker-flusher"), "--config", settings],
                stderr=subprocess.PIPE, text=True, env=nginx.env) as flusher:
            wait_for(lambda: nginx.status()["flusher_runs"], what="flusher")
            nginx.spool.rename(away)
            wait_for(lambda: nginx.post("/log", "{}").status == 503,
                     timeout=3, what="503")
            assert flusher.poll() is None
            nginx.reload(spares=False)
            wait_for(lambda: nginx.post("/log", '{"new":1}').status == 204,
                     what="a new spool")
            assert flusher.wait(5) == 1
            assert "was replaced" in flusher.stderr.read()


@pytest.mark.parametrize("sync", ["always", "off"])
@pytest.mark.parametrize("how", ["moved", "deleted"])
def test_ring_vanishes_under_a_write(tmp_path, faults, sync, how):
    """Noticed while a group is being written.  Moved: it is stored, and so
    answered, and so is its key known.  Deleted: nobody can say."""
    # without sync only what is large is written in a thread
    body = json.dumps({"text": "x" * 300000, "n": 1})
    with Nginx(tmp_path, preload=faults.so, env=faults.env,
               location=f"logbroker_sync {sync};",
               http="logbroker_write_timeout 30s;") as nginx:
        assert nginx.post("/log", '{"before":1}').status == 204
        slot = nginx.status()["worker"]["slot"]
        ring = nginx.spool / f"ring-{slot:04}"
        key = {"Idempotency-Key": "a"}
        wait_for(lambda: (r := nginx.status()["rings"][slot])["durable"]
                 == r["committed"], what="a sync")
        faults.set("hang", 1)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            first = pool.submit(nginx.post, "/log", body, key)
            wait_for((faults.dir / "hanging").exists, what="a write")
            if how == "moved":
                ring.rename(tmp_path / "away")
            else:
                ring.unlink()
            second = pool.submit(nginx.post, "/log", '{"after":1}')
            wait_for(lambda: nginx.status()["waiting"] == 2, what="waiting")
            time.sleep(1.2)  # noticed each second
            faults.clear("hang")
            assert first.result().status == (204 if how == "moved" else 502)
            assert second.result().status == 503
        if how == "moved":
            (tmp_path / "away").rename(ring)
        wait_for(lambda: nginx.post("/log", body, key).status == 204,
                 what="another ring")
        events = spool.events(nginx.spool)
        assert sum(b'"n":1' in e for e in events) == 1
        assert not any(b"after" in e for e in events)


def test_size_changes(tmp_path):
    """Again and again, with all the rings there may be: empty ones change, of
    others the log says why they do not."""
    nginx = Nginx(tmp_path, spool="size=1m rings=2")
    for size in (1, 2, 3, 1):
        nginx.write_conf(spool=f"size={size}m rings=2")
        with nginx:
            wait_for(lambda: [r["capacity"] for r in nginx.status()["rings"]]
                     == [size << 20] * 2, what=f"two rings of {size} MB")
    with nginx:
        assert nginx.post("/log", '{"kept":1}').status == 204
        slot = nginx.status()["worker"]["slot"]
    nginx.write_conf(spool="size=2m rings=2", workers=2)
    with nginx:
        wait_for(lambda: "keeps its size" in nginx.error_log.read_text(),
                 what="a word")
        wait_for(lambda: {r["slot"]: r["capacity"]
                          for r in nginx.status()["rings"]}
                 == {slot: 1 << 20, 1 - slot: 2 << 20}, what="sizes")
        log = nginx.error_log.read_text()
        assert f"ring {slot} keeps its size of 1048576 bytes instead of " \
            "2097152" in log
        assert "not delivered" in log or "idempotency keys" in log


def test_slow_client_keeps_no_ring(tmp_path):
    """A worker that leaves has given its ring up although a client is still
    sending; what that one sends is stored all the same."""
    with Nginx(tmp_path, spool="size=1m rings=1") as nginx:
        old = nginx.workers()
        with socket.create_connection(("127.0.0.1", nginx.port)) as s:
            s.sendall(b"POST /log HTTP/1.1\r\nHost: x\r\n"
                      b"Content-Length: 10\r\n\r\n{\"slo")
            wait_for(lambda: nginx.status()["total"]["rings"] == 1, what="ring")
            nginx.send(signal.SIGHUP)
            wait_for(lambda: set(nginx.workers()) - set(old), what="worker")
            wait_for(lambda: nginx.post("/log", '{"new":1}').status == 204,
                     timeout=5, what="the ring")
            assert set(old) <= set(nginx.workers())
            s.sendall(b'w":1}')
            assert s.recv(100).startswith(b"HTTP/1.1 204")
        wait_for(lambda: not set(old) & set(nginx.workers()), what="leaving")
        wait_for(lambda: nginx.post("/log", '{"last":1}').status == 204,
                 what="the ring")
        stored = spool.events(nginx.spool)
        assert {b'{"new":1}', b'{"slow":1}', b'{"last":1}'} <= set(stored)


FAKETIME = [p for p in (pathlib.Path("/usr/lib") /
            f"{os.uname().machine}-linux-gnu/faketime/libfaketime.so.1",)
            if p.exists()]


@pytest.mark.release_only
@pytest.mark.skipif(not FAKETIME, reason="no libfaketime")
def test_clock_goes_back(tmp_path):
    """What waits ten seconds does so by a clock that nobody sets."""
    clock = tmp_path / "clock"
    clock.write_text("+0")
    nginx = Nginx(tmp_path, spool="size=1m rings=1", preload=FAKETIME[0],
                  env={"FAKETIME_TIMESTAMP_FILE": str(clock),
                       "FAKETIME_NO_CACHE": "1",
                       "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                       "NO_FAKE_STAT": "1"})
    with nginx:
        pass
    # no ring can be made there
    (nginx.spool / "ring-0000").unlink()
    (nginx.spool / "ring-0000.new").mkdir()
    nginx.start(ring=False)
    try:
        wait_for(lambda: "cannot create" in nginx.error_log.read_text(),
                 what="a failure")
        clock.write_text("-3600")
        (nginx.spool / "ring-0000.new").rmdir()
        assert first_answer(nginx) < 15
        assert time.time() - nginx.status()["time_us"] / 1e6 > 3000
    finally:
        nginx.stop()
