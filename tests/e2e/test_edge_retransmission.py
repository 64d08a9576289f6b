"""Through the edge: a request without a key that is sent again byte for byte
comes to the broker that had the first attempt, and is stored once."""

import collections
import http.client
import json
import threading
import time

import pytest

from env import spool
from env.broker import Broker
from env.edge import REFUSAL, Script
from env.http import post
from env.nginx import Nginx
from env.process import wait_for

JSON = {"Content-Type": "application/json"}


def request(*texts):
    return json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [
        {"timeUnixNano": "1772600767123456789", "body": {"stringValue": t}}
        for t in texts]}]}]})


def push(line):
    return json.dumps({"streams": [{"stream": {"app": "a"}, "values": [
        ["1772600767123456789", line]]}]})


DOORS = """
            location = /v1/logs { logbroker_otlp; }
            location = /loki/api/v1/push { logbroker_loki; }
            """


@pytest.fixture
def two(tmp_path):
    """Two brokers with these doors, that have read their keys back."""
    made = [Broker(tmp_path / f"b{i}", ["http://127.0.0.1:9"], name=f"b{i}",
                   size="16m", extra_server=DOORS) for i in range(2)]
    for b in made:
        b.start_nginx()
    for b in made:
        wait_for(lambda: post(b.port, request("ready"), "/v1/logs",
                              headers=JSON)[0] == 200, what="keys")
    yield made
    for b in made:
        b.stop()


def texts(*brokers):
    """What is stored, but for the first event of each."""
    found = collections.Counter(
        json.loads(line)["message"] for b in brokers
        for line in spool.events(b.spool) if not line.startswith(b"\x01"))
    del found["ready"]
    return found


def send(edge, body, path="/v1/logs", **headers):
    return post(edge.port, body, path, headers={**JSON, **headers})[0]


def test_same_bytes_same_broker(two, make_edge):
    edge = make_edge([b.port for b in two])
    for _ in range(3):
        for n in range(40):
            assert send(edge, request(f"otlp {n}")) == 200
            assert send(edge, push(f"loki {n}"), "/loki/api/v1/push") == 204
    found = texts(*two)
    assert len(found) == 80 and set(found.values()) == {1}
    assert min(sum(texts(b).values()) for b in two) > 20
    # /log has it as before: equal bodies are events of their own
    for _ in range(10):
        assert send(edge, '{"message":"log"}', "/log") == 204
    assert [texts(b)["log"] for b in two] == [5, 5]


@pytest.mark.parametrize("size", [200, 100_000, 3_000_000])
def test_large(two, make_edge, size):
    """In memory of the edge or in its file, with a length or in chunks."""
    edge = make_edge([b.port for b in two])
    lines = ["x" * 100_000] * (size // 100_000)
    for n in range(6):
        body = request(*lines, f"{n}").encode()
        for again in range(3):
            c = http.client.HTTPConnection("127.0.0.1", edge.port, timeout=60)
            c.request("POST", "/v1/logs", iter([body[:9], body[9:]])
                      if again == 1 else body, JSON)
            assert c.getresponse().status == 200
            c.close()
    found = texts(*two)
    assert [found[f"{n}"] for n in range(6)] == [1] * 6


def test_even(two, make_edge):
    """The same share to each, within a twentieth."""
    edge = make_edge([b.port for b in two])
    failed = []

    def client(i):
        c = http.client.HTTPConnection("127.0.0.1", edge.port, timeout=60)
        for n in range(2500):
            c.request("POST", "/v1/logs", request(f"{i}-{n}"), JSON)
            r = c.getresponse()
            r.read()
            if r.status != 200:
                failed.append(r.status)
        c.close()

    threads = [threading.Thread(target=client, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failed
    shares = [b.status()["accepted"]["requests"] for b in two]
    assert sum(shares) == 10002
    assert all(4750 < share < 5250 for share in shares), shares


def test_a_key_decides(two, make_edge):
    """Where the client has one, its broker is the one of the key."""
    edge = make_edge([b.port for b in two])
    for _ in range(2):
        for n in range(20):
            assert send(edge, request("a"), **{"Idempotency-Key": f"{n}"}
                        ) == 200
    assert texts(*two)["a"] == 20
    assert all(texts(b)["a"] for b in two)


def test_stopped_broker(two, make_edge):
    """The other one takes its share until it is back: no client is refused.
    What was stored before it stopped is not known there."""
    edge = make_edge([b.port for b in two])
    for n in range(20):
        assert send(edge, request(f"{n}")) == 200
    before = sum(texts(two[0]).values())
    assert 0 < before < 20
    two[0].nginx.stop()
    for _ in range(2):
        for n in range(20):
            assert send(edge, request(f"{n}")) == 200
    assert sum(texts(two[1]).values()) == 20
    two[0].start_nginx()
    wait_for(lambda: send(edge, request("0")) == 200, what="keys")
    for n in range(20):
        assert send(edge, request(f"{n}")) == 200
    assert sum(texts(*two).values()) == 20 + before


def test_broker_that_refuses(two, make_edge):
    """503: nothing is stored there, the other one takes it."""
    script = Script(REFUSAL)
    edge = make_edge([script.port, two[0].port])
    assert all(send(edge, request(f"{n}")) == 200 for n in range(40))
    assert script.requests > 5
    assert len(texts(two[0])) == 40


def test_first_is_still_being_stored(tmp_path, make_edge, faults):
    """Its broker says that it may be stored or not, and the client asks again:
    no other broker gets it."""
    with Nginx(tmp_path / "a", server=DOORS, preload=faults.so,
               env=faults.env) as a, Nginx(tmp_path / "b", server=DOORS) as b:
        edge = make_edge([a.port, b.port])
        for x in (a, b):
            wait_for(lambda: post(x.port, request("ready"), "/v1/logs",
                                  headers=JSON)[0] == 200, what="keys")
        faults.set("delay", 1500)
        # until both had one
        for n in range(40):
            if n > 3 and texts(a) and texts(b):
                break
            answers = []
            threads = [threading.Thread(target=lambda: answers.append(post(
                edge.port, request(f"{n}"), "/v1/logs", headers=JSON)))
                for _ in range(3)]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            assert 200 in [x[0] for x in answers]
            for status, headers, body in answers:
                if status != 200:
                    assert status == 502 and headers["Retry-After"] == "1"
                    assert b"still being stored" in body
        faults.clear("delay")
        assert texts(a, b) == {f"{i}": 1 for i in range(n)}
        assert texts(a)


def test_killed_workers(two, make_edge):
    """Clients that send again whatever has no answer, workers of both brokers
    that are killed all the time: each event once."""
    edge = make_edge([b.port for b in two])
    stop = threading.Event()
    done, again = [], []

    def client(i):
        n = 0
        while not stop.is_set():
            body = request(f"{i}-{n}")
            while True:
                try:
                    status = send(edge, body)
                except (OSError, http.client.HTTPException):
                    status = 0
                if status == 200:
                    break
                again.append(status)
                time.sleep(0.02)
            done.append(f"{i}-{n}")
            n += 1

    threads = [threading.Thread(target=client, args=(i,)) for i in range(6)]
    for t in threads:
        t.start()
    for n in range(30):
        time.sleep(0.2)
        two[n % 2].kill_worker()
    stop.set()
    for t in threads:
        t.join(60)
        assert not t.is_alive()
    assert again
    for b in two:
        wait_for(b.nginx.ready, what="a ring")
    assert texts(*two) == dict.fromkeys(done, 1)


def test_variable(tmp_path):
    """The same for the same bytes and sender, whatever else differs; nothing
    where it is off, or the body is not here as a whole."""
    with Nginx(tmp_path, server="""
            location /on/ { logbroker_deduplicate on; proxy_pass http://back/;
                            add_header D "$logbroker_digest." always; }
            location /off/ { proxy_pass http://back/;
                             add_header D "$logbroker_digest." always; }
            location /streamed/ { logbroker_deduplicate on;
                                  proxy_request_buffering off;
                                  proxy_pass http://back/;
                                  add_header D "$logbroker_digest." always; }
            """, http="""
            upstream back { hash $logbroker_digest consistent;
                            server unix:%s; }""" % (tmp_path / "nginx.sock")
               ) as nginx:

        def digest(body='{"message":"a"}', path="/on/log", **headers):
            status, answer, _ = post(nginx.port, body, path, headers=headers)
            assert status == 204
            return answer["D"][:-1]

        one = digest()
        assert len(one) == 40 and digest(**{"X-Request-ID": "b"}) == one
        assert len({one, digest('{"message":"b"}'), digest(path="/on/log/x"),
                    digest(Authorization="b"), digest(Cookie="b")}) == 5
        assert digest(path="/off/log") == ""
        assert digest('{"message":"%s"}' % ("a" * 300_000),
                      path="/streamed/log") == ""
