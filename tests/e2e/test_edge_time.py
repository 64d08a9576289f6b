"""An answer within 8 seconds, whatever the brokers do, and no request is given to
a second one that the first may have stored."""

import contextlib
import itertools
import socket
import threading
import time

import pytest

from env.edge import REFUSAL, Script
from env.http import post
from env.nginx import Nginx
from env.process import free_port

WITHIN = 8
OK = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"


class Slow(Script):
    """Answers after this many seconds."""

    def __init__(self, answer, seconds):
        self.seconds = seconds
        super().__init__(answer)

    def before(self):
        time.sleep(self.seconds)


class Hung:
    """Takes connections and what is sent, up to what the kernel holds; says
    nothing."""

    requests = 0

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]


class Lost:
    """What is sent here is lost: SYNs find no place in the queue."""

    requests = 0

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=0)
        self.port = self.listener.getsockname()[1]
        self.held = []
        for _ in range(3):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(self.listener.getsockname())
            self.held.append(s)


class Away:
    requests = 0

    def __init__(self):
        self.port = free_port()


class Drips(Script):
    """An answer that comes byte by byte and never ends."""

    def __init__(self):
        super().__init__(b"")

    def _answer(self, c):
        with c, contextlib.suppress(OSError):
            c.recv(65536)
            self.requests += 1
            c.sendall(b"HTTP/1.1 204 No Content\r\nX-Slow: ")
            while True:
                c.sendall(b"x")
                time.sleep(0.1)


class Sips(Script):
    """Reads a large request bit by bit."""

    def __init__(self):
        super().__init__(b"")
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

    def _answer(self, c):
        with c, contextlib.suppress(OSError):
            self.requests += 1
            while c.recv(4096):
                time.sleep(0.05)


KINDS = {
    "hung": Hung,
    "lost": Lost,
    "away": Away,
    "refuses late": lambda: Slow(REFUSAL, 1.7),
    "refuses very late": lambda: Slow(REFUSAL, 3.5),
    "breaks off late": lambda: Slow(None, 3.5),
    "breaks off": lambda: Script(None),
    "drips": Drips,
    "sips": Sips,
}


def told(port, headers, body, out):
    begun = time.monotonic()
    status, answered, said = post(port, body, headers=headers)
    out.append((status, answered, said, time.monotonic() - begun))


LARGE_TOO = [b"{}", b"{}" + b" " * 6_000_000]


@pytest.mark.parametrize("headers, bodies", [
    ({}, LARGE_TOO), ({"Idempotency-Key": "k"}, LARGE_TOO),
    # so close that those behind the first one go as one
    ({}, [b"{}"] * 6)], ids=["plain", "key", "together"])
def test_an_answer_in_time(make_edge, headers, bodies):
    """All pairs of trouble at once, for small and for large requests: 503 or
    502, that says which, and no request is given to two that may store it."""
    pairs = list(itertools.combinations_with_replacement(KINDS, 2))
    servers = [[KINDS[k]() for k in pair] for pair in pairs]
    edges = [make_edge([s.port for s in pair]) for pair in servers]
    answers = {}
    threads = []
    for pair, edge in zip(pairs, edges):
        for body in bodies:
            out = answers.setdefault(pair, [])
            threads.append(threading.Thread(
                target=told, args=(edge.port, headers, body, out)))
    for t in threads:
        t.start()
    for t in threads:
        t.join(30)
    for pair, group in answers.items():
        assert len(group) == len(bodies), pair
        for status, answered, said, seconds in group:
            assert seconds < WITHIN, (pair, seconds)
            assert status in (502, 503), (pair, status)
            assert answered["Retry-After"] == "1"
            if status == 502:
                assert b"may be stored or not" in said
                assert not set(pair) <= {"lost", "away", "refuses late"}, pair
    for pair, group in zip(pairs, servers):
        # each given to one of those who break off at most
        breaks = [s.requests for s, kind in zip(group, pair)
                  if kind.startswith("breaks")]
        assert sum(breaks) <= len(bodies), (pair, breaks)


def test_one_that_is_well(make_edge):
    """Beside one to whom nothing gets through, everything is stored."""
    well = Slow(OK, 0)
    edge = make_edge([Lost().port, well.port])
    for n in range(1, 8):
        begun = time.monotonic()
        assert post(edge.port, "{}")[0] == 204
        assert time.monotonic() - begun < 3
        assert well.requests == n


LARGE = b"{}" + b" " * 20_000_000


@pytest.fixture(scope="module")
def passes(tmp_path_factory):
    """Makes an nginx that passes on to such a server within two seconds."""
    made = []

    def make(server, also=""):
        made.append(Nginx(
            tmp_path_factory.mktemp("passes"), http=f"""
            upstream servers {{ server 127.0.0.1:{server.port}; {also} }}""",
            server="""
            client_max_body_size 64m;
            logbroker_answer_within 2s;
            location /slow {
                proxy_pass http://servers;
                proxy_next_upstream error timeout non_idempotent;
                proxy_next_upstream_timeout 1s;
                error_page 502 504 = @again;
            }
            location @again {
                proxy_pass http://servers;
                proxy_next_upstream off;
            }"""))
        made[-1].start(ring=False)
        return made[-1]

    yield make
    for nginx in made:
        nginx.stop()


@pytest.mark.parametrize("kind, body", [(Drips, b"{}"), (Sips, LARGE)],
                         ids=["drips", "sips"])
def test_within(passes, kind, body):
    """Also where the next location asks again: that has no time any more."""
    server = kind()
    nginx = passes(server)
    begun = time.monotonic()
    assert post(nginx.port, body, "/slow")[0] == 504
    assert 1.9 < time.monotonic() - begun < 4
    assert server.requests == 2
    # and nginx goes on
    assert post(nginx.port, "{}")[0] == 204


def test_within_counts_from_the_end_of_the_request(passes):
    nginx = passes(Slow(OK, 1))
    with socket.create_connection(("127.0.0.1", nginx.port)) as s:
        s.sendall(b"POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n")
        for _ in range(3):
            time.sleep(1)
            s.sendall(b"x")
        assert s.recv(4096).startswith(b"HTTP/1.1 204")


def test_within_lets_an_answer_end(passes):
    class Long(Script):
        def _answer(self, c):
            with c:
                c.recv(65536)
                c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n")
                for _ in range(40):
                    time.sleep(0.1)
                    c.sendall(b"x")

    status, _, body = post(passes(Long(b"")).port, "{}", "/slow")
    assert (status, body) == (200, b"x" * 40)
