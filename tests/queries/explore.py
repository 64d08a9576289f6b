"""The page of the logs over many rows: how long its statements take, as it sends
them, and how long it takes a browser to show the whole view."""

import argparse
import json
import pathlib
import re
import tempfile
import time
import urllib.parse

from env.chromium import Chromium
from env.clickhouse import ClickHouse
from env.edge import ShippedBroker
from queries import fill

VIEWS = (
    ("the last hour", {}),
    ("24 hours", {"range": "86400"}),
    ("7 days", {"range": "604800"}),
    ("7 days, by time of receipt", {"range": "604800", "by": "received_at"}),
    ("7 days, one service", {"range": "604800", "service": "checkout"}),
    ("7 days, only errors", {"range": "604800", "level": "error"}),
    ("7 days, a rare word", {"range": "604800", "q": "chargeback"}),
    ("7 days, a word of every third event", {"range": "604800", "q": "user"}),
    ("7 days, part of a word", {"range": "604800", "q": "*argebac*"}),
    ("7 days, a member of attributes", {"range": "604800", "q": "user:42"}),
    ("7 days, a word there is not", {"range": "604800", "q": "nowhere"}),
)
SAID = "document.querySelector('#said').innerText"
STATEMENTS = """[...document.querySelectorAll('#statements pre')].map(
    p => [p.previousSibling.firstChild.textContent.trim(), p.textContent])"""


def shown(browser, url):
    """(seconds until the first rows are there, until all of the view is, what
    it says)"""
    browser.open("about:blank")
    begun = time.monotonic()
    browser.open(url)
    browser.until(f"{SAID} && (found.length || !/Asking/.test({SAID}))", 120)
    first = time.monotonic() - begun
    browser.until(f"!/Asking/.test({SAID})", 120)
    return first, time.monotonic() - begun, browser.evaluate(SAID)


def took(browser, sql):
    """Seconds of the faster of two, alone."""
    return min(browser.evaluate(f"""(async () => {{
        const begun = performance.now();
        await query({json.dumps(sql)}, "JSON");
        return (performance.now() - begun) / 1000 }})()""")
               for _ in range(2))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--pictures", type=pathlib.Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lb-explore-") as d:
        d = pathlib.Path(d)
        with ClickHouse(d / "clickhouse") as server, \
                Chromium(d) as browser:
            fill(server, options.rows, days=7)
            broker = ShippedBroker(
                d / "broker", CLICKHOUSE=server.url,
                READER=server.dir / "reader_password")
            try:
                page = f"http://127.0.0.1:{broker.port}/logs"
                measure(browser, page, options.pictures)
            finally:
                broker.stop()


def measure(browser, page, pictures):
    print("| view | events | first rows in the browser | all of it | counts "
          "alone |\n|---|--:|--:|--:|--:|")
    for name, state in VIEWS:
        *seconds, said = shown(
            browser, f"{page}#{urllib.parse.urlencode(state)}")
        if pictures:
            browser.screenshot(
                pictures / f"{re.sub('[^a-z0-9]+', '-', name)}.png")
        statements = dict(browser.evaluate(STATEMENTS))
        alone = took(browser, statements["Over time, and values"])
        print(f"| {name} | {said.split(' event')[0]} |"
              + "".join(f" {f:.2f} |" for f in (*seconds, alone)),
              flush=True)


if __name__ == "__main__":
    main()
