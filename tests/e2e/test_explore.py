"""The page of the logs in a browser: what is in ClickHouse and what comes, by
the edge; words, values, places, the address of a view; who may ask, and what."""

import json
import signal
import socket
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest

from env.chromium import Chromium
from env.clickhouse import ClickHouse
from env.build import find
from env.edge import Edge, ShippedBroker
from env.http import post
from env.process import Process, wait_for

SAID = "document.querySelector('#said').innerText"
HEADS = "[...document.querySelectorAll('#rows .head')]"
EVIL = "<img src=x onerror=alert(1)></script><script>alert(2)</script>'\"\\"


class Service:
    """ClickHouse, two brokers as shipped, the edge."""

    def __init__(self, base):
        self.clickhouse = ClickHouse(base / "clickhouse")
        self.clickhouse.start()
        self.brokers, self.flushers = [], []
        for i in range(2):
            b = ShippedBroker(
                base / f"broker-{i}", size="16m", CLICKHOUSE=self.clickhouse.url,
                READER=self.clickhouse.dir / "reader_password")
            settings = base / f"flusher-{i}.json"
            settings.write_text(json.dumps({
                "spool": str(b.spool), "broker": f"broker-{i}",
                "clickhouse": {"urls": [self.clickhouse.url]},
                "node": {"index": i, "count": 2}}))
            self.brokers.append(b)
            self.flushers.append(Process(
                f"flusher {i}", [find("logbroker-flusher"), "--config",
                                 str(settings)], base / f"flusher-{i}.log"))
        self.edge = Edge(base / "edge", [b.port for b in self.brokers])
        self.page = f"http://127.0.0.1:{self.edge.figures}/logs"

    def stop(self):
        self.edge.stop()
        for f in self.flushers:
            f.stop()
        for b in self.brokers:
            b.stop()
        self.clickhouse.stop()

    def send(self, events, stream="default"):
        status = post(self.edge.port, "\n".join(map(json.dumps, events)),
                      f"/log/{stream}")[0]
        assert status == 204, status

    def stored(self, n):
        wait_for(lambda: self.clickhouse.query(
            "SELECT count() FROM logbroker.logs") == f"{n}\n", 60, "rows",
            every=0.2)


def ask(service, sql, **headers):
    r = urllib.request.Request(service.page + "/query", sql.encode(), {
        "X-Requested-With": "logbroker", **headers})
    try:
        with urllib.request.urlopen(r, timeout=60) as answer:
            return answer.status, answer.read().decode(), answer.headers
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode(), e.headers


def now(ago=0.0):
    t = time.time() - ago
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(t)) \
        + f".{int(t * 1000) % 1000:03d}Z"


TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    s = Service(tmp_path_factory.mktemp("explore"))
    try:
        # as many as several pages, in the order of their time
        s.send([{"timestamp": now(1800 - i), "level": "info",
                 "service": "shop", "host": f"web-{i % 3}",
                 "message": f"order {i} paid", "user": i}
                for i in range(500)], "shop")
        s.send([
            {"timestamp": now(60), "level": "error", "service": "bill",
             "host": "b1", "message": "Время ожидания истекло: timeout of 5s",
             "trace_id": TRACE, "http": {"status": 504}},
            {"timestamp": now(59), "level": "warn", "service": "shop",
             "host": "web-1", "message": "retry after time out",
             "trace_id": TRACE},
            {"timestamp": now(58), "level": "info", "service": EVIL,
             "host": EVIL, "message": EVIL, "note": EVIL}], "bill")
        s.stored(503)
        yield s
    finally:
        s.stop()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Chromium(tmp_path_factory.mktemp("browser")) as b:
        yield b


@pytest.fixture
def page(service, browser):
    def open_it(state="", **how):
        browser.open("about:blank")
        browser.open(f"{service.page}#{state}", **how)
        browser.until(f"/event|Every|trail/.test({SAID}) || {SAID} && "
                      f"!/Asking/.test({SAID})")
        return browser
    yield open_it
    browser.evaluate("typeof toggle === 'function' && toggle(false)")
    errors = browser.errors()
    browser.events.clear()
    assert not errors


def settled(browser):
    browser.until(f"!/Asking/.test({SAID})")


def search(browser, words):
    browser.evaluate(f"document.querySelector('#q').value = "
                     f"{json.dumps(words)}; document.querySelector("
                     "'#search').requestSubmit()")
    browser.until(f"view.q === {json.dumps(words)} && !/Asking/.test({SAID})")
    return browser.evaluate("found.map(e => e.message)")


LISTENS = "live && live.stream && live.stream.readyState === 1"


def live_of(b):
    b.evaluate("document.querySelector('#live').click()")
    b.until(LISTENS)


# of a day the newest are looked for in its last 22 minutes, then in 3 hours
@pytest.mark.parametrize("state", [
    "", "range=86400", "range=86400&by=received_at", "range=604800"])
def test_first_look(service, page, state):
    """All of that time: counted, drawn, by value, the newest first."""
    b = page(state)
    assert b.evaluate(SAID) == "503 events, 200 shown"
    assert b.evaluate("plot.data[0].length") > 30
    assert b.evaluate("plot.data.slice(1).pop().reduce((a, n) => a + n, 0)"
                      ) <= 503
    assert "1 error" in b.evaluate("document.querySelector('#plot').ariaLabel")
    facets = b.text("#facets")
    assert "shop\n501" in facets and "web-0\n167" in facets
    assert "info\n501" in facets and "error\n1" in facets
    times = b.evaluate("found.map(e => e[view.by])")
    assert times == sorted(times, reverse=True)
    b.evaluate("document.querySelector('#older').click()")
    b.until("found.length === 400")
    b.evaluate("document.querySelector('#older').click()")
    b.until("found.length === 503 && document.querySelector('#older').hidden")
    assert b.evaluate("new Set(found.map(key)).size") == 503
    sql = b.text("#statements") or b.evaluate(
        "document.querySelector('#statements').textContent")
    assert "received_at >= " in sql and "LIMIT 200" in sql


@pytest.mark.parametrize("words, found", [
    ("timeout", ["Время"]), ("ВРЕМЯ", ["Время"]), ('"time out"', ["retry"]),
    ("*imeo*", ["Время"]), ("imeo", []), ("time -retry", []),
    ("retry -timeout", ["retry"]), ("http.status:504", ["Время"]),
    ("service:bill", ["Время"]), ("user:7", ["order 7 "]),
    (f"trace_id:{TRACE}", ["retry", "Время"]), ("it's", []), ("\\", ["<img"]),
    ("%' OR 1=1 --", []), ("onerror", ["<img"]),
])
def test_search(page, words, found):
    b = page()
    got = search(b, words)
    assert len(got) == len(found), (got, b.evaluate(SAID))
    for message, begin in zip(got, found):
        assert message.startswith(begin)


@pytest.mark.parametrize("state", [
    "from=1e20", "from=-1e20&to=5", "from=9&to=1e308", "from=&to=", "range=x",
    "by=x", "around=x", "around=%5B%5D", "around=null", "trace=@", "trace=a@1e300",
    "trace=a@x", "%%%", "level=%27%29--", "q=%00%27%5C",
    "around=" + urllib.parse.quote(json.dumps(
        ["0" * 36, "1", "2026-01-01 00:00:00", 1e300, "a", "b", "c"]))])
def test_any_address(page, state):
    """It says something, and nothing is thrown."""
    page(state)


def test_values_narrow_it_down(page):
    b = page()
    b.evaluate("[...document.querySelectorAll('#facets button')].find(b => "
               "b.title === 'bill').click()")
    b.until("view.stream.length + view.service.length === 1 && "
            f"!/Asking/.test({SAID}) && found.length < 4")
    address = b.evaluate("location.hash")
    b.evaluate("document.querySelector('#chips button').click()")
    b.until(f"found.length === 200 && /503/.test({SAID})")
    # the address is the view, and "back" goes back
    b = page(address[1:])
    assert b.evaluate("found.length") < 4


def test_the_other_values_of_a_column(page):
    """A value that is chosen hides no other of its own column, and counts in
    the columns beside it; a second one is added to it."""
    b = page("service=bill&level=error")
    values = ("[...document.querySelectorAll('#facets details')].map(d => "
              "[d.dataset.name, [...d.querySelectorAll('button')].map(x => "
              "[x.title, x.getAttribute('aria-pressed'), "
              "x.lastChild.innerText])])")
    assert dict(b.evaluate(values)) == {
        "stream": [["bill", "false", "1"]], "host": [["b1", "false", "1"]],
        # of the level error, there is none of another service
        "service": [["bill", "true", "1"]],
        "level": [["error", "true", "1"]]}
    b = page("service=bill")
    found = dict(b.evaluate(values))
    assert found["service"] == [["shop", "false", "501"],
                                ["bill", "true", "1"], [EVIL, "false", "1"]] \
        or found["service"] == [["shop", "false", "501"],
                                [EVIL, "false", "1"], ["bill", "true", "1"]]
    assert found["level"] == [["error", "false", "1"]]
    b.evaluate("[...document.querySelectorAll('#facets button')].find(x => "
               "x.title === 'shop' && x.closest('details').dataset.name === "
               "'service').click()")
    b.until("view.service.length === 2 && /502 events/.test("
            f"{SAID})")
    found = dict(b.evaluate(values))
    assert [x[1] for x in sorted(found["service"])] == ["false", "true", "true"]
    # the one that is chosen is there, however many others have more
    b = page("service=bill&q=-nothing")
    assert "bill" in [x[0] for x in dict(b.evaluate(values))["service"]]


def test_an_event_its_surroundings_and_its_trail(page):
    b = page("q=timeout")
    b.evaluate(f"{HEADS}[0].click()")
    opened = b.text(".open")
    assert "504" in opened and TRACE in opened and '"status": 504' in opened
    press = ("[...document.querySelectorAll('.open .do button')].find(b => "
             "b.innerText === '%s').click()")
    b.evaluate(press % "Its trail")
    b.until(f"{SAID} === '2 events of the trail {TRACE}'")
    b = page("q=%22order+250+paid%22")
    b.evaluate(f"{HEADS}[0].click()")
    b.evaluate(press % "What happened around it")
    b.until(f"/around this one/.test({SAID})")
    messages = b.evaluate("found.map(e => e.message)")
    # of the same host; newest first, the event in their middle
    assert messages == [f"order {i} paid"
                        for i in range(250 + 26 * 3, 250 - 26 * 3, -3)]
    assert b.text(".row.this .message") == "order 250 paid"
    address = b.evaluate("location.hash")
    assert page(address[1:]).text(".row.this .message") == "order 250 paid"


def test_hostile_events(page):
    """What they say is shown, and nothing else comes of it."""
    b = page("q=onerror")
    assert b.text("#rows .message") == EVIL
    b.evaluate(f"{HEADS}[0].click()")
    assert b.evaluate("document.querySelectorAll('main img, main script')"
                      ".length") == 0
    b.evaluate("[...document.querySelectorAll('.open .do button')].find(b => "
               "b.innerText.startsWith('Only service')).click()")
    b.until(f"view.service.length && !/Asking/.test({SAID})")
    assert b.evaluate("found.length") == 1


def test_live(service, page):
    """What comes, at once, above what is stored; nothing twice."""
    b = page("q=live&range=300")
    live_of(b)
    before = int(service.clickhouse.query("SELECT count() FROM logbroker.logs"))
    for i in range(20):
        service.send([{"timestamp": now(), "message": f"live {i}"}])
        service.send([{"timestamp": now(), "message": f"not shown {i}"}])
    b.until("found.length === 20", 10)
    service.stored(before + 40)
    b.evaluate("ask()")
    settled(b)
    b.until("found.length === 20")
    service.send([{"timestamp": now(), "message": "live 20"}])
    b.until("found.length === 21", 10)
    assert b.evaluate("found[0].message") == "live 20"
    assert b.evaluate("new Set(found.map(key)).size") == 21
    b.evaluate("document.querySelector('#live').click()")
    assert b.evaluate("live") is None


def test_live_begins_without_a_gap(service, page):
    """What came after the page was opened, before live."""
    b = page("q=between&range=300")
    service.send([{"timestamp": now(), "message": "between the two"}])
    b.evaluate("document.querySelector('#live').click()")
    b.until("found.length === 1", 15)


def test_saved(page):
    b = page("q=timeout")
    b.evaluate("""window.saved = []; URL.createObjectURL = blob => {
        blob.text().then(t => saved.push(t)); return 'about:blank#' };
        HTMLAnchorElement.prototype.click = function () {}; true""")
    b.evaluate("save('JSONEachRow', 'logs.ndjson')")
    b.until("saved.length === 1")
    b.evaluate("save('CSVWithNames', 'logs.csv')")
    b.until("saved.length === 2")
    ndjson, csv = b.evaluate("saved")
    assert json.loads(ndjson)["trace_id"] == TRACE
    assert csv.startswith('"timestamp","received_at"') and TRACE in csv


def test_by_the_keyboard(page):
    b = page()
    b.press("/")
    assert b.evaluate("document.activeElement.id") == "q"
    b.press("Escape")
    b.press("j")
    b.press("j")
    b.press("k")
    b.press("Enter", 13)
    assert b.evaluate("document.querySelectorAll('.row')[0]"
                      ".querySelector('.open') !== null")


def test_narrow_and_dark(page):
    b = page("", width=360, height=740, dark=True)
    assert b.evaluate("document.documentElement.scrollWidth") == 360
    b.evaluate(f"{HEADS}[0].click()")
    assert b.evaluate("document.documentElement.scrollWidth") == 360


def test_an_own_time(page):
    t = int(time.time())
    b = page(f"from={t - 1500}&to={t - 1400}")
    n = b.evaluate("found.length")
    assert 90 <= n <= 110
    sql = b.evaluate("document.querySelector('#statements').textContent")
    assert "received_at < " in sql and "received_at >= " in sql


def test_who_may_ask_and_what(service):
    assert ask(service, "SELECT 1")[:2] == (200, "1\n")
    # of another page: a browser does not let it send that header
    assert ask(service, "SELECT 1", **{"X-Requested-With": "x"})[0] == 403
    for sql in ("INSERT INTO logbroker.logs (message) VALUES ('x')",
                "DROP TABLE logbroker.logs", "SELECT * FROM system.users",
                "SELECT 1 SETTINGS readonly = 0",
                "SELECT 1 SETTINGS max_execution_time = 0"):
        status, said, _ = ask(service, sql)
        assert status >= 400, (sql, said)
    # whoever asks is the reader, and in nobody else's name
    for headers in ({"X-ClickHouse-User": "default"},
                    {"Authorization": "Basic ZGVmYXVsdDo="},
                    {"Cookie": "user=default"}):
        assert ask(service, "SELECT currentUser()", **headers)[:2] == (
            200, "reader\n")
    r = urllib.request.Request(service.page + "/query?user=default&readonly=0"
                               "&add_http_cors_header=1",
                               b"SELECT currentUser()",
                               {"X-Requested-With": "logbroker",
                                "Origin": "http://evil.example"})
    with urllib.request.urlopen(r) as answer:
        assert answer.read() == b"reader\n"
        assert "Access-Control-Allow-Origin" not in answer.headers
    # clients of the edge have none of it
    for path in ("/logs", "/logs/query"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(
                f"http://127.0.0.1:{service.edge.port}{path}")
    with urllib.request.urlopen(service.page) as answer:
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "connect-src 'self'" in policy


def test_a_question_ends_with_who_asked(service, page):
    """Nobody waits: ClickHouse does not go on."""
    b = page()
    running = ("SELECT count() FROM system.processes WHERE user = 'reader'"
               " AND query LIKE '%never%'")
    b.evaluate("""window.gone = new AbortController();
        query("SELECT sleepEachRow(1), 'never' FROM numbers(50) "
              + "SETTINGS max_block_size = 1", "JSON", gone.signal)
        .catch(() => {}); true""")
    wait_for(lambda: service.clickhouse.query(running) == "1\n", 10, "asked")
    b.evaluate("gone.abort()")
    wait_for(lambda: service.clickhouse.query(running) == "0\n", 20, "ended")


def test_a_brokers_own_page(service, browser):
    browser.open(f"http://127.0.0.1:{service.brokers[0].port}/logs#q=timeout")
    browser.until(f"/^1 event/.test({SAID})")
    browser.events.clear()


TONGUES = {
    "发生错误了，支付失败": ["错误", '"错误了，支付"'],
    "ข้อผิดพลาดในการชำระเงิน": ["ผิดพลาด"],
    "결제 오류가 발생": ["오류"],
    "भुगतान त्रुटि हुई": ["त्रुटि", "त्रुटि हुई"],
    "İSTANBUL kapalı": ["İSTANBUL", "KAPALI", "kapalı"],
    "ΟΔΟΣ ΚΛΕΙΣΤΗ": ["ΟΔΟΣ", "οδος"],
    "link—down—again": ['"link—down"', "link—down", '"down—again"'],
    "он сказал «нет связи»": ['"нет связи"', "«нет", "*связи*", "СКАЗАЛ"],
    "snake_case_name": ["snake_case_name", "case", '"ke_case_na"'],
}
MISSED = {"KAPALI"}  # of Turkish's two letters i: as Unicode has it


@pytest.fixture(scope="module")
def stored_tongues(service):
    n = int(service.clickhouse.query("SELECT count() FROM logbroker.logs"))
    service.send([{"timestamp": now(), "message": m} for m in TONGUES],
                 "tongues")
    service.stored(n + len(TONGUES))
    return n


def test_any_language(page, stored_tongues):
    """By ClickHouse, and of what comes live, alike."""
    b = page("stream=tongues")
    events = b.evaluate("found")
    assert len(events) == len(TONGUES)
    for message, words in TONGUES.items():
        for w in words:
            got = search(b, w)
            assert got == ([] if w in MISSED else [message]), w
            live = b.evaluate(f"{json.dumps(events)}.filter(matches)"
                              ".map(e => e.message)")
            assert live == got, w


def test_pages_of_one_instant(service, page):
    """Events of one time in several rings: none is left out."""
    service.clickhouse.query("""
        INSERT INTO logbroker.logs (timestamp, received_at, stream, message,
            attributes, ring, seq)
        SELECT toStartOfHour(now()) AS timestamp, now(), 'instant',
            toString(number), if(number = 7, '{"user":"\\u0061b"}', '{}'), [
            toUUID('f0000000-0000-4000-8000-000000000001'),
            toUUID('00000000-0000-4000-b000-0000000000ff'),
            toUUID('80000000-0000-4000-9000-f00000000000')][1 + number % 3],
            number FROM numbers(900)""")
    try:
        b = page("stream=instant&range=21600")
        for n in (400, 600, 800, 900):
            b.evaluate("document.querySelector('#older').click()")
            b.until(f"found.length === {n}")
        b.until("document.querySelector('#older').hidden")
        # an attribute is what it means, however it was written
        assert search(b, "user:ab") == ["7"]
    finally:
        service.clickhouse.query("ALTER TABLE logbroker.logs DELETE WHERE "
                                 "stream = 'instant' SETTINGS mutations_sync = 1")


@pytest.mark.parametrize("state", [
    "from=1e300&to=-5", "from=99999999999", "from=9999999999", "from=9&to=5",
    "from=1&to=2&by=constructor", "trace=x%401e99", "trace=x", "around=%5B%5D",
    "around=%5B1%2C2%5D", "range=__proto__", "level=__proto__",
    "level=constructor&service=a%2Cb", "q=%00%ff%ed%a0%80", "q=a%00b",
    "q=__proto__:x+constructor:y+toString.length:0", "q=" + "(%5B%5C" * 500,
    "q=-*+*+**+%22%22+:+x:+:y", "&&==%%", "q=" + "x" * 300_000])
def test_an_address_that_makes_no_sense(page, state):
    """Something is said, and no script breaks (the fixture looks)."""
    b = page(state)
    assert b.evaluate(SAID)
    search(b, "timeout")


STRANGE = [
    ("constructor:x1", {"message": "one", "constructor": "x1"}),
    ("__proto__:x2", {"message": "two", "__proto__": "x2"}),
    ("toString.length:3", {"message": "three", "toString": {"length": 3}}),
    ("seq:x4", {"message": "four", "seq": "x4"}),
    ("*six*", {"message": "\u202esix\u0007\u001b[31m\u0085\u2028",
             "level": "constructor", "service": "a,b"}),
    ("seven", {"message": "seven " + "<b>" * 100_000,
               "k" * 1000: ["y" * 100_000], "deep": "z" * 100_000}),
]


def test_strange_events_live_and_stored(service, page):
    """What is found is the same, before they are stored and after."""
    tag = f"t{time.time_ns()}"
    b = page()
    for words, event in STRANGE:
        search(b, f"{words} stream:{tag}")
        live_of(b)
        service.send([{"timestamp": now(), **event}], tag)
        b.until("found.length === 1", 10)
        b.evaluate(f"{HEADS}[0].click()")
        b.evaluate("toggle(false)")
        wait_for(lambda: service.clickhouse.query(
            f"SELECT count() FROM logbroker.logs WHERE stream = '{tag}'")
            != "0\n", 30, "it is stored")
        b.evaluate("ask()")
        b.until(f"/^1 event/.test({SAID})")
        b.evaluate(f"{HEADS}[0].click()")
        assert event["message"][:3] in b.text(".open") or words == "*six*"
        assert b.evaluate("document.documentElement.scrollWidth") <= 1280
        assert b.evaluate("document.querySelectorAll('main b').length") == 0
        tag += "x"


def test_a_flood_live(service, page):
    """The page stays usable, keeps the newest 2000 and counts the others."""
    b = page("q=flood&range=300")
    live_of(b)
    slow, sent, end = 0, 0, time.monotonic() + 8
    while time.monotonic() < end:
        service.send([{"timestamp": now(), "message": f"flood {sent + i}",
                       "service": f"s{i % 7}"} for i in range(1000)])
        sent += 1000
        begun = time.monotonic()
        b.evaluate("found.length")
        slow = max(slow, time.monotonic() - begun)
        time.sleep(max(0, 0.2 - (time.monotonic() - begun)))
    b.until("live.waiting.length === 0 && found.length === 2000")
    assert b.evaluate("document.querySelectorAll('.row').length") == 2000
    newest = b.evaluate("found[0].message")
    assert newest == f"flood {sent - 1}" or b.evaluate("live.dropped") > 0
    assert slow < 3, slow
    print(f"{sent} events, slowest answer {slow:.2f} s,", b.evaluate(SAID))


def test_the_focus_stays_while_live(service, page):
    b = page("q=focus&range=300")
    live_of(b)
    service.send([{"timestamp": now(), "message": "focus 1"}])
    b.until("found.length === 1", 10)
    b.evaluate(f"{HEADS}[0].click(); document.querySelector("
               "'.open .do button').focus()")
    service.send([{"timestamp": now(), "message": "focus 2"}])
    b.until("found.length === 2", 10)
    assert b.evaluate("document.activeElement.innerText") == \
        "What happened around it"
    # another view ends it where nothing comes
    b.evaluate("document.activeElement.click()")
    b.until("view.around && live === null")


def test_a_broker_goes_and_comes_while_live(service, page):
    """It is named, and heard again by itself."""
    b = page("q=again&range=300")
    live_of(b)
    broker = service.brokers[1]
    broker.stop(signal.SIGTERM)
    b.until(f"/no live events from 127.0.0.1:{broker.port}/.test({SAID})", 20)
    broker.start(ring=False)
    b.until(f"live.stream && !/no live/.test({SAID})", 30)
    wait_for(lambda: post(broker.port, json.dumps(
        {"timestamp": now(), "message": "again"}))[0] == 204, 30, "it takes")
    b.until("found.length >= 1", 20)


def test_the_clock_of_the_browser(page, browser):
    """The hour that a clock has twice stays the one that was meant."""
    browser.call("Emulation.setTimezoneOverride", timezoneId="Europe/Berlin")
    try:
        # 02:30 and 02:45 for the second time, 25 October 2026
        b = page("from=1792891800&to=1792892700")
        assert b.evaluate("document.querySelector('#from').value") \
            == "2026-10-25T02:30"
        b.evaluate("document.querySelector('#search').requestSubmit()")
        settled(b)
        assert b.evaluate("location.hash") == "#from=1792891800&to=1792892700"
        assert "Europe/Berlin" in b.text("#zone")
        assert b.evaluate("local('2026-07-01 10:00:00.5')") \
            == "2026-07-01 12:00:00.500"
    finally:
        browser.call("Emulation.setTimezoneOverride", timezoneId="")


def test_clickhouse_is_away(service, page):
    """Said in words; what comes is shown all the same."""
    service.clickhouse.kill()
    try:
        b = page()
        assert "ClickHouse cannot be reached" in b.evaluate(SAID)
        b.evaluate("toggle(true)")
        b.until(LISTENS)
        service.send([{"timestamp": now(), "message": "not lost"}])
        b.until("found.length === 1", 10)
    finally:
        service.clickhouse.start()


def test_nobody_may_read(tmp_path, browser):
    """A broker that knows no user for it says so."""
    broker = ShippedBroker(tmp_path / "b")
    try:
        browser.open(f"http://127.0.0.1:{broker.port}/logs")
        browser.until(f"/No user of ClickHouse/.test({SAID})")
        browser.events.clear()
    finally:
        broker.stop(signal.SIGTERM)


def test_by_which_name(service, tmp_path):
    """A page whose name somebody leads to this address reads nothing here."""
    def status(port, path, name, method="GET"):
        with socket.create_connection(("127.0.0.1", port), 10) as s:
            s.sendall(f"{method} {path} HTTP/1.1\r\nHost: {name}\r\n"
                      "X-Requested-With: logbroker\r\nContent-Length: 8\r\n"
                      "Connection: close\r\n\r\nSELECT 1".encode())
            return int(s.recv(4096).split()[1])

    edge, broker = service.edge.figures, service.brokers[0].port
    for name in ("localhost", "localhost:9145", "127.0.0.1", "[::1]:9145",
                 "edge-1", "edge-1.ru-central1.internal", "10.0.0.5:80"):
        assert status(edge, "/logs/query", name, "POST") == 200, name
        assert status(edge, "/cluster", name) == 200
        assert status(broker, "/logs/query", name, "POST") == 200
    for name in ("evil.example", "evil.example:9145", "localhost.evil.example",
                 "127.0.0.1.evil.example", "internal.evil.example",
                 "evilinternal.co"):
        for path in ("/logs", "/logs/query", "/cluster", "/cluster/tail",
                     "/cluster/1/tail", "/cluster/1", "/cluster/senders"):
            assert status(edge, path, name, "POST" if "query" in path
                          else "GET") == 403, (name, path)
        assert status(broker, "/logs/query", name, "POST") == 403
        assert status(broker, "/tail", name) == 403
        # of no use to a page, and asked for by names of all kinds
        assert status(edge, "/metrics", name) == 200
        assert status(service.edge.port, "/log", name, "POST") == 400
    own = Edge(tmp_path / "own", [broker], page="https://logs.evil.example:1/x")
    try:
        assert status(own.figures, "/logs", "logs.evil.example") == 200
        assert status(own.figures, "/logs", "logs-evil.example") == 403
    finally:
        own.stop()
