"""docs/senders.md: each block of the page is run here with the real client,
against a real broker and ClickHouse, while one of them is killed.  What the
client was told is stored, or says itself that it has delivered, is in the
table, once, as it was sent."""

import json
import os
import re
import shutil
import threading
import time

import pytest

from env.process import Process, wait_for
from senders import HERE, PAGE, SENDERS, SPAN, TRACE, Use
from wire import LOST

QUIET = 20
STATUSES = (400, 413, 429, 500, 502, 503)


class Client:
    """A block of the page as a program of its own; name may be a Row."""

    def __init__(self, name, port, directory, count=None, first=0, faults=()):
        self.row = SENDERS[name] if isinstance(name, str) else name
        self.name = name = self.row.heading
        count = count or self.row.count
        if not self.row.installed():
            pytest.skip(f"{name} is not installed")
        directory.mkdir()
        for path in HERE.glob("watch*"):
            shutil.copy(path, directory)
        self.wire = self.row.wire(port, faults)
        self.use = Use(self.row.heading, self.wire.port, directory)
        argv = self.row.make(self.use)
        self.told = directory / "delivered.json"
        self.log = directory / "client.log"
        self.begun = time.time_ns()
        self.process = Process(name, argv, self.log, cwd=directory, env={
            **os.environ, "COUNT": str(count), "FIRST": str(first),
            "DELIVERED": str(self.told)})
        self.orders = range(first, first + count)
        if self.row.feed:
            self.feeder = threading.Thread(target=self.feed, daemon=True)
            self.feeder.start()

    def feed(self):
        for n in self.orders:
            self.row.feed(self.use, n)
            time.sleep(0.003)

    def running(self):
        """One that is fed, until all is delivered or nothing comes any more."""
        if not self.row.feed or not self.process.running():
            return self.process.running()
        return self.feeder.is_alive() or (
            not self.wire.delivered() >= set(self.orders)
            and self.wire.quiet() < QUIET)

    def said(self):
        return self.log.read_text(errors="replace")[-4000:]

    def end(self, timeout=100):
        """{order: its time or None}: what the client believes delivered."""
        try:
            wait_for(lambda: not self.running(), timeout, self.name, every=0.05)
        finally:
            self.process.stop()
        wait_for(lambda: self.wire.quiet() > 0.3, what="the last requests")
        self.ended = time.time_ns()
        self.wire.__exit__()
        delivered = dict.fromkeys(self.wire.delivered())
        if self.told.exists():
            says = {int(n): ns and int(ns) for n, ns
                    in json.loads(self.told.read_text()).items()}
            assert set(says) <= set(delivered), "it believes what nobody said"
            delivered.update(says)
        return delivered


def rows(clickhouse):
    text = clickhouse.query("""
        SELECT *, toUnixTimestamp64Nano(timestamp) AS ns
        FROM logbroker.logs FORMAT JSONEachRow""")
    return [json.loads(line) for line in text.splitlines()]


def check(client, delivered, found):
    """Returns how many rows are there more than once."""
    sender, times = client.row, {}
    for row in found:
        n = int(re.fullmatch(r"order (\d+) failed", row["message"])[1])
        times[n] = times.get(n, 0) + 1
        ns = int(row["ns"])
        if delivered.get(n) is not None:
            assert ns == delivered[n]
        assert client.begun - sender.behind <= ns <= client.ended
        assert (row["level"], row["service"], row["stream"], row["host"]) == (
            "error", "checkout", sender.stream, sender.host)
        if sender.ids:
            span = row.get("span_id") or json.loads(row["attributes"]).get(
                "span_id")
            assert (row["trace_id"], span) == (TRACE, SPAN)
    assert not set(delivered) - set(times), "lost"
    return sum(times.values()) - len(times)


def senders(*disturbed):
    """All; those of a quick run are marked."""
    return pytest.mark.parametrize("name", [
        pytest.param(name, marks=[pytest.mark.quick] if row.needs in (
            "", "venv", "npm", "debian") and (not disturbed or name in disturbed) else [])
        for name, row in SENDERS.items()])


def drained(edge):
    for broker in edge.brokers:
        wait_for(broker.drained, 60, "delivery", every=0.1)


@senders()
def test_undisturbed(name, edge, clickhouse, tmp_path):
    client = Client(name, edge.port, tmp_path / "client", 100)
    delivered = client.end()
    drained(edge)
    assert len(delivered) == 100, client.said()
    assert check(client, delivered, rows(clickhouse)) == 0


@senders("otel-python", "splunk-logging")
def test_clickhouse_is_killed(name, broker, clickhouse, tmp_path):
    client = Client(name, broker.port, tmp_path / "client")
    wait_for(lambda: client.wire.requests or not client.running(),
             what="the first events")
    clickhouse.kill()
    time.sleep(1)
    clickhouse.start()
    delivered = client.end()
    wait_for(broker.drained, 60, "delivery", every=0.1)
    assert len(delivered) == client.row.count, client.said()
    assert check(client, delivered, rows(clickhouse)) == 0


@senders("otel-js-proto", "elasticsearch-js", "winston-loki")
def test_broker_is_killed(name, edge, clickhouse, tmp_path):
    """One behind the edge after the other, its worker or all of it.  Where it
    dies between storing and answering, the client may send the same again: then
    it may be there twice, unless its door recognises it and it is not
    regrouped."""
    client = Client(name, edge.port, tmp_path / "client")
    kills = 0
    while client.running():
        broker = edge.brokers[kills % 2]
        kills += 1
        if kills % 5 == 0:
            broker.kill_nginx()
            broker.start_nginx()
        broker.kill_worker()
        time.sleep(0.3)
    delivered = client.end()
    drained(edge)
    more = check(client, delivered, rows(clickhouse))
    print(f"{name}: {kills} kills, {len(delivered)} delivered, "
          f"{more} more than once")
    assert delivered and kills
    assert not more or not recognised(client.row) or client.row.regroups


@senders("otel-js-json", "pino-loki")
def test_answers(name, broker, clickhouse, tmp_path):
    """What it does after each answer, and after none, as the page says."""
    clients = {fault: Client(name, broker.port, tmp_path / str(fault), 10,
                             100 * i, [fault])
               for i, fault in enumerate((*STATUSES, LOST))}
    delivered = {fault: c.end() for fault, c in clients.items()}
    wait_for(broker.drained, 60, "delivery", every=0.1)
    found = rows(clickhouse)
    again = []
    for i, (fault, client) in enumerate(clients.items()):
        client.begun = min(c.begun for c in clients.values())
        more = check(client, delivered[fault], [
            r for r in found if int(r["message"].split()[1]) // 100 == i])
        came, same = client.wire.again()
        same = same and not client.row.regroups
        if came:
            again.append(fault)
            assert len(delivered[fault]) == 10, client.said()
        assert not more or (fault == LOST and came
                            and not (same and recognised(client.row)))
    print(f"{name}: again after {again}, the same bytes: {same}")
    statuses = ", ".join(str(s) for s in again if s != LOST) or "none"
    line = table()[client.row.heading]
    assert line["sent again after"] == statuses
    assert line["without an answer"] == (
        "given up" if not came else "the same" if same else "other bytes")


def recognised(row):
    """Are the same bytes the same request?"""
    return table()[row.heading]["door"] in ("OTLP", "Loki")


def table():
    """{heading: {column: cell}}"""
    lines = [[cell.strip() for cell in line.strip("|\n").split("|")]
             for line in re.findall(r"^\|.*\n", PAGE, re.M)]
    return {re.match(r"\[(.*)\]\(#", cells[0])[1]: dict(zip(lines[0], cells))
            for cells in lines[2:] if cells[0].startswith("[")}


@pytest.mark.quick
def test_page():
    """Each section has a line, each line a section, and what is tested."""
    headings = re.findall(r"^## (.*)$", PAGE, re.M)
    assert set(table()) <= set(headings)
    assert {row.heading for row in SENDERS.values()} <= set(table())


@pytest.mark.quick
def test_versions():
    """The page's table has those that are installed."""
    pinned = dict(re.findall(r"^([\w-]+)==(\S+)$",
                             (HERE / "requirements.txt").read_text(), re.M))
    pinned.update(json.loads(
        (HERE / "package.json").read_text())["dependencies"])
    for name in ("filebeat", "collector", "go"):
        pinned.update(re.findall(r"^(?:\t|require )(\S+) v([\d.]+).*$",
                                 (HERE / name / "go.mod").read_text(), re.M))
    pinned.update(re.findall(r"<artifactId>(.*)</artifactId>\s*<version>([\d.]+)",
                             (HERE / "java/pom.xml").read_text()))
    pinned.update(re.findall(r'^(\S+) = "=(\S+)"$',
                             (HERE / "rust/Cargo.toml").read_text(), re.M))
    found = dict(re.findall(r"`([^`]+)` (\d[\d.]+)", PAGE))
    assert found
    for name, version in found.items():
        assert pinned[name].rpartition("@")[2] == version, name
