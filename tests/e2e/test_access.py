"""logbroker_access_log: each request of a server becomes an event."""

import errno
import json
import socket
import threading

import pytest

from env import spool
from env.nginx import Nginx
from env.process import wait_for

PAGE = """
        location /page { return 200 "hello\\n"; }
        location /gone { return 404; }
        location /broken { return 502; }
        location /quiet { logbroker_access_log off; return 204; }
"""


def logged(nginx, stream="access", count=None):
    """The events of the stream, when there are count of them."""
    def read():
        found = [(r, json.loads(line))
                 for r in spool.records(nginx.spool) if r.stream == stream
                 for line in r.payload.splitlines()]
        return found if count is None or len(found) >= count else None
    return wait_for(read, what=f"{count} events") if count else read()


def events(nginx, **kwargs):
    return [event for _, event in logged(nginx, **kwargs)]


def lost(nginx):
    """Those before there was a ring, while the test waited for it, do not
    count."""
    return nginx.status()["access_log"]["lost"]


def raw(nginx, data):
    """What comes back for bytes that no client library would send."""
    with socket.create_connection(("127.0.0.1", nginx.port), 20) as s:
        s.sendall(data)
        answer = b""
        while part := s.recv(65536):
            answer += part
    return answer


def test_events(tmp_path):
    http = "logbroker_access_log access;"
    with Nginx(tmp_path, http=http, server="server_name shop;" + PAGE) as n:
        before = lost(n)
        n.request("GET", "/page?a=1", headers={
            "User-Agent": 'a "quoted" \\ one', "Referer": "http://x/\u00e9"
            .encode().decode("latin-1")})
        n.request("GET", "/gone")
        n.request("GET", "/broken")
        n.request("GET", "/quiet")
        found = logged(n, count=3)
        status = n.status()
        pages = [e for _, e in found if e["uri"] != "/status"]
        assert [e["status"] for e in pages] == [200, 404, 502]
        assert [e["level"] for e in pages] == ["info", "warn", "error"]
        first = pages[0]
        assert first["message"] == "GET /page?a=1 HTTP/1.1"
        assert (first["method"], first["uri"]) == ("GET", "/page")
        assert first["service"] == "shop"
        assert first["host"] == socket.gethostname()
        assert first["user_agent"] == 'a "quoted" \\ one'
        assert first["referer"] == "http://x/\u00e9"
        assert len(first["trace_id"]) == 32
        assert first["bytes_out"] > len("hello\n")
        assert isinstance(first["duration"], (int, float))
        assert 1.7e9 < first["timestamp"] < 4e9
        assert "upstream" not in first and "user" not in first
        # whose request it was is in the record, as for any other event
        assert all(r.client.endswith(bytes([127, 0, 0, 1]))
                   for r, _ in found), found[0][0].client
        assert status["access_log"]["events"] >= 3
        assert status["access_log"]["lost"] == before
        assert status["accepted"]["events"] == 0


def test_fields_and_condition(tmp_path):
    http = """
        logbroker_access_log web if=$wanted;
        logbroker_access_field service checkout;
        logbroker_access_field user_agent "";
        logbroker_access_field tenant $arg_tenant;
        map $uri $wanted { default 1; ~^/quiet 0; ~^/status ""; }
    """
    server = """
        location /page { return 200 "hello\\n"; }
        location /quiet { return 200 ""; }
        location /other {
            logbroker_access_field only $arg_tenant;
            return 200 "";
        }
    """
    with Nginx(tmp_path, http=http, server=server) as n:
        for path in ("/quiet", "/page?tenant=7", "/other?tenant=8"):
            n.request("GET", path, headers={"User-Agent": "x"})
        page, other = events(n, stream="web", count=2)
        assert (page["service"], page["tenant"]) == ("checkout", "7")
        assert "user_agent" not in page
        # as with add_header, a level's own fields replace those above
        assert other["only"] == "8" and "tenant" not in other
        assert other["user_agent"] == "x"


def test_hostile(tmp_path):
    """Whatever a client sends, the event is valid: the scanner looks at it."""
    http = "logbroker_access_log access;"
    with Nginx(tmp_path, http=http, server=PAGE) as n:
        before = lost(n)
        raw(n, b"GET /page HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
               b"User-Agent: \xff\xfe\xed\xa0\x80\xf5\x80\x80\x80 \xc3\xa9\x01"
               b"\r\nReferer: \xd0\x96\r\n\r\n")
        raw(n, b"GET /page\r\n")                           # HTTP/0.9
        raw(n, b"\x16\x03\x01\x00\xa5\x01\x00\r\n\r\n")    # TLS to plain HTTP
        raw(n, b"GET /" + b"x" * 40000 + b" HTTP/1.1\r\n\r\n")
        raw(n, b"BREW /page HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        found = [e for e in events(n, count=5) if e.get("uri") != "/status"]
        assert found[0]["user_agent"] == (
            b"\xff\xfe\xed\xa0\x80\xf5\x80\x80\x80 \xc3\xa9\x01"
            .decode("latin-1"))
        assert found[0]["referer"] == "\u0416"
        assert (found[1]["status"], found[1]["message"]) == (200, "GET /page")
        assert {e["status"] for e in found[2:4]} <= {400, 414}
        assert lost(n) == before


def test_with_ingest(tmp_path):
    """Requests for events are logged too, and nothing of either is missing."""
    http = "logbroker_access_log access;"
    with Nginx(tmp_path, workers=2, spool="size=8m", http=http) as n:
        before = lost(n)

        def post():
            for _ in range(200):
                assert n.post("/log/app", b'{"a":1}').status == 204
        clients = [threading.Thread(target=post) for _ in range(8)]
        for c in clients:
            c.start()
        for _ in range(3):
            n.reload()
        for c in clients:
            c.join()
        wait_for(lambda: sum(e["uri"] == "/log/app" for e in events(n))
                 == 1600, what="1600 requests in the access log")
        assert len(logged(n, stream="app")) == 1600
        status = n.status()
        assert status["access_log"]["lost"] == before
        assert status["accepted"]["events"] == 1600


def test_before_the_first_ring(tmp_path):
    """Nothing is lost while the first ring is being made, nor when it is full
    and another one is not."""
    http = "logbroker_access_log access;"
    n = Nginx(tmp_path, workers=2, spool="size=256k", http=http, server=PAGE)
    n.start(ring=False)
    try:
        for _ in range(50):
            assert n.request("GET", "/page").status == 200
        wait_for(n.ready, what="rings")
        wait_for(lambda: n.status()["total"]["rings"] >= 4, what="reserve")
        for _ in range(900):  # 600 bytes each
            assert n.request("GET", "/page").status == 200
        # those of the status count too: 950 events may be others
        wait_for(lambda: sum(e["uri"] == "/page" for e in events(n)) >= 950,
                 what="950 requests in the access log")
        assert sum(e["uri"] == "/page" for e in events(n)) == 950
        assert lost(n) == 0
    finally:
        n.stop()


def test_full_ring(tmp_path):
    """No room: the answer is what it would have been, what is missing is
    counted, and the log says why."""
    http = "logbroker_access_log access;"
    with Nginx(tmp_path, spool="size=64k", http=http, server=PAGE) as n:
        before = lost(n)
        for _ in range(300):
            assert n.request("GET", "/page").status == 200
        status = wait_for(
            lambda: (s := n.status())["access_log"]["lost"] > before and s,
            what="lost requests")["access_log"]
        stored = len(logged(n))
        assert stored >= 100
        assert status["events"] + status["lost"] >= 300
        assert "missing in the access log: the spool is full" in (
            n.error_log.read_text())


def test_disk_error(tmp_path, faults):
    """A failed write loses the group: it is counted."""
    http = "logbroker_access_log access;"
    with Nginx(tmp_path, spool="size=1m", http=http, server=PAGE,
               preload=faults.so, env=faults.env) as n:
        before = lost(n)
        faults.set("fail", errno.EIO)
        for _ in range(20):
            assert n.request("GET", "/page").status == 200
        wait_for(lambda: lost(n) > before, what="loss")
        faults.clear("fail")
        stored = len(logged(n))
        wait_for(lambda: n.request("GET", "/page") and
                 len(logged(n)) > stored, what="a ring again")


def test_quit(tmp_path):
    """What was logged is in the ring when nginx has gone, gracefully or at
    once."""
    http = "logbroker_access_log access;"
    for number, sig in enumerate((3, 15)):
        with Nginx(tmp_path / str(number), http=http, server=PAGE) as n:
            for _ in range(50):
                n.request("GET", "/page")
            n.stop(sig=sig)
            assert sum(e["uri"] == "/page" for e in events(n)) == 50


@pytest.mark.parametrize("conf, words", [
    ("logbroker_access_log no/slash;", "invalid stream"),
    ("logbroker_access_log a b=c;", "knows if="),
    ("logbroker_access_log off if=1;", "no further parameter"),
    ("logbroker_access_log a; logbroker_access_log b;", "is duplicate"),
    ('logbroker_access_field "a b" c;', "invalid name"),
    ("logbroker_access_field a b; logbroker_access_field a c;", "duplicate"),
    ("logbroker_access_log a if=$nowhere;", "unknown"),
])
def test_conf_errors(tmp_path, conf, words):
    n = Nginx(tmp_path, http=conf)
    status, said = n.test_conf()
    assert status != 0 and words in said, said


def test_needs_spool(tmp_path):
    n = Nginx(tmp_path, directives="logbroker_access_log a;")
    status, said = n.test_conf()
    assert status != 0 and "needs a spool" in said, said
