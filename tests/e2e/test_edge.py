"""The edge, with the configuration that is shipped: balances evenly, and gives
a request to another broker only when nothing of it was stored."""

import collections
import errno
import http.client
import json
import os
import signal
import subprocess
import threading
import time

import pytest

from env import spool
from env.broker import Broker
from env.clickhouse import ClickHouse
from env.edge import REFUSAL, Script, stored
from env.http import post
from env.nginx import Nginx
from env.oracle import Oracle
from env.process import children, free_port, wait_for

KEY = {"Idempotency-Key": "key-0"}


def test_even(brokers, make_edge):
    edge = make_edge([b.port for b in brokers])
    for _ in range(100):
        assert post(edge.port, "{}")[0] == 204
    assert [stored(b) for b in brokers] == [50, 50]


def test_refusals_pass(brokers, make_edge):
    """The broker's own words and headers reach the client; the rest of the
    broker does not."""
    edge = make_edge([b.port for b in brokers])
    status, _, body = post(edge.port, "{]")
    assert status == 400 and b'"row": 1' in body
    assert post(edge.port, "", path="/status")[0] == 404
    assert post(edge.port, "", path="/log/app")[0] == 400


def test_stopped_broker(brokers, make_edge):
    """No connection: nothing was stored, the other one takes it."""
    edge = make_edge([b.port for b in brokers])
    brokers[0].nginx.stop()
    assert all(post(edge.port, "{}")[0] == 204 for _ in range(20))
    assert stored(brokers[1]) == 20


def test_explicit_503(brokers, make_edge):
    """A broker says that nothing was stored: the other one takes it."""
    script = Script(REFUSAL)
    edge = make_edge([script.port, brokers[0].port])
    assert all(post(edge.port, "{}")[0] == 204 for _ in range(10))
    assert stored(brokers[0]) == 10
    assert script.requests > 0


def test_503_everywhere(make_edge):
    """The client gets the 503 and when to come back."""
    edge = make_edge([Script(REFUSAL).port, Script(REFUSAL).port])
    status, headers, _ = post(edge.port, "{}")
    assert status == 503
    assert headers["Retry-After"] == "1"


def test_no_answer_is_not_repeated(brokers, make_edge):
    """A broker that takes a request and dies may have stored it: the client
    must be told, nobody else may get it."""
    script = Script(None)
    edge = make_edge([script.port, brokers[0].port])
    statuses = collections.Counter(
        post(edge.port, "{}")[0] for _ in range(10))
    assert set(statuses) == {204, 502}
    assert statuses[502] == script.requests
    assert stored(brokers[0]) == statuses[204]


@pytest.mark.parametrize("via", ["first", "again"])
def test_unknown_outcome_is_not_repeated(tmp_path, make_edge, via, faults):
    """A broker whose disk failed in the middle of a write cannot say whether
    the events are stored: the record turns up when its ring is recovered.
    Nobody else may get the request, and the client is told."""
    with Nginx(tmp_path / "a", preload=faults.so, env=faults.env) as a, \
            Nginx(tmp_path / "b") as b:
        ports = [a.port, b.port]
        if via == "again":  # nobody takes a connection at first
            ports.insert(0, free_port())
        edge = make_edge(ports)
        faults.set("fail_cells", errno.EIO)
        acked, unknown = [], []
        for n in range(12):
            status, headers, body = post(edge.port, '{"n":%d}' % n)
            assert status in (204, 502), (status, body)
            if status == 204:
                acked.append(n)
            else:
                unknown.append(n)
                assert b"stored or not" in body
                assert headers["Retry-After"] == "1"
                assert headers["Content-Type"] == "application/json"
        assert len(unknown) == 1
        faults.clear("fail_cells")
        a.kill()
        a.start()
        wait_for(lambda: sum(r["recovered"] for r in a.status()["rings"]) == 1,
                 what="recovery")
        found = [json.loads(e)["n"] for x in (a, b)
                 for e in spool.events(x.spool)]
        assert sorted(found) == sorted(acked + unknown)


FRAME = "<40>1 2026-03-04T05:06:07+00:00 h app web.1 - %04d\n"


@pytest.mark.parametrize("path, header, kind, body, ok", [
    ("/firehose", "X-Amz-Firehose-Request-Id", "application/json",
     '{"requestId":"%04d","records":[{"data":"eA=="}]}', 200),
    ("/log", "Logplex-Frame-Id", "application/logplex-1",
     f"{len(FRAME % 0)} {FRAME}", 200)])
def test_keys_of_protocols(brokers, make_edge, path, header, kind, body, ok):
    """What a protocol calls a request's id is its key here as well."""
    edge = make_edge([b.port for b in brokers])
    counts = [stored(b) for b in brokers]
    for _ in range(3):
        for n in range(21):
            assert post(edge.port, body % n, path, {
                header: "%04d" % n, "Content-Type": kind})[0] == ok
    new = [stored(b) - c for b, c in zip(brokers, counts)]
    assert sum(new) == 21 and min(new) > 0


def test_keys_stay_with_their_broker(brokers, make_edge):
    """Repetitions reach the broker that has the first attempt; while it is
    away they wait, whatever the other one could do."""
    edge = make_edge([b.port for b in brokers])

    def send(n):
        return post(edge.port, '{"n":%d}' % n,
                    headers={"Idempotency-Key": f"key-{n}"})

    for _ in range(3):
        assert [send(n)[0] for n in range(40)] == [204] * 40
    counts = [stored(b) for b in brokers]
    assert sum(counts) == 40 and min(counts) > 0
    brokers[0].nginx.stop()
    answers = [send(n) for n in range(40)]
    statuses = [status for status, _, _ in answers]
    assert statuses.count(503) == counts[0]
    assert statuses.count(204) == counts[1]
    headers, body = next(a[1:] for a in answers if a[0] == 503)
    assert b"nothing was stored" in body and headers["Retry-After"] == "1"
    brokers[0].start_nginx()
    # a worker that has just started reads its keys back first
    wait_for(lambda: [send(n)[0] for n in range(40)] == [204] * 40,
             what="all answered like the first time")
    assert [stored(b) for b in brokers] == counts


def test_limits(brokers, make_edge):
    """503 with words and Retry-After (there are clients that throw away what
    is answered 429); what was answered 204 is stored, the rest is not."""
    edge = make_edge([b.port for b in brokers], replace=[
        ("rate=20000r/s", "rate=1r/s"), ("burst=40000", "burst=4")])
    answers = [post(edge.port, "{}") for _ in range(20)]
    statuses = collections.Counter(a[0] for a in answers)
    assert set(statuses) == {204, 503} and statuses[503] >= 10
    _, headers, body = next(a for a in answers if a[0] == 503)
    assert headers["Retry-After"] == "1" and b"too many requests" in body
    assert sum(stored(b) for b in brokers) == statuses[204]


def test_tls(brokers, make_edge, certificate, tmp_path):
    """With a certificate: TLS 1.2 and 1.3 and nothing older; HTTP/2."""
    plain = free_port()
    edge = make_edge([b.port for b in brokers], plain=plain, tls=certificate)

    def curl(*args):
        return subprocess.run(
            ["curl", "-sS", "-o", "/dev/null", "-w",
             "%{http_code} %{http_version}", "--cacert",
             tmp_path / "cert.pem", "-d", "{}", *args,
             f"https://localhost:{edge.port}/log"],
            capture_output=True, text=True, timeout=30)

    assert curl().stdout == "204 2"
    assert curl("--tls-max", "1.2", "--http1.1").stdout == "204 1.1"
    assert curl("--tls-max", "1.1", "--ciphers",
                "DEFAULT@SECLEVEL=0").returncode != 0
    assert sum(stored(b) for b in brokers) == 2
    # in the open: sent on, stored nowhere
    status, headers, _ = post(plain, "{}")
    assert status == 308
    assert headers["Location"] == "https://127.0.0.1/log"
    assert sum(stored(b) for b in brokers) == 2


def test_whole_path(tmp_path, make_edge):
    """Through the edge, one broker killed and back: each event once."""
    with ClickHouse(tmp_path / "ch") as clickhouse:
        brokers = [Broker(tmp_path / f"n{i}", [clickhouse.url], name=f"n{i}",
                          index=i, count=2).start() for i in range(2)]
        edge = make_edge([b.port for b in brokers])
        try:
            with Oracle([edge.port]) as oracle:
                wait_for(lambda: oracle.count() > 500, what="events")
                brokers[0].kill_nginx()
                n = oracle.count()
                wait_for(lambda: oracle.count() > n + 500, what="events")
                brokers[0].start_nginx()
                n = oracle.count()
                wait_for(lambda: oracle.count() > n + 500, what="events")
            assert set(oracle.statuses) <= {204, 502}, oracle.statuses
            wait_for(lambda: all(b.drained() for b in brokers), 60, "drained")
            oracle.verify(clickhouse)
        finally:
            for b in brokers:
                b.stop()


# brokers that are away, or hang


@pytest.mark.parametrize("headers", [{}, KEY], ids=["plain", "key"])
def test_nobody_was_asked(make_edge, headers):
    """503 that says so, at once, and again for each further request."""
    edge = make_edge([free_port(), free_port()])
    for _ in range(5):
        status, answered, body = post(edge.port, "{}", headers=headers)
        assert status == 503 and answered["Retry-After"] == "1"
        assert "nothing was stored" in json.loads(body)["error"]


def test_back_at_once(brokers, make_edge):
    """Both were away, connections broke: the first one back is used at
    once, whatever was held against it."""
    edge = make_edge([b.port for b in brokers])
    for b in brokers:
        b.kill_nginx()
    assert {post(edge.port, "{}")[0] for _ in range(10)} == {503}
    brokers[1].start_nginx()
    assert {post(edge.port, "{}")[0] for _ in range(10)} == {204}
    brokers[0].start_nginx()
    assert {post(edge.port, "{}")[0] for _ in range(10)} == {204}


def test_broken_connections(brokers, make_edge):
    """A broker that breaks one connection after the other costs its own
    requests, and shuts nobody out."""
    script = Script(None)
    edge = make_edge([script.port, brokers[0].port])
    statuses = collections.Counter(
        post(edge.port, "{}")[0] for _ in range(100))
    assert set(statuses) == {204, 502} and statuses[502] <= 3
    brokers[0].kill_nginx()
    brokers[0].start_nginx()
    assert post(edge.port, "{}")[0] == 204


def test_hung_broker(brokers, make_edge):
    """Those who wait for it are told after a bounded time, everybody else is
    served, with a key too where the key belongs to another broker."""
    edge = make_edge([b.port for b in brokers],
                     replace=[("proxy_read_timeout 4s", "proxy_read_timeout 2s")])
    assert {post(edge.port, "{}")[0] for _ in range(4)} == {204}
    pids = [brokers[0].nginx.pid, *children(brokers[0].nginx.pid)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        answers = []

        def client():
            for _ in range(40):
                begun = time.monotonic()
                status, _, body = post(edge.port, "{}")
                answers.append((status, time.monotonic() - begun, body))

        threads = [threading.Thread(target=client) for _ in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(60)
        assert len(answers) == 320
        slow = [a for a in answers if a[1] > 1]
        assert {a[0] for a in answers} == {204, 502}
        assert all(a[1] < 5 for a in answers)
        # once each, and whoever is the next to try
        assert len(slow) <= 10 and all(a[0] == 502 for a in slow)
        assert all(b"may be stored" in a[2] for a in slow)
        # a key that is not its own
        begun = time.monotonic()
        statuses = [post(edge.port, "{}", headers={
            "Idempotency-Key": f"key-{n}"})[0] for n in range(4)]
        assert set(statuses) <= {204, 502}
        assert time.monotonic() - begun < 12
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_even_under_load(brokers, make_edge):
    """Within 5 %, with keys and without."""
    edge = make_edge([b.port for b in brokers])

    def client(number, keys):
        c = http.client.HTTPConnection("127.0.0.1", edge.port, timeout=30)
        for n in range(500):
            c.request("POST", "/log", b"{}", {
                "Idempotency-Key": f"{number}-{n}"} if keys else {})
            r = c.getresponse()
            r.read()
            assert r.status == 204

    for keys in (False, True):
        before = [stored(b) for b in brokers]
        threads = [threading.Thread(target=client, args=(i, keys))
                   for i in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(60)
        counts = [stored(b) - n for b, n in zip(brokers, before)]
        assert sum(counts) == 4000
        assert max(counts) - min(counts) <= 200, (keys, counts)


def test_503_with_a_key(brokers, make_edge):
    """The second try goes to the broker that the key belongs to, the other
    one never hears of it; its own words come back."""
    script = Script(REFUSAL)
    edge = make_edge([script.port, brokers[0].port])
    answers = [post(edge.port, "{}", headers={"Idempotency-Key": f"key-{n}"})
               for n in range(40)]
    refused = [a for a in answers if a[0] == 503]
    assert script.requests == 2 * len(refused) > 0
    assert stored(brokers[0]) == 40 - len(refused)
    assert all(a[1]["Retry-After"] == "1" and a[2] == b"{}" for a in refused)
