"""Requests that are written together, and the answers they wait for."""

import concurrent.futures
import shutil
import socket
import subprocess
import time

import pytest

from env import spool
from env.bodies import body_of
from env.nginx import Nginx
from env.process import wait_for


def test_group_commit(tmp_path, faults):
    """What arrives while a write is running shares the next one."""
    with Nginx(tmp_path, preload=faults.so, env=faults.env) as nginx:
        faults.set("delay", 200)
        with concurrent.futures.ThreadPoolExecutor(40) as pool:
            start = time.monotonic()
            answers = list(pool.map(
                lambda i: nginx.post("/log", '{"i":%d}' % i).status,
                range(40)))
            took = time.monotonic() - start
        faults.clear("delay")
        assert answers == [204] * 40
        ring, *_ = [r for r in spool.rings(nginx.spool)
                    if r.counters["records"]]
        assert ring.counters["records"] == 40
        assert ring.counters["writes"] == ring.counters["syncs"]
        assert ring.counters["writes"] < 20
        assert took < 20 * 0.2
        assert ring.cell.durable == ring.cell.committed


def test_answer_waits_for_sync(tmp_path, faults):
    with Nginx(tmp_path, preload=faults.so, env=faults.env,
               server="location /off { logbroker; logbroker_sync off; }"
               ) as nginx:
        assert nginx.post("/log", "{}").status == 204
        faults.set("delay", 600)
        start = time.monotonic()
        assert nginx.post("/log", "{}").status == 204
        assert time.monotonic() - start > 0.55
        # the event loop does not wait
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            slow = pool.submit(nginx.post, "/log", "{}")
            time.sleep(0.1)
            start = time.monotonic()
            nginx.status()
            assert time.monotonic() - start < 0.3
            assert not slow.done()
            assert slow.result().status == 204


def test_sync_off(tmp_path, faults):
    """Answered at once, durable a second later; nobody waits while the sync
    runs."""
    with Nginx(tmp_path, preload=faults.so, env=faults.env,
               location="logbroker_sync off;") as nginx:

        def ring():
            return [r for r in spool.rings(nginx.spool)
                    if r.counters["records"]][0]

        assert nginx.post("/log", "{}").status == 204
        wait_for(lambda: ring().cell.durable == ring().cell.committed,
                 timeout=4, what="durable")
        assert ring().counters["syncs"] >= 1
        c = nginx.connect()
        end = time.monotonic() + 3
        faults.set("sync_delay", 800)
        n = 1
        longest = 0
        while time.monotonic() < end:
            start = time.monotonic()
            assert nginx.post("/log", "{}", conn=c).status == 204
            longest = max(longest, time.monotonic() - start)
            n += 1
            time.sleep(0.002)
        faults.clear("sync_delay")
        assert longest < 0.6
        assert ring().counters["syncs"] >= 2
        assert len(spool.records(nginx.spool)) == n


def test_mixed_sync(tmp_path):
    with Nginx(tmp_path, spool="size=16m",
               server="location /off { logbroker; logbroker_sync off; }"
               ) as nginx:
        def client(i):
            c = nginx.connect()
            path = "/off" if i % 2 else "/log"
            return [nginx.post(path, '{"i":%d,"n":%d}' % (i, n),
                               conn=c).status for n in range(200)]
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            for statuses in pool.map(client, range(8)):
                assert statuses == [204] * 200
        got = sorted(spool.events(nginx.spool))
        assert got == sorted(b'{"i":%d,"n":%d}' % (i, n)
                             for i in range(8) for n in range(200))


def test_parked(tmp_path, faults):
    """More than the staging buffer takes: later requests wait, in memory and
    in files, and all are stored once."""
    with Nginx(tmp_path, spool="size=256m", preload=faults.so, env=faults.env,
               http="client_max_body_size 20m;", server="""
               location /mem { logbroker; client_body_buffer_size 4m; }
               location /file { logbroker; client_body_buffer_size 16k; }
               """) as nginx:
        bodies = [body_of(1_000_000 + i) for i in range(30)]
        bodies.append(body_of(12_000_000))  # alone above the limit
        faults.set("delay", 300)
        with concurrent.futures.ThreadPoolExecutor(31) as pool:
            answers = list(pool.map(
                lambda i: nginx.post("/mem" if i % 2 else "/file",
                                     bodies[i]).status, range(31)))
        faults.clear("delay")
        assert answers == [204] * 31
        stored = [r.payload for r in spool.records(nginx.spool)]
        assert sorted(stored) == sorted(bodies)
        # 42 MB in groups of at most 8 MB, but for the large one
        assert sum(r.counters["writes"]
                   for r in spool.rings(nginx.spool)) >= 5


@pytest.mark.parametrize("how", ["close", "reset"])
def test_client_gone_while_waiting(tmp_path, faults, how):
    """The record stays, the answer is dropped, others are answered."""
    with Nginx(tmp_path, preload=faults.so, env=faults.env) as nginx:
        faults.set("delay", 500)
        gone = []
        for i in range(5):
            s = socket.create_connection(("127.0.0.1", nginx.port))
            s.sendall(b"POST /log HTTP/1.1\r\nHost: x\r\n"
                      b"Content-Length: 9\r\n\r\n" + b'{"g":%3d}' % i)
            gone.append(s)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            other = pool.submit(nginx.post, "/log", '{"stays":1}')
            time.sleep(0.2)
            for s in gone:
                if how == "reset":
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                 b"\1\0\0\0\0\0\0\0")
                s.close()
            assert other.result().status == 204
        faults.clear("delay")
        wait_for(lambda: len(spool.records(nginx.spool)) == 6,
                 what="six records")
        assert nginx.post("/log", "{}").status == 204


def test_http2_reset_while_waiting(tmp_path, faults):
    """h2load is stopped while its streams wait for the disk."""
    if not shutil.which("h2load"):
        pytest.skip("nghttp2-client is not installed")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    with Nginx(tmp_path, preload=faults.so, env=faults.env,
               listen=f"listen {port} http2;") as nginx:
        data = tmp_path / "data"
        data.write_bytes(b'{"a":1}')
        for _ in range(5):
            faults.set("delay", 300)
            p = subprocess.Popen(
                ["h2load", "-n", "100000", "-c", "4", "-m", "20", "-d",
                 str(data), f"http://127.0.0.1:{port}/log"],
                stdout=subprocess.DEVNULL)
            time.sleep(0.5)
            p.kill()
            p.wait()
            faults.clear("delay")
            assert nginx.post("/log", "{}").status == 204
        s = nginx.status()
        assert s["answers_dropped"] > 0
        # streams wait together
        assert 1 < s["largest_group"] <= 80
        assert s["accepted"]["events"] == len(spool.events(nginx.spool))
