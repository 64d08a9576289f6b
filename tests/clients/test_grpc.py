"""docs/senders.md, "OpenTelemetry over gRPC": the blocks of the other sections
with what is to be changed in them, through the edge as it is shipped."""

import re
import time

import grpc
import pytest

from env.broker import FAST, Broker
from env.edge import Edge
from env.grpc import SERVER
from env.process import free_port, wait_for
from grpc_wire import GrpcWire
from senders import JAVA_SPAN, OTLP, Row, collector, go, java, node, python, \
    section, to_file
from test_clients import Client, check, rows
from wire import LOST

HEADING = "OpenTelemetry over gRPC"
CODES = [grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED,
         grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE, LOST]


def table(title):
    """{first cell: [the others]} of that table, rows of one in one."""
    text = section(HEADING)
    lines = [[cell.strip() for cell in line.strip("|\n").split("|")]
             for line in re.findall(r"^\|.*\n", text[text.index(
                 f"| {title} |"):].split("\n\n")[0] + "\n", re.M)]
    found, last = {}, None
    for name, *cells in lines[2:]:
        last = name or last
        found.setdefault(last, []).append(cells)
    return found


def changed(make, language):
    """The block with what the page says is to be changed."""
    def changes(use):
        for old, new in table("in the block for")[language]:
            kind, = (k for k, _ in use.found if k in (
                "python", "js", "go", "java", "yaml"))
            text, = (t for k, t in use.found if k == kind)
            old, new = (cell.strip("`").replace("`<br>`", "\n    ")
                        for cell in (old, new))
            assert old in text, old
            # Use() puts the port in the place of the other one
            text = text.replace(old, new.replace("4317", "8080"))
            use.found = [(k, text if k == kind else t) for k, t in use.found]
        return make(use)
    return changes


def otel_python(use):
    return python(use, before="from watch_otel import *\n",
                  loop="with span():\n  for n in numbers():\n    ")


def otel_js(use):
    return node(
        use, ("body: `order ${17} failed`",
              "body: `order ${17} failed`, context"),
        ("const provider", "watch(exporter);\nconst provider"),
        before="import { context, watch } from './watch_otel.mjs';\n")


def otel_go(use):
    return go(use, ("NewBatchProcessor(exporter)",
                    "NewBatchProcessor(watched{exporter})"),
              ("ctx := context.Background()",
               "ctx := span(context.Background())"),
              name="otelgrpc", watch=["otel.go"])


def otel_java(use):
    return java(use, loop=JAVA_SPAN)


SENDERS = {
    "Python": Row("OpenTelemetry for Python", "venv", otel_python, **OTLP),
    "JavaScript": Row("OpenTelemetry for JavaScript", "npm", otel_js, **OTLP),
    "Go": Row("OpenTelemetry for Go", "go", otel_go, **OTLP),
    "Java": Row("OpenTelemetry for Java", "java", otel_java, **OTLP),
    "Collector": Row("OpenTelemetry Collector", "collector", collector,
                     to_file, host="till-3", **OTLP),
}
for _name, _row in SENDERS.items():
    _row.make = changed(_row.make, _name)
    _row.wire = GrpcWire


def senders(*quick):
    return pytest.mark.parametrize("name", [
        pytest.param(name, marks=[pytest.mark.quick] if name in quick else [])
        for name in SENDERS])


@pytest.fixture
def service(clickhouse, tmp_path):
    """A broker behind the edge; grpc is the edge's port."""
    port = free_port()
    broker = Broker(tmp_path / "broker", [clickhouse.url], workers=1, rings=8,
                    flusher=FAST, extra_http=SERVER.format(port=port, more=""))
    broker.start()
    edge = Edge(tmp_path / "edge", [broker.port], grpc=[port])
    broker.grpc = edge.grpc
    yield broker
    edge.stop()
    broker.stop()
    assert not broker.sanitizer_reports()


@senders("Python", "JavaScript")
def test_undisturbed(name, service, clickhouse, tmp_path):
    client = Client(SENDERS[name], service.grpc, tmp_path / "client", 100)
    delivered = client.end()
    wait_for(service.drained, 60, "delivery", every=0.1)
    assert len(delivered) == 100, client.said()
    assert check(client, delivered, rows(clickhouse)) == 0


@senders("Python")
def test_killed(name, service, clickhouse, tmp_path):
    """ClickHouse; the worker, again and again, and once all of the broker.  The
    edge is told nothing then, and the client that it may be stored or not: it
    sends the same bytes again, and they are there once."""
    client = Client(SENDERS[name], service.grpc, tmp_path / "client", 1000)
    wait_for(lambda: client.wire.requests or not client.running(),
             what="the first events")
    clickhouse.kill()
    kills = 0
    while client.running():
        kills += 1
        if kills == 4:
            clickhouse.start()
        if kills == 6:
            service.kill_nginx()
            service.start_nginx()
        service.kill_worker()
        time.sleep(0.3)
    if kills < 4:
        clickhouse.start()
    delivered = client.end()
    wait_for(service.drained, 60, "delivery", every=0.1)
    more = check(client, delivered, rows(clickhouse))
    print(f"{name}: {kills} kills, {len(delivered)} delivered, {more} twice")
    assert delivered and kills and not more


@senders("JavaScript")
def test_answers(name, service, clickhouse, tmp_path):
    """What it does after each code, and after none, as the page says."""
    clients = {fault: Client(SENDERS[name], service.grpc, tmp_path / str(i), 10,
                             100 * i, [fault])
               for i, fault in enumerate(CODES)}
    delivered = {fault: c.end() for fault, c in clients.items()}
    wait_for(service.drained, 60, "delivery", every=0.1)
    found = rows(clickhouse)
    begun = min(c.begun for c in clients.values())
    again = []
    for i, (fault, client) in enumerate(clients.items()):
        client.begun = begun
        assert check(client, delivered[fault], [
            r for r in found if int(r["message"].split()[1]) // 100 == i]) == 0
        came, same = client.wire.again()
        if came:
            again.append(fault if fault == LOST else fault.name)
            assert same, "other bytes"
            assert len(delivered[fault]) == 10, client.said()
    print(f"{name}: again after {again}")
    line, = table("sender")[name]
    assert line[-1] == (", ".join(f"`{code}`" for code in again
                                  if code != LOST) or "none")
    assert (LOST in again) == bool(again)
