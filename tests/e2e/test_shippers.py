"""What of docs/senders.md is not run by tests/clients: curl, and the bodies of
shippers that cannot be had."""

import gzip
import json
import re
import subprocess

import pytest

from env import spool
from env.broker import FAST, Broker, settled
from env.build import ROOT
from env.nginx import Nginx

PAGE = (ROOT / "docs/senders.md").read_text()
DATA = ROOT / "tests/data/shippers"


def events(nginx, stream):
    return [json.loads(line) for r in spool.records(nginx.spool)
            if r.stream == stream for line in r.payload.splitlines()]


@pytest.fixture
def nginx(tmp_path):
    with Nginx(tmp_path / "nginx", spool="size=8m") as n:
        yield n


def test_curl(nginx, tmp_path):
    (tmp_path / "app.log").write_text("one\ntwo\n")
    command = re.search(r"```sh\n(curl .*?)```", PAGE, re.S)[1].replace(
        "edge:8080", f"127.0.0.1:{nginx.port}")
    subprocess.run(["bash", "-ec", command], cwd=tmp_path, check=True,
                   timeout=60)
    assert [e["message"] for e in events(nginx, "app")] == ["one", "two"]


@pytest.mark.parametrize("name, kind", [
    ("fluent-bit.json", "application/json"),
    ("fluent-bit.json_lines", "application/x-ndjson"),
    ("fluent-bit.json_stream", "application/json"),
    ("vector.json", "application/json"),
    ("vector.ndjson", "application/x-ndjson"),
])
@pytest.mark.parametrize("zipped", [False, True])
def test_bodies(nginx, name, kind, zipped):
    body = (DATA / name).read_bytes()
    headers = {"Content-Type": kind}
    if zipped:
        body = gzip.compress(body)
        headers["Content-Encoding"] = "gzip"
    assert nginx.post("/log/app", body, headers).status == 204
    found = events(nginx, "app")
    assert len(found) == 2
    assert all("log" in e or "message" in e for e in found)


JSON, NDJSON = "application/json", "application/x-ndjson"
SERILOG = ('{"@t":"2026-11-26T10:00:00.1234567Z","@m":"order 17 failed",'
           '"@i":"a1","@l":"Error","service":"checkout","MachineName":"till-3"}')
# Each as (method, path, content type, body, status)
CONVERSATIONS = {
    "Logstash": [
        ("HEAD", "/es/", None, None, 200),
        ("GET", "/es/", None, None, 200),
        ("GET", "/es/_license", None, None, 200),
        ("POST", "/es/_bulk?filter_path=errors,items.*.error,items.*.status",
         JSON, '{"index":{"_id":null,"_index":"shop","routing":null}}\n'
         '{"@timestamp":"2026-11-26T10:00:00.123456789Z","@version":"1",'
         '"message":"order 17 failed","log":{"level":"ERROR"},'
         '"service":{"name":"checkout"},"host":{"hostname":"till-3"}}\n', 200)],
    "Fluentd": [
        ("POST", "/log/shop", NDJSON,
         '{"level":"error","message":"order 17 failed","host":"till-3",'
         '"service":"checkout",'
         '"timestamp":"2026-11-26T10:00:00.123456789+0000"}\n', 200)],
    "Promtail and Alloy": [
        ("POST", "/loki/api/v1/push", JSON,
         '{"streams":[{"stream":{"service_name":"checkout","host":"till-3",'
         '"level":"error"},'
         '"values":[["1795687200123456789","order 17 failed"]]}]}', 204)],
    "Serilog": [("POST", "/log/shop", JSON, f"[{SERILOG}]", 200),
                ("POST", "/log/shop", JSON, SERILOG, 200),
                ("POST", "/log/shop", "application/vnd.serilog.clef",
                 SERILOG + "\n", 200)],
}


@pytest.mark.parametrize("sender", CONVERSATIONS)
def test_conversation(clickhouse, tmp_path, sender):
    assert f"\n## {sender}\n" in PAGE
    doors = re.search(r"```nginx\n(.*?)```", PAGE, re.S)[1]
    log = re.search(r"^location /log +\{ logbroker; (.*) \}\n", doors, re.M)
    broker = Broker(tmp_path / "broker", [clickhouse.url], workers=1,
                    flusher=FAST, extra_location=log[1],
                    extra_server=doors.replace(log[0], ""))
    broker.start()
    try:
        stored = 0
        for method, path, kind, body, status in CONVERSATIONS[sender]:
            answer = broker.nginx.request(method, path, body,
                                          {"Content-Type": kind} if kind else {})
            assert answer.status == status, (path, answer)
            if path.startswith("/es"):
                assert answer.headers["X-Elastic-Product"] == "Elasticsearch"
            stored += body is not None
        settled(broker, clickhouse, stored)
    finally:
        broker.stop()
    assert clickhouse.query("""
        SELECT DISTINCT level, service, host, message,
               toDateTime64(timestamp, 3, 'UTC') FROM logbroker.logs FORMAT TSV
        """) == "error\tcheckout\ttill-3\torder 17 failed\t" \
        "2026-11-26 10:00:00.123\n"
