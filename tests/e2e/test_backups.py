"""Backups of ClickHouse into a bucket, and the way back (docs/backups.md): by
conf/clickhouse/backups.xml and tools/clickhouse/backup.sh, against an S3 of
this machine."""

import concurrent.futures
import json
import os
import re
import shutil
import subprocess
import threading
import time

import pytest

from env.broker import FAST
from env.build import ROOT, find
from env.clickhouse import ClickHouse
from env.http import post
from env.process import wait_for
from env.s3 import KEY, Bucket, with_bucket

BACKUP = ROOT / "tools" / "clickhouse" / "backup.sh"


@pytest.fixture
def bucket(tmp_path):
    b = Bucket(tmp_path)
    yield b
    b.server.stop()


def knowing(directory, endpoint):
    """A server that knows where backups go."""
    with_bucket(directory, "backups.xml", endpoint)
    return ClickHouse(directory)


def backup(server, *argv, clock=None, status=0):
    r = subprocess.run(
        [*(["faketime", clock] if clock else []), BACKUP, server.url, *argv],
        capture_output=True, text=True, timeout=120)
    assert r.returncode == status, r.stdout + r.stderr
    return r.stdout + r.stderr


def replay(broker, server):
    """The step of docs/backups.md, as it is printed."""
    step = re.search(r"^4\. .*?```sh\n(.*?)```",
                     (ROOT / "docs" / "backups.md").read_text(), re.M | re.S)
    r = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", step[1]], text=True, timeout=60,
        capture_output=True, env={
            **os.environ, "SPOOL": str(broker.spool), "CLICKHOUSE": server.url,
            "PATH": os.path.dirname(find("logbroker-spool")) + ":"
            + os.environ["PATH"]})
    assert r.returncode == 0 and "event" in r.stdout + r.stderr, r


class Load:
    """Events with a number each, until it is stopped; sent has what was
    acknowledged."""

    def __init__(self, port):
        self.port, self.sent, self.on = port, 0, True
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while self.on:
            body = "".join(json.dumps({"n": self.sent + i}) for i in range(20))
            if post(self.port, body)[0] == 204:
                self.sent += 20

    def stop(self):
        self.on = False
        self.thread.join()
        return self.sent


def test_the_whole_way_back(tmp_path, bucket, make_broker):
    """Backups under load; ClickHouse and its disk are lost; the latest backup
    is restored, and what came after it is replayed from the rings: each event
    that was acknowledged is there once."""
    home = tmp_path / "clickhouse"
    server = knowing(home, bucket.endpoint)
    load = None
    try:
        server.start()
        broker = make_broker(server.url, flusher={
            **FAST, "shutdown_timeout_ms": 0}, size="16m", rings=3).start()
        load = Load(broker.port)

        def stored():
            return int(server.query("SELECT count() FROM logbroker.logs"))

        wait_for(stored, what="rows")
        full = backup(server, "make").strip()
        mark = stored()
        wait_for(lambda: stored() > mark, what="more rows")
        # each has the second in which it was made for a name
        wait_for(lambda: time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
                 not in full, what="the next second")
        latest = backup(server, "make").strip()
        assert backup(server, "list").split() == [full, latest]
        assert latest.split("/")[0] == full.split("/")[0]
        assert "each ring's events are those" in backup(server, "drill")
        had = stored()
        wait_for(lambda: stored() > had, what="rows that no backup has")

        # what is live cannot be restored over
        assert "nothing was restored" in backup(
            server, "restore", "latest", status=1)

        server.kill()
        broker.flusher.stop()
        shutil.rmtree(home / "data")
        server.applied = False
        server.start()
        assert "duplicates" in backup(server, "restore", "latest")
        assert 0 < stored() <= had
        replay(broker, server)
        broker.start_flusher()
        sent = load.stop()
        wait_for(broker.drained, 60, "everything delivered", every=0.1)
        assert server.query(
            "SELECT count(), uniqExact(n), max(n) FROM (SELECT "
            "JSONExtractInt(attributes, 'n') AS n FROM logbroker.logs) "
            "FORMAT TSV") == f"{sent}\t{sent}\t{sent - 1}\n"
        assert server.query("SELECT sum(duplicates) FROM "
                            "logbroker.logbroker_audit") == "0\n"
    finally:
        if load is not None:
            load.stop()
        server.stop()


def rows(server, n, first=0, ring=1):
    server.query(
        "INSERT INTO logbroker.logs (received_at, ring, seq, message) SELECT "
        f"now64(6), toUUID('00000000-0000-0000-0000-00000000000{ring}'), "
        f"number, randomPrintableASCII(200) FROM numbers({first}, {n})")


def test_chains(tmp_path, bucket):
    """A full backup each week, what is new on other days; what is incomplete is
    not listed, an old week may go, and nobody is shown the key."""
    with knowing(tmp_path / "clickhouse", bucket.endpoint) as server:
        assert "backups 0" in backup(server, "metrics")
        assert "there is no backup" in backup(server, "drill", status=1)
        rows(server, 50000)
        days = []
        for day in (1, 2, 7, 8, 9):
            rows(server, 10, 100000 + day * 10)
            days.append(backup(server, "make",
                               clock=f"2026-01-0{day} 02:30:00").strip())
        # the clock goes on from there
        full = [name.split("/")[0] for name in days]
        assert [name[:8] for name in full] == ["20260101"] * 3 + [
            "20260108"] * 2
        assert len(set(full)) == 2
        assert [name.split("/")[1][:11] for name in days] == [
            f"2026010{day}T02" for day in (1, 2, 7, 8, 9)]
        assert days[0] == f"{full[0]}/{full[0]}"
        assert days[3] == f"{full[3]}/{full[3]}"
        assert backup(server, "list").split() == days
        assert re.search(r"newest_timestamp_seconds 17679258\d\d\n"
                         r"(#.*\n)*logbroker_backups 5\n",
                         backup(server, "metrics"))
        sizes = server.query("SELECT uncompressed_size FROM system.backups "
                             "ORDER BY start_time").split()
        assert all(int(sizes[k]) * 2 < int(sizes[0]) for k in (1, 2, 4))

        # the bucket's rule takes the first week, something broke another one
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda key: bucket.ask("/backups/" + key, "DELETE"),
                          bucket.objects(days[0].split("/")[0])))
        bucket.ask(f"/backups/clickhouse/{days[4]}/.backup", "DELETE")
        assert backup(server, "list").split() == days[3:4]
        assert "there is no complete backup" in backup(
            server, "restore", days[4], "again", status=1)
        backup(server, "restore", days[3], "again")
        assert server.query("SELECT count(), uniqExact(seq) FROM again.logs "
                            "FORMAT TSV") == "50040\t50040\n"
        assert server.query("SELECT events FROM again.logbroker_audit") \
            == "50040\n"

        # the drill sees what was lost and what came twice
        assert "those of the live table" in backup(server, "drill")
        rows(server, 5, 100000 + 80)
        assert "those of the live table" in backup(server, "drill")
        server.query("ALTER TABLE logbroker.logs DELETE WHERE seq = 7 "
                     "SETTINGS mutations_sync = 2")
        assert "50040 seqs, 50039 of them live" in backup(
            server, "drill", status=1)
        assert server.query("SHOW DATABASES LIKE 'logbroker_drill'") == ""

        # a bucket that is away is said, and soon
        bucket.server.kill()
        assert "no list of backups" in backup(server, "make", status=1)

        server.query("SYSTEM FLUSH LOGS")
        for table in ("query_log", "backups"):
            assert KEY not in server.query(f"SELECT * FROM system.{table}")
    assert KEY not in (tmp_path / "clickhouse" / "clickhouse.log").read_text()
