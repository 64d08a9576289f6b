"""GELF over HTTP."""

import gzip
import json
import time
import zlib

import pytest

from env import spool
from env.broker import FAST
from env.http import error, post
from env.nginx import Nginx
from env.process import wait_for


@pytest.fixture(scope="module")
def nginx(tmp_path_factory):
    with Nginx(tmp_path_factory.mktemp("gelf"), server="""
            location /gelf { logbroker_gelf; logbroker_max_body 4m; }
            location /app { logbroker_gelf; logbroker_stream app; }
            """) as n:
        yield n


def last(nginx):
    return spool.records(nginx.spool)[-1]


@pytest.mark.parametrize("headers", [
    {}, {"Content-Type": "application/json"}, {"Content-Type": "text/plain"},
    {"Content-Type": "application/x-www-form-urlencoded"}])
@pytest.mark.parametrize("body", [
    '{"short_message":"one","_x":1}{"short_message":"two"}',
    '{"short_message":"one","_x":1}\n{"short_message":"two"}\n',
    '{"short_message":"one","_x":1}\0{"short_message":"two"}\0',
    '[{"short_message":"one", "_x":1},\n {"short_message":"two"}]'])
def test_messages(nginx, headers, body):
    answer = nginx.post("/app", body.encode(), headers)
    assert (answer.status, answer.body) == (202, b"")
    assert answer.headers["Content-Length"] == "0"
    record = last(nginx)
    assert (record.stream, record.events) == ("app", 2)
    assert record.payload == b'{"message":"one","x":1}\n{"message":"two"}\n'


@pytest.mark.parametrize("headers, pack", [
    ({"Content-Encoding": "gzip"}, gzip.compress),
    ({}, gzip.compress),  # GELF has it in its first bytes
    ({}, zlib.compress),
    ({"Content-Encoding": "gzip,deflate"}, zlib.compress),  # pygelf, graypy
])
def test_compressed(nginx, headers, pack):
    body = b"".join(b'{"short_message":"%d"}\n' % i for i in range(20000))
    assert nginx.post("/gelf", pack(body), headers).status == 202
    assert last(nginx).events == 20000
    assert nginx.post("/gelf", pack(body)[:-9], headers).status == 400
    assert nginx.post("/gelf", pack(b" " * 50_000_000),
                      headers).status == 413


def test_chunked(nginx):
    c = nginx.connect()
    c.request("POST", "/gelf", iter([b'{"short_mes', b'sage":"a"}']),
              encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
    r = c.getresponse()
    assert (r.status, r.read()) == (202, b"")
    c.close()
    assert last(nginx).payload == b'{"message":"a"}\n'


@pytest.mark.parametrize("body, status, name", [
    (b"", 400, "no event"),
    (b"[]", 400, "no event"),
    (b"words", 400, "no JSON objects"),
    (b'{"short_message":', 400, "no JSON objects"),
    (b"\x1f\x8b garbage", 400, "gzip"),
])
def test_refused(nginx, body, status, name):
    n = len(spool.records(nginx.spool))
    answer = nginx.post("/gelf", body)
    assert answer.status == status and name in error(answer)["error"]
    assert len(spool.records(nginx.spool)) == n
    c = nginx.connect()
    c.request("GET", "/gelf")
    r = c.getresponse()
    assert (r.status, r.headers["Allow"]) == (405, "POST")
    r.read()
    c.close()


@pytest.mark.parametrize("pad", [0, 200_000])
def test_a_bad_one_among_others(nginx, pad):
    answer = nginx.post("/app", json.dumps(
        {"short_message": "x" * pad + "a"}).encode() +
        b'\n{"host":"h"}\n{"short_message":}\n{"short_message":"b"}')
    assert answer.status == 202
    record = last(nginx)
    assert record.events == 4
    assert b'"origin":"app","place":"message 1"' in record.payload
    assert b'"place":"message 2","body":"{\\"short_message\\":}' \
        in record.payload
    assert record.payload.endswith(b'\n\x01{}\n{"message":"b"}\n')


def test_delivered(clickhouse, make_broker):
    broker = make_broker(clickhouse.url, flusher=FAST, extra_server="""
        location = /gelf { logbroker_gelf; logbroker_stream gelf; }""")
    broker.start_nginx()
    now = int(time.time())
    body = "\n".join(json.dumps(m) for m in [
        {"version": "1.1", "host": "h1", "short_message": "boom",
         "full_message": "boom\nstack", "timestamp": now + .125, "level": 3,
         "_app": "pay", "_trace_id": "7", "_time": "2001-01-01T00:00:00Z"},
        {"host": "h1"},
        {"short_message": "two", "timestamp": f"{now - 9 * 365 * 86400}",
         "level": "6", "_message": "own", "_level": "own"},
    ])
    assert post(broker.port, body, path="/gelf")[0] == 202
    broker.start_flusher()
    wait_for(broker.drained, 60, "delivery", every=0.1)

    rows = [json.loads(r) for r in clickhouse.query(
        "SELECT stream, message, host, service, level, trace_id, attributes, "
        "toUnixTimestamp64Milli(timestamp) AS ms FROM logbroker.logs "
        "ORDER BY seq FORMAT JSONEachRow").splitlines()]
    assert [(r["stream"], r["message"], r["host"], r["service"], r["level"],
             r["trace_id"]) for r in rows] == [
        ("gelf", "boom", "h1", "pay", "error", "7"),
        ("rejected", '{"host": "h1"}', "", "", "", ""),
        ("gelf", "two", "", "", "info", "")]
    attributes = [json.loads(r["attributes"]) for r in rows]
    assert attributes[0] == {"full_message": "boom\nstack", "level": 3,
                             "time": "2001-01-01T00:00:00Z"}
    assert attributes[1]["reason"] == "a GELF message has a short_message"
    assert attributes[2] == {"level": "6", "_message": "own", "_level": "own"}
    assert int(rows[0]["ms"]) == now * 1000 + 125
    assert int(rows[2]["ms"]) == (now - 9 * 365 * 86400) * 1000
