"""The edge, with the configuration that is shipped: balances evenly, and gives
a request to another broker only when nothing of it was stored."""

import collections
import http.client
import json
import os
import random
import re
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time

import pytest

from env.clickhouse import ClickHouse
from env.edge import Edge, ShippedBroker
from env.nginx import ROOT, children, free_port, wait_for
from env.broker import Broker, Oracle, post


class Script:
    """Stands in for a broker that behaves as scripted: reads a whole request,
    then sends the answer, or closes the connection without one."""

    def __init__(self, answer):
        self.answer = answer
        self.requests = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                c, _ = self.listener.accept()
            except OSError:
                return
            with c:
                data = b""
                while b"\r\n\r\n" not in data:
                    data += c.recv(65536)
                head, body = data.split(b"\r\n\r\n", 1)
                length = 0
                for line in head.split(b"\r\n"):
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                while len(body) < length:
                    body += c.recv(65536)
                self.requests += 1
                if self.answer:
                    c.sendall(self.answer)


REFUSAL = (b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\n"
           b"Content-Length: 2\r\nConnection: close\r\n\r\n{}")


@pytest.fixture
def brokers(tmp_path):
    made = [Broker(tmp_path / f"b{i}", ["http://127.0.0.1:9"],
                   name=f"b{i}") for i in range(2)]
    for b in made:
        b.start_nginx()
    for b in made:
        # a worker that has just started reads its keys back first
        wait_for(lambda: post(b.port, "{}", headers={
            "Idempotency-Key": "first"})[0] == 204, what="keys")
    yield made
    for b in made:
        b.stop()


@pytest.fixture
def make_edge(tmp_path):
    edges = []

    def make(ports, **kw):
        edges.append(Edge(tmp_path / f"edge{len(edges)}", ports, **kw))
        return edges[-1]

    yield make
    for e in edges:
        e.stop()


def stored(broker):
    """Without the first event."""
    return sum(r["next_seq"] for r in broker.status()["rings"]) - 1


def test_even(brokers, make_edge):
    edge = make_edge([b.port for b in brokers])
    for _ in range(100):
        assert post(edge.port, "{}")[0] == 204
    assert [stored(b) for b in brokers] == [50, 50]


def test_refusals_pass(brokers, make_edge):
    """The broker's own words and headers reach the client; the rest of the
    broker does not."""
    edge = make_edge([b.port for b in brokers])
    status, _, body = post(edge.port, "{]")
    assert status == 400 and b'"row": 1' in body
    assert post(edge.port, "", path="/status")[0] == 404
    assert post(edge.port, "", path="/log/app")[0] == 400


def test_stopped_broker(brokers, make_edge):
    """No connection: nothing was stored, the other one takes it."""
    edge = make_edge([b.port for b in brokers])
    brokers[0].nginx.stop()
    assert all(post(edge.port, "{}")[0] == 204 for _ in range(20))
    assert stored(brokers[1]) == 20


def test_explicit_503(brokers, make_edge):
    """A broker says that nothing was stored: the other one takes it."""
    script = Script(REFUSAL)
    edge = make_edge([script.port, brokers[0].port])
    assert all(post(edge.port, "{}")[0] == 204 for _ in range(10))
    assert stored(brokers[0]) == 10
    assert script.requests > 0


def test_503_everywhere(make_edge):
    """The client gets the 503 and when to come back."""
    edge = make_edge([Script(REFUSAL).port, Script(REFUSAL).port])
    status, headers, _ = post(edge.port, "{}")
    assert status == 503
    assert headers["Retry-After"] == "5"


def test_no_answer_is_not_repeated(brokers, make_edge):
    """A broker that takes a request and dies may have stored it: the client
    must be told, nobody else may get it."""
    script = Script(None)
    edge = make_edge([script.port, brokers[0].port])
    statuses = collections.Counter(
        post(edge.port, "{}")[0] for _ in range(10))
    assert set(statuses) == {204, 502}
    assert statuses[502] == script.requests
    assert stored(brokers[0]) == statuses[204]


def test_keys_stay_with_their_broker(brokers, make_edge):
    """Repetitions reach the broker that has the first attempt; while it is
    away they wait, whatever the other one could do."""
    edge = make_edge([b.port for b in brokers])

    def send(n):
        return post(edge.port, '{"n":%d}' % n,
                    headers={"Idempotency-Key": f"key-{n}"})

    for _ in range(3):
        assert [send(n)[0] for n in range(40)] == [204] * 40
    counts = [stored(b) for b in brokers]
    assert sum(counts) == 40 and min(counts) > 0
    brokers[0].nginx.stop()
    answers = [send(n) for n in range(40)]
    statuses = [status for status, _, _ in answers]
    assert statuses.count(503) == counts[0]
    assert statuses.count(204) == counts[1]
    headers, body = next(a[1:] for a in answers if a[0] == 503)
    assert b"nothing was stored" in body and headers["Retry-After"] == "1"
    brokers[0].start_nginx()
    # a worker that has just started reads its keys back first
    wait_for(lambda: [send(n)[0] for n in range(40)] == [204] * 40,
             what="all answered like the first time")
    assert [stored(b) for b in brokers] == counts


def test_limits(brokers, make_edge):
    """429 with words and Retry-After; what was answered 204 is stored, what
    was answered 429 is not."""
    edge = make_edge([b.port for b in brokers], replace=[
        ("rate=20000r/s", "rate=1r/s"), ("burst=40000", "burst=4")])
    answers = [post(edge.port, "{}") for _ in range(20)]
    statuses = collections.Counter(a[0] for a in answers)
    assert set(statuses) == {204, 429} and statuses[429] >= 10
    _, headers, body = next(a for a in answers if a[0] == 429)
    assert headers["Retry-After"] == "1" and b"nothing was stored" in body
    assert sum(stored(b) for b in brokers) == statuses[204]


def test_request_ids_and_log(brokers, make_edge):
    edge = make_edge([b.port for b in brokers])
    _, headers, _ = post(edge.port, "{}", headers={"X-Request-ID": "abc-12345"})
    assert headers["X-Request-ID"] == "abc-12345"
    _, headers, _ = post(edge.port, "{}", headers={"X-Request-ID": "a b\"c"})
    made = headers["X-Request-ID"]
    assert len(made) == 32
    _, headers, _ = post(edge.port, "{]")
    assert len(headers["X-Request-ID"]) == 32
    lines = wait_for(lambda: len(x := (edge.dir / "access.log").read_text()
                                 .splitlines()) == 3 and x, what="log")
    log = [json.loads(line) for line in lines]
    assert [x["id"] for x in log][:2] == ["abc-12345", made]
    assert [x["status"] for x in log] == [204, 204, 400]
    assert all(x["broker"] and x["client"] == "127.0.0.1" for x in log)


def test_tls(brokers, make_edge, certificate, tmp_path):
    """With a certificate: TLS 1.2 and 1.3 and nothing older; HTTP/2."""
    plain = free_port()
    edge = make_edge([b.port for b in brokers], plain=plain, tls=certificate)

    def curl(*args):
        return subprocess.run(
            ["curl", "-sS", "-o", "/dev/null", "-w",
             "%{http_code} %{http_version}", "--cacert",
             tmp_path / "cert.pem", "-d", "{}", *args,
             f"https://localhost:{edge.port}/log"],
            capture_output=True, text=True, timeout=30)

    assert curl().stdout == "204 2"
    assert curl("--tls-max", "1.2", "--http1.1").stdout == "204 1.1"
    assert curl("--tls-max", "1.1", "--ciphers",
                "DEFAULT@SECLEVEL=0").returncode != 0
    assert sum(stored(b) for b in brokers) == 2
    # in the open: sent on, stored nowhere
    status, headers, _ = post(plain, "{}")
    assert status == 308
    assert headers["Location"] == "https://127.0.0.1/log"
    assert sum(stored(b) for b in brokers) == 2


def test_whole_path(tmp_path, make_edge):
    """Through the edge, one broker killed and back: each event once."""
    with ClickHouse(tmp_path / "ch") as clickhouse:
        brokers = [Broker(tmp_path / f"n{i}", [clickhouse.url], name=f"n{i}",
                          index=i, count=2).start() for i in range(2)]
        edge = make_edge([b.port for b in brokers])
        try:
            with Oracle([edge.port]) as oracle:
                wait_for(lambda: oracle.count() > 500, what="events")
                brokers[0].kill_nginx()
                n = oracle.count()
                wait_for(lambda: oracle.count() > n + 500, what="events")
                brokers[0].start_nginx()
                n = oracle.count()
                wait_for(lambda: oracle.count() > n + 500, what="events")
            assert set(oracle.statuses) <= {204, 502}, oracle.statuses
            wait_for(lambda: all(b.drained() for b in brokers), 60, "drained")
            oracle.verify(clickhouse)
        finally:
            for b in brokers:
                b.stop()


# what an operator adds to location /log


@pytest.fixture
def htpasswd(tmp_path):
    path = tmp_path / "htpasswd"
    path.write_text("me:{PLAIN}secret\n")
    return path


KEY = {"Idempotency-Key": "key-0"}
LIMITS = "limit_conn connections 4096;"


@pytest.mark.parametrize("headers", [{}, KEY], ids=["plain", "key"])
@pytest.mark.parametrize("rule, status", [
    ("deny all;", 403),
    ("allow 192.0.2.1; deny all;", 403),
    ('auth_basic logs; auth_basic_user_file "@HTPASSWD@";', 401),
    ("auth_request /auth;", 403),
    ("limit_except GET { deny all; }", 403),
    ('if ($http_authorization != "Bearer x") { return 401; }', 401),
    ("client_max_body_size 1;", 413),
    ("limit_rate 1; return 402;", 402),
])
def test_rules_hold_with_a_key(brokers, make_edge, htpasswd, headers, rule,
                               status):
    """Keyed or not: nothing gets past, and the answer is JSON."""
    edge = make_edge([b.port for b in brokers], replace=[
        (LIMITS, LIMITS + rule.replace("@HTPASSWD@", str(htpasswd))),
        ("location = /health {",
         "location = /auth { internal; return 403; } location = /health {")])
    got, answered, body = post(edge.port, "{}", headers=headers)
    assert got == status
    assert answered["Content-Type"] == "application/json"
    assert "error" in json.loads(body)
    assert ("WWW-Authenticate" in answered) == ("auth_basic" in rule)
    # a body of unknown length
    got, _, body = post(edge.port, iter([b"{", b"}"]), headers=headers)
    assert got == status and "error" in json.loads(body)
    assert sum(stored(b) for b in brokers) == 0


@pytest.mark.parametrize("headers", [{}, KEY], ids=["plain", "key"])
def test_rates_hold_with_a_key(brokers, make_edge, headers):
    edge = make_edge([b.port for b in brokers], replace=[
        ("rate=20000r/s", "rate=1r/s"), ("burst=40000", "burst=4")])
    statuses = collections.Counter(
        post(edge.port, "{}", headers=headers)[0] for _ in range(20))
    assert set(statuses) == {204, 429} and statuses[429] >= 10


@pytest.mark.parametrize("headers", [{}, KEY], ids=["plain", "key"])
def test_connections_hold_with_a_key(make_edge, headers):
    """Two requests wait for a broker that never answers: the third one is
    too many."""
    hangs = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    edge = make_edge([h.getsockname()[1] for h in hangs], replace=[
        (LIMITS, "limit_conn connections 2;")])
    lines = "".join(f"{k}: {v}\r\n" for k, v in headers.items())
    waiting = [socket.create_connection(("127.0.0.1", edge.port))
               for _ in range(2)]
    for s in waiting:
        s.sendall(f"POST /log HTTP/1.1\r\nHost: a\r\n{lines}"
                  "Content-Length: 2\r\n\r\n{}".encode())
    wait_for(lambda: post(edge.port, "{}", headers=headers,
                          timeout=30)[0] == 429, what="429")


def test_passwords_let_through(brokers, make_edge, htpasswd):
    edge = make_edge([b.port for b in brokers], replace=[
        (LIMITS, f'{LIMITS} auth_basic logs; '
                 f'auth_basic_user_file "{htpasswd}";')])
    headers = {"Authorization": "Basic bWU6c2VjcmV0"}
    assert post(edge.port, "{}", headers=headers)[0] == 204
    assert post(edge.port, "{}", headers=headers | KEY)[0] == 204


# brokers that are away, or hang


@pytest.mark.parametrize("headers", [{}, KEY], ids=["plain", "key"])
def test_nobody_was_asked(make_edge, headers):
    """503 that says so, at once, and again for each further request."""
    edge = make_edge([free_port(), free_port()])
    for _ in range(5):
        status, answered, body = post(edge.port, "{}", headers=headers)
        assert status == 503 and answered["Retry-After"] == "1"
        assert "nothing was stored" in json.loads(body)["error"]


def test_back_at_once(brokers, make_edge):
    """Both were away, connections broke: the first one back is used at
    once, whatever was held against it."""
    edge = make_edge([b.port for b in brokers])
    for b in brokers:
        b.kill_nginx()
    assert {post(edge.port, "{}")[0] for _ in range(10)} == {503}
    brokers[1].start_nginx()
    assert {post(edge.port, "{}")[0] for _ in range(10)} == {204}
    brokers[0].start_nginx()
    assert {post(edge.port, "{}")[0] for _ in range(10)} == {204}


def test_broken_connections(brokers, make_edge):
    """A broker that breaks one connection after the other costs its own
    requests, and shuts nobody out."""
    script = Script(None)
    edge = make_edge([script.port, brokers[0].port])
    statuses = collections.Counter(
        post(edge.port, "{}")[0] for _ in range(100))
    assert set(statuses) == {204, 502} and statuses[502] <= 3
    brokers[0].kill_nginx()
    brokers[0].start_nginx()
    assert post(edge.port, "{}")[0] == 204


def test_hung_broker(brokers, make_edge):
    """Those who wait for it are told after a bounded time, everybody else is
    served, with a key too where the key belongs to another broker."""
    edge = make_edge([b.port for b in brokers],
                     replace=[("proxy_read_timeout 5s", "proxy_read_timeout 2s")])
    assert {post(edge.port, "{}")[0] for _ in range(4)} == {204}
    pids = [brokers[0].nginx.pid, *children(brokers[0].nginx.pid)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        answers = []

        def client():
            for _ in range(40):
                begun = time.monotonic()
                status, _, body = post(edge.port, "{}")
                answers.append((status, time.monotonic() - begun, body))

        threads = [threading.Thread(target=client) for _ in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(60)
        assert len(answers) == 320
        slow = [a for a in answers if a[1] > 1]
        assert {a[0] for a in answers} == {204, 502}
        assert all(a[1] < 5 for a in answers)
        # once each, and whoever is the next to try
        assert len(slow) <= 10 and all(a[0] == 502 for a in slow)
        assert all(b"may be stored" in a[2] for a in slow)
        # a key that is not its own
        begun = time.monotonic()
        statuses = [post(edge.port, "{}", headers={
            "Idempotency-Key": f"key-{n}"})[0] for n in range(4)]
        assert set(statuses) <= {204, 502}
        assert time.monotonic() - begun < 12
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_even_under_load(brokers, make_edge):
    """Within 5 %, with keys and without."""
    edge = make_edge([b.port for b in brokers])

    def client(number, keys):
        c = http.client.HTTPConnection("127.0.0.1", edge.port, timeout=30)
        for n in range(500):
            c.request("POST", "/log", b"{}", {
                "Idempotency-Key": f"{number}-{n}"} if keys else {})
            r = c.getresponse()
            r.read()
            assert r.status == 204

    for keys in (False, True):
        before = [stored(b) for b in brokers]
        threads = [threading.Thread(target=client, args=(i, keys))
                   for i in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(60)
        counts = [stored(b) - n for b, n in zip(brokers, before)]
        assert sum(counts) == 4000
        assert max(counts) - min(counts) <= 200, (keys, counts)


# clients that do not wait


def make_certificate(d):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:prime256v1", "-nodes", "-days",
         "1", "-subj", "/CN=localhost", "-keyout", d / "key.pem", "-out",
         d / "cert.pem"], check=True, capture_output=True)
    return f"ssl_certificate {d}/cert.pem; ssl_certificate_key {d}/key.pem;"


@pytest.fixture
def certificate(tmp_path):
    return make_certificate(tmp_path)


def tls_socket(port, protocol="http/1.1"):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([protocol])
    s = context.wrap_socket(socket.create_connection(("127.0.0.1", port)))
    assert s.selected_alpn_protocol() == protocol
    return s


def http1(body=b"{}", lines="Host: a\r\n", version="1.1"):
    return (f"POST /log HTTP/{version}\r\n{lines}"
            f"Content-Length: {len(body)}\r\n\r\n").encode() + body


def frame(kind, flags, stream, payload=b""):
    return (struct.pack(">I", len(payload))[1:]
            + struct.pack(">BBI", kind, flags, stream) + payload)


def http2(body=b"{}", stream=1, headers=()):
    """Headers that nobody compressed, and a body that ends the stream."""
    fields = [(":method", "POST"), (":scheme", "http"), (":path", "/log"),
              (":authority", "a"), *headers]
    block = b"".join(b"\0" + bytes([len(x)]) + x.encode()
                     + bytes([len(y)]) + y.encode() for x, y in fields)
    return frame(1, 4, stream, block) + frame(0, 1, stream, body)


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0)
CANCEL = struct.pack(">I", 8)
PING = frame(6, 0, 0, b"01234567")


def until_pong(s):
    """nginx has got as far as this."""
    data = b""
    while b"01234567" not in data:
        more = s.recv(4096)
        assert more
        data += more


def leave(how, port):
    if how == "close":
        with socket.create_connection(("127.0.0.1", port)) as s:
            s.sendall(http1())
    elif how == "large body":
        with socket.create_connection(("127.0.0.1", port)) as s:
            s.sendall(http1(b"{}" + b" " * 300000))
    elif how == "chunked":
        with socket.create_connection(("127.0.0.1", port)) as s:
            s.sendall(b"POST /log HTTP/1.1\r\nHost: a\r\n"
                      b"Transfer-Encoding: chunked\r\n\r\n"
                      b"2\r\n{}\r\n0\r\n\r\n")
    elif how == "key":
        with socket.create_connection(("127.0.0.1", port)) as s:
            s.sendall(http1(lines=f"Host: a\r\nIdempotency-Key: {random.random()}\r\n"))
    elif how == "half":
        with socket.create_connection(("127.0.0.1", port)) as s:
            s.sendall(http1())
            s.shutdown(socket.SHUT_WR)
            assert s.recv(4096).startswith(b"HTTP/1.1 204")
    elif how == "tls":
        with tls_socket(port) as s:
            s.sendall(http1())
    elif how == "tls, without goodbye":
        s = tls_socket(port)
        s.sendall(http1())
        os.close(s.detach())
    elif how == "http/2 reset":
        with tls_socket(port, "h2") as s:
            s.sendall(PREFACE + http2() + PING)
            until_pong(s)
            s.sendall(frame(3, 0, 1, CANCEL))
    elif how == "http/2 closed":
        with tls_socket(port, "h2") as s:
            s.sendall(PREFACE + http2() + PING)
            until_pong(s)


@pytest.mark.parametrize("how", [
    "close", "large body", "chunked", "key", "half", "tls",
    "tls, without goodbye", "http/2 reset", "http/2 closed"])
def test_clients_that_leave(brokers, make_edge, certificate, how):
    """200 of 200 arrive.  (Over HTTP/2 nginx drops a request whose stream or
    connection ends before it has dealt with the body's last frame: a client
    that is gone within the same moment is not helped.)"""
    edge = make_edge([b.port for b in brokers],
                     tls=certificate if "tls" in how or "/2" in how else "",
                     plain=free_port())
    for _ in range(200):
        leave(how, edge.port)
    wait_for(lambda: sum(stored(b) for b in brokers) == 200, 10, "200 events")


# versions of HTTP


def answer(port, request):
    """All of it, from the client's point of view: what it says it is."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as s:
        s.sendall(request)
        data = b""
        while True:
            head, end, body = data.partition(b"\r\n\r\n")
            length = re.search(rb"Content-Length: (\d+)", head)
            if end and (b" 204 " in head
                        or length and len(body) >= int(length[1])):
                return data
            more = s.recv(65536)
            assert more, data
            data += more


@pytest.mark.parametrize("key", ["", "Idempotency-Key: key-0\r\n"])
def test_http_1_0(brokers, make_edge, key):
    """Without Host."""
    edge = make_edge([b.port for b in brokers])
    got = answer(edge.port, http1(lines=key, version="1.0"))
    assert got.startswith(b"HTTP/1.1 204"), got
    got = answer(edge.port, http1(b"{]", lines=key, version="1.0"))
    assert got.startswith(b"HTTP/1.1 400") and b'"row": 1' in got


def test_http_2_without_tls(brokers, make_edge):
    """Clients that know it beforehand, on a port of its own."""
    port = free_port()
    make_edge([b.port for b in brokers], http2=port)
    r = subprocess.run(
        ["curl", "-sS", "--http2-prior-knowledge", "-d", "{}", "-o",
         "/dev/null", "-w", "%{http_code} %{http_version}",
         f"http://127.0.0.1:{port}/log"], capture_output=True, text=True,
        timeout=30)
    assert r.stdout == "204 2", r


# answers that are nginx's


CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
BAD_REQUESTS = {
    "no HTTP": (b"hello\r\n\r\n", 400),
    "bad line": (b"POST /log\x01 HTTP/1.1\r\n\r\n", 400),
    "no host": (b"POST /log HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", 400),
    "two hosts": (b"POST /log HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    "bad header": (b"POST /log HTTP/1.1\r\nHost: a\r\nx\x00y: 1\r\n\r\n", 400),
    "bad length": (b"POST /log HTTP/1.1\r\nHost: a\r\n"
                   b"Content-Length: x\r\n\r\n", 400),
    "length and chunks": (b"POST /log HTTP/1.1\r\nHost: a\r\n"
                          b"Content-Length: 2\r\n" + CHUNKED, 400),
    "bad chunk": (b"POST /log HTTP/1.1\r\nHost: a\r\n" + CHUNKED
                  + b"zz\r\n{}\r\n", 400),
    "chunk too short": (b"POST /log HTTP/1.1\r\nHost: a\r\n" + CHUNKED
                        + b"1\r\n{}\r\n0\r\n\r\n", 400),
    "long address": (b"POST /log/" + b"a" * 40000
                     + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    "long header": (b"POST /log HTTP/1.1\r\nHost: a\r\nx: " + b"a" * 40000
                    + b"\r\n\r\n", 431),
    "large body": (b"POST /log HTTP/1.1\r\nHost: a\r\n"
                   b"Content-Length: 999999999\r\n\r\n", 413),
    "large body elsewhere": (b"POST / HTTP/1.1\r\nHost: a\r\n"
                             b"Content-Length: 999999999\r\n\r\n", 413),
    "large chunks": (b"POST /log HTTP/1.1\r\nHost: a\r\n" + CHUNKED
                     + b"3b9ac9ff\r\n{}", 413),
    "other encoding": (b"POST /log HTTP/1.1\r\nHost: a\r\n"
                       b"Transfer-Encoding: gzip\r\n\r\n", 501),
    "other version": (b"POST /log HTTP/3.0\r\nHost: a\r\n\r\n", 505),
    "trace": (b"TRACE /log HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    "get": (b"GET /log HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    "elsewhere": (b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n", 404),
    "up": (b"GET /../log HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "post of health": (b"PUT /cluster/x HTTP/1.1\r\nHost: a\r\n"
                       b"Content-Length: 2\r\n\r\n{}", 404),
    "page of errors": (b"GET /problem HTTP/1.1\r\nHost: a\r\n\r\n", 404),
}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Ports of an edge, of its port without TLS if it has one, of a broker."""
    d = tmp_path_factory.mktemp("places")
    broker = ShippedBroker(d / "broker")
    plain = free_port()
    edges = [Edge(d / "edge", [broker.port]),
             Edge(d / "tls", [broker.port], tls=make_certificate(d),
                  plain=plain)]
    yield {"edge": edges[0].port, "redirect": plain, "broker": broker.port}
    for p in (*edges, broker):
        p.stop()


@pytest.mark.release_only
@pytest.mark.parametrize("name", BAD_REQUESTS)
@pytest.mark.parametrize("place", ["edge", "broker", "redirect"])
def test_refusals_are_json(places, place, name):
    request, expected = BAD_REQUESTS[name]
    got = answer(places[place], request)
    head, body = got.split(b"\r\n\r\n", 1)
    status = int(head.split()[1])
    assert status == expected or place == "redirect" and status == 308, got
    assert b"\r\nContent-Type: application/json" in head, got
    assert json.loads(body)["error"], got
    assert head.count(b"Content-Type") == 1
    assert (b"Location: https://a/" in head) == (status == 308)


def test_plain_http_where_tls_is(brokers, make_edge, certificate):
    edge = make_edge([b.port for b in brokers], tls=certificate,
                     plain=free_port())
    got = answer(edge.port, http1())
    head, body = got.split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 400")
    assert b"application/json" in head and json.loads(body)["error"]


def test_redirect_without_host(brokers, make_edge, certificate):
    plain = free_port()
    make_edge([b.port for b in brokers], tls=certificate, plain=plain)
    got = answer(plain, b"POST /log HTTP/1.0\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 400") and b'{"error"' in got, got


@pytest.mark.parametrize("tls", [False, True])
def test_image(tmp_path, tls):
    """What the entry point of the image makes of it is what is tested here,
    with the same settings for each broker as in the quickstart."""
    run, etc, share = (tmp_path / n for n in ("run", "etc", "share"))
    for d in (run, etc / "tls", share):
        d.mkdir(parents=True)
    (share / "nginx").symlink_to(ROOT / "conf/nginx")
    if tls:
        make_certificate(etc / "tls")
    script = (ROOT / "docker/entrypoint.sh").read_text()
    for old, new in (("/usr/share/logbroker", share), ("/run/logbroker", run),
                     ("/etc/logbroker/edge", etc), ("exec nginx", "nginx -t")):
        assert old in script
        script = script.replace(old, str(new))
    (tmp_path / "entrypoint.sh").write_text(script)
    r = subprocess.run(
        ["sh", tmp_path / "entrypoint.sh", "edge"], capture_output=True,
        text=True, timeout=30, env=dict(
            os.environ, LOGBROKER_BROKERS="192.0.2.1:8080 192.0.2.2:8080",
            PATH=f"{os.environ['PATH']}:/usr/sbin"))
    assert r.returncode == 0 and "successful" in r.stderr, r.stderr
    assert "[warn]" not in r.stderr.replace('the "user" directive', ""), r
    conf = (run / "nginx.conf").read_text()
    assert "@" not in conf.replace("@again", "").replace(
        "@another_broker", "").replace("@no_", "").replace("@problem", "")
    assert "json if=$kept;" in conf
    assert (run / "brokers.conf").read_text() == \
        "".join(f"server 192.0.2.{n}:8080 max_fails=3 fail_timeout=10s;\n"
                for n in (1, 2))
    assert (run / "by_key.conf").read_text() == \
        "".join(f"server 192.0.2.{n}:8080 max_fails=0 weight=64;\n"
                for n in (1, 2))
    for line in ("max_fails=0 weight=64;", "max_fails=3 fail_timeout=10s;"):
        assert line in (ROOT / "quickstart.sh").read_text()
    assert "edge_broker_options: max_fails=3 fail_timeout=10s\n" in (
        ROOT / "ansible/roles/edge/defaults/main.yml").read_text()


# logs


def floods(edge, refused):
    """Kinds of trouble, each a function that makes one piece of it."""
    def raw(port, data, read=True):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as s:
            s.sendall(data)
            if read:
                s.recv(4096)

    post_ = b"POST /log HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
    large = http1(b"{}" + b" " * 300000)
    return {
        "too many": lambda: raw(refused, http1()),
        "too large": lambda: raw(edge, post_ + b"Content-Length: 99999999\r\n\r\n"),
        "broken chunk": lambda: raw(edge, post_ + CHUNKED + b"zz\r\n"),
        "aborted": lambda: raw(edge, post_ + b"Content-Length: 9\r\n\r\n{", False),
        "no HTTP": lambda: raw(edge, b"\x16\x03\x01\r\n\r\n"),
        "not JSON": lambda: raw(edge, http1(b"{]")),
        "forbidden": lambda: raw(refused, b"GET /cluster HTTP/1.1\r\nHost: a\r\n\r\n"),
        "over the buffer": lambda: raw(edge, large),
        "no broker": lambda: raw(refused, http1().replace(b"/log", b"/log/a")),
    }


def flood_edges(make_edge, port):
    """One with a broker, and one with none that refuses as well."""
    return (make_edge([port], access_log="json if=$kept"),
            make_edge([free_port(), free_port()],
                      access_log="json if=$kept",
                      replace=[("rate=20000r/s", "rate=1r/s"),
                               ("burst=40000", "burst=1"),
                               ("location /log {", "location /log/a { proxy_pass http://brokers; error_page 502 = @again; } location /log {"),
                               ("allow 127.0.0.1;", "")]))


@pytest.mark.release_only
def test_floods_leave_few_lines(tmp_path, make_edge):
    """A client that does nothing right cannot fill a disk, at the edge or
    behind it: less than a tenth of a line for each request."""
    broker = ShippedBroker(tmp_path / "shipped")
    try:
        edge, refused = flood_edges(make_edge, broker.port)
        logs = [p for e in (edge, refused) for p in
                (e.log, e.dir / "access.log")] + [broker.log]
        for name, one in floods(edge.port, refused.port).items():
            before = sum(p.stat().st_size for p in logs)
            for _ in range(300):
                one()
            grown = sum(p.stat().st_size for p in logs) - before
            if name == "over the buffer":
                # nothing is wrong with these: one line in the access log
                assert edge.log.stat().st_size + broker.log.stat().st_size \
                    < 3000
                continue
            assert grown < 300 * 30, (name, grown)
    finally:
        broker.stop()


def test_trouble_is_logged(brokers, make_edge):
    """A broker that breaks off is in the access log, each time, and nothing
    else is."""
    script = Script(None)
    edge = make_edge([script.port, brokers[0].port],
                     access_log="json if=$trouble")
    answers = [post(edge.port, "{}")[0] for _ in range(20)]
    lines = wait_for(lambda: (edge.dir / "access.log").read_text()
                     .splitlines(), what="log")
    assert len(lines) == answers.count(502) > 0
    log = json.loads(lines[0])
    assert log["status"] == 502 and f":{script.port}" in log["broker"]


def test_503_with_a_key(brokers, make_edge):
    """The second try goes to the broker that the key belongs to, the other
    one never hears of it; its own words come back."""
    script = Script(REFUSAL)
    edge = make_edge([script.port, brokers[0].port])
    answers = [post(edge.port, "{}", headers={"Idempotency-Key": f"key-{n}"})
               for n in range(40)]
    refused = [a for a in answers if a[0] == 503]
    assert script.requests == 2 * len(refused) > 0
    assert stored(brokers[0]) == 40 - len(refused)
    assert all(a[1]["Retry-After"] == "5" and a[2] == b"{}" for a in refused)
