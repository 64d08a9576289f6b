"""Datadog's log intake."""

import gzip
import json
import time
import zlib

import pytest

from env import spool
from env.broker import FAST
from env.http import post
from env.nginx import Nginx
from env.process import wait_for

API = "/api/v2/logs"


@pytest.fixture(scope="module")
def nginx(tmp_path_factory):
    with Nginx(tmp_path_factory.mktemp("datadog"), server="""
            location /api/ { logbroker_datadog; logbroker_max_body 4m; }
            location /v1/input { logbroker_datadog; }
            location /dd/ { logbroker_datadog; logbroker_stream dd; }
            location /bad { logbroker_datadog; logbroker_stream a/b; }
            """) as n:
        yield n


def ask(nginx, path, body=None, method="POST", headers=None):
    c = nginx.connect()
    try:
        c.request(method, path, body, headers or {})
        r = c.getresponse()
        text = r.read()
        assert r.headers["Content-Type"] == "application/json"
        return r, json.loads(text) if text else None
    finally:
        c.close()


def last(nginx):
    return spool.records(nginx.spool)[-1]


@pytest.mark.parametrize("path, status", [
    (API, 202), (API + "/", 202), ("/dd/api/v2/logs", 202), ("/bad", 400),
    ("/v1/input", 200), ("/v1/input/", 200), ("/v1/input/0123456789abcdef", 200),
    ("/dd/v1/input/k", 200)])
@pytest.mark.parametrize("headers", [
    {"DD-API-KEY": "k"},
    {"Content-Type": "application/json"},
    {"Content-Type": "text/plain;charset=UTF-8"}])  # as browsers send it
def test_events(nginx, path, status, headers):
    if not path.endswith("/"):
        path += "?dd-api-key=k"
    r, answer = ask(nginx, path, '[{"message":"one","status":"warn"},{}]',
                    headers=headers)
    assert r.status == status
    if status == 400:
        assert "stream" in answer["errors"][0]["detail"]
        return
    assert answer == {}
    record = last(nginx)
    assert record.stream == ("dd" if "dd/" in path else "default")
    assert record.payload == b'{"message":"one","level":"warn"}\n'


def test_text_and_parameters(nginx):
    r, answer = ask(nginx, API + "?ddsource=h%20k&service=s&ddtags=env:x,a:b"
                    "&dd-api-key=secret", b"one\r\n\n\xfftwo\n",
                    headers={"Content-Type": "text/plain"})
    assert (r.status, answer) == (202, {})
    record = last(nginx)
    assert record.events == 2
    assert record.payload.decode() == (
        '\x01{"fields":{"ddsource":"h k","service":"s","env":"x","a":"b"}}\n'
        '{"message":"one"}\n{"message":"\ufffdtwo"}\n')


@pytest.mark.parametrize("n, status", [(1, 202), (2, 400)])
def test_logplex(nginx, n, status):
    """Heroku's drains, as Datadog says to set them up."""
    frame = "<40>1 2026-03-04T05:06:07+00:00 host app web.3 - up\n"
    r, answer = ask(nginx, API + "?ddsource=heroku&service=s",
                    f"{len(frame)} {frame}".encode(), headers={
                        "Content-Type": "application/logplex-1",
                        "Logplex-Msg-Count": str(n)})
    assert r.status == status
    if status == 202:
        record = last(nginx)
        assert record.payload.startswith(
            b'\x01{"fields":{"ddsource":"heroku","service":"s"}}\n')
        assert b'"message":"up"' in record.payload


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b" [ ] \n", b"[{}]"])
@pytest.mark.parametrize("path, status", [(API, 202), ("/v1/input", 200)])
def test_probes(nginx, path, status, body):
    n = len(spool.records(nginx.spool))
    r, answer = ask(nginx, path, body)
    assert (r.status, answer) == (status, {})
    assert len(spool.records(nginx.spool)) == n


@pytest.mark.parametrize("method, path, status", [
    ("GET", "/api/v1/validate", 200), ("HEAD", "/api/v1/validate", 200),
    ("POST", "/api/v1/validate", 404), ("GET", API, 405),
    ("GET", "/v1/input", 405), ("POST", "/api/v2/series", 404),
    ("POST", "/v1/input/a/b", 404)])
def test_beside_the_events(nginx, method, path, status):
    r, answer = ask(nginx, path, None, method)
    assert r.status == status
    if method != "HEAD" and status == 200:
        assert answer == {"valid": True}
    assert status != 405 or r.headers["Allow"] == "POST"


@pytest.mark.parametrize("body, headers, status", [
    (b"words", {}, 400), (b"[1]", {}, 400), (b'{"message":', {}, 400),
    (b"{}", {"Content-Encoding": "x"}, 415),
    (gzip.compress(b" " * 50_000_000), {"Content-Encoding": "gzip"}, 413),
])
def test_refused(nginx, body, headers, status):
    n = len(spool.records(nginx.spool))
    r, answer = ask(nginx, API, body, headers=headers)
    assert r.status == status
    assert answer["errors"][0]["status"] == str(status)
    assert answer["errors"][0]["detail"]
    r, answer = ask(nginx, "/v1/input", body, headers=headers)
    assert (r.status, answer["code"]) == (status, status)
    assert answer["message"]
    assert len(spool.records(nginx.spool)) == n


@pytest.mark.parametrize("coding, pack", [
    ("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_compressed(nginx, coding, pack):
    body = pack(json.dumps([{"message": f"{n}"} for n in range(20000)]).encode())
    r, answer = ask(nginx, API, body, headers={"Content-Encoding": coding})
    assert (r.status, answer) == (202, {})
    assert last(nginx).events == 20000


@pytest.mark.parametrize("pad", [0, 200_000])
def test_a_bad_one_among_others(nginx, pad):
    r, answer = ask(nginx, "/dd/api/v2/logs", json.dumps(
        [{"message": "x" * pad + "a"}])[:-1] + ',{"message":},{"message":"b"}]')
    assert (r.status, answer) == (202, {})
    record = last(nginx)
    assert record.events == 3
    assert b'"origin":"dd","place":"event 1","body":"{\\"message\\":}"' \
        in record.payload
    assert record.payload.endswith(b'\n\x01{}\n{"message":"b"}\n')


def test_full_spool_is_503(tmp_path):
    with Nginx(tmp_path, spool="size=8m rings=1", server="""
            location / { logbroker_datadog; }""") as nginx:
        body = json.dumps([{"message": "y" * 60000}])
        for _ in range(400):
            r, answer = ask(nginx, API, body)
            if r.status != 202:
                break
        assert r.status == 503 and int(r.headers["Retry-After"]) >= 1
        assert "full" in answer["errors"][0]["detail"]


def test_delivered(clickhouse, make_broker):
    broker = make_broker(clickhouse.url, flusher=FAST, extra_server="""
        location /api/ { logbroker_datadog; }""")
    broker.start_nginx()
    now = int(time.time() * 1000)
    body = json.dumps([
        {"message": "m", "status": "warn", "timestamp": now, "hostname": "h1",
         "service": "pay", "ddsource": "go",
         "ddtags": "env:prod,version:1.2,urgent,date:2001-01-01",
         "date": "2001-01-01T00:00:00Z"},
        {"message": json.dumps({
            "msg": "inner", "level": "ERROR", "time": "2026-03-04T05:06:07.5Z",
            "dd.trace_id": "77", "status": 503, "n": {"a": [1]}}),
         "status": "info", "timestamp": now, "hostname": "h1",
         "service": "pay"},
        {"message": {"msg": "object"}, "status": "critical"},
        7,
        {"message": '{"not": json}', "ddtags": "k:v"},
    ])
    status, _, answer = post(broker.port, body, path=API + "?env=query")
    assert (status, answer) == (202, b"{}")
    broker.start_flusher()
    wait_for(broker.drained, 60, "delivery", every=0.1)

    rows = [json.loads(r) for r in clickhouse.query(
        "SELECT stream, message, host, service, level, trace_id, attributes, "
        "toUnixTimestamp64Milli(timestamp) AS ms FROM logbroker.logs "
        "ORDER BY seq FORMAT JSONEachRow").splitlines()]
    assert [(r["stream"], r["message"], r["host"], r["service"], r["level"],
             r["trace_id"]) for r in rows] == [
        ("default", "m", "h1", "pay", "warn", ""),
        ("default", "inner", "h1", "pay", "error", "77"),
        ("default", "object", "", "", "fatal", ""),
        ("rejected", "7, ", "", "", "", ""),
        ("default", '{"not": json}', "", "", "", "")]
    attributes = [json.loads(r["attributes"]) for r in rows]
    assert attributes[0] == {
        "ddsource": "go", "env": "prod", "version": "1.2",
        "ddtags": "urgent,date:2001-01-01", "date": "2001-01-01T00:00:00Z"}
    assert attributes[1] == {
        "status": 503, "n": {"a": [1]}, "datadog.status": "info",
        "datadog.timestamp": now, "env": "query"}
    assert attributes[2] == {"level": "critical", "env": "query"}
    assert attributes[3]["origin"] == "default"
    assert attributes[4] == {"k": "v", "env": "query"}
    assert int(rows[0]["ms"]) == now
    assert int(rows[1]["ms"]) == 1772600767500
