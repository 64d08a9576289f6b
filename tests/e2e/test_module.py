"""The nginx module, from the socket to the bytes in the ring."""

import base64
import concurrent.futures
import contextlib
import ctypes
import ctypes.util
import errno
import gzip
import itertools
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import threading
import time
import zlib

import pytest

from env import spool
from env.nginx import ROOT, Daemon, Nginx, alive, wait_for


@pytest.fixture
def nginx(tmp_path):
    with Nginx(tmp_path) as n:
        yield n


@pytest.fixture(scope="module")
def faults_so(tmp_path_factory):
    so = tmp_path_factory.mktemp("faults") / "faults.so"
    subprocess.run(["gcc", "-D_GNU_SOURCE", "-O1", "-fPIC", "-shared", "-o",
                    so, ROOT / "tests/env/faults.c", "-ldl"], check=True)
    return so


class Faults:
    def __init__(self, so, directory):
        self.so = so
        self.dir = pathlib.Path(directory)
        self.dir.mkdir()
        self.env = {"LB_FAULT_DIR": str(self.dir)}

    def set(self, name, value):
        temp = self.dir / (name + ".new")
        temp.write_text(str(value))
        temp.rename(self.dir / name)

    def clear(self, name):
        (self.dir / name).unlink()


@pytest.fixture
def faults(faults_so, tmp_path):
    return Faults(faults_so, tmp_path / "faults")


def error(answer):
    assert answer.headers["Content-Type"] == "application/json"
    assert int(answer.headers["Content-Length"]) == len(answer.body)
    return json.loads(answer.body)


def zstd(data):
    lib = ctypes.CDLL(ctypes.util.find_library("zstd"))
    lib.ZSTD_compressBound.restype = ctypes.c_size_t
    lib.ZSTD_compress.restype = ctypes.c_size_t
    size = lib.ZSTD_compressBound(ctypes.c_size_t(len(data)))
    out = ctypes.create_string_buffer(size)
    n = lib.ZSTD_compress(out, ctypes.c_size_t(size), data,
                          ctypes.c_size_t(len(data)), 3)
    assert n <= size
    return out.raw[:n]


# What is taken, and how it is stored


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
    ('{"a":1}', "Text/Plain; Charset=UTF-8",
     ['{"message":"{\\"a\\":1}"}']),
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


# What is refused


def test_malformed(nginx):
    c = nginx.connect()
    for body, row, column in (
            ('{"a":1}\n{"a":2}\n{"a":x}\n', 3, 6),
            ('{"a":', 1, 6),
            ('[{"a":1},2]', 1, 10),
            ('{"é":1}\n"x"', 2, 1),
            ('{"é": tru}', 1, 7),
            ('{"a":1},{"a":2}', 1, 8),
            ('hello', 1, 1)):
        a = nginx.post("/log", body, conn=c)
        assert a.status == 400
        e = error(a)
        assert (e["row"], e["column"]) == (row, column), (body, e)
        assert e["error"]
    a = nginx.post("/log", b"ok\n\xff\n", {"Content-Type": "text/plain"}, c)
    assert a.status == 400
    assert (error(a)["row"], error(a)["column"]) == (2, 1)
    # quotes, backslashes and control characters in the words are escaped
    a = nginx.post("/log", b'{"a":1 "\\\x01\x7f\xff"}', conn=c)
    assert a.status == 400
    error(a)
    # all or nothing, and the connection still works
    assert nginx.post("/log", '{"last":1}', conn=c).status == 204
    assert spool.events(nginx.spool) == [b'{"last":1}']


@pytest.mark.parametrize("body", ["", " \n\t ", "[]", "[] [ ]"])
def test_empty(nginx, body):
    a = nginx.post("/log", body)
    assert a.status == 400
    assert error(a) == {"error": "no event in the body"}


def test_too_big(tmp_path):
    with Nginx(tmp_path, spool="size=64k", server="""
            client_max_body_size 100k;
            location /tiny { logbroker; logbroker_max_event 20; }
            location /own { logbroker; client_max_body_size 0; }
            """) as nginx:
        c = nginx.connect()
        a = nginx.post("/tiny", '{"a": "0123456789ab"}\n{"a":"0123456789abc"}',
                       conn=c)
        assert a.status == 413
        assert error(a)["row"] == 2
        assert nginx.post("/tiny", '{"a" : "0123456789ab"}',
                          conn=c).status == 204
        big = b'{"a":"%s"}' % (b"x" * 70000)
        a = nginx.post("/log", big, conn=c)     # larger than the ring
        assert a.status == 413
        assert "ring" in error(a)["error"]
        assert "row" not in error(a)
        assert nginx.post("/log", big * 2).status == 413    # nginx's own
        a = nginx.post("/own", gzip.compress(b"{} " * 50000),
                       {"Content-Encoding": "gzip"})
        assert a.status == 413
        assert len(spool.events(nginx.spool)) == 1


# Compressed bodies


def test_compressed(tmp_path):
    body = b"".join(b'{"n":%d,"pad":"%s"}\n' % (i, b"y" * (i % 50))
                    for i in range(1000))
    half = body.index(b"\n", len(body) // 2) + 1
    rest = random.Random(1).randbytes(3000)
    noise = b'{"noise":"%s"}\n' % base64.b64encode(rest)
    with Nginx(tmp_path, spool="size=4m", http="client_max_body_size 200k;",
               server="""location /file {
                   logbroker; client_body_buffer_size 1k; }""") as nginx:
        good = [
            ("gzip", gzip.compress(body), body),
            ("x-gzip", gzip.compress(body, 1), body),
            ("GZIP", gzip.compress(body[:half]) + gzip.compress(body[half:]),
             body),
            ("gzip, identity", gzip.compress(noise), noise),
            ("identity", body, body),
            ("zstd", zstd(body), body),
            ("zstd", zstd(body[:half]) + zstd(body[half:]), body),
            ("zstd", zstd(noise), noise),
        ]
        for path in ("/log", "/file"):
            for encoding, data, _ in good:
                a = nginx.post(path, data, {"Content-Encoding": encoding})
                assert a.status == 204, (path, encoding, a)
        assert [r.payload for r in spool.records(nginx.spool)] == \
            [plain for _ in "12" for _, _, plain in good]
        packed = gzip.compress(noise)
        bad = [
            ("gzip", packed[:-1]), ("gzip", packed[:-9]), ("gzip", packed[:5]),
            ("gzip", noise), ("gzip", packed + b"x"),
            ("gzip", packed[:100] + b"\0\0\0" + packed[103:]),
            ("gzip", zlib.compress(noise)),
            ("zstd", zstd(noise)[:-1]), ("zstd", noise),
            ("zstd", zstd(noise) + b"xyzt"),
        ]
        bombs = [
            ("gzip", gzip.compress(b" " * 10_000_000 + b"{}")),
            ("zstd", zstd(b" " * 50_000_000 + b"{}")),
            ("gzip", gzip.compress(b"{}" + b" " * (200 * 1024 - 1))),
        ]
        c = nginx.connect()
        for path in ("/log", "/file"):
            for encoding, data in bad:
                a = nginx.post(path, data, {"Content-Encoding": encoding}, c)
                assert a.status == 400, (path, encoding, a)
                assert encoding in error(a)["error"]
            for encoding, data in bombs:
                a = nginx.post(path, data, {"Content-Encoding": encoding}, c)
                assert a.status == 413, (path, encoding, a)
                assert "too large" in error(a)["error"]
            a = nginx.post(path, gzip.compress(b"{}" + b" " * (200 * 1024 - 2)),
                           {"Content-Encoding": "gzip"}, c)
            assert a.status == 204
            for exact in (b"{}" + b" " * (200 * 1024 - 2), b'{"n":"%s"}' % (
                    base64.b64encode(random.Random(2).randbytes(153_594)))):
                assert len(exact) == 200 * 1024
                a = nginx.post(path, gzip.compress(exact) + gzip.compress(b""),
                               {"Content-Encoding": "gzip"}, c)
                assert a.status == 204
            a = nginx.post(path, b"", {"Content-Encoding": "gzip"}, c)
            assert a.status == 400
            a = nginx.post(path, gzip.compress(b'{"a":\n?}'),
                           {"Content-Encoding": "gzip"}, c)
            assert (error(a)["row"], error(a)["column"]) == (2, 1)
        for encoding in ("br", "deflate", "gzip, gzip", "compress"):
            a = nginx.post("/log", "{}", {"Content-Encoding": encoding}, c)
            assert a.status == 415
            assert "Content-Encoding" in error(a)["error"]
        assert len(spool.records(nginx.spool)) == 2 * len(good) + 6


# Ways a body can arrive


def body_of(size):
    """NDJSON of exactly this many bytes, each line different."""
    lines = []
    left = size
    for n in itertools.count():
        line = b'{"n":%d,"p":"' % n
        if left < 2 * 100 + len(line):
            lines.append(line + b"z" * (left - len(line) - 3) + b'"}\n')
            return b"".join(lines)
        lines.append(line + b"z" * (100 - len(line) - 3) + b'"}\n')
        left -= 100


@pytest.mark.parametrize("buffer", ["1k", "16k", "4m"])
def test_sizes(tmp_path, buffer):
    """In memory, in a file, sent plain and chunked in odd pieces."""
    sizes = [20, 900, 1000, 1023, 1024, 1025, 1280, 1300, 4096, 16383, 16384,
             16385, 20480, 100_000, 1_000_000]
    rng = random.Random(7)
    with Nginx(tmp_path, spool="size=16m", http=f"""
            client_max_body_size 8m; client_body_buffer_size {buffer};
            """) as nginx:
        sent = []
        c = nginx.connect()
        for size in sizes:
            body = body_of(size)
            assert len(body) == size
            assert nginx.post("/log", body, conn=c).status == 204, size
            sent.append(body)

            pieces = []
            i = 0
            while i < size:
                n = rng.choice((1, 7, 100, 1000, 5000, 70000))
                pieces.append(body[i:i + n])
                i += n
            a = nginx.post("/log", iter(pieces), conn=c)  # chunked
            assert a.status == 204, (size, a)
            sent.append(body)
        assert [r.payload for r in spool.records(nginx.spool)] == sent
        log = nginx.error_log.read_text()
        used_file = "buffered to a temporary file" in log
        assert used_file == (buffer != "4m")


def test_body_always_in_file(tmp_path):
    with Nginx(tmp_path, http="client_body_in_file_only clean;") as nginx:
        bodies = [b"{}\n", body_of(5000), body_of(200_000)]
        for body in bodies:
            assert nginx.post("/log", body).status == 204
        a = nginx.post("/log", '{"a":\n1,}')
        assert (a.status, error(a)["row"]) == (400, 2)
        assert nginx.post("/log", "").status == 400
        assert [r.payload for r in spool.records(nginx.spool)] == bodies


@pytest.mark.parametrize("headers", ["1k", "32k"])
def test_body_behind_header(tmp_path, headers):
    """Part of the body comes with the header, the rest later and with the
    next request behind it."""
    with Nginx(tmp_path, spool="size=16m",
               http=f"client_header_buffer_size {headers};") as nginx:
        sent = []
        for size in (900, 3000, 20_000, 70_000):
            for cut in (0, 1, 500, size - 1):
                first, second = body_of(size), body_of(700)
                head, tail = (
                    b"POST /log HTTP/1.1\r\nHost: x\r\nContent-Length: %d"
                    b"\r\n\r\n" % len(b) for b in (first, second))
                with socket.create_connection(
                        ("127.0.0.1", nginx.port)) as s:
                    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    s.sendall(head + first[:cut])
                    time.sleep(0.01)
                    s.sendall(first[cut:] + tail + second)
                    answers = b""
                    while answers.count(b"\r\n\r\n") < 2:
                        data = s.recv(4096)
                        assert data, answers
                        answers += data
                assert answers.count(b"HTTP/1.1 204") == 2, answers
                sent += [first, second]
        assert [r.payload for r in spool.records(nginx.spool)] == sent


def test_body_shared_with_mirror(tmp_path):
    """A mirrored body is still being sent when its record is staged."""
    body = body_of(100_000)
    with Nginx(tmp_path, spool="size=16m", server="""
            location /log/mirrored { mirror /copy; logbroker;
                                     logbroker_stream mirrored; }
            location = /copy {
                internal;
                proxy_pass http://unix:$document_root/nginx.sock:/log/copy;
            }""".replace("$document_root", str(tmp_path)),
               http="client_body_buffer_size 1m;") as nginx:
        for _ in range(20):
            assert nginx.post("/log/mirrored", body).status == 204
        wait_for(lambda: nginx.status()["accepted"]["requests"] == 40,
                 what="the copies")
        got = {(r.stream, r.payload) for r in spool.records(nginx.spool)}
        assert got == {("mirrored", body), ("copy", body)}


def test_slow_client(nginx):
    body = b'{"slow":1}\n{"slow":2}'
    with socket.create_connection(("127.0.0.1", nginx.port)) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        head = (b"POST /log HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
                % len(body))
        for byte in head + body:
            s.send(bytes([byte]))
            time.sleep(0.001)
        assert s.recv(1000).startswith(b"HTTP/1.1 204")
        # and two requests in one packet
        s.sendall((head + body) * 2)
        got = b""
        while got.count(b"204") < 2:
            got += s.recv(1000)
    assert len(spool.records(nginx.spool)) == 3


def test_expect_continue(nginx):
    with socket.create_connection(("127.0.0.1", nginx.port)) as s:
        s.sendall(b"POST /log HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
                  b"Expect: 100-continue\r\n\r\n")
        assert s.recv(1000).startswith(b"HTTP/1.1 100")
        s.sendall(b"{}")
        assert s.recv(1000).startswith(b"HTTP/1.1 204")


def test_gone_mid_body(nginx):
    """Half a body is no event."""
    for size in (10, 100_000):
        with socket.create_connection(("127.0.0.1", nginx.port)) as s:
            s.sendall(b"POST /log HTTP/1.1\r\nHost: x\r\n"
                      b"Content-Length: %d\r\n\r\n" % size)
            s.sendall(b'{"a":1}\n' * (size // 16))
    wait_for(lambda: sum(" POST " in x for x in nginx.access()) == 2,
             what="nginx to notice")
    assert spool.records(nginx.spool) == []
    assert nginx.post("/log", "{}").status == 204


def test_http2(tmp_path):
    if not shutil.which("nghttp") or not shutil.which("h2load"):
        pytest.skip("nghttp2-client is not installed")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    with Nginx(tmp_path, spool="size=64m", listen=f"listen {port} http2;",
               http="client_max_body_size 8m;") as nginx:
        total = 0
        for size in (30, 20_000, 1_000_000):
            data = tmp_path / "data"
            data.write_bytes(body_of(size))
            n = 400 if size < 1_000_000 else 20
            p = subprocess.run(
                ["h2load", "-n", str(n), "-c", "4", "-m", "10", "-d",
                 str(data), f"http://127.0.0.1:{port}/log/h2"],
                capture_output=True, text=True, check=True)
            assert f"{n} 2xx, 0 3xx, 0 4xx, 0 5xx" in p.stdout, p.stdout
            total += n
        stored = spool.records(nginx.spool)
        assert len(stored) == total
        assert {r.payload for r in stored} == {
            body_of(n) for n in (30, 20_000, 1_000_000)}
        assert {r.client for r in stored} == {bytes([127, 0, 0, 1])}
        data.write_bytes(b'{"a":')
        p = subprocess.run(["nghttp", "-v", "-d", str(data),
                            f"http://127.0.0.1:{port}/log"],
                           capture_output=True, text=True, check=True)
        assert ":status: 400" in p.stdout
        assert '"column": 6' in p.stdout


def test_mirror(tmp_path):
    """A subrequest has the body of its parent."""
    with Nginx(tmp_path, server="""
            location /m { mirror /log; return 200; }
            location /p { mirror /log/copy; proxy_pass
                          http://127.0.0.1:$server_port/log/direct; }
            """) as nginx:
        for size in (100, 100_000):
            assert nginx.post("/p", body_of(size)).status == 204
        wait_for(lambda: len(spool.records(nginx.spool)) == 4,
                 what="four records")
        assert sorted(r.stream for r in spool.records(nginx.spool)) == \
            ["copy", "copy", "direct", "direct"]


# Groups, waiting and answers


def test_group_commit(tmp_path, faults):
    """What arrives while a write is running shares the next one."""
    with Nginx(tmp_path, preload=faults.so, env=faults.env) as nginx:
        faults.set("delay", 200)
        with concurrent.futures.ThreadPoolExecutor(40) as pool:
            start = time.monotonic()
            answers = list(pool.map(
                lambda i: nginx.post("/log", '{"i":%d}' % i).status,
                range(40)))
            took = time.monotonic() - start
        faults.clear("delay")
        assert answers == [204] * 40
        ring, *_ = [r for r in spool.rings(nginx.spool)
                    if r.counters["records"]]
        assert ring.counters["records"] == 40
        assert ring.counters["writes"] == ring.counters["syncs"]
        assert ring.counters["writes"] < 20
        assert took < 20 * 0.2
        assert ring.cell.durable == ring.cell.committed


def test_answer_waits_for_sync(tmp_path, faults):
    with Nginx(tmp_path, preload=faults.so, env=faults.env,
               server="location /off { logbroker; logbroker_sync off; }"
               ) as nginx:
        assert nginx.post("/log", "{}").status == 204
        faults.set("delay", 600)
        start = time.monotonic()
        assert nginx.post("/log", "{}").status == 204
        assert time.monotonic() - start > 0.55
        # the event loop does not wait
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            slow = pool.submit(nginx.post, "/log", "{}")
            time.sleep(0.1)
            start = time.monotonic()
            nginx.status()
            assert time.monotonic() - start < 0.3
            assert not slow.done()
            assert slow.result().status == 204


def test_sync_off(tmp_path, faults):
    """Answered at once, durable a second later; nobody waits while the sync
    runs."""
    with Nginx(tmp_path, preload=faults.so, env=faults.env,
               location="logbroker_sync off;") as nginx:

        def ring():
            return [r for r in spool.rings(nginx.spool)
                    if r.counters["records"]][0]

        assert nginx.post("/log", "{}").status == 204
        wait_for(lambda: ring().cell.durable == ring().cell.committed,
                 timeout=4, what="durable")
        assert ring().counters["syncs"] >= 1
        c = nginx.connect()
        end = time.monotonic() + 3
        faults.set("sync_delay", 800)
        n = 1
        longest = 0
        while time.monotonic() < end:
            start = time.monotonic()
            assert nginx.post("/log", "{}", conn=c).status == 204
            longest = max(longest, time.monotonic() - start)
            n += 1
            time.sleep(0.002)
        faults.clear("sync_delay")
        assert longest < 0.6
        assert ring().counters["syncs"] >= 2
        assert len(spool.records(nginx.spool)) == n


def test_mixed_sync(tmp_path):
    with Nginx(tmp_path, spool="size=16m",
               server="location /off { logbroker; logbroker_sync off; }"
               ) as nginx:
        def client(i):
            c = nginx.connect()
            path = "/off" if i % 2 else "/log"
            return [nginx.post(path, '{"i":%d,"n":%d}' % (i, n),
                               conn=c).status for n in range(200)]
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            for statuses in pool.map(client, range(8)):
                assert statuses == [204] * 200
        got = sorted(spool.events(nginx.spool))
        assert got == sorted(b'{"i":%d,"n":%d}' % (i, n)
                             for i in range(8) for n in range(200))


def test_parked(tmp_path, faults):
    """More than the staging buffer takes: later requests wait, in memory and
    in files, and all are stored once."""
    with Nginx(tmp_path, spool="size=256m", preload=faults.so, env=faults.env,
               http="client_max_body_size 20m;", server="""
               location /mem { logbroker; client_body_buffer_size 4m; }
               location /file { logbroker; client_body_buffer_size 16k; }
               """) as nginx:
        bodies = [body_of(1_000_000 + i) for i in range(30)]
        bodies.append(body_of(12_000_000))  # alone above the limit
        faults.set("delay", 300)
        with concurrent.futures.ThreadPoolExecutor(31) as pool:
            answers = list(pool.map(
                lambda i: nginx.post("/mem" if i % 2 else "/file",
                                     bodies[i]).status, range(31)))
        faults.clear("delay")
        assert answers == [204] * 31
        stored = [r.payload for r in spool.records(nginx.spool)]
        assert sorted(stored) == sorted(bodies)
        # 42 MB in groups of at most 8 MB, but for the large one
        assert sum(r.counters["writes"]
                   for r in spool.rings(nginx.spool)) >= 5


@pytest.mark.parametrize("how", ["close", "reset"])
def test_client_gone_while_waiting(tmp_path, faults, how):
    """The record stays, the answer is dropped, others are answered."""
    with Nginx(tmp_path, preload=faults.so, env=faults.env) as nginx:
        faults.set("delay", 500)
        gone = []
        for i in range(5):
            s = socket.create_connection(("127.0.0.1", nginx.port))
            s.sendall(b"POST /log HTTP/1.1\r\nHost: x\r\n"
                      b"Content-Length: 9\r\n\r\n" + b'{"g":%3d}' % i)
            gone.append(s)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            other = pool.submit(nginx.post, "/log", '{"stays":1}')
            time.sleep(0.2)
            for s in gone:
                if how == "reset":
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                 b"\1\0\0\0\0\0\0\0")
                s.close()
            assert other.result().status == 204
        faults.clear("delay")
        wait_for(lambda: len(spool.records(nginx.spool)) == 6,
                 what="six records")
        assert nginx.post("/log", "{}").status == 204


def test_http2_reset_while_waiting(tmp_path, faults):
    """h2load is stopped while its streams wait for the disk."""
    if not shutil.which("h2load"):
        pytest.skip("nghttp2-client is not installed")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    with Nginx(tmp_path, preload=faults.so, env=faults.env,
               listen=f"listen {port} http2;") as nginx:
        data = tmp_path / "data"
        data.write_bytes(b'{"a":1}')
        for _ in range(5):
            faults.set("delay", 300)
            p = subprocess.Popen(
                ["h2load", "-n", "100000", "-c", "4", "-m", "20", "-d",
                 str(data), f"http://127.0.0.1:{port}/log"],
                stdout=subprocess.DEVNULL)
            time.sleep(0.5)
            p.kill()
            p.wait()
            faults.clear("delay")
            assert nginx.post("/log", "{}").status == 204
        s = nginx.status()
        assert s["answers_dropped"] > 0
        # streams wait together
        assert 1 < s["largest_group"] <= 80
        assert s["accepted"]["events"] == len(spool.events(nginx.spool))


# Trouble


def test_full(tmp_path):
    """503 with Retry-After, nothing lost; room again after an ack, across the
    end of the ring."""
    with Nginx(tmp_path, spool="size=64k rings=1") as nginx:
        c = nginx.connect()
        delivered = []
        sent = []
        rng = random.Random(3)
        refused = 0
        while refused < 20:
            body = b'{"n":%d,"p":"%s"}' % (
                len(sent), b"x" * rng.randint(0, 9000))
            a = nginx.post("/log", body, conn=c)
            if a.status == 204:
                sent.append(body)
                continue
            assert a.status == 503
            assert int(a.headers["Retry-After"]) > 0
            assert "full" in error(a)["error"]
            refused += 1
            delivered += spool.events(nginx.spool)
            spool.rings(nginx.spool)[0].ack()
        delivered += spool.events(nginx.spool)
        assert delivered == sent
        assert nginx.status()["refused"]["full"] == refused
        assert nginx.error_log.read_text().count("is full") == 1


def test_write_fails(tmp_path, faults):
    """The ring is poisoned and never used again; another one is claimed."""
    with Nginx(tmp_path, preload=faults.so, env=faults.env) as nginx:
        assert nginx.post("/log", '{"before":1}').status == 204
        first = nginx.status()["worker"]["slot"]
        faults.set("fail", errno.EIO)
        a = nginx.post("/log", '{"lost":1}')
        assert a.status == 503
        assert int(a.headers["Retry-After"]) > 0
        assert "disk" in error(a)["error"]
        faults.clear("fail")
        wait_for(lambda: nginx.status()["worker"]["slot"] is not None,
                 what="another ring")
        assert nginx.post("/log", '{"after":1}').status == 204
        status = nginx.status()
        assert status["worker"]["slot"] != first
        ring = status["rings"][first]
        assert ring["poisoned"] and not ring["locked"]
        assert status["refused"]["write_failed"] == 1
        assert sorted(spool.events(nginx.spool)) == [
            b'{"after":1}', b'{"before":1}']


def test_write_fails_while_sync_runs(tmp_path, faults):
    """The ring is given up when the thread is done with it."""
    with Nginx(tmp_path, preload=faults.so, env=faults.env,
               location="logbroker_sync off;") as nginx:
        faults.set("sync_delay", 1500)
        assert nginx.post("/log", '{"before":1}').status == 204
        wait_for((faults.dir / "syncing").exists, what="a sync")
        faults.clear("sync_delay")
        faults.set("fail", errno.EIO)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            first = pool.submit(nginx.post, "/log", '{"lost":1}')
            wait_for(lambda: sum(r.counters["failures"] for r in
                                 spool.rings(nginx.spool)), what="failure")
            faults.clear("fail")
            second = pool.submit(nginx.post, "/log", '{"lost":2}')
            assert not first.done()
            for answer in (first, second):
                assert answer.result().status == 503
                assert "disk" in error(answer.result())["error"]
        wait_for(lambda: nginx.post("/log", '{"after":1}').status == 204,
                 what="another ring")
        assert nginx.status()["refused"]["write_failed"] == 2
        assert "failed: Input/output error" in nginx.error_log.read_text()
        events = spool.events(nginx.spool)
        assert b'{"after":1}' in events
        assert not any(b"lost" in e for e in events)


@pytest.mark.parametrize("sync", ["always", "off"])
def test_write_fails_for_all(tmp_path, faults, sync):
    """Under load: each request is stored or answered 503, and it recovers."""
    with Nginx(tmp_path, spool="size=1m rings=16", preload=faults.so,
               env=faults.env, location=f"logbroker_sync {sync};") as nginx:
        acked, failed = [], []
        stop = threading.Event()

        def client(i):
            n = 0
            while not stop.is_set():
                body = b'{"i":%d,"n":%d}' % (i, n)
                n += 1
                status = nginx.post("/log", body).status
                assert status in (204, 503)
                (acked if status == 204 else failed).append(body)
                if status == 503:
                    time.sleep(0.02)

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            futures = [pool.submit(client, i) for i in range(8)]
            try:
                for _ in range(3):
                    before = len(acked)
                    wait_for(lambda: len(acked) > before + 100, what="answers")
                    faults.set("fail", errno.EIO)
                    before = len(failed)
                    wait_for(lambda: len(failed) > before + 10, what="503")
                    faults.clear("fail")
                    before = len(acked)
                    wait_for(lambda: len(acked) > before + 10, what="recovery")
            finally:
                stop.set()
            for f in futures:
                f.result()
        stored = spool.events(nginx.spool)
        assert len(stored) == len(set(stored))
        assert set(acked) == set(stored)


def test_no_spool(tmp_path):
    """A worker without a spool says why, and serves as soon as it can."""
    nginx = Nginx(tmp_path)
    nginx.spool.mkdir()
    (nginx.spool / "spool").write_text("something else entirely")
    nginx.start(ring=False)
    try:
        c = nginx.connect()
        a = nginx.post("/log", "{}", conn=c)
        assert a.status == 503
        assert a.headers["Retry-After"] == "1"
        error(a)
        status = nginx.status()
        assert status["worker"]["slot"] is None
        assert str(nginx.spool) in status["worker"]["problem"]
        assert str(nginx.spool) in nginx.error_log.read_text()
        time.sleep(2.5)  # several attempts, one line
        assert nginx.error_log.read_text().count(
            status["worker"]["problem"]) == 1
        assert nginx.status()["workers"] == {"running": 1, "without_ring": 1}
        (nginx.spool / "spool").unlink()
        wait_for(lambda: nginx.post("/log", "{}", conn=c).status == 204,
                 what="a ring")
        wait_for(lambda: nginx.status()["workers"]["without_ring"] == 0,
                 what="the status to say so")
        assert nginx.status()["worker"]["problem"] is None
    finally:
        nginx.stop()


def test_too_few_rings(tmp_path):
    """The worker that gets none answers 503; it takes over when the other
    one dies."""
    nginx = Nginx(tmp_path, workers=2, spool="size=64k rings=1",
                  http="keepalive_timeout 0;")
    nginx.start(ring=False)
    try:
        def codes():
            return {nginx.post("/log", "{}").status for _ in range(20)}
        wait_for(lambda: any(r["locked"] for r in nginx.status()["rings"]),
                 what="the ring")
        assert codes() <= {204, 503}
        assert "rings=1 is less than worker_processes 2" in \
            nginx.error_log.read_text()
        for _ in range(3):
            for pid in nginx.workers():
                os.kill(pid, signal.SIGKILL)
                wait_for(lambda: pid not in nginx.workers())
        wait_for(lambda: 204 in codes(), what="a worker with a ring")
    finally:
        nginx.stop()


# Reload, quit, crash


class Load:
    """Clients that post until told to stop, and remember what was answered."""

    number = itertools.count()

    def __init__(self, nginx, clients=6, path="/log"):
        self.nginx = nginx
        self.path = path
        self.id = next(self.number)
        self.acked = []
        self.other = []
        self.lost = []
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(i,))
                        for i in range(clients)]

    def run(self, i):
        rng = random.Random(i)
        c = None
        n = 0
        while not self.stop.is_set():
            event = b'{"load":%d,"c":%d,"n":%d,"p":"%s"}' % (
                self.id, i, n, b"x" * rng.randint(0, 500))
            n += 1
            if c is None:
                c = self.nginx.connect()
                try:
                    c.connect()
                except OSError:
                    c = None
                    time.sleep(0.01)
                    continue
            try:
                a = self.nginx.post(self.path, event, conn=c)
            except (OSError, Exception) as e:
                c.close()
                c = None
                self.lost.append((event, repr(e)))
                continue
            if a.status == 204:
                self.acked.append(event)
            else:
                self.other.append((a.status, a.body))
            if a.headers.get("Connection") == "close":
                c.close()
                c = None

    def __enter__(self):
        for t in self.threads:
            t.start()
        wait_for(lambda: len(self.acked) > 20, what="first answers")
        return self

    def __exit__(self, *exc):
        self.stop.set()
        for t in self.threads:
            t.join()

    def more(self, n=50):
        before = len(self.acked)
        wait_for(lambda: len(self.acked) >= before + n, what="progress")

    def verify(self, *others):
        """Everything acknowledged is stored once; what else is stored was
        sent by a request that got no answer."""
        loads = [self, *others]
        stored = spool.events(self.nginx.spool)
        assert len(stored) == len(set(stored))
        missing = {e for x in loads for e in x.acked} - set(stored)
        assert not missing, f"{len(missing)} lost"
        extra = set(stored) - {e for x in loads for e in x.acked}
        assert extra <= {e for x in loads for e, _ in x.lost}


@pytest.mark.parametrize("sync", ["always", "off"])
def test_reload(tmp_path, sync):
    with Nginx(tmp_path, workers=2, spool="size=4m rings=16",
               location=f"logbroker_sync {sync};") as nginx:
        with Load(nginx) as load:
            for _ in range(10):
                old = nginx.workers()
                nginx.reload()
                load.more()
                wait_for(lambda: not any(alive(p) for p in old),
                         what="old workers to leave")
        assert load.other == []
        # a request sent on an idle connection that nginx was just closing
        # may find it closed, and was not taken then
        stored = set(spool.events(nginx.spool))
        assert not stored & {event for event, _ in load.lost}
        load.verify()
        counters = nginx.status()["accepted"]
        assert counters["events"] == len(stored)


def test_reload_without_spare(tmp_path):
    """The new worker's requests wait until the old one gives its ring back."""
    with Nginx(tmp_path, spool="size=1m rings=1") as nginx:
        with Load(nginx, clients=2) as load:
            for _ in range(5):
                old = nginx.workers()
                nginx.reload(spares=False)
                load.more(20)
                wait_for(lambda: not any(alive(p) for p in old),
                         what="old worker to leave")
                wait_for(lambda: nginx.status()["worker"]["slot"] is not None,
                         what="the ring in new hands")
        assert load.other == []
        load.verify()


def test_quit_waits(tmp_path, faults):
    """A graceful exit answers what is being written first."""
    nginx = Nginx(tmp_path, preload=faults.so, env=faults.env)
    nginx.start()
    faults.set("delay", 700)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(nginx.post, "/log", '{"i":%d}' % i)
                   for i in range(8)]
        time.sleep(0.3)
        nginx.stop(signal.SIGQUIT)
        assert [f.result().status for f in futures] == [204] * 8
    assert len(spool.records(nginx.spool)) == 8


@pytest.mark.parametrize("sync", ["always", "off"])
def test_quit_under_load(tmp_path, sync):
    nginx = Nginx(tmp_path, workers=2, location=f"logbroker_sync {sync};")
    nginx.start()
    with Load(nginx) as load:
        load.more(200)
        start = time.monotonic()
        nginx.stop(signal.SIGQUIT)
        assert time.monotonic() - start < 10
    load.verify()
    assert load.other == []
    for ring in spool.rings(nginx.spool):
        assert ring.cell.durable == ring.cell.committed


def test_worker_shutdown_timeout(tmp_path, faults):
    """The waiting requests are cut off, their records stay."""
    nginx = Nginx(tmp_path, preload=faults.so, env=faults.env,
                  main="worker_shutdown_timeout 300ms;")
    nginx.start()
    faults.set("delay", 1500)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(nginx.post, "/log", '{"i":%d}' % i)
                   for i in range(4)]
        time.sleep(0.3)
        nginx.stop(signal.SIGQUIT)
        for f in futures:
            with contextlib.suppress(Exception):
                f.result()
    assert len(spool.records(nginx.spool)) >= 1
    faults.clear("delay")
    with nginx:
        assert nginx.post("/log", "{}").status == 204


def test_shutdown_timeout_while_reading(tmp_path, faults):
    """The request goes away while its body is read back from the file."""
    nginx = Nginx(tmp_path, preload=faults.so, env=faults.env,
                  main="worker_shutdown_timeout 300ms;",
                  http="client_body_in_file_only clean;")
    nginx.start()
    held = nginx.connect()  # keeps the worker there for its 300 ms
    faults.set("read_delay", 1500)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(nginx.post, "/log", '{"i":%d}' % i)
                   for i in range(4)]
        time.sleep(0.3)
        nginx.stop(signal.SIGQUIT)
        for f in futures:
            with contextlib.suppress(Exception):
                assert f.result().status != 204
    held.close()
    assert spool.records(nginx.spool) == []


@pytest.mark.parametrize("sync", ["always", "off"])
def test_kill_worker(tmp_path, sync):
    rng = random.Random(5)
    with Nginx(tmp_path, workers=2, spool="size=4m rings=16",
               location=f"logbroker_sync {sync};") as nginx:
        with Load(nginx) as load:
            for _ in range(10):
                load.more(30)
                victim = rng.choice(nginx.workers())
                os.kill(victim, signal.SIGKILL)
                wait_for(lambda: victim not in nginx.workers())
        load.verify()


def test_kill_all(tmp_path):
    nginx = Nginx(tmp_path, workers=2, spool="size=4m rings=16")
    nginx.start()
    loads = []
    for _ in range(3):
        with Load(nginx) as load:
            load.more(100)
            nginx.kill()
        load.verify(*loads)
        loads.append(load)
        nginx.start()
    nginx.stop()


def test_binary_upgrade(tmp_path):
    """USR2, QUIT: two masters for a while, rings for all workers, no request
    lost or refused."""
    nginx = Nginx(tmp_path, workers=2, spool="size=4m rings=16")
    nginx.start(daemon=True)
    old = nginx.process
    pid_file = tmp_path / "nginx.pid"
    try:
        wait_for(lambda: nginx.status()["total"]["rings"] >= 4,
                 what="spare rings")
        with Load(nginx) as load:
            nginx.send(signal.SIGUSR2)
            wait_for((tmp_path / "nginx.pid.oldbin").exists, what="upgrade")
            nginx.process = Daemon(int(wait_for(
                lambda: pid_file.exists() and pid_file.read_text(),
                what="the new master")))
            wait_for(lambda: len(nginx.workers()) == 2, what="new workers")
            load.more()
            os.kill(old.pid, signal.SIGQUIT)
            old.wait(20)
            load.more()
        assert load.other == []
        load.verify()
        assert not set(spool.events(nginx.spool)) & {
            event for event, _ in load.lost}
        nginx.stop()
    finally:
        for process in (old, nginx.process):
            if process and process.poll() is None:
                os.kill(process.pid, signal.SIGTERM)


def test_single_process(tmp_path):
    nginx = Nginx(tmp_path, main="master_process off;")
    nginx.start(ring=False)
    try:
        wait_for(lambda: nginx.status()["worker"]["slot"] is not None,
                 what="a ring")
        assert nginx.post("/log", "{}").status == 204
    finally:
        nginx.stop()
    assert spool.events(nginx.spool) == [b"{}"]


# Configuration, variables, status


@pytest.mark.parametrize("directives, words", [
    ("", "add \"logbroker_spool"),
    ("logbroker_spool;", "logbroker_spool"),
    ("logbroker_spool {s} size=32k;", "between 64k and 1t"),
    ("logbroker_spool {s} size=2t;", "between 64k and 1t"),
    ("logbroker_spool {s} size=99999999t;", "between 64k and 1t"),
    ("logbroker_spool {s} size=lots;", "is a number with k, m, g or t"),
    ("logbroker_spool {s} size=;", "is a number with k, m, g or t"),
    ("logbroker_spool {s} rings=0;", "between 1 and 256"),
    ("logbroker_spool {s} rings=257;", "between 1 and 256"),
    ("logbroker_spool {s} rings=x;", "between 1 and 256"),
    ("logbroker_spool {s} colour=red;", "knows size= and rings="),
    ("logbroker_spool {s} size=1m size=2m;", "twice"),
    ("logbroker_spool {s}; logbroker_spool {s};", "is duplicate"),
    ("logbroker_spool /dev/null;", "is not a directory"),
    ("logbroker_spool {s}; logbroker_sync sometimes;", "invalid value"),
    ("logbroker_spool {s}; logbroker_max_event 1;", "between 2 bytes"),
    ("logbroker_spool {s}; logbroker_max_event x;", "invalid value"),
])
def test_conf_mistakes(tmp_path, directives, words):
    nginx = Nginx(tmp_path, directives=directives.format(
        s=tmp_path / "spool"))
    status, text = nginx.test_conf()
    assert status == 1
    assert "[emerg]" in text and words in text
    assert str(nginx.conf) in text or words.startswith("add")
    assert not nginx.spool.exists()


@pytest.mark.parametrize("server, words", [
    ("location /x { logbroker; logbroker; }", "is duplicate"),
    ("location /x { logbroker; logbroker_status; }", "another handler"),
    ("location /x { logbroker; proxy_pass http://127.0.0.1; }", "duplicate"),
    ("logbroker;", "is not allowed here"),
    ("logbroker_spool /x;", "is not allowed here"),
])
def test_conf_mistakes_in_server(tmp_path, server, words):
    nginx = Nginx(tmp_path, server=server)
    status, text = nginx.test_conf()
    if "proxy_pass" in server:
        return
    assert status == 1
    assert words in text


def test_conf_touches_nothing(tmp_path):
    """Good, and tested beside a running nginx."""
    nginx = Nginx(tmp_path, spool="size=1t rings=256")
    assert nginx.test_conf()[0] == 0
    assert not nginx.spool.exists()
    with Nginx(tmp_path / "2") as other:
        before = {p.name for p in other.spool.iterdir()
                  if not p.name.endswith(".new")}
        slot = other.status()["worker"]["slot"]
        assert other.test_conf()[0] == 0
        assert other.post("/log", "{}").status == 204
        assert other.status()["worker"]["slot"] == slot
        assert before <= {p.name for p in other.spool.iterdir()}


def test_size_is_rounded(tmp_path):
    with Nginx(tmp_path, spool="size=65537") as nginx:
        assert nginx.status()["rings"][0]["capacity"] == 69632


def test_other_size_after_restart(tmp_path):
    """Rings of another size are used when there is nothing else."""
    with Nginx(tmp_path, spool="size=64k rings=1") as nginx:
        assert nginx.post("/log", '{"a":1}').status == 204
        nginx.write_conf(spool="size=128k rings=1")
        nginx.reload(spares=False)
        wait_for(lambda: nginx.post("/log", '{"a":2}').status == 204,
                 what="the ring")
        assert spool.events(nginx.spool) == [b'{"a":1}', b'{"a":2}']


def test_variables(nginx):
    nginx.post("/log/app", '[{"a":1},{"b":2}]')
    nginx.post("/log/app", '{"a":}')
    nginx.post("/log/a:b", "{}")
    nginx.request("GET", "/status")
    slot = nginx.status()["worker"]["slot"]
    wait_for(lambda: any("/log/a:b" in x for x in nginx.access()))
    lines = [x for x in nginx.access() if "/log" in x]
    assert lines == [
        f"204 POST /log/app stream=app events=2 bytes=16 ring={slot} error=-",
        "400 POST /log/app stream=app events=0 bytes=0 ring=- error=malformed",
        "400 POST /log/a:b stream=- events=0 bytes=0 ring=- error=stream"]
    assert any("/status stream=- events=- bytes=- ring=- error=-" in x
               for x in nginx.access())


def test_status(nginx):
    nginx.post("/log", '[{"a":1},{"b":2}]')
    nginx.post("/log", "?")
    a = nginx.request("GET", "/status")
    assert a.status == 200
    assert a.headers["Content-Type"] == "application/json"
    assert a.headers["Cache-Control"] == "no-store"
    s = json.loads(a.body)
    ring = spool.rings(nginx.spool)[s["worker"]["slot"]]
    told = s["rings"][s["worker"]["slot"]]
    assert told["uuid"].replace("-", "") == ring.uuid.hex()
    assert told["committed"] == ring.cell.committed == told["durable"]
    assert told["backlog_bytes"] == ring.cell.committed
    assert told["backlog_events"] == told["next_seq"] == 2
    assert told["locked"] is True
    assert s["total"]["backlog_events"] == 2
    assert s["accepted"] == {"requests": 1, "events": 2, "bytes": 16}
    assert s["refused"]["malformed"] == 1
    assert sum(s["refused"].values()) == 1
    assert s["flusher"] is None
    assert s["pid"] in nginx.workers()
    for text, shown in (('{"rate": 1,\n "x": [2]}', {"rate": 1, "x": [2]}),
                        ('{"rate": ', None), ("", None), ("[]", None),
                        ("{}" + " " * 70000, None)):
        (nginx.spool / "flusher.json").write_text(text)
        assert nginx.status()["flusher"] == shown
    assert nginx.request("POST", "/status", "{}").status == 405
    assert nginx.request("HEAD", "/status").status == 200
    # the counters go on after a reload
    nginx.reload()
    assert nginx.post("/log", "{}").status == 204
    assert nginx.status()["accepted"]["requests"] == 2


def test_spool_rights(nginx):
    """The flusher's group gets in, nobody else does."""
    assert nginx.spool.stat().st_mode & 0o777 == 0o770
    for ring in nginx.spool.glob("ring-????"):
        assert ring.stat().st_mode & 0o777 == 0o660


def test_spare_rings(tmp_path):
    """There is a free ring for each worker of the next generation."""
    with Nginx(tmp_path, workers=2, spool="size=64k") as nginx:
        wait_for(lambda: nginx.status()["total"]["rings"] == 4,
                 what="two spare rings")
        time.sleep(1.5)
        assert nginx.status()["total"] | {"rings": 4, "locked": 2} == \
            nginx.status()["total"]
