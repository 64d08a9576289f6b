"""The edge and the brokers as each way of running them renders them, started and
tried: who may send, limits with a key and without, clients that leave early,
workers killed one after the other, and what fills no log."""

import base64
import collections
import itertools
import json
import os
import re
import signal
import socket
import threading
import time
import urllib.error
import urllib.request

import pytest

from env import spool
from env.bodies import answer
from env.build import BUILD
from env.clickhouse import ClickHouse
from env.http import post
from env.nginx import Nginx
from env.process import free_port, wait_for
from test_edge_ways import WAYS

TOKEN = {"Authorization": "Bearer test"}
HASH = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


class Deployed(Nginx):
    """With the text that a way has rendered, on this machine's free ports and
    in a folder of its own."""

    ENDS = signal.SIGTERM

    def __init__(self, way, directory, kind, brokers=(), sub=()):
        self.brokers = brokers
        self.grpc = free_port()
        self.said = directory / "said"
        self.said.mkdir(parents=True)
        self.text_ = WAYS[way](self.said, kind).read_text()
        self.sub = sub
        super().__init__(directory / "run")
        status, words = self.test_conf()
        assert status == 0, words
        self.start(ring=False)

    def text(self):
        text = re.sub(r"include (\S*brokers\.conf);",
                      lambda m: open(m[1]).read().replace("\n", " "), self.text_)
        # brokers are here, in the order of their addresses
        for port, key in (("8080", "port"), ("4317", "grpc")):
            hosts = sorted(set(re.findall(rf"server (\S+):{port} ", text)))
            for host, b in zip(hosts, self.brokers):
                text = re.sub(rf"server {re.escape(host)}:{port}(?=[ ;])",
                              f"server 127.0.0.1:{getattr(b, key)}", text)
        text = re.sub(r"listen (?:[\d.]+:)?(\d+)( backlog)?",
                      lambda m: "listen 127.0.0.1:%d%s" % (
                          self.grpc if m[1] == "4317" else
                          self.port if m[2] else free_port(), m[2] or ""), text)
        for pattern, new in (
                (r"error_log \S+", f'error_log "{self.error_log}"'),
                (r"access_log (?!off)\S+", f'access_log "{self.access_log}"'),
                (r"pid \S+;", f'pid "{self.dir}/nginx.pid";'),
                (r"_temp_path \S+/", f"_temp_path {self.dir}/"),
                (r'load_module "?\S+/', f'load_module "{BUILD}/'),
                (r'logbroker_spool \S+ size=\S+;',
                 f'logbroker_spool "{self.spool}" size=4m;'),
                (r"worker_processes \S+;", "worker_processes 1;"),
                (r"set_real_ip_from [^;]+;", "set_real_ip_from 127.0.0.1;"),
                (r'(?m)^user .*', ""), *self.sub):
            text = re.sub(pattern, new, text)
        # of an edge: where its pages are
        own = re.search(r"listen \S+:(\d+);\s+access_log off;"
                        r"((?!listen).)*location = /metrics", text, re.S)
        self.own = int(own[1]) if own else None
        return f"user root;\n{self.main}{text}"


@pytest.fixture(params=WAYS)
def service(request, tmp_path, monkeypatch):
    """(edge, brokers, headers of one who may send)"""
    monkeypatch.setattr("test_edge_ways.SENDERS",
                        f"logbroker_sender test token={HASH} requests=900000;\n")
    up = [Deployed(request.param, tmp_path / f"broker-{i}", "broker")
          for i in range(2)]
    try:
        for b in up:
            wait_for(lambda b=b: post(b.port, "{}", headers={
                "Idempotency-Key": "first"})[0] == 204, what="keys")
        up.append(Deployed(request.param, tmp_path / "edge", "edge", up[:2]))
        yield up[2], up[:2], {} if request.param in (
            "quickstart", "compose") else TOKEN
    finally:
        for p in reversed(up):
            p.stop()


def test_the_page_of_the_logs_as_deployed(tmp_path_factory, monkeypatch):
    """By each way's edge and broker a real ClickHouse is asked, as the reader
    with the password that the way has rendered; clients reach none of it."""
    base = tmp_path_factory.mktemp("pages")
    monkeypatch.setattr("test_edge_ways.SENDERS",
                        f"logbroker_sender test token={HASH} requests=900000;\n")
    with ClickHouse(base / "clickhouse") as clickhouse:
        password = (base / "clickhouse/reader_password").read_text().strip()
        # of the ways' own, and where it is
        given = base64.b64encode(b"reader:of the reader").decode()
        real = base64.b64encode(f"reader:{password}".encode()).decode()
        for way in WAYS:
            sub = ((rf'Authorization "Basic {re.escape(given)}"',
                    f'Authorization "Basic {real}"'),
                   (r"upstream clickhouse \{ server [^;]+;",
                    f"upstream clickhouse {{ server 127.0.0.1:{clickhouse.port};"),
                   (r'set \$clickhouse "http://clickhouse:8123"',
                    f'set $clickhouse "{clickhouse.url}"'))
            up = [Deployed(way, base / way / "broker", "broker", sub=sub)]
            try:
                up.append(Deployed(way, base / way / "edge", "edge", up * 2))
                with urllib.request.urlopen(
                        f"http://127.0.0.1:{up[1].own}/logs") as r:
                    assert b"<title>logs" in r.read(), way
                status, said = asked(up[1].own)
                if way == "packages":  # its command names no password
                    assert status == 501 and b"READER of render.sh" in said
                else:
                    assert (status, said) == (200, b"reader\n"), way
                assert asked(up[1].port)[0] in (404, 405), way
            finally:
                for p in reversed(up):
                    p.stop()


def asked(port):
    try:
        with urllib.request.urlopen(urllib.request.Request(
                f"http://127.0.0.1:{port}/logs/query",
                b"SELECT currentUser()",
                {"X-Requested-With": "logbroker"}), timeout=30) as r:
            return r.status, r.read()
    except urllib.error.HTTPError as e:
        return e.code, e.read()


def stored(brokers):
    return collections.Counter(
        e for b in brokers for e in spool.events(b.spool))


def logged(edge):
    return edge.error_log.read_text().count("\n"), \
        edge.access_log.read_text().count("\n")


def test_as_deployed(service):
    edge, brokers, who = service
    key = {"Idempotency-Key": "k-1"}

    # who may send
    assert post(edge.port, '{"a":1}', headers=who)[0] == 204
    assert [post(edge.port, '{"a":2}', headers={**who, **key})[0]
            for _ in range(2)] == [204, 204]
    for headers in ({}, {"Idempotency-Key": "k-0"}):
        assert post(edge.port, "{}", headers={
            **headers, "Authorization": "Bearer no"})[0] == \
            (401 if who else 204)

    # clients that leave
    lines = "".join(f"{k}: {v}\r\n" for k, v in who.items())
    for i, end in enumerate((socket.SHUT_WR, None)):
        for more in ("", f"Idempotency-Key: k-{i}-2\r\n"):
            body = json.dumps({"left": f"{i} {more.strip()}"})
            with socket.create_connection(("127.0.0.1", edge.port)) as s:
                s.sendall((f"POST /log HTTP/1.1\r\nHost: a\r\n{lines}{more}"
                           f"Content-Length: {len(body)}\r\n\r\n{body}")
                          .encode())
                if end is not None:
                    s.shutdown(end)
                    assert s.recv(100).startswith(b"HTTP/1.1 204")
    wait_for(lambda: sum(b'"left"' in e for e in stored(brokers)) == 4, 10,
             lambda: stored(brokers))

    # what clients do wrong is not worth many lines
    before = logged(edge)
    for i in range(60):
        post(edge.port, "{", headers=who)
        answer(edge.port, b"GET / HTTP/1.1\r\nHost: a\r\nx\x00: 1\r\n\r\n")
        post(edge.port, "{}", path="/nowhere", headers=who)
    errors, accesses = (b - a for a, b in zip(before, logged(edge)))
    assert errors == 0 and accesses < 20, (errors, accesses)

    kill_in_turn(edge, brokers, who)

    # limits, of an address and with them those of the list
    edge.sub = ((r'include "(\S+/rules\.conf)";', lambda m: open(m[1]).read()),
                ("rate=20000r/s", "rate=1r/s"), ("burst=40000", "burst=4"))
    edge.write_conf()
    old = edge.workers()
    edge.send(signal.SIGHUP)
    wait_for(lambda: not set(old) & set(edge.workers()), 20, "new workers")
    for headers in (who, {**who, **key}):
        statuses = collections.Counter(
            post(edge.port, '{"a":2}', headers=headers)[0] for _ in range(12))
        assert set(statuses) <= {204, 503} and statuses[503] >= 6, statuses
    assert errors == 0


def kill_in_turn(edge, brokers, who):
    """Workers of one broker after the other, under load: who is told 204 finds
    the event once, and the others are told 503 or 502."""
    acked, other, stop = set(), collections.Counter(), threading.Event()

    def send(n):
        for i in itertools.count():
            if stop.is_set():
                return
            name = f"{n}-{i}"
            headers = {**who, **({"Idempotency-Key": name} if n % 2 else {})}
            status = post(edge.port, json.dumps({"id": name}),
                          headers=headers)[0]
            if status == 204:
                acked.add(name)
            else:
                other[status] += 1
            stop.wait(0.01)

    threads = [threading.Thread(target=send, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for b in brokers:
        had = len(acked)
        pids = b.workers()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda b=b, pids=pids: b.workers() and
                 not set(pids) & set(b.workers()), 10, "another worker")
        wait_for(lambda had=had: len(acked) > had + 30, 20, "events go on")
    time.sleep(0.2)
    stop.set()
    for t in threads:
        t.join()
    assert set(other) <= {502, 503}, other
    found = stored(brokers)
    for name in acked:
        assert found[json.dumps({"id": name}).replace(" ", "").encode()] == 1
