"""What a page of another origin meets: text/plain that is JSON, byte order
marks, preflights, and answers that it may read."""

import http.client
import json

import pytest

from env import spool
from env.bodies import deflate, lz4, snappy
from env.nginx import Nginx

PAGE = "https://shop.example.com"
BOM = b"\xef\xbb\xbf"
ASKS = {"Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,idempotency-key"}

SERVER = f"""
    location /strict {{ logbroker; logbroker_content_type strict; }}
    location /drain {{ logbroker; logbroker_content_type json; }}
    location /page {{ logbroker; logbroker_max_event 1k;
                      logbroker_cors {PAGE} http://localhost:3000; }}
    location /private {{
        logbroker; logbroker_cors {PAGE};
        auth_request /no;
    }}
    location = /no {{ internal; return 401; }}
    location /any {{ logbroker; logbroker_cors *; }}
    location /otlp/v1/logs {{ logbroker_otlp; logbroker_cors *; }}
    location /hec {{ logbroker_splunk; logbroker_cors *; }}
    location /small {{
        logbroker; logbroker_cors {PAGE}; client_max_body_size 10;
        error_page 413 /problem;
    }}
    location = /problem {{
        internal; logbroker_cors {PAGE}; return 413 "too large";
    }}
    location /off {{
        logbroker_cors {PAGE};
        location /off/log {{ logbroker; logbroker_cors off; }}
        location /off/none {{ return 200; }}
    }}
"""


@pytest.fixture(scope="module")
def nginx(tmp_path_factory):
    with Nginx(tmp_path_factory.mktemp("browser"), server=SERVER) as n:
        yield n


def stored(nginx, path, body, kind):
    a = nginx.post(path, body, {"Content-Type": kind} if kind else {})
    assert a.status == 204, a
    return spool.records(nginx.spool)[-1].payload.decode()


def text(body):
    return "".join(json.dumps({"message": line}, ensure_ascii=False,
                              separators=(",", ":")) + "\n"
                   for line in body.splitlines() if line)


@pytest.mark.parametrize("body, want", [
    ('{"a": 1}', '{"a":1}\n'),
    (' \r\n{ "a": 1 }\n{}', '{"a":1}\n{}\n'),
    ('[ {"a":1}, {"b":2}]\n', '{"a":1}\n{"b":2}\n'),
    ('{"events":[{"a":1},{"b":2}]}', '{"a":1}\n{"b":2}\n'),
    ('{"a":1}\nnot JSON', None), ('{"a":1', None), ('{a}', None),
    ('[2026-03-04] started', None), ('[1]', None), ('[]', None),
    ('{} {"a":}', None), ('"text"', None), ('7', None), ('{', None),
])
@pytest.mark.parametrize("kind", ["text/plain", "text/plain;charset=UTF-8"])
def test_text_that_is_json(nginx, body, want, kind):
    assert stored(nginx, "/log", body, kind) == (want or text(body))
    assert stored(nginx, "/log", BOM + body.encode(), kind) == (
        want or text(body))
    assert stored(nginx, "/strict", body, kind) == text(body)


@pytest.mark.parametrize("kind", [
    "text/plain", "application/octet-stream", "text/csv", "application/gzip",
    "application/x-www-form-urlencoded", "image/png", "nonsense", "", None])
def test_whatever_the_type_says(nginx, kind):
    """Drains that send JSON and say something else."""
    for body in ('{"a": 1}\n{"b": 2}', '[{"a":1},{"b":2}]'):
        assert stored(nginx, "/drain", body, kind) == '{"a":1}\n{"b":2}\n'
    a = nginx.post("/drain", "text\n", {"Content-Type": kind or "a"})
    assert a.status == 400
    assert json.loads(a.body)["row"] == 1


def test_byte_order_mark(nginx):
    """At the begin of any text, small or large; and no second one."""
    for path in ("/log", "/drain", "/strict"):
        assert stored(nginx, path, BOM + b'{"a":1}', "application/json") == \
            '{"a":1}\n'
    assert stored(nginx, "/strict", BOM + b"a\nb", "text/plain") == \
        text("a\nb")
    large = b'{"a":"%s"}\n' % (b"x" * 1000) * 300
    assert stored(nginx, "/log", BOM + large, None).encode() == large
    for body, column in ((BOM + b'{"a":}', 6), (BOM + BOM + b"{}", 1)):
        a = nginx.post("/log", body)
        assert a.status == 400
        assert json.loads(a.body)["column"] == column
    a = nginx.post("/log", BOM)
    assert a.status == 400


def cors(answer):
    return {k[len("access-control-"):].lower(): v
            for k, v in answer.headers.items()
            if k.lower().startswith("access-control-")}


def once(answer):
    """No header came twice."""
    names = [k.lower() for k in answer.headers.keys()]
    assert len(names) == len(set(names)), names
    return answer


@pytest.mark.parametrize("origin", [PAGE, "http://localhost:3000"])
def test_preflight_of_a_listed_origin(nginx, origin):
    a = once(nginx.request("OPTIONS", "/page/app", None,
                           dict(ASKS, Origin=origin)))
    assert (a.status, a.body, a.headers["Vary"]) == (204, b"", "Origin")
    assert cors(a) == {
        "allow-origin": origin, "allow-credentials": "true",
        "expose-headers": "Retry-After", "allow-methods": "POST",
        "allow-headers": "content-type,idempotency-key", "max-age": "86400"}


@pytest.mark.parametrize("origin", [
    "https://evil.example.com", "http://shop.example.com", PAGE + ":8443",
    PAGE + ".evil.com", "null", ""])
def test_preflight_of_another_origin(nginx, origin):
    a = nginx.request("OPTIONS", "/page", None, dict(ASKS, Origin=origin))
    assert a.status == 403
    assert cors(a) == {}
    assert a.headers["Vary"] == "Origin"
    # what brings no preflight is none of a browser's business to forbid
    a = nginx.post("/page", "{}", {"Origin": origin})
    assert (a.status, cors(a), a.headers["Vary"]) == (204, {}, "Origin")


@pytest.mark.parametrize("path, body, status", [
    ("/page", "{}", 204), ("/page", "{", 400), ("/page/a/b", "{}", 400),
    ("/page", '{"a":"%s"}' % ("x" * 1024), 413),
    ("/small", "{}" * 10, 413)])
def test_answers_can_be_read(nginx, path, body, status):
    a = once(nginx.post(path, body, {"Origin": PAGE}))
    assert (a.status, a.headers["Vary"]) == (status, "Origin")
    assert cors(a) == {"allow-origin": PAGE, "allow-credentials": "true",
                       "expose-headers": "Retry-After"}


def test_all_origins(nginx):
    for path, body, status in (
            ("/any", "{}", 204), ("/any", "{", 400),
            ("/otlp/v1/logs", '{"resourceLogs":[]}', 200),
            ("/otlp/v1/logs", "{", 400),
            ("/hec/event", '{"event":"a"}', 200), ("/hec/event", "", 400)):
        a = once(nginx.request("OPTIONS", path, None, dict(ASKS, Origin=PAGE)))
        assert a.status == 204
        assert cors(a)["allow-origin"] == "*"
        assert "allow-credentials" not in cors(a)
        assert cors(a)["allow-methods"] == "POST"
        a = once(nginx.post(path, body, {
            "Origin": PAGE, "Content-Type": "application/json"}))
        assert a.status == status, path
        assert cors(a) == {"allow-origin": "*",
                           "expose-headers": "Retry-After"}


def test_preflight_needs_no_access(nginx):
    """It brings no credentials; what follows does."""
    a = nginx.request("OPTIONS", "/private", None, dict(ASKS, Origin=PAGE))
    assert a.status == 204
    a = nginx.post("/private", "{}", {"Origin": PAGE})
    assert a.status == 401
    assert cors(a)["allow-origin"] == PAGE


def test_what_is_no_preflight(nginx):
    """OPTIONS of Docker's driver, requests without an origin, other
    locations."""
    for headers in ({}, {"Origin": PAGE}, ASKS):
        a = nginx.request("OPTIONS", "/hec/event", None, headers)
        assert a.status == 200
    a = nginx.request("OPTIONS", "/page", None, {"Origin": PAGE})
    assert a.status == 405
    a = nginx.post("/page", "{}")
    assert (cors(a), a.headers["Vary"]) == ({}, "Origin")
    for path in ("/off/log", "/log"):
        a = nginx.post(path, "{}", {"Origin": PAGE})
        assert (cors(a), a.headers["Vary"]) == ({}, None)
    a = nginx.request("OPTIONS", "/off/none", None, dict(ASKS, Origin=PAGE))
    assert a.status == 200


def test_503_can_be_read(tmp_path):
    with Nginx(tmp_path, spool="size=64k rings=1",
               location="logbroker_cors *;") as nginx:
        body = b'{"a":"%s"}' % (b"x" * 10000)
        for _ in range(20):
            a = nginx.post("/log", body, {"Origin": PAGE})
        assert a.status == 503
        assert cors(a) == {"allow-origin": "*",
                           "expose-headers": "Retry-After"}
        assert a.headers["Retry-After"]


@pytest.mark.parametrize("value", [
    "", "example.com", "https://example.com/", "https://Example.com",
    "https://", "* https://a.com", "https://a.com *", "https://*.a.com",
    "off https://a.com", "https://a.com off", "://a", "null",
    "https://a.com; logbroker_cors *"])
def test_mistakes(tmp_path, value):
    status, words = Nginx(
        tmp_path, location=f"logbroker_cors {value};").test_conf()
    assert status == 1
    assert "logbroker_cors" in words


@pytest.mark.parametrize("coding", [None, "deflate", "lz4", "snappy"])
def test_through_the_edge(tmp_path, make_broker, make_edge, coding):
    """A page of another origin behind the shipped edge."""
    broker = make_broker("http://127.0.0.1:9", extra_http="logbroker_cors *;")
    broker.start_nginx()
    edge = make_edge([broker.port])
    c = http.client.HTTPConnection("127.0.0.1", edge.port, timeout=10)
    c.request("OPTIONS", "/log/web", None, dict(ASKS, Origin=PAGE))
    r = c.getresponse()
    assert (r.status, r.read()) == (204, b"")
    assert cors(r)["allow-methods"] == "POST"
    body = {None: bytes, "deflate": deflate, "lz4": lz4,
            "snappy": snappy}[coding](b'{"a": 1}')
    for data, status in ((body, 204), (b"\xff", 400)):
        headers = {"Origin": PAGE, "Content-Type": "text/plain"}
        if coding:
            headers["Content-Encoding"] = coding
        c.request("POST", "/log/web", data, headers)
        r = c.getresponse()
        r.read()
        assert r.status == status
        assert cors(r)["allow-origin"] == "*"
    c.close()
    assert spool.records(broker.spool)[-1].payload == b'{"a":1}\n'
