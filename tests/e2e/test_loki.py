"""Loki's push, in JSON and in protobuf."""

import gzip
import json
import time

import pytest

from env import spool
from env.broker import FAST
from env.http import post
from env.nginx import Nginx
from env.process import wait_for

PUSH = "/loki/api/v1/push"
JSON = {"Content-Type": "application/json"}
PROTO = {"Content-Type": "application/x-protobuf"}


@pytest.fixture(scope="module")
def nginx(tmp_path_factory):
    with Nginx(tmp_path_factory.mktemp("loki"), spool="size=32m",
               http="client_max_body_size 4m;", server="""
            location = /loki/api/v1/push { logbroker_loki; }
            location = /ready { logbroker_loki; }
            location /all/ { logbroker_loki; logbroker_stream all; }
            """) as n:
        yield n


def ask(nginx, path, body=None, headers=JSON, method="POST"):
    c = nginx.connect()
    try:
        c.request(method, path, body, headers)
        r = c.getresponse()
        return r, r.read().decode()
    finally:
        c.close()


def push(*values, **labels):
    return json.dumps({"streams": [{"stream": labels, "values": values}]})


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def entry(ns, line, **metadata):
    return field(2, field(1, field(1, ns // 10**9) + field(2, ns % 10**9)) +
                 field(2, line) +
                 b"".join(field(3, field(1, k.encode()) + field(2, v.encode()))
                          for k, v in metadata.items()))


def snappy(data):
    """Literals alone, as a block of snappy."""
    out = varint(len(data))
    for i in range(0, len(data), 65536):
        part = data[i:i + 65536]
        out += bytes([61 << 2]) + (len(part) - 1).to_bytes(2, "little") + part
    return out


def last(nginx):
    return spool.records(nginx.spool)[-1]


@pytest.mark.parametrize("path, headers, stream", [
    (PUSH, {}, "default"),
    (PUSH, {"X-Scope-OrgID": "team-1"}, "team-1"),
    ("/all/loki/api/v1/push", {"X-Scope-OrgID": "team-1"}, "all"),
    ("/all/api/prom/push", {}, "all"),
])
@pytest.mark.parametrize("coding", [None, "gzip"])
def test_json(nginx, path, headers, stream, coding):
    body = push(["1764151200000000001", "one"],
                ["1764151200000000002", "two", {"trace_id": "7"}], app="x")
    headers = dict(headers, **{
        "Content-Type": "application/json; charset=utf-8"})
    if coding:
        headers["Content-Encoding"] = coding
        body = gzip.compress(body.encode())
    r, text = ask(nginx, path, body, headers)
    assert (r.status, text) == (204, "")
    record = last(nginx)
    assert (record.stream, record.events) == (stream, 2)
    assert record.payload.decode().splitlines() == [
        '\x01{"fields":{"app":"x"}}',
        '{"timestamp":"2025-11-26T10:00:00.000000001Z","message":"one"}',
        '{"timestamp":"2025-11-26T10:00:00.000000002Z","message":"two",'
        '"trace_id":"7"}']


@pytest.mark.parametrize("headers", [
    PROTO, {}, {"Content-Type": "application/octet-stream"},
    dict(PROTO, **{"Content-Encoding": "snappy"})])
def test_proto(nginx, headers):
    body = snappy(field(1, field(1, b'{app="x"}') +
                        entry(1764151200000000001, b"one\xff", k="v")))
    r, text = ask(nginx, PUSH, body, headers)
    assert (r.status, text) == (204, "")
    assert last(nginx).payload.decode() == (
        '\x01{"fields":{"app":"x"}}\n{"timestamp":"2025-11-26T10:00:00.'
        '000000001Z","message":"one\ufffd","k":"v"}\n')


@pytest.mark.parametrize("line, want", [
    ('{"level": "warn", "msg": "a\\"\\u00e9", "n": [1]}',
     '"level":"warn","msg":"a\\"\\u00e9","n":[1]'),
    ('{"a":1}\n', '"a":1'), ('{"a":1} \r\n', '"a":1'),
    ("{}", None), ("{a}", None), ('{"a":1}{"b":2}', None), ('{"a":1', None),
    ('[{"a":1}]', None), ('"a"', None), ("{\0}", None),
    ('{"a":"%s"}' % ("b" * 100_000), '"a":"%s"' % ("b" * 100_000)),
    ('{"a":"%s"}' % ("b" * 2**20), "rejected"),
    ('{"a":' * 200 + "1" + "}" * 200, None),
], ids=range(13))
@pytest.mark.parametrize("form", ["json", "older", "proto"])
def test_lines_that_are_json(nginx, line, want, form):
    """Their members are the event's."""
    if form == "json":
        body, headers = push(["1764151200000000001", line, {"k": "v"}]), JSON
    elif form == "older":
        body, headers = json.dumps({"streams": [{"labels": "{}", "entries": [
            {"ts": "2025-11-26T10:00:00.000000001Z", "line": line,
             "k": "v"}]}]}), JSON
    else:
        body, headers = snappy(field(1, field(1, b"{}") + entry(
            1764151200000000001, line.encode(), k="v"))), PROTO
    r, _ = ask(nginx, PUSH, body, headers)
    assert r.status == 204
    stored = last(nginx).payload.decode()
    if want == "rejected":
        assert '"reason":"the entry is too large"' in stored
    else:
        if want is None:
            want = '"message":' + json.dumps(line, ensure_ascii=False)
        assert stored.splitlines()[-1] == (
            '{"timestamp":"2025-11-26T10:00:00.000000001Z",' + want +
            ',"k":"v"}')


def test_replaced_characters_are_counted(nginx):
    def count():
        text = ask(nginx, "/status", method="GET",
                   headers={"Accept": "text/plain"})[1]
        name = "logbroker_replaced_characters_total "
        return int(text.split("\n" + name)[1].split()[0])

    before = count()
    for size in (1, 100_000):
        ask(nginx, PUSH, snappy(field(1, field(1, b'{app="\xff"}') + entry(
            1764151200000000001, b"\xffa\xe2\x82" + b"b" * size))), PROTO)
    assert count() == before + 6


def test_large_bodies_in_a_thread(nginx):
    lines = [(1764151200000000000 + n, "%d %s" % (n, "y" * 200))
             for n in range(3000)]
    r, _ = ask(nginx, PUSH, push(*([str(t), s] for t, s in lines), app="x"))
    assert r.status == 204 and last(nginx).events == 3000
    payload = last(nginx).payload
    body = snappy(field(1, field(1, b'{app="x"}') + b"".join(
        entry(t, s.encode()) for t, s in lines)))
    r, _ = ask(nginx, PUSH, body, PROTO)
    assert r.status == 204 and last(nginx).payload == payload


@pytest.mark.parametrize("body, headers, words", [
    ("", JSON, "no event"),
    ("words", JSON, "JSON object"),
    ("{}", JSON, "streams"),
    ('{"streams":7}', JSON, "streams"),
    ("", PROTO, "no event"),
    ("words", PROTO, "snappy"),
    (b"\xff\xff\xff\xff\x0f\x00x", PROTO, "snappy"),
    (push(["1", "a"]), {"Content-Type": "application/json",
                        "X-Scope-OrgID": "a/b"}, "stream name"),
])
def test_refused(nginx, body, headers, words):
    n = len(spool.records(nginx.spool))
    r, text = ask(nginx, PUSH, body, headers)
    assert r.status == 400 and r.headers["Content-Type"].startswith("text/")
    assert words in text and text.count("\n") == 1 and text.endswith("\n")
    assert len(spool.records(nginx.spool)) == n


def test_nothing_to_store(nginx):
    n = len(spool.records(nginx.spool))
    for body in ('{"streams":[]}', push(app="x")):
        assert ask(nginx, PUSH, body)[0].status == 204
    assert len(spool.records(nginx.spool)) == n


@pytest.mark.parametrize("pad", [0, 200_000])
def test_a_bad_one_among_others(nginx, pad):
    r, _ = ask(nginx, PUSH, push(["1", "a"], ["x", "b"],
                                 ["2", "x" * pad + "c"]))
    assert r.status == 204
    record = last(nginx)
    assert record.events == 3
    assert b'"place":"stream 0, entry 1"' in record.payload
    assert b'c"}\n' in record.payload


def test_beside_the_pushes(nginx):
    r, text = ask(nginx, "/ready", method="GET")
    assert (r.status, text) == (200, "ready\n")
    assert ask(nginx, "/all/ready", method="GET")[1] == "ready\n"
    assert ask(nginx, "/all/other", "{}")[0].status == 404
    r, _ = ask(nginx, PUSH, method="GET")
    assert r.status == 405 and r.headers["Allow"] == "POST"


def test_full_spool_is_503(tmp_path):
    with Nginx(tmp_path, spool="size=8m rings=1", server="""
            location = /loki/api/v1/push { logbroker_loki; }""") as nginx:
        for n in range(400):
            r, text = ask(nginx, PUSH, push(["1", str(n) + "y" * 60000]))
            if r.status != 204:
                break
        assert r.status == 503 and r.headers["Retry-After"] == "1"
        assert "full" in text


def test_delivered(clickhouse, make_broker):
    """From pushes to rows: the labels come with each."""
    broker = make_broker(clickhouse.url, flusher=FAST, extra_server="""
        location = /loki/api/v1/push { logbroker_loki; }""")
    broker.start_nginx()
    now = time.time_ns()
    assert post(broker.port, push(
        [str(now), "one"], [str(now + 1), "two", {"trace_id": "7", "k": "v"}],
        ["bad", "three"], [str(now + 2), "four", {"level": "error"}],
        service_name="svc", hostname="web1", level="warn", job="j"),
        PUSH, JSON)[0] == 204
    assert post(broker.port, snappy(field(1, field(
        1, b'{app="x", date="2020-01-01", q="a\\"b"}') +
        entry(now + 3, b"five"))), PUSH, PROTO)[0] == 204
    assert post(broker.port, push(
        [str(now + 4), "six"],
        [str(now + 5), '{"msg":"seven","level":"error","n":1}'],
        job="nightly", instance="10.0.0.1:9100", detected_level="debug"),
        PUSH, JSON)[0] == 204
    assert post(broker.port, push(
        [str(now + 6), '{"msg":"eight","service":"own","hostname":"mine"}'],
        container="c", pod="p-1", job="ns/c"), PUSH, JSON)[0] == 204
    broker.start_flusher()
    wait_for(broker.drained, 60, "delivery", every=0.1)

    rows = [json.loads(r) for r in clickhouse.query(
        "SELECT stream, message, host, service, level, trace_id, attributes, "
        "toUnixTimestamp64Nano(timestamp) AS ns FROM logbroker.logs "
        "ORDER BY seq FORMAT JSONEachRow").splitlines()]
    attributes = [json.loads(r["attributes"]) for r in rows]
    assert [(r["message"], r["service"], r["host"], r["level"])
            for r in rows] == [
        ("one", "svc", "web1", "warn"), ("two", "svc", "web1", "warn"),
        ('["bad","three"]', "", "", ""), ("four", "svc", "web1", "error"),
        ("five", "x", "", ""),
        ("six", "nightly", "10.0.0.1:9100", "debug"),
        ("seven", "nightly", "10.0.0.1:9100", "error"),
        ("eight", "own", "mine", "")]
    assert rows[2]["stream"] == "rejected"
    assert [int(rows[i]["ns"]) - now for i in (0, 1, 3, 4, 5, 6, 7)] == [
        0, 1, 2, 3, 4, 5, 6]
    assert rows[1]["trace_id"] == "7"
    assert attributes[0] == {"job": "j"}
    assert attributes[1] == {"k": "v", "job": "j"}
    assert attributes[3] == {"job": "j", "labels.level": "warn"}
    assert attributes[4] == {"date": "2020-01-01", "q": 'a"b'}
    assert attributes[5:] == [
        {}, {"n": 1, "detected_level": "debug"},
        {"container": "c", "pod": "p-1", "job": "ns/c"}]
