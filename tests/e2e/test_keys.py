"""Idempotency-Key: a repeated request is answered like the first and stored
once, whatever was killed in between."""

import errno
import http.client
import json
import os
import signal
import threading
import time

import pytest

from env.nginx import Nginx
from env.process import alive, wait_for
from env.spool import events, rings


def key(k):
    return {"Idempotency-Key": k}


def stored(nginx):
    return sorted(json.loads(e)["n"] for e in events(nginx.spool))


def post(nginx, n, k, path="/log"):
    """Until it is clear what became of it, as a client does."""

    def done():
        a = nginx.post(path, '{"n": %d}' % n, key(k))
        return a.status != 503 and a

    return wait_for(done, what="an answer other than 503", every=0.05)


def test_repeat_is_stored_once(tmp_path):
    with Nginx(tmp_path, workers=2) as nginx:
        for _ in range(10):  # both workers
            assert post(nginx, 1, "a").status == 204
        assert post(nginx, 2, "b").status == 204
        assert stored(nginx) == [1, 2]
        s = nginx.status()
        assert (s["repeated"], s["accepted"]["requests"]) == (9, 2)


def test_other_events_under_the_same_key(tmp_path):
    """No silent loss: events that are not those of the first request."""
    with Nginx(tmp_path) as nginx:
        assert post(nginx, 1, "a").status == 204
        a = post(nginx, 2, "a")
        assert a.status == 422 and b"Idempotency-Key" in a.body
        # the same events, written otherwise
        assert nginx.post("/log", ' {"n":1}\n', key("a")).status == 204
        # a stream has keys of its own
        assert post(nginx, 2, "a", "/log/other").status == 204
        assert stored(nginx) == [1, 2]


@pytest.mark.parametrize("value", ["", "x" * 256, "a\tb", "\xe4"])
def test_bad_keys(tmp_path, value):
    with Nginx(tmp_path) as nginx:
        a = nginx.post("/log", '{"n":1}', key(value))
        assert a.status == 400 and b"Idempotency-Key" in a.body
        assert stored(nginx) == []


def test_two_keys(tmp_path):
    with Nginx(tmp_path) as nginx:
        c = nginx.connect()
        c.putrequest("POST", "/log")
        for k in "ab":
            c.putheader("Idempotency-Key", k)
        c.putheader("Content-Length", "2")
        c.endheaders(b"{}")
        assert c.getresponse().status == 400
        c.close()


def test_a_refused_request_leaves_no_key(tmp_path):
    with Nginx(tmp_path, spool="size=64k rings=1") as nginx:
        assert nginx.post("/log", '{"n":', key("a")).status == 400
        assert nginx.post("/log", '{"n": "%s"}' % ("x" * 70000),
                          key("a")).status == 413
        assert post(nginx, 1, "a").status == 204


def test_full_ring_leaves_no_key(tmp_path):
    with Nginx(tmp_path, spool="size=64k rings=1") as nginx:
        filler = '{"n": 0, "x": "%s"}' % ("x" * 60000)
        assert nginx.post("/log", filler).status == 204
        a = nginx.post("/log", filler, key("a"))
        assert a.status == 503 and b"full" in a.body
        assert post(nginx, 1, "a").status == 204


def test_off(tmp_path):
    with Nginx(tmp_path, http="logbroker_idempotency off;") as nginx:
        for _ in range(2):
            assert post(nginx, 1, "a").status == 204
        assert stored(nginx) == [1, 1]


def test_window(tmp_path):
    with Nginx(tmp_path, http="logbroker_idempotency window=2s;") as nginx:
        assert post(nginx, 1, "a").status == 204
        assert post(nginx, 1, "a").status == 204

        def again():
            assert post(nginx, 1, "a").status == 204
            return len(stored(nginx)) == 2

        wait_for(again, 10, "the end of the window", every=0.2)


def test_bounded(tmp_path):
    """No room for more keys: they wait, what has no key does not; nothing is
    forgotten early."""
    with Nginx(tmp_path, spool="size=8m", http="logbroker_idempotency "
               "size=64k window=15s;") as nginx:
        c = nginx.connect()
        n = 0
        while True:
            a = nginx.post("/log", '{"n":%d}' % n, key(str(n)), conn=c)
            if a.status != 204:
                break
            n += 1
        assert a.status == 503 and b"Idempotency-Key" in a.body
        assert a.headers["Retry-After"] == "1"
        assert n > 500
        assert nginx.post("/log", '{"n":-1}').status == 204
        assert nginx.post("/log", '{"n":0}', key("0"), conn=c).status == 204
        assert stored(nginx) == [-1, *range(n)]
        assert "raise size=" in nginx.log()
        wait_for(lambda: nginx.post("/log", '{"n":%d}' % n,
                                    key(str(n))).status == 204,
                 40, "room", every=0.2)
        c.close()


def test_survives_restart_and_kill(tmp_path):
    """The keys are in the rings."""
    with Nginx(tmp_path, workers=2) as nginx:
        for n in range(20):
            assert post(nginx, n, f"k{n}").status == 204
        for how in ("stop", "kill", "reload", "kill"):
            if how == "reload":
                nginx.reload()
            else:
                getattr(nginx, how)()
                nginx.start()
            for n in range(20):
                assert post(nginx, n, f"k{n}").status == 204
            assert stored(nginx) == list(range(20))


def test_first_is_still_being_stored(tmp_path, faults):
    with Nginx(tmp_path, workers=2, preload=faults.so,
               env=faults.env) as nginx:
        faults.set("delay", 1500)
        answers = []

        def once():
            answers.append(nginx.post("/log", '{"n":1}', key("a")))

        threads = [threading.Thread(target=once) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert sorted(a.status for a in answers) == [204, 503, 503, 503]
        assert any(b"still being stored" in a.body for a in answers)
        faults.clear("delay")
        assert post(nginx, 1, "a").status == 204
        assert stored(nginx) == [1]


def test_failed_write_leaves_no_key(tmp_path, faults):
    with Nginx(tmp_path, preload=faults.so, env=faults.env) as nginx:
        faults.set("fail", errno.EIO)
        a = nginx.post("/log", '{"n":1}', key("a"))
        assert a.status == 502, a
        faults.clear("fail")
        assert post(nginx, 1, "a").status == 204
        assert stored(nginx) == [1]


def test_unknown_outcome_is_looked_up(tmp_path, faults):
    """The record is written, its commit cell is not: it turns up when the ring
    is recovered, and a repetition meanwhile is no other request."""
    with Nginx(tmp_path, preload=faults.so, env=faults.env) as nginx:
        faults.set("fail_cells", errno.EIO)
        a = nginx.post("/log", '{"n":1}', key("a"))
        assert a.status == 502 and b"stored or not" in a.body, a
        a = nginx.post("/log", '{"n":1}', key("a"))
        assert a.status == 503, a
        faults.clear("fail_cells")
        assert post(nginx, 1, "a").status == 204
        nginx.kill()
        nginx.start()
        assert post(nginx, 1, "a").status == 204
        assert stored(nginx) == [1]


def on(nginx, pid):
    """A connection to this worker."""
    while True:
        c = nginx.connect()
        if json.loads(nginx.request("GET", "/status", conn=c).body)[
                "pid"] == pid:
            return c
        c.close()


def dies_before_it_commits(nginx, faults):
    """A worker that has written the record of {"n":1} with the key a; returns a
    connection to another one, and the ring."""
    victim, other = nginx.workers()
    c = on(nginx, victim)
    a = nginx.post("/log", '{"n":0}', conn=c)
    assert a.status == 204, a
    slot = json.loads(nginx.request("GET", "/status", conn=c).body)[
        "worker"]["slot"]
    faults.set("point", f"ring.write.after 1 {int(signal.SIGKILL)}")
    with pytest.raises((OSError, http.client.HTTPException)):
        nginx.post("/log", '{"n":1}', key("a"), conn=c)
    assert int((faults.dir / "reached").read_text()) == victim
    return on(nginx, other), slot


def test_ring_that_is_just_recovered(tmp_path, faults):
    """A new worker has the ring of the dead one, and has not come to its last
    record: nobody knows yet whether it is there."""
    with Nginx(tmp_path, workers=2, spool="size=1m rings=2",
               preload=faults.so, env=faults.env) as nginx:
        faults.set("delay", 1000)
        c, slot = dies_before_it_commits(nginx, faults)
        wait_for(lambda: nginx.status()["rings"][slot]["locked"],
                 what="the new worker")
        a = nginx.post("/log", '{"n":1}', key("a"), conn=c)
        assert a.status == 503 and b"still being stored" in a.body
        wait_for(lambda: nginx.post("/log", '{"n":1}', key("a"),
                                    conn=c).status == 204, what="204")
        faults.clear("delay")
        assert stored(nginx) == [0, 1]
        assert nginx.status()["repeated"] == 1
        c.close()


def test_start_while_rings_are_recovered(tmp_path, faults):
    """The same when nginx as a whole was killed."""
    with Nginx(tmp_path, workers=2, spool="size=1m rings=2",
               preload=faults.so, env=faults.env) as nginx:
        dies_before_it_commits(nginx, faults)[0].close()
        nginx.kill()
        faults.set("delay", 1000)
        nginx.start(ring=False)
        assert post(nginx, 1, "a").status == 204
        faults.clear("delay")
        wait_for(nginx.ready, what="rings")
        assert stored(nginx) == [0, 1]


@pytest.mark.parametrize("fault", ["fail_open", "fail_list"])
@pytest.mark.parametrize("how", ["worker", "nginx"])
def test_rings_cannot_be_read(tmp_path, faults, fault, how):
    """An error is no answer: the key may be there."""
    with Nginx(tmp_path, workers=2, spool="size=1m rings=4",
               preload=faults.so, env=faults.env) as nginx:
        wait_for(lambda: nginx.status()["total"]["rings"] == 4, what="spares")
        if how == "worker":
            faults.set(fault, errno.EMFILE)
            dies_before_it_commits(nginx, faults)[0].close()
        else:
            assert post(nginx, 0, "first").status == 204
            assert post(nginx, 1, "a").status == 204
            nginx.kill()
            faults.set(fault, errno.EMFILE)
            nginx.start(ring=False)
        time.sleep(1.1)
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            a = nginx.post("/log", '{"n":1}', key("a"))
            assert a.status == 503, a
            time.sleep(0.02)
        assert "Too many open files" in nginx.error_log.read_text()
        faults.clear(fault)
        assert post(nginx, 1, "a").status == 204
        assert stored(nginx) == [0, 1]


def test_ring_that_can_never_be_read(tmp_path):
    """What is no ring keeps no key away."""
    with Nginx(tmp_path, spool="size=1m rings=4") as nginx:
        assert post(nginx, 1, "a").status == 204
        wait_for(lambda: nginx.status()["total"]["rings"] == 2, what="spare")
        nginx.stop()
        (nginx.spool / "ring-0001").write_bytes(b"x" * 20000)
        nginx.start()
        assert post(nginx, 1, "a").status == 204
        assert post(nginx, 2, "b").status == 204
        (nginx.spool / "ring-0001").unlink()
        assert stored(nginx) == [1, 2]


def test_refused_requests_take_no_room(tmp_path):
    """Through an outage with a full spool, many more keys than there is room
    for: afterwards there is."""
    with Nginx(tmp_path, spool="size=64k rings=1", http="logbroker_idempotency "
               "size=64k window=10m;") as nginx:
        c = nginx.connect()
        filler = '{"n":-1,"x":"%s"}' % ("x" * 60000)
        assert nginx.post("/log", '{"n":-2}', key("live"), conn=c
                          ).status == 204
        assert nginx.post("/log", filler, conn=c).status == 204
        # with the one before, too much
        big = '{"n":%%d,"x":"%s"}' % ("x" * 6000)
        for n in range(5000):
            a = nginx.post("/log", big % n, key(str(n)), conn=c)
            assert a.status == 503 and b"full" in a.body, a
        rings(nginx.spool)[0].ack()
        for n in range(5):
            assert nginx.post("/log", big % n, key(str(n)), conn=c
                              ).status == 204
        c.close()
        assert stored(nginx) == list(range(5))


def read_bytes(nginx):
    return sum(int(line.split()[1]) for pid in nginx.workers()
               for line in open(f"/proc/{pid}/io")
               if line.startswith("rchar"))


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_start_reads_what_is_within_the_window(tmp_path, how):
    """The ring is full of records that are too old."""
    with Nginx(tmp_path, spool="size=64m", http="logbroker_idempotency "
               "window=2s; client_body_buffer_size 1m;") as nginx:
        assert post(nginx, 0, "old").status == 204
        for _ in range(100):
            assert nginx.post("/log", '{"n":-1,"x":"%s"}' % ("x" * 400000)
                              ).status == 204
        time.sleep(1.1)  # marks follow once a second
        assert post(nginx, 1, "new").status == 204
        time.sleep(2.5)
        assert post(nginx, 2, "newest").status == 204
        getattr(nginx, how)()
        nginx.start()
        assert post(nginx, 2, "newest").status == 204
        assert read_bytes(nginx) < 16 << 20
        time.sleep(3)
        getattr(nginx, how)()
        nginx.start()
        before = read_bytes(nginx)
        assert post(nginx, 3, "x").status == 204
        assert before < 8 << 20
        nginx.stop()
        assert [n for n in stored(nginx) if n >= 0] == [0, 1, 2, 3]


@pytest.mark.parametrize("jump", [7200, -7200])
def test_wall_clock_jumps(tmp_path, faults, jump):
    """The window is one of real time, in memory and after a start."""
    with Nginx(tmp_path, preload=faults.so, env=faults.env,
               http="logbroker_idempotency window=4s;") as nginx:
        assert post(nginx, 1, "a").status == 204
        faults.set("clock", jump)
        wait_for(lambda: abs(nginx.status()["time_us"] / 1e6 - jump
                             - time.time()) < 60, what="the jump")
        assert post(nginx, 1, "a").status == 204
        assert stored(nginx) == [1]
        for how in ("stop", "kill"):
            assert post(nginx, 2, how).status == 204
            getattr(nginx, how)()
            nginx.start()
            assert post(nginx, 2, how).status == 204
        faults.set("clock", 0)
        assert post(nginx, 2, "kill").status == 204
        assert stored(nginx) == [1, 2, 2]
        # and it ends
        time.sleep(6)
        assert post(nginx, 2, "kill").status == 204
        assert stored(nginx) == [1, 2, 2, 2]


@pytest.mark.slow
def test_killed_workers(tmp_path):
    """Clients that never give up, workers that die all the time: every
    request once."""
    with Nginx(tmp_path, workers=2, spool="size=8m") as nginx:
        stop = threading.Event()
        done = []

        def client(i):
            n = i
            while not stop.is_set():
                while True:
                    try:
                        a = nginx.post("/log", '{"n": %d}' % n, key(f"k{n}"))
                    except (OSError, http.client.HTTPException):
                        continue
                    if a.status == 204:
                        break
                    assert a.status == 503, a
                done.append(n)
                n += 4

        threads = [threading.Thread(target=client, args=(i,))
                   for i in range(4)]
        for t in threads:
            t.start()
        for kills in range(25):
            before = len(done)
            wait_for(lambda: len(done) > before + 20, 30, "progress")
            workers = nginx.workers()
            if workers:
                victim = workers[kills % len(workers)]
                os.kill(victim, signal.SIGKILL)
                wait_for(lambda: not alive(victim), what="death")
        stop.set()
        for t in threads:
            t.join(60)
            assert not t.is_alive()
        assert stored(nginx) == sorted(done)


def test_words(tmp_path):
    def says(directive, words):
        n = Nginx(tmp_path, http=directive)
        status, text = n.test_conf()
        assert (status == 0) == (words is None), text
        assert words is None or words in text

    says("logbroker_idempotency window=1h size=1m;", None)
    says("logbroker_idempotency window=0s;", "between 1s and 7d")
    says("logbroker_idempotency size=1k;", "between 64k and 64g")
    says("logbroker_idempotency maybe;", 'invalid parameter "maybe"')
    says("logbroker_idempotency off; logbroker_idempotency off;",
         "is duplicate")
