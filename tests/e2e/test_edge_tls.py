"""TLS at the edge as it is shipped: a certificate by ACME and its renewal under
load, and TLS from the edge to the brokers."""

import http.client
import json
import os
import shutil
import signal
import ssl
import subprocess
import threading
import urllib.request

import pytest

from env.acme import Authority
from env.build import BUILD, ROOT
from env.doors import OTLP_BYTES
from env.edge import Shipped, make_certificate
from env.grpc import frame, raw
from env.http import post
from env.process import free_port, wait_for
from env.tail import Tail

NAME = "logs.example.org"


def openssl(d, *argv, clock=()):
    return subprocess.run([*clock, "openssl", *map(str, argv)], check=True,
                          capture_output=True, text=True, cwd=d).stdout


def authority(d, name="ca"):
    openssl(d, "req", "-x509", "-newkey", "ec", "-pkeyopt",
            "ec_paramgen_curve:prime256v1", "-nodes", "-days", "9", "-keyout",
            f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}")


def issue(d, folder, by="ca", name="logbroker", clock=(), trust=None):
    """cert.pem and key.pem of a folder, and with trust whom it believes."""
    (d / folder).mkdir()
    (d / "ext").write_text(f"subjectAltName=DNS:{name}\n")
    openssl(d, "req", "-newkey", "ec", "-pkeyopt",
            "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
            f"{folder}/key.pem", "-out", "csr", "-subj", f"/CN={name}")
    openssl(d, "x509", "-req", "-in", "csr", "-CA", f"{by}.pem", "-CAkey",
            f"{by}.key", "-CAcreateserial", "-days", "2", "-extfile", "ext",
            "-out", f"{folder}/cert.pem", clock=clock)
    if trust:
        shutil.copy(d / f"{trust}.pem", d / folder / "ca.pem")
    return d / folder


def broker(directory, **more):
    grpc = free_port()
    b = Shipped(directory, "broker", {
        "MODULES": BUILD, "SPOOL": directory / "spool", "SIZE": "4m",
        "GRPC": f"127.0.0.1:{grpc}", **more})
    b.grpc = grpc
    return b


def edge(directory, brokers, **more):
    grpc = free_port()
    e = Shipped(directory, "edge", {
        "MODULES": BUILD, "GRPC": f"127.0.0.1:{grpc}",
        "BROKERS": " ".join(f"127.0.0.1:{b.port}" for b in brokers),
        "GRPC_BROKERS": " ".join(f"127.0.0.1:{b.grpc}" for b in brokers),
        "SENDERS": "anyone", "METRICS": f"127.0.0.1:{free_port()}",
        "ACCESS_LOG": f"{directory}/access.log json", **more})
    e.grpc = grpc
    return e


def events(b):
    """How many it has, whatever its port speaks."""
    r = subprocess.run([BUILD / "tools" / "logbroker-spool", "stat", "--json",
                        b.dir / "spool"], capture_output=True, text=True,
                       check=True)
    return sum(ring["next_seq"] for ring in json.loads(r.stdout)["rings"])


class Senders:
    """Each request on a TLS connection of its own; what was answered."""

    def __init__(self, port, n=2):
        self.port, self.answers, self.on = port, [], True
        self.pause = threading.Event()
        self.context = ssl._create_unverified_context()
        self.threads = [threading.Thread(target=self.run) for _ in range(n)]
        for t in self.threads:
            t.start()

    def run(self):
        while self.on:
            request = urllib.request.Request(
                f"https://127.0.0.1:{self.port}/log", b'{"message":"x"}')
            try:
                with urllib.request.urlopen(request, timeout=20,
                                            context=self.context) as r:
                    self.answers.append(r.status)
            except OSError as e:
                self.answers.append(str(e))
            self.pause.wait(0.02)

    def stop(self):
        self.on = False
        for t in self.threads:
            t.join()
        return self.answers


@pytest.fixture
def acme(tmp_path):
    (tmp_path / "acme").mkdir()
    with Authority(tmp_path / "acme") as authority:
        yield authority


def test_a_certificate_and_its_renewal_under_load(tmp_path, acme):
    """From no certificate at all to one that is believed, and on to the next,
    while clients send: each request is answered 204 and its event is there."""
    home, state = tmp_path / "etc", tmp_path / "state"
    plain = acme.http
    e = None

    def certificate(*argv, status=0, **env):
        r = subprocess.run(
            [ROOT / "tools/edge/certificate.sh", *argv], text=True,
            capture_output=True, timeout=120, env={
                **os.environ, "LOGBROKER_EDGE": str(home),
                "LOGBROKER_STATE": str(state), "LOGBROKER_ACME": acme.url,
                "LOGBROKER_RELOAD": f"kill -HUP {e.master}" if e else "false",
                "CURL_CA_BUNDLE": str(acme.ca), **env})
        assert r.returncode == status, r.stdout + r.stderr
        return r.stdout + r.stderr

    def shown():
        """The serial and the issuer of what a client is shown."""
        pem = ssl.get_server_certificate(("127.0.0.1", e.port))
        (tmp_path / "shown.pem").write_text(pem)
        return openssl(tmp_path, "x509", "-in", "shown.pem", "-noout",
                       "-serial", "-issuer")

    certificate("--first", NAME)
    b = broker(tmp_path / "broker")
    e = edge(tmp_path / "edge", [b], TLS=home / "tls",
             PLAIN=f"127.0.0.1:{plain}", ACME=home / "acme")
    try:
        e.master = int(wait_for((e.dir / "nginx.pid").read_text, what="pid"))
        own = shown()
        before = events(b)
        senders = Senders(e.port)
        wait_for(lambda: len(senders.answers) > 20, what="answers")
        assert "the edge has the certificate" in certificate(NAME)
        # the old worker may still be asked: it is one look that counts
        first = wait_for(lambda: (now := shown()) != own and now,
                         what="the first")
        assert "Pebble" in first
        (tmp_path / "root.pem").write_text(acme.root())
        chain = (home / "tls" / "cert.pem").read_text()
        (tmp_path / "chain.pem").write_text(chain)
        openssl(tmp_path, "verify", "-CAfile", "root.pem", "-untrusted",
                "chain.pem", "-verify_hostname", NAME, "chain.pem")
        # a renewal whose reload fails is made up for by the next look
        said = certificate(NAME, status=1, LOGBROKER_RELOAD="false")
        assert "was not reloaded" in said and shown() == first
        certificate(NAME)
        wait_for(lambda: shown() != first, what="second")
        n = len(senders.answers)
        wait_for(lambda: len(senders.answers) > n + 20, what="answers")
        answers = senders.stop()
        assert set(answers) == {204}, [a for a in answers if a != 204][:5]
        assert events(b) - before == len(answers)
        # an authority that is away changes nothing
        second = shown()
        said = certificate(NAME, status=1, LOGBROKER_ACME="https://127.0.0.1:1")
        assert "certificate.sh: no new certificate from" in said and shown() == second
        assert (home / "tls" / "key.pem").stat().st_mode & 0o777 == 0o400
        # nothing else is served from there, and all the rest is sent on
        assert post(plain, "{}")[0] == 308
        for path in ("none", "../tls/key.pem", "..%2ftls%2fkey.pem"):
            c = http.client.HTTPConnection("127.0.0.1", plain, timeout=10)
            c.request("GET", "/.well-known/acme-challenge/" + path)
            assert c.getresponse().status in (308, 400, 404), path
            c.close()
    finally:
        e.stop()
        b.stop()


def test_tls_to_the_brokers_and_back_under_load(tmp_path):
    """Brokers take it on ports of its own beside the plain ones, then edges go
    over, and the other way round: each request is answered 204, and its event
    is there once."""
    authority(tmp_path)
    mine = tmp_path / "edge-tls"
    mine.mkdir()
    shutil.copy(tmp_path / "ca.pem", mine)
    tls = issue(tmp_path, "good")
    brokers = [broker(tmp_path / f"b{i}") for i in range(2)]
    ports = [(free_port(), free_port()) for _ in brokers]
    e = edge(tmp_path / "edge", brokers, TLS=make_certificate(tmp_path),
             PLAIN=f"127.0.0.1:{free_port()}")
    plain = dict(e.values)

    def now(p, values):
        old = set(p.workers())
        p.values = values
        p.write_conf()
        p.send(signal.SIGHUP)
        wait_for(lambda: not old & set(p.workers()), what="new workers")

    def on(edge_too):
        for b, (http_port, grpc) in zip(brokers, ports):
            now(b, {**b.values, "TLS": tls,
                    "TLS_LISTEN": f"127.0.0.1:{http_port}",
                    "TLS_GRPC": f"127.0.0.1:{grpc}"})
        if edge_too:
            now(e, {**plain, "BROKER_TLS": mine,
                    "BROKERS": " ".join(f"127.0.0.1:{a}" for a, _ in ports),
                    "GRPC_BROKERS": " ".join(f"127.0.0.1:{g}" for _, g in ports)})

    def off():
        now(e, plain)
        for b in brokers:
            now(b, {k: v for k, v in b.values.items()
                    if k not in ("TLS", "TLS_LISTEN", "TLS_GRPC")})

    try:
        before = sum(map(events, brokers))
        senders = Senders(e.port)
        for step in (lambda: on(False), lambda: on(True), off):
            n = len(senders.answers)
            wait_for(lambda: len(senders.answers) > n + 20, what="answers")
            step()
        n = len(senders.answers)
        wait_for(lambda: len(senders.answers) > n + 20, what="answers")
        answers = senders.stop()
        assert set(answers) == {204}, [a for a in answers if a != 204][:5]
        assert sum(map(events, brokers)) - before == len(answers)
        # it was spoken while it was on, and is no longer
        on(True)
        with urllib.request.urlopen(
                f"https://127.0.0.1:{ports[0][0]}/health", timeout=10,
                context=ssl._create_unverified_context()) as r:
            assert r.status == 200
        for b in brokers:
            assert post(b.port, "{}")[0] == 204
        off()
        for http_port, _ in ports:
            with pytest.raises(ConnectionRefusedError):
                post(http_port, "{}")
    finally:
        e.stop()
        for b in brokers:
            b.stop()


def test_brokers_that_are_not_believed(tmp_path):
    """With TLS to the brokers, one of another authority, whose time is over or
    with another name gets nothing; the others take all of it. Who has no
    certificate does not get past the edge."""
    authority(tmp_path)
    authority(tmp_path, "other")
    mine = issue(tmp_path, "edge-tls", trust="ca")
    good = issue(tmp_path, "good", trust="ca")
    servers = [
        broker(tmp_path / "b0", TLS=good),
        broker(tmp_path / "b1", TLS=issue(tmp_path, "bad1", by="other")),
        broker(tmp_path / "b2", TLS=issue(tmp_path, "bad2", name="else")),
        broker(tmp_path / "b3", TLS=issue(tmp_path, "bad3", clock=[
            "faketime", "-f", "-5d"])),
        broker(tmp_path / "b4", TLS=good)]
    e = edge(tmp_path / "edge", servers, BROKER_TLS=mine)
    try:
        before = [events(b) for b in servers]
        figures = int(e.values["METRICS"].rpartition(":")[2])
        tail = Tail(figures, path="/cluster/tail")
        wait_for(lambda: tail.ids() and tail.ids()[-1].count("=") == 2)
        for i in range(40):
            assert post(e.port, '{"n":%d}' % i)[0] == 204
        wait_for(lambda: len(tail.rows()) == 40)
        assert {data["broker"] for _, event, data in tail.frames()
                if event == "away"} == {
            f"127.0.0.1:{b.port}" for b in servers[1:4]}
        tail.close()
        for i in range(10):
            assert raw(e.grpc, frame(OTLP_BYTES[:-1] + b"%d" % i)).code == 0
        got = [events(b) - n for b, n in zip(servers, before)]
        assert got[1:4] == [0, 0, 0] and got[0] > 0 and got[4] > 0
        assert sum(got) == 50
        # of those that are left one dies, with connections kept alive to it
        servers[0].kill()
        for i in range(20):
            assert post(e.port, '{"n":%d}' % i)[0] == 204
        assert sum(events(b) - n for b, n in zip(servers, before)) == 70
        # a client that goes past the edge
        context = ssl._create_unverified_context()
        with pytest.raises(OSError):
            urllib.request.urlopen(urllib.request.Request(
                f"https://127.0.0.1:{servers[4].port}/log", b"{}"),
                context=context)
        assert post(servers[4].port, "{}")[0] == 400
    finally:
        e.stop()
        for b in servers:
            b.stop()
