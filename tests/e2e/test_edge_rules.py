"""What an operator adds to the edge's location /log holds for every request, with a
key or without."""

import collections
import json
import socket

import pytest

from env.edge import stored
from env.http import post
from env.process import wait_for


@pytest.fixture
def htpasswd(tmp_path):
    path = tmp_path / "htpasswd"
    path.write_text("me:{PLAIN}secret\n")
    return path


KEY = {"Idempotency-Key": "key-0"}
LIMITS = "limit_conn connections 4096;"


@pytest.mark.parametrize("headers", [{}, KEY], ids=["plain", "key"])
@pytest.mark.parametrize("rule, status", [
    ("deny all;", 403),
    ("allow 192.0.2.1; deny all;", 403),
    ('auth_basic logs; auth_basic_user_file "@HTPASSWD@";', 401),
    ("auth_request /auth;", 403),
    ("limit_except GET { deny all; }", 403),
    ('if ($http_authorization != "Bearer x") { return 401; }', 401),
    ("client_max_body_size 1;", 413),
    ("limit_rate 1; return 402;", 402),
])
def test_rules_hold_with_a_key(brokers, make_edge, htpasswd, headers, rule,
                               status):
    """Keyed or not: nothing gets past, and the answer is JSON."""
    edge = make_edge([b.port for b in brokers], replace=[
        (LIMITS, LIMITS + rule.replace("@HTPASSWD@", str(htpasswd))),
        ("location = /health {",
         "location = /auth { internal; return 403; } location = /health {")])
    got, answered, body = post(edge.port, "{}", headers=headers)
    assert got == status
    assert answered["Content-Type"] == "application/json"
    assert "error" in json.loads(body)
    assert ("WWW-Authenticate" in answered) == ("auth_basic" in rule)
    # a body of unknown length
    got, _, body = post(edge.port, iter([b"{", b"}"]), headers=headers)
    assert got == status and "error" in json.loads(body)
    assert sum(stored(b) for b in brokers) == 0


@pytest.mark.parametrize("headers", [{}, KEY], ids=["plain", "key"])
def test_rates_hold_with_a_key(brokers, make_edge, headers):
    edge = make_edge([b.port for b in brokers], replace=[
        ("rate=20000r/s", "rate=1r/s"), ("burst=40000", "burst=4")])
    statuses = collections.Counter(
        post(edge.port, "{}", headers=headers)[0] for _ in range(20))
    assert set(statuses) == {204, 503} and statuses[503] >= 10


@pytest.mark.parametrize("headers", [{}, KEY], ids=["plain", "key"])
def test_connections_hold_with_a_key(make_edge, headers):
    """Two requests wait for a broker that never answers: the third one is
    too many."""
    hangs = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    edge = make_edge([h.getsockname()[1] for h in hangs], replace=[
        (LIMITS, "limit_conn connections 2;")])
    lines = "".join(f"{k}: {v}\r\n" for k, v in headers.items())
    waiting = [socket.create_connection(("127.0.0.1", edge.port))
               for _ in range(2)]
    for s in waiting:
        s.sendall(f"POST /log HTTP/1.1\r\nHost: a\r\n{lines}"
                  "Content-Length: 2\r\n\r\n{}".encode())
    wait_for(lambda: post(edge.port, "{}", headers=headers,
                          timeout=30)[0] == 503, what="503")


def test_passwords_let_through(brokers, make_edge, htpasswd):
    edge = make_edge([b.port for b in brokers], replace=[
        (LIMITS, f'{LIMITS} auth_basic logs; '
                 f'auth_basic_user_file "{htpasswd}";')])
    headers = {"Authorization": "Basic bWU6c2VjcmV0"}
    assert post(edge.port, "{}", headers=headers)[0] == 204
    assert post(edge.port, "{}", headers=headers | KEY)[0] == 204
