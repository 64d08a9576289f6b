"""Older days in a bucket: conf/clickhouse/tiers, against an S3
of this machine."""

import json
import subprocess

import pytest

from env.broker import FAST
from env.build import ROOT
from env.clickhouse import SCRIPTS, ClickHouse
from env.http import post
from env.process import wait_for
from env.s3 import Bucket, with_bucket

CONF = ROOT / "conf/clickhouse/tiers"


@pytest.fixture
def bucket(tmp_path):
    b = Bucket(tmp_path)
    yield b
    b.server.stop()


def rows(server, where="1"):
    return int(server.query(f"SELECT count() FROM logbroker.logs WHERE {where}"))


def apply(server):
    subprocess.run([SCRIPTS / "apply.sh", server.url, CONF], check=True)


def disks(server):
    """Of each day its disks."""
    return dict(line.split("\t") for line in server.query(
        "SELECT partition, arrayStringConcat(groupUniqArray(disk_name), ',') "
        "FROM system.parts WHERE table = 'logs' AND active AND rows > 0 "
        "GROUP BY partition FORMAT TSV").splitlines())


def test_old_days_go_into_the_bucket(tmp_path, bucket, make_broker):
    """While events are delivered: a day of last week moves, today stays; all of
    it is found, none of it twice, and a restart changes nothing."""
    home = tmp_path / "clickhouse"
    server = ClickHouse(home)
    broker = None
    try:
        server.start()
        broker = make_broker(server.url, flusher=FAST).start()
        assert post(broker.port, '{"message": "now 1"}')[0] == 204
        server.query(
            "INSERT INTO logbroker.logs (timestamp, received_at, message, ring,"
            " seq) SELECT now() - INTERVAL 9 DAY AS t, t, 'old ' || number, "
            "'11111111-1111-1111-1111-111111111111', number FROM numbers(1000)")
        wait_for(lambda: rows(server) == 1001, 60, "rows")
        server.stop()
        with_bucket(home, "tiers/tiers.xml", bucket.url + "/backups/tiers/")
        assert post(broker.port, '{"message": "now 2"}')[0] == 204
        server.start()
        for _ in range(2):
            apply(server)
        wait_for(lambda: sorted(disks(server).values()) == ["cold", "default"],
                 60, "the old day in the bucket", every=0.2)
        # in their part, or one that merges made of it
        assert [d for d, disk in disks(server).items() if disk == "default"] == \
            [server.query("SELECT toString(today())").strip()]
        assert post(broker.port, '{"message": "now 3"}')[0] == 204
        wait_for(lambda: rows(server) == 1003, 60, "all rows")
        assert "<Key>tiers/" in bucket.ask("/backups?list-type=2&prefix=tiers/")
        assert rows(server, "message LIKE 'old %'") == 1000
        audit = ("SELECT sum(gaps) + sum(duplicates) FROM "
                 "logbroker.logbroker_audit")
        assert server.query(audit) == "0\n"
        server.stop()
        server.start()
        assert rows(server) == 1003 and server.query(audit) == "0\n"
        wait_for(lambda: json.loads((broker.spool / "flusher.json")
                                    .read_text())["exactly_once"]["verdict"]
                 == "yes", 60, "the verdict")
    finally:
        if broker:
            broker.stop()
        server.stop()


def test_a_bucket_that_is_away(tmp_path, bucket, make_broker):
    """Keeps the server from nothing: it starts, takes events, keeps them."""
    home = tmp_path / "clickhouse"
    with_bucket(home, "tiers/tiers.xml", bucket.url + "/backups/tiers/")
    bucket.server.stop()
    with ClickHouse(home) as server:
        apply(server)
        broker = make_broker(server.url, flusher=FAST).start()
        assert post(broker.port, '{"message": "now"}')[0] == 204
        wait_for(lambda: rows(server) == 1, 60, "the row")
        broker.stop()
