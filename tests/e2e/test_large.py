"""Bodies that are too large for the event loop: stored like any other, within
limits that count what is held, while small requests pass by."""

import base64
import collections
import concurrent.futures
import contextlib
import gzip
import json
import os
import pathlib
import random
import re
import signal
import socket
import threading
import time
import zlib

import pytest

from env import spool
from env.bodies import body_of, h2_frame, h2_post, zstd
from env.build import sanitized
from env.nginx import Nginx
from env.process import free_port, wait_for

GZIP = {"Content-Encoding": "gzip"}
ZSTD = {"Content-Encoding": "zstd"}
TEXT = {"Content-Type": "text/plain"}

BIG = "client_max_body_size 64m; client_body_buffer_size 256k;"


def words(answer):
    return json.loads(answer.body)["error"]


@pytest.mark.parametrize("buffer", ["8k", "4m"])
def test_ways(tmp_path, buffer):
    """Around the size from which on a thread does the work, plain, chunked
    and compressed well or badly, in memory and in a file."""
    inline = 128 * 1024
    noise = base64.b64encode(random.Random(1).randbytes(150_000))
    plain = [body_of(size) for size in (
        inline - 1, inline, inline + 1, 300_000, 2_000_000)]
    plain.append(b'{"noise":"%s"}\n' % noise)
    with Nginx(tmp_path, spool="size=64m rings=2", http=f"""
            client_max_body_size 8m;
            client_body_buffer_size {buffer};""") as nginx:
        sent = []
        c = nginx.connect()
        for body in plain:
            for data, headers in (
                    (body, {}), (iter([body[:70_000], body[70_000:]]), {}),
                    (gzip.compress(body), GZIP), (zstd(body), ZSTD),
                    (iter([gzip.compress(body)]), GZIP)):
                a = nginx.post("/log", data, headers, c)
                assert a.status == 204, (len(body), headers, a)
                sent.append(body)
        # chunks so small that there are thousands of them
        body = body_of(200_000)
        a = nginx.post("/log", (body[i:i + 50] for i in range(
            0, len(body), 50)), conn=c)
        assert a.status == 204
        sent.append(body)
        text = b"one line\n" * 40_000
        assert nginx.post("/log/t", text, TEXT, c).status == 204
        assert nginx.post("/log/t", gzip.compress(text), GZIP | TEXT,
                          c).status == 204
        sent += [b'{"message":"one line"}\n' * 40_000] * 2
        # two rings: each in its order, and by the time in both
        records = sorted(spool.records(nginx.spool),
                         key=lambda r: r.received_us)
        assert [r.payload for r in records] == sent
        assert [r.events for r in records] == [s.count(b"\n") for s in sent]
        assert records[-1].stream == "t"
        # what is wrong is still told, with its place
        bad = body_of(300_000)
        for data, headers in ((bad + b'{"a":x}', {}),
                              (gzip.compress(bad + b'{"a":x}'), GZIP)):
            a = nginx.post("/log", data, headers, c)
            assert a.status == 400, a
            got = json.loads(a.body)
            assert (got["row"], got["column"]) == (bad.count(b"\n") + 1, 6)
            assert "expected a value" in got["error"]
        a = nginx.post("/log", b"x" * 299_999 + b"\n\xff", TEXT, c)
        assert (a.status, json.loads(a.body)["row"]) == (400, 2)
        for data in (gzip.compress(bad)[:-3], gzip.compress(bad) + b"x"):
            a = nginx.post("/log", data, GZIP, c)
            assert (a.status, "gzip" in words(a)) == (400, True)
        a = nginx.post("/log", b" " * 300_000, conn=c)
        assert (a.status, words(a)) == (400, "no event in the body")
        a = nginx.post("/log", b'{"a":"%s"}' % (b"x" * 2_000_000), conn=c)
        assert (a.status, json.loads(a.body)["row"]) == (413, 1)
        assert len(spool.records(nginx.spool)) == len(sent)


def test_limits(tmp_path):
    """Each says which one it is."""
    with Nginx(tmp_path, spool="size=64m rings=2", http=BIG, server="""
            location /none { logbroker; client_max_body_size 0; }
            location /small { logbroker; client_max_body_size 0;
                              logbroker_max_body 10k; }
            location /both { logbroker; client_max_body_size 20k;
                             logbroker_max_body 1m; }""") as nginx:
        c = nginx.connect()

        def refused(path, body, headers, *wanted):
            a = nginx.post(path, body, headers, c)
            assert a.status == 413, (path, a)
            for w in wanted:
                assert w in words(a), words(a)

        mine = '"logbroker_max_body" allows'
        over = body_of(10 * 1024 + 1)
        refused("/small", over, {}, "the body is too large", mine, "10240")
        refused("/small", iter([over]), {}, "the body is", mine)
        refused("/small", gzip.compress(over), GZIP, "decompressed", mine)
        refused("/small", b"a\n" * 2000, TEXT, "as they are stored", mine)
        refused("/small", b"{}" * 4500, {}, "as they are stored", mine)
        refused("/small", gzip.compress(b"{}" * 4500), GZIP, "as they are",
                mine)
        refused("/both", gzip.compress(body_of(20 * 1024 + 1)), GZIP,
                "decompressed", '"client_max_body_size" allows 20480')
        refused("/both", gzip.compress(body_of(500_000)), GZIP,
                "decompressed", '"client_max_body_size" allows 20480')
        # without client_max_body_size there still is a limit
        refused("/none", gzip.compress(b" " * 200_000_000, 1), GZIP,
                "decompressed", mine, "67108864")
        refused("/none", gzip.compress(b"a\n" * 10_000_000, 1), GZIP | TEXT,
                "as they are stored", mine)
        with socket.create_connection(("127.0.0.1", nginx.port)) as s:
            s.sendall(b"POST /none HTTP/1.1\r\nHost: x\r\n"
                      b"Content-Length: 67108865\r\n\r\n{")
            assert b'\\"logbroker_max_body\\" allows 67' in s.recv(10000)
        # events of a request
        many = b"{}" * 1_000_001
        refused("/log", many, {}, "more than 1000000 events")
        refused("/log", gzip.compress(many), GZIP, "more than 1000000")
        assert spool.records(nginx.spool) == []
        assert nginx.post("/log", many[2:], conn=c).status == 204
        assert nginx.post("/small", body_of(10 * 1024), conn=c).status == 204
        r = nginx.status()["refused"]
        assert (r["too_many_events"], r["body_too_big"]) == (2, 11)
    for size in ("1", "1023", "1025m"):
        status, text = Nginx(tmp_path / size, location=
                             f"logbroker_max_body {size};").test_conf()
        assert status != 0
        assert "between 1k and 1g" in text


BOMBS = {
    "spaces": (lambda: gzip.compress(b" " * 30_000_000), GZIP, 400),
    "short lines": (lambda: gzip.compress(b"a\n" * 15_000_000), GZIP | TEXT,
                    413),
    "empty events": (lambda: gzip.compress(b"{}" * 15_000_000), GZIP, 413),
    "empty lines": (lambda: gzip.compress(b"\n" * 30_000_000), GZIP | TEXT,
                    400),
    "escapes": (lambda: gzip.compress(b"\1" * 900_000 + b"\n"), GZIP | TEXT,
                413),
    "one event of 30 MB": (lambda: gzip.compress(
        b'{"a":"' + b"x" * 30_000_000 + b'"}'), GZIP, 413),
    "an error at the end": (lambda: gzip.compress(
        body_of(30_000_000) + b"{", 1), GZIP, 400),
    "30 MB": (lambda: body_of(30_000_000), {}, 204),
    "30 MB, packed": (lambda: gzip.compress(body_of(30_000_000), 1), GZIP,
                      204),
}


@pytest.mark.skipif(sanitized(), reason="slow on purpose")
@pytest.mark.parametrize("name", BOMBS)
def test_loop_goes_on(tmp_path, name):
    """Other requests of the same worker do not notice."""
    make, headers, status = BOMBS[name]
    body = make()
    with Nginx(tmp_path, spool="size=256m rings=2", http=BIG,
               server="location = /ok { return 200; }") as nginx:
        got = []
        threads = [threading.Thread(target=lambda: got.append(
            nginx.post("/log", body, headers).status)) for _ in range(3)]
        for t in threads:
            t.start()
        waited = []
        c = nginx.connect()
        while any(t.is_alive() for t in threads):
            begun = time.monotonic()
            assert nginx.request("GET", "/ok", conn=c).status == 200
            waited.append(time.monotonic() - begun)
            time.sleep(0.001)
        assert got == [status] * 3
        # on a busy machine a moment may be long: the median of what was worst
        # in each of ten stretches
        n = max(len(waited) // 10, 1)
        worst = sorted(max(waited[i:i + n]) for i in range(0, len(waited), n))
        assert worst[len(worst) // 2] < 0.1, worst


def memory(nginx, what):
    text = pathlib.Path(f"/proc/{nginx.workers()[0]}/status").read_text()
    return int(re.search(what + r":\s+(\d+)", text)[1]) / 1024


@pytest.mark.skipif(sanitized(), reason="sanitizers keep freed memory")
@pytest.mark.parametrize("name", ["short lines", "30 MB, packed"])
def test_memory_is_bounded(tmp_path, name):
    """Sixty at once are held decoded one at a time, and nothing of it is left
    while their clients are still there."""
    make, headers, status = BOMBS[name]
    body = make()
    noise = gzip.compress(random.Random(1).randbytes(360_000))
    with Nginx(tmp_path, spool="size=256m rings=2", http=BIG) as nginx:
        before = memory(nginx, "VmRSS")
        clients = [nginx.connect(200) for _ in range(60)]
        idle = nginx.connect()
        for i, c in enumerate(clients):
            c.request("POST", "/log", body if i % 6 == 0 else noise, headers)
            if i == 30:
                assert nginx.post("/log", "{}", conn=idle).status == 204
        got = collections.Counter(c.getresponse().status for c in clients)
        assert got == {status: 10, 400: 50}
        # decoded, record, group in flight and the next one; and 22 MB sent
        assert memory(nginx, "VmHWM") - before < 230
        wait_for(lambda: memory(nginx, "VmRSS") - before < 24,
                 what="the memory to be given back")


def pages(nginx):
    """Pages that the worker got from the system so far."""
    text = pathlib.Path(
        f"/proc/{nginx.workers()[0]}/stat").read_text(encoding="ascii")
    return int(text.rpartition(")")[2].split()[7])


@pytest.mark.skipif(sanitized(), reason="sanitizers have memory of their own")
def test_memory_is_kept(tmp_path):
    """One body after another does with the same memory, instead of having it
    from the system page by page, but for once a second."""
    body = body_of(1_000_000)
    with Nginx(tmp_path, spool="size=256m rings=2",
               http="logbroker_sync off; client_max_body_size 8m; "
                    "client_body_buffer_size 2m;") as nginx:
        c = nginx.connect()
        each = []
        for _ in range(60):
            before = pages(nginx)
            assert nginx.post("/log", body, {}, c).status == 204
            each.append(pages(nginx) - before)
        assert sorted(each)[30] < 100, each


def test_clients_leave(tmp_path):
    """Before their turn, in it, and behind it: what is stored is whole, and
    the next one is dealt with."""
    body = body_of(3_000_000)
    packed = gzip.compress(body, 1)
    with Nginx(tmp_path, spool="size=512m rings=2", http=BIG) as nginx:
        rng = random.Random(3)
        for _ in range(12):
            with contextlib.ExitStack() as stack:
                for _ in range(4):
                    s = stack.enter_context(socket.create_connection(
                        ("127.0.0.1", nginx.port)))
                    data = rng.choice((body, packed))
                    head = (b"POST /log HTTP/1.1\r\nHost: x\r\n"
                            b"Content-Length: %d\r\n" % len(data))
                    if data is packed:
                        head += b"Content-Encoding: gzip\r\n"
                    s.sendall(head + b"\r\n")
                    s.sendall(data[:rng.choice((len(data), len(data) // 2))])
                    if rng.random() < 0.5:
                        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                     b"\1\0\0\0\0\0\0\0")
                time.sleep(rng.random() * 0.02)
        assert nginx.post("/log", body, headers={
            "Idempotency-Key": "k"}).status == 204
        assert {r.payload for r in spool.records(nginx.spool)} == {body}


@pytest.mark.parametrize("sync", ["always", "off"])
def test_all_at_once(tmp_path, sync):
    """Small and large, many clients, reloads meanwhile: each answered request
    is stored once, none that was refused."""
    rng = random.Random(5)
    sizes = (100, 5_000, 127_000, 140_000, 1_000_000, 5_000_000)
    count = 20 if sanitized() else 60
    with Nginx(tmp_path, workers=2, spool="size=128m rings=6",
               http=BIG + f"logbroker_sync {sync};") as nginx:
        wait_for(lambda: nginx.status()["total"]["rings"] >= 4,
                 what="spare rings")

        def client(n):
            r = random.Random(n)
            c = nginx.connect()
            sent = []
            for i in range(count // 6):
                pad = body_of(r.choice(sizes))
                body = b'{"client":%d,"i":%d}\n' % (n, i) + pad
                headers = {"Idempotency-Key": f"{n}-{i}"} if i % 2 else {}
                data = body
                if r.random() < 0.5:
                    data = gzip.compress(body, 1)
                    headers |= GZIP
                try:
                    a = nginx.post("/log", data, headers, c)
                except OSError:
                    c = nginx.connect()
                    continue
                if a.status == 204:
                    sent.append(zlib.crc32(body))
                else:
                    assert a.status == 503, a
                if a.headers.get("Connection") == "close":
                    c = nginx.connect()
            return sent

        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            jobs = [pool.submit(client, n) for n in range(6)]
            while not all(j.done() for j in jobs):
                time.sleep(rng.random())
                nginx.send(signal.SIGHUP)
            sent = [s for j in jobs for s in j.result()]
        stored = collections.Counter(
            zlib.crc32(r.payload) for r in spool.records(nginx.spool))
        assert sent
        assert not set(sent) - set(stored)
        assert max(stored.values()) == 1


def test_quit_waits(tmp_path):
    """A worker leaves when what it has taken is stored and answered."""
    body = body_of(20_000_000)
    packed = gzip.compress(body, 1)
    nginx = Nginx(tmp_path, spool="size=128m rings=2", http=BIG).start()
    try:
        clients = [nginx.connect() for _ in range(4)]
        for c in clients:
            c.request("POST", "/log", packed, GZIP)

        def taken():
            status = nginx.status()
            return status["parked"] + status["waiting"] + \
                status["accepted"]["requests"] >= 4

        wait_for(taken, what="the requests to be taken")
        nginx.send(signal.SIGQUIT)
        assert [c.getresponse().status for c in clients] == [204] * 4
        nginx.process.wait(20)
    finally:
        nginx.stop()
    assert [r.payload for r in spool.records(nginx.spool)] == [body] * 4


def test_killed_meanwhile(tmp_path):
    """kill -9 in the middle: what was answered is there, the rest is whole or
    not there."""
    body = body_of(4_000_000)
    packed = gzip.compress(body, 1)
    with Nginx(tmp_path, spool="size=256m rings=4", http=BIG) as nginx:
        answered = 0
        for i in range(6):
            clients = [nginx.connect(20) for _ in range(3)]
            for c in clients:
                c.request("POST", "/log", packed, GZIP)
            time.sleep(0.01 * i)
            os.kill(nginx.workers()[0], signal.SIGKILL)
            for c in clients:
                with contextlib.suppress(Exception):
                    answered += c.getresponse().status == 204
            wait_for(lambda: nginx.connects() and nginx.workers(),
                     what="a new worker")
            wait_for(nginx.ready, what="its ring")
        records = spool.records(nginx.spool)
        assert {r.payload for r in records} <= {body}
        assert len(records) >= answered


def test_repeated(tmp_path):
    """Idempotency keys hold for large bodies as well."""
    body = body_of(1_000_000)
    with Nginx(tmp_path, spool="size=16m", http=BIG) as nginx:
        key = {"Idempotency-Key": "a"}
        assert nginx.post("/log", body, key).status == 204
        assert nginx.post("/log", gzip.compress(body), key | GZIP).status == 204
        assert nginx.post("/log", body + b"{}", key).status == 422
        assert len(spool.records(nginx.spool)) == 1


def test_full(tmp_path):
    """A ring without room for a large record still takes small ones."""
    body = body_of(400_000)
    with Nginx(tmp_path, spool="size=1m rings=1", http=BIG) as nginx:
        assert [nginx.post("/log", body).status for _ in range(4)] == \
            [204, 204, 503, 503]
        assert nginx.post("/log", "{}").status == 204
        a = nginx.post("/log", body_of(2_000_000))
        assert (a.status, "ring" in words(a)) == (413, True)
        assert [r.payload for r in spool.records(nginx.spool)] == \
            [body, body, b"{}\n"]


@pytest.mark.parametrize("buffer", ["8k", "4m"])
def test_shared_with_mirror(tmp_path, buffer):
    """A body that a copy needs as well stays where it is."""
    body = body_of(1_000_000)
    with Nginx(tmp_path, spool="size=64m rings=2", server="""
            location /log/mirrored { mirror /copy; logbroker;
                                     logbroker_stream mirrored; }
            location = /copy { internal; logbroker; logbroker_stream copy; }
            location /log/sent { mirror /send; logbroker;
                                 logbroker_stream sent; }
            location = /send { internal;
                proxy_pass http://unix:%s:/log/copy; }""" % (
                    tmp_path / "nginx.sock"),
               http="client_max_body_size 64m;"
                    f"client_body_buffer_size {buffer};") as nginx:
        for path in ("/log/mirrored", "/log/sent"):
            for _ in range(5):
                assert nginx.post(path, body).status == 204
                a = nginx.post(path, gzip.compress(body, 1), GZIP)
                assert a.status == 204
        wait_for(lambda: nginx.status()["accepted"]["requests"] == 40,
                 what="the copies")
        got = collections.Counter(
            (r.stream, r.payload == body)
            for r in spool.records(nginx.spool))
        assert got == {("copy", True): 20, ("mirrored", True): 10,
                       ("sent", True): 10}


def test_http2(tmp_path):
    """Whole bodies over HTTP/2, and streams that are reset while a thread
    works for them."""
    port = free_port()
    packed = gzip.compress(body_of(2_000_000), 9)
    with Nginx(tmp_path, spool="size=128m rings=2", http=BIG,
               listen=f"listen 127.0.0.1:{port} http2;") as nginx:
        encoding = [(b"content-encoding", b"gzip")]
        data = [packed[i:i + 16_000] for i in range(0, len(packed), 16_000)]
        assert len(packed) < 65_000, "flow control"
        frames = [h2_frame(0, i == len(data) - 1, 1, d)
                  for i, d in enumerate(data)]
        assert h2_post(port, encoding, frames) == 204
        cut = h2_frame(3, 0, 1, b"\0\0\0\x08")
        for _ in range(8):
            assert h2_post(port, encoding, [*frames, cut], 0.3) is None
        assert h2_post(port, encoding, frames) == 204
        payloads = {r.payload for r in spool.records(nginx.spool)}
        assert payloads == {body_of(2_000_000)}


ASIDE = body_of(1_500_000)
SMALL = b'{"small":1}\n'


def locked(nginx):
    return nginx.status()["total"]["locked"]


@contextlib.contextmanager
def aside(tmp_path, *, rings=2, size="4m", workers=1, http="", **more):
    """With a free ring, which a large record may take."""
    with Nginx(tmp_path, workers=workers, http=BIG + http,
               spool=f"size={size} rings={rings}", **more) as nginx:
        if rings > workers:
            wait_for(lambda: nginx.status()["total"]["rings"] > workers,
                     what="a spare ring")
        yield nginx


@contextlib.contextmanager
def in_flight(nginx, faults, headers=None):
    """A large record whose write does not come back until hang_large goes."""
    faults.set("hang_large", 1)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        try:
            large = pool.submit(nginx.post, "/log", ASIDE, headers or {})
            wait_for((faults.dir / "hanging").exists, what="the write")
            yield large
        finally:
            faults.clear("hang_large")


def payloads(nginx):
    return collections.Counter(r.payload for r in spool.records(nginx.spool))


def test_second_ring(tmp_path, faults):
    """A large record is written to a ring that nobody holds, small ones pass
    by; the ring is given back soon, and used again."""
    with aside(tmp_path, preload=faults.so, env=faults.env,
               http="logbroker_write_timeout 60s;") as nginx:
        with in_flight(nginx, faults) as large:
            for _ in range(20):
                assert nginx.post("/log", SMALL).status == 204
            status = nginx.status()
            assert (status["waiting"], status["total"]["locked"]) == (1, 2)
            assert not large.done()
        assert large.result().status == 204
        wait_for(lambda: locked(nginx) == 1, 5, "the ring to be given back")
        assert nginx.post("/log", ASIDE).status == 204
        status = nginx.status()
        assert status["waiting"] == status["parked"] == 0
        assert status["accepted"]["requests"] == 22
        assert status["accepted"]["events"] == 20 + 2 * ASIDE.count(b"\n")
        rings = collections.defaultdict(set)
        for size, ring in re.findall(r"bytes=(\d+) ring=(\d+)",
                                     "\n".join(nginx.access())):
            rings[int(size)].add(ring)
        assert len(rings[len(SMALL)]) == len(rings[len(ASIDE)]) == 1
        assert rings[len(SMALL)] != rings[len(ASIDE)]
        assert payloads(nginx) == {SMALL: 20, ASIDE: 2}


@pytest.mark.parametrize("rings", [1, 2])
def test_second_ring_full(tmp_path, rings):
    """One without room, or none at all: the worker's own, as before, until
    that is full as well."""
    with aside(tmp_path, rings=rings) as nginx:
        got = [nginx.post("/log", ASIDE).status for _ in range(2 * rings + 1)]
        assert got == [204] * 2 * rings + [503]
        assert nginx.post("/log", SMALL).status == 204
        assert payloads(nginx) == {ASIDE: 2 * rings, SMALL: 1}
        for ring in spool.rings(nginx.spool):
            ring.ack()
        wait_for(lambda: nginx.post("/log", ASIDE).status == 204,
                 what="room again")


def test_second_ring_is_wanted(tmp_path):
    """A worker whose own ring is full goes on in the second one."""
    body = body_of(900_000)
    with aside(tmp_path) as nginx:
        assert nginx.post("/log", ASIDE).status == 204
        assert locked(nginx) == 2
        got = [nginx.post("/log", body).status for _ in range(7)]
        assert got == [204] * 6 + [503]
        assert payloads(nginx) == {ASIDE: 1, body: 6}


def test_second_ring_fails(tmp_path, faults):
    """A write that fails: 502, and the key is new again when the ring has been
    looked through; the worker's own ring is as good as before."""
    key = {"Idempotency-Key": "a"}
    with aside(tmp_path, preload=faults.so, env=faults.env,
               http="logbroker_write_timeout 60s;") as nginx:
        with in_flight(nginx, faults, key) as large:
            assert nginx.post("/log", SMALL).status == 204
            faults.set("fail", 5)
        a = large.result()
        assert (a.status, "stored or not" in words(a)) == (502, True)
        faults.clear("fail")
        assert nginx.post("/log", SMALL).status == 204
        wait_for(lambda: nginx.post("/log", ASIDE, key).status == 204,
                 what="the key to be new")
        assert nginx.post("/log", ASIDE, key).status == 204
        assert "ring abandoned: 1 requests got 502" in nginx.log()
        assert nginx.status()["waiting"] == 0
        assert payloads(nginx) == {SMALL: 2, ASIDE: 1}


def test_second_ring_hangs(tmp_path, faults):
    """A write that does not come back is told as one of the own ring is; it
    comes back, and everything goes on."""
    with aside(tmp_path, preload=faults.so, env=faults.env,
               http="logbroker_write_timeout 500ms;") as nginx:
        with in_flight(nginx, faults) as large:
            wait_for(lambda: nginx.status()["disk_hangs_seconds"] > 0, 5,
                     "the status to say so")
            for body in (SMALL, ASIDE):
                a = nginx.post("/log", body)
                assert (a.status, "the disk" in words(a)) == (503, True)
            assert "1 requests wait for it" in nginx.log()
            assert nginx.status()["waiting"] == 1
        assert large.result().status == 204
        wait_for(lambda: nginx.status()["disk_hangs_seconds"] == 0,
                 what="the end of it")
        for body in (SMALL, ASIDE):
            assert nginx.post("/log", body).status == 204
        assert payloads(nginx) == {SMALL: 1, ASIDE: 2}


@pytest.mark.parametrize("when", ["before", "after"])
def test_second_ring_killed(tmp_path, faults, when):
    """kill -9 before and after the bytes are written: the request that is
    repeated with its key is stored once."""
    key = {"Idempotency-Key": "a"}
    with aside(tmp_path, preload=faults.so, env=faults.env,
               http="logbroker_write_timeout 60s;") as nginx:
        worker = nginx.workers()[0]
        with in_flight(nginx, faults, key) as large:
            faults.set("point", f"ring.write.{when} 1 9")
        with pytest.raises(OSError):
            large.result()
        assert (faults.dir / "reached").exists()
        wait_for(lambda: set(nginx.workers()) - {worker} and nginx.connects(),
                 what="a new worker")
        wait_for(lambda: nginx.post("/log", ASIDE, key).status == 204,
                 what="the key to be known")
        assert nginx.post("/log", ASIDE + SMALL, key).status == 422
        assert payloads(nginx) == {ASIDE: 1}


def test_second_ring_client_leaves(tmp_path, faults):
    """Its record is stored whole, nobody is answered."""
    with aside(tmp_path, preload=faults.so, env=faults.env,
               http="logbroker_write_timeout 60s;") as nginx:
        faults.set("hang_large", 1)
        with socket.create_connection(("127.0.0.1", nginx.port)) as s:
            s.sendall(b"POST /log HTTP/1.1\r\nHost: x\r\n"
                      b"Content-Length: %d\r\n\r\n" % len(ASIDE) + ASIDE)
            wait_for((faults.dir / "hanging").exists, what="the write")
        assert nginx.post("/log", SMALL).status == 204
        faults.clear("hang_large")
        wait_for(lambda: nginx.status()["waiting"] == 0, what="its end")
        assert nginx.post("/log", ASIDE).status == 204
        assert payloads(nginx) == {ASIDE: 2, SMALL: 1}


@pytest.mark.parametrize("busy", [True, False])
def test_second_ring_and_reload(tmp_path, faults, busy):
    """Held idle, it is given to the worker that follows; a write that runs is
    waited for and answered."""
    with aside(tmp_path, rings=3, preload=faults.so, env=faults.env,
               http="logbroker_write_timeout 60s;") as nginx:
        old = nginx.workers()
        if busy:
            with in_flight(nginx, faults) as large:
                nginx.send(signal.SIGHUP)
                wait_for(lambda: set(nginx.workers()) - set(old),
                         what="a new worker")
                assert nginx.post("/log", SMALL).status == 204
                assert old[0] in nginx.workers()
            assert large.result().status == 204
        else:
            assert nginx.post("/log", ASIDE).status == 204
            assert locked(nginx) == 2
            nginx.send(signal.SIGHUP)
            wait_for(lambda: set(nginx.workers()) - set(old),
                     what="a new worker")
            assert nginx.post("/log", SMALL).status == 204
        wait_for(lambda: not set(nginx.workers()) & set(old),
                 what="the old worker to go")
        assert payloads(nginx) == {ASIDE: 1, SMALL: 1}


def test_second_ring_and_upgrade(tmp_path):
    """Workers of another master find a ring, however long large bodies come
    one after the other: none is refused."""
    with aside(tmp_path, size="512m", rings=2) as nginx:
        stop = threading.Event()

        def client():
            c = nginx.connect()
            while not stop.is_set():
                assert nginx.post("/log", ASIDE, conn=c).status == 204
            return True

        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            try:
                jobs = [pool.submit(client) for _ in range(2)]
                wait_for(lambda: locked(nginx) == 2, what="the second ring")
                other = Nginx(tmp_path / "other", http=BIG)
                other.spool = nginx.spool
                other.write_conf(spool="size=512m rings=2", http=BIG)
                with other:
                    assert other.post("/log", SMALL).status == 204
                    assert other.status()["worker"]["slot"] is not None
                    stop.set()
                    assert all(j.result() for j in jobs)
            finally:
                stop.set()


def test_second_ring_is_deleted(tmp_path):
    """What is answered 204 is in a file that is there."""
    with aside(tmp_path, rings=3) as nginx:
        assert nginx.post("/log", ASIDE).status == 204
        mine = {r.slot for r in spool.rings(nginx.spool)
                if r.cell.committed}
        assert len(mine) == 1
        (nginx.spool / f"ring-{mine.pop():04d}").unlink()
        got = nginx.post("/log", ASIDE).status
        assert got in (204, 502)
        wait_for(lambda: nginx.post("/log", ASIDE).status == 204,
                 what="another ring")
        assert nginx.post("/log", SMALL).status == 204
        assert payloads(nginx) == {ASIDE: 1 + (got == 204), SMALL: 1}
