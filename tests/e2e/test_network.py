"""How the flusher reaches ClickHouse: names, addresses, TLS, proxies, and
when its requests come, over networks that lose packets."""

import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

import pytest

from env.broker import FAST, Broker
from env.build import ROOT, find
from env.clickhouse import ClickHouse
from env.door import Door
from env.http import post
from env.nginx import Nginx, configuration
from env.oracle import Oracle
from env.process import Process, free_port, wait_for

ROOT_ONLY = pytest.mark.skipif(os.getuid() != 0, reason="needs namespaces")


@pytest.fixture(scope="module")
def clickhouse(server):
    return server


@pytest.fixture
def make_broker(make_broker):
    def make(*urls, **kw):
        b = make_broker(*urls, **{"flusher": FAST, **kw})
        b.start_nginx()
        return b

    return make


@pytest.fixture
def deliver(clickhouse):
    """Sends an event and waits until it is there, once."""
    sent = []

    def deliver(broker, timeout=30):
        message = f"{os.getpid()}-{time.monotonic_ns()}"
        sent.append(message)
        assert post(broker.port, json.dumps({"message": message}))[0] == 204
        wait_for(lambda: clickhouse.query(
            "SELECT count() FROM logbroker.logs WHERE message = "
            f"'{message}'") == "1\n", timeout, "the event", every=0.05)
        wait_for(broker.drained, timeout, "its ack", every=0.05)

    return deliver


def log(broker):
    path = broker.dir / "flusher.log"
    return path.read_text() if path.exists() else ""


def set_clickhouse(broker, **settings):
    """Changes settings, and what stays None is taken out; the flusher reads
    them again if it runs."""
    s = json.loads(broker.settings.read_text())
    for key, value in settings.items():
        s["clickhouse"].pop(key, None)
        if value is not None:
            s["clickhouse"][key] = value
    broker.settings.write_text(json.dumps(s))
    if broker.flusher is not None:
        n = log(broker).count("configuration reloaded")
        broker.flusher.signal(signal.SIGHUP)
        wait_for(lambda: log(broker).count("configuration reloaded") > n,
                 what=f"a reload: {log(broker)[-500:]}")


def says(broker, words, timeout=60):
    """In what is logged from here on."""
    n = len(log(broker))
    wait_for(lambda: words in log(broker)[n:], timeout,
             f"{words!r} in {broker.dir}/flusher.log", every=0.05)


class Proxy(Nginx):
    """An nginx before ClickHouse."""

    ENDS = signal.SIGTERM

    def __init__(self, directory, servers, env=None):
        self.servers = servers
        super().__init__(directory, env=env)

    def text(self):
        return configuration(self.dir, main=self.main, http=f"""
    access_log off;
    client_max_body_size 0;
    {self.servers}""")

    def wait(self, *ports):
        """Starts it; its ports are those of its servers."""
        self.port = ports[0]
        self.start(ring=False)
        for self.port in ports:
            wait_for(self.listening, what=f"nginx ({self.dir}/error.log)")
        return self


# what a URL may be


def test_a_path_and_a_slash_at_the_end(tmp_path, clickhouse, make_broker,
                                       deliver):
    port = free_port()
    proxy = Proxy(tmp_path / "proxy", f"""
        server {{
            listen 127.0.0.1:{port};
            location /click/house/ {{
                proxy_pass http://127.0.0.1:{clickhouse.port}/;
            }}
        }}""").wait(port)
    try:
        broker = make_broker(f"http://127.0.0.1:{port}/click/house/")
        broker.start_flusher()
        deliver(broker)
        set_clickhouse(broker, urls=[clickhouse.url + "/"])
        deliver(broker)
    finally:
        proxy.stop()


def test_ipv6(clickhouse, make_broker, deliver):
    try:
        door = Door(clickhouse.port, "::1")
    except OSError:
        pytest.skip("no IPv6 here")
    broker = make_broker(door.url)
    broker.start_flusher()
    deliver(broker)
    assert door.starts
    door.close()


@pytest.mark.parametrize("url, words", [
    ("http://user:sesame@127.0.0.1:8123", "must not hold a user or password"),
    ("http://127.0.0.1:8123/?password=sesame", "must not hold a query"),
    ("http://127.0.0.1:8123/#sesame", "must not hold a query"),
])
def test_a_secret_in_a_url_is_refused_and_not_repeated(tmp_path, url, words):
    settings = tmp_path / "flusher.json"
    settings.write_text(json.dumps(
        {"spool": str(tmp_path / "spool"), "clickhouse": {"urls": [url]}}))
    for more in ([], ["--check"]):
        r = subprocess.run(
            [find("logbroker-flusher"), "--config", settings, *more],
            capture_output=True, text=True, timeout=30)
        assert r.returncode == 2
        assert f"clickhouse.urls[0]: {words}" in r.stderr
        assert "sesame" not in r.stdout + r.stderr


def test_proxies_of_the_environment_are_not_used(clickhouse, make_broker,
                                                 deliver):
    broker = make_broker(clickhouse.url)
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        proxy = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY",
                     "all_proxy", "ALL_PROXY"):
            broker.env[name] = proxy
        broker.env.pop("no_proxy", None)
        broker.env.pop("NO_PROXY", None)
        broker.start_flusher()
        deliver(broker)
        nobody.settimeout(0.1)
        with pytest.raises(TimeoutError):
            nobody.accept()


def test_redirects_are_named_not_followed(tmp_path, clickhouse, make_broker,
                                          deliver):
    port = free_port()
    proxy = Proxy(tmp_path / "proxy", f"""
        server {{
            listen 127.0.0.1:{port};
            location / {{ return 307 {clickhouse.url}$request_uri; }}
        }}""").wait(port)
    try:
        broker = make_broker(f"http://127.0.0.1:{port}")
        broker.start_flusher()
        post(broker.port, "{}")
        says(broker, "redirects are not followed")
        assert not broker.drained()
        set_clickhouse(broker, urls=[clickhouse.url])
        deliver(broker)
    finally:
        proxy.stop()


# names and addresses


def named(broker, hosts):
    """The flusher sees this file as /etc/hosts."""
    broker.flusher = Process(
        "flusher", ["unshare", "-m", "--propagation", "private", "sh", "-c",
                    'mount --bind "$0" /etc/hosts && exec "$@"', str(hosts),
                    find("logbroker-flusher"), "--config",
                    str(broker.settings)],
        broker.dir / "flusher.log", broker.env)


@ROOT_ONLY
def test_a_name_that_moves(tmp_path, clickhouse, make_broker, deliver):
    """Seen by the next request."""
    doors = [Door(clickhouse.port, "127.0.0.2", free_port())]
    doors.append(Door(clickhouse.port, "127.0.0.3", doors[0].port))
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.2 clickhouse.test\n")
    broker = make_broker(f"http://clickhouse.test:{doors[0].port}")
    named(broker, hosts)
    deliver(broker)
    seen = len(doors[0].starts)
    assert seen and not doors[1].starts
    hosts.write_text("127.0.0.3 clickhouse.test\n")
    deliver(broker)
    assert len(doors[0].starts) == seen and doors[1].starts
    # and gone
    hosts.write_text("127.0.0.3 other.test\n")
    post(broker.port, "{}")
    says(broker, "check the name in clickhouse.urls and this machine's DNS")
    hosts.write_text("127.0.0.2 clickhouse.test\n")
    deliver(broker)
    for door in doors:
        door.close()


@ROOT_ONLY
def test_a_name_server_that_does_not_answer(tmp_path):
    """It takes no longer than a connection may."""
    resolv = tmp_path / "resolv.conf"
    resolv.write_text("nameserver 127.0.0.9\n")
    settings = tmp_path / "flusher.json"
    settings.write_text(json.dumps({
        "spool": str(tmp_path), "clickhouse": {
            "urls": ["http://clickhouse.test"], "connect_timeout_ms": 1000}}))
    with socket.socket(type=socket.SOCK_DGRAM) as s:
        try:
            s.bind(("127.0.0.9", 53))
        except OSError:
            pytest.skip("there is a name server")
        begun = time.monotonic()
        r = subprocess.run(
            ["unshare", "-m", "--propagation", "private", "sh", "-c",
             'mount --bind "$0" /etc/resolv.conf && exec "$@"', resolv,
             find("logbroker-flusher"), "--config", settings, "--check"],
            capture_output=True, text=True, timeout=30)
    assert time.monotonic() - begun < 4
    assert "this machine's DNS" in r.stderr, r.stderr


@ROOT_ONLY
def test_one_dead_address_of_several(tmp_path, clickhouse, make_broker,
                                     deliver):
    """One that drops every packet is passed over within the connect timeout,
    and then left out; when the others are gone it is tried again."""
    door = Door(clickhouse.port, "127.0.0.3", free_port())
    # its queue is full: the kernel drops what else wants in
    dead = socket.create_server(("127.0.0.1", door.port), backlog=0)
    waiting = []
    for _ in range(3):
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex(("127.0.0.1", door.port))
        waiting.append(s)
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 clickhouse.test\n127.0.0.3 clickhouse.test\n")
    broker = make_broker(
        f"http://clickhouse.test:{door.port}",
        flusher={**FAST, "clickhouse": {"connect_timeout_ms": 4000}})
    named(broker, hosts)
    deliver(broker)
    begun = time.monotonic()
    for _ in range(3):
        deliver(broker)
    assert time.monotonic() - begun < 8
    assert "cannot be reached" not in log(broker)
    door.close()
    hosts.write_text("127.0.0.1 clickhouse.test\n")
    for s in [*waiting, dead]:
        s.close()
    door = Door(clickhouse.port, "127.0.0.1", door.port)
    deliver(broker)
    door.close()


def test_the_next_server_at_once(clickhouse, make_broker, deliver):
    """No request was made of the one that is not there: no pause."""
    broker = make_broker(
        "http://127.0.0.1:1", clickhouse.url,
        flusher={"backoff": {"min_ms": 30000, "max_ms": 30000}})
    broker.start_flusher()
    deliver(broker, 15)


@pytest.mark.release_only
def test_a_proxy_with_a_clock_of_its_own(tmp_path, clickhouse, make_broker,
                                         deliver):
    """It puts its own Date on the answers, 2 s off: that is worth a look at
    the table now and then, not half of all requests."""
    port = free_port()
    proxy = Proxy(tmp_path / "proxy", f"""
        server {{
            listen 127.0.0.1:{port};
            location / {{ proxy_pass http://127.0.0.1:{clickhouse.port}; }}
        }}""", env=dict(
            FAKETIME="+2s", DONT_FAKE_MONOTONIC="1", NO_FAKE_STAT="1",
            LD_PRELOAD="/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"
        )).wait(port)
    try:
        broker = make_broker(f"http://127.0.0.1:{port}")
        broker.start_flusher()
        for _ in range(10):
            deliver(broker)
        figures = broker.status()["flusher"]
        assert figures["clock_offset_seconds"] == 0
        # the first look, one for the clock, and one that may be due
        assert figures["requests"] - figures["batches"] <= 3
    finally:
        proxy.stop()


# TLS


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    """An authority, certificates of a server for 127.0.0.1 and of a client; of
    one whose time has gone by or is to come; of another authority."""
    d = tmp_path_factory.mktemp("pki")

    def openssl(*argv, clock=()):
        subprocess.run([*clock, "openssl", *map(str, argv)], check=True,
                       capture_output=True, cwd=d)

    def issue(name, by="ca", clock=(), serve="IP:127.0.0.1"):
        (d / "ext").write_text(f"subjectAltName={serve}\n")
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout",
                f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{by}.pem",
                "-CAkey", f"{by}.key", "-CAcreateserial", "-days", "2",
                "-extfile", "ext", "-out", f"{name}.pem", clock=clock)

    for name in ("ca", "other"):
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "9",
                "-keyout", f"{name}.key", "-out", f"{name}.pem",
                "-subj", f"/CN=test {name}")
    for name in ("server", "client"):
        issue(name)
    for name, then in (("expired", "-5d"), ("early", "+5d")):
        issue(name, clock=["faketime", "-f", then])
    issue("named", serve="DNS:clickhouse.example")
    issue("stranger", by="other")
    openssl("rsa", "-in", "client.key", "-aes128", "-passout", "pass:sesame",
            "-out", "locked.key")
    return d


def distrust(url, pki, tmp_path, **settings):
    """What the flusher says to a server that it does not talk to."""
    path = tmp_path / "check.json"
    path.write_text(json.dumps({
        "spool": str(tmp_path / "spool"),
        "clickhouse": {"urls": [url], "ca_file": str(pki / "ca.pem"),
                       "connect_timeout_ms": 5000, **settings}}))
    r = subprocess.run([find("logbroker-flusher"), "--config", path,
                        "--check"], capture_output=True, text=True, timeout=60,
                       stdin=subprocess.DEVNULL)
    return r.stdout + r.stderr


def test_certificates_in_words(tmp_path, clickhouse, pki):
    """Each reason not to trust a server has words of its own, and what to do
    about it."""
    ports = {name: free_port() for name in
             ("server", "expired", "early", "named", "stranger")}
    proxy = Proxy(tmp_path / "proxy", "".join(f"""
        server {{
            listen 127.0.0.1:{port} ssl;
            ssl_certificate {pki}/{name}.pem;
            ssl_certificate_key {pki}/{name}.key;
            location / {{ proxy_pass http://127.0.0.1:{clickhouse.port}; }}
        }}""" for name, port in ports.items())).wait(*ports.values())
    try:
        for name, words in (
                ("expired", "has expired: renew it there"),
                ("early", "is not valid yet: check this machine's clock"),
                ("named", "is for other names: use one of them"),
                ("stranger", "no authority known here vouches")):
            said = distrust(f"https://127.0.0.1:{ports[name]}", pki, tmp_path)
            assert words in said, name
            assert sum(said.count(w) for w in (
                "is for other", "has expired: renew", "not valid yet: check",
                "no authority")) == 1, said
        url = f"https://127.0.0.1:{ports['server']}"
        assert "exactly once" in distrust(url, pki, tmp_path)
        # our own: of another pair, with a passphrase (nobody is asked for it)
        for key in ("server.key", "locked.key"):
            assert "belong together, the key without a passphrase" in distrust(
                url, pki, tmp_path, client_certificate=str(pki / "client.pem"),
                client_key=str(pki / key))
    finally:
        proxy.stop()


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_a_client_certificate_that_is_refused(tmp_path, pki, version):
    """By the server's TLS, as ClickHouse does it: before any HTTP."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = context.minimum_version = ssl.TLSVersion[version]
    context.load_cert_chain(pki / "server.pem", pki / "server.key")
    context.load_verify_locations(pki / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    with socket.create_server(("127.0.0.1", 0)) as server:
        def serve():
            while True:
                try:
                    c, _ = server.accept()
                    with context.wrap_socket(c, server_side=True):
                        pass
                except ssl.SSLError:
                    c.close()
                except OSError:
                    return
        threading.Thread(target=serve, daemon=True).start()
        url = f"https://127.0.0.1:{server.getsockname()[1]}"
        for name in ("stranger", "expired"):
            said = distrust(url, pki, tmp_path,
                            client_certificate=str(pki / f"{name}.pem"),
                            client_key=str(pki / f"{name}.key"))
            assert "refuses clickhouse.client_certificate" in said, said
            assert str(pki) + "/ca" not in said.split("}")[-1]
        said = distrust(url, pki, tmp_path)
        assert "wants a clickhouse.client_certificate" in said or \
            "clickhouse.client_certificate, or wants one" in said, said
        server.shutdown(socket.SHUT_RDWR)


def test_tls(tmp_path, clickhouse, pki, make_broker, deliver):
    """Nothing goes to a server that is not trusted or too old, and what to do
    is said; a client certificate opens the door."""
    old, new, both = free_port(), free_port(), free_port()

    def server(port, protocols, more=""):
        return f"""
        server {{
            listen 127.0.0.1:{port} ssl;
            ssl_certificate {pki}/server.pem;
            ssl_certificate_key {pki}/server.key;
            ssl_protocols {protocols};
            ssl_ciphers ALL:@SECLEVEL=0;
            {more}
            location / {{ proxy_pass http://127.0.0.1:{clickhouse.port}; }}
        }}"""

    proxy = Proxy(tmp_path / "proxy",
                  server(old, "TLSv1 TLSv1.1") + server(new, "TLSv1.2") +
                  server(both, "TLSv1.2 TLSv1.3",
                         f"ssl_client_certificate {pki}/ca.pem; "
                         "ssl_verify_client on;")).wait(old, new, both)

    def url(port, host="127.0.0.1"):
        return [f"https://{host}:{port}"]

    try:
        broker = make_broker(*url(new))
        broker.start_flusher()
        post(broker.port, "{}")
        says(broker, "set clickhouse.ca_file")
        ca = str(pki / "ca.pem")

        set_clickhouse(broker, ca_file=ca, urls=url(old))
        says(broker, "clickhouse.tls_minimum")
        set_clickhouse(broker, urls=url(new, "localhost"))
        says(broker, "is for other names: use one of them in clickhouse.urls")
        set_clickhouse(broker, urls=url(new), tls_minimum="1.3")
        says(broker, "clickhouse.tls_minimum")
        set_clickhouse(broker, urls=url(both), tls_minimum=None)
        says(broker, "No required SSL certificate was sent")
        assert not broker.drained()

        set_clickhouse(broker, urls=url(new))
        deliver(broker)
        set_clickhouse(broker, urls=url(both), tls_minimum="1.3",
                       client_certificate=str(pki / "client.pem"),
                       client_key=str(pki / "client.key"))
        deliver(broker)
        # all that was in between, once
        assert broker.stat()["delivered"] == 3
    finally:
        proxy.stop()


def test_an_early_no_is_heard(tmp_path, clickhouse, make_broker):
    """A proxy that refuses a large body while it is sent."""
    port = free_port()
    proxy = Proxy(tmp_path / "proxy", f"""
        server {{
            listen 127.0.0.1:{port};
            client_max_body_size 100k;
            location / {{ proxy_pass http://127.0.0.1:{clickhouse.port}; }}
        }}""").wait(port)
    try:
        broker = make_broker(f"http://127.0.0.1:{port}")
        post(broker.port, "\n".join(
            json.dumps({"message": "x" * 1000}) for _ in range(3000)))
        broker.start_flusher()
        says(broker, "HTTP 413")
        broker.flusher.kill()
    finally:
        proxy.stop()


def test_a_password_that_changes(clickhouse, make_broker, deliver):
    """The file is read again when the server refuses what was in it."""
    broker = make_broker(clickhouse.url, user="logbroker", password="old")
    broker.start_flusher()
    post(broker.port, "{}")
    says(broker, "AUTHENTICATION_FAILED")
    (broker.dir / "password").write_text(clickhouse.password + "\n")
    says(broker, "clickhouse.password_file has changed and is used")
    deliver(broker)
    assert "configuration reloaded" not in log(broker)
    assert clickhouse.password not in log(broker)


# time


@pytest.mark.release_only
def test_a_question_is_not_waited_for_long(clickhouse, make_broker, deliver):
    """request_timeout_ms is an INSERT's; a question has ten seconds."""
    door = Door(clickhouse.port)
    broker = make_broker(door.url)
    broker.start_flusher()
    deliver(broker)
    n = len(door.starts)
    door.mode = lambda: "drop" if len(door.starts) == n + 1 else "hang"
    post(broker.port, "{}")
    wait_for(lambda: len(door.starts) == n + 2, what="the question")
    says(broker, "no answer within 10000 ms")
    # a look may have hung before it
    assert time.monotonic() - door.starts[n + 1] < 25
    door.mode = "pass"
    deliver(broker)
    door.close()


def test_check_leaves_the_second_to_a_flusher(clickhouse, make_broker,
                                               deliver):
    """One that starts while --check waits for its turn."""
    door = Door(clickhouse.port)
    broker = make_broker(door.url)
    broker.start_flusher()
    deliver(broker)
    broker.flusher.stop()
    n = len(door.starts)
    check = subprocess.Popen(
        [find("logbroker-flusher"), "--config", broker.settings, "--check"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=broker.env)
    time.sleep(0.3)
    broker.start_flusher()
    deliver(broker)
    _, words = check.communicate(timeout=20)
    # 4: it could not ask, all seconds were the flusher's
    assert check.returncode in (0, 4), words
    assert "exactly once into logbroker.logs" in words
    gaps = [b - a for a, b in zip(door.starts[n:], door.starts[n + 1:])]
    assert min(gaps, default=1) >= 1, gaps
    door.close()


def test_a_second_sigterm_ends_a_request(clickhouse, make_broker, deliver):
    door = Door(clickhouse.port)
    broker = make_broker(door.url)
    broker.start_flusher()
    deliver(broker)
    door.mode = "hang"
    n = len(door.starts)
    post(broker.port, "{}")
    wait_for(lambda: len(door.starts) > n, what="a request")
    broker.flusher.signal(signal.SIGTERM)
    time.sleep(0.5)
    assert broker.flusher.running()
    broker.flusher.signal(signal.SIGTERM)
    assert broker.flusher.p.wait(5) == 0
    door.close()


# What gets lost on the way in, how often, and the clocks of the nodes.
LOSS = {
    # of connections the first packet: no request may feel it
    "connections": ("tcp flags & (syn | ack) == syn", 20,
                    ["+0.085s", "-0.085s"]),
    # of requests any packet: a node keeps its second from itself
    "requests": ("tcp flags & psh == psh", 40, [None]),
}


def dropped():
    """How many packets, so far."""
    return int(subprocess.run(
        ["nft", "list", "ruleset"], check=True, text=True,
        capture_output=True).stdout.split("packets ")[1].split()[0])


def lossy(what, directory):
    """In a network namespace of its own: nodes that share the second, and a
    door that sees when their requests come."""
    directory = pathlib.Path(directory)
    faketime = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"
    packets, percent, clocks = LOSS[what]
    with ClickHouse(directory / "clickhouse") as clickhouse:
        door = Door(clickhouse.port)
        subprocess.run(
            ["nft", "-f", "-"], check=True, text=True, input=f"""
            add table inet loss
            add chain inet loss in {{ type filter hook input priority 0; }}
            add rule inet loss in tcp dport {door.port} {packets} \
                numgen random mod 100 < {percent} counter drop
            """)
        brokers = []
        for i, clock in enumerate(clocks):
            b = Broker(directory / f"broker-{i}", [door.url], workers=1,
                       rings=2, name=f"broker-{i}", index=i,
                       count=len(clocks), flusher=FAST)
            if clock:
                b.env.update(LD_PRELOAD=" ".join(
                    [*os.environ.get("LD_PRELOAD", "").split(), faketime]),
                    FAKETIME=clock, DONT_FAKE_MONOTONIC="1", NO_FAKE_STAT="1",
                    FAKETIME_DONT_FAKE_MONOTONIC="1")
            brokers.append(b.start())
        with Oracle([b.port for b in brokers], threads=2) as oracle:
            end = time.monotonic() + 25
            wait_for(lambda: (time.monotonic() > end or
                              len(door.starts) >= 20) and dropped(),
                     60, "requests, and a packet that got lost", every=0.1)
        starts = sorted(door.starts)
        gaps = sorted(b - a for a, b in zip(starts, starts[1:]))
        wait_for(lambda: all(b.drained() for b in brokers), 120, "delivery",
                 every=0.1)
        oracle.verify(clickhouse)
        lost = dropped()
        for b in brokers:
            b.stop()
        reports = [r for b in brokers for r in b.sanitizer_reports()]
        assert not reports, reports[0]
        print(json.dumps({"closest": gaps[0], "requests": len(starts),
                          "lost": lost}))


@ROOT_ONLY
@pytest.mark.release_only
@pytest.mark.parametrize("what", LOSS)
def test_one_request_a_second_though_packets_get_lost(tmp_path, what):
    if not shutil.which("nft"):
        pytest.skip("needs nft")
    r = subprocess.run(
        ["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "-",
         "/usr/bin/python3", ROOT / "tests/e2e/test_network.py", what,
         tmp_path],
        capture_output=True, text=True, timeout=250)
    assert r.returncode == 0, r.stdout + r.stderr
    print(r.stdout)
    figures = json.loads(r.stdout.splitlines()[-1])
    assert figures["lost"] >= 1 and figures["requests"] >= 3, figures
    assert figures["closest"] >= 1, figures


if __name__ == "__main__":
    lossy(*sys.argv[1:])
