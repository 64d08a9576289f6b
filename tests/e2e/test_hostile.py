"""Everything a client may send by mistake or on purpose, line by line: a clear
4xx, nothing stored, no worker dies, memory flat.  And what looks hostile but
is valid, kept as it is."""

import gzip
import json
import socket
import time
import zlib

import pytest

from env import spool
from env.bodies import lz4, snappy, snappy_block, zstd
from env.build import sanitized
from env.nginx import Nginx
from env.process import children

TEXT = {"Content-Type": "text/plain"}
GZIP = {"Content-Encoding": "gzip"}

REFUSED = {
    "truncated object": (b'{"a":1', {}, 400),
    "truncated string": (b'{"a":"b', {}, 400),
    "truncated in an escape": (b'{"a":"\\u12', {}, 400),
    "truncated in a literal": (b'{"a":tr', {}, 400),
    "truncated array": (b'[{"a":1},', {}, 400),
    "one bad event at the end": (b'{"a":1}\n' * 1000 + b'{"a":}', {}, 400),
    "invalid UTF-8": (b'{"a":"\xff"}', {}, 400),
    "overlong UTF-8": (b'{"a":"\xc0\xaf"}', {}, 400),
    "UTF-8 surrogate": (b'{"a":"\xed\xa0\x80"}', {}, 400),
    "cut UTF-8": (b'{"a":"\xe2\x82', {}, 400),
    "invalid UTF-8 text": (b"fine\n\xfe\n", TEXT, 400),
    "control character": (b'{"a":"\x01"}', {}, 400),
    "NUL": (b'{"a":"\x00"}', {}, 400),
    "byte order mark": (b'\xef\xbb\xbf', {}, 400),
    "depth bomb": (b'{"a":' * 100000, {}, 400),
    "deep arrays": (b'{"a":' + b"[" * 100000 + b"]" * 100000 + b"}", {},
                    400),
    "depth bomb of events": (b"[" * 100000, {}, 400),
    "scalar": (b"42", {}, 400),
    "not JSON": (b"hello world", {}, 400),
    "bad number": (b'{"a":01}', {}, 400),
    "NaN": (b'{"a":NaN}', {}, 400),
    "trailing comma": (b'{"a":1,}', {}, 400),
    "empty": (b"", {}, 400),
    "empty array": (b"[]", {}, 400),
    "white space": (b" \n\t", {}, 400),
    "empty lines": (b"\n\r\n\n", TEXT, 400),
    "event too large": (b'{"a":"' + b"x" * 2000000 + b'"}', {}, 413),
    "string of 10 MB": (b'{"a":"' + b"x" * 10000000 + b'"}', {}, 413),
    "line of 10 MB": (b"x" * 10000000, TEXT, 413),
    "gzip bomb": (gzip.compress(b"0" * 300000000, 1), GZIP, 413),
    "gzip bomb of spaces": (gzip.compress(b" " * 300000000, 1), GZIP, 413),
    "deflate bomb": (zlib.compress(b" " * 300000000, 1),
                     {"Content-Encoding": "deflate"}, 413),
    "zstd bomb": (zstd(b" " * 300000000),
                  {"Content-Encoding": "zstd"}, 413),
    "lz4 bomb": (lz4(b" " * 300000000), {"Content-Encoding": "lz4"}, 413),
    "snappy bomb": (snappy(b" " * 60000000),
                    {"Content-Encoding": "snappy"}, 413),
    "block of snappy, a bomb": (snappy_block(b" " * 60000000),
                                {"Content-Encoding": "snappy"}, 413),
    "block of snappy that lies": (b"\xff\xff\xff\xff\x0fabcdef",
                                  {"Content-Encoding": "snappy"}, 400),
    "not gzip": (b"{}", GZIP, 400),
    "truncated gzip": (gzip.compress(b'{"a":1}')[:-5], GZIP, 400),
    "unknown encoding": (b"{}", {"Content-Encoding": "br"}, 415),
    "image": (b"{}", {"Content-Type": "image/png"}, 415),
    "form upload": (b"{}", {"Content-Type":
                            "multipart/form-data; boundary=x"}, 415),
    "charset": (b"{}", {"Content-Type":
                        "application/json; charset=utf-16"}, 415),
}

KEPT = {
    "number of ten thousand digits":
        b'{"n":' + b"9" * 10000 + b"}",
    "fraction of ten thousand digits":
        b'{"n":-0.' + b"1" * 10000 + b"e-" + b"9" * 400 + b"}",
    "duplicate keys": b'{"a":1,"a":2,"a":{"a":3,"a":4}}',
    "escaped NUL": b'{"a":"\\u0000"}',
    "lone surrogate": b'{"a":"\\ud800"}',
    "deep, but allowed": b'{"a":' + b"[" * 126 + b"]" * 126 + b"}",
    "empty key": b'{"":{"":""}}',
    "well-known names of odd types":
        b'{"time":{"a":1},"level":[],"message":7,"trace_id":null}',
}


@pytest.fixture(scope="module")
def nginx(tmp_path_factory):
    with Nginx(tmp_path_factory.mktemp("hostile"), workers=1,
               spool="size=64m",
               http="client_max_body_size 32m;"
                    "client_body_buffer_size 256k;") as n:
        yield n


def stored(nginx):
    return sum(r["next_seq"] for r in nginx.status()["rings"])


@pytest.mark.parametrize("name", REFUSED)
def test_refused(nginx, name):
    body, headers, status = REFUSED[name]
    before = stored(nginx)
    worker = children(nginx.process.pid)
    a = nginx.post("/log", body, headers)
    assert a.status == status, a.body
    words = json.loads(a.body)
    assert words["error"]
    assert len(a.body) < 2000
    assert stored(nginx) == before
    assert children(nginx.process.pid) == worker


@pytest.mark.parametrize("name", KEPT)
def test_kept(nginx, name):
    a = nginx.post("/log", KEPT[name])
    assert a.status == 204, a.body
    assert spool.events(nginx.spool)[-1] == KEPT[name]


def test_a_hundred_thousand_events(nginx):
    before = stored(nginx)
    body = json.dumps([{"n": i} for i in range(100000)])
    assert nginx.post("/log", body).status == 204
    assert stored(nginx) == before + 100000
    assert spool.events(nginx.spool)[-1] == b'{"n":99999}'


@pytest.mark.parametrize("path, status", [
    ("/log/" + "s" * 64, 204), ("/log/" + "s" * 65, 400),
    ("/log/a/b", 400), ("/log/%2e%2e", None), ("/log/a%20b", 400),
    ("/log/%00", None), ("/log/ä", None), ("/log/A-b_c.1", 204)])
def test_stream_names(nginx, path, status):
    before = stored(nginx)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
    with socket.create_connection(("127.0.0.1", nginx.port)) as s:
        s.sendall(head.encode() + b"Connection: close\r\n\r\n{}")
        answer = b""
        while data := s.recv(65536):
            answer += data
    got = int(answer.split()[1])
    assert got == status if status else 400 <= got < 500
    assert stored(nginx) == before + (got == 204)


def test_gone_mid_body(nginx):
    before = stored(nginx)
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", nginx.port)) as s:
            s.sendall(b"POST /log HTTP/1.1\r\nHost: x\r\n"
                      b"Content-Length: 100\r\n\r\n{\"a\":1}\n{\"a\"")
    assert nginx.post("/log", "{}").status == 204
    assert stored(nginx) == before + 1


def resident(nginx):
    text = open(f"/proc/{children(nginx.process.pid)[0]}/status").read()
    return int(text.split("VmRSS:")[1].split()[0])


@pytest.mark.skipif(sanitized(), reason="sanitizers keep freed memory")
def test_memory_is_flat(nginx):
    """Each of it once more, ten times."""

    def everything():
        for body, headers, status in REFUSED.values():
            assert nginx.post("/log", body, headers).status == status
        for body in KEPT.values():
            assert nginx.post("/log", body).status == 204

    for _ in range(3):
        everything()
    before = resident(nginx)
    for _ in range(10):
        everything()
    assert resident(nginx) < before + 8192  # KiB


def test_first_start_does_not_stall(tmp_path):
    """While large rings are being zero-filled the event loop goes on: other
    requests are served at once, and events are stored or honestly refused."""
    nginx = Nginx(tmp_path, workers=1, spool="size=1g rings=1",
                  server="location = /ok { return 200 ok; }")
    nginx.start(ring=False)
    try:
        slowest = 0
        statuses = set()
        end = time.monotonic() + 120
        while 204 not in statuses:
            assert time.monotonic() < end
            begun = time.monotonic()
            assert nginx.request("GET", "/ok").status == 200
            slowest = max(slowest, time.monotonic() - begun)
            a = nginx.post("/log", "{}")
            statuses.add(a.status)
            if a.status == 503:
                assert a.headers["Retry-After"] == "1"
                assert json.loads(a.body)["error"]
        assert statuses <= {204, 503}
        # filling takes a second or more; a stalled loop would show all of it
        assert slowest < 0.5, slowest
    finally:
        nginx.stop()
