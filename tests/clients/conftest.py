import pytest

pytest.register_assert_rewrite("env")

from env.broker import FAST, Broker
from env.clickhouse import ClickHouse


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
    b = Broker(tmp_path / "broker", [clickhouse.url], workers=1, rings=8,
               flusher=FAST, extra_server="""
        location = /v1/logs { logbroker_otlp; logbroker_stream shop; }
        location /es/ { logbroker_elasticsearch; }""")
    b.start()
    yield b
    b.stop()
    assert not b.sanitizer_reports()
