"""Full rings, disks that fail, no spool at all: what is told, and how it ends."""

import concurrent.futures
import errno
import os
import random
import signal
import threading
import time

import pytest

from env import spool
from env.http import error
from env.nginx import Nginx
from env.process import wait_for


def test_full(tmp_path):
    """503 with Retry-After, nothing lost; room again after an ack, across the
    end of the ring."""
    with Nginx(tmp_path, spool="size=64k rings=1") as nginx:
        c = nginx.connect()
        delivered = []
        sent = []
        rng = random.Random(3)
        refused = 0
        while refused < 20:
            body = b'{"n":%d,"p":"%s"}' % (
                len(sent), b"x" * rng.randint(0, 9000))
            a = nginx.post("/log", body, conn=c)
            if a.status == 204:
                sent.append(body)
                continue
            assert a.status == 503
            assert a.headers["Retry-After"] == "1"
            assert "full" in error(a)["error"]
            refused += 1
            delivered += spool.events(nginx.spool)
            spool.rings(nginx.spool)[0].ack()
        delivered += spool.events(nginx.spool)
        assert delivered == sent
        assert nginx.status()["refused"]["full"] == refused
        assert nginx.error_log.read_text().count("is full") == 1


def test_write_fails(tmp_path, faults):
    """The ring is poisoned and never used again; another one is claimed."""
    with Nginx(tmp_path, preload=faults.so, env=faults.env) as nginx:
        assert nginx.post("/log", '{"before":1}').status == 204
        first = nginx.status()["worker"]["slot"]
        faults.set("fail", errno.EIO)
        a = nginx.post("/log", '{"lost":1}')
        assert a.status == 502
        assert a.headers["Retry-After"] == "1"
        assert "disk" in error(a)["error"]
        assert "stored or not" in error(a)["error"]
        faults.clear("fail")
        wait_for(lambda: nginx.status()["worker"]["slot"] is not None,
                 what="another ring")
        assert nginx.post("/log", '{"after":1}').status == 204
        status = nginx.status()
        assert status["worker"]["slot"] != first
        ring = status["rings"][first]
        assert ring["poisoned"] and not ring["locked"]
        assert status["refused"]["write_unknown"] == 1
        assert status["refused"]["write_failed"] == 0
        assert sorted(spool.events(nginx.spool)) == [
            b'{"after":1}', b'{"before":1}']


def test_write_fails_while_sync_runs(tmp_path, faults):
    """The ring is given up when the thread is done with it.  What became of the
    group that failed is not known; what came after it was never written."""
    with Nginx(tmp_path, preload=faults.so, env=faults.env,
               location="logbroker_sync off;") as nginx:
        def filled():
            # zeros are synced too, and would be taken for the sync below
            assert nginx.post("/log", '{"first":1}').status == 204
            return all(r.cell.fill_end == 0 for r in spool.rings(nginx.spool)
                       if r.counters["records"])

        wait_for(filled, what="a ring without zeros to write")
        wait_for(lambda: all(r.cell.durable == r.cell.committed
                             for r in spool.rings(nginx.spool)), what="durable")
        faults.set("hold_sync", 1)
        assert nginx.post("/log", '{"before":1}').status == 204
        wait_for((faults.dir / "syncing").exists, what="a sync")
        faults.set("fail", errno.EIO)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            first = pool.submit(nginx.post, "/log", '{"lost":1}')
            wait_for(lambda: sum(r.counters["failures"] for r in
                                 spool.rings(nginx.spool)), what="failure")
            faults.clear("fail")
            second = pool.submit(nginx.post, "/log", '{"lost":2}')
            assert second.result().status == 503
            assert not first.done()
            faults.clear("hold_sync")
            for answer, status, words in ((first, 502, "stored or not"),
                                          (second, 503, "nothing was stored")):
                assert answer.result().status == status
                text = error(answer.result())["error"]
                assert "disk" in text and words in text
        wait_for(lambda: nginx.post("/log", '{"after":1}').status == 204,
                 what="another ring")
        refused = nginx.status()["refused"]
        assert refused["write_unknown"] == refused["write_failed"] == 1
        assert "failed: Input/output error" in nginx.error_log.read_text()
        events = spool.events(nginx.spool)
        assert b'{"after":1}' in events
        assert not any(b"lost" in e for e in events)


@pytest.mark.parametrize("sync", ["always", "off"])
def test_write_fails_for_all(tmp_path, faults, sync):
    """Under load: each request is stored or answered 502 or 503, and it
    recovers."""
    with Nginx(tmp_path, spool="size=1m rings=16", preload=faults.so,
               env=faults.env, location=f"logbroker_sync {sync};") as nginx:
        acked, failed = [], []
        stop = threading.Event()

        def client(i):
            n = 0
            while not stop.is_set():
                body = b'{"i":%d,"n":%d}' % (i, n)
                n += 1
                status = nginx.post("/log", body).status
                assert status in (204, 502, 503)
                (acked if status == 204 else failed).append(body)
                if status != 204:
                    time.sleep(0.02)

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            futures = [pool.submit(client, i) for i in range(8)]
            try:
                for _ in range(3):
                    before = len(acked)
                    wait_for(lambda: len(acked) > before + 100, what="answers")
                    faults.set("fail", errno.EIO)
                    before = len(failed)
                    wait_for(lambda: len(failed) > before + 10, what="failures")
                    faults.clear("fail")
                    before = len(acked)
                    wait_for(lambda: len(acked) > before + 10, what="recovery")
            finally:
                stop.set()
            for f in futures:
                f.result()
        stored = spool.events(nginx.spool)
        assert len(stored) == len(set(stored))
        assert set(acked) == set(stored)


def test_no_spool(tmp_path):
    """A worker without a spool says why, and serves as soon as it can."""
    nginx = Nginx(tmp_path)
    nginx.spool.mkdir()
    (nginx.spool / "spool").write_text("something else entirely")
    nginx.start(ring=False)
    try:
        c = nginx.connect()
        a = nginx.post("/log", "{}", conn=c)
        assert a.status == 503
        assert a.headers["Retry-After"] == "1"
        error(a)
        status = nginx.status()
        assert status["worker"]["slot"] is None
        assert str(nginx.spool) in status["worker"]["problem"]
        assert str(nginx.spool) in nginx.error_log.read_text()
        time.sleep(2.5)  # several attempts, one line
        assert nginx.error_log.read_text().count(
            status["worker"]["problem"]) == 1
        assert nginx.status()["workers"] == {
            "running": 1, "starting": 0, "without_ring": 1}
        (nginx.spool / "spool").unlink()
        wait_for(lambda: nginx.post("/log", "{}", conn=c).status == 204,
                 what="a ring")
        wait_for(lambda: nginx.status()["workers"]["without_ring"] == 0,
                 what="the status to say so")
        assert nginx.status()["worker"]["problem"] is None
    finally:
        nginx.stop()


def test_too_few_rings(tmp_path):
    """The worker that gets none answers 503; it takes over when the other
    one dies."""
    nginx = Nginx(tmp_path, workers=2, spool="size=64k rings=1",
                  http="keepalive_timeout 0;")
    nginx.start(ring=False)
    try:
        def codes():
            return {nginx.post("/log", "{}").status for _ in range(20)}
        wait_for(lambda: any(r["locked"] for r in nginx.status()["rings"]),
                 what="the ring")
        assert codes() <= {204, 503}
        assert "rings=1 is less than worker_processes 2" in \
            nginx.error_log.read_text()
        for _ in range(3):
            for pid in nginx.workers():
                os.kill(pid, signal.SIGKILL)
                wait_for(lambda: pid not in nginx.workers())
        wait_for(lambda: 204 in codes(), what="a worker with a ring")
    finally:
        nginx.stop()
