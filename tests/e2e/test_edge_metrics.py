"""What the edge has answered, by status, on a port of its own."""

import shutil
import signal
import subprocess
import urllib.error

import grpc
import pytest

from env.edge import ShippedBroker
from env.grpc import Client
from env.http import get, metrics, post
from env.process import free_port, wait_for


def answers(edge):
    m = metrics(get(edge.figures, "/metrics")[1])
    return {int(k[-5:-2]): int(v) for k, v in m.items()
            if k.startswith("logbroker_answers_total")}


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    b = ShippedBroker(tmp_path_factory.mktemp("broker"))
    wait_for(lambda: post(b.port, "{}")[0] == 204, what="a ring")
    yield b
    b.stop()


def test_by_status(broker, make_edge):
    edge = make_edge([broker.port], grpc=[broker.grpc])
    # what a rule waits for is there before it happens
    before = answers(edge)
    assert {before[s] for s in (204, 500, 502, 503, 504)} == {0}
    for _ in range(3):
        assert post(edge.port, "{}")[0] == 204
    assert post(edge.port, "{")[0] == 400
    assert post(edge.port, "{}", path="/nowhere")[0] == 404
    got = answers(edge)
    assert (got[204], got[400], got[404]) == (3, 1, 1)
    text = get(edge.figures, "/metrics")[1]
    if shutil.which("promtool"):
        p = subprocess.run(["promtool", "check", "metrics"], input=text,
                           text=True, capture_output=True, check=False)
        assert (p.returncode, p.stdout + p.stderr) == (0, "")
    # a reload goes on counting
    edge.send(signal.SIGHUP)
    wait_for(lambda: post(edge.port, "{}")[0] == 204 and
             answers(edge)[204] > 3, what="the counts after a reload")


def test_nobody_behind_it(make_edge):
    """No broker: 503, of HTTP and of gRPC alike."""
    edge = make_edge([free_port()], grpc=[free_port()])
    assert post(edge.port, "{}")[0] == 503
    assert answers(edge)[503] == 1
    with Client(edge.grpc) as c, pytest.raises(grpc.RpcError):
        c.export(b"")
    wait_for(lambda: answers(edge)[503] == 2, 5, "a call of gRPC")
    # what remains are these questions
    assert answers(edge)[200] >= 2


def test_grpc_of_a_broker(broker, make_edge):
    edge = make_edge([broker.port], grpc=[broker.grpc])
    with Client(edge.grpc) as c:
        c.export(b"")
        with pytest.raises(grpc.RpcError):
            c.export(b"\xff\xff\xff")
    wait_for(lambda: answers(edge).get(400) == 1, 5, answers(edge))
    assert answers(edge)[200] >= 1


def test_not_for_clients(broker, make_edge):
    edge = make_edge([broker.port])
    with pytest.raises(urllib.error.HTTPError) as e:
        get(edge.port, "/metrics")
    assert e.value.code == 404
