"""Ways a body can arrive: in pieces, in files, over HTTP/2, as a copy; only a whole
one is acted on, however it came to the module."""

import contextlib
import json
import random
import shutil
import socket
import struct
import subprocess
import threading
import time

import pytest

from env import spool
from env.bodies import body_of, h2_frame, h2_post
from env.http import error
from env.nginx import Nginx
from env.process import free_port, wait_for

LINES = [b'{"n":%d,"p":"%s"}\n' % (i, b"x" * 400) for i in range(200)]
BODY = b"".join(LINES)


class Upstream:
    """Takes a request, reads so many bytes of it, then hangs up, or waits for
    the end of the body first; never answers."""

    def __init__(self, reads):
        self.reads = reads
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                s, _ = self.listener.accept()
                with s, contextlib.suppress(OSError):
                    s.settimeout(5)
                    got = b""
                    while len(got) < self.reads and (data := s.recv(65536)):
                        got += data
                        if BODY[-100:] in got or got.endswith(b"0\r\n\r\n"):
                            break

    def close(self):
        self.listener.close()


def send(port, path, pieces, chunked=False, pause=0.02):
    """POST, piece by piece: (status, body) of the answer."""
    size = sum(len(p) for p in pieces)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    head += "Transfer-Encoding: chunked\r\n\r\n" if chunked \
        else f"Content-Length: {size}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=20) as s:
        s.sendall(head.encode())
        with contextlib.suppress(OSError):
            for p in pieces:
                s.sendall(b"%x\r\n%s\r\n" % (len(p), p) if chunked else p)
                time.sleep(pause)
            if chunked:
                s.sendall(b"0\r\n\r\n")
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while data := s.recv(65536):
                answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def partial(status, body):
    assert status == 503, body
    assert "nothing was stored" in json.loads(body)["error"]


STREAMED = """
    recursive_error_pages on;
    location /proxy/ { proxy_pass http://127.0.0.1:%(port)d;
        proxy_request_buffering off; proxy_http_version 1.1;
        error_page 502 504 = @sp; }
    location /fastcgi/ { fastcgi_pass 127.0.0.1:%(port)d;
        fastcgi_request_buffering off; error_page 502 504 = @sp; }
    location /uwsgi/ { uwsgi_pass 127.0.0.1:%(port)d;
        uwsgi_request_buffering off; error_page 502 504 = @sp; }
    location /twice/ { proxy_pass http://127.0.0.1:%(port)d;
        proxy_request_buffering off; proxy_http_version 1.1;
        error_page 502 504 = @second; }
    location @second { proxy_pass http://127.0.0.1:%(port)d;
        error_page 502 504 = @sp; }
    location /internal/ { proxy_pass http://127.0.0.1:%(port)d;
        proxy_request_buffering off; proxy_http_version 1.1;
        error_page 502 504 = /log; }
    location @sp { logbroker; }
"""


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("reads", [None, 1, 20_000, 1 << 30])
def test_streamed_elsewhere_first(tmp_path, reads, chunked):
    """A location that streams fails, and its error page leads here: at the
    connect, after a part, after all of the body."""
    upstream = Upstream(reads) if reads else None
    port = upstream.port if upstream else free_port()
    with Nginx(tmp_path, spool="size=8m", server=STREAMED % {"port": port},
               http="client_max_body_size 8m; client_body_buffer_size 64k;"
               ) as nginx:
        n = 0
        for path in ("/proxy/", "/fastcgi/", "/uwsgi/", "/twice/"):
            status, body = send(nginx.port, path,
                                [b"".join(LINES[i:i + 10])
                                 for i in range(0, 200, 10)], chunked)
            if status == 204:
                # where the protocol needs the length first, nginx buffers
                assert chunked and path in ("/fastcgi/", "/uwsgi/")
                n += 1
            else:
                partial(status, body)
        # an error page that is a URI is asked for with GET
        status, body = send(nginx.port, "/internal/", [BODY], chunked)
        assert status == 405, body
        stored = [r.payload for r in spool.records(nginx.spool)]
        assert stored == [BODY] * n
        assert nginx.status()["refused"]["body_partial"] == 4 - n
        # what has come at once, before anybody could stream it, is whole
        status, body = send(nginx.port, "/proxy/", [LINES[0]], False, 0)
        if status == 204:
            stored.append(LINES[0])
        else:
            partial(status, body)
        assert nginx.post("/log", BODY).status == 204
        assert [r.payload for r in spool.records(nginx.spool)] == \
            [*stored, BODY]
    if upstream:
        upstream.close()


@pytest.mark.parametrize("buffer", ["1k", "1m"])
def test_buffered_elsewhere_first(tmp_path, buffer):
    """A proxy that buffers has passed nothing on that is missing here: the
    spool stands in for an application that is down, in memory and in a
    file."""
    with Nginx(tmp_path, spool="size=8m", server=f"""
            client_body_buffer_size {buffer};
            location /app/ {{ proxy_pass http://127.0.0.1:{free_port()};
                error_page 502 504 = @sp; }}
            location /static/ {{ error_page 404 405 = @sp; }}
            location /return/ {{ error_page 503 = @sp; return 503; }}
            location /file/ {{ client_body_in_file_only clean;
                proxy_pass http://127.0.0.1:{free_port()};
                error_page 502 504 = @sp; }}
            location @sp {{ logbroker; }}""") as nginx:
        n = 0
        for path in ("/app/", "/static/", "/return/", "/file/"):
            for chunked in (False, True):
                status, body = send(nginx.port, path, [BODY[:300], BODY[300:]],
                                    chunked)
                assert status == 204, (path, body)
                n += 1
        assert [r.payload for r in spool.records(nginx.spool)] == \
            [BODY] * n


def test_subrequests(tmp_path):
    """A mirror's copy is stored if the mirror has read the body, and is not
    if not; an authorisation brings no events, so it fails."""
    with Nginx(tmp_path, spool="size=8m", server="""
            location = /copy { internal; logbroker; logbroker_stream copy; }
            location /whole { mirror /copy; return 200; }
            location /on { mirror /copy; mirror_request_body on;
                proxy_pass http://127.0.0.1:%d; }
            location /off { mirror /copy; mirror_request_body off;
                logbroker; logbroker_stream off; }
            location /auth { auth_request /copy; logbroker;
                logbroker_stream auth; }""" % free_port()) as nginx:
        for chunked in (False, True):
            assert send(nginx.port, "/on", [BODY], chunked)[0] == 502
            assert send(nginx.port, "/off", [BODY], chunked)[0] == 204
            assert send(nginx.port, "/auth", [BODY], chunked)[0] == 500
        wait_for(lambda: nginx.status()["refused"]["body_partial"] == 2,
                 what="the copies without a body")
        got = [(r.stream, r.payload) for r in spool.records(nginx.spool)]
        assert sorted(got) == [("copy", BODY)] * 2 + [("off", BODY)] * 2


def test_length_and_body_differ(tmp_path):
    with Nginx(tmp_path) as nginx:
        event = b'{"a":1}\n'

        def raw(head, data):
            with socket.create_connection(("127.0.0.1", nginx.port)) as s:
                s.sendall(b"POST /log HTTP/1.1\r\nHost: x\r\n"
                          b"Connection: close\r\n" + head + b"\r\n" + data)
                s.shutdown(socket.SHUT_WR)
                s.settimeout(10)
                return s.recv(1000)

        # both lengths, a broken chunk, an end too early: no answer or 400
        for head, data in (
                (b"Content-Length: 8\r\nTransfer-Encoding: chunked\r\n",
                 b"8\r\n" + event + b"\r\n0\r\n\r\n"),
                (b"Content-Length: 8\r\nContent-Length: 16\r\n", event * 2),
                (b"Content-Length: 9\r\n", event),
                (b"Transfer-Encoding: chunked\r\n", b"8\r\n" + event),
                (b"Transfer-Encoding: chunked\r\n", b"8\r\n" + event + b"\r\n"),
                (b"Transfer-Encoding: chunked\r\n",
                 b"8\r\n" + event + b"\r\n0\r\n"),
                (b"Transfer-Encoding: chunked\r\n",
                 b"8\r\n" + event + b"\r\nzz\r\n"),
                (b"Transfer-Encoding: chunked\r\n",
                 b"8\r\n" + event + event + b"\r\n0\r\n\r\n")):
            answer = raw(head, data)
            assert not answer or b" 400 " in answer, (head, data, answer)
        # less is announced than comes: what is behind is another request's
        assert b" 400 " in raw(b"Content-Length: 4\r\n", event)
        assert spool.events(nginx.spool) == []
        assert raw(b"Content-Length: 8\r\n", event).startswith(
            b"HTTP/1.1 204")


def test_http2_length(tmp_path):
    """More or less than announced, or no end at all."""
    port = free_port()
    with Nginx(tmp_path, listen=f"listen 127.0.0.1:{port} http2;") as nginx:
        event = b'{"a":1}\n'
        end = h2_frame(0, 1, 1, event)
        more = h2_frame(0, 0, 1, event)
        cut = h2_frame(3, 0, 1, struct.pack(">I", 8))
        assert h2_post(port, [], [end]) == 204
        assert h2_post(port, [(b"content-length", b"8")], [end]) == 204
        assert h2_post(port, [(b"content-length", b"8")],
                       [more, h2_frame(0, 1, 1, b"")]) == 204
        assert len(spool.events(nginx.spool)) == 3
        for length, frames in ((b"9", [end]), (b"7", [end]),
                               (b"16", [more, h2_frame(0, 1, 1, b"")]),
                               (b"16", [more, cut]), (b"8", [more, cut]),
                               (b"16", [more])):
            got = h2_post(port, [(b"content-length", length)], frames, 0.5)
            assert got != 204, (length, frames)
        assert h2_post(port, [], [more, cut], 0.5) is None
        assert h2_post(port, [], [more], 0.5) is None
        assert len(spool.events(nginx.spool)) == 3


def test_http2_streamed_elsewhere_first(tmp_path):
    if not shutil.which("nghttp"):
        pytest.skip("nghttp2-client is not installed")
    port = free_port()
    upstream = Upstream(20_000)
    (tmp_path / "body").write_bytes(BODY)
    with Nginx(tmp_path / "nginx", spool="size=8m",
               listen=f"listen 127.0.0.1:{port} http2;",
               server=STREAMED % {"port": upstream.port}) as nginx:
        for path, status in (("/proxy/", 503), ("/log", 204)):
            for extra in ([], ["--no-content-length"]):
                out = subprocess.run(
                    ["nghttp", "-v", "-d", tmp_path / "body", *extra,
                     f"http://127.0.0.1:{port}{path}"],
                    capture_output=True, text=True, timeout=30, check=False)
                assert f":status: {status}" in out.stdout, out.stdout
        assert [r.payload for r in spool.records(nginx.spool)] == \
            [BODY] * 2
    upstream.close()


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


def test_log_stays_small(tmp_path):
    """A client that does not listen cannot fill the disk: an example a minute,
    with how many there were, and nothing else of what is its own fault."""
    with Nginx(tmp_path, http="client_max_body_size 40k;"
                              "client_body_buffer_size 1k;",
               location=f"error_log {tmp_path}/own.log warn;",
               server="location = /streamed { proxy_request_buffering off;"
                      "  proxy_http_version 1.1; error_page 502 = @sp;"
                      f"  proxy_pass http://127.0.0.1:{free_port()}; }}"
                      "location @sp { logbroker;"
                      f"  error_log {tmp_path}/own.log crit; }}") as nginx:
        c = nginx.connect()
        for i in range(100):
            for path, body, headers, status in (
                    ("/log", b'{"a":%d,}' % i, {}, 400),
                    ("/log", b"{}" * 4000, {}, 204),        # in a file
                    ("/log", b"{} " * 4000 + b"x", {}, 400),
                    ("/log", b"x", {"Content-Encoding": "gzip"}, 400),
                    ("/log", b"x", {"Content-Encoding": "br"}, 415),
                    ("/log", b"x", {"Content-Type": "image/png"}, 415),
                    ("/log", b"x", {"Idempotency-Key": ""}, 400),
                    ("/log/%0a/b", b"{}", {}, 400)):
                a = nginx.post(path, body, headers, c)
                assert a.status == status, (path, body[:20], a)
            assert nginx.request("PUT", "/log", "{}", conn=c).status == 405
        for i in range(10):
            status, body = send(nginx.port, "/streamed", [LINES[0]] * 3,
                                pause=0.01)
            partial(status, body)
        own = (tmp_path / "own.log").read_text().splitlines()
        own = [x for x in own if "connect() failed" not in x]
        assert own == []
        lines = [x for x in nginx.error_log.read_text().splitlines()
                 if "[info]" not in x and "this one is an example" in x]
        assert len(lines) == 1
        assert "client 127.0.0.1" in lines[0]
        assert 'to "/log"' in lines[0]
