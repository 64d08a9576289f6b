"""docs/queries.md: every statement runs, the questions find what they should
and use the indexes the page names; changes of the schema do not disturb
delivery."""

import pytest

from env.broker import Broker, figures
from env.build import ROOT
from env.clickhouse import ClickHouse
from env.http import post
from env.process import wait_for

import queries


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    with ClickHouse(tmp_path_factory.mktemp("queries")) as server:
        queries.fill(server, 200_000)
        yield server


def question(word):
    return next(sql for words, sql in queries.statements()
                if words.startswith(word))


@pytest.mark.parametrize("word, index, share", [
    ("Recent errors", "primary key", 0.3),
    ("Full text", "words", 0.9),
    ("One request", "trace_ids", 0.33),  # a granule for each of eight rows
    ("Counts", "primary key or statistics", 1),
    ("Top talkers", "primary key", 1),
])
def test_questions(filled, word, index, share):
    answer, _, read, used = queries.measure(filled, question(word), rounds=1)
    assert answer
    assert set(index.split(" or ")) & set(used)
    assert read <= share * 200_000


def test_answers(filled):
    rows = filled.query(question("One request") + " FORMAT TSV").splitlines()
    assert len(rows) == 8
    words = filled.query(question("Full text") + " FORMAT TSV")
    assert words and "chargeback" in words
    parts = filled.query(question("Any part") + " FORMAT TSV")
    assert parts == words


def documented():
    """Every SQL statement of every page, those of one page in order."""
    pages = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md"])
    return [(page.name, sql) for page in pages
            for _, sql in queries.statements(page)]


def test_every_statement_as_the_shipped_user(tmp_path):
    """None of what the docs say stops delivery with the rights of
    conf/clickhouse/users.xml: an event comes through after each."""
    with ClickHouse(tmp_path / "clickhouse") as server:
        broker = Broker(tmp_path / "broker", [server.url], user="logbroker",
                        password=server.password).start()
        try:
            done = set()
            for n, (page, sql) in enumerate(documented()):
                server.query(sql)
                assert post(broker.port, '{"status":%d,"uri":"/x"}' % n,
                            path="/log/access")[0] == 204
                wait_for(broker.drained, 15, f"delivery after {page}: {sql}",
                         every=0.1)
                done.add(page)
            assert {"queries.md", "README.md"} <= done
            assert server.query("SELECT count(), uniqExact(ring, seq) FROM "
                                "logbroker.logs FORMAT TSV"
                                ) == f"{n + 1}\t{n + 1}\n"
            # into both tables from when the view was there
            assert int(server.query(
                "SELECT count() FROM logbroker.access")) > 3
            f = figures(broker)
            assert f["refused"] == f["dead_events"] == 0, f["last_error"]
            wait_for(lambda: figures(broker)["exactly_once"]["verdict"]
                     == "yes", what="the verdict")
        finally:
            broker.stop()


def test_changes_under_delivery(tmp_path):
    """Each statement of the page, in order, while a broker delivers; then an
    event arrives in the new column and in the table of its stream, once."""
    with ClickHouse(tmp_path / "clickhouse") as server:
        broker = Broker(tmp_path / "broker", [server.url]).start()

        def event(stream, n):
            assert post(broker.port, '{"service":"checkout","status":%d,'
                        '"uri":"/x","duration":0.5}' % n,
                        path=f"/log/{stream}")[0] == 204

        event("access", 1)
        event("default", 2)
        wait_for(broker.drained, 60, "delivery", every=0.1)
        done = 0
        for _, sql in queries.statements():
            server.query(sql)
            done += 1
        assert done >= 12
        event("access", 200)
        event("default", 404)
        wait_for(lambda: server.query(
            "SELECT count() FROM logbroker.logs") == "4\n", 60, "delivery")
        wait_for(broker.drained, 60, "acks", every=0.1)
        assert server.query("SELECT status FROM logbroker.logs ORDER BY "
                            "status") == "1\n2\n200\n404\n"
        assert server.query("SELECT status, uri, duration FROM "
                            "logbroker.access FORMAT TSV"
                            ) == "200\t/x\t0.5\n"
        # the view's reads are counted with the table's: after one batch that
        # was asked about the flusher knows, and needs no second request again
        log = (broker.dir / "flusher.log").read_text
        assert "materialized views read" in log(), log()
        wait_for(lambda: figures(broker)["checks"] == 1, what="figures")
        for n in range(3):
            event("access", 300 + n)
            wait_for(lambda: server.query(
                "SELECT count() FROM logbroker.access") == f"{n + 2}\n", 60,
                "delivery")
        wait_for(broker.drained, 60, "acks", every=0.1)
        wait_for(lambda: figures(broker)["delivered_events"] == 7,
                 what="figures")
        assert figures(broker)["checks"] == 1
        # and so it is when the view is gone
        server.query("DROP VIEW logbroker.access_view")
        event("default", 500)
        wait_for(broker.drained, 60, "acks", every=0.1)
        wait_for(lambda: "no materialized view" in log(), what="the words")
        assert server.query("SELECT sum(gaps), sum(duplicates) FROM "
                            "logbroker.logbroker_audit FORMAT TSV"
                            ) == "0\t0\n"
        wait_for(lambda: figures(broker)["exactly_once"]["verdict"] == "yes",
                 what="the verdict")
        broker.stop()
