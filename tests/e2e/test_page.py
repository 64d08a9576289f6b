"""The status page in a browser: of a broker, of the cluster; what it says when
something is frozen or gone; on a phone, in the dark, by the keyboard."""

import contextlib
import json
import os
import re
import signal
import time

import pytest

from env.broker import Broker
from env.build import ROOT
from env.chromium import Chromium
from env.clickhouse import ClickHouse
from env.edge import Edge
from env.http import post
from env.process import wait_for

VERDICT = "document.querySelector('#verdict').innerText"
WELL = f"{VERDICT} === 'All is well'"


def test_every_reason_has_words():
    """What a sender is told by a code, people are told by a sentence."""
    codes = re.findall(r'ngx_string\("(\w+)"\)', (
        ROOT / "ngx_logbroker_module/ngx_http_logbroker_answer.c").read_text())
    page = (ROOT / "ngx_logbroker_module/page.html").read_text()
    words = page[page.index("const REASONS"):page.index("const OURS")]
    assert len(codes) > 20
    assert set(re.findall(r"^  (\w+): \"[a-zA-Z]", words, re.M)) == set(codes)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    base = tmp_path_factory.mktemp("page")
    with Chromium(base) as browser, ClickHouse(base / "clickhouse") as ch:
        brokers = []
        for i in range(2):
            b = Broker(base / f"broker-{i}", [ch.url], name=f"broker-{i}",
                       index=i, count=2, workers=1)
            b.spool.mkdir(mode=0o770)
            (b.spool / "history.json").write_text(yesterday(100 * (i + 1)))
            brokers.append(b.start())
        edge = Edge(base / "edge", [b.port for b in brokers])
        browser.page = f"http://127.0.0.1:{edge.figures}/cluster"
        yield browser, brokers, edge, ch
        edge.stop()
        for b in brokers:
            b.stop()


def yesterday(per_second):
    """What a flusher has kept of the last 24 hours."""
    n = 1440
    return json.dumps({
        "step": 60, "end": int(time.time()) // 60 * 60,
        "in": [60 * per_second] * n, "out": [60 * per_second] * n,
        "backlog": [per_second] * n, "lag_ms": [1000 * per_second] * n,
        "requests": [30] * n})


@contextlib.contextmanager
def frozen(*pids):
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def some(edge, n=20):
    for i in range(n):
        post(edge.port, '{"n":%d}' % i)


def test_all_is_well(cluster):
    """One glance, and plots of the last day that are not empty."""
    browser, brokers, edge, _ = cluster
    some(edge)
    wait_for(lambda: all(b.drained() for b in brokers), 60, "delivery",
             every=0.2)
    browser.open(browser.page)
    browser.until(WELL)
    assert "2 of 2 brokers answer" in browser.text("header")
    rows = browser.text("#brokers")
    assert all(f"{b.name} · 127.0.0.1:{b.port}" in rows for b in brokers)
    # the sum of rates and backlogs, the worst of the lags; an axis in time
    plots = [f"document.querySelectorAll('.plot')[{i}]" for i in range(4)]
    for i, most in enumerate(("in now 0 /s, at most 300 /s", "at most 300",
                              "at most 3 min", "at most 1.00")):
        browser.until(f"{plots[i]}.ariaLabel.includes({json.dumps(most)})")
        assert browser.evaluate(f"{plots[i]}.querySelector('canvas').width")
    browser.point(f"{plots[0]}.querySelector('.u-over')")
    browser.until(f"/\\d\\d:\\d\\d:\\d\\d.*300 .s.*300 .s/s"
                  f".test({plots[0]}.querySelector('.u-legend').innerText)")
    assert not browser.errors()


def test_narrow_dark_and_by_the_keyboard(cluster):
    browser, _, edge, _ = cluster
    post(edge.port, "{")
    background = "getComputedStyle(document.body).backgroundColor"
    browser.open(browser.page, 1280, dark=False)
    light = browser.evaluate(background)
    browser.open(browser.page, 360, 740, dark=True)
    browser.until(WELL)
    assert browser.evaluate(background) != light
    browser.until("document.querySelector('#refused').innerText.includes("
                  "'an event that is not valid JSON')")
    # nothing is cut off, nothing is scrolled sideways
    assert browser.evaluate("document.documentElement.scrollWidth") == 360
    assert browser.evaluate("""[...document.querySelectorAll('td, .value, li')]
        .every(e => e.getBoundingClientRect().right <= 360
               && e.scrollWidth <= e.clientWidth + 1)""")
    text = browser.evaluate("""senders = {unknown: 3, wrong: 0, senders: [
        {name: 'shop', stored: 7, bytes: 9, failed: 1, used: 2048, quota: 4096,
         refused: {expired: 0, requests: 2, bytes: 0, quota: 5}}]};
        showSenders(); document.querySelector('#senders').innerText""")
    assert "2 too many requests, 5 over the day's quota" in text
    assert "2.0 KiB of 4.0 KiB" in text
    assert browser.evaluate("document.documentElement.scrollWidth") == 360
    pressed = "document.querySelector('[aria-pressed=true]').innerText"
    assert browser.evaluate(pressed) == "1 hour"
    for _ in range(12):
        browser.press("Tab", 9)
        if browser.evaluate("document.activeElement.innerText") == "24 hours":
            break
    browser.press("Enter", 13)
    assert browser.evaluate(pressed) == "24 hours"
    browser.evaluate("document.querySelector('summary').focus()")
    browser.press("Enter", 13)
    assert "reserve" in browser.text("#rings")
    assert not browser.errors()


def test_a_broker_is_missing(cluster):
    """By name, at once, with what is there of the others."""
    browser, brokers, edge, _ = cluster
    browser.open(browser.page)
    browser.until(WELL)
    with frozen(*brokers[1].nginx.workers()):
        browser.until(f"{VERDICT}.includes('broker-1 (127.0.0.1:"
                      f"{brokers[1].port}) is missing')", 15)
        assert "it does not answer" in browser.text("#verdict")
        assert "1 of 2 brokers answer" in browser.text("header")
        assert "of 1 of 2 brokers" in browser.text("#tiles")
        # and who opens the page now
        browser.open(browser.page)
        browser.until(f"{VERDICT}.includes('127.0.0.1:{brokers[1].port} "
                      "is missing')", 15)
        assert "broker-0" in browser.text("#brokers")
    brokers[1].kill_nginx()
    browser.until(f"{VERDICT}.includes('it cannot be reached')", 15)
    brokers[1].start_nginx()
    browser.until(WELL, 30)


@pytest.mark.parametrize("who", ["flushers", "clickhouse"])
def test_frozen(cluster, who):
    """Whoever is frozen cannot say so: the page does, within seconds."""
    browser, brokers, edge, ch = cluster
    browser.open(browser.page)
    browser.until(WELL, 60)
    pids = ([b.flusher.pid for b in brokers] if who == "flushers"
            else [ch.process.pid])
    with frozen(*pids):
        some(edge)
        browser.until(f"{VERDICT}.startsWith('Worth a look') || "
                      f"{VERDICT}.startsWith('Something is wrong')", 25)
        words = browser.text("#verdict")
        assert ("no sign of life" in words or "has waited" in words
                if who == "flushers" else
                "ClickHouse has not answered a request" in words
                or "for ClickHouse" in words), words
    browser.until(WELL, 90)


def test_of_one_broker(cluster):
    """The same page, at the broker."""
    browser, brokers, _, _ = cluster
    browser.open(f"http://127.0.0.1:{brokers[0].port}/status")
    browser.until(WELL, 60)
    assert browser.evaluate("document.title") == \
        "All is well – logbroker broker-0"
    browser.until("document.querySelector('.plot').ariaLabel"
                  ".includes('at most 100 /s')")
    brokers[0].flusher.kill()
    browser.until(f"{VERDICT}.includes('the flusher does not run')", 15)
    brokers[0].kill_nginx()
    browser.until(f"{VERDICT}.includes('is missing')", 15)
    assert not browser.errors()
