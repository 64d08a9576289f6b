"""Room: as long as the spool has room no event is refused, whoever holds the
ring it is in."""

import http.client
import json
import os
import signal
import threading
import time

import pytest

from env import spool
from env.http import error
from env.nginx import Nginx
from env.process import alive, wait_for


def fill(nginx):
    total = nginx.status()["total"]
    return total["backlog_bytes"] / total["capacity"]


def spares(nginx):
    wait_for(lambda: nginx.status()["total"]["rings"] >= 2 * nginx.count,
             what="reserve rings")


class Load:
    """Clients that send until one of them is refused (or until stop)."""

    def __init__(self, nginx, clients, size=2000, pause=0.0, go_on=False,
                 keep=True):
        self.nginx, self.size, self.pause = nginx, size, pause
        self.keep = keep
        self.go_on = go_on
        self.stop = threading.Event()
        self.acked, self.unknown, self.refused = [], [], []
        self.longest = 0.0
        self.threads = [threading.Thread(target=self.run, args=(i,))
                        for i in range(clients)]

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *exc):
        self.stop.set()
        self.join()

    def join(self):
        for t in self.threads:
            t.join(120)
            assert not t.is_alive()

    def run(self, i):
        c = self.nginx.connect()
        n = 0
        while not self.stop.is_set():
            body = '{"i":%d,"n":%d,"p":"%s"}' % (i, n, "x" * self.size)
            n += 1
            start = time.monotonic()
            try:
                a = self.nginx.post("/log", body,
                                    conn=c if self.keep else None)
            except (OSError, http.client.HTTPException):
                self.unknown.append((i, n - 1))
                c.close()
                c = self.nginx.connect()
                continue
            took = time.monotonic() - start
            if a.status == 204:
                self.acked.append((i, n - 1))
                self.longest = max(self.longest, took)
            else:
                assert a.status == 503, a
                assert a.headers["Retry-After"] == "1"
                assert "full" in error(a)["error"]
                self.refused.append(took)
                if not self.go_on:
                    self.stop.set()
            if self.pause:
                time.sleep(self.pause)
        c.close()


def stored(nginx):
    got = [json.loads(e) for e in spool.events(nginx.spool)]
    return sorted((e["i"], e["n"]) for e in got)


@pytest.mark.parametrize("clients", [1, 3, 16, 64])
def test_outage_fills_the_spool(tmp_path, clients):
    """However few connections there are, on however few workers."""
    with Nginx(tmp_path, workers=4, spool="size=256k") as nginx:
        spares(nginx)
        with Load(nginx, clients) as load:
            load.join()
        assert fill(nginx) >= 0.9
        assert stored(nginx) == sorted(load.acked)
        print(f"{clients} clients: {fill(nginx):.3f}, longest "
              f"{load.longest:.3f}")
        # refused cheaply: nobody seeks again for each request
        start = time.monotonic()
        for _ in range(200):
            assert nginx.post("/log", '{"p":"%s"}' % ("x" * 100000)
                              ).status == 503
        assert time.monotonic() - start < 5


def test_idle_and_slow_workers_give_room(tmp_path):
    """One client fills the rings that workers with next to nothing to do
    hold; theirs go on as well."""
    with Nginx(tmp_path, workers=4, spool="size=256k") as nginx:
        spares(nginx)
        with Load(nginx, 12, size=20, pause=0.1, go_on=True) as slow:
            wait_for(lambda: len(slow.acked) > 30, what="slow clients")
            with Load(nginx, 1) as busy:
                busy.join()
            assert fill(nginx) >= 0.9
        assert stored(nginx) == sorted(busy.acked + slow.acked)


def test_large_record_changes_the_ring(tmp_path):
    """What does not fit here fits there; the small ones behind it too."""
    with Nginx(tmp_path, spool="size=256k") as nginx:
        spares(nginx)
        c = nginx.connect()
        for n in range(3):
            assert nginx.post("/log", '{"p":"%s"}' % ("x" * 50000),
                              conn=c).status == 204
        first = nginx.status()["worker"]["slot"]
        assert nginx.post("/log", '{"p":"%s"}' % ("y" * 200000),
                          conn=c).status == 204
        assert nginx.status()["worker"]["slot"] != first
        # neither has room for another one of these
        a = nginx.post("/log", '{"p":"%s"}' % ("y" * 200000), conn=c)
        assert a.status == 503 and "full" in error(a)["error"]
        assert nginx.post("/log", '{"p":1}', conn=c).status == 204


def test_body_in_file_waits_with_its_body(tmp_path):
    with Nginx(tmp_path, spool="size=256k", http="client_max_body_size 1m; "
               "client_body_buffer_size 8k;") as nginx:
        spares(nginx)
        bodies = ['{"i":%d,"n":0,"p":"%s"}' % (i, "z" * 90000)
                  for i in range(4)]
        for body in bodies:
            assert nginx.post("/log", body).status == 204
        assert stored(nginx) == [(i, 0) for i in range(4)]


@pytest.mark.parametrize("sync", ["always", "off"])
def test_full_then_drained(tmp_path, sync):
    """All rings full, drained in part, full again: 503 or stored once."""
    with Nginx(tmp_path, workers=2, spool="size=128k",
               location=f"logbroker_sync {sync};") as nginx:
        spares(nginx)
        delivered = []
        rings = {}
        with Load(nginx, 8, go_on=True) as load:
            for turn in range(12):
                wait_for(lambda: load.refused, 30, what="a full spool")
                # the rings hold still while nothing fits
                for ring in spool.rings(nginx.spool)[turn % 2::2]:
                    rings.setdefault(ring.slot, 0)
                    for r in ring.records():
                        delivered += r.payload.split(b"\n")[:-1]
                    ring.ack()
                load.refused.clear()
        delivered += spool.events(nginx.spool)
        got = sorted((json.loads(e)["i"], json.loads(e)["n"])
                     for e in delivered)
        assert got == sorted(load.acked)


def upgrade(nginx):
    """The binary, with all of its workers."""
    old = nginx.upgrade()
    os.kill(old.pid, signal.SIGQUIT)
    old.wait(20)


@pytest.mark.parametrize("how", ["reload", "kill", "upgrade"])
def test_while_rings_change(tmp_path, how):
    """Reloads, workers that die, and binary upgrades while full rings are left
    and drained ones are taken."""
    nginx = Nginx(tmp_path, workers=2, spool="size=128k rings=8")
    nginx.start(daemon=how == "upgrade")
    try:
        spares(nginx)
        delivered = []
        stop = threading.Event()

        def drain():
            while not stop.is_set():
                for ring in spool.rings(nginx.spool):
                    for r in ring.records():
                        delivered.append(r)
                    ring.ack()
                time.sleep(0.1)

        drainer = threading.Thread(target=drain)
        drainer.start()
        try:
            # a reload closes connections that are kept
            with Load(nginx, 6, go_on=True, keep=how == "kill") as load:
                for turn in range(3 if how == "upgrade" else 6):
                    before = len(load.acked)
                    wait_for(lambda: len(load.acked) > before + 150, 60,
                             what="progress")
                    if how == "reload":
                        nginx.reload(spares=False)
                    elif how == "upgrade":
                        upgrade(nginx)
                    else:
                        pid = nginx.workers()[turn % len(nginx.workers())]
                        os.kill(pid, signal.SIGKILL)
                        wait_for(lambda: not alive(pid), what="death")
        finally:
            stop.set()
            drainer.join()
        rings = {r.slot: r for r in spool.rings(nginx.spool)}
        delivered += spool.records(nginx.spool)
        by_ring = {}
        for r in delivered:
            by_ring.setdefault(r.slot, []).append(r)
        for slot, records in by_ring.items():
            seq = 0
            for r in records:
                assert r.seq == seq, (slot, r.seq, seq)
                seq += r.events
            assert seq == rings[slot].cell.next_seq
        got = [json.loads(e) for r in delivered
               for e in r.payload.split(b"\n")[:-1]]
        got = [(e["i"], e["n"]) for e in got]
        assert len(got) == len(set(got))
        assert set(load.acked) <= set(got)
        assert set(got) <= set(load.acked) | set(load.unknown)
        if how != "kill":
            assert not load.unknown
    finally:
        nginx.stop()
