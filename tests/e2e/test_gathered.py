"""Many requests to /log in one body, as a broker judges and stores each; the body
is made here, byte by byte (event/frames.h)."""

import collections
import concurrent.futures
import errno
import http.client
import itertools
import json
import random
import socket
import struct
import threading

import pytest

from env import spool
from env.build import ROOT
from env.edge import ShippedBroker
from env.nginx import Nginx
from env.process import wait_for

EDGE = {"X-Forwarded-For": "0.0.0.0"}
MAGIC = b"lbgroup1"
CORPUS = ROOT / "tests/fuzz/corpus"
MOST = 512

GATHERED = """
    client_body_buffer_size 256k;
    location = /gathered { logbroker_gathered /log; %s }
"""


def frame(body=b"{}", path="/log", kind="", streams="", client=b""):
    if isinstance(body, str):
        body = body.encode()
    words = [w.encode() for w in (path, kind, streams)]
    return struct.pack("<IHHHBB", len(body), *map(len, words), len(client),
                       0) + client + b"".join(words) + body


def group(*frames):
    return MAGIC + b"".join(frames)


def gathered(broker, body, headers=None, conn=None):
    return broker.post("/gathered", body,
                       EDGE if headers is None else headers, conn)


def judged(broker, *frames, conn=None):
    """A character for each."""
    a = gathered(broker, group(*frames), conn=conn)
    assert a.status == 204, a
    said = a.headers["X-Logbroker-Gathered"]
    assert len(said) == len(frames) and set(said) <= set("+-?"), said
    return said


def events(n, count=10):
    return [frame('{"n":%d}' % (n + i)) for i in range(count)]


def numbers(broker):
    return [json.loads(e)["n"] for e in spool.events(broker.spool)]


@pytest.fixture
def broker(tmp_path):
    with ShippedBroker(tmp_path / "b", size="16m") as b:
        b.count = 1
        wait_for(b.ready, what="a ring")
        yield b


def test_each_is_a_request(broker):
    """With what it says of itself, and in order; what is bad among them keeps
    none out."""
    v4, v6 = bytes([192, 0, 2, 7]), bytes.fromhex("20010db8") + bytes(12)
    assert judged(
        broker,
        frame('{"n": 1}', client=v4),
        frame("one\ntwo", "/log/app", "text/plain", client=v6),
        frame("{]", client=v4),
        frame('[{"n":2},{"n":3}]', "/log/web", "application/json",
              "app,web"),
        frame('{"n":4}', streams="app,web"),
    ) == "++-++"
    records = spool.records(broker.spool)
    assert [(r.stream, r.client, r.events, r.key) for r in records] == [
        ("default", v4, 1, None), ("app", v6, 2, None), ("web", b"", 2, None),
        ("app", b"", 1, None)]
    assert [json.loads(e) for e in spool.events(broker.spool)] == [
        {"n": 1}, {"message": "one"}, {"message": "two"}, {"n": 2}, {"n": 3},
        {"n": 4}]


BODIES = [
    b"", b"\n", b" ", b"{}", b"[]", b'{"a":"\xff"}', b'{"a":"\0"}', b"\0",
    b"a\0b", b"\xff\xfe", b'\xef\xbb\xbf{"a":1}', b'{"a":1}{"b":2}', b"1",
    b'"a"', b'{"a":1}\r\n{"b":2}\r\n', b'{"a":1} x', b"one\r\n\r\ntwo\n",
    b"\xc0\x80", b"\xed\xa0\x80", b'{"a":"\\ud800"}', b"{" * 70,
    b'{"a":' * 2000 + b"1" + b"}" * 2000, b"x" * 16384,
    b'{"a":"%s"}' % (b"x" * 16000),
]
TYPES = [
    "", "application/json", "application/x-ndjson", "text/plain",
    "text/plain; charset=utf-8", "Text/Plain;Charset=UTF-8",
    'text/plain; charset="utf-8"', "text/plain; charset=latin1",
    "application/json; charset=utf-16", "image/png", "text", ";",
    "application/x-www-form-urlencoded", "x" * 2000]


def test_as_log_judges(broker):
    """The same bodies of the same types, to /log and as one: the same are taken,
    and the same is stored of them."""
    bodies = BODIES + [p.read_bytes() for p in
                       sorted((CORPUS / "scanner").iterdir())]
    conn = broker.connect()
    seen = collections.Counter()
    for kind in TYPES:
        headers = {"Content-Type": kind} if kind else {}
        before = len(spool.records(broker.spool))
        wanted = ["+" if broker.post("/log", b, headers, conn).status == 204
                  else "-" for b in bodies]
        alone = spool.records(broker.spool)[before:]
        said = judged(broker, *(frame(b, kind=kind) for b in bodies),
                      conn=conn)
        assert list(said) == wanted, kind
        together = spool.records(broker.spool)[before + len(alone):]
        assert [(r.payload, r.events) for r in together] \
            == [(r.payload, r.events) for r in alone], kind
        seen.update(wanted)
    assert seen["+"] > 50 and seen["-"] > 50, seen


def test_logplex(broker):
    """Has an answer that is no 204: by itself it gets it."""
    line = "<40>1 2026-03-04T05:06:07+00:00 h app web.1 - x\n"
    body = f"{len(line)} {line}"
    kind = "application/logplex-1"
    assert judged(broker, frame(body, kind=kind), frame()) == "-+"
    assert len(spool.records(broker.spool)) == 1


NAMES = ["/log", "/log/", "/log/app", "/log/a.b_c-D9", "/log/" + "a" * 64,
         "/log/" + "a" * 65, "/log/a/b", "/log/a/", "/log/ä",
         "/log/a b", "/log/*"]
LISTS = ["", "app", "web,app", "default", "web", "a.b_c-D9,default"]


def test_streams(broker):
    """As /log, to which the edge says the same in a header: those of the list
    alone, the first one where none is named."""
    conn = broker.connect()
    cases = list(itertools.product(NAMES, LISTS))
    wanted = [broker.post(path.replace("ä", "%c3%a4").replace(" ", "%20"),
                          "{}", {"X-Logbroker-Streams": names} if names
                          else {}, conn).status == 204
              for path, names in cases]
    alone = [r.stream for r in spool.records(broker.spool)]
    said = judged(broker, *(frame("{}", path, streams=names)
                            for path, names in cases))
    assert [c == "+" for c in said] == wanted
    assert [r.stream for r in spool.records(broker.spool)] == 2 * alone
    assert "app" in alone and "web" in alone and "default" in alone


def test_another_path(broker):
    """Whose path does not begin with the prefix goes the way of its own location,
    which is another one."""
    said = judged(broker, *(frame("{}", path) for path in (
        "/other", "", "/", "/lo", "log", "/logx", "/log")))
    assert "".join(said) == "------+"


def cut(whole):
    ends = set(itertools.accumulate(map(len, [MAGIC, *events(0, 3)])))
    return [whole[:n] for n in range(len(whole)) if n not in ends - {8}]


def test_no_group(broker):
    """400, and nothing is stored of what came before the mistake."""
    good = frame()
    whole = group(*events(0, 3))
    conn = broker.connect()
    rng = random.Random(20261127)
    for body in [
            b"{}", b'{"n":1}\n', MAGIC, b"lbgroup2" + good, good,
            MAGIC.upper() + good, whole + b"\n", whole + MAGIC + good,
            group(good, frame(client=b"12345")),
            group(good, frame(client=b"1")),
            group(good, frame(path="/" * 4096, kind="a")),
            group(good, frame(streams="a" * 4097)),
            group(good, good[:11] + b"\1" + good[12:]),
            group(good, b"\xff\xff\xff\xff" + good[4:]),
            rng.randbytes(1000), MAGIC + rng.randbytes(1000),
            *cut(whole)]:
        a = gathered(broker, body, conn=conn)
        assert a.status == 400, (body, a)
        assert a.headers["X-Logbroker-Gathered"] is None
    assert not spool.records(broker.spool)
    assert judged(broker, *events(0, 3), conn=conn) == "+++"


def test_how_many(broker):
    assert gathered(broker, group(*events(0, MOST + 1))).status == 400
    assert not spool.records(broker.spool)
    assert judged(broker, *events(0, MOST)) == "+" * MOST
    assert numbers(broker) == list(range(MOST))


def test_how_large(broker):
    """A group that is no longer in memory in one piece is none; a body that is
    too large for its place is refused by itself."""
    body = b'{"a":"%s"}' % (b"x" * 20000)
    assert gathered(broker, group(*[frame(body)] * 14)).status == 413
    assert not spool.records(broker.spool)
    large = b'{"a":"%s"}' % (b"x" * 200_000)
    assert judged(broker, frame(), frame(large), frame())[::2] == "++"


def test_in_chunks(broker):
    """An edge does not send it so: all of it or nothing."""
    parts = [group(), *events(0, 3)]
    conn = broker.connect()
    conn.request("POST", "/gathered", iter(parts), EDGE, encode_chunked=True)
    r = conn.getresponse()
    r.read()
    said = r.getheader("X-Logbroker-Gathered")
    assert (r.status, said) in ((204, "+++"), (400, None))
    assert len(spool.records(broker.spool)) == (3 if said else 0)


def test_who_may(broker):
    for headers in ({}, {"X-Forwarded-For": "192.0.2.1"},
                    {"X-Forwarded-For": "0.0.0.0, 192.0.2.1"}):
        assert gathered(broker, group(*events(0)), headers).status == 403
    assert broker.request("GET", "/gathered", None, EDGE).status == 405
    assert broker.request("PUT", "/gathered", group(*events(0)),
                          EDGE).status == 405
    assert not spool.records(broker.spool)


@pytest.mark.parametrize("other", [
    "logbroker_success 200;", "logbroker_stream $http_x_stream;",
    "logbroker_stream fixed;", "logbroker_deduplicate on;"])
@pytest.mark.parametrize("where", ["server", "location"])
def test_where_a_request_is_another(tmp_path, other, where):
    """What it does is not all that such a broker does with a request: there is
    no such thing here, and an edge sends each by itself."""
    with Nginx(tmp_path, server=GATHERED % other if where == "location"
               else other + GATHERED % "") as broker:
        assert gathered(broker, group(*events(0))).status == 404
        assert not spool.records(broker.spool)


def test_full(tmp_path):
    """Nothing is stored of what has no room, and there is room again."""
    with Nginx(tmp_path, spool="size=64k rings=1",
               server=GATHERED % "") as broker:
        pad = "x" * 3000
        said = "".join(judged(broker, *(
            frame(json.dumps({"n": 10 * i + k, "pad": pad}))
            for k in range(10))) for i in range(4))
        assert set(said) == {"+", "-"}
        stored = [n for n, c in enumerate(said) if c == "+"]
        assert numbers(broker) == stored
        ring, = spool.rings(broker.spool)
        ring.ack()
        wait_for(lambda: judged(broker, frame('{"n":99}')) == "+",
                 what="room")
        assert numbers(broker) == [99]


def test_disk_that_fails(tmp_path, faults):
    """In the middle of the write: nobody knows, and a recovery finds them; what
    comes later is stored or not, as it says."""
    with Nginx(tmp_path / "a", preload=faults.so, env=faults.env,
               server=GATHERED % "") as broker:
        faults.set("fail_cells", errno.EIO)
        assert judged(broker, *events(0), frame("{]")) == "?" * 10 + "-"
        faults.clear("fail_cells")
        told = wait_for(lambda: (said := judged(broker, *events(10)))
                        != "-" * 10 and said, what="another ring")
        assert told == "+" * 10
        broker.kill()
        broker.start()
        wait_for(lambda: sum(r["recovered"] for r in
                             broker.status()["rings"]) >= 10,
                 what="recovery")
        assert sorted(numbers(broker)) == list(range(20))


def test_edge_that_leaves(tmp_path, faults):
    """While its groups are written, and parked behind a write: they are stored
    or not, and nobody else is hurt."""
    with Nginx(tmp_path / "a", preload=faults.so, env=faults.env,
               server=GATHERED % "") as broker:
        faults.set("delay", 300)
        for n in range(4):
            body = group(*events(10 * n))
            with socket.create_connection(("127.0.0.1", broker.port)) as s:
                s.sendall(b"POST /gathered HTTP/1.1\r\nHost: b\r\n"
                          b"X-Forwarded-For: 0.0.0.0\r\nContent-Length: %d"
                          b"\r\n\r\n" % len(body) + body)
        assert judged(broker, *events(100)) == "+" * 10
        faults.clear("delay")
        found = numbers(broker)
        assert len(found) == len(set(found))
        assert set(range(100, 110)) <= set(found) \
            <= {*range(40), *range(100, 110)}


def test_killed(tmp_path):
    """With groups on their way: none that was said to be stored is lost, none is
    stored twice, and none that was refused is there."""
    told = {"+": set(), "-": set(), "?": set()}
    counter = itertools.count()
    lock, stop = threading.Lock(), threading.Event()

    def send(broker):
        conn = broker.connect()
        while not stop.is_set():
            with lock:
                ns = [next(counter) for _ in range(20)]
            frames = [frame('{"n":%d}' % n if n % 20 else '{"n":%d' % n)
                      for n in ns]
            try:
                said = judged(broker, *frames, conn=conn)
            except (OSError, http.client.HTTPException):
                conn.close()
                conn = broker.connect()
                stop.wait(0.01)
                continue
            with lock:
                for n, c in zip(ns, said):
                    told[c].add(n)

    with Nginx(tmp_path, workers=2, spool="size=8m",
               server=GATHERED % "") as broker, \
            concurrent.futures.ThreadPoolExecutor(4) as pool:
        senders = [pool.submit(send, broker) for _ in range(4)]
        try:
            for _ in range(3):
                before = len(told["+"])
                wait_for(lambda n=before: len(told["+"]) > n + 1000,
                         what="events")
                broker.kill()
                broker.start()
        finally:
            stop.set()
        for s in senders:
            s.result(30)
        found = numbers(broker)
        assert len(found) == len(set(found))
        assert told["+"] <= set(found)
        assert told["-"] and not told["-"] & set(found)
