"""Readers with a certificate, at a port of their own of the edge: who is let in,
what is shown there and what is not, who read what, as docs/explore.md has it."""

import contextlib
import http.client
import json
import re
import signal
import socket
import ssl
import subprocess
import time

import pytest

from env.build import ROOT
from env.clickhouse import ClickHouse
from env.edge import Edge, ShippedBroker, make_certificate
from env.http import post
from env.process import free_port, wait_for

PAGE = (ROOT / "docs/explore.md").read_text().split(
    "## Readers with a certificate")[1].split("\n## ")[0]
AUTHORITY, READER, REVOKE = re.findall(r"```sh\n(.*?)```", PAGE, re.S)


def typed(d, commands, **names):
    """Commands of the page, as printed but for names."""
    for name, value in names.items():
        commands, n = re.subn(rf"(?m)^{name}=.*$", f"{name}={value}", commands)
        assert n == 1
    subprocess.run(["bash", "-euc", commands], cwd=d, check=True,
                   capture_output=True)


class Readers(Edge):
    """The edge with a port for readers; etc is the folder of certificates."""

    def __init__(self, directory, ports, etc):
        self.readers, self.etc = free_port(), etc
        super().__init__(directory, ports, tls=etc, plain=free_port())

    def text(self):
        self.values["READERS"] = f"127.0.0.1:{self.readers}"
        return super().text()

    def connect(self, who=None, port=None):
        """who: cert.pem and key.pem, or nobody."""
        context = ssl._create_unverified_context()
        if who:
            context.load_cert_chain(*who)
        return http.client.HTTPSConnection(
            "127.0.0.1", port or self.readers, timeout=30, context=context)

    def ask(self, path, who=None, sql=None, host="logs.example.org", **headers):
        """Status and what it said."""
        c = self.connect(who)
        c.request("POST" if sql else "GET", path, sql, {
            "Host": host, "X-Requested-With": "logbroker", **headers})
        r = c.getresponse()
        with contextlib.closing(c):
            return r.status, r.read()

    def reload(self):
        """And the workers that were there are gone."""
        before = self.workers()
        self.send(signal.SIGHUP)
        wait_for(lambda: not set(before) & set(self.workers()), what="new workers")

    def read(self):
        return [json.loads(line) for line in
                self.access_log.read_text().splitlines() if '"reader"' in line]


def who(d, name):
    return d / f"{name}.pem", d / f"{name}.key"


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """The authority's folder as the page makes it, with two readers; another
    authority's; and one of this whose time is over."""
    d = tmp_path_factory.mktemp("keys")
    typed(d, AUTHORITY)
    typed(d, READER)
    typed(d, READER, READER="analyst-2")
    (d / "other").mkdir()
    typed(d / "other", AUTHORITY)
    typed(d / "other", READER)
    over = READER.replace("openssl x509", "faketime -f -100d openssl x509")
    assert over != READER
    typed(d, over, READER="late")
    # a server's, of the same authority
    typed(d, READER.replace("clientAuth", "serverAuth"), READER="server")
    return d


@pytest.fixture(scope="module")
def service(tmp_path_factory, keys):
    base = tmp_path_factory.mktemp("readers")
    etc = make_certificate(base)
    (etc / "readers.pem").write_bytes((keys / "readers.pem").read_bytes())
    clickhouse = ClickHouse(base / "clickhouse")
    clickhouse.start()
    broker = edge = None
    try:
        broker = ShippedBroker(base / "broker", CLICKHOUSE=clickhouse.url,
                               READER=clickhouse.dir / "reader_password")
        edge = Readers(base / "edge", [broker.port], etc)
        yield edge, broker
    finally:
        for p in filter(None, (edge, broker, clickhouse)):
            p.stop()


def test_who_is_let_in(service, keys):
    edge, _ = service
    for path in ("/logs", "/cluster", "/cluster/tail", "/none", "/"):
        for bad, said in (
                (None, b"none came"),
                (who(keys / "other", "analyst-1"), b"unable to"),
                (who(keys, "late"), b"certificate has expired"),
                (who(keys, "server"), b"purpose")):
            status, words = edge.ask(path, bad)
            assert status == 403 and said in words, (path, bad, words)
    assert edge.ask("/logs/query", sql="SELECT 1")[0] == 403
    # its own port for people and that of clients are as they were
    c = http.client.HTTPConnection("127.0.0.1", edge.readers, timeout=30)
    c.request("GET", "/logs")
    assert c.getresponse().status == 400
    c.close()
    status, page = edge.ask("/logs", who(keys, "analyst-1"))
    assert status == 200 and b"<title>logs" in page


def test_what_is_shown(service, keys):
    edge, broker = service
    me = who(keys, "analyst-1")
    # as for everybody, and by any name: the certificate answers that
    for host in ("logs.example.org", "127.0.0.1:9443", "x.invalid"):
        assert edge.ask("/logs/query", me, "SELECT currentUser()", host) == \
            (200, b"reader\n")
        assert edge.ask("/cluster/1", me, host=host)[0] == 200
    assert b"<html" in edge.ask("/cluster", me, Accept="text/html")[1].lower()
    assert json.loads(edge.ask("/cluster", me)[1])["brokers"][0]["status"]
    c = edge.connect(me)
    c.request("GET", "/")
    r = c.getresponse()
    assert (r.status, r.headers["Location"]) == (302, "/logs")
    c.close()
    # a page elsewhere
    assert edge.ask("/logs/query", me, "SELECT 1",
                    **{"X-Requested-With": "x"})[0] == 403
    # and nothing else
    before = broker.status()["total"]
    for path in ("/log", "/log/x", "/v1/logs", "/metrics", "/health", "/status",
                 "/services/collector", "/_bulk", "/es/_bulk", "/problem.json",
                 "/loki/api/v1/push", "/tail", "/logs/", "/logs/query/x", "/x",
                 "/cluster/page", "/cluster/all", "/cluster/9"):
        assert edge.ask(path, me)[0] == 404, path
        assert edge.ask(path, me, "{}")[0] in (404, 405), path
    assert edge.ask("/logs", me, "{}")[0] in (404, 405)
    assert broker.status()["total"] == before
    # nor are logs shown where events come
    c = edge.connect(me, edge.port)
    c.request("GET", "/logs")
    assert c.getresponse().status == 404
    c.close()


class Live:
    """A stream of live events over TLS."""

    def __init__(self, edge, me):
        self.connection = edge.connect(me)
        self.connection.request("GET", "/cluster/tail?stream=default")
        self.answer = self.connection.getresponse()
        assert self.answer.status == 200

    def until(self, words):
        """What came up to them, or None if it ended before."""
        got, ends = b"", time.monotonic() + 30
        while words not in got:
            assert time.monotonic() < ends, got
            piece = self.answer.read1()
            if not piece:
                return None
            got += piece
        return got


def test_live_and_who_read_what(service, keys):
    edge, _ = service
    live = Live(edge, who(keys, "analyst-2"))
    assert live.until(b"id: ")
    r = edge.connect(port=edge.port)
    r.request("POST", "/log", b'{"message":"seen live"}')
    assert r.getresponse().status == 204
    r.close()
    assert live.until(b"seen live")
    live.connection.close()
    # of another one on the way, who is not let in
    edge.ask("/logs/query", who(keys / "other", "analyst-1"), "SELECT 2")
    sql = "SELECT 'строка \"q\"'\n"
    assert edge.ask("/logs/query", who(keys, "analyst-2"), sql.encode())[0] == 200

    def lines():
        mine = [r for r in edge.read() if r["reader"] == "CN=analyst-2"]
        return len(mine) == 2 and mine
    tail, query = sorted(wait_for(lines, what="lines"), key=lambda r: r["query"])
    assert tail["uri"] == "/cluster/tail?stream=default" and tail["status"] == 200
    assert query["query"] == sql and query["certificate"] == "SUCCESS"
    serial = subprocess.run(
        ["openssl", "x509", "-in", keys / "analyst-2.pem", "-noout", "-serial"],
        check=True, capture_output=True, text=True).stdout
    assert serial.strip() == f"serial={query['serial']}"
    # a look at the status is not one at the logs
    n = len(edge.read())
    edge.ask("/cluster/1", who(keys, "analyst-2"))
    edge.ask("/logs", who(keys, "analyst-2"))
    wait_for(lambda: len(edge.read()) > n, what="a line")
    assert [r["uri"] for r in edge.read()[n:]] == ["/logs"]


def test_revoked(service, keys, tmp_path):
    """By the list beside the authority and a reload: at once, with sessions and
    streams that are there; the others read on."""
    edge, _ = service
    one, two = who(keys, "analyst-1"), who(keys, "analyst-2")
    # TLS' own way not to show it again
    context = ssl._create_unverified_context()
    context.load_cert_chain(*one)

    def again(session=None):
        with socket.create_connection(("127.0.0.1", edge.readers), 30) as s, \
                context.wrap_socket(s, session=session) as t:
            t.sendall(b"GET /logs HTTP/1.0\r\n\r\n")
            said = t.recv(65536)
            return said.split()[1], t.session
    status, session = again()
    assert status == b"200"
    live = Live(edge, one)
    typed(keys, f"READER=analyst-1\n{REVOKE}")
    (edge.etc / "readers-crl.pem").write_bytes(
        (keys / "readers-crl.pem").read_bytes())
    try:
        edge.write_conf()
        edge.reload()
        assert live.until(b"no such words") is None
        assert again(session)[0] == b"403"
        status, words = edge.ask("/logs", one)
        assert status == 403 and b"certificate revoked" in words
        assert edge.ask("/logs", two)[0] == 200
    finally:
        (edge.etc / "readers-crl.pem").unlink()
        edge.write_conf()
        edge.reload()
    assert edge.ask("/logs", one)[0] == 200


@pytest.mark.parametrize("values, said", [
    ("READERS=9443", "READERS: those who read show their certificate by TLS"),
    ("READERS=9443 TLS=.", "READERS: there is no ./readers.pem"),
    ("READERS=443 TLS=. ", "READERS: 443 is where events come"),
])
def test_what_it_takes(tmp_path, values, said):
    if values.endswith(" "):
        (tmp_path / "readers.pem").write_text("x")
    r = subprocess.run(
        f"{ROOT}/conf/nginx/render.sh edge BROKERS=a:1 SENDERS=anyone {values}",
        shell=True, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert r.returncode == 2 and said in r.stderr


def test_a_question_that_takes_long(service, keys):
    """As long as ClickHouse may take for it, by this port and the edge's own:
    the few seconds that senders are answered within do not hold for it."""
    edge, _ = service
    sql = "SELECT count() FROM numbers(8) WHERE sleepEachRow(1) = 0 " \
          "SETTINGS max_block_size = 1"
    ports = [edge.connect(who(keys, "analyst-1")),
             http.client.HTTPConnection("127.0.0.1", edge.figures, timeout=30)]
    for c in ports:
        c.request("POST", "/logs/query", sql, {"X-Requested-With": "logbroker"})
    for c in ports:
        r = c.getresponse()
        assert (r.status, r.read()) == (200, b"8\n")
        c.close()
