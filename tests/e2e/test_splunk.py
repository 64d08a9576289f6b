"""Splunk's HTTP Event Collector."""

import gzip
import json
import time

import pytest

from env import spool
from env.broker import FAST
from env.http import post
from env.nginx import Nginx
from env.process import wait_for

SUCCESS = {"text": "Success", "code": 0}
API = "/services/collector"


@pytest.fixture(scope="module")
def nginx(tmp_path_factory):
    with Nginx(tmp_path_factory.mktemp("splunk"), server="""
            location /services/collector { logbroker_splunk; }
            location /root/ { logbroker_splunk; logbroker_stream hec; }
            location /bad { logbroker_splunk; logbroker_stream a/b; }
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


@pytest.mark.parametrize("path", [
    API, API + "/", API + "/event", API + "/event/1.0",
    "/root/services/collector/event", "/root/event"])
@pytest.mark.parametrize("headers", [
    {}, {"Content-Type": "application/json"}, {"Content-Type": "text/plain"},
    {"Content-Type": "application/x-www-form-urlencoded",
     "Authorization": "Splunk 00000000-0000-0000-0000-000000000000"}])
def test_events(nginx, path, headers):
    r, answer = ask(nginx, path, '{"event":"one","index":"main"}{"event":'
                                 '{"message":"two"}}', headers=headers)
    assert (r.status, answer) == (200, SUCCESS)
    record = last(nginx)
    assert record.stream == ("hec" if "root" in path else "default")
    assert record.events == 2
    assert record.payload == b'\x01{"stream":"main"}\n{"message":"one"}\n' \
                             b'{"message":"two"}\n'


@pytest.mark.parametrize("path", ["/raw", "/raw/1.0"])
def test_raw(nginx, path):
    r, answer = ask(nginx, API + path + "?channel=c&host=a%20b&sourcetype=%22"
                    "&index=x", b"one\r\n\n\xfftwo\n")
    assert (r.status, answer) == (200, SUCCESS)
    record = last(nginx)
    assert record.events == 2
    assert record.payload.decode() == (
        '\x01{"stream":"x","fields":{"host":"a b","sourcetype":"\\""}}\n'
        '{"message":"one"}\n{"message":"\ufffdtwo"}\n')


@pytest.mark.parametrize("method, path, status, code", [
    ("GET", "/health", 200, 17),
    ("GET", "/health/1.0", 200, 17),
    ("OPTIONS", "/health", 200, 17),
    ("OPTIONS", "", 200, 17),
    ("OPTIONS", "/event/1.0", 200, 17),
    ("HEAD", "/health", 200, None),
    ("POST", "/ack", 400, 14),
    ("GET", "/event", 405, 6),
    ("POST", "/other", 404, 404),
])
def test_beside_the_events(nginx, method, path, status, code):
    body = "{}" if method == "POST" else None
    r, answer = ask(nginx, API + path, body, method)
    assert r.status == status
    assert code is None or answer["code"] == code
    assert status != 405 or r.headers["Allow"] == "POST"


@pytest.mark.parametrize("path, body, status, code, text", [
    (API, "", 400, 5, "No data"),
    (API, " \n", 400, 5, "No data"),
    (API + "/raw", "\n", 400, 5, "No data"),
    (API, "words", 400, 6, "Invalid data format"),
    (API, "[1]", 400, 6, "Invalid data format"),
    ("/bad", '{"event":1}', 400, 7, "Incorrect index"),
])
def test_refused(nginx, path, body, status, code, text):
    n = len(spool.records(nginx.spool))
    r, answer = ask(nginx, path, body)
    assert (r.status, answer["code"], answer["text"]) == (status, code, text)
    assert answer["reason"]
    assert len(spool.records(nginx.spool)) == n


@pytest.mark.parametrize("pad", [0, 200_000])
def test_a_bad_one_among_others(nginx, pad):
    """The others are not brought again: the answer is a 200 that names it."""
    r, answer = ask(nginx, API, json.dumps({"event": "x" * pad + "a"}) +
                    '{"event":}\n{"event":"b"}{"no":1}')
    assert r.status == 200
    assert answer["code"] == 6 and answer["invalid-event-number"] == 1
    record = last(nginx)
    assert record.events == 4
    assert b'"body":"{\\"event\\":}' in record.payload
    assert b'{"message":"b"}\n' in record.payload

    # none is good: it is kept all the same
    r, answer = ask(nginx, API, '{"event":""}')
    assert (r.status, answer["code"], answer["text"]) == (
        400, 13, "Event field cannot be blank")
    assert last(nginx).payload.startswith(b'\x01{"stream":"rejected"}\n')


def test_compressed_and_repeated(nginx):
    n = len(spool.records(nginx.spool))
    headers = {"Content-Encoding": "gzip", "Idempotency-Key": "k"}
    body = gzip.compress(b"".join(b'{"event":"%d"}' % i for i in range(20000)))
    for _ in range(2):
        r, answer = ask(nginx, API, body, headers=headers)
        assert (r.status, answer) == (200, SUCCESS)
    assert len(spool.records(nginx.spool)) == n + 1
    assert last(nginx).events == 20000


def test_full_spool_is_503(tmp_path):
    with Nginx(tmp_path, spool="size=8m rings=1", server="""
            location / { logbroker_splunk; }""") as nginx:
        body = json.dumps({"event": "y" * 60000})
        for _ in range(400):
            r, answer = ask(nginx, API, body)
            if r.status != 200:
                break
        assert r.status == 503 and r.headers["Retry-After"] == "1"
        assert (answer["code"], answer["text"]) == (9, "Server is busy")


def test_delivered(clickhouse, make_broker):
    """From envelopes to rows: what holds for several comes with each."""
    broker = make_broker(clickhouse.url, flusher=FAST, extra_server="""
        location /services/collector { logbroker_splunk; }""")
    broker.start_nginx()
    now = int(time.time())
    body = "".join(json.dumps(e) for e in [
        {"time": now + .25, "host": "web1", "source": "src",
         "sourcetype": "st", "index": "main", "event": "one"},
        {"time": f"{now}.500000", "event": {
            "line": "two", "source": "stdout", "tag": "t"}},
        {"host": "web2", "event": {"line": {"msg": "three", "level": "WARN"},
                                   "source": "stderr", "attrs": {"a": "b"}}},
        {"event": {"message": "four", "host": "own", "service": "s"},
         "fields": {"k": "v"}},
        {"index": "other", "event": ""},
        {"event": 5},
    ])
    status, _, answer = post(broker.port, body, path=API)
    assert status == 200 and json.loads(answer)["code"] == 13
    broker.start_flusher()
    wait_for(broker.drained, 60, "delivery", every=0.1)

    rows = [json.loads(r) for r in clickhouse.query(
        "SELECT stream, message, host, service, level, attributes, "
        "toUnixTimestamp64Milli(timestamp) AS ms FROM logbroker.logs "
        "ORDER BY seq FORMAT JSONEachRow").splitlines()]
    attributes = [json.loads(r["attributes"]) for r in rows]
    assert [(r["stream"], r["message"], r["host"]) for r in rows] == [
        ("main", "one", "web1"), ("main", "two", "web1"),
        ("main", "three", "web2"), ("main", "four", "web2"),
        ("rejected", '{"index": "other", "event": ""}', ""),
        ("main", "5", "web2")]
    assert int(rows[0]["ms"]) == now * 1000 + 250
    assert int(rows[1]["ms"]) == now * 1000 + 500
    assert rows[2]["level"] == "warn" and rows[3]["service"] == "s"
    assert attributes[0] == {"source": "src", "sourcetype": "st"}
    assert attributes[1] == {"hec.source": "src", "source": "stdout",
                             "tag": "t", "sourcetype": "st"}
    assert attributes[2]["attrs"] == {"a": "b"}
    assert attributes[3] == {"host": "own", "k": "v", "source": "src",
                             "sourcetype": "st"}
    assert attributes[4]["place"] == "envelope 4"
