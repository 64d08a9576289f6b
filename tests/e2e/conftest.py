"""What more than one file of tests starts from."""

import shutil

import pytest

pytest.register_assert_rewrite("env")

from env.broker import Broker
from env.build import library
from env.clickhouse import ClickHouse
from env.edge import Edge, make_certificate
from env.faults import Faults
from env.http import post
from env.nginx import Nginx
from env.process import wait_for


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    report = (yield).get_result()
    item.failed = getattr(item, "failed", False) or report.failed


@pytest.fixture(autouse=True)
def tidy(request):
    """Rings are large: only what failed is kept."""
    path = None
    if "tmp_path" in request.fixturenames:
        path = request.getfixturevalue("tmp_path")
    yield
    if path is not None and not getattr(request.node, "failed", False):
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def nginx(tmp_path):
    with Nginx(tmp_path) as n:
        yield n


@pytest.fixture(scope="session")
def faults_so(tmp_path_factory):
    return library("tests/env/faults.c", tmp_path_factory.mktemp("faults"))


@pytest.fixture
def faults(faults_so, tmp_path):
    return Faults(faults_so, tmp_path / "faults")


@pytest.fixture
def clickhouse(tmp_path):
    with ClickHouse(tmp_path / "clickhouse") as ch:
        yield ch


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A ClickHouse for all tests of a file."""
    with ClickHouse(tmp_path_factory.mktemp("clickhouse")) as ch:
        yield ch


@pytest.fixture
def make_broker(tmp_path):
    """Makes a broker that delivers to these URLs; it is not started."""
    brokers = []

    def make(*urls, **kw):
        kw = {"name": f"broker-{len(brokers)}", "workers": 1, "rings": 2, **kw}
        b = Broker(tmp_path / f"broker-{len(brokers)}", urls, **kw)
        brokers.append(b)
        return b

    yield make
    for b in brokers:
        b.stop()
    reports = [r for b in brokers for r in b.sanitizer_reports()]
    assert not reports, reports[0]


@pytest.fixture
def brokers(tmp_path):
    made = [Broker(tmp_path / f"b{i}", ["http://127.0.0.1:9"],
                   name=f"b{i}", extra_server="""
            location = /firehose { logbroker_firehose; }""")
            for i in range(2)]
    for b in made:
        b.start_nginx()
    for b in made:
        # a worker that has just started reads its keys back first
        wait_for(lambda: post(b.port, "{}", headers={
            "Idempotency-Key": "first"})[0] == 204, what="keys")
    yield made
    for b in made:
        b.stop()


@pytest.fixture
def make_edge(tmp_path):
    edges = []

    def make(ports, **kw):
        edges.append(Edge(tmp_path / f"edge{len(edges)}", ports, **kw))
        return edges[-1]

    yield make
    for e in edges:
        e.stop()


@pytest.fixture
def certificate(tmp_path):
    return make_certificate(tmp_path)


def pytest_make_parametrize_id(config, val, argname):
    """A long body, or bytes that are no text, have no place in a test's name:
    compressed ones are not the same in each process, either."""
    if isinstance(val, (bytes, str)) and (len(val) > 80 or not val.isascii()):
        return argname
    return None
