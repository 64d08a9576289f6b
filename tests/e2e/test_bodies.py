"""Only a whole body is acted on, however it came to the module; what a request
may be answered with; where a location's blocks and rewrites lead."""

import contextlib
import json
import shutil
import socket
import struct
import subprocess
import threading
import time

import pytest

from env import spool
from env.nginx import Nginx, free_port, wait_for

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


def h2_frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) \
        + struct.pack(">I", stream) + payload


def h2_literal(name, value):
    return b"\0" + bytes((len(name),)) + name + bytes((len(value),)) + value


def h2_post(port, headers, frames, timeout=3):
    """One stream by hand: its status, or None if it was reset or cut."""
    block = b"".join(h2_literal(n, v) for n, v in (
        (b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/log"),
        (b":authority", b"x"), *headers))
    with socket.create_connection(("127.0.0.1", port), timeout) as s:
        s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + h2_frame(4, 0, 0, b"")
                  + h2_frame(1, 4, 1, block) + b"".join(frames))
        data = b""
        with contextlib.suppress(OSError):
            while chunk := s.recv(65536):
                data += chunk
                p = 0
                while len(data) - p >= 9:
                    size = int.from_bytes(data[p:p + 3], "big")
                    kind = data[p + 3]
                    if len(data) - p < 9 + size:
                        break
                    body = data[p + 9:p + 9 + size]
                    if kind == 1:
                        # :status by the static table, or as a literal
                        if body[0] == 0x89:
                            return 204
                        if body[0] == 0x8c:
                            return 400
                        return int(body[2:5]) if body[1] == 3 else body
                    if kind in (3, 7):
                        return None
                    p += 9 + size
    return None


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


def test_success(tmp_path):
    """Some clients know no success but 200."""
    with Nginx(tmp_path, location="logbroker_success 200;", server="""
            location /other { logbroker; }
            location /204 { logbroker; logbroker_success 204; }""") as nginx:
        c = nginx.connect()
        key = {"Idempotency-Key": "k"}
        for headers in ({}, key, key):
            a = nginx.post("/log", '{"a":1}', headers, c)
            assert (a.status, a.body) == (200, b"{}\n")
            assert a.headers["Content-Type"] == "application/json"
        for path in ("/other", "/204"):
            a = nginx.post(path, '{"a":1}', conn=c)
            assert (a.status, a.body) == (204, b"")
        assert nginx.post("/log", '{"a":}', conn=c).status == 400
        assert len(spool.events(nginx.spool)) == 4
        assert nginx.status()["repeated"] == 1
    bad = Nginx(tmp_path / "bad", location="logbroker_success 201;")
    status, words = bad.test_conf()
    assert status != 0
    assert "logbroker_success" in words or "201" in words


def test_limit_except(tmp_path):
    """As with proxy_pass: the block decides on access, the location on what
    is done."""
    with Nginx(tmp_path, server="""
            location /deny { logbroker; limit_except POST { deny all; } }
            location /except { logbroker; logbroker_stream s;
                limit_except GET { allow all; } }
            location /name/ { logbroker; limit_except GET { allow all; } }
            location ~ ^/re/ { logbroker; limit_except GET { allow all; } }
            location /if/ { logbroker; if ($arg_x) { set $y 1; } }
            location ~ ^/ifre/ { logbroker; if ($arg_x) { set $y 1; } }
            location /text { logbroker_status metrics;
                limit_except POST { allow all; }
                if ($arg_x) { set $y 1; } }
            location /plain { limit_except POST { deny all; } }
            """) as nginx:
        assert nginx.request("GET", "/deny").status == 403
        assert nginx.request("PUT", "/deny", "{}").status == 403
        assert nginx.post("/deny", "{}").status == 204
        for path in ("/except", "/name/n", "/re/x", "/if/i?x=1", "/if/i",
                     "/ifre/x?x=1"):
            assert nginx.post(path, "{}").status == 204, path
        assert nginx.request("PUT", "/except", "{}").status == 405
        assert nginx.request("GET", "/except").status == 405
        assert [r.stream for r in spool.records(nginx.spool)] == \
            ["default", "s", "n", "default", "i", "i", "default"]
        for path in ("/text", "/text?x=1"):
            a = nginx.request("GET", path)
            assert a.body.startswith(b"# HELP"), a.body[:100]
        # no handler comes out of nowhere
        assert nginx.request("GET", "/plain").status == 403
        assert nginx.post("/plain", "{}").status in (404, 405)


def test_stream_after_rewrite(tmp_path):
    """What counts is the new URI: behind the location's name, or all of it if
    it does not begin with that."""
    with Nginx(tmp_path, server="""
            location /a/ { rewrite ^/a/v1/(.*)$ /a/$1 break; logbroker; }
            location /b/ { rewrite ^/b/(.*)$ /$1 break; logbroker; }
            location /c { rewrite ^/c/(.*)$ /logs/$1 break; logbroker; }
            location /d { rewrite ^ / break; logbroker; }
            location /e/ { rewrite ^ /log/e last; }
            location = /f { rewrite ^ /g break; logbroker; }
            """) as nginx:
        for path, stream in (("/a/v1/app", "app"), ("/a/app", "app"),
                             ("/b/app", "app"), ("/b/", "default"),
                             ("/d/x", "default"), ("/e/", "e"), ("/f", "g")):
            assert nginx.post(path, "{}").status == 204, path
            assert spool.records(nginx.spool)[-1].stream == stream, path
        a = nginx.post("/c/app", "{}")
        assert a.status == 400
        assert "stream" in json.loads(a.body)["error"]


def test_own_access_log_has_no_limit(tmp_path):
    """logbroker_max_event is for what clients send."""
    with Nginx(tmp_path, http="logbroker_max_event 100;",
               server="logbroker_access_log access;") as nginx:
        lost = nginx.status()["access_log"]["lost"]
        assert nginx.post("/log", b'{"a":"%s"}' % (b"x" * 100)).status == 413
        wait_for(lambda: [r for r in spool.records(nginx.spool)
                          if b"/log" in r.payload], what="the log")
        assert nginx.status()["access_log"]["lost"] == lost


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
