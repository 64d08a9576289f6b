"""All doors at the edge, as it is shipped: what is sent there is stored; what is
refused is refused in the words of the protocol; nothing else is passed on."""

import http.client
import json
import re
import shutil
import socket
import time

import pytest

from env.build import ROOT
from env.doors import ASKED, DOORS, JSON, OTLP_JSON, OTLP_PROTO, PROTO
from env.edge import Edge, Script, ShippedBroker, stored
from env.http import post
from env.process import free_port, wait_for

FULL = (b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n"
        b"Content-Length: 4\r\nConnection: close\r\n\r\nfull")


def ask(port, method, path, body=None, headers=None):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        c.request(method, path, body, headers or {})
        r = c.getresponse()
        return r.status, dict(r.getheaders()), r.read()
    finally:
        c.close()


def send(port, door, **headers):
    return post(port, door.body, door.path, {**door.headers, **headers})


def told(door, answer, status, code, words):
    """This refusal, in the words of the door's protocol."""
    got, headers, body = answer
    assert got == status, answer
    assert headers["Content-Type"] == door.tells.type
    assert headers.get("Retry-After") == ("1" if status >= 500 else None)
    assert ("X-Elastic-Product" in headers) == ("_bulk" in door.path)
    assert len(headers["X-Request-ID"]) == 32
    said = door.tells.words(body)
    assert said[0] == code and words in said[1], (said, body)


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    b = ShippedBroker(tmp_path_factory.mktemp("doors") / "broker", size="96m")
    wait_for(lambda: post(b.port, "{}", headers={
        "Idempotency-Key": "first"})[0] == 204, what="keys")
    yield b
    b.stop()


@pytest.fixture(scope="module")
def edge(broker, tmp_path_factory):
    e = Edge(tmp_path_factory.mktemp("edge") / "edge", [broker.port])
    yield e
    e.stop()


@pytest.mark.parametrize("key", [{}, {"Idempotency-Key": "k"}],
                         ids=["plain", "key"])
@pytest.mark.parametrize("name", DOORS)
def test_doors(broker, edge, name, key):
    door = DOORS[name]
    before = stored(broker)
    key = {k: f"{v}-{name}" for k, v in key.items()}
    for _ in range(2):
        status, headers, body = send(edge.port, door, **key)
        assert status == door.ok, body
    once = key or name.split()[0] in ("otlp", "loki")  # by their bytes
    assert stored(broker) - before == (1 if once else 2)
    line = (edge.dir / "access.log").read_text().splitlines()[-1]
    assert json.loads(line)["uri"] == door.path


@pytest.mark.parametrize("method, path, said", ASKED)
def test_handshakes(edge, method, path, said):
    status, headers, body = ask(edge.port, method, path)
    assert status == 200 and said in body
    assert ("X-Elastic-Product" in headers) == (
        re.search("services|ready|/api/", path) is None)


@pytest.mark.parametrize("headers, tells", [
    (JSON, OTLP_JSON), (PROTO, OTLP_PROTO)], ids=["json", "protobuf"])
@pytest.mark.parametrize("signal", ["traces", "metrics"])
def test_other_signals(edge, signal, headers, tells):
    """A sender with one endpoint for all of them is told by the broker."""
    status, _, body = post(edge.port, "{}", f"/v1/{signal}", headers)
    assert status == 404 and "only logs" in tells.words(body)[1]


@pytest.mark.parametrize("path", [
    "/status", "/metrics", "/log/../status", "/log/%2e%2e/status", "//status",
    "/es/../metrics", "/v1/../status", "/_/../status", "/logs", "/nowhere",
    "/services/collectors", "/v1/other", "/loki/api/v1/query", "/problem.json",
    "/a/b/_bulk", "/readyz", "/services/collector/../../status"])
def test_no_doors(broker, edge, path):
    for method in ("GET", "POST"):
        status, headers, body = ask(edge.port, method, path)
        assert status == 404 and headers["Content-Type"] == "application/json"
        assert "nothing is here" in json.loads(body)["error"]


def test_ids_are_not_logged_with_tokens(edge):
    post(edge.port, "{}", "/log?token=secret")
    assert "secret" not in (edge.dir / "access.log").read_text()


# refused


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """No broker can be reached."""
    e = Edge(tmp_path_factory.mktemp("alone") / "edge",
             [free_port(), free_port()],
             replace=[("client_max_body_size 64m", "client_max_body_size 2k")])
    yield e
    e.stop()


@pytest.mark.parametrize("name", DOORS)
def test_no_broker(alone, name):
    door = DOORS[name]
    told(door, send(alone.port, door), 503, door.codes[2],
         "nothing was stored, send the request again")
    told(door, send(alone.port, door, **{"Idempotency-Key": "k"}), 503,
         door.codes[2], "nothing was stored, send the request again")


@pytest.mark.parametrize("name", DOORS)
def test_too_large(alone, name):
    door = DOORS[name]
    told(door, send(alone.port, door._replace(body=b" " * 4000)), 413,
         door.codes[0], "nothing was stored")


@pytest.mark.parametrize("name", DOORS)
def test_no_answer(tmp_path, make_edge, name):
    """It may be stored: 502, and nobody else gets it."""
    scripts = [Script(None), Script(None)]
    edge = make_edge([s.port for s in scripts])
    door = DOORS[name]
    for n in range(1, 3):
        told(door, send(edge.port, door), 502, door.codes[1],
             "may be stored or not")
        assert sum(s.requests for s in scripts) == n


@pytest.mark.parametrize("name", DOORS)
def test_limits(tmp_path, make_edge, name):
    """Too many: never 429, which some clients take for a reason to drop."""
    script = Script(FULL)
    edge = make_edge([script.port], replace=[
        ("rate=20000r/s", "rate=1r/m"), ("burst=40000 nodelay", "")])
    door = DOORS[name]
    assert send(edge.port, door)[2] == b"full"
    told(door, send(edge.port, door), 503, door.codes[2], "too many requests")


@pytest.mark.parametrize("name", DOORS)
@pytest.mark.parametrize("rule, status, words", [
    ("deny all;", 403, "you may not"),
    ('if ($http_authorization = "") { return 401; }', 401, "who you are"),
])
def test_rules_hold_at_each_door(make_edge, name, rule, status, words):
    script = Script(FULL)
    edge = make_edge([script.port], replace=[
        ("limit_conn connections 4096;", rule)])
    door = DOORS[name]
    for key in ({}, {"Idempotency-Key": "k"}):
        got, headers, body = send(edge.port, door, **key)
        assert got == status and headers["Content-Type"] == door.tells.type
        assert words in door.tells.words(body)[1]
    assert script.requests == 0


@pytest.mark.parametrize("name", ["log", "otlp", "bulk", "splunk", "loki"])
def test_error_inside_the_edge(make_edge, name):
    """No room for a temporary file, say: clients of OpenTelemetry drop what is
    answered 500, and nothing was stored."""
    script = Script(FULL)
    edge = make_edge([script.port])
    shutil.rmtree(edge.dir / "body")
    door = DOORS[name]
    told(door, send(edge.port, door._replace(body=b" " * 600000)), 503,
         door.codes[2], "nothing was stored")
    assert script.requests == 0


def test_lengths_of_words():
    """The bytes in front of the words of a google.rpc.Status say how long they
    are, for all of them."""
    text = (ROOT / "conf/nginx/problems.conf").read_text()

    def rows(name):
        block = text.split(f"${name} {{\n")[1].split("\n}")[0]
        return dict(re.match(r'\s+"?(.*?)"? "(.*)";', line).groups()
                    for line in block.split("\n"))

    words, heads = rows("problem"), rows("problem_head")
    assert list(words) == list(heads)
    for key, head in heads.items():
        code, said = OTLP_PROTO.words((head + words[key]).encode())
        assert said == words[key] and not set('"\\{}') & set(said)
        assert code == 14 if "50" in key and "501" not in key \
            and "505" not in key else code in (3, 7, 12, 16)


def test_large_body(broker, edge):
    """60 MiB by OpenTelemetry, which allows 64: through files, and stored."""
    size = 1 << 20
    text = b"x" * (size - 64)

    def field(number, value):
        n, out = len(value), b""
        while n > 127:
            out += bytes([n & 127 | 128])
            n >>= 7
        return bytes([number << 3 | 2]) + out + bytes([n]) + value

    record = field(2, field(5, field(1, text)))
    body = field(1, field(2, record * 60))
    assert len(body) > 59 * size
    before = stored(broker)
    status, _, answer = post(edge.port, body, "/v1/logs", PROTO)
    assert (status, answer) == (200, b"")
    assert stored(broker) - before == 60
