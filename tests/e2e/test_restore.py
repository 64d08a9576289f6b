"""ClickHouse's disk is lost, and a snapshot of it from before the end of the
load put back: what became of the events it had confirmed since, and in which
order docs/backups.md brings them back."""

import os
import re
import shutil
import signal
import subprocess

import pytest

from env.build import ROOT, find
from env.clickhouse import ClickHouse
from env.oracle import Oracle
from env.process import wait_for

PAGE = ROOT / "docs/backups.md"
pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="no page of backups")


def counts(clickhouse):
    rows = clickhouse.query("SELECT message, count() FROM logbroker.logs "
                            "GROUP BY message FORMAT TSV")
    return {m: int(n) for m, n in
            (line.split("\t") for line in rows.splitlines())}


def snapshot(clickhouse, to):
    """As the cloud takes one: of the disk, at a moment, of a running server."""
    clickhouse.process.send_signal(signal.SIGSTOP)
    try:
        shutil.copytree(clickhouse.dir, to, symlinks=True)
    finally:
        clickhouse.process.send_signal(signal.SIGCONT)


def replay_as_printed(broker, clickhouse):
    """Step 4 of the page, as it stands there."""
    step = re.search(r"^4\. .*?```sh\n(.*?)```", PAGE.read_text(),
                     re.S | re.M).group(1)
    r = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", step], capture_output=True,
        text=True, timeout=60, check=False,
        env={**broker.env, "SPOOL": str(broker.spool), "CLICKHOUSE":
             clickhouse.url,
             "PATH": f"{os.path.dirname(find('logbroker-spool'))}:{broker.env['PATH']}"})
    assert r.returncode == 0, r.stdout + r.stderr


@pytest.mark.parametrize("order", ["flusher stopped", "flusher went on"])
def test_snapshot_of_the_disk(tmp_path, make_broker, order):
    """With the flusher stopped until all is replayed, each acknowledged event
    is there once. A flusher that goes on delivers what is new, behind a gap:
    the printed step then sees nothing missing. The audit names the gap, and
    what is in it can be replayed."""
    with ClickHouse(tmp_path / "clickhouse") as clickhouse:
        broker = make_broker(clickhouse.url, workers=2, rings=8, flusher={
            "backoff": {"min_ms": 1000, "max_ms": 1000},
            "batch": {"max_rows": 300}}).start()
        with Oracle([broker.port], seed=7, pause=0.01) as oracle:
            wait_for(lambda: len(counts(clickhouse)) > 300, what="events")
            snapshot(clickhouse, tmp_path / "snapshot")
            before = len(counts(clickhouse))
            wait_for(lambda: len(counts(clickhouse)) > before + 300,
                     what="events after the snapshot")
            clickhouse.kill()
            had = oracle.count()
            if order == "flusher stopped":
                broker.flusher.stop()
            shutil.rmtree(clickhouse.dir)
            shutil.copytree(tmp_path / "snapshot", clickhouse.dir,
                            symlinks=True)
            wait_for(lambda: oracle.count() > had + 100,
                     what="events meanwhile")
            clickhouse.start()
            restored = len(counts(clickhouse))
            assert restored <= before
            if order != "flusher stopped":
                wait_for(lambda: len(counts(clickhouse)) > restored,
                         what="a delivery")
                broker.flusher.stop()
            replay_as_printed(broker, clickhouse)
            broker.start_flusher()
        assert set(oracle.statuses) == {204}
        wait_for(broker.drained, 90, "everything delivered", every=0.2)

        lost = oracle.acked - counts(clickhouse).keys()
        if order != "flusher stopped":
            assert lost
            gaps = clickhouse.query("""
                SELECT ring, seq + 1, next - 1 FROM (
                    SELECT ring, seq, leadInFrame(seq, 1, seq + 1) OVER (
                        PARTITION BY ring ORDER BY seq
                        ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS next
                    FROM logbroker.logs)
                WHERE next > seq + 1 FORMAT TSV""").splitlines()
            assert gaps and clickhouse.query(
                "SELECT sum(gaps) > 0 FROM logbroker.logbroker_audit") == "1\n"
            slots = {r["ring"]: str(r["slot"])
                     for r in broker.stat()["rings"]}
            for ring, first, last in (line.split("\t") for line in gaps):
                subprocess.run([find("logbroker-spool"), "replay", "--ring",
                                slots[ring], "--seq", f"{first}-{last}",
                                broker.spool], check=True, timeout=60)
            wait_for(broker.drained, 90, "the gap's events", every=0.2)
        found = counts(clickhouse)
        assert oracle.acked <= found.keys()
        assert not {m: n for m, n in found.items() if n != 1}
