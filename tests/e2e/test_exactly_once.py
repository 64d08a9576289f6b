"""P1 and P2 on the whole path: what was acknowledged arrives exactly once,
whatever is killed, reloaded or full."""

import os
import random
import signal
import subprocess
import time

import pytest

from env.build import ROOT
from env.door import Door
from env.http import post
from env.oracle import Oracle
from env.process import wait_for

SEED = int(os.environ.get("LB_SEED", "20261123"))
KILLS = int(os.environ.get("LB_KILLS", "20"))


@pytest.fixture
def make_broker(make_broker, clickhouse):
    def make(urls=None, **kw):
        return make_broker(*(urls or [clickhouse.url]),
                           **{"workers": 2, "rings": 16, **kw})

    return make


def drain(*brokers, timeout=90):
    wait_for(lambda: all(b.drained() for b in brokers), timeout,
             "everything delivered", every=0.2)


@pytest.mark.parametrize("sync", ["always", "off"])
def test_under_load(clickhouse, make_broker, sync):
    """No faults: thousands of events in a second or so, each once, and never
    more than one request to ClickHouse per second."""
    broker = make_broker(sync=sync).start()
    with Oracle([broker.port], seed=SEED) as oracle:
        wait_for(lambda: oracle.count() > 2000, what="events")
        time.sleep(3)  # the load itself, not a wait for a condition
    assert set(oracle.statuses) == {204}
    drain(broker)
    oracle.verify(clickhouse)
    flusher = broker.status()["flusher"]
    assert flusher["requests_last_minute"] <= 61


def test_arrives_within_seconds(clickhouse, make_broker):
    broker = make_broker().start()
    start = time.monotonic()
    status, _, body = post(broker.port, '{"level":"info","message":"hi"}')
    assert (status, body) == (204, b"")
    wait_for(lambda: clickhouse.query(
        "SELECT level, message FROM logbroker.logs FORMAT TSV")
        == "info\thi\n", what="row")
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("sync", ["always", "off"])
def test_random_kills(clickhouse, make_broker, sync):
    """kill -9 of workers, whole nginx, flusher and ClickHouse in any order
    under load."""
    rng = random.Random(f"{SEED}-{sync}")
    broker = make_broker(
        sync=sync, flusher={"backoff": {"min_ms": 1000, "max_ms": 2000}}).start()
    print("seed", SEED)

    def worker():
        broker.kill_worker(rng)

    def nginx():
        broker.kill_nginx()
        broker.start_nginx()

    def flusher():
        broker.flusher.kill()
        broker.start_flusher()

    def server():
        clickhouse.kill()
        time.sleep(rng.random())
        clickhouse.start()

    with Oracle([broker.port], seed=SEED) as oracle:
        for i in range(KILLS):
            before = oracle.count()
            action = rng.choice([worker, worker, nginx, flusher, flusher,
                                 server])
            print(i, action.__name__, before, flush=True)
            action()
            wait_for(lambda: oracle.count() > before + 50,
                     what=f"progress after killing {action.__name__}")
            time.sleep(rng.random() * 1.5)  # hit any moment of a tick
    assert set(oracle.statuses) <= {204, 503, None}
    drain(broker)
    oracle.verify(clickhouse)


@pytest.mark.parametrize("keepalive", [False, True])
def test_reload_under_load(clickhouse, make_broker, keepalive):
    """Ten reloads: no failed request, no lost event, no orphan ring.

    nginx closes idle keep-alive connections on reload; a request that crosses
    that close gets no answer, from any nginx.  So only clients without
    keep-alive must never see a failure; for the others exactly once holds."""
    broker = make_broker().start()
    with Oracle([broker.port], seed=SEED, keepalive=keepalive) as oracle:
        for _ in range(10):
            before = oracle.count()
            broker.reload()
            wait_for(lambda: oracle.count() > before + 200, what="progress")
    if keepalive:
        assert set(oracle.statuses) <= {204, None}, oracle.statuses
    else:
        assert set(oracle.statuses) == {204}, oracle.statuses
    wait_for(broker.ready, what="workers with rings")
    drain(broker)
    oracle.verify(clickhouse)
    rings = broker.status()["rings"]
    assert len(rings) <= 16


def test_binary_upgrade_under_load(clickhouse, make_broker):
    """USR2, then QUIT to the old master: two masters with workers at once."""
    broker = make_broker()
    broker.start_nginx(daemon=True)
    broker.start_flusher()

    def load(oracle, what):
        before = oracle.count()
        wait_for(lambda: oracle.count() > before + 200, what=what)

    with Oracle([broker.port], seed=SEED, keepalive=False) as oracle:
        load(oracle, "load")
        old = broker.nginx.upgrade()
        load(oracle, "both masters")
        os.kill(old.pid, signal.SIGQUIT)
        old.wait(20)
        load(oracle, "new master alone")
    assert set(oracle.statuses) == {204}, oracle.statuses
    drain(broker)
    oracle.verify(clickhouse)


def test_ring_full(clickhouse, make_broker):
    """ClickHouse down, tiny rings: 503 with Retry-After; all that was
    answered 204 arrives once ClickHouse is back."""
    broker = make_broker(size="64k", workers=1, rings=2).start()
    clickhouse.stop()
    acked = []
    refused = None
    for i in range(2000):
        status, headers, body = post(
            broker.port, '{"message":"%d","pad":"%s"}' % (i, "x" * 500))
        if status == 204:
            acked.append(str(i))
        else:
            refused = (status, headers, body)
            break
    assert refused is not None and len(acked) > 50
    status, headers, body = refused
    assert status == 503
    assert headers["Retry-After"] == "1"
    assert b"full" in body
    assert broker.status()["rings"]
    clickhouse.start()
    drain(broker)
    rows = clickhouse.query("SELECT message FROM logbroker.logs FORMAT TSV")
    assert sorted(rows.split()) == sorted(acked)
    status, _, _ = post(broker.port, '{"message":"again"}')
    assert status == 204


@pytest.mark.release_only
def test_two_brokers_share_one_request_per_second(clickhouse, make_broker):
    """Every request of both flushers passes one door: never two of them
    within a second."""
    door = Door(clickhouse.port)
    brokers = [make_broker(index=i, count=2, urls=[door.url]).start()
               for i in range(2)]
    with Oracle([b.port for b in brokers], seed=SEED) as oracle:
        wait_for(lambda: len(door.starts) >= 12, 60, "requests")
    gaps = [b - a for a, b in zip(door.starts, door.starts[1:])]
    assert min(gaps) > 0.99, gaps
    drain(*brokers)
    assert all(b.status()["flusher"]["batches"] >= 3 for b in brokers)
    oracle.verify(clickhouse)
    door.close()


def test_sigterm_drains(clickhouse, make_broker):
    broker = make_broker().start()
    with Oracle([broker.port], seed=SEED) as oracle:
        wait_for(lambda: oracle.count() > 500, what="events")
    assert broker.flusher.stop(timeout=30) == 0
    assert broker.drained()
    oracle.verify(clickhouse)


def test_clickhouse_down_at_start(clickhouse, make_broker):
    clickhouse.stop()
    broker = make_broker(
        flusher={"backoff": {"min_ms": 1000, "max_ms": 1000}}).start()
    with Oracle([broker.port], seed=SEED) as oracle:
        wait_for(lambda: oracle.count() > 500, what="events")
    assert not broker.drained()
    wait_for(lambda: (broker.status()["flusher"] or {}).get("last_error"),
             what="an error in the status")
    clickhouse.start()
    drain(broker)
    oracle.verify(clickhouse)


@pytest.mark.slow
@pytest.mark.release_only
def test_fault_scenarios():
    """Some scenarios of tests/faults, briefly, for the sanitizers too; run.sh
    runs all of them for longer."""
    names = ("everything", "flusher_dies_at_each_point",
             "workers_die_at_each_point", "disk_errors")
    r = subprocess.run(
        ["/usr/bin/python3", ROOT / "tests/faults/faults.py", "--duration",
         "60", "--seed", str(SEED),
         *(x for name in names for x in ("--scenario", name))],
        text=True, capture_output=True, timeout=1200)
    print(r.stdout)
    assert r.returncode == 0, r.stdout + r.stderr
