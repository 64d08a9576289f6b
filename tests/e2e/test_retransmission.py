"""A request that is sent again byte for byte, without a key, is answered like
the first and stored once: by OTLP's and Loki's clients, and wherever
logbroker_deduplicate says so."""

import errno
import gzip
import http.client
import json
import signal
import sys
import threading
import time

import pytest

from env.build import ROOT
from env.nginx import Nginx
from env.process import wait_for
from env.spool import events, records

sys.path.insert(0, str(ROOT / "tests/otlp"))

import body as otlp  # noqa: E402

JSON = {"Content-Type": "application/json"}
PROTO = {"Content-Type": "application/x-protobuf"}

DOORS = """
    location = /v1/logs { logbroker_otlp; }
    location = /tenant/v1/logs { logbroker_otlp; }
    location = /loki/api/v1/push { logbroker_loki; }
    location /services/collector { logbroker_splunk; }
    location /es/ { logbroker_elasticsearch; }
"""


def request(*texts, **member):
    return json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [
        {"timeUnixNano": "1772600767123456789", "body": {"stringValue": t},
         **member} for t in texts]}]}]})


def push(line):
    return json.dumps({"streams": [{"stream": {"app": "a"}, "values": [
        ["1772600767123456789", line]]}]})


def send(nginx, body, headers=JSON, path="/v1/logs", conn=None):
    """(status, body)"""
    c = conn or nginx.connect()
    try:
        c.request("POST", path, body, headers,
                  encode_chunked="Transfer-Encoding" in headers)
        r = c.getresponse()
        return r.status, r.read()
    finally:
        if conn is None:
            c.close()


def until_clear(nginx, *args, **kw):
    """As a client does it: again, until it is clear what became of it."""

    def done():
        answer = send(nginx, *args, **kw)
        return answer[0] != 503 and answer

    return wait_for(done, what="an answer other than 503", every=0.05)


def stored(nginx):
    return sorted(json.loads(e)["message"] for e in events(nginx.spool))


def count(nginx):
    return sum(r.events for r in records(nginx.spool))


RECORDS = [otlp.record(n) for n in range(3)]


@pytest.mark.parametrize("path, body, headers, status", [
    ("/v1/logs", request("a"), JSON, 200),
    ("/v1/logs", otlp.proto(RECORDS), PROTO, 200),
    ("/v1/logs", gzip.compress(otlp.proto(RECORDS)),
     {**PROTO, "Content-Encoding": "gzip"}, 200),
    ("/loki/api/v1/push", push("a"), JSON, 204),
    # what was rejected of it is told again
    ("/v1/logs", request("a", "b", timeUnixNano="soon"), JSON, 200),
    ("/v1/logs", b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":'
                 b'{"stringValue":"\xff"}}]}]}]}', JSON, 200)])
def test_sent_again(tmp_path, path, body, headers, status):
    with Nginx(tmp_path, workers=2, server=DOORS) as nginx:
        first = until_clear(nginx, body, headers, path)
        assert first[0] == status
        if "soon" in str(body):
            assert b"partialSuccess" in first[1]
        n = count(nginx)
        for _ in range(8):  # both workers
            assert send(nginx, body, headers, path) == first
        assert count(nginx) == n
        s = nginx.status()
        assert (s["recognised"], s["repeated"]) == (8, 0)
        assert s["accepted"]["requests"] == 1
        text = nginx.request("GET", "/status", headers={
            "Accept": "text/plain"}).body.decode()
        assert "\nlogbroker_recognised_requests_total 8\n" in text


@pytest.mark.parametrize("other", [
    {"body": request("b")},
    {"path": "/tenant/v1/logs"},
    {"path": "/v1/logs?a=b"},
    {"headers": {**JSON, "Authorization": "Bearer b"}},
    {"headers": {**JSON, "Authorization": "Bearer a", "X-Scope-OrgID": "b"}},
    {"headers": {**JSON, "Authorization": "Bearer a", "Api-Key": "b"}},
    {"headers": {"Content-Type": "application/json;charset=utf-8",
                 "Authorization": "Bearer a"}}])
def test_another_request(tmp_path, other):
    """Other bytes, another place, another sender: another request."""
    with Nginx(tmp_path, server=DOORS) as nginx:
        one = {"body": request("a"), "path": "/v1/logs",
               "headers": {**JSON, "Authorization": "Bearer a"}}
        for _ in range(2):
            assert until_clear(nginx, **one)[0] == 200
            assert until_clear(nginx, **{**one, **other})[0] == 200
        assert count(nginx) == 2


def test_what_attempts_differ_in(tmp_path):
    """Headers that say nothing of who sends what."""
    with Nginx(tmp_path, server=DOORS) as nginx:
        for n in range(3):
            assert until_clear(nginx, request("a"), {
                **JSON, "X-Request-ID": str(n), "User-Agent": str(n),
                "traceparent": f"00-{n}", "Date": str(n)})[0] == 200
        assert stored(nginx) == ["a"]


PLACES = {"/log": '{"message":"a"}', "/services/collector": '{"event":"a"}',
          "/es/app/_bulk": '{"create":{}}\n{"message":"a"}\n',
          "/v1/logs": request("a"), "/loki/api/v1/push": push("a")}


@pytest.mark.parametrize("setting, once", [
    ("", {"/v1/logs", "/loki/api/v1/push"}),
    ("logbroker_deduplicate on;", set(PLACES)),
    ("logbroker_deduplicate off;", set()),
    ("logbroker_idempotency off; logbroker_deduplicate on;", set())])
def test_where(tmp_path, setting, once):
    with Nginx(tmp_path, server=DOORS, http=setting) as nginx:
        n = 0
        for path, body in PLACES.items():
            for _ in range(3):
                assert until_clear(nginx, body, JSON, path)[0] in (200, 204)
            n += 1 if path in once else 3
            assert count(nginx) == n, path


def test_off_in_a_location(tmp_path):
    with Nginx(tmp_path, http="logbroker_deduplicate on;", server="""
            location = /v1/logs { logbroker_otlp; logbroker_deduplicate off; }
            """, location="if ($arg_x) { return 403; }") as nginx:
        for path, body, n in (("/v1/logs", request("a"), 2),
                              ("/log", '{"message":"a"}', 1)):
            before = count(nginx)
            for _ in range(2):
                assert until_clear(nginx, body, JSON, path)[0] in (200, 204)
            assert count(nginx) - before == n


def test_a_key_wins(tmp_path):
    """The client knows better."""
    with Nginx(tmp_path, server=DOORS) as nginx:
        for k in ("a", "b", "a", None, None):
            headers = {**JSON, **({"Idempotency-Key": k} if k else {})}
            assert until_clear(nginx, request("x"), headers)[0] == 200
        assert stored(nginx) == ["x"] * 3
        s = nginx.status()
        assert (s["repeated"], s["recognised"]) == (1, 1)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [100, 3000, 100_000, 400_000, 3_000_000])
def test_bodies_of_all_sizes(tmp_path, size, chunked):
    """In one piece, in several, in a file; another last byte counts."""
    with Nginx(tmp_path, spool="size=16m", server=DOORS,
               http="client_body_buffer_size 16k; client_max_body_size 8m;"
               ) as nginx:

        def body(end):
            b = request(*["x" * 100_000] * (size // 100_000),
                        "x" * (size % 100_000) + end).encode()
            return iter([b[:7], b[7:5000], b[5000:]]) if chunked else b

        headers = {**JSON, "Transfer-Encoding": "chunked"} if chunked else JSON
        for end in "abab":
            status, text = until_clear(nginx, body(end), headers)
            assert status == 200, text
        assert [e[-1] for e in stored(nginx) if e[-1:] != "x"] == ["a", "b"]


def test_body_read_elsewhere(tmp_path):
    """The location is the error page of another, that has read the body."""
    with Nginx(tmp_path, spool="size=16m", server="""
            location = /app {
                proxy_pass http://127.0.0.1:9;
                error_page 502 = @spool;
            }
            location @spool { logbroker; }
            """, http="client_body_buffer_size 16k; logbroker_deduplicate on;"
               ) as nginx:
        for text in ("a", "b" * 200_000):
            for _ in range(3):
                assert until_clear(nginx, json.dumps({"message": text}), JSON,
                                   "/app")[0] == 204
        assert [e[0] for e in stored(nginx)] == ["a", "b"]


def test_restart_kill_reload(tmp_path):
    with Nginx(tmp_path, workers=2, server=DOORS) as nginx:
        for n in range(10):
            assert until_clear(nginx, request(str(n)))[0] == 200
        for how in ("stop", "kill", "reload", "kill"):
            if how == "reload":
                nginx.reload()
            else:
                getattr(nginx, how)()
                nginx.start()
            for n in range(10):
                assert until_clear(nginx, request(str(n)))[0] == 200
            assert stored(nginx) == [str(n) for n in range(10)]


def test_first_is_still_being_stored(tmp_path, faults):
    with Nginx(tmp_path, workers=2, server=DOORS, preload=faults.so,
               env=faults.env) as nginx:
        until_clear(nginx, request("ready"))
        faults.set("delay", 1500)
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(
            send(nginx, request("a")))) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert sorted(a[0] for a in answers) == [200, 503, 503, 503]
        assert any(b"the same request is still being stored" in a[1]
                   for a in answers)
        faults.clear("delay")
        assert until_clear(nginx, request("a"))[0] == 200
        assert stored(nginx) == ["a", "ready"]


@pytest.mark.parametrize("fault", ["fail", "fail_cells"])
def test_failed_write(tmp_path, faults, fault):
    """Not stored, or nobody knows: the next attempt is, once."""
    with Nginx(tmp_path, server=DOORS, preload=faults.so,
               env=faults.env) as nginx:
        until_clear(nginx, request("ready"))
        faults.set(fault, errno.EIO)
        assert send(nginx, request("a"))[0] == 502
        faults.clear(fault)
        assert until_clear(nginx, request("a"))[0] == 200
        nginx.kill()
        nginx.start()
        assert until_clear(nginx, request("a"))[0] == 200
        assert stored(nginx) == ["a", "ready"]


def test_full_spool(tmp_path):
    """What is refused is taken when there is room; what is stored is known."""
    with Nginx(tmp_path, spool="size=64k rings=1", server=DOORS) as nginx:
        filler = request("x" * 60000)
        assert until_clear(nginx, filler)[0] == 200
        assert send(nginx, request("y" * 60000))[0] == 503
        assert send(nginx, filler)[0] == 200
        assert count(nginx) == 1


@pytest.mark.parametrize("point", ["ring.write.after", "ring.write.before"])
def test_killed_worker(tmp_path, faults, point):
    """Its record may be behind the commit cell, or nowhere; the other worker
    answers when that is known."""
    with Nginx(tmp_path, workers=2, spool="size=1m rings=2", server=DOORS,
               preload=faults.so, env=faults.env) as nginx:
        until_clear(nginx, request("ready"))
        for n in range(4):
            faults.set("point", f"{point} 1 {int(signal.SIGKILL)}")
            with pytest.raises((OSError, http.client.HTTPException)):
                send(nginx, request(str(n)))
            assert until_clear(nginx, request(str(n)))[0] == 200
        assert stored(nginx) == ["0", "1", "2", "3", "ready"]


def test_no_room_for_more(tmp_path):
    """Nobody is refused for what he has not asked for: the oldest make room,
    also for keys that clients give; those are not forgotten."""
    with Nginx(tmp_path, spool="size=8m", server=DOORS, http=
               "logbroker_idempotency size=64k window=10m;") as nginx:
        c = nginx.connect()
        given = {**JSON, "Idempotency-Key": "given"}
        assert until_clear(nginx, request("given"), given)[0] == 200
        for n in range(3000):
            assert send(nginx, request(str(n)), conn=c)[0] == 200
        assert "raise size=" in nginx.log()
        # the last ones are known, the first one is not
        for n in (2999, 2500, 0):
            assert send(nginx, request(str(n)), conn=c)[0] == 200
        assert send(nginx, request("given"), given, conn=c)[0] == 200
        for n in range(300):
            assert send(nginx, request("k"), {
                **JSON, "Idempotency-Key": str(n)}, conn=c)[0] == 200
        c.close()
        assert nginx.status()["accepted"]["requests"] == 1 + 3001 + 300
        # a start reads back what there is room for
        nginx.kill()
        nginx.start()
        assert until_clear(nginx, request("given"), given)[0] == 200
        for n in range(300):
            assert until_clear(nginx, request("k"), {
                **JSON, "Idempotency-Key": str(n)})[0] == 200
        assert count(nginx) == 1 + 3001 + 300


def test_window(tmp_path):
    with Nginx(tmp_path, server=DOORS,
               http="logbroker_idempotency window=2s;") as nginx:
        assert until_clear(nginx, request("a"))[0] == 200

        def again():
            assert until_clear(nginx, request("a"))[0] == 200
            return count(nginx) == 2

        wait_for(again, 10, "the end of the window", every=0.2)


def test_digest_of_another_spool(tmp_path):
    """The same everywhere in a spool, and no other's: the seed is its own."""
    keys = set()
    for name in "ab":
        with Nginx(tmp_path / name, server=DOORS) as nginx:
            until_clear(nginx, request("a"))
            keys |= {r.key for r in records(nginx.spool)}
    assert len(keys) == 2


def test_ring_that_cannot_be_read(tmp_path):
    """Who has given no key waits for it a while, and then no longer."""
    with Nginx(tmp_path, spool="size=1m rings=4", server=DOORS) as nginx:
        until_clear(nginx, request("a"))
        wait_for(lambda: nginx.status()["total"]["rings"] == 2, what="spare")
        nginx.kill()
        ring = nginx.spool / "ring-0001"
        ring.unlink()
        ring.symlink_to(ring)  # an error when it is opened
        nginx.start()
        begun = time.monotonic()
        # what is known is known
        assert until_clear(nginx, request("a"))[0] == 200
        status, text = send(nginx, request("b"))
        assert status == 503 and b"read back" in text
        assert wait_for(lambda: send(nginx, request("b"))[0] == 200, 30,
                        "patience", every=0.2)
        assert time.monotonic() - begun > 5
        assert send(nginx, request("c"), {
            **JSON, "Idempotency-Key": "c"})[0] == 503
