"""The status: JSON, metrics and page at one address; the cluster page."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.error

import pytest

from env.broker import Broker
from env.build import ROOT
from env.clickhouse import ClickHouse
from env.door import Door
from env.edge import Edge, ShippedBroker
from env.http import BROWSER, PROMETHEUS, get, metrics, post
from env.nginx import Nginx
from env.process import state, wait_for


def test_formats(tmp_path):
    """What is accepted decides; the page is the file as it is."""
    page = page_text()
    with Nginx(tmp_path, server="location = /m { logbroker_status metrics; }"
               "location = /p { logbroker_status page; }"
               "location = /j { logbroker_status json; }") as nginx:
        for accept in (None, "*/*", "application/json", "image/png"):
            headers, text = get(nginx.port, accept=accept)
            assert headers["Content-Type"] == "application/json"
            assert headers["Vary"] == "Accept"
            json.loads(text)
        headers, text = get(nginx.port, accept=BROWSER)
        assert headers["Content-Type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert text == page
        for path, accept in (("/status", PROMETHEUS), ("/m", BROWSER)):
            headers, text = get(nginx.port, path, accept)
            assert headers["Content-Type"].startswith(
                "text/plain; version=0.0.4")
            assert "logbroker_flusher_running 0\n" in text
        json.loads(get(nginx.port, "/j", BROWSER)[1])
        assert get(nginx.port, "/p", PROMETHEUS)[1] == page
        # no flusher has kept any
        assert get(nginx.port, "/status?history")[1] == "{}"


def page_text():
    return subprocess.run(
        ["sh", ROOT / "ngx_logbroker_module/page.sh", "--text",
         ROOT / "ngx_logbroker_module/page.html"],
        check=True, capture_output=True, text=True).stdout


def test_page_needs_nothing_from_elsewhere():
    page = page_text()
    assert "The MIT License" in page and "@@" not in page
    # where the library comes from
    page = re.sub(r"/\*! https://github.com/leeoniya/uPlot [^/]*\*/", "", page)
    for word in ("src=", "href=", "@import", "url(", "http://", "https://"):
        assert word not in page


def test_health(tmp_path):
    """Whether events are taken: one worker's trouble is the node's, and a
    full spool is one."""
    nginx = Nginx(tmp_path / "one", spool="size=64k rings=1", workers=2,
                  server="location = /health { logbroker_status health; }")
    nginx.start(ring=False)
    try:
        words = b"1 of 2 workers take no events, they have no ring"
        a = wait_for(lambda: words in (a := nginx.request(
            "GET", "/health", None)).body and a, 10, "a worker without a ring")
        assert a.status == 503
        assert a.headers["Retry-After"] == "1"
    finally:
        nginx.stop()
    with Nginx(tmp_path / "full", spool="size=64k rings=1", workers=1,
               server="location = /health { logbroker_status health; }",
               ) as nginx:
        a = nginx.request("GET", "/health", None)
        assert (a.status, a.body) == (200, b"ok\n")
        while nginx.post("/log", b'{"a":"%s"}' % (b"x" * 1000)).status == 204:
            pass
        a = nginx.request("GET", "/health", None)
        assert a.status == 503 and b"the spool is full" in a.body


def test_wrong_format(tmp_path):
    nginx = Nginx(tmp_path, server="location = /x { logbroker_status xml; }")
    code, text = nginx.test_conf()
    assert code == 1
    assert 'invalid format "xml"' in text


def test_histograms(tmp_path):
    """Every group is in both histograms once, cumulative in the metrics."""
    with Nginx(tmp_path, workers=1) as nginx:
        for _ in range(5):
            assert nginx.post("/log", "{}").status == 204
        assert nginx.post("/log", "{").status == 400
        m = metrics(get(nginx.port, accept=PROMETHEUS)[1])
        j = json.loads(get(nginx.port)[1])
    groups = sum(j["group_requests"]["count"])
    assert 1 <= groups <= 5
    assert m['logbroker_group_requests_bucket{le="+Inf"}'] == groups
    assert m["logbroker_group_requests_count"] == groups
    assert m["logbroker_group_requests_sum"] == 5
    assert m['logbroker_group_requests_bucket{le="8"}'] == groups
    assert m["logbroker_sync_seconds_count"] == sum(j["sync_us"]["count"])
    assert m["logbroker_sync_seconds_count"] == groups
    assert m["logbroker_sync_seconds_sum"] > 0
    assert len(j["sync_us"]["count"]) == len(j["sync_us"]["le"]) + 1
    assert m['logbroker_refused_requests_total{reason="malformed"}'] == 1
    assert m["logbroker_accepted_events_total"] == 5
    assert m["logbroker_backlog_events"] == 5


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Two brokers and an edge over one ClickHouse."""
    base = tmp_path_factory.mktemp("status")
    with ClickHouse(base / "clickhouse") as ch:
        brokers = [Broker(base / f"broker-{i}", [ch.url], name=f"broker-{i}",
                          index=i, count=2, workers=1).start()
                   for i in range(2)]
        for b in brokers:
            b.clickhouse = ch
        edge = Edge(base / "edge", [b.port for b in brokers])
        yield brokers, edge
        edge.stop()
        for b in brokers:
            b.stop()


def test_delivered(cluster):
    """The flusher's figures; promtool finds nothing to complain about."""
    brokers, _ = cluster
    post(brokers[0].port, '{"n":1}\n{"n":2}\n{"n":3}')
    wait_for(brokers[0].drained, 60, "delivery", every=0.1)

    def delivered():
        text = get(brokers[0].port, accept=PROMETHEUS)[1]
        m = metrics(text)
        return m.get("logbroker_delivered_events_total") == 3 and \
            "logbroker_exactly_once" in m and text
    text = wait_for(delivered, 30, "figures")
    m = metrics(text)
    assert m["logbroker_unaccounted_events"] == 0
    assert m["logbroker_exactly_once"] == 1
    assert m["logbroker_flusher_running"] == 1
    assert m["logbroker_backlog_events"] == 0
    assert m["logbroker_dead_letters"] == 0
    assert m["logbroker_clickhouse_requests_total"] >= 1
    documented = (ROOT / "docs/metrics.md").read_text()
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            assert f"`{line.split()[2]}`" in documented, line
    if shutil.which("promtool"):
        p = subprocess.run(["promtool", "check", "metrics"], input=text,
                           text=True, capture_output=True, check=False)
        assert (p.returncode, p.stdout + p.stderr) == (0, "")


def at_edge(edge):
    """Of each broker by its address, and how long that took."""
    begin = time.monotonic()
    j = json.loads(get(edge.figures, "/cluster", "application/json")[1])
    return ({b["address"]: b["status"] for b in j["brokers"]},
            time.monotonic() - begin)


def test_cluster(cluster):
    """Every broker is asked on its own, within a bound: one that is away, or
    hangs, is named, and takes nothing else away."""
    brokers, edge = cluster
    addresses = [f"127.0.0.1:{b.port}" for b in brokers]
    status, _ = at_edge(edge)
    assert {a: s["flusher"]["broker"] for a, s in status.items()} == dict(
        zip(addresses, (b.name for b in brokers)))
    for n, b in enumerate(brokers, 1):
        j = json.loads(get(edge.figures, f"/cluster/{n}", "text/html")[1])
        assert j["flusher"]["broker"] == b.name
        # the answer to ?history, whatever it holds by now
        assert "spool" not in json.loads(
            get(edge.figures, f"/cluster/{n}?history")[1])
    for n, b in enumerate(brokers, 1):
        with urllib.request.urlopen(f"http://127.0.0.1:{edge.figures}/cluster/"
                                    f"{n}/tail?stream=of-{n}", timeout=30) as r:
            assert r.readline() == b"retry: 1000\n"
            time.sleep(0.2)  # what is committed by now is not shown
            assert post(b.port, b'{"a":1}', f"/log/of-{n}")[0] == 204
            while not (line := r.readline()).startswith(b"data: "):
                pass
            assert json.loads(line[6:])["attributes"] == {"a": 1}
    for path in ("/status", "/cluster/0", "/cluster/3", "/cluster/page",
                 "/cluster/all", "/cluster/3/tail"):
        with pytest.raises(urllib.error.HTTPError) as e:
            get(edge.figures, path)
        assert e.value.code == 404
    for path in ("/status", "/cluster", "/cluster/1"):
        with pytest.raises(urllib.error.HTTPError):
            get(edge.port, path)
    master = brokers[1].nginx.pid
    workers = brokers[1].nginx.workers()
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    try:
        hung(edge, addresses, 504)
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
    os.kill(master, signal.SIGTERM)
    brokers[1].nginx.process.wait(20)
    hung(edge, addresses, 502)
    brokers[1].start_nginx()
    assert None not in at_edge(edge)[0].values()


def hung(edge, addresses, code):
    for _ in range(3):
        status, took = at_edge(edge)
        assert status[addresses[0]]["total"]["rings"] > 0
        assert status[addresses[1]] is None
        assert took < 4
        assert "<title>logbroker" in get(edge.figures, "/cluster", BROWSER)[1]
        get(edge.figures, "/cluster/1")
    with pytest.raises(urllib.error.HTTPError) as e:
        get(edge.figures, "/cluster/2")
    assert (e.value.code, e.value.read()) == (code, b"null")


def test_root(tmp_path):
    """A browser is told what this is; curl, and clients of Elasticsearch, get
    what that protocol says."""
    broker = ShippedBroker(tmp_path / "broker")
    edge = Edge(tmp_path / "edge", [broker.port])
    try:
        for server, link in ((edge, f"http://localhost:{edge.figures}/cluster"),
                             (broker, "/status")):
            headers, text = get(server.port, "/", BROWSER)
            assert headers["Content-Type"] == "text/html"
            assert f'href="{link}"' in text and "curl -d" in text
            for accept in (None, "*/*", "application/json"):
                text = get(server.port, "/", accept)[1]
                assert "cluster_name" in json.loads(text)
        assert get(broker.port, "/health")[1] == "ok\n"
        assert get(broker.port, "/status", BROWSER)[1] == page_text()
    finally:
        edge.stop()
        broker.stop()


def rows(broker, where):
    return int(broker.clickhouse.query(
        f"SELECT count() FROM logbroker.logs WHERE {where}"))


def test_frozen_flusher(cluster):
    """It cannot say that it is frozen: lag grows, no sign of life; and when
    it goes on each event is delivered once."""
    broker = cluster[0][0]
    post(broker.port, '{"before":1}')
    wait_for(broker.drained, 60, "delivery", every=0.1)
    assert broker.status()["lag_seconds"] == 0
    pid = broker.flusher.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_for(lambda: state(pid) == "T", what="a stop")
        for n in range(20):
            post(broker.port, '{"frozen":%d}' % n)
        age = broker.status()["flusher_state_age_seconds"]
        wait_for(lambda: broker.status()["lag_seconds"] > 2, 5, "lag")
        status = broker.status()
        assert status["total"]["backlog_events"] == 20
        assert status["flusher_state_age_seconds"] > age + 1
        m = metrics(get(broker.port, accept=PROMETHEUS)[1])
        assert m["logbroker_lag_seconds"] > 2
        assert m["logbroker_flusher_running"] == 1
        # as if that had been a minute, for workers that have just started
        old = time.time() - 60
        os.utime(broker.spool / "flusher.json", (old, old))
        broker.nginx.stop()
        broker.start_nginx()
        m = metrics(get(broker.port, accept=PROMETHEUS)[1])
        assert 59 <= m["logbroker_flusher_state_age_seconds"] < 90
        assert m["logbroker_flusher_running"] == 0
        assert broker.status()["flusher_runs"] is False
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_for(broker.drained, 60, "delivery", every=0.1)
    wait_for(lambda: broker.status()["flusher_runs"], 10, "a sign of life")
    assert broker.status()["lag_seconds"] == 0
    assert rows(broker, "JSONHas(attributes, 'frozen')") == 20


def test_frozen_clickhouse(cluster, tmp_path):
    """The flusher waits for an answer, and shows that it lives."""
    door = Door(cluster[0][0].clickhouse.port)
    door.mode = "hang"
    broker = Broker(tmp_path / "broker", [door.url], name="hangs", workers=1,
                    ).start()
    try:
        post(broker.port, '{"hangs":1}')
        state = broker.spool / "flusher.json"
        wait_for(lambda: door.starts, 20, "a request")
        before = wait_for(lambda: state.exists() and state.stat().st_mtime_ns)
        wait_for(lambda: broker.status()["lag_seconds"] > 4, 20, "lag")
        wait_for(lambda: state.stat().st_mtime_ns > before, 20,
                 "a sign of life", every=0.1)
        status = broker.status()
        assert status["flusher_runs"] and status["lag_seconds"] > 4
        # it says for how long it has been waiting
        asked = wait_for(lambda: broker.status()["flusher"]["asking_since"],
                         20, "a word about the request", every=0.1)
        status = broker.status()
        assert 0 < status["time_us"] / 1e6 - asked < 30
        assert status["flusher"]["lag_seconds"] < status["lag_seconds"]
    finally:
        broker.flusher.kill()
        broker.stop()
        door.close()


def test_flusher_gone(cluster):
    """Without a flusher the metrics say so."""
    brokers, _ = cluster
    brokers[1].flusher.kill()
    m = metrics(get(brokers[1].port, accept=PROMETHEUS)[1])
    assert m["logbroker_flusher_running"] == 0


def test_worker_without_ring(tmp_path, faults):
    """What lies in the spool is told, and the lag grows, also by a worker that
    can write nowhere; and that a write failed is not forgotten with its
    ring."""
    broker = Broker(tmp_path / "b", ["http://127.0.0.1:1"], workers=1,
                    env={"LD_PRELOAD": str(faults.so), **faults.env})
    broker.start_nginx()
    try:
        assert post(broker.port, '{"waits":1}')[0] == 204
        faults.set("fail", 5)
        assert post(broker.port, '{"fails":1}')[0] == 502

        def told():
            return metrics(get(broker.port, accept=PROMETHEUS)[1])
        wait_for(lambda: told()["logbroker_workers_without_ring"], 30,
                 "no ring", every=0.1)
        for _ in range(3):
            post(broker.port, "{}")
            m = told()
            assert m["logbroker_backlog_events"] >= 1
            assert m["logbroker_lag_seconds"] > 0
            assert m["logbroker_write_failures_total"] == 1
            time.sleep(0.3)
    finally:
        broker.kill_nginx()
