"""Answers that are nginx's own, at the edge and at a broker: JSON like all others."""

import json

import pytest

from env.bodies import CHUNKED, answer, http1
from env.edge import Edge, ShippedBroker, make_certificate
from env.process import free_port

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
