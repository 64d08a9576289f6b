"""Amazon Data Firehose, and CloudWatch Logs behind it."""

import base64
import gzip
import json
import time

import pytest

from env import spool
from env.broker import FAST
from env.http import post
from env.nginx import Nginx
from env.process import wait_for


@pytest.fixture(scope="module")
def nginx(tmp_path_factory):
    with Nginx(tmp_path_factory.mktemp("firehose"), server="""
            location = /firehose { logbroker_firehose; logbroker_stream aws;
                                   logbroker_max_body 8m; }
            location = /bad { logbroker_firehose; logbroker_stream a/b; }
            """) as n:
        wait_for(lambda: n.post("/log", b"{}", {
            "Idempotency-Key": "first"}).status == 204, what="keys")
        yield n


def delivery(*records, request="r-1"):
    return json.dumps({"requestId": request, "timestamp": 1578090901599,
                       "records": [{"data": base64.b64encode(
                           r.encode() if isinstance(r, str) else r).decode()}
                           for r in records]})


def cloudwatch(*messages, now=1772600767123, **more):
    return gzip.compress(json.dumps({
        "messageType": "DATA_MESSAGE", "owner": "123456789012",
        "logGroup": "/aws/lambda/pay", "logStream": "2026/[$LATEST]x",
        "subscriptionFilters": ["f"], "logEvents": [
            {"id": str(n), "timestamp": now + n, "message": m}
            for n, m in enumerate(messages)], **more}).encode())


def ask(nginx, body, path="/firehose", method="POST", request="r-1", **headers):
    if request:
        headers["X-Amz-Firehose-Request-Id"] = request
    c = nginx.connect()
    try:
        c.request(method, path, body, {
            "X-Amz-Firehose-Protocol-Version": "1.0",
            "X-Amz-Firehose-Access-Key": "secret",
            "Content-Type": "application/json", **headers})
        r = c.getresponse()
        text = r.read()
        assert r.headers["Content-Type"] == "application/json"
        answer = json.loads(text)
        assert abs(answer["timestamp"] / 1000 - time.time()) < 60
        assert isinstance(answer["timestamp"], int)
        return r, answer
    finally:
        c.close()


def last(nginx):
    return spool.records(nginx.spool)[-1]


def test_records(nginx):
    r, answer = ask(nginx, delivery(
        '{"a":1}', '{"b":2}\n{"c":3}\n', "one\ntwo\n", gzip.compress(b"three"),
        request="records"), request="records", **{
            "X-Amz-Firehose-Common-Attributes":
            '{"commonAttributes":{"env":"prod"}}'})
    assert r.status == 200
    assert answer == {"requestId": "records", "timestamp": answer["timestamp"]}
    record = last(nginx)
    assert (record.stream, record.events) == ("aws", 6)
    assert record.payload == (
        b'\x01{"fields":{"env":"prod"}}\n{"a":1}\n{"b":2}\n{"c":3}\n'
        b'{"message":"one"}\n{"message":"two"}\n{"message":"three"}\n')


@pytest.mark.parametrize("pad", [0, 200_000])
def test_sent_again(nginx, pad):
    """The id is the same in all attempts: nothing is stored twice."""
    n = len(spool.records(nginx.spool))
    name = f"again-{pad}"
    for _ in range(3):
        r, answer = ask(nginx, delivery("a" + "x" * pad, request=name) + " " * pad,
                        request=name)
        assert (r.status, answer["requestId"]) == (200, name)
    assert len(spool.records(nginx.spool)) == n + 1
    r, answer = ask(nginx, delivery("other", request=name), request=name)
    assert r.status == 422 and "before" in answer["errorMessage"]
    assert answer["requestId"] == name


@pytest.mark.parametrize("records", [
    [], [""], [gzip.compress(json.dumps({
        "messageType": "CONTROL_MESSAGE", "owner": "CloudwatchLogs",
        "logGroup": "", "logStream": "", "subscriptionFilters": [],
        "logEvents": [{"id": "", "timestamp": 1,
                       "message": "CWL CONTROL MESSAGE"}]}).encode())]])
def test_nothing_to_store(nginx, records):
    n = len(spool.records(nginx.spool))
    r, answer = ask(nginx, delivery(*records))
    assert (r.status, answer["requestId"]) == (200, "r-1")
    assert "errorMessage" not in answer
    assert len(spool.records(nginx.spool)) == n


@pytest.mark.parametrize("body, status, words", [
    (b"", 400, "no event"),
    (b"words", 400, ""),
    (b'{"requestId":"r-1"}', 400, "delivery"),
    (b'{"requestId":"other","records":[]}', 400, "requestId is not"),
    # half a gigabyte in one request
    (delivery(*[gzip.compress(b" " * 5_000_000) for _ in range(100)]).encode(),
     413, "too large"),
])
def test_refused(nginx, body, status, words):
    n = len(spool.records(nginx.spool))
    r, answer = ask(nginx, body)
    assert r.status == status and words in answer["errorMessage"]
    assert answer["requestId"] == "r-1"
    r, answer = ask(nginx, body, request=None)
    assert r.status != 200 or words == "requestId is not"
    assert len(spool.records(nginx.spool)) == n

    r, answer = ask(nginx, None, method="GET")
    assert r.status == 405 and r.headers["Allow"] == "POST"
    r, answer = ask(nginx, delivery("a"), path="/bad")
    assert r.status == 400 and "stream" in answer["errorMessage"]


def test_bad_ones_among_others(nginx):
    body = json.loads(delivery("a", "b", cloudwatch("c")[:-20],
                               gzip.compress(b" " * 5_000_000), "d",
                               request="bad"))
    body["records"][1]["data"] = "?"
    r, answer = ask(nginx, json.dumps(body), request="bad")
    assert (r.status, answer["requestId"]) == (200, "bad")
    record = last(nginx)
    assert record.events == 5
    for n, reason in (1, "base64"), (2, "gzip"), (3, "too large"):
        assert re_place(record.payload, n, reason), n
    assert record.payload.startswith(b'{"message":"a"}\n\x01')
    assert record.payload.endswith(b'\x01{}\n{"message":"d"}\n')


def re_place(payload, n, reason):
    return any(f'"place":"record {n}"' in line and reason in line
               for line in payload.decode().splitlines())


def test_full_spool_is_503(tmp_path):
    with Nginx(tmp_path, spool="size=8m rings=1", server="""
            location / { logbroker_firehose; }""") as nginx:
        for n in range(400):
            r, answer = ask(nginx, delivery("y" * 60000, request=str(n)),
                            request=str(n))
            if r.status == 503 and "full" in answer["errorMessage"]:
                break
        assert r.status == 503 and int(r.headers["Retry-After"]) >= 1
        assert answer["requestId"] == str(n)


def test_delivered(clickhouse, make_broker):
    broker = make_broker(clickhouse.url, flusher=FAST, extra_server="""
        location = /firehose { logbroker_firehose; }""")
    broker.start_nginx()
    now = int(time.time() * 1000)
    body = delivery(
        cloudwatch("START RequestId: 1\n", json.dumps({
            "level": "ERROR", "message": "inner", "timestamp":
            "2026-03-04T05:06:07.5Z", "service": "pay"}), now=now),
        '{"msg":"json","level":"warn"}\n', "text", b"\x1f\x8b", request="d")
    headers = {"X-Amz-Firehose-Request-Id": "d",
               "X-Amz-Firehose-Common-Attributes":
               '{"commonAttributes":{"env":"prod","host":"h1"}}'}
    # keys are being read back at first
    wait_for(lambda: post(broker.port, body, path="/firehose",
                          headers=headers)[0] == 200, 30, "the answer")
    assert post(broker.port, body, path="/firehose", headers=headers)[0] == 200
    broker.start_flusher()
    wait_for(broker.drained, 60, "delivery", every=0.1)

    rows = [json.loads(r) for r in clickhouse.query(
        "SELECT stream, message, host, service, level, attributes, "
        "toUnixTimestamp64Milli(timestamp) AS ms FROM logbroker.logs "
        "ORDER BY seq FORMAT JSONEachRow").splitlines()]
    assert [(r["stream"], r["message"], r["host"], r["service"], r["level"])
            for r in rows] == [
        ("default", "START RequestId: 1", "h1", "", ""),
        ("default", "inner", "h1", "pay", "error"),
        ("default", "json", "h1", "", "warn"),
        ("default", "text", "h1", "", ""),
        ("rejected", '{"data":"H4s="}', "", "", "")]
    attributes = [json.loads(r["attributes"]) for r in rows]
    shared = {"env": "prod", "owner": "123456789012",
              "logGroup": "/aws/lambda/pay", "logStream": "2026/[$LATEST]x",
              "subscriptionFilters": ["f"]}
    assert attributes[0] == {**shared, "id": "0"}
    assert attributes[1] == {**shared, "id": "1", "level": "ERROR",
                             "cloudwatch.timestamp": now + 1} or \
        attributes[1] == {**shared, "id": "1",
                          "cloudwatch.timestamp": now + 1}
    assert attributes[2] == attributes[3] == {"env": "prod"}
    assert int(rows[0]["ms"]) == now
    assert int(rows[1]["ms"]) == 1772600767500
