"""Many small requests that an edge carries to a broker as one: each has the answer
it would have had by itself, is stored once or not at all, and no other broker gets
what may be stored."""

import collections
import contextlib
import errno
import http.client
import json
import os
import random
import signal
import socket
import time

import pytest

from env import spool
from env.broker import GATHERED, Broker
from env.edge import REFUSAL, Edge, Script, ShippedBroker, stored
from env.http import post
from env.nginx import Nginx
from env.oracle import Oracle
from env.process import state, wait_for

SEED = int(os.environ.get("LB_SEED", "20261127"))


def request(body, path="/log", headers=()):
    if isinstance(body, str):
        body = body.encode()
    lines = [f"POST {path} HTTP/1.1", "Host: edge",
             f"Content-Length: {len(body)}",
             *(f"{k}: {v}" for k, v in
               (headers.items() if headers else ()))]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def answer(sock):
    response = http.client.HTTPResponse(sock)
    response.begin()
    return response.status, dict(response.getheaders()), response.read()


class Held:
    """What is sent meanwhile comes to the edge's worker at once."""

    def __init__(self, edge):
        self.pids = edge.workers()

    def __enter__(self):
        for pid in self.pids:
            # it waits for events, and is not in the midst of some
            wait_for(lambda pid=pid: state(pid) == "S", what="a quiet worker")
            os.kill(pid, signal.SIGSTOP)
            wait_for(lambda pid=pid: state(pid) == "T", what="it to stop")

    def __exit__(self, *exc):
        for pid in self.pids:
            os.kill(pid, signal.SIGCONT)


def accepted(port):
    """Nothing waits in the listener's queue."""
    with open("/proc/net/tcp") as f:
        for line in f:
            _, address, _, state, queues, *_ = line.split()
            if state == "0A" and address.endswith(f":{port:04X}"):
                return int(queues.split(":")[1], 16) == 0
    return False


@pytest.fixture
def connect():
    with contextlib.ExitStack() as stack:
        def make(edge, n=1, timeout=30):
            socks = [stack.enter_context(socket.create_connection(
                ("127.0.0.1", edge.port), timeout)) for _ in range(n)]
            wait_for(lambda: accepted(edge.port), what="the edge to accept")
            return socks

        yield make


def together(edge, connect, requests):
    """Their answers, in order."""
    socks = connect(edge, len(requests))
    with Held(edge):
        for sock, text in zip(socks, requests):
            sock.sendall(text)
    return [answer(s) for s in socks]


def event(n):
    return json.dumps({"n": n})


def numbers(*spools):
    return sorted(json.loads(e)["n"] for s in spools for e in spool.events(s))


@pytest.fixture
def logged(tmp_path):
    """A broker that tells what it was asked."""
    with Nginx(tmp_path / "logged", server=GATHERED) as nginx:
        yield nginx


def asked(nginx):
    """How often for many, and how often for one."""
    count = collections.Counter(line.split()[2] for line in nginx.access())
    return count.pop("/gathered", 0), sum(
        n for path, n in count.items() if path.startswith("/log"))


def grouped(nginx):
    """A line is written behind its answer."""
    wait_for(lambda: asked(nginx)[0] > 0, what="a group")


def test_as_one(logged, make_edge, connect):
    edge = make_edge([logged.port])
    answers = together(edge, connect, [request(event(n)) for n in range(40)])
    assert {a[0] for a in answers} == {204}
    assert numbers(logged.spool) == list(range(40))
    grouped(logged)
    assert asked(logged)[1] == 0
    # a record each, as ever
    assert len(spool.records(logged.spool)) == 40


MIXED = [
    ("{}", "/log", {}), ("{]", "/log", {}), ("", "/log", {}),
    ('{"a":1}\n{"b":2}', "/log/app", {}), ("[{}, {}]", "/log/app", {}),
    ("{}", "/log/a/b", {}), ("{}", "/log/" + "x" * 65, {}),
    ("line\nline", "/log/text", {"Content-Type": "text/plain"}),
    ("{}", "/log", {"Content-Type": "application/xml"}),
    ("{}", "/log", {"Content-Type": "application/json; charset=latin1"}),
    ("a=b&c=d", "/log", {"Content-Type": "application/x-www-form-urlencoded"}),
    ('"text"', "/log", {}), ('{"a":"\\ud800"}', "/log", {}),
    (b'{"a":"\xff"}', "/log", {}), ("[]", "/log", {}),
    ("{}", "/log?a=b", {"X-Request-ID": "12345678-mine"}),
    ("{}" * 4000, "/log", {}), ('{"a":"%s"}' % ("x" * 15000), "/log", {}),
    ('{"a":"%s"}' % ("x" * 20000), "/log", {}),
    ("{}", "/log", {"Origin": "https://shop.example"}),
    ("{}", "/log", {"Idempotency-Key": "once"}),
    ("{}", "/log", {"Idempotency-Key": ""}),
    ("{}", "/log", {"Logplex-Frame-Id": ""}),
    ("{}", "/log", {"Content-Encoding": ""}),
    ("{}", "/log", {"Content-Encoding": "\r\nContent-Encoding: gzip"}),
    ("{}", "/log", {"Idempotency-Key": "\r\nIdempotency-Key: again"}),
    ("{}", "/log", {"X-Logbroker-Streams": "mine", "X-Forwarded-For": "1.2.3.4"}),
    ("{}", "/log", {"Content-Encoding": "identity"}),
    ("no gzip", "/log", {"Content-Encoding": "gzip"}),
    ("{}", "/log", {"Expect": "100-continue"}),
    ("{}", "/log", {"Connection": "close"}),
]


def test_each_has_its_own_answer(logged, make_edge, connect):
    """Status, headers and words are those of a request that comes alone."""
    def plain(a):
        status, headers, body = a
        return status, {k: v for k, v in headers.items() if k not in (
            "Date", "X-Request-ID")}, body

    edge = make_edge([logged.port])
    requests = [request(*m) for m in MIXED]
    alone = []
    for r in requests:
        sock, = connect(edge)
        sock.sendall(r)
        alone.append(answer(sock))
    before = collections.Counter(
        (r.stream, r.client, r.payload) for r in spool.records(logged.spool))
    assert asked(logged)[0] == 0
    order = list(range(len(requests)))
    random.Random(SEED).shuffle(order)
    answers = together(edge, connect, [requests[i] for i in order])
    grouped(logged)
    for i, a in zip(order, answers):
        assert plain(a) == plain(alone[i]), MIXED[i]
        assert ("X-Request-ID" in a[1]) == ("X-Request-ID" in alone[i][1])
    after = collections.Counter(
        (r.stream, r.client, r.payload) for r in spool.records(logged.spool))
    keyed = sum(a[0] == 204 and "Idempotency-Key" in m[2]
                for m, a in zip(MIXED, alone))
    assert sum(after.values()) == 2 * sum(before.values()) - keyed
    assert set(after) == set(before)


def test_client_and_log(tmp_path, connect):
    """The address is the client's, who was asked is in the edge's log, and what
    is measured is the answer to each."""
    with ShippedBroker(tmp_path / "b") as broker:
        broker.count = 1
        wait_for(broker.ready, what="a ring")
        with Edge(tmp_path / "edge", [broker.port]) as edge:
            answers = together(edge, connect,
                               [request(event(n)) for n in range(20)])
            assert {a[0] for a in answers} == {204}
            # a line is written behind its answer
            wait_for(lambda: len(edge.access()) == 20, what="the log")
            log = [json.loads(line) for line in edge.access()]
        assert {r.client for r in spool.records(broker.spool)} == {
            socket.inet_aton("127.0.0.1")}
    assert {(e["status"], e["broker"], e["broker_status"]) for e in log} == {
        (204, f"127.0.0.1:{broker.port}", "204")}
    assert len({e["id"] for e in log}) == len(log) == 20


def test_only_an_edge_may(tmp_path):
    """Whoever is inside the network and no edge does not say whose events are
    whose."""
    with ShippedBroker(tmp_path / "b", TRUSTED="192.0.2.1") as broker:
        broker.count = 1
        wait_for(broker.ready, what="a ring")
        for headers in ({}, {"X-Forwarded-For": "0.0.0.0"}):
            assert post(broker.port, "", "/gathered", headers)[0] == 403


def test_edge_does_not_pass_it_on(brokers, make_edge):
    edge = make_edge([b.port for b in brokers])
    assert post(edge.port, "{}", "/gathered")[0] == 404


def test_even(brokers, make_edge, connect):
    """A group counts as many requests as it has, among those that come alone."""
    edge = make_edge([b.port for b in brokers])
    rng = random.Random(SEED)
    n = 0
    for _ in range(30):
        size = rng.choice([1, 1, 2, 7, 30])
        answers = together(edge, connect, [request("{}")] * size)
        assert {a[0] for a in answers} == {204}
        n += size
    shares = [stored(b) for b in brokers]
    assert sum(shares) == n
    assert abs(shares[0] - shares[1]) <= 30


def test_even_without_one(brokers, make_edge, connect):
    """One that was away for a while does not get all that it has missed."""
    edge = make_edge([b.port for b in brokers])
    brokers[0].nginx.stop()
    for _ in range(20):
        assert {a[0] for a in together(
            edge, connect, [request("{}")] * 20)} == {204}
    brokers[0].start_nginx()
    wait_for(lambda: post(edge.port, "{}")[0] == 204 and stored(brokers[0]),
             what="the broker to be asked again", timeout=30)
    before = [stored(b) for b in brokers]
    for _ in range(20):
        assert {a[0] for a in together(
            edge, connect, [request("{}")] * 20)} == {204}
    shares = [stored(b) - n for b, n in zip(brokers, before)]
    assert sum(shares) == 400
    assert abs(shares[0] - shares[1]) <= 80, shares


def test_stopped_broker(brokers, make_edge, connect):
    edge = make_edge([b.port for b in brokers])
    brokers[0].nginx.stop()
    for _ in range(5):
        assert {a[0] for a in together(
            edge, connect, [request("{}")] * 10)} == {204}
    assert stored(brokers[1]) == 50


def test_explicit_503(brokers, make_edge, connect):
    """Nothing of the group is stored, and another broker gets it, one by one."""
    script = Script(REFUSAL)
    edge = make_edge([script.port, brokers[0].port])
    for _ in range(5):
        assert {a[0] for a in together(
            edge, connect, [request("{}")] * 10)} == {204}
    assert stored(brokers[0]) == 50
    assert script.requests > 0


def test_one_finds_out(brokers, make_edge, connect):
    """A group that got no answer is as many failures as it has requests; the
    broker is tried again by one request, as ever."""
    script = Script(None)
    edge = make_edge([script.port, brokers[0].port], replace=[
        ("fail_timeout=10s", "fail_timeout=1s")])

    def burst():
        before = script.requests
        lost = sum(a[0] == 502 for a in together(
            edge, connect, [request("{}")] * 10))
        return script.requests - before, lost

    wait_for(lambda: burst() and script.requests, what="a failure", every=0)
    assert script.requests == 1
    assert burst() == (0, 0)
    tried, lost = wait_for(lambda: (b := burst())[0] and b,
                           what="another try")
    assert (tried, lost) == (1, 1)


def said(text, status="204 No Content"):
    return (f"HTTP/1.1 {status}\r\n{text}Connection: close\r\n\r\n").encode()


@pytest.mark.parametrize("says", [
    None, said(""), said("X-Logbroker-Gathered: +++\r\n"),
    said("X-Logbroker-Gathered: %s\r\n" % ("+" * 11)),
    said("X-Logbroker-Gathered: xxxxxxxxxx\r\n"),
    said("X-Logbroker-Gathered: ++++++++++\r\nContent-Length: 0\r\n", "200 OK"),
    said("Content-Length: 0\r\n", "500 Oh"),
    said("Content-Length: 0\r\n", "502 Bad Gateway"),
    b"HTTP/1.1 204", b"nothing of HTTP\r\n\r\n"],
    ids=["none", "no word", "too few", "too many", "strange", "200", "500",
         "502", "cut", "no HTTP"])
def test_no_clear_answer_is_not_repeated(brokers, make_edge, connect, says):
    """A broker that took the group and does not say what became of it: each
    client is told, and nobody else gets it."""
    script = Script(says)
    edge = make_edge([script.port, brokers[0].port])
    statuses = collections.Counter()
    for _ in range(2):
        for a in together(edge, connect, [request("{}")] * 10):
            statuses[a[0]] += 1
            if a[0] == 502:
                assert b"stored or not" in a[2]
                assert a[1]["Retry-After"] == "1"
                assert a[1]["Content-Type"] == "application/json"
    assert statuses == {204: 10, 502: 10}
    assert script.requests == 1
    assert stored(brokers[0]) == 10


@pytest.mark.parametrize("location", [
    "", "location = /gathered { deny all; }",
    "location = /gathered { return 400; }"], ids=["404", "403", "400"])
def test_broker_of_an_older_release(tmp_path, make_edge, connect, location):
    """It knows no groups: each goes by itself, and no group for a while."""
    with Nginx(tmp_path / "old", server=location) as broker:
        edge = make_edge([broker.port])
        for i in range(3):
            answers = together(edge, connect,
                               [request(event(i * 10 + n)) for n in range(10)])
            assert {a[0] for a in answers} == {204}
        # a line is written behind its answer
        wait_for(lambda: asked(broker) == (1, 30), what="one group")
        assert numbers(broker.spool) == list(range(30))


def test_one_of_them_is_unknown(tmp_path, make_edge, connect, faults):
    """A disk that fails in the middle of a write: all of the group are told
    502, none goes elsewhere, and a recovery may find them."""
    with Nginx(tmp_path / "a", preload=faults.so, env=faults.env,
               server=GATHERED) as a, \
            Nginx(tmp_path / "b", server=GATHERED) as b:
        edge = make_edge([a.port, b.port])
        faults.set("fail_cells", errno.EIO)
        acked, unknown = [], []
        for i in range(6):
            batch = range(i * 10, i * 10 + 10)
            for n, (status, _, body) in zip(batch, together(
                    edge, connect, [request(event(n)) for n in batch])):
                assert status in (204, 502), (status, body)
                (acked if status == 204 else unknown).append(n)
        assert len(unknown) == 10
        faults.clear("fail_cells")
        a.kill()
        a.start()
        wait_for(lambda: sum(r["recovered"] for r in a.status()["rings"]) == 10,
                 what="recovery")
        assert numbers(a.spool, b.spool) == sorted(acked + unknown)


def test_a_disk_that_hangs(tmp_path, make_edge, connect, faults):
    """Those of the write that hangs are told 502 in time; the others of the same
    group are not stored there, and go to another broker."""
    with Nginx(tmp_path / "a", preload=faults.so, env=faults.env,
               server=GATHERED) as a, \
            Nginx(tmp_path / "b", server=GATHERED) as b:
        edge = make_edge([a.port, b.port])
        faults.set("hang", 1)
        try:
            begin = time.monotonic()
            acked, unknown = [], []
            socks = connect(edge, 40)
            for i in range(4):
                with Held(edge):
                    for n in range(i * 10, i * 10 + 10):
                        socks[n].sendall(request(event(n)))
                time.sleep(0.05)
            for n, sock in enumerate(socks):
                status, _, body = answer(sock)
                assert status in (204, 502), (status, body)
                (acked if status == 204 else unknown).append(n)
            assert time.monotonic() - begin < 4
            assert len(unknown) == 10
        finally:
            faults.clear("hang")
        wait_for(lambda: a.status()["disk_hangs_seconds"] == 0,
                 what="the disk to answer")
        assert set(acked) <= set(numbers(a.spool, b.spool)) <= {
            *acked, *unknown}
        found = numbers(a.spool, b.spool)
        assert len(found) == len(set(found))


def test_a_full_ring(tmp_path, make_edge, connect):
    """Those that found room 204, the others 503, and 503 are not stored."""
    with Nginx(tmp_path / "full", spool="size=1m rings=1",
               server=GATHERED) as broker:
        edge = make_edge([broker.port])
        acked, refused = [], []
        for i in range(30):
            batch = range(i * 10, i * 10 + 10)
            for n, (status, headers, _) in zip(batch, together(
                    edge, connect, [request(json.dumps(
                        {"n": n, "pad": "x" * 9000})) for n in batch])):
                assert status in (204, 503)
                (acked if status == 204 else refused).append(n)
                if status == 503:
                    assert headers["Retry-After"] == "1"
        assert refused and acked
        assert numbers(broker.spool) == acked


def test_a_broker_that_hangs_holds_up_nobody_else(brokers, make_edge, connect):
    """Its own groups end within eight seconds; those after them go to others."""
    edge = make_edge([b.port for b in brokers])
    hung = brokers[0].nginx.workers()
    for pid in hung:
        os.kill(pid, signal.SIGSTOP)
    try:
        socks = connect(edge, 40)
        begin = time.monotonic()
        for i in range(4):
            with Held(edge):
                for sock in socks[i * 10:i * 10 + 10]:
                    sock.sendall(request("{}"))
            time.sleep(0.02)
        statuses, seconds = [], []
        for sock in socks:
            statuses.append(answer(sock)[0])
            seconds.append(time.monotonic() - begin)
    finally:
        for pid in hung:
            os.kill(pid, signal.SIGCONT)
    assert collections.Counter(statuses) == {204: 20, 502: 20}
    assert max(seconds) < 8
    assert stored(brokers[1]) == 20


def test_clients_that_leave(logged, make_edge, connect):
    """Whoever has sent its request and gone takes nobody with it: neither the
    first of a group, whose request carries the others, nor any."""
    edge = make_edge([logged.port])
    rng = random.Random(SEED)
    sent = answered = 0
    for _ in range(20):
        socks = connect(edge, 20)
        leaving = {0, *rng.sample(range(20), 5)}
        with Held(edge):
            for i, sock in enumerate(socks):
                sock.sendall(request(event(sent)))
                sent += 1
                if i in leaving:
                    if rng.random() < 0.5:  # by RST
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                        b"\1\0\0\0\0\0\0\0")
                    sock.close()
        for i, sock in enumerate(socks):
            if i not in leaving:
                assert answer(sock)[0] == 204
                answered += 1
    grouped(logged)
    found = numbers(logged.spool)
    assert len(found) == len(set(found))
    assert answered <= len(found) <= sent


def test_pipelined(logged, make_edge, connect):
    """Requests one behind the other on each connection, answered in order."""
    edge = make_edge([logged.port])
    socks = connect(edge, 10)
    with Held(edge):
        for i, sock in enumerate(socks):
            sock.sendall(b"".join(
                request("{]" if n % 3 == 2 else event(i * 10 + n))
                for n in range(9)))
    for sock in socks:
        got = b""
        while got.count(b"HTTP/1.1 ") < 9 or not got.endswith(
                (b"\r\n\r\n", b"}\n")):
            more = sock.recv(65536)
            assert more, got
            got += more
        assert [int(s[:3]) for s in got.split(b"HTTP/1.1 ")[1:]] == [
            204, 204, 400] * 3
    assert numbers(logged.spool) == sorted(
        i * 10 + n for i in range(10) for n in range(9) if n % 3 != 2)


TOKEN = "a-token-of-the-shop"


def test_senders(logged, make_edge, connect):
    """Who may send, where to, and what is counted: as one by one."""
    import hashlib
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    edge = make_edge([logged.port], senders=(
        f"logbroker_sender shop token={digest} streams=shop,web;\n"))
    known = {"Authorization": f"Bearer {TOKEN}"}
    answers = together(edge, connect, [
        request("{}", headers=known), request("{}", "/log/web", known),
        request("{}", "/log/other", known), request("{}")] * 5)
    assert [a[0] for a in answers] == [204, 204, 403, 401] * 5
    grouped(logged)
    assert collections.Counter(r.stream for r in spool.records(logged.spool)) \
        == {"shop": 5, "web": 5}


def test_reload_of_an_edge(logged, make_edge):
    edge = make_edge([logged.port])
    with Oracle([edge.port], threads=16, events=1, seed=SEED) as oracle:
        for _ in range(4):
            n = oracle.count()
            wait_for(lambda n=n: oracle.count() > n + 300, what="events")
            old = set(edge.workers())
            edge.send(signal.SIGHUP)
            wait_for(lambda old=old: set(edge.workers()) - old,
                     what="new workers")
    grouped(logged)
    assert set(oracle.statuses) <= {204, None}, oracle.statuses
    found = [json.loads(e)["message"] for e in spool.events(logged.spool)]
    assert len(found) == len(set(found))
    assert oracle.acked <= set(found) <= oracle.acked | oracle.unknown


def test_kills(tmp_path, clickhouse, make_edge):
    """Workers, whole brokers and flushers killed, edges too, under many
    clients: what was acknowledged is there once, what was refused is not."""
    made = [Broker(tmp_path / f"k{i}", [clickhouse.url], name=f"k{i}", index=i,
                   count=2, workers=1) for i in range(2)]
    rng = random.Random(SEED)
    try:
        for b in made:
            b.start()
        edge = make_edge([b.port for b in made])
        with Oracle([edge.port], threads=24, events=1, seed=SEED) as oracle:
            for _ in range(10):
                n = oracle.count()
                wait_for(lambda n=n: oracle.count() > n + 200, what="events",
                         timeout=60)
                b = rng.choice(made)
                what = rng.choice(["worker", "nginx", "reload", "edge"])
                if what == "worker":
                    b.kill_worker(rng)
                elif what == "nginx":
                    b.kill_nginx()
                    b.start_nginx(ready=False)
                elif what == "reload":
                    b.reload()
                else:
                    for pid in edge.workers():
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: all(b.drained() for b in made), 90,
                 "everything delivered", every=0.2)
        oracle.verify(clickhouse)
    finally:
        for b in made:
            b.stop()
