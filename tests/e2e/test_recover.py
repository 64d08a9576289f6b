"""A checkpoint that is gone is written anew from the rings and ClickHouse:
nothing is lost or delivered twice by that."""

import json
import os
import subprocess

import pytest

from env.broker import AT_ONCE, NOWHERE, fill, reach
from env.build import find
from env.door import Door
from env.http import post
from env.oracle import Oracle
from env.process import wait_for

COPY = 65536


def recover(broker, *args, status=0, config=True):
    if config:
        args = ("--config", str(broker.settings), *args)
    r = subprocess.run([find("logbroker-spool"), "recover", *args,
                        str(broker.spool)], capture_output=True, text=True,
                       timeout=60, env=broker.env)
    assert r.returncode == status, r
    return r.stdout if "--json" in args else r.stdout + r.stderr


def plan(broker, *args, **kw):
    return json.loads(recover(broker, "--json", *args, **kw))


def lose(broker, how):
    path = broker.spool / "checkpoint"
    if how == "missing":
        path.unlink()
    elif how == "short":
        os.truncate(path, 1000)
    else:
        with open(path, "r+b") as f:
            for at in (200, COPY + 200):
                f.seek(at)
                byte = f.read(1)
                f.seek(at)
                f.write(bytes([byte[0] ^ 1]))


@pytest.mark.parametrize("how", [
    pytest.param("damaged", marks=[pytest.mark.slow,
                                   pytest.mark.release_only]),
    "missing", "short"])
def test_recover(clickhouse, make_broker, how):
    """Half is delivered, everything is killed, the checkpoint is gone.  For
    what damage makes of it, until all is delivered: the flusher takes a minute
    for that (see LB_LATE_MS)."""
    broker = make_broker(clickhouse.url, flusher={
        **AT_ONCE, "batch": {"max_rows": 1500}})
    broker.start()
    with Oracle([broker.port], seed=7) as oracle:
        wait_for(lambda: oracle.count() > 600, what="events", every=0.01)
        wait_for(lambda: int(clickhouse.query(
            "SELECT count() FROM logbroker.logs")) > 0, 30, "some of them")
        broker.flusher.kill()
        broker.kill_nginx()
    lose(broker, how)

    # every one says what to do
    broker.start_flusher()
    assert broker.flusher.p.wait(30) == 1
    assert "logbroker-spool recover" in (broker.dir / "flusher.log").read_text()
    broker.start_nginx(ready=False)
    wait_for(lambda: "logbroker-spool recover" in
             (broker.dir / "error.log").read_text(), what="nginx's log")
    assert len(list(broker.spool.glob("ring-*"))) == 2  # rings=2, and no more
    stat = subprocess.run([find("logbroker-spool"), "stat",
                           str(broker.spool)], capture_output=True, text=True)
    assert stat.returncode == 1 and "logbroker-spool recover" in stat.stderr
    assert "backlog" in stat.stdout

    there = int(clickhouse.query("SELECT count() FROM logbroker.logs"))
    before = {p.name: p.stat().st_mtime_ns for p in broker.spool.iterdir()}
    said = recover(broker)
    assert f"{there} events are delivered" in said and "--yes" in said
    assert before == {p.name: p.stat().st_mtime_ns
                      for p in broker.spool.iterdir()}
    p = plan(broker, "--yes")
    assert p["done"] and p["delivered"] == there and p["doubt"] is None
    assert "nothing to recover" in recover(broker, "--yes")
    assert broker.stat()["doubt"]
    # nginx finds out by itself
    wait_for(broker.ready, 30, "a ring")
    if how != "damaged":
        # what was written and not committed is not in there yet
        assert p["to_deliver"] - 100 < broker.backlog() <= p["to_deliver"]
        return
    broker.start_flusher()
    fill(broker, 10, "afterwards")
    wait_for(broker.drained, 150, "delivery", every=0.2)
    oracle.acked.update(f"afterwards {i}" for i in range(10))
    oracle.verify(clickhouse)
    assert broker.status()["flusher"]["unaccounted_events"] == 0


def test_batch_in_doubt(clickhouse, make_broker):
    """The last thing known is that a batch was sent: it is found."""
    door = Door(clickhouse.port)
    broker = make_broker(door.url, flusher=AT_ONCE)
    broker.start()
    fill(broker, 20, "x")
    wait_for(broker.drained, 60, "delivery", every=0.1)
    door.mode = "hang"
    fill(broker, 30, "y")
    wait_for(lambda: int(clickhouse.query(
        "SELECT count() FROM logbroker.logs")) == 50, 30, "the batch")
    broker.flusher.kill()
    lose(broker, "damaged")
    door.mode = "pass"
    p = plan(broker)
    ring = next(r for r in p["rings"] if r["acked_seq"])
    assert (ring["looked_from"], ring["acked_seq"]) == (20, 50)
    assert p["to_deliver"] == 0
    plan(broker, "--yes")
    assert broker.drained()


def stopped(broker, url, n):
    """A broker that delivered n events and has ten more, both stopped."""
    broker.start()
    fill(broker, n, "x")
    wait_for(broker.drained, 60, "delivery", every=0.1)
    broker.flusher.stop()
    fill(broker, 10, "y")
    broker.nginx.stop()


def damage_acks(broker):
    """The rings' own word for what is acked."""
    for ring in broker.spool.glob("ring-????"):
        with open(ring, "r+b") as f:
            for at in (8192 + 8, 8192 + 512 + 8):
                f.seek(at)
                f.write(b"\x07")


def test_holes(clickhouse, make_broker):
    """What is in the middle and is not there is for a person to decide."""
    broker = make_broker(clickhouse.url, flusher=AT_ONCE)
    stopped(broker, clickhouse.url, 40)
    damage_acks(broker)
    lose(broker, "missing")
    clickhouse.query("ALTER TABLE logbroker.logs DELETE WHERE seq IN "
                     "(7, 20, 21, 22) SETTINGS mutations_sync = 1")
    p = plan(broker, status=3)
    ring = next(r for r in p["rings"] if r["rows"])
    assert not ring["hinted"]
    assert (ring["missing"], ring["acked_seq"]) == (4, 40)
    assert ring["holes"] == [[7, 7], [20, 22]]
    said = recover(broker, "--yes", status=3)
    assert "--force" in said and f"--ring {ring['slot']} --seq 20-22" in said
    assert not (broker.spool / "checkpoint").exists()
    recover(broker, "--yes", "--force")
    assert broker.backlog() == 10
    broker.start_nginx()
    wait_for(lambda: broker.status()["total"]["rings"] >= 2, what="a spare")
    for seqs in ("7-7", "20-22"):
        subprocess.run([find("logbroker-spool"), "replay", "--ring",
                        str(ring["slot"]), "--seq", seqs, str(broker.spool)],
                       check=True)
    assert messages(broker) == {*(f"y {i}" for i in range(10)), "x 7",
                                *(f"x {i}" for i in (20, 21, 22))}


def messages(broker):
    """What will be delivered."""
    said = subprocess.run([find("logbroker-spool"), "cat", str(broker.spool)],
                          capture_output=True, text=True, check=True).stdout
    return {json.loads(line)["message"] for line in said.splitlines()}


@pytest.mark.release_only
def test_dead_letters(clickhouse, make_broker):
    """They are not in the table either, and nobody has to decide on them."""
    clickhouse.query("ALTER TABLE logbroker.logs ADD CONSTRAINT taste "
                     "CHECK message != 'bad'")
    broker = make_broker(clickhouse.url, flusher=AT_ONCE)
    broker.start()
    assert post(broker.port, '{"message":"a"}{"message":"bad"}'
                             '{"message":"b"}{"message":"c"}')[0] == 204
    wait_for(broker.drained, 60, "delivery", every=0.1)
    broker.stop()
    damage_acks(broker)
    lose(broker, "missing")
    p = plan(broker, "--yes")
    assert (p["delivered"], p["dead"], p["to_deliver"]) == (3, 1, 0)
    assert broker.drained()


@pytest.mark.release_only
@pytest.mark.parametrize("hinted", [True, False])
def test_removed_by_the_ttl(clickhouse, make_broker, tmp_path,
                            hinted):
    """The oldest day is gone from the table: not delivered again."""
    broker = make_broker(clickhouse.url, flusher=AT_ONCE)
    stopped(broker, clickhouse.url, 40)
    # as if all but the first had been received a day later
    clickhouse.query(
        "INSERT INTO logbroker.logs SELECT * REPLACE(received_at + INTERVAL 1 "
        "DAY AS received_at) FROM logbroker.logs WHERE seq >= 15")
    clickhouse.query("ALTER TABLE logbroker.logs DELETE WHERE received_at < "
                     "now() + INTERVAL 12 HOUR SETTINGS mutations_sync = 1")
    lose(broker, "missing")
    if not hinted:
        damage_acks(broker)
    said = recover(broker)
    # the flusher's user may ask all of it
    (tmp_path / "password").write_text(clickhouse.password)
    ring = next(r for r in plan(
        broker, "--user", "logbroker", "--password-file",
        str(tmp_path / "password"))["rings"] if r["acked_seq"])
    assert ring["hinted"] == hinted
    assert (ring["acked_seq"], ring["missing"]) == (40, 0)
    if hinted:
        assert ring["before"] == 25
        assert "15 of the 40 events it says were acked are not in" in said
    else:
        assert ring["removed"] == 15
        assert "15 events from seq 0 on are older than every row" in said
    recover(broker, "--yes")
    assert messages(broker) == {f"y {i}" for i in range(10)}


@pytest.mark.release_only
def test_another_table(clickhouse, make_broker):
    broker = make_broker(clickhouse.url, flusher=AT_ONCE)
    stopped(broker, clickhouse.url, 20)
    lose(broker, "missing")
    clickhouse.query("RENAME TABLE logbroker.logs TO logbroker.events")
    clickhouse.query("CREATE TABLE logbroker.logs AS logbroker.events")
    said = recover(broker, "--yes", status=3)
    assert "is it the right table?" in said
    assert "did not answer" in recover(broker, "--table", "logbroker.nothing",
                                       status=1)
    url = ("--clickhouse", clickhouse.url)
    assert "is it the right table?" in recover(broker, *url, config=False,
                                               status=3)
    said = recover(broker, *url, "--table", "logbroker.events", config=False)
    assert "20 events are delivered" in said and "10 will be" in said
    assert "20 events are delivered" in recover(
        broker, "--table", "events", "--yes")


def test_refused(clickhouse, make_broker, tmp_path):
    """Not under a flusher, not for another version, not without settings."""
    broker = make_broker(NOWHERE, flusher=AT_ONCE)
    broker.start()
    fill(broker, 10, "x")
    wait_for(lambda: (broker.spool / "flusher.json").exists(), what="start")
    assert "a flusher serves" in recover(broker, "--yes", status=1)
    broker.stop()
    assert "nothing to recover" in recover(broker, "--yes")
    assert "give --config" in recover(broker, config=False, status=2)
    assert "logs.x.y" not in recover(broker, "--table", "a.b.c", status=2)
    path = broker.spool / "checkpoint"
    whole = path.read_bytes()
    # one copy alone is for the flusher to settle, and shown
    assert not broker.stat()["doubt"]
    path.write_bytes(whole[:100] + b"x" + whole[101:])
    assert broker.stat()["doubt"]
    for command in ("stat", "verify"):
        r = subprocess.run([find("logbroker-spool"), command,
                            str(broker.spool)], capture_output=True, text=True)
        assert r.returncode == 0 and "may not be the newest" in r.stdout
    assert "nothing to recover" in recover(broker, "--yes")
    path.write_bytes(whole)
    lose(broker, "damaged")
    assert "ClickHouse did not answer" in recover(broker, "--yes", status=1)
    reach(broker, clickhouse.url)
    for at in (8, COPY + 8):
        path.write_bytes(whole[:at] + b"\2" + whole[at + 1:])
        with open(path, "r+b") as f:
            f.seek(COPY + 8 if at == 8 else 8)
            f.write(b"\2")
        said = recover(broker, "--yes", status=1)
        assert "another format version" in said, said
    subprocess.run(["cp", "-a", str(broker.spool), str(tmp_path / "copy")])
    r = subprocess.run([find("logbroker-spool"), "recover", "--config",
                        str(broker.settings), str(tmp_path / "copy")],
                       capture_output=True, text=True)
    assert r.returncode == 1 and "logbroker-spool move" in r.stderr


def test_restored_ring(clickhouse, make_broker):
    """A ring older than what ClickHouse has would use seqs again."""
    broker = make_broker(clickhouse.url, flusher=AT_ONCE)
    broker.start()
    fill(broker, 20, "x")
    wait_for(broker.drained, 60, "delivery", every=0.1)
    ring = broker.spool / f"ring-{broker.status()['worker']['slot']:04}"
    broker.stop()
    old = ring.read_bytes()
    broker.start()
    fill(broker, 20, "y")
    wait_for(broker.drained, 60, "delivery", every=0.1)
    broker.stop()
    with open(ring, "r+b") as f:
        f.write(old)
    lose(broker, "missing")
    said = recover(broker, "--yes", "--force", status=1)
    assert "the ring never had" in said
