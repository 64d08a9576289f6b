"""Reload, quit, upgrade, crash: what was acknowledged stays, the rest is told."""

import concurrent.futures
import contextlib
import os
import random
import signal
import time

import pytest

from env import spool
from env.load import Load
from env.nginx import Nginx
from env.process import alive, wait_for


@pytest.mark.parametrize("sync", ["always", "off"])
def test_reload(tmp_path, sync):
    with Nginx(tmp_path, workers=2, spool="size=4m rings=16",
               location=f"logbroker_sync {sync};") as nginx:
        with Load(nginx) as load:
            for _ in range(10):
                old = nginx.workers()
                nginx.reload()
                load.more()
                wait_for(lambda: not any(alive(p) for p in old),
                         what="old workers to leave")
        assert load.other == []
        # a request sent on an idle connection that nginx was just closing
        # may find it closed, and was not taken then
        stored = set(spool.events(nginx.spool))
        assert not stored & {event for event, _ in load.lost}
        load.verify()
        counters = nginx.status()["accepted"]
        assert counters["events"] == len(stored)


def test_reload_without_spare(tmp_path):
    """The new worker's requests wait until the old one gives its ring back."""
    with Nginx(tmp_path, spool="size=16m rings=1") as nginx:
        with Load(nginx, clients=2) as load:
            for _ in range(5):
                old = nginx.workers()
                nginx.reload(spares=False)
                load.more(20)
                wait_for(lambda: not any(alive(p) for p in old),
                         what="old worker to leave")
                wait_for(lambda: nginx.status()["worker"]["slot"] is not None,
                         what="the ring in new hands")
        assert load.other == []
        load.verify()


def test_quit_waits(tmp_path, faults):
    """A graceful exit answers what is being written first."""
    nginx = Nginx(tmp_path, preload=faults.so, env=faults.env)
    nginx.start()
    faults.set("delay", 700)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(nginx.post, "/log", '{"i":%d}' % i)
                   for i in range(8)]
        time.sleep(0.3)
        nginx.stop(signal.SIGQUIT)
        assert [f.result().status for f in futures] == [204] * 8
    assert len(spool.records(nginx.spool)) == 8


@pytest.mark.parametrize("sync", ["always", "off"])
def test_quit_under_load(tmp_path, sync):
    nginx = Nginx(tmp_path, workers=2, location=f"logbroker_sync {sync};")
    nginx.start()
    with Load(nginx) as load:
        load.more(200)
        start = time.monotonic()
        nginx.stop(signal.SIGQUIT)
        assert time.monotonic() - start < 10
    load.verify()
    assert load.other == []
    for ring in spool.rings(nginx.spool):
        assert ring.cell.durable == ring.cell.committed


def test_worker_shutdown_timeout(tmp_path, faults):
    """The waiting requests are cut off, their records stay."""
    nginx = Nginx(tmp_path, preload=faults.so, env=faults.env,
                  main="worker_shutdown_timeout 300ms;")
    nginx.start()
    faults.set("delay", 1500)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(nginx.post, "/log", '{"i":%d}' % i)
                   for i in range(4)]
        time.sleep(0.3)
        nginx.stop(signal.SIGQUIT)
        for f in futures:
            with contextlib.suppress(Exception):
                f.result()
    assert len(spool.records(nginx.spool)) >= 1
    faults.clear("delay")
    with nginx:
        assert nginx.post("/log", "{}").status == 204


def test_shutdown_timeout_while_reading(tmp_path, faults):
    """The request goes away while its body is read back from the file."""
    nginx = Nginx(tmp_path, preload=faults.so, env=faults.env,
                  main="worker_shutdown_timeout 300ms;",
                  http="client_body_in_file_only clean;")
    nginx.start()
    held = nginx.connect()  # keeps the worker there for its 300 ms
    faults.set("read_delay", 1500)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(nginx.post, "/log", '{"i":%d}' % i)
                   for i in range(4)]
        time.sleep(0.3)
        nginx.stop(signal.SIGQUIT)
        for f in futures:
            with contextlib.suppress(Exception):
                assert f.result().status != 204
    held.close()
    assert spool.records(nginx.spool) == []


@pytest.mark.parametrize("sync", ["always", "off"])
def test_kill_worker(tmp_path, sync):
    rng = random.Random(5)
    with Nginx(tmp_path, workers=2, spool="size=4m rings=16",
               location=f"logbroker_sync {sync};") as nginx:
        with Load(nginx) as load:
            for _ in range(10):
                load.more(30)
                victim = rng.choice(nginx.workers())
                os.kill(victim, signal.SIGKILL)
                wait_for(lambda: victim not in nginx.workers())
        load.verify()


def test_kill_all(tmp_path):
    nginx = Nginx(tmp_path, workers=2, spool="size=4m rings=16")
    nginx.start()
    loads = []
    for _ in range(3):
        with Load(nginx) as load:
            load.more(100)
            nginx.kill()
        load.verify(*loads)
        loads.append(load)
        nginx.start()
    nginx.stop()


def test_binary_upgrade(tmp_path):
    """USR2, QUIT: two masters for a while, rings for all workers, no request
    lost or refused."""
    nginx = Nginx(tmp_path, workers=2, spool="size=4m rings=16")
    nginx.start(daemon=True)
    old = nginx.process
    try:
        wait_for(lambda: nginx.status()["total"]["rings"] >= 4,
                 what="spare rings")
        with Load(nginx) as load:
            nginx.upgrade()
            load.more()
            os.kill(old.pid, signal.SIGQUIT)
            old.wait(20)
            load.more()
        assert load.other == []
        load.verify()
        assert not set(spool.events(nginx.spool)) & {
            event for event, _ in load.lost}
        nginx.stop()
    finally:
        for process in (old, nginx.process):
            if process and process.poll() is None:
                os.kill(process.pid, signal.SIGTERM)


def test_single_process(tmp_path):
    nginx = Nginx(tmp_path, main="master_process off;")
    nginx.start(ring=False)
    try:
        wait_for(lambda: nginx.status()["worker"]["slot"] is not None,
                 what="a ring")
        assert nginx.post("/log", "{}").status == 204
    finally:
        nginx.stop()
    assert spool.events(nginx.spool) == [b"{}"]
