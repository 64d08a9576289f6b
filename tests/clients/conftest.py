import re

import pytest

pytest.register_assert_rewrite("env")

from env.broker import FAST, Broker
from env.clickhouse import ClickHouse
from env.edge import Edge
from senders import PAGE


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    with ClickHouse(tmp_path_factory.mktemp("clickhouse")) as ch:
        yield ch


@pytest.fixture
def clickhouse(server):
    server.query("TRUNCATE TABLE logbroker.logs")
    return server


def make(directory, clickhouse, **kw):
    """With the page's locations; /log is there already."""
    doors = re.search(r"```nginx\n(.*?)```", PAGE, re.S)[1]
    log = re.search(r"^location /log +\{ logbroker; (.*) \}\n", doors, re.M)
    return Broker(directory, [clickhouse.url], workers=1, rings=8,
                  flusher=FAST, extra_location=log[1],
                  extra_server=doors.replace(log[0], ""), **kw)


@pytest.fixture
def broker(clickhouse, tmp_path):
    b = make(tmp_path / "broker", clickhouse)
    b.start()
    yield b
    b.stop()
    assert not b.sanitizer_reports()


@pytest.fixture
def edge(clickhouse, tmp_path):
    """The edge as it is shipped, before two brokers."""
    brokers = [make(tmp_path / f"broker-{i}", clickhouse, name=f"broker-{i}",
                    index=i, count=2) for i in range(2)]
    for b in brokers:
        b.start()
    e = Edge(tmp_path / "edge", [b.port for b in brokers])
    e.brokers = brokers
    yield e
    e.stop(check=False)
    for b in brokers:
        b.stop()
        assert not b.sanitizer_reports()
