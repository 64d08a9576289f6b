"""A disk that does not answer: 503 within logbroker_write_timeout to all but
the group whose fate is open, and everything as before when it answers."""

import concurrent.futures
import json
import time

import pytest

from env import spool
from env.http import PROMETHEUS, error, get, metrics
from env.nginx import Nginx
from env.process import wait_for


def hanging(nginx):
    return nginx.status()["disk_hangs_seconds"] > 0


@pytest.mark.parametrize("sync", ["always", "off"])
def test_hang(tmp_path, faults, sync):
    """Staged, parked and new requests are refused; those in the group get
    204 at last; nothing is stored of what was refused."""
    with Nginx(tmp_path, preload=faults.so, env=faults.env, spool="size=32m",
               http="logbroker_write_timeout 1s; client_max_body_size 8m; "
               "client_body_buffer_size 8m;",
               location=f"logbroker_sync {sync};") as nginx:
        if sync == "off":  # not the write in the worker itself, its sync
            assert nginx.post("/log", '{"first":1}').status == 204
        faults.set("hang", 1)
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            if sync == "always":
                first = pool.submit(nginx.post, "/log", '{"first":1}')
            wait_for((faults.dir / "hanging").exists, what="a write")
            if sync == "always":
                start = time.monotonic()
                # more than is staged: some are parked
                rest = [pool.submit(nginx.post, "/log", '{"p":"%s"}'
                                    % ("x" * 1000000)) for _ in range(8)]
                wait_for(lambda: nginx.status()["parked"] > 0, 1,
                         what="parked requests")
                assert nginx.status()["waiting"] > 1
                for r in rest:
                    a = r.result()
                    assert a.status == 503 and a.headers["Retry-After"] == "1"
                    assert "nothing was stored" in error(a)["error"]
                assert 0.5 < time.monotonic() - start < 3
            wait_for(lambda: hanging(nginx), 5, what="the status to say so")
            # new ones at once
            start = time.monotonic()
            for _ in range(5):
                a = nginx.post("/log", '{"new":1}')
                assert a.status == 503
                assert "the disk" in error(a)["error"]
            assert time.monotonic() - start < 0.5
            status = nginx.status()
            assert status["disk_hangs_seconds"] >= 1
            assert status["parked"] == 0
            assert status["refused"]["disk_hangs"] >= 5
            m = metrics(get(nginx.port, accept=PROMETHEUS)[1])
            assert m["logbroker_disk_hangs_seconds"] >= 1
            assert m["logbroker_parked_requests"] == 0
            if sync == "always":
                assert status["waiting"] == m["logbroker_waiting_requests"] == 1
                assert not first.done()
            assert "the disk hangs" in nginx.log()
            faults.clear("hang")
            if sync == "always":
                assert first.result().status == 204
        wait_for(lambda: not hanging(nginx), what="the end of it")
        assert nginx.post("/log", '{"after":1}').status == 204
        assert nginx.status()["waiting"] == 0
        assert [json.loads(e) for e in spool.events(nginx.spool)] == [
            {"first": 1}, {"after": 1}]
        assert "come back" in nginx.log()


def test_keys_of_refused_requests(tmp_path, faults):
    """A key that was staged behind a hanging write is new again."""
    with Nginx(tmp_path, preload=faults.so, env=faults.env,
               http="logbroker_write_timeout 500ms;") as nginx:
        faults.set("hang", 1)
        key = {"Idempotency-Key": "a"}
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            first = pool.submit(nginx.post, "/log", '{"first":1}')
            wait_for((faults.dir / "hanging").exists, what="a write")
            a = nginx.post("/log", '{"n":1}', key)
            assert a.status == 503 and b"the disk" in a.body
            faults.clear("hang")
            assert first.result().status == 204
        wait_for(lambda: not hanging(nginx), what="the end of it")
        for _ in range(2):
            assert nginx.post("/log", '{"n":1}', key).status == 204
        assert spool.events(nginx.spool) == [b'{"first":1}', b'{"n":1}']


def test_hanging_group_fails_at_last(tmp_path, faults):
    """Whoever waited is told that writing failed, not that nothing was
    stored; another ring is taken."""
    with Nginx(tmp_path, preload=faults.so, env=faults.env,
               http="logbroker_write_timeout 500ms;") as nginx:
        faults.set("hang", 1)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            first = pool.submit(nginx.post, "/log", '{"first":1}')
            wait_for(lambda: hanging(nginx), 5, what="the status to say so")
            faults.set("fail", 5)
            faults.clear("hang")
            a = first.result()
            assert a.status == 502 and b"stored or not" in a.body
        faults.clear("fail")
        wait_for(lambda: nginx.post("/log", '{"after":1}').status == 204,
                 what="another ring")
        assert not hanging(nginx)
        assert spool.events(nginx.spool) == [b'{"after":1}']


@pytest.mark.parametrize("slow", ["sync_delay", "large_delay"])
def test_hang_of_a_fill(tmp_path, faults, slow):
    """Without sync the event loop writes: it does not wait for a slice of
    zeros that it catches up with, neither for their sync nor their write."""
    faults.set("delay", 100)  # until the first slice is under way
    with Nginx(tmp_path, preload=faults.so, env=faults.env, spool="size=64m",
               http="client_body_buffer_size 256k; logbroker_sync off; "
               "logbroker_write_timeout 20s;",
               server="location = /ok { return 200; }") as nginx:
        faults.set(slow, 6000)
        faults.clear("delay")
        wait_for((faults.dir / "syncing").exists, what="a slow slice")
        event = '{"p":"%s"}' % ("x" * 100000)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            posts = pool.submit(lambda: [nginx.post("/log", event).status
                                         for _ in range(300)])
            longest, gets, start = 0, 0, time.monotonic()
            while time.monotonic() - start < 5 and not posts.done():
                begun = time.monotonic()
                assert nginx.request("GET", "/ok").status == 200
                longest = max(longest, time.monotonic() - begun)
                gets += 1
            assert gets > 10 and longest < 1
            if slow == "sync_delay":
                assert posts.done(), "a request waited for the sync of zeros"
            else:
                assert not posts.done(), "nothing had to wait"
            faults.clear(slow)
            assert set(posts.result()) == {204}


def test_words(tmp_path):
    for value, good in (("100ms", 1), ("1h", 1), ("0", 0), ("2h", 0)):
        code, text = Nginx(tmp_path, http=f"logbroker_write_timeout {value};"
                           ).test_conf()
        assert (code == 0) == bool(good), text
        assert good or "between 100ms and 1h" in text


def test_hang_while_rings_change(tmp_path, faults):
    """The ring is full, and the disk hangs as the next one is claimed."""
    with Nginx(tmp_path, preload=faults.so, env=faults.env, spool="size=128k",
               http="logbroker_write_timeout 500ms;") as nginx:
        wait_for(lambda: nginx.status()["total"]["rings"] >= 2, what="reserve")
        big = '{"p":"%s"}' % ("x" * 90000)
        assert nginx.post("/log", big).status == 204
        faults.set("hang", 1)
        a = nginx.post("/log", big)
        assert a.status == 503 and b"the disk" in a.body
        assert hanging(nginx)
        faults.clear("hang")
        wait_for(lambda: not hanging(nginx), what="the end of it")
        wait_for(lambda: nginx.post("/log", big).status == 204, 5,
                 what="the other ring")
        assert len(spool.events(nginx.spool)) == 2
        assert nginx.status()["parked"] == 0
