"""OTLP over gRPC through the edge, with the configurations that are shipped:
balanced call by call, given to another broker only when nothing of it was
stored, refused in gRPC's own words whoever refuses."""

import collections
import json
import socket
import threading

import grpc
import hpack
import pytest

from env.bodies import h2_frame
from env.doors import OTLP_BYTES
from env.edge import Edge, ShippedBroker, make_certificate, stored
from env.grpc import Client, frame, raw, retry_info
from env.http import post
from env.process import free_port, wait_for

TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


def message(text):
    """Of a length below 100."""
    text = text.encode()
    for tag in b"\x0a\x2a\x12\x12\x0a":
        text = bytes([tag, len(text)]) + text
    return text


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    d = tmp_path_factory.mktemp("brokers")
    made = [ShippedBroker(d / f"broker{i}", size="16m") for i in range(2)]
    for b in made:
        wait_for(lambda: post(b.port, "{}", headers={
            "Idempotency-Key": "first"})[0] == 204, what="keys")
    yield made
    for b in made:
        b.stop()


@pytest.fixture
def edge(two, make_edge):
    return make_edge([b.port for b in two], grpc=[b.grpc for b in two])


@pytest.fixture
def through(make_edge):
    """An edge before these brokers' ports for gRPC."""
    return lambda *ports, **kw: make_edge([free_port()], grpc=ports, **kw)


class Script:
    """Stands in for a broker: reads a call, then sends these headers, or closes
    the connection without an answer."""

    def __init__(self, headers):
        self.headers, self.calls = headers, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            c, _ = self.listener.accept()
            threading.Thread(target=self._serve, args=(c,), daemon=True).start()

    def _serve(self, c):
        with c, c.makefile("rb") as f:
            f.read(24)
            # bodies of any size
            c.sendall(h2_frame(4, 0, 0, b"\0\4\x3f\0\0\0") +
                      h2_frame(8, 0, 0, b"\x3f\0\0\0"))
            while len(head := f.read(9)) == 9:
                f.read(int.from_bytes(head[:3], "big"))
                if head[3] == 4 and not head[4] & 1:
                    c.sendall(h2_frame(4, 1, 0, b""))
                if head[3] > 1 or not head[4] & 1:
                    continue
                self.calls += 1
                if self.headers is None:
                    return
                # nginx keeps no table of headers
                c.sendall(h2_frame(1, 5, int.from_bytes(head[5:], "big"),
                                   hpack.Encoder().encode(self.headers)))


BUSY = {":status": "503", "content-type": "application/grpc",
        "grpc-status": "14", "grpc-message": "the spool is full",
        "grpc-status-details-bin": "CA4SEXRoZSBzcG9vbCBpcyBmdWxsGjAKKHR5cGUu"
        "Z29vZ2xlYXBpcy5jb20vZ29vZ2xlLnJwYy5SZXRyeUluZm8SBAoCCAE"}


def unavailable(port, words):
    """With when to come again; the header is all there is."""
    a = raw(port, frame(OTLP_BYTES))
    assert (a.status, a.code, a.body, a.frames) == (200, 14, b"", [(1, 5)])
    assert a.headers["content-type"] == "application/grpc"
    assert words in a.message, a.message
    assert retry_info(a.headers["grpc-status-details-bin"]) == \
        (14, a.message, 1)
    with Client(port) as c:
        assert c.refused(OTLP_BYTES) == (
            "UNAVAILABLE", a.message, (14, a.message, 1))


def test_balanced(two, edge):
    """Each call of one connection, packed or not, small or in a file."""
    before = [stored(b) for b in two]
    with Client(edge.grpc) as c:
        for i in range(40):
            assert c.export(message(f"m {i}"), gzip=i % 2 == 1) == b""
    shares = [stored(b) - n for b, n in zip(two, before)]
    assert sum(shares) == 40 and min(shares) > 5
    with Client(edge.grpc) as c:
        assert c.export(message("x" * 50) * 20_000) == b""
    line = (edge.dir / "access.log").read_text().splitlines()[-1]
    assert json.loads(line)["door"] == "grpc"
    assert json.loads(line)["grpc"] == "0"


def test_same_bytes_same_broker(two, edge):
    """What is sent again is stored once, whatever the connection."""
    before = [stored(b) for b in two]
    for _ in range(3):
        with Client(edge.grpc) as c:
            for i in range(12):
                assert c.export(message(f"again {i}") * (1 + i % 4 * 6000),
                                gzip=i % 2 == 1) == b""
    assert sum(stored(b) - n for b, n in zip(two, before)) == sum(
        1 + i % 4 * 6000 for i in range(12))


def test_every_port_with_http2(two, make_edge, tmp_path):
    make_certificate(tmp_path)
    edge = make_edge([b.port for b in two], grpc=[b.grpc for b in two],
                     tls=tmp_path, plain=free_port())
    trust = grpc.ssl_channel_credentials((tmp_path / "cert.pem").read_bytes())
    for port in (edge.port, edge.grpc):
        with Client(f"localhost:{port}", trust) as c:
            assert c.export(message(f"by {port}")) == b""


def test_client_is_known(two, edge):
    """The broker believes the edge who it was, and nobody else."""
    with Client(edge.grpc) as c:
        assert c.export(message("who"), headers=[
            ("x-forwarded-for", "192.0.2.9"), ("x-logbroker-edge", "1")]) == b""


def test_stopped_broker(two, through):
    """No connection: nothing was stored, the other one takes it."""
    edge = through(free_port(), two[0].grpc)
    before = stored(two[0])
    with Client(edge.grpc) as c:
        for i in range(20):
            assert c.export(message(f"stopped {i}")) == b""
    assert stored(two[0]) - before == 20


def test_busy_broker(two, through):
    """It says that nothing was stored: the other one takes it."""
    script = Script(BUSY)
    edge = through(script.port, two[0].grpc)
    before = stored(two[0])
    with Client(edge.grpc) as c:
        for i in range(10):
            assert c.export(message(f"busy {i}") * (1 + i * 1000)) == b""
    assert stored(two[0]) - before == sum(1 + i * 1000 for i in range(10))
    assert script.calls > 0


def test_busy_everywhere(through):
    """In the words of the broker that was asked last."""
    edge = through(Script(BUSY).port, Script(BUSY).port)
    unavailable(edge.grpc, "the spool is full")


def test_full_broker(tmp_path, through):
    """A real one."""
    b = ShippedBroker(tmp_path / "b", size="64k")
    try:
        edge = through(b.grpc)
        with Client(edge.grpc) as c:
            for i in range(2000):
                try:
                    c.export(message("x" * 60 + str(i)) * 100)
                except grpc.RpcError as e:
                    assert e.code().name == "UNAVAILABLE"
                    break
            assert c.refused(message("y" * 60) * 100)[0] == "UNAVAILABLE"
        a = raw(edge.grpc, frame(message("z" * 60) * 100))
        assert (a.status, a.code) == (200, 14) and "full" in a.message
        assert retry_info(a.headers["grpc-status-details-bin"]) == \
            (14, a.message, 1)
    finally:
        b.stop()


def test_no_broker(through):
    unavailable(through(free_port(), free_port()).grpc,
                "no broker can take it: nothing was stored")


def test_no_answer_is_not_repeated(two, through):
    """A broker that takes a call and dies may have stored it."""
    script = Script(None)
    edge = through(script.port, two[0].grpc)
    before = stored(two[0])
    codes = collections.Counter()
    with Client(edge.grpc) as c:
        for i in range(10):
            try:
                c.export(message(f"unknown {i}"))
                codes[0] += 1
            except grpc.RpcError as e:
                assert e.code().name == "UNAVAILABLE"
                assert "may be stored or not" in e.details()
                codes[14] += 1
    assert codes[14] == script.calls > 0
    assert stored(two[0]) - before == codes[0]
    unavailable(through(Script(None).port).grpc, "may be stored or not")


def test_no_answer_in_time(through):
    hangs = socket.create_server(("127.0.0.1", 0))
    edge = through(hangs.getsockname()[1], replace=[
        ("grpc_read_timeout 4s", "grpc_read_timeout 200ms")])
    unavailable(edge.grpc, "stored or not")


def test_keys_stay_with_their_broker(two, edge):
    before = [stored(b) for b in two]
    with Client(edge.grpc) as c:
        for _ in range(3):
            for i in range(20):
                assert c.export(message(f"key {i}"), key=f"grpc-{i}") == b""
    counts = [stored(b) - n for b, n in zip(two, before)]
    assert sum(counts) == 20 and min(counts) > 0


def test_key_of_a_broker_that_is_away(two, through):
    """Nobody else may have it."""
    edge = through(two[0].grpc, free_port())
    said = collections.Counter()
    with Client(edge.grpc) as c:
        for i in range(20):
            try:
                c.export(message(f"away {i}"), key=f"away-{i}")
                said["OK"] += 1
            except grpc.RpcError as e:
                assert "nothing was stored" in e.details()
                said[e.code().name] += 1
    assert set(said) == {"OK", "UNAVAILABLE"}


def test_limited(through, two):
    edge = through(two[0].grpc, replace=[
        ("rate=20000r/s", "rate=1r/m"), ("burst=40000", "burst=1")])
    for i in range(3):
        raw(edge.grpc, frame(message(f"limited {i}")))
    unavailable(edge.grpc, "too many requests or connections")


@pytest.mark.parametrize("rule, code, words", [
    ('if ($http_authorization != "Bearer x") { return 401; }', 16, "who"),
    ("deny all;", 7, "may not"),
    ("client_max_body_size 1;", 8, "too large"),
    ("limit_except GET { deny all; }", 7, "may not"),
    ("return 402;", 13, "refused")])
def test_rules(two, through, rule, code, words):
    """What an operator adds to a location is told in gRPC's words."""
    limits = "limit_conn connections 4096;"
    edge = through(two[0].grpc, replace=[(limits, limits + rule)])
    before = stored(two[0])
    a = raw(edge.grpc, frame(OTLP_BYTES))
    assert (a.status, a.code, a.body) == (200, code, b"")
    assert words in a.message or code == 8
    assert "grpc-status-details-bin" not in a.headers
    assert stored(two[0]) == before


def test_refused_by_the_broker(two, edge):
    """Its own words."""
    a = raw(edge.grpc, frame(b"\xff"))
    assert (a.status, a.code, a.frames) == (200, 3, [(1, 5)])
    assert "ExportLogsServiceRequest" in a.message
    assert raw(edge.grpc, frame(b"")).code == 0
    assert raw(edge.grpc, b"").code == 13
    a = raw(edge.grpc, frame(b""), {"grpc-encoding": "br"})
    assert a.code == 12 and "gzip" in a.headers["grpc-accept-encoding"]
    with Client(edge.grpc) as c:
        code, words, _ = c.refused(OTLP_BYTES, path=TRACES)
        assert code == "UNIMPLEMENTED" and "only logs" in words
        assert c.refused(OTLP_BYTES, path="/a.b.C/D")[0] == "UNIMPLEMENTED"


@pytest.mark.parametrize("packed", [False, True])
def test_too_large(two, through, packed):
    """By nginx at the edge, by the broker once it is decompressed; clients
    throw both away instead of sending them for ever."""
    edge = through(two[0].grpc, replace=[
        ("client_max_body_size 64m", "client_max_body_size 2m")])
    text = message("x" * 50) * (50_000 if not packed else 1_300_000)
    with Client(edge.grpc) as c:
        code, words, details = c.refused(text, gzip=packed)
    assert (code, details) == ("RESOURCE_EXHAUSTED", None), words
    assert "large" in words


def test_broker_answers_in_its_words(two):
    """Nginx's own answers at a broker as well."""
    broker = two[0]
    with Client(broker.grpc) as c:
        code, words, _ = c.refused(message("x" * 50) * 1_300_000)
        assert code == "RESOURCE_EXHAUSTED" and "client_max_body_size" in words
        assert c.refused(OTLP_BYTES, path="/a.b.C/D")[0] == "UNIMPLEMENTED"


def test_no_log_of_the_refused(two, through):
    """One in a hundred, as of other doors."""
    edge = through(Script(BUSY).port, access_log="json if=$kept")
    for _ in range(300):
        assert raw(edge.grpc, frame(OTLP_BYTES)).code == 14
    assert len((edge.dir / "access.log").read_text().splitlines()) < 60
