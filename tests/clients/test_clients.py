"""docs/senders.md: each block of the page is run here with the real client,
against a real broker and ClickHouse, while one of them is killed.  What the
client believes delivered is in the table, once, as it was sent."""

import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import time

import pytest

from deaf import Deaf
from env.build import ROOT
from env.process import Process, wait_for

HERE = pathlib.Path(__file__).resolve().parent
INSTALLED = ROOT / "build/clients"
PAGE = (ROOT / "docs/senders.md").read_text()
COUNT = 1000
TRACE, SPAN = "5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174"


def change(text, *pairs):
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return text


def python(block, directory, *pairs, before="from watch import *\n"):
    (directory / "use.py").write_text(before + change(block, *pairs))
    return [INSTALLED / "venv/bin/python", "use.py"]


def node(block, directory, *pairs):
    """Beside node_modules, where Node.js looks for them."""
    (directory / "use.mjs").write_text(
        "import { keep, numbers } from './watch.mjs';\n" +
        change(block, *pairs))
    (directory / "node_modules").symlink_to(INSTALLED / "npm/node_modules")
    (directory / "package.json").write_text('{"type": "module"}')
    return ["node", "use.mjs"]


def otel_python(block, directory):
    return python(block, directory, (
        'log.error("order %d failed", 17)\n',
        "with span():\n    for n in numbers():\n"
        '        log.error("order %d failed", n)\n'),
        before="from watch import *\nfrom watch_otel import *\n")


def otel_js(block, directory, *pairs):
    return node(block, directory, *pairs, (
        "log.emit({ severityNumber: SeverityNumber.ERROR, "
        "body: `order ${17} failed` });\n",
        """
watch(exporter);
for await (const n of numbers()) {
    log.emit({ severityNumber: SeverityNumber.ERROR, body: `order ${n} failed`, context });
}
"""), ("import { hostname }",
       "import { context, watch } from './watch_otel.mjs';\nimport { hostname }"))


def otel_js_proto(block, directory):
    return otel_js(block, directory, ("exporter-logs-otlp-http",
                                      "exporter-logs-otlp-proto"))


def elastic_python(block, directory):
    return python(
        block, directory, ("[17]", "numbers()"),
        ("    assert ok, item\n", "    if ok:\n"
         '        keep(f"order {done}")\n    done += 1\n'),
        ("def document", "done = 0\n\n\ndef document"))


def elastic_python_bulk(block, directory):
    """helpers.bulk, once for every ten, so that it is at work for a while; it
    tells how many it sent, and raises unless it is all."""
    return python(
        block[:block.index("for ok,")] + """
for n in range(0, COUNT, 10):
    for _, i in zip(range(10), numbers()):
        pass
    try:
        sent, _ = helpers.bulk(client, map(document, range(n, n + 10)))
    except Exception as e:
        print(repr(e)[:200])
        continue
    assert sent == 10
    for i in range(n, n + 10):
        keep(f"order {i}")
""", directory)


def elastic_js(block, directory, *pairs):
    return node(block, directory, ("[17]", "numbers()"), (
        "    onDrop:", "    flushBytes: 5000,\n"
        "    onSuccess: ({ document }) => keep(document.message),\n"
        "    onDrop:"), *pairs)


def elastic_js_9(block, directory):
    return elastic_js(block, directory,
                      ("from '@elastic/elasticsearch'",
                       "from 'elasticsearch-9'"))


def pino(block, directory):
    """It tells only how many were stored, in the end."""
    return node(
        block, directory,
        ("log.error(`order ${17} failed`);\n",
         "for await (const n of numbers()) log.error(`order ${n} failed`);\n"),
        ("stream.end();", """
stream.on('insert', (stats) => {
    console.log(JSON.stringify(stats));
    if (stats.successful === Number(process.env.COUNT)) {
        for (let n = 0; n < stats.successful; n++) keep(`order ${n}`);
    }
});
stream.on('insertError', console.log);
stream.on('error', console.log);
stream.end();"""))


def go(name, block, directory, port, *pairs):
    """Built once, for all ports."""
    made = INSTALLED / "go" / name
    made.mkdir(exist_ok=True)
    shutil.copy(HERE / "go/watch.go", made)
    (made / "main.go").write_text(change(
        block, (f'"http://127.0.0.1:{port}', 'os.Getenv("URL") + "'),
        ("\torder(17)\n",
         "\tdefer tell()\n\tfor n := range numbers() {\n\t\torder(n)\n\t}\n"),
        *pairs))
    subprocess.run(["go", "build", "-o", f"{name}.bin", f"./{name}"],
                   cwd=INSTALLED / "go", check=True, timeout=600)
    return ["env", f"URL=http://127.0.0.1:{port}",
            INSTALLED / f"go/{name}.bin"]


def otel_go(block, directory):
    made = INSTALLED / "go/otel"
    made.mkdir(exist_ok=True)
    shutil.copy(HERE / "go/otel.go", made)
    return go("otel", block, directory, port_of(block),
              ("NewBatchProcessor(exporter)",
               "NewBatchProcessor(watched{exporter})"),
              ("ctx := context.Background()",
               "ctx := span(context.Background())"))


def elastic_go(block, directory):
    return go("elastic", block, directory, port_of(block),
              ('Index: "shop"', 'Index: "shop", FlushBytes: 5000'),
              ("\t\t\tOnFailure:", """
OnSuccess: func(_ context.Context, item esutil.BulkIndexerItem,
    _ esutil.BulkIndexerResponseItem) { keep(fmt.Sprintf("order %d", n), nil) },
OnFailure:"""))


def port_of(block):
    return re.search(r"127\.0\.0\.1:(\d+)", block)[1]


# name: (heading, language, how its block becomes a program)
CLIENTS = {
    "otel-python": ("OpenTelemetry for Python", "python", otel_python),
    "otel-js-json": ("OpenTelemetry for JavaScript", "js", otel_js),
    "otel-js-proto": ("OpenTelemetry for JavaScript", "js", otel_js_proto),
    "elasticsearch-py": ("Elasticsearch for Python", "python", elastic_python),
    "elasticsearch-py-bulk": ("Elasticsearch for Python", "python",
                              elastic_python_bulk),
    "elasticsearch-js": ("Elasticsearch for JavaScript", "js", elastic_js),
    "elasticsearch-js-9": ("Elasticsearch for JavaScript", "js", elastic_js_9),
    "otel-go": ("OpenTelemetry for Go", "go", otel_go),
    "elasticsearch-go": ("Elasticsearch for Go", "go", elastic_go),
    "pino-elasticsearch": ("pino-elasticsearch", "js", pino),
}


class Client:
    """A block of the page as a program of its own."""

    def __init__(self, name, port, directory, count=COUNT):
        heading, language, make = CLIENTS[name]
        where = {"python": INSTALLED / "venv/bin/python",
                 "js": INSTALLED / "npm/node_modules/.package-lock.json",
                 "go": INSTALLED / "go/go.sum",
                 }[language]
        if not where.exists():
            pytest.skip(f"{name} is not installed")
        directory.mkdir()
        for path in HERE.glob("watch*"):
            shutil.copy(path, directory)
        section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE,
                            re.S | re.M)[1]
        block = re.search(rf"```{language}\n(.*?)```", section, re.S)[1]
        argv = make(change(block, ("edge:8080", f"127.0.0.1:{port}")),
                    directory)
        self.told = directory / "delivered.json"
        self.log = directory / "client.log"
        self.begun = time.time_ns()
        self.process = Process(name, argv, self.log, cwd=directory, env={
            **os.environ, "COUNT": str(count), "DELIVERED": str(self.told)})

    def running(self):
        return self.process.running()

    def end(self, timeout=100):
        """{order: its time or None}: what the client believes delivered."""
        wait_for(lambda: not self.running(), timeout, "the client", every=0.05)
        self.ended = time.time_ns()
        assert self.told.exists(), self.log.read_text()[-4000:]
        return {int(n): ns and int(ns)
                for n, ns in json.loads(self.told.read_text()).items()}


def rows(clickhouse):
    text = clickhouse.query("""
        SELECT message, toUnixTimestamp64Nano(timestamp) AS ns, level, service,
               host, stream, trace_id, attributes
        FROM logbroker.logs FORMAT JSONEachRow""")
    return [json.loads(line) for line in text.splitlines()]


def check(name, client, delivered, found):
    """Returns how many rows are there more than once."""
    times = {}
    for row in found:
        n = int(re.fullmatch(r"order (\d+) failed", row["message"])[1])
        times[n] = times.get(n, 0) + 1
        ns = int(row["ns"])
        if delivered.get(n) is not None:
            assert ns == delivered[n]
        assert client.begun - 10**6 <= ns <= client.ended
        assert (row["level"], row["service"], row["stream"]) == (
            "error", "checkout", "shop")
        assert row["host"] == ("till-3" if name.startswith("pino")
                               else socket.gethostname())
        if name.startswith("otel"):
            assert row["trace_id"] == TRACE
            assert json.loads(row["attributes"])["span_id"] == SPAN
    assert not set(delivered) - set(times), "lost"
    return sum(times.values()) - len(times)


@pytest.mark.parametrize("name", CLIENTS)
def test_nothing_happens(name, broker, clickhouse, tmp_path):
    client = Client(name, broker.port, tmp_path / "client", 100)
    delivered = client.end()
    wait_for(broker.drained, 60, "delivery", every=0.1)
    assert len(delivered) == 100, client.log.read_text()
    assert check(name, client, delivered, rows(clickhouse)) == 0


@pytest.mark.parametrize("name", CLIENTS)
def test_clickhouse_is_killed(name, broker, clickhouse, tmp_path):
    client = Client(name, broker.port, tmp_path / "client")
    wait_for(lambda: broker.backlog() or rows(clickhouse)
             or not client.running(), what="the first events")
    clickhouse.kill()
    time.sleep(1)
    clickhouse.start()
    delivered = client.end()
    wait_for(broker.drained, 60, "delivery", every=0.1)
    assert len(delivered) == COUNT, client.log.read_text()
    assert check(name, client, delivered, rows(clickhouse)) == 0


@pytest.mark.parametrize("name", CLIENTS)
def test_worker_is_killed(name, broker, clickhouse, tmp_path):
    """Where the worker dies between storing and answering, the client sends
    the same again, and it is there twice: no more than that."""
    client = Client(name, broker.port, tmp_path / "client")
    kills = 0
    while client.running():
        broker.kill_worker()
        kills += 1
        time.sleep(0.3)
    delivered = client.end()
    wait_for(broker.drained, 60, "delivery", every=0.1)
    more = check(name, client, delivered, rows(clickhouse))
    print(f"{name}: {kills} kills, {len(delivered)} delivered, "
          f"{more} more than once")
    assert delivered and kills


@pytest.mark.parametrize("name", CLIENTS)
def test_answer_is_lost(name, broker, clickhouse, tmp_path):
    """Nearly every client sends again what had no answer, the same bytes and
    no key: it is there twice.  OpenTelemetry for Go gives it up."""
    with Deaf(broker.port) as deaf:
        client = Client(name, deaf.port, tmp_path / "client", 10)
        delivered = client.end()
    wait_for(broker.drained, 60, "delivery", every=0.1)
    more = check(name, client, delivered, rows(clickhouse))
    assert {status for status, _ in deaf.bodies} == {200}
    if name == "otel-go":
        assert not delivered and len(deaf.bodies) == 1 and not more
        return
    assert len(delivered) == 10 and more
    assert deaf.bodies[1:].count(deaf.bodies[0]) == 1


def test_versions():
    """The page's table has those that are installed."""
    pinned = dict(re.findall(r"^([\w-]+)==(\S+)$",
                             (HERE / "requirements.txt").read_text(), re.M))
    pinned.update(json.loads(
        (HERE / "package.json").read_text())["dependencies"])
    pinned.update(re.findall(r"^\t(\S+) v(\S+)$",
                             (HERE / "go/go.mod").read_text(), re.M))
    table = dict(re.findall(r"`([^`]+)` (\d[\d.]+)", PAGE))
    assert table
    for name, version in table.items():
        assert pinned[name].rpartition("@")[2] == version, name
