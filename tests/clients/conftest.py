import re

import pytest

pytest.register_assert_rewrite("env")

from env.broker import FAST, Broker
from env.clickhouse import ClickHouse
from senders import PAGE


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    with ClickHouse(tmp_path_factory.mktemp("clickhouse")) as ch:
        yield ch


@pytest.fixture
def clickhouse(server):
    server.query("TRUNCATE TABLE logbroker.logs")
    return server


@pytest.fixture
def broker(clickhouse, tmp_path):
    """With the page's locations; /log is there already."""
    doors = re.search(r"```nginx\n(.*?)```", PAGE, re.S)[1]
    log = re.search(r"^location /log +\{ logbroker; (.*) \}\n", doors, re.M)
    b = Broker(tmp_path / "broker", [clickhouse.url], workers=1, rings=8,
               flusher=FAST, extra_location=log[1],
               extra_server=doors.replace(log[0], ""))
    b.start()
    yield b
    b.stop()
    assert not b.sanitizer_reports()
