"""Elasticsearch's _bulk and what its senders ask before."""

import gzip
import json
import subprocess

import pytest

from env import spool
from env.broker import FAST, dead
from env.build import find
from env.http import post
from env.nginx import Nginx
from env.process import wait_for

NDJSON = {"Content-Type": "application/x-ndjson"}
ANSWERS = {"X-Elastic-Product": "Elasticsearch"}


@pytest.fixture(scope="module")
def nginx(tmp_path_factory):
    with Nginx(tmp_path_factory.mktemp("elastic"), server="""
            location / { logbroker_elasticsearch; }
            location /es/ { logbroker_elasticsearch; logbroker_stream es; }
            """) as n:
        yield n


def pairs(*documents, verb="create", **target):
    return "".join(f"{json.dumps({verb: target})}\n{d}\n" for d in documents)


def ask(nginx, method, path, body=None, headers=NDJSON):
    c = nginx.connect()
    try:
        c.request(method, path, body, headers)
        r = c.getresponse()
        text = r.read()
        for name, value in ANSWERS.items():
            assert r.headers[name] == value, (method, path)
        return r, text
    finally:
        c.close()


def last(nginx):
    return spool.records(nginx.spool)[-1]


@pytest.mark.parametrize("method, path, status, want", [
    ("HEAD", "/", 200, None),
    ("HEAD", "/app-2026", 200, None),
    ("GET", "/", 200, {"tagline": "You Know, for Search"}),
    ("GET", "/es/", 200, {"tagline": "You Know, for Search"}),
    ("GET", "/some/prefix", 200, {"tagline": "You Know, for Search"}),
    ("GET", "/_license?human=false", 200, {"license": ...}),
    ("GET", "/_xpack", 200, {"features": ...}),
    ("GET", "/_cluster/health", 200, {"status": "green"}),
    ("GET", "/es/_cluster/health/x", 200, {"status": "green"}),
    ("GET", "/_nodes/http", 200, {"nodes": {}}),
    ("GET", "/prefix/_index_template/filebeat-8", 200, {}),
    ("PUT", "/_index_template/filebeat-8", 200, {"acknowledged": True}),
    ("PUT", "/_ilm/policy/logs", 200, {"acknowledged": True}),
    ("HEAD", "/_component_template/x", 200, None),
    ("POST", "/_refresh", 200, {"_shards": ...}),
    ("POST", "/es/app/_refresh", 200, {"_shards": ...}),
    ("POST", "/_all/_refresh", 200, {"_shards": ...}),
    ("GET", "/app/_refresh", 200, {"_shards": ...}),
    ("PUT", "/es/app", 200, {"acknowledged": True}),
    ("POST", "/_license", 404, {"status": 404}),
    ("GET", "/_all", 404, {"status": 404}),
    ("GET", "/_search", 404, {"status": 404}),
    ("GET", "/_bulk", 404, {"status": 404}),
    ("GET", "/_templates", 404, {"status": 404}),
    ("POST", "/app/_doc", 404, {"status": 404}),
    ("DELETE", "/_template/x", 404, {"status": 404}),
])
def test_handshakes(nginx, method, path, status, want):
    body = '{"a":1}' if method in ("PUT", "POST") else None
    r, text = ask(nginx, method, path, body)
    assert r.status == status
    assert r.headers["Content-Type"] == "application/json"
    if want is None:
        assert text == b""
        return
    answer = json.loads(text)
    for name, value in want.items():
        assert name in answer and (value is ... or answer[name] == value)
    if path == "/":
        assert answer["version"]["number"].startswith("8.")
        assert len(answer["cluster_uuid"]) == 22
    if "_license" in path and status == 200:
        assert answer["license"]["status"] == "active"


def test_answer_as_clients_search_it(nginx):
    r, text = ask(nginx, "POST", "/_bulk",
                  pairs('{"message":"one"}', '{"message":"two"}'))
    assert r.status == 200
    assert text.startswith(b'{"took":0,"errors":false,"items":[')
    items = json.loads(text)["items"]
    assert [i["create"]["status"] for i in items] == [201, 201]
    record = last(nginx)
    assert (record.stream, record.events) == ("default", 2)
    assert record.payload == b'{"message":"one"}\n{"message":"two"}\n'


@pytest.mark.parametrize("path, target, context, stream", [
    ("/_bulk", {"_index": "app-2026.11.26"}, "app", "default"),
    ("/shop/_bulk", {}, "shop", "default"),
    ("/prefix/shop-2026.11/_bulk", {}, "shop", "default"),
    ("/shop/_bulk", {"_index": "other"}, "other", "default"),
    ("/es/_bulk", {}, None, "es"),
    ("/es/shop/_bulk/", {}, "shop", "es"),
    ("/_bulk?filter_path=errors,items.*.status", {"_index": "f"}, "f",
     "default"),
])
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_index_is_the_stream(nginx, method, path, target, context, stream):
    r, text = ask(nginx, method, path, pairs('{"a":1}', **target))
    assert r.status == 200
    item = json.loads(text)["items"][0]["create"]
    if "filter_path" in path:
        assert item == {"status": 201}
    else:
        assert item["_index"] == target.get(
            "_index", "" if context is None else path.split("/")[-3 if
            path.endswith("/") else -2])
    record = last(nginx)
    head = b"" if context is None else b'\x01{"stream":"%s"}\n' % \
        context.encode()
    assert record.stream == stream
    assert record.payload == head + b'{"a":1}\n'
    assert record.events == 1


def test_types_and_codings(nginx):
    body = pairs('{"a":1}', verb="index")
    for kind, want in (
            ("application/json", "application/json"),
            ("text/plain", "application/json"),
            ("application/vnd.elasticsearch+x-ndjson; compatible-with=8",
             "application/vnd.elasticsearch+json;compatible-with=8"),
            ("application/vnd.elasticsearch+x-ndjson; compatible-with=9",
             "application/vnd.elasticsearch+json;compatible-with=9")):
        r, text = ask(nginx, "POST", "/_bulk", gzip.compress(body.encode()),
                      {"Content-Type": kind, "Content-Encoding": "gzip"})
        assert r.status == 200 and r.headers["Content-Type"] == want
        assert json.loads(text)["errors"] is False


def test_bad_documents_have_items(nginx):
    """Never another status than 200 for what a document is; what is wrong is
    kept."""
    body = (pairs('{"n":1}') + pairs('{"n":', _index="app") +
            '{"delete":{"_id":"1"}}\n' + pairs('{"n":2}'))
    r, text = ask(nginx, "POST", "/_bulk", body)
    assert r.status == 200
    answer = json.loads(text)
    assert b'"errors":true' in text and answer["errors"] is True
    assert [list(i.values())[0]["status"] for i in answer["items"]] == \
        [201, 400, 400, 201]
    assert "line 4" in answer["items"][1]["create"]["error"]["reason"]
    record = last(nginx)
    lines = record.payload.decode().splitlines()
    assert record.events == 4
    assert lines[0] == '{"n":1}' and lines[-1] == '{"n":2}'
    assert lines[1] == '\x01{"stream":"rejected"}'
    kept = json.loads(lines[2])
    assert (kept["origin"], kept["place"], kept["body"]) == (
        "app", "line 4", '{"n":')


@pytest.mark.parametrize("body, status, words", [
    ("", 400, "no event"),
    ("\n\n", 400, "no event"),
    ('{"a":1}\n{"a":2}\n', 400, "an action is"),
    ("plain words\n", 400, "an action is"),
])
def test_no_bulk_at_all(nginx, body, status, words):
    n = len(spool.records(nginx.spool))
    r, text = ask(nginx, "POST", "/_bulk", body)
    answer = json.loads(text)
    assert r.status == answer["status"] == status
    assert words in answer["error"]["reason"]
    assert len(spool.records(nginx.spool)) == n


def test_large_bodies_in_a_thread(nginx):
    body = pairs(*('{"n":%d,"x":"%s"}' % (n, "y" * 200)
                   for n in range(2000)), _index="large")
    r, text = ask(nginx, "POST", "/_bulk", body)
    assert r.status == 200 and len(json.loads(text)["items"]) == 2000
    assert last(nginx).events == 2000


def test_full_spool_is_503(tmp_path):
    with Nginx(tmp_path, spool="size=8m rings=1", server="""
            location / { logbroker_elasticsearch; }""") as nginx:
        body = pairs('{"x":"%s"}' % ("y" * 60000), _index="full")
        for _ in range(400):
            r, text = ask(nginx, "POST", "/_bulk", body)
            if r.status != 200:
                break
        assert r.status == 503 and r.headers["Retry-After"] == "1"
        assert json.loads(text)["status"] == 503


def test_delivered(clickhouse, make_broker):
    """From a _bulk to rows: stream by index, what is rejected beside it; a
    constraint cuts the batch in the middle of a record, and a row that is set
    aside keeps its stream."""
    clickhouse.query("ALTER TABLE logbroker.logs ADD CONSTRAINT taste "
                     "CHECK NOT startsWith(message, 'bad')")
    broker = make_broker(clickhouse.url, flusher=FAST, extra_server="""
        location /es/ { logbroker_elasticsearch; }""")
    broker.start_nginx()
    body = "".join(pairs('{"message":"%s"}' % m, _index=index)
                   for index, m in [
                       ("a-2026.11.26", "one"), ("b", "two"), ("b", "bad"),
                       ("b", "three"), ("a-2026.11.26", "four")])
    body += pairs("no json", _index="a") + pairs('{"message":"five"}')
    status, _, answer = post(broker.port, body, path="/es/_bulk")
    assert status == 200 and b'"errors":true' in answer
    assert post(broker.port, '{"message":"six"}')[0] == 204
    broker.start_flusher()
    wait_for(broker.drained, 60, "delivery", every=0.1)

    rows = clickhouse.query("SELECT stream, message FROM logbroker.logs "
                            "ORDER BY seq FORMAT TSV").splitlines()
    assert [tuple(r.split("\t")) for r in rows] == [
        ("a", "one"), ("b", "two"), ("b", "three"), ("a", "four"),
        ("rejected", "no json"), ("default", "five"), ("default", "six")]
    kept = json.loads(clickhouse.query(
        "SELECT attributes FROM logbroker.logs WHERE stream = 'rejected' "
        "FORMAT TSVRaw"))
    assert kept["origin"] == "a" and "JSON" in kept["reason"]

    letter, = dead(broker, "list")
    assert letter["context"] == {"stream": "b"}
    assert letter["event"] == {"message": "bad"}
    clickhouse.query("ALTER TABLE logbroker.logs DROP CONSTRAINT taste")
    dead(broker, "replay", letter["letter"])
    wait_for(broker.drained, 60, "the letter", every=0.1)
    assert clickhouse.query("SELECT stream FROM logbroker.logs WHERE "
                            "message = 'bad'").strip() == "b"

    # nor are the rings that the tool replays into for older releases
    def versions():
        return {r.slot: r.version for r in spool.rings(broker.spool)
                if r.cell.committed > 0}

    def tool(*args):
        subprocess.run([find("logbroker-spool"), *args, broker.spool],
                       check=True, timeout=60, env=broker.env)

    worker = broker.status()["worker"]["slot"]
    spare, = versions().keys() - {worker}
    assert versions() == {worker: 2, spare: 2}
    tool("resize", "--force", "--size", "32m", "--ring", str(spare))
    assert versions() == {worker: 2, spare: 1}
    tool("replay", "--ring", str(worker), "--seq", "7-7")
    assert versions() == {worker: 2, spare: 1}
    tool("replay", "--ring", str(worker), "--seq", "0-0")
    assert versions() == {worker: 2, spare: 2}
    wait_for(broker.drained, 60, "the replays", every=0.1)
    assert clickhouse.query("SELECT groupArray(stream) FROM logbroker.logs "
                            "WHERE message = 'one'").strip() == "['a','a']"


@pytest.mark.parametrize("sync", ["always", "off"])
def test_ring_with_contexts_is_not_for_older_releases(tmp_path, sync):
    """Version 1, which they know, until the first context is in it, whichever
    way the record is made; then 2, which they refuse."""
    def versions():
        return [ring.version for ring in spool.rings(nginx.spool)
                if ring.cell.committed > 0]

    large = [f'{{"n":{n},"x":"{"y" * 200}"}}' for n in range(1000)]

    for bulk in (pairs('{"a":1}', _index="app"), pairs("{", '{"a":1}'),
                 pairs(*large, _index="app")):
        with Nginx(tmp_path / str(len(bulk)), server=f"""
                logbroker_sync {sync};
                location / {{ logbroker_elasticsearch; }}""") as nginx:
            assert nginx.post("/log", '{"a":1}').status == 204
            assert nginx.post("/log", "\n".join(large)).status == 204
            assert ask(nginx, "POST", "/_bulk",
                       pairs('{"a":1}'))[0].status == 200
            assert versions() == [1]

            assert ask(nginx, "POST", "/_bulk", bulk)[0].status == 200
            assert b"\n\x01{" in b"\n" + last(nginx).payload
            assert versions() == [2]

            # and it goes on, in workers that come as well
            nginx.reload()
            assert nginx.post("/log", '{"a":1}').status == 204
            assert len(spool.records(nginx.spool)) == 5


@pytest.mark.parametrize("pad", [0, 200_000])
def test_a_refusal_says_why(nginx, pad):
    """Not what is wrong with a document that would have been rejected."""
    headers = dict(NDJSON, **{"Idempotency-Key": f"once-{pad}"})
    good = json.dumps({"message": "x" * pad})
    r, _ = ask(nginx, "POST", "/_bulk", pairs(good), headers)
    assert r.status == 200
    r, text = ask(nginx, "POST", "/_bulk", pairs("{bad", good), headers)
    assert r.status == 422
    assert "Idempotency-Key" in json.loads(text)["error"]["reason"]
