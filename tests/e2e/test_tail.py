"""logbroker_tail: events live from the rings."""

import json
import os
import signal
import socket
import time

import pytest

from env.nginx import Nginx
from env.process import wait_for
from env.tail import Tail


@pytest.fixture
def nginx(tmp_path):
    with Nginx(tmp_path, spool="size=4m",
               http="client_max_body_size 4m;") as n:
        yield n


def post(nginx, *messages, path="/log", **more):
    body = "".join(json.dumps({"message": m, **more}) + "\n" for m in messages)
    assert nginx.request("POST", path, body).status == 204


def settle(tail):
    """From now on it sees what is committed."""
    time.sleep(0.1)
    return tail


def test_rows(nginx):
    post(nginx, "before")
    tail = settle(Tail(nginx))
    post(nginx, "one \"quoted\" \u00e9", level="WARNING", service="shop",
         path="/log/web", user=7)
    wait_for(tail.rows)
    row = tail.rows()[0]
    assert b"text/event-stream" in tail.header
    assert row["message"] == "one \"quoted\" \u00e9"
    assert (row["stream"], row["level"], row["service"]) == (
        "web", "warn", "shop")
    assert row["attributes"] == {"level": "WARNING", "user": 7}
    assert row["seq"] == 1 and len(row["ring"]) == 36
    assert row["timestamp"].endswith("Z")
    assert len(tail.rows()) == 1


def test_of_all_workers(tmp_path):
    with Nginx(tmp_path, workers=2, spool="size=4m") as n:
        tail = settle(Tail(n))
        for i in range(200):
            post(n, f"m{i}")
        wait_for(lambda: len(tail.rows()) == 200)
        assert sorted(tail.messages()) == sorted(f"m{i}" for i in range(200))
        pairs = {(r["ring"], r["seq"]) for r in tail.rows()}
        assert len(pairs) == 200


def test_filters(nginx):
    tails = {q: Tail(nginx, q) for q in (
        "?stream=web", "?level=error,fatal", "?service=shop", "?text=PRI%22VET",
        "?text=%D0%BF%D1%80%D0%98%D0%92%D0%B5%D1%82", "?text=a+b&level=info")}
    settle(None)
    post(nginx, "1", path="/log/web")
    post(nginx, "2", level="ERROR")
    post(nginx, "3", service="shop")
    post(nginx, "4 pri\"vet")
    post(nginx, "5 \u041f\u0420\u0418\u0412\u0415\u0422")
    post(nginx, "6 A B", level="info")
    post(nginx, "7 A B", level="debug")
    post(nginx, "end", level="fatal", service="shop", path="/log/web",
         x="pri\"vet \u043f\u0440\u0438\u0432\u0435\u0442")
    for n, (query, tail) in enumerate(tails.items(), 1):
        want = f"{n}" if n < 4 else f"{n} "
        wait_for(lambda t=tail: t.messages(), what=query)
        wait_for(lambda t=tail, n=n: n == 6 or t.messages()[-1] == "end",
                 what=query)
        assert [m[0] for m in tail.messages()] == [want[0]] + ["e"] * (n < 6)


def test_context(tmp_path):
    """What OTLP says once holds for each."""
    with Nginx(tmp_path, server="location = /v1/logs {logbroker_otlp;}",
               spool="size=4m") as n:
        tail = settle(Tail(n, "?service=shop"))
        body = {"resourceLogs": [{
            "resource": {"attributes": [{
                "key": "service.name", "value": {"stringValue": "shop"}}]},
            "scopeLogs": [{"logRecords": [
                {"body": {"stringValue": f"m{i}"}} for i in range(3)]}]}]}
        r = n.request("POST", "/v1/logs", json.dumps(body),
                      {"Content-Type": "application/json"})
        assert r.status == 200
        wait_for(lambda: len(tail.rows()) == 3)
        assert tail.messages() == ["m0", "m1", "m2"]
        assert all(r["resource"] == {"service.name": "shop"}
                   for r in tail.rows())


def test_resumed(nginx):
    """Who comes back with the last id misses nothing and gets nothing twice."""
    tail = settle(Tail(nginx))
    post(nginx, *(f"a{i}" for i in range(10)))
    wait_for(lambda: len(tail.rows()) == 10)
    last = tail.frames()[3][0]
    tail.close()
    post(nginx, *(f"b{i}" for i in range(10)))
    again = Tail(nginx, last=last)
    wait_for(lambda: len(again.rows()) == 16)
    post(nginx, "c")
    wait_for(lambda: len(again.rows()) == 17)
    assert again.messages() == [f"a{i}" for i in range(4, 10)] + [
        f"b{i}" for i in range(10)] + ["c"]
    assert again.dropped() == 0


def test_resumed_before_any_event(nginx):
    """A client has an id before it has an event, and behind what it was told
    that it missed: it comes back to there."""
    tail = settle(Tail(nginx, "?stream=none"))
    wait_for(tail.ids)
    tail.close()
    post(nginx, "a")
    again = Tail(nginx, last=tail.ids()[-1])
    wait_for(again.rows)
    assert again.messages() == ["a"]
    prefix, position, seq = again.ids()[-1].split(",")[0].split(":")
    lost = f"{prefix}:{int(position) + 8}:{int(seq)}"
    post(nginx, "b", "c")
    told = Tail(nginx, last=lost)
    wait_for(lambda: told.dropped() and told.ids())
    told.close()
    post(nginx, "d")
    after = Tail(nginx, last=told.ids()[-1])
    wait_for(after.rows)
    assert (told.dropped(), after.dropped(), after.messages()) == (2, 0, ["d"])


def test_resumed_too_late(nginx):
    """What was written over is counted."""
    tail = settle(Tail(nginx))
    post(nginx, "first")
    wait_for(tail.rows)
    last, _, row = tail.frames()[0]
    tail.close()
    prefix, position, seq = last.split(",")[0].split(":")
    lost = f"{prefix}:{int(position) + 8}:{int(seq)}"
    post(nginx, *("x" for _ in range(5)))
    again = Tail(nginx, last=lost)
    wait_for(again.dropped)
    assert again.dropped() == 5
    post(nginx, "on")
    wait_for(again.rows)
    assert again.messages() == ["on"]
    assert row["seq"] + 1 == int(seq)


@pytest.mark.parametrize("last", [
    "x", ":", "::", "12345678:1", "zzzzzzzz:1:1", "12345678:-1:5", "," * 2000,
    "12345678:99999999999999999999:1", "00000000:9223372036854775807:1",
    ",".join(["00000000:1:1"] * 300)])
def test_hostile_ids(nginx, last):
    tail = settle(Tail(nginx, last=last))
    post(nginx, "still there")
    wait_for(tail.rows)
    assert tail.messages() == ["still there"]


def test_slow_reader(nginx):
    """It loses nothing without being told how much."""
    tail = settle(Tail(nginx, read=False))
    sent = 0
    for _ in range(60):
        post(nginx, *("y" * 1000 for _ in range(100)))
        sent += 100
        time.sleep(0.02)
    tail.read()
    wait_for(tail.rows)
    post(nginx, "end")
    sent += 1
    wait_for(lambda: tail.messages()[-1] == "end")
    assert tail.dropped() > 0
    assert len(tail.rows()) + tail.dropped() == sent


def test_large(nginx):
    """Events and bodies that are longer than what is read at once."""
    tail = settle(Tail(nginx))
    post(nginx, "z" * 700_000)
    wait_for(lambda: len(tail.rows()) == 1)
    assert tail.messages()[0] == "z" * 700_000
    wait_for(lambda: tail.got.endswith(b"\n\n"))
    post(nginx, *(f"{i} " + "w" * 200 for i in range(8000)))
    wait_for(lambda: len(tail.rows()) + tail.dropped() == 8001)


def test_full_rings_and_new_ones(tmp_path):
    """A worker that goes on in another ring is followed."""
    with Nginx(tmp_path, spool="size=1m rings=4") as n:
        tail = settle(Tail(n))
        sent = 0
        while True:
            body = "".join(json.dumps({"message": f"{sent + i}"}) + "\n"
                           for i in range(1000))
            if n.request("POST", "/log", body).status != 204:
                break
            sent += 1000
            time.sleep(0.01)
            if sent > 200_000:
                break
        wait_for(lambda: len(tail.rows()) + tail.dropped() >= sent)
        assert len({r["ring"] for r in tail.rows()}) > 1
        assert len(tail.rows()) + tail.dropped() == sent


def test_clients_leave(nginx):
    """In the middle, many at once; the ones that stay see everything."""
    stay = settle(Tail(nginx))
    for i in range(30):
        tails = [Tail(nginx, read=False) for _ in range(10)]
        post(nginx, f"m{i}")
        for t in tails:
            t.close()
    wait_for(lambda: len(stay.rows()) == 30)
    assert stay.messages() == [f"m{i}" for i in range(30)]


def test_too_many(nginx):
    tails = [Tail(nginx) for _ in range(64)]
    r = nginx.request("GET", "/tail")
    assert r.status == 503 and r.headers["Retry-After"] == "1"
    tails.pop().close()

    def taken():
        s = socket.create_connection(("127.0.0.1", nginx.port), 30)
        s.sendall(b"GET /tail HTTP/1.0\r\n\r\n")
        return b" 200 " in s.recv(100)
    wait_for(taken)


def test_methods(nginx):
    assert nginx.request("POST", "/tail", "x").status == 405
    r = nginx.request("HEAD", "/tail")
    assert r.status == 200


def test_reload(nginx):
    """The old worker ends its streams; who comes back goes on."""
    tail = settle(Tail(nginx))
    post(nginx, "a")
    wait_for(tail.rows)
    os.kill(nginx.process.pid, signal.SIGHUP)
    assert tail.ended.wait(20)
    post(nginx, "b")
    again = Tail(nginx, last=tail.frames()[-1][0])
    wait_for(again.rows)
    assert again.messages() == ["b"]


def test_latency(nginx):
    """From the answer of a request to the line of the tail."""
    tail = settle(Tail(nginx))
    took = []
    for i in range(50):
        begun = time.monotonic()
        post(nginx, f"m{i}")
        wait_for(lambda i=i: tail.got.count(b"\ndata: ") == i + 1, every=0.001)
        took.append(time.monotonic() - begun)
    assert sorted(took)[25] < 0.1, took  # 20 ms on a quiet machine
