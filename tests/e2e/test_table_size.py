"""How many bytes a row takes on the disk (tests/bench/table.sh at length)."""

import sys

import pytest

from env.build import ROOT
from env.clickhouse import ClickHouse

sys.path.append(str(ROOT / "tests/bench"))
import table


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    with ClickHouse(tmp_path_factory.mktemp("size")) as server:
        yield server, table.logs.pieces(server)


@pytest.mark.parametrize("kind, most, times", [("web", 35, 8), ("mix", 45, 6)])
def test_bytes_a_row(filled, kind, most, times):
    server, lines = filled
    rows = 200_000
    bodies, raw = table.batches(server, lines, kind, rows, 1)
    _, _, each, _, bytes_ = table.measure(server, table.statement(), bodies,
                                          rows)
    assert bytes_ / rows <= most, each
    assert raw / (bytes_ / rows) >= times, each
    # what says where a row came from, next to nothing
    for column, limit in (("timestamp", 1.6), ("received_at", 1),
                          ("ring", 0.5), ("broker", 0.1), ("stream", 0.1)):
        assert each[column] / rows <= limit, (column, each[column] / rows)
