"""What the module takes, and how it is stored: from the socket to the bytes in
the ring."""

import socket
import time

import pytest

from env import spool
from env.http import error
from env.nginx import Nginx


@pytest.mark.parametrize("body, kind, stored", [
    ('{"a":1}', None, ['{"a":1}']),
    ('{"a":1}', "application/json", ['{"a":1}']),
    ('{"a":1}', "application/x-www-form-urlencoded", ['{"a":1}']),
    (' [ {"a" : 1},\n{"b":[1, 2]} ] ', "application/json",
     ['{"a":1}', '{"b":[1,2]}']),
    ('{"a":1}\n{"a":2}\n\n{"a":3}', "application/x-ndjson",
     ['{"a":1}', '{"a":2}', '{"a":3}']),
    ('{"a":1}{"a":2}[{"a":3}]', None, ['{"a":1}', '{"a":2}', '{"a":3}']),
    ('{\n  "a": {\n    "b": " x y "\n  }\n}\n', "text/json",
     ['{"a":{"b":" x y "}}']),
    ('{"n":1.50e+01,"u":"\\u00e9é","a":1,"a":2}', "application/vnd.x+json",
     ['{"n":1.50e+01,"u":"\\u00e9é","a":1,"a":2}']),
    ('one\r\n\n two "2"\t\\\nthree', "text/plain",
     ['{"message":"one"}', '{"message":" two \\"2\\"\\t\\\\"}',
      '{"message":"three"}']),
    ('"a" {}', "Text/Plain; Charset=UTF-8",
     ['{"message":"\\"a\\" {}"}']),
    ('{"a":1}', 'application/json; charset="utf-8"', ['{"a":1}']),
    ('{"a":1}', "application/octet-stream", ['{"a":1}']),
    ('{"a":1}', "whatever", ['{"a":1}']),
])
def test_stored(nginx, body, kind, stored):
    before = time.time()
    a = nginx.post("/log", body, {"Content-Type": kind} if kind else {})
    after = time.time()
    assert a.status == 204
    assert a.body == b""
    assert "Content-Length" not in a.headers
    assert "Content-Type" not in a.headers
    record, = spool.records(nginx.spool)
    assert record.payload.decode() == "".join(s + "\n" for s in stored)
    assert record.events == len(stored)
    assert record.stream == "default"
    assert record.client == bytes([127, 0, 0, 1])
    assert before - 1 < record.received_us / 1e6 < after + 1


@pytest.mark.parametrize("kind", [
    "image/png", "text/html", "text/csv", "application/xml",
    "application/soap+xml", "multipart/form-data; boundary=x",
    "application/x-protobuf", "application/msgpack", "application/gzip",
    "application/json; charset=iso-8859-1", "text/plain;charset=koi8-r",
    "audio/x", "APPLICATION/CBOR"])
def test_foreign_type(nginx, kind):
    c = nginx.connect()
    for _ in range(2):  # the connection stays usable
        a = nginx.post("/log", "x" * 3000, {"Content-Type": kind}, c)
        assert a.status == 415
        assert "Content-Type" in error(a)["error"]
    assert nginx.post("/log", "{}", conn=c).status == 204
    assert spool.events(nginx.spool) == [b"{}"]


@pytest.mark.parametrize("method",
                         ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_method(nginx, method):
    c = nginx.connect()
    body = "{}" if method in ("PUT", "PATCH") else None
    a = nginx.request(method, "/log", body, conn=c)
    assert a.status == 405
    assert a.headers["Allow"] == "POST"
    if method != "HEAD":
        assert "POST" in error(a)["error"]
    assert nginx.post("/log", "{}", conn=c).status == 204


def test_streams(tmp_path):
    with Nginx(tmp_path, server="""
            location /s/ { logbroker; }
            location = /exact { logbroker; }
            location ~ ^/re/ { logbroker; }
            location /var { logbroker; logbroker_stream $arg_s; }
            location /host { logbroker; logbroker_stream app-$http_x_app; }
            """) as nginx:
        good = [("/log", "default"), ("/log/", "default"),
                ("/log/app", "app"), ("/log/A_b.c-9", "A_b.c-9"),
                ("/log/%61", "a"), ("/log/" + "x" * 64, "x" * 64),
                ("/s/app", "app"), ("/s/", "default"), ("/exact", "default"),
                ("/re/x", "default"), ("/var?s=y", "y"), ("/var", "default"),
                ("/host", "app-")]
        for path, _ in good:
            assert nginx.post(path, "{}").status == 204, path
        assert [r.stream for r in spool.records(nginx.spool)] == \
            [stream for _, stream in good]
        for path in ("/log/" + "x" * 65, "/log/a/b", "/log/a%20b", "/logs",
                     "/log/a/", "/log/%c3%a9", "/var?s=a/b", "/var?s=*"):
            a = nginx.post(path, "{}")
            assert a.status == 400, path
            assert "stream" in error(a)["error"]
        assert len(spool.records(nginx.spool)) == len(good)


def test_clients(tmp_path):
    have_v6 = True
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(("::1", 0))
            port = s.getsockname()[1]
    except OSError:
        have_v6 = False
    listen = f"listen [::1]:{port};" if have_v6 else ""
    with Nginx(tmp_path, listen=listen, server="""
            set_real_ip_from 127.0.0.1; real_ip_header X-Real-IP;
            """) as nginx:
        expected = []

        def raw(family, address):
            with socket.socket(family) as s:
                s.connect(address)
                s.sendall(b"POST /log HTTP/1.1\r\nHost: x\r\n"
                          b"Connection: close\r\nContent-Length: 2\r\n\r\n{}")
                assert s.recv(100).startswith(b"HTTP/1.1 204")

        raw(socket.AF_UNIX, str(nginx.unix))
        expected.append(b"")
        if have_v6:
            raw(socket.AF_INET6, ("::1", port))
            expected.append(bytes(15) + b"\1")
        for ip, stored in (("192.0.2.7", bytes([192, 0, 2, 7])),
                           ("2001:db8::5", bytes.fromhex(
                               "20010db8000000000000000000000005")),
                           ("::ffff:10.1.2.3", bytes([10, 1, 2, 3]))):
            assert nginx.post("/log", "{}", {"X-Real-IP": ip}).status == 204
            expected.append(stored)
        assert [r.client for r in spool.records(nginx.spool)] == expected
