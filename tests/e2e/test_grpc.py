"""OTLP over gRPC: a real client, and frames that no client makes."""

import errno
import gzip
import json
import random
import sys
import threading

import grpc
import pytest

from env import spool
from env.bodies import zstd
from env.broker import FAST
from env.build import ROOT
from env.grpc import EXPORT, SERVER, SERVICE, Client, fields, frame, raw, \
    retry_info
from env.http import metrics, post
from env.nginx import Nginx
from env.process import free_port, wait_for

sys.path.insert(0, str(ROOT / "tests/otlp"))

import body as otlp  # noqa: E402

RECORDS = [otlp.record(n) for n in range(512)]
BATCH = otlp.proto(RECORDS)
SMALL = otlp.proto(RECORDS[:3])
PROTO = {"Content-Type": "application/x-protobuf"}
EDGE = {"X-Logbroker-Edge": "1"}


def message(text):
    return otlp.field(1, otlp.field(2, otlp.field(2, otlp.field(
        5, otlp.field(1, text)))))


class Door(Nginx):
    """With a port for gRPC beside the others."""

    def __init__(self, directory, more="", deduplicate="off", **conf):
        self.grpc = free_port()
        conf["http"] = f"""{conf.get("http", "")}
            logbroker_deduplicate {deduplicate};""" + SERVER.format(
                port=self.grpc, more=more)
        super().__init__(directory, **conf)

    def client(self):
        return Client(self.grpc)

    def stored(self):
        return self.status()["accepted"]["requests"]


@pytest.fixture(scope="module")
def door(tmp_path_factory):
    with Door(tmp_path_factory.mktemp("grpc"), spool="size=16m",
              http="client_max_body_size 4m;", server="""
            location = /v1/logs { logbroker_otlp; }""",
              more="""
            location /prefix/ { logbroker_otlp; logbroker_stream shop; }
            location /bad/ { logbroker_otlp; logbroker_stream a/b; }
            """) as n:
        yield n


@pytest.mark.parametrize("body", [SMALL, BATCH], ids=["small", "usual"])
@pytest.mark.parametrize("packed", [False, True])
def test_accepted(door, body, packed):
    """As by OTLP/HTTP."""
    with door.client() as c:
        assert c.export(body, gzip=packed) == b""
    record = spool.records(door.spool)[-1]
    assert record.payload.count(b"service.name") == 1
    assert door.post("/v1/logs", body, PROTO).status == 200
    other = spool.records(door.spool)[-1]
    assert record._replace(position=0, seq=0, received_us=0) == \
        other._replace(position=0, seq=0, received_us=0)


@pytest.mark.parametrize("headers, body", [
    ({}, frame(SMALL)),
    ({"Content-Type": "application/grpc+proto"}, frame(SMALL)),
    ({"Content-Type": "Application/GRPC; charset=utf-8"}, frame(SMALL)),
    ({"grpc-timeout": "1n", "grpc-encoding": "identity"}, frame(SMALL)),
    ({"grpc-encoding": "gzip"}, frame(gzip.compress(SMALL), 1)),
    ({"grpc-encoding": "gzip"}, frame(SMALL)),
    ({"grpc-encoding": "zstd"}, frame(zstd(SMALL), 1)),
    ({"Content-Encoding": "gzip"}, frame(SMALL))])
def test_answer(door, headers, body):
    """A message, and the status behind it."""
    a = raw(door.grpc, body, headers)
    assert (a.status, a.code, a.body) == (200, 0, frame(b""))
    assert a.headers["content-type"] == "application/grpc"
    assert a.frames == [(1, 4), (0, 0), (1, 5)]
    assert list(a.headers)[-1] == "grpc-status"
    assert "grpc-message" not in a.headers
    assert spool.records(door.spool)[-1].events == 3


def test_stream(door):
    assert raw(door.grpc, frame(SMALL), path="/prefix" + EXPORT).code == 0
    assert spool.records(door.spool)[-1].stream == "shop"
    a = raw(door.grpc, frame(SMALL), path="/bad" + EXPORT)
    assert a.code == 3 and "stream" in a.message


@pytest.mark.parametrize("body", [b"", b"\x0a\x00", otlp.proto([])])
@pytest.mark.parametrize("packed", [False, True])
def test_no_records_are_no_error(door, body, packed):
    n = door.stored()
    with door.client() as c:
        assert c.export(body, gzip=packed) == b""
    assert door.stored() == n


@pytest.mark.parametrize("pad", [0, 200_000], ids=["small", "large"])
def test_partial_success(door, pad):
    good = otlp.field(2, otlp.field(5, otlp.field(1, "x" * pad + "good")))
    bad = otlp.field(2, b"\xff")
    with door.client() as c:
        answer = c.export(otlp.field(1, otlp.field(2, good + bad + good)))
    partial = dict(fields(dict(fields(answer))[1]))
    assert partial[1] == 1 and partial[2].decode()
    record = spool.records(door.spool)[-1]
    assert record.events == 3
    assert b'\x01{"stream":"rejected"}\n' in record.payload


def test_what_is_no_utf8(door):
    with door.client() as c:
        answer = c.export(message(b"\xff"))
    partial = dict(fields(dict(fields(answer))[1]))
    assert partial.get(1, 0) == 0
    assert partial[2].startswith(b"1 places of the request are not UTF-8")


@pytest.mark.parametrize("body, headers, code, words", [
    (b"", {}, 13, "no message"),
    (b"\0\0\0", {}, 13, "cut short"),
    (frame(SMALL)[:-1], {}, 13, "shorter"),
    (frame(SMALL) + frame(SMALL), {}, 13, "more than one message"),
    (frame(SMALL) + b"\n", {}, 13, "more than one message"),
    (SMALL, {}, 13, "no frame"),
    (frame(SMALL, 2), {}, 13, "no frame"),
    (frame(SMALL, 1), {}, 13, "grpc-encoding"),
    (frame(SMALL, 1), {"grpc-encoding": "identity"}, 13, "grpc-encoding"),
    (frame(SMALL, 1), {"grpc-encoding": "gzip"}, 13, "gzip"),
    (frame(gzip.compress(SMALL)[:-9], 1), {"grpc-encoding": "gzip"}, 13,
     "gzip"),
    (frame(gzip.compress(SMALL)), {"grpc-encoding": "gzip"}, 3, "protobuf"),
    (frame(SMALL), {"grpc-encoding": "br"}, 12, "grpc-encoding"),
    (frame(SMALL), {"Content-Type": "application/grpc+json"}, 12,
     "Content-Type"),
    (frame(b"\xff"), {}, 3, "protobuf"),
    (frame(b"\x0a\x7f"), {}, 3, "protobuf"),
    (b"\0\xff\xff\xff\xff", {}, 8, "too large"),
    (frame(gzip.compress(bytes(5_000_000)), 1), {"grpc-encoding": "gzip"}, 8,
     "too large"),
    (frame(SMALL), {"Idempotency-Key": "\t"}, 3, "Idempotency-Key")])
def test_refused(door, body, headers, code, words):
    """No client repeats any of these; the header is all there is."""
    n = door.stored()
    a = raw(door.grpc, body, headers)
    assert (a.status, a.code, a.body) == (200, code, b"")
    assert words in a.message, a.message
    assert a.headers["content-type"] == "application/grpc"
    assert a.frames == [(1, 5)]
    assert "grpc-status-details-bin" not in a.headers
    assert "content-length" not in a.headers
    if code == 12 and "grpc-encoding" in headers:
        assert {"identity", "gzip", "zstd"} <= \
            set(a.headers["grpc-accept-encoding"].split(","))
    assert door.stored() == n


def test_words_of_a_client(door):
    """Whatever they are made of, they are the value of a header."""
    with door.client() as c:
        code, words, _ = c.refused(SMALL, path="/bad" + EXPORT)
    assert code == "INVALID_ARGUMENT" and '"_"' in words
    a = raw(door.grpc, frame(SMALL), {"grpc-encoding": "br%0A"})
    assert a.code == 12


@pytest.mark.parametrize("path", [
    "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    SERVICE + "/export", SERVICE + "/Export/", SERVICE, "/v1/logs", "/"])
def test_other_methods(door, path):
    with door.client() as c:
        code, words, _ = c.refused(SMALL, path=path)
    assert code == "UNIMPLEMENTED" and "only logs" in words


def test_other_protocols(door):
    """What is no gRPC over HTTP/2 is told so in its own words."""
    a = door.post("/v1/logs", frame(SMALL),
                  {"Content-Type": "application/grpc"})
    assert a.status == 415 and b"HTTP/2" in a.body
    a = raw(door.grpc, frame(SMALL), {"Content-Type": "application/grpc-web"},
            path="/prefix/v1/logs")
    assert a.status == 415 and a.code is None
    a = raw(door.grpc, SMALL, {**PROTO}, path="/prefix/v1/logs")
    assert a.status == 200 and a.code is None
    a = raw(door.grpc, frame(SMALL), method="PUT")
    assert a.code == 12 and "POST" in a.message


@pytest.mark.parametrize("packed", [False, True])
def test_large(door, packed):
    """By a temporary file and a thread."""
    text = "".join(random.Random(1).choices("0123456789abcdef", k=20_000)) * 100
    with door.client() as c:
        assert c.export(b"".join(
            message(text[i:i + 50_000]) for i in range(0, len(text), 50_000)),
            gzip=packed) == b""
        record = spool.records(door.spool)[-1]
        assert record.events == 40 and text[:50_000].encode() in record.payload
        n = door.stored()
        # without error_page this is nginx's own page
        assert c.refused(message("x" * 5_000_000))[0] == "UNKNOWN"
        code, words, details = c.refused(message("x" * 5_000_000), gzip=True)
        assert (code, details) == ("RESOURCE_EXHAUSTED", None)
        assert "too large" in words
        assert door.stored() == n


def test_limits(tmp_path):
    """An event, a message and a record of it."""
    with Door(tmp_path, http="logbroker_max_event 1k; logbroker_max_body 64k;",
              spool="size=256k") as door, door.client() as c:
        answer = c.export(message("x" * 2000) + message("y"))
        assert dict(fields(dict(fields(answer))[1]))[1] == 1
        code, words, details = c.refused(message("x" * 900) * 100)
        assert (code, details) == ("RESOURCE_EXHAUSTED", None)
        assert "logbroker_max_body" in words


def busy(port, words):
    """UNAVAILABLE with RetryInfo for a client; for an edge that has another
    broker to ask an HTTP status as well."""
    with Client(port) as c:
        code, said, details = c.refused(SMALL)
        assert (code, details) == ("UNAVAILABLE", (14, said, 1))
        assert words in said
    a = raw(port, frame(SMALL))
    assert (a.status, a.code, a.body) == (200, 14, b"")
    a = raw(port, frame(SMALL), EDGE)
    assert (a.status, a.code, a.message) == (503, 14, said)
    assert retry_info(a.headers["grpc-status-details-bin"]) == (14, said, 1)


def test_full(tmp_path):
    with Door(tmp_path, spool="size=64k rings=1") as door, door.client() as c:
        text = "x" * 6000
        for _ in range(100):
            try:
                c.export(message(text))
            except grpc.RpcError as e:
                assert e.code().name == "UNAVAILABLE"
                break
        n = door.stored()
        a = raw(door.grpc, frame(message(text)), EDGE)
        assert (a.status, a.code) == (503, 14) and "full" in a.message
        with Client(door.grpc) as other:
            code, said, details = other.refused(message(text))
        assert (code, details) == ("UNAVAILABLE", (14, said, 1))
        assert door.stored() == n
        assert door.status()["refused"]["full"] >= 3


def test_no_ring(tmp_path):
    with Door(tmp_path, spool="size=64k rings=1", workers=1) as door:
        door.spool.rename(tmp_path / "away")
        wait_for(lambda: raw(door.grpc, frame(SMALL)).code == 14,
                 what="the ring to be missed")
        busy(door.grpc, "nothing was stored")


def test_disk_hangs(tmp_path, faults):
    with Door(tmp_path, preload=faults.so, env=faults.env,
              http="logbroker_write_timeout 200ms;") as door:
        faults.set("hang", 1)
        answers = []
        thread = threading.Thread(target=lambda: answers.append(
            raw(door.grpc, frame(SMALL))))
        thread.start()
        wait_for(lambda: door.status()["disk_hangs_seconds"] > 0, 20,
                 "the status to say so")
        busy(door.grpc, "the disk does not answer")
        faults.clear("hang")
        thread.join(30)
        assert [a.code for a in answers] == [0]


def test_write_fails(tmp_path, faults):
    """Nobody knows: an edge must not ask another broker either."""
    with Door(tmp_path, preload=faults.so, env=faults.env) as door:
        for headers in ({}, EDGE):
            faults.set("fail_cells", errno.EIO)
            a = raw(door.grpc, frame(SMALL), headers)
            assert (a.status, a.code) == (200, 14)
            assert "stored or not" in a.message
            assert retry_info(a.headers["grpc-status-details-bin"])[2] == 1
            faults.clear("fail_cells")
            wait_for(lambda: raw(door.grpc, frame(SMALL)).code == 0,
                     what="another ring")


def test_counted(tmp_path):
    with Door(tmp_path) as door:
        raw(door.grpc, b"")
        raw(door.grpc, frame(b"\xff"))
        raw(door.grpc, frame(SMALL), {"grpc-encoding": "br"})
        raw(door.grpc, frame(SMALL))
        status = door.status()
        assert {k: n for k, n in status["refused"].items() if n} == {
            "corrupt": 1, "malformed": 1, "content_encoding": 1}
        assert status["accepted"]["events"] == 3


def test_repeated(door):
    """With a key, as by HTTP."""
    n = door.stored()
    with door.client() as c:
        for _ in range(3):
            assert c.export(SMALL, key="k1") == b""
        code, words, _ = c.refused(BATCH, key="k1")
    assert code == "INVALID_ARGUMENT" and "other events before" in words
    assert door.stored() == n + 1


def test_retransmission(tmp_path):
    """The same bytes once more, as of a client that got no answer: by gRPC they
    are no others than themselves."""
    packed = frame(gzip.compress(SMALL), 1)
    with Door(tmp_path, deduplicate="on") as door, door.client() as c:
        for _ in range(3):
            assert c.export(SMALL) == b""
            assert c.export(BATCH) == b""
            assert raw(door.grpc, packed, {"grpc-encoding": "gzip"}).code == 0
        assert door.stored() == 3
        assert door.status()["recognised"] == 6
        # whose bytes they are, and what they mean
        assert c.export(SMALL, headers=[("authorization", "other")]) == b""
        assert raw(door.grpc, packed, {"grpc-encoding": "x-gzip"}).code == 0
        assert door.stored() == 5


def test_client_leaves(door):
    """Past its deadline, or cut off in the middle of a message."""
    n = door.stored()
    with door.client() as c:
        call = c.channel.unary_unary(EXPORT).future(BATCH, timeout=0.00001)
        assert call.exception().code().name == "DEADLINE_EXCEEDED"
        assert c.export(SMALL) == b""
    wait_for(lambda: door.stored() in (n + 1, n + 2), what="the second one")


def test_many_calls_on_one_connection(door):
    n = door.stored()
    with door.client() as c:
        export = c.channel.unary_unary(EXPORT)
        calls = [export.future(SMALL if i % 20 else BATCH, timeout=60)
                 for i in range(300)]
        assert all(call.result() == b"" for call in calls)
    assert door.stored() == n + 300


def test_rows(clickhouse, make_broker):
    port = free_port()
    broker = make_broker(clickhouse.url, flusher=FAST,
                         extra_http=SERVER.format(port=port, more=""))
    broker.start()
    with Client(port) as c:
        assert c.export(BATCH, gzip=True) == b""
    wait_for(broker.drained, 60, "delivery", every=0.1)
    assert clickhouse.query(
        "SELECT count(), uniqExact(timestamp) FROM logbroker.logs WHERE "
        "service = 'orders' AND host = 'node-17' AND level IN ('info', 'warn',"
        " 'error') AND startsWith(message, 'GET')").split() == ["512", "512"]


def test_killed(clickhouse, make_broker):
    """Workers, nginx and the flusher die under clients that repeat with a key:
    each event is there once."""
    port = free_port()
    broker = make_broker(clickhouse.url, flusher=FAST, workers=2, rings=8,
                         extra_http=SERVER.format(port=port, more=""))
    broker.start()
    told, stop = set(), threading.Event()

    def client(number):
        n = 0
        with Client(port) as c:
            while not stop.is_set():
                n += 1
                name = f"{number}-{n}"
                while True:
                    try:
                        c.export(message(name), key=name, timeout=5)
                        told.add(name)
                        break
                    except grpc.RpcError as e:
                        assert e.code().name in (
                            "UNAVAILABLE", "DEADLINE_EXCEEDED", "UNKNOWN",
                            "CANCELLED"), e
                        stop.wait(0.05)

    threads = [threading.Thread(target=client, args=(i,)) for i in range(3)]
    for t in threads:
        t.start()

    def more():
        n = len(told)
        wait_for(lambda: len(told) > n + 5, 60, "answers")

    try:
        more()
        broker.kill_worker()
        more()
        broker.flusher.kill()
        broker.kill_nginx()
        broker.start_nginx()
        broker.start_flusher()
        more()
        broker.kill_worker()
        more()
    finally:
        stop.set()
        for t in threads:
            t.join(60)
    assert not any(t.is_alive() for t in threads)
    wait_for(broker.drained, 60, "delivery", every=0.1)
    rows = clickhouse.query("SELECT message FROM logbroker.logs").split()
    assert len(rows) == len(set(rows)) and set(rows) == told
