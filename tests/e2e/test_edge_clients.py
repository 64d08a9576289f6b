"""Clients of the edge that do not wait for an answer, and the versions of HTTP they
speak."""

import os
import random
import socket
import ssl
import struct
import subprocess

import pytest

from env.bodies import answer, http1
from env.edge import stored
from env.process import free_port, wait_for


def tls_socket(port, protocol="http/1.1"):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([protocol])
    s = context.wrap_socket(socket.create_connection(("127.0.0.1", port)))
    assert s.selected_alpn_protocol() == protocol
    return s


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
