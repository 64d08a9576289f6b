"""OTLP/HTTP: requests as SDKs and collectors send them, answers as they read
them, rows as people look for them."""

import gzip
import json
import sys

import pytest

from env import spool
from env.broker import FAST
from env.build import ROOT
from env.http import post
from env.nginx import Nginx
from env.process import wait_for

sys.path.insert(0, str(ROOT / "tests/otlp"))

import body as otlp  # noqa: E402

RECORDS = [otlp.record(n) for n in range(512)]

PROTO = {"Content-Type": "application/x-protobuf"}
JSON = {"Content-Type": "application/json"}

RECORD = {"timeUnixNano": "1772600767123456789", "severityNumber": 17,
          "severityText": "Error", "body": {"stringValue": "boom"},
          "attributes": [{"key": "n", "value": {"intValue": "7"}}],
          "traceId": "5B8EFFF798038103D269B633813FC60C",
          "spanId": "eee19b7ec3c1b174"}


def request(*records, resource=None, scope="lib"):
    return json.dumps({"resourceLogs": [{
        "resource": {"attributes": [
            {"key": k, "value": {"stringValue": v}}
            for k, v in (resource or {}).items()]},
        "scopeLogs": [{"scope": {"name": scope},
                       "logRecords": list(records)}]}]})


@pytest.fixture(scope="module")
def nginx(tmp_path_factory):
    with Nginx(tmp_path_factory.mktemp("otlp"), server="""
            location = /v1/logs { logbroker_otlp; }
            location /otlp/ { logbroker_otlp; logbroker_stream otlp; }
            """) as n:
        yield n


def send(nginx, body, headers, path="/v1/logs", method="POST"):
    c = nginx.connect()
    try:
        c.request(method, path, body, headers)
        r = c.getresponse()
        return r, r.read()
    finally:
        c.close()


@pytest.mark.parametrize("path, stream", [
    ("/v1/logs", "default"), ("/otlp/v1/logs", "otlp"), ("/otlp/logs", "otlp")])
def test_accepted(nginx, path, stream):
    r, text = send(nginx, otlp.proto(RECORDS), PROTO, path)
    assert (r.status, text) == (200, b"")
    assert r.headers["Content-Type"] == "application/x-protobuf"
    record = spool.records(nginx.spool)[-1]
    assert (record.events, record.stream) == (512, stream)
    assert record.payload.startswith(b'\x01{"resource":{"service.name":"orders"')
    # once, not with each record
    assert record.payload.count(b"service.name") == 1

    r, text = send(nginx, gzip.compress(otlp.as_json(RECORDS)),
                   {**JSON, "Content-Encoding": "gzip"}, path)
    assert (r.status, json.loads(text)) == (200, {})
    assert r.headers["Content-Type"] == "application/json"
    assert spool.records(nginx.spool)[-1].payload == record.payload


@pytest.mark.parametrize("body, headers", [
    (b"", PROTO), ("{}", JSON), ('{"resourceLogs":[]}', JSON),
    ('{"resourceLogs":[{"scopeLogs":[{"logRecords":[]}]}]}', JSON),
    (b"\x0a\x00", PROTO)])
def test_no_records_are_no_error(nginx, body, headers):
    n = len(spool.records(nginx.spool))
    r, text = send(nginx, body, headers)
    assert r.status == 200 and text in (b"", b"{}")
    assert r.headers["Content-Type"] == headers["Content-Type"]
    assert len(spool.records(nginx.spool)) == n


def test_partial_success(nginx):
    bad = {**RECORD, "timeUnixNano": "soon"}
    r, text = send(nginx, request(RECORD, bad, RECORD), JSON)
    partial = json.loads(text)["partialSuccess"]
    assert r.status == 200
    assert int(partial["rejectedLogRecords"]) == 1
    assert partial["errorMessage"]
    record = spool.records(nginx.spool)[-1]
    assert record.events == 3
    assert b'\x01{"stream":"rejected"}\n' in record.payload


def test_what_is_no_utf8(nginx):
    """Taken, and the client is warned."""
    words = b"2 places of the request are not UTF-8"
    r, text = send(nginx, request({**RECORD, "severityText": "ab"})
                   .encode().replace(b"ab", b"\xff\xfe"), JSON)
    partial = json.loads(text)["partialSuccess"]
    assert r.status == 200 and int(partial["rejectedLogRecords"]) == 0
    assert partial["errorMessage"].encode().startswith(words)
    r, text = send(nginx, otlp.field(1, otlp.field(2, otlp.field(
        2, otlp.field(3, b"\xff\xfe")))), PROTO)
    assert (r.status, text[:1], text[2:5]) == (200, b"\x0a", b"\x08\x00\x12")
    assert text[6:].startswith(words) and text[5] == len(text) - 6
    record = spool.records(nginx.spool)[-1]
    assert record.payload == '{"level":"\ufffd\ufffd"}\n'.encode()


@pytest.mark.parametrize("body, headers, status", [
    (b"\xff\xff", PROTO, 400),
    ("{", JSON, 400),
    ("", JSON, 400),
    (b"\x0a\x7f", PROTO, 400),
    ("{}", {"Content-Type": "text/plain"}, 415),
    ("{}", {}, 415),
    ("{}", {**JSON, "Content-Encoding": "br"}, 415),
    ("no gzip", {**JSON, "Content-Encoding": "gzip"}, 400)])
def test_refused(nginx, body, headers, status):
    r, text = send(nginx, body, headers)
    assert r.status == status
    if headers == PROTO:
        assert r.headers["Content-Type"] == "application/x-protobuf"
        assert text[:3] == b"\x08\x03\x12" and text[3] == len(text) - 4
        text[4:].decode()
    else:
        assert r.headers["Content-Type"] == "application/json"
        answer = json.loads(text)
        assert answer["code"] == 3 and answer["message"]


@pytest.mark.parametrize("path", ["/otlp/v1/traces", "/otlp/v1/metrics"])
def test_other_signals(nginx, path):
    r, text = send(nginx, b"\x0a\x00", PROTO, path)
    assert r.status == 404 and b"only logs" in text
    assert send(nginx, "{}", JSON, path)[0].status == 404


def test_method(nginx):
    r, _ = send(nginx, None, {}, method="GET")
    assert r.status == 405 and r.headers["Allow"] == "POST"


def test_rows(clickhouse, make_broker):
    broker = make_broker(clickhouse.url, flusher=FAST, extra_server="""
        location /v1/ { logbroker_otlp; }""")
    broker.start()
    a = post(broker.port, request(RECORD, {"body": {"intValue": "5"}},
                                  resource={"service.name": "pay",
                                            "host.name": "h1", "x": "y"}),
             "/v1/logs", JSON)
    assert a[0] == 200
    a = post(broker.port, otlp.proto(RECORDS), "/v1/logs", PROTO)
    assert a[0] == 200
    wait_for(broker.drained, 60, "delivery", every=0.1)
    row = json.loads(clickhouse.query("""
        SELECT * FROM logbroker.logs WHERE message = 'boom'
        FORMAT JSONEachRow"""))
    assert row["timestamp"] == "2026-03-04 05:06:07.123456789"
    assert (row["level"], row["service"], row["host"]) == ("error", "pay", "h1")
    assert row["trace_id"] == "5b8efff798038103d269b633813fc60c"
    assert row["span_id"] == "eee19b7ec3c1b174"
    assert row["severity_number"] == 17
    assert json.loads(row["attributes"]) == {"n": 7}
    assert json.loads(row["resource"]) == {"service.name": "pay",
                                           "host.name": "h1", "x": "y"}
    assert json.loads(row["scope"]) == {"name": "lib"}
    assert clickhouse.query("SELECT count(), uniqExact(timestamp) FROM "
                            "logbroker.logs WHERE service = 'orders' AND host ="
                            " 'node-17' AND startsWith(message, 'GET')"
                            ).split() == ["512", "512"]
    assert clickhouse.query("SELECT service FROM logbroker.logs WHERE "
                            "message = '5'").strip() == "pay"
