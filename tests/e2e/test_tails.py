"""logbroker_tails: the events of all brokers in one stream, at the edge."""

import json
import os
import signal
import socket
import threading
import time
import urllib.error
import urllib.request

import pytest

from env.edge import Edge, ShippedBroker
from env.nginx import Nginx
from env.process import wait_for
from env.tail import Tail


@pytest.fixture
def brokers(tmp_path):
    made = [ShippedBroker(tmp_path / f"broker{i}") for i in range(3)]
    yield made
    for b in made:
        b.stop()


@pytest.fixture
def edge(tmp_path, brokers):
    e = Edge(tmp_path / "edge", [b.port for b in brokers])
    yield e
    e.stop()


def post(at, *messages, path="/log", **more):
    body = "".join(json.dumps({"message": m, **more}) + "\n" for m in messages)
    assert at.request("POST", path, body).status == 204


def merged(edge, query="", n=3, **more):
    """n: so many brokers have told where they are."""
    tail = Tail(edge.figures, query, path="/cluster/tail", **more)
    if more.get("read", True):
        wait_for(lambda: tail.ids() and tail.ids()[-1].count("=") >= n,
                 what="the places of all brokers")
    return tail


def events(tail, kind):
    return [data for _, event, data in tail.frames() if event == kind]


def in_order(tail):
    """Within each ring, each once."""
    seen = {}
    for row in tail.rows():
        assert row["seq"] > seen.get(row["ring"], -1)
        seen[row["ring"]] = row["seq"]


class Load:
    """Numbered events through the edge, until it is stopped."""

    def __init__(self, edge):
        self.edge, self.sent, self.going = edge, [], True
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        n = 0
        while self.going:
            names = [f"m{n + i}" for i in range(10)]
            body = "".join(json.dumps({"message": m}) + "\n" for m in names)
            try:
                r = self.edge.request("POST", "/log", body,
                                      {"Idempotency-Key": f"k{n}-{id(self)}"})
            except OSError:
                continue  # the edge is reloaded: once more, with its key
            if r.status == 204:
                self.sent += names
                n += 10
            time.sleep(0.005)

    def stop(self):
        self.going = False
        self.thread.join()
        return self.sent


def test_all_in_one(edge, brokers):
    tail = merged(edge)
    some = merged(edge, "?stream=web&text=CH+7")
    for i in range(30):
        post(brokers[i % 3], f"ch {i}", path="/log/web" if i % 2 else "/log")
    wait_for(lambda: len(tail.rows()) == 30)
    assert sorted(tail.messages()) == sorted(f"ch {i}" for i in range(30))
    assert len({row["ring"] for row in tail.rows()}) == 3
    in_order(tail)
    wait_for(some.rows)
    assert some.messages() == ["ch 7"]
    assert tail.dropped() == 0 and not events(tail, "away")
    assert b"text/event-stream" in tail.header


def test_resumed(edge, brokers):
    """From any event on: nothing is missed, nothing comes twice."""
    tail = merged(edge)
    for i in range(30):
        post(brokers[i % 3], f"a{i}")
    wait_for(lambda: len(tail.rows()) == 30)
    tail.close()
    for b in brokers:
        post(b, "later", "later")
    frames = [f for f in tail.frames() if f[1] is None]
    for at in (0, 13, 29):
        seen = [f[2]["message"] for f in frames[:at + 1]]
        again = merged(edge, last=frames[at][0])
        wait_for(lambda a=again, n=at: len(a.rows()) == 29 - n + 6)
        assert sorted(seen + again.messages()) == sorted(
            [f"a{i}" for i in range(30)] + ["later"] * 6)
        assert again.dropped() == 0
        in_order(again)
        again.close()
    # before there was any event
    fresh = merged(edge, "?stream=none")
    fresh.close()
    post(brokers[1], "b")
    again = merged(edge, last=fresh.ids()[-1])
    wait_for(again.rows)
    assert again.messages() == ["b"]


def test_broker_away(edge, brokers):
    """It is named, harms nobody, and goes on where it was."""
    tail = merged(edge)
    name = f"127.0.0.1:{brokers[1].port}"
    post(brokers[1], "before")
    wait_for(tail.rows)
    brokers[1].kill()
    wait_for(lambda: events(tail, "away"))
    assert events(tail, "away") == [{"broker": name, "status": 502}]
    post(brokers[0], "meanwhile")
    wait_for(lambda: len(tail.rows()) == 2)
    late = merged(edge, n=2)
    wait_for(lambda: events(late, "away"))
    brokers[1].start(ring=False)
    post(brokers[1], "after")
    wait_for(lambda: events(tail, "back") and events(late, "back"))
    assert events(tail, "back") == [{"broker": name}]
    post(brokers[2], "on")
    wait_for(lambda: len(tail.rows()) == 4)
    assert set(tail.messages()) == {"before", "meanwhile", "after", "on"}
    assert tail.dropped() == 0
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(f"http://127.0.0.1:{edge.figures}/cluster/4/tail")


def test_broker_hangs(edge, brokers):
    """One that takes the connection and says nothing is away, too."""
    name = f"127.0.0.1:{brokers[1].port}"
    pids = brokers[1].workers()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        tail = merged(edge, n=2)
        post(brokers[0], "meanwhile")
        wait_for(tail.rows)
        wait_for(lambda: events(tail, "away"), timeout=20)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    assert events(tail, "away") == [{"broker": name}]
    wait_for(lambda: events(tail, "back"), timeout=20)
    wait_for(lambda: tail.ids()[-1].count("=") == 3)
    post(brokers[1], "on")
    wait_for(lambda: tail.messages() == ["meanwhile", "on"])


def test_broker_reloaded(edge, brokers):
    """That is no news, and nothing is lost."""
    tail = merged(edge)
    load = Load(edge)
    for b in brokers:
        old = b.workers()
        os.kill(b.pid, signal.SIGHUP)
        wait_for(lambda b=b, old=old: not set(old) & set(b.workers()),
                 timeout=30)
    time.sleep(0.5)
    sent = load.stop()
    wait_for(lambda: len(tail.rows()) + tail.dropped() >= len(sent))
    assert sorted(tail.messages()) == sorted(sent)
    assert tail.dropped() == 0 and not events(tail, "away")
    in_order(tail)


def test_edge_reloaded(edge, brokers):
    """Under load: it ends, and who comes back with its id misses nothing; a
    broker that is not in the list any more is forgotten."""
    tail = merged(edge)
    load = Load(edge)
    rows = []
    for _ in range(3):
        wait_for(lambda t=tail: len(t.rows()) > 20)
        os.kill(edge.pid, signal.SIGHUP)
        assert tail.ended.wait(20)
        rows += tail.rows()
        tail = merged(edge, last=tail.ids()[-1])
    sent = load.stop()
    wait_for(lambda: len(rows) + len(tail.rows()) >= len(sent))
    rows += tail.rows()
    assert sorted(r["message"] for r in rows) == sorted(sent)
    assert len({(r["ring"], r["seq"]) for r in rows}) == len(rows)
    assert tail.dropped() == 0

    edge.values["BROKERS"] = " ".join(
        f"127.0.0.1:{b.port}" for b in brokers[1:])
    edge.conf.write_text(edge.text())
    os.kill(edge.pid, signal.SIGHUP)
    assert tail.ended.wait(20)
    post(brokers[0], "of none")
    post(brokers[1], "of one")
    tail = merged(edge, n=2, last=tail.ids()[-1])
    wait_for(tail.rows)
    assert tail.messages() == ["of one"]
    assert f":{brokers[0].port}=" not in tail.ids()[-1]


@pytest.mark.parametrize("last", [
    "x", "=", ";;=;", "=" * 3000, "{0}=", "{0}=zz:1:1", "{0}=,,,;{1}=::",
    "{0}=00000000:1:1;{0}=00000000:2:2", "{0}=" + "0" * 40000])
def test_hostile_ids(edge, brokers, last):
    tail = merged(edge, n=2, last=last.format(
        f"127.0.0.1:{brokers[0].port}", f"127.0.0.1:{brokers[1].port}"))
    time.sleep(0.1)
    post(brokers[2], "still there")
    wait_for(tail.rows)
    assert "still there" in tail.messages()


def test_slow_reader(tmp_path):
    """The brokers drop for it, and count; the edge does not grow, and others
    see everything."""
    brokers = [ShippedBroker(tmp_path / f"broker{i}", size)
               for i, size in enumerate(("64m", "4m"))]
    edge = Edge(tmp_path / "edge", [b.port for b in brokers])
    other = merged(edge, "?text=end", n=2)
    before = memory(edge)
    slow = merged(edge, read=False)
    time.sleep(0.3)  # until the brokers show it what is committed
    sent = 0
    for i in range(130):
        post(brokers[0], *("y" * 3000 for _ in range(100)))
        post(brokers[1], "z")
        sent += 101
    grown = memory(edge) - before
    slow.read()

    def caught_up():
        nonlocal sent
        for i, b in enumerate(brokers):
            post(b, f"end{i}")
        sent += 2
        return all(b'"message":"end%d"' % i in slow.got for i in range(2))
    wait_for(caught_up, every=0.2)
    wait_for(lambda: len(slow.rows()) + slow.dropped() == sent, every=0.2)
    wait_for(lambda: len(other.rows()) == sent - 130 * 101)
    assert slow.dropped() > 0
    in_order(slow)
    assert grown < 8 << 20, grown
    edge.stop()
    for b in brokers:
        b.stop()


def memory(nginx):
    """Bytes of its workers."""
    kb = 0
    for pid in nginx.workers():
        with open(f"/proc/{pid}/status") as f:
            kb += sum(int(line.split()[1]) for line in f
                      if line.startswith("RssAnon"))
    return kb * 1024


def test_large(edge, brokers):
    """Events that are longer than what is read at once, of all at once."""
    tail = merged(edge)
    threads = [threading.Thread(target=post, args=(b, c * 700_000))
               for b, c in zip(brokers, "abc")]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    post(brokers[0], "on")
    wait_for(lambda: len(tail.rows()) == 4)
    assert {m[0]: len(m) for m in tail.messages()} == {
        "a": 700_000, "b": 700_000, "c": 700_000, "o": 2}


def test_too_many(edge):
    """What the brokers' limit keeps out is away, what the edge's does is
    told so."""
    tails = [merged(edge, n=0) for _ in range(64)]
    with pytest.raises(urllib.error.HTTPError) as e:
        urllib.request.urlopen(
            f"http://127.0.0.1:{edge.figures}/cluster/tail")
    assert e.value.code == 503 and e.value.headers["Retry-After"] == "1"
    tails.pop().close()
    wait_for(lambda: ask(edge, "GET /cluster/tail HTTP/1.0"), timeout=20)


def ask(edge, line):
    s = socket.create_connection(("127.0.0.1", edge.figures), 30)
    s.sendall(f"{line}\r\n\r\n".encode())
    return b" 200 " in s.recv(100)


def test_limit_of_a_broker(edge, brokers):
    own = [Tail(brokers[0]) for _ in range(64)]
    tail = merged(edge, n=2)
    wait_for(lambda: events(tail, "away"))
    assert events(tail, "away") == [
        {"broker": f"127.0.0.1:{brokers[0].port}", "status": 503}]
    for t in own:
        t.close()
    wait_for(lambda: events(tail, "back"))


def test_methods(edge):
    assert ask(edge, "HEAD /cluster/tail HTTP/1.0")
    assert not ask(edge, "DELETE /cluster/tail HTTP/1.0")


@pytest.mark.parametrize("args, said", [
    ("x", "is not BROKER=/PATH"), ("=/x", "is not BROKER=/PATH"),
    ("a=x", "is not BROKER=/PATH"), ("a=/x a=/y", 'broker "a" is there twice'),
    ('"a;b=/x"', "has a character"), ("", "invalid number of arguments")])
def test_conf(tmp_path, args, said):
    n = Nginx(tmp_path,
              server=f"location = /merged {{ logbroker_tails {args}; }}")
    status, text = n.test_conf()
    assert status != 0 and said in text
