"""The edge, with the configuration that is shipped: balances evenly, and gives
a request to another broker only when nothing of it was stored."""

import collections
import os
import socket
import subprocess
import threading

import pytest

import clickhoused
from nginxd import NGINX, ROOT, free_port, wait_for
from stack import Broker, Oracle, Process, post


class Edge:
    def __init__(self, directory, ports):
        self.dir = directory
        self.dir.mkdir()
        self.port = free_port()
        values = {"RUN": str(directory), "LOG": "stderr", "WORKERS": "1",
                  "LISTEN": f"127.0.0.1:{self.port}",
                  "BROKERS": "".join(f"server 127.0.0.1:{p};" for p in ports)}
        text = "user root;\n" if os.getuid() == 0 else ""
        for line in (ROOT / "conf/nginx/edge.conf").read_text().splitlines():
            if line.strip().startswith("#"):
                continue
            for name, value in values.items():
                line = line.replace(f"@{name}@", value)
            text += line + "\n"
        (directory / "nginx.conf").write_text(text)
        argv = [NGINX, "-p", str(directory), "-e", "stderr",
                "-c", str(directory / "nginx.conf"), "-g", "daemon off;"]
        subprocess.run([*argv, "-t"], check=True, capture_output=True)
        self.process = Process("edge", argv, directory / "edge.log")
        wait_for(self.up, what="edge")

    def up(self):
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self):
        self.process.stop()


class Script:
    """Stands in for a broker that behaves as scripted: reads a whole request,
    then sends the answer, or closes the connection without one."""

    def __init__(self, answer):
        self.answer = answer
        self.requests = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                c, _ = self.listener.accept()
            except OSError:
                return
            with c:
                data = b""
                while b"\r\n\r\n" not in data:
                    data += c.recv(65536)
                head, body = data.split(b"\r\n\r\n", 1)
                length = 0
                for line in head.split(b"\r\n"):
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                while len(body) < length:
                    body += c.recv(65536)
                self.requests += 1
                if self.answer:
                    c.sendall(self.answer)


REFUSAL = (b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\n"
           b"Content-Length: 2\r\nConnection: close\r\n\r\n{}")


@pytest.fixture
def brokers(tmp_path):
    made = [Broker(tmp_path / f"b{i}", ["http://127.0.0.1:9"],
                   name=f"b{i}") for i in range(2)]
    for b in made:
        b.start_nginx()
    yield made
    for b in made:
        b.stop()


@pytest.fixture
def make_edge(tmp_path):
    edges = []

    def make(ports):
        edges.append(Edge(tmp_path / f"edge{len(edges)}", ports))
        return edges[-1]

    yield make
    for e in edges:
        e.stop()


def stored(broker):
    return sum(r["next_seq"] for r in broker.status()["rings"])


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
    assert headers["Retry-After"] == "5"


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


def test_whole_path(tmp_path, make_edge):
    """Through the edge, one broker killed and back: each event once."""
    with clickhoused.ClickHouse(tmp_path / "ch") as clickhouse:
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
