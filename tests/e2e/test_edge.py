"""The edge, with the configuration that is shipped: balances evenly, and gives
a request to another broker only when nothing of it was stored."""

import collections
import json
import os
import socket
import subprocess
import threading

import pytest

import clickhoused
from nginxd import NGINX, ROOT, free_port, wait_for
from stack import Broker, Oracle, Process, post


class Edge:
    def __init__(self, directory, ports, tls="", plain=0, replace=()):
        self.dir = directory
        self.dir.mkdir()
        self.port = free_port()
        values = {"RUN": str(directory), "LOG": "stderr", "WORKERS": "1",
                  "LISTEN": f"127.0.0.1:{self.port}"
                            + (" ssl http2" if tls else ""),
                  "TLS": tls,
                  "REDIRECT": f"include {directory}/redirect.conf;"
                              if tls else "",
                  "ACCESS_LOG": f"{directory}/access.log json",
                  "BROKERS": "".join(f"server 127.0.0.1:{p};" for p in ports),
                  "BROKERS_BY_KEY": "".join(
                      f"server 127.0.0.1:{p} max_fails=0;" for p in ports)}
        text = "user root;\n" if os.getuid() == 0 else ""
        for line in (ROOT / "conf/nginx/edge.conf").read_text().splitlines():
            if line.strip().startswith("#"):
                continue
            for name, value in values.items():
                line = line.replace(f"@{name}@", value)
            for old, new in replace:
                line = line.replace(old, new)
            text += line + "\n"
        (directory / "nginx.conf").write_text(text)
        (directory / "redirect.conf").write_text(
            (ROOT / "conf/nginx/edge-redirect.conf").read_text().replace(
                "@PLAIN@", f"127.0.0.1:{plain}"))
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

    def make(ports, **kw):
        edges.append(Edge(tmp_path / f"edge{len(edges)}", ports, **kw))
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
    assert statuses.count(502) == counts[0]
    assert statuses.count(204) == counts[1]
    body = next(body for status, _, body in answers if status == 502)
    assert b"Idempotency-Key" in body
    brokers[0].start_nginx()
    # a worker that has just started reads its keys back first
    wait_for(lambda: [send(n)[0] for n in range(40)] == [204] * 40,
             what="all answered like the first time")
    assert [stored(b) for b in brokers] == counts


def test_limits(brokers, make_edge):
    """429 with words and Retry-After; what was answered 204 is stored, what
    was answered 429 is not."""
    edge = make_edge([b.port for b in brokers], replace=[
        ("rate=20000r/s", "rate=1r/s"), ("burst=40000", "burst=4")])
    answers = [post(edge.port, "{}") for _ in range(20)]
    statuses = collections.Counter(a[0] for a in answers)
    assert set(statuses) == {204, 429} and statuses[429] >= 10
    _, headers, body = next(a for a in answers if a[0] == 429)
    assert headers["Retry-After"] == "1" and b"nothing was stored" in body
    assert sum(stored(b) for b in brokers) == statuses[204]


def test_request_ids_and_log(brokers, make_edge):
    edge = make_edge([b.port for b in brokers])
    _, headers, _ = post(edge.port, "{}", headers={"X-Request-ID": "abc-12345"})
    assert headers["X-Request-ID"] == "abc-12345"
    _, headers, _ = post(edge.port, "{}", headers={"X-Request-ID": "a b\"c"})
    made = headers["X-Request-ID"]
    assert len(made) == 32
    _, headers, _ = post(edge.port, "{]")
    assert len(headers["X-Request-ID"]) == 32
    lines = wait_for(lambda: len(x := (edge.dir / "access.log").read_text()
                                 .splitlines()) == 3 and x, what="log")
    log = [json.loads(line) for line in lines]
    assert [x["id"] for x in log][:2] == ["abc-12345", made]
    assert [x["status"] for x in log] == [204, 204, 400]
    assert all(x["broker"] and x["client"] == "127.0.0.1" for x in log)


def test_tls(brokers, make_edge, tmp_path):
    """With a certificate: TLS 1.2 and 1.3 and nothing older; HTTP/2."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days",
         "1", "-subj", "/CN=localhost", "-keyout", tmp_path / "key.pem",
         "-out", tmp_path / "cert.pem"], check=True, capture_output=True)
    plain = free_port()
    edge = make_edge([b.port for b in brokers], plain=plain, tls=(
        f"ssl_certificate {tmp_path}/cert.pem; "
        f"ssl_certificate_key {tmp_path}/key.pem;"))

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
