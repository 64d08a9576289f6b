"""What the edge and the brokers behind it log: trouble, and not much of it."""

import json
import socket

import pytest

from env.bodies import CHUNKED, http1
from env.edge import Script, ShippedBroker
from env.http import post
from env.process import free_port, wait_for


def floods(edge, refused):
    """Kinds of trouble, each a function that makes one piece of it."""
    def raw(port, data, read=True):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as s:
            s.sendall(data)
            if read:
                s.recv(4096)

    post_ = b"POST /log HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
    large = http1(b"{}" + b" " * 300000)
    return {
        "too many": lambda: raw(refused, http1()),
        "too large": lambda: raw(edge, post_ + b"Content-Length: 99999999\r\n\r\n"),
        "broken chunk": lambda: raw(edge, post_ + CHUNKED + b"zz\r\n"),
        "aborted": lambda: raw(edge, post_ + b"Content-Length: 9\r\n\r\n{", False),
        "no HTTP": lambda: raw(edge, b"\x16\x03\x01\r\n\r\n"),
        "not JSON": lambda: raw(edge, http1(b"{]")),
        "forbidden": lambda: raw(refused, b"GET /denied HTTP/1.1\r\nHost: a\r\n\r\n"),
        "over the buffer": lambda: raw(edge, large),
        "no broker": lambda: raw(refused, http1().replace(b"/log", b"/log/a")),
    }


def flood_edges(make_edge, port):
    """One with a broker, and one with none that refuses as well."""
    return (make_edge([port], access_log="json if=$kept"),
            make_edge([free_port(), free_port()],
                      access_log="json if=$kept",
                      replace=[("rate=20000r/s", "rate=1r/s"),
                               ("burst=40000", "burst=1"),
                               ("location / {", "location /log/a { proxy_pass http://brokers; error_page 502 = @again; } location = /denied { deny all; } location / {")]))


def test_floods_leave_few_lines(tmp_path, make_edge):
    """A client that does nothing right cannot fill a disk, at the edge or
    behind it: less than a tenth of a line for each request."""
    broker = ShippedBroker(tmp_path / "shipped")
    try:
        edge, refused = flood_edges(make_edge, broker.port)
        logs = [p for e in (edge, refused) for p in
                (e.error_log, e.dir / "access.log")] + [broker.error_log]
        for name, one in floods(edge.port, refused.port).items():
            before = sum(p.stat().st_size for p in logs)
            for _ in range(300):
                one()
            grown = sum(p.stat().st_size for p in logs) - before
            if name == "over the buffer":
                # nothing is wrong with these: one line in the access log
                assert sum(x.error_log.stat().st_size
                           for x in (edge, broker)) < 3000
                continue
            assert grown < 300 * 30, (name, grown)
    finally:
        broker.stop()


def test_trouble_is_logged(brokers, make_edge):
    """A broker that breaks off is in the access log, each time, and nothing
    else is."""
    script = Script(None)
    edge = make_edge([script.port, brokers[0].port],
                     access_log="json if=$trouble")
    answers = [post(edge.port, "{}")[0] for _ in range(20)]
    lines = wait_for(lambda: (edge.dir / "access.log").read_text()
                     .splitlines(), what="log")
    assert len(lines) == answers.count(502) > 0
    log = json.loads(lines[0])
    assert log["status"] == 502 and f":{script.port}" in log["broker"]


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
