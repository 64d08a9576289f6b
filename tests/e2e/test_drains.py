"""What sends logs by HTTP and asks nobody how: drains of clouds, Serilog,
forms of Python's logging."""

import gzip
import json
import logging
import logging.handlers
import urllib.parse

import pytest

from env import spool
from env.http import error
from env.nginx import Nginx

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
LOGPLEX = {"Content-Type": "application/logplex-1"}

# as docs/senders.md has it
SERVER = """
    location = /.well-known/fastly/logging/challenge {
        return 200 "*\\n";
    }
    location /drain/ {
        logbroker; logbroker_content_type json;
        add_header x-vercel-verify 6c1b4c5f7d always;
    }
"""


@pytest.fixture(scope="module")
def nginx(tmp_path_factory):
    with Nginx(tmp_path_factory.mktemp("drains"), spool="size=8m",
               http="client_max_body_size 4m;", server=SERVER) as n:
        yield n


def stored(nginx, path, body, headers, status=204):
    a = nginx.post(path, body, headers)
    assert a.status == status, a
    return spool.records(nginx.spool)[-1].payload.decode()


def test_python_http_handler(nginx):
    """The real one; its attributes become members."""
    log = logging.getLogger("shop")
    handler = logging.handlers.HTTPHandler(f"127.0.0.1:{nginx.port}",
                                           "/log/py", method="POST")
    log.addHandler(handler)
    try:
        log.warning("low: %s & 100%% \"é\"\n", 7)
    finally:
        log.removeHandler(handler)
        handler.close()
    record = spool.records(nginx.spool)[-1]
    event = json.loads(record.payload)
    assert record.stream == "py"
    assert event["msg"] == "low: %s & 100%% \"é\"\n"
    assert (event["args"], event["levelname"], event["levelno"],
            event["name"]) == ("(7,)", "WARNING", "30", "shop")
    assert abs(float(event["created"]) - record.received_us / 1e6) < 60


@pytest.mark.parametrize("body, want", [
    ("a=1&b=x+y%20z", {"a": "1", "b": "x y z"}),
    ("&&a=&b==&", {"a": "", "b": "="}),
    ("a%3d=%zz%4&b=%", {"a=": "%zz%4", "b": "%"}),
    ("m=%D1%8F&%22=%5C%0A%00", {"m": "я", '"': "\\\n\0"}),
    ("m=" + "x" * 100000, {"m": "x" * 100000}),
    ("m=%FF%E2%82", {"m": "\ufffd\ufffd"}),
    ('{"a": 1}', {"a": 1}), (' \n[{"a":1}]', {"a": 1}),
    ("a=1\n", {"a": "1"}),
])
def test_forms(nginx, body, want):
    assert json.loads(stored(nginx, "/log", body, FORM)) == want


def test_forms_in_a_thread(nginx):
    body = urllib.parse.urlencode({f"k{i}": "ü" * 50 for i in range(2000)})
    event = json.loads(stored(nginx, "/log", body, FORM))
    assert event == {f"k{i}": "ü" * 50 for i in range(2000)}


@pytest.mark.parametrize("body, status, words", [
    ("hello", 400, "neither JSON nor"), ("a=b c", 400, "neither JSON nor"),
    ("a&b=1", 400, "neither JSON nor"), ("=1", 400, "neither JSON nor"),
    ("&", 400, "neither JSON nor"), ("", 400, "no event"),
    ("\n", 400, "no event"), ('{"a":', 400, "the body ends"),
    ('a=1&b="x"', 400, "neither JSON nor"),
    ("m=" + "x" * 2**20, 413, "larger than"),
])
def test_bad_forms(nginx, body, status, words):
    a = nginx.post("/log", body, FORM)
    assert a.status == status
    assert words in error(a)["error"]


def frame(message, pri=190, header="2026-03-04T05:06:07.1+00:00 h app web.1 -"):
    text = f"<{pri}>1 {header} {message}\n".encode()
    return b"%d %s" % (len(text), text)


def test_logplex(nginx):
    body = frame("State changed") + frame('{"level":"warn","msg":"x"}', 134) \
        + frame("") + frame("[1] - é\t")
    headers = dict(LOGPLEX, **{"Logplex-Msg-Count": "4",
                               "Logplex-Frame-Id": "09C5F3"})
    a = nginx.post("/log/heroku", body, headers)
    assert (a.status, a.body, a.headers["Content-Length"]) == (200, b"", "0")
    record = spool.records(nginx.spool)[-1]
    assert (record.stream, record.events) == ("heroku", 4)
    same = {"timestamp": "2026-03-04T05:06:07.1+00:00",
            "syslog_hostname": "h", "appname": "app", "procid": "web.1",
            "PRIORITY": 6, "facility": 23}
    assert [json.loads(e) for e in record.payload.splitlines()] == [
        same | {"message": "State changed"},
        same | {"level": "warn", "msg": "x", "facility": 16},
        same | {"message": ""}, same | {"message": "[1] - é\t"}]
    # the same frame again, as Logplex repeats it
    assert nginx.post("/log/heroku", body, headers).status == 200
    assert spool.records(nginx.spool)[-1].position == record.position


def test_logplex_with_bad_frames(nginx):
    good = frame("good")
    for body, reason, place in (
            (good + frame("bad", pri=999), "a frame is <PRI>", "frame 1"),
            (frame("bad", header="x") + good, "a frame is <PRI>", "frame 0"),
            (good + b"9999 <1>1 cut", "a frame is its length", "frame 1"),
            (good + b"hello", "a frame is its length", "frame 1"),
            (frame("x" * 2**20) + good, "the event is too large", "frame 0")):
        lines = stored(nginx, "/log", body, LOGPLEX | {
            "Logplex-Msg-Count": "2"}, 200).splitlines()
        events = [json.loads(x) for x in lines if x[0] == "{"]
        assert len(events) == 2
        rejected, = (e for e in events if "reason" in e)
        assert rejected["reason"].startswith(reason)
        assert rejected["place"] == place
        assert [e["message"] for e in events if "message" in e] == ["good"]
        # each behind the context of its stream
        at = next(i for i, x in enumerate(lines) if '"reason"' in x)
        assert lines[at - 1] == '\x01{"stream":"rejected"}'
        if at < len(lines) - 1:
            assert lines[at + 1] == "\x01{}"


@pytest.mark.parametrize("count", ["1", "3", "x"])
def test_logplex_of_another_number(nginx, count):
    before = len(spool.records(nginx.spool))
    a = nginx.post("/log", frame("a") + frame("b"),
                   LOGPLEX | {"Logplex-Msg-Count": count})
    assert a.status == 400
    assert "Logplex-Msg-Count" in error(a)["error"]
    assert nginx.post("/log", b"", LOGPLEX).status == 400
    assert len(spool.records(nginx.spool)) == before


def test_logplex_is_counted_where_it_is_no_utf8(nginx):
    before = nginx.status()["replaced"]
    body = frame("a")[:-2] + b"\xff\n"
    assert "\ufffd" in stored(nginx, "/log", body, LOGPLEX, 200)
    assert "\ufffd" in stored(nginx, "/log", "a=%FF", FORM)
    assert nginx.status()["replaced"] == before + 2


def test_cloudflare(nginx):
    """Logpush: a file to try the place, then NDJSON; both packed."""
    for name, kind, lines in (
            ("test.txt.gz", "text/plain", [{"content": "tests"}]),
            ("logs", "application/octet-stream",
             [{"EdgeStartTimestamp": "2026-03-04T05:06:07Z", "RayID": str(i)}
              for i in range(3)]),
            ("logs", "application/gzip", [{"a": 1}, {"a": 2}])):
        body = gzip.compress("\n".join(map(json.dumps, lines)).encode())
        got = stored(nginx, "/drain/cf", body, {
            "Content-Type": kind, "Content-Encoding": "gzip"})
        assert [json.loads(x) for x in got.splitlines()] == lines, name


def test_fastly(nginx):
    a = nginx.request("GET", "/.well-known/fastly/logging/challenge")
    assert (a.status, a.body) == (200, b"*\n")
    for body in ('{"a":1}\n{"a":2}\n', '[{"a":1},{"a":2}]'):
        assert stored(nginx, "/drain/fastly", body, {
            "Content-Type": "text/csv"}) == '{"a":1}\n{"a":2}\n'


def test_vercel(nginx):
    event = {"id": "1", "message": "m", "timestamp": 1772600767123,
             "source": "lambda", "projectId": "p", "level": "error"}
    for body, status in ((json.dumps([event]), 204), ("", 400)):
        a = nginx.post("/drain/vercel", body, {
            "Content-Type": "application/json", "x-vercel-signature": "x"})
        assert a.status == status
        assert a.headers["x-vercel-verify"] == "6c1b4c5f7d"
    assert json.loads(spool.records(nginx.spool)[-1].payload) == event


@pytest.mark.parametrize("kind", [
    "application/vnd.serilog.clef", "application/vnd.serilog.clef+json",
    "application/json", "application/x-ndjson; charset=utf-8"])
def test_serilog(nginx, kind):
    lines = [{"@t": "2026-03-04T05:06:07.8Z", "@mt": "a {Id}", "Id": 7},
             {"@t": "2026-03-04T05:06:08Z", "@m": "b", "@l": "Warning"}]
    for body in ("\n".join(map(json.dumps, lines)),
                 json.dumps({"events": lines}), json.dumps({"Events": lines})):
        got = stored(nginx, "/log", body, {"Content-Type": kind})
        assert [json.loads(x) for x in got.splitlines()] == lines
