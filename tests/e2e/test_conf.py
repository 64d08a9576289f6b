"""Directives and their mistakes, variables, the status, what a spool is made
like."""

import json
import signal
import time

import pytest

from env import spool
from env.nginx import Nginx
from env.process import wait_for


@pytest.mark.parametrize("directives, words", [
    ("", "add \"logbroker_spool"),
    ("logbroker_spool;", "logbroker_spool"),
    ("logbroker_spool {s} size=32k;", "between 64k and 1t"),
    ("logbroker_spool {s} size=2t;", "between 64k and 1t"),
    ("logbroker_spool {s} size=99999999t;", "between 64k and 1t"),
    ("logbroker_spool {s} size=lots;", "is a number with k, m, g or t"),
    ("logbroker_spool {s} size=;", "is a number with k, m, g or t"),
    ("logbroker_spool {s} rings=0;", "between 1 and 256"),
    ("logbroker_spool {s} rings=257;", "between 1 and 256"),
    ("logbroker_spool {s} rings=x;", "between 1 and 256"),
    ("logbroker_spool {s} colour=red;", "knows total=, size= and rings="),
    ("logbroker_spool {s} total=32k;", "between 64k and 256t"),
    ("logbroker_spool {s} total=257t;", "between 64k and 256t"),
    ("logbroker_spool {s} total=;", "is a number with k, m, g or t"),
    ("logbroker_spool {s} total=1g total=1g;", "twice"),
    ("logbroker_spool {s} total=1g size=1m;", "and not both"),
    ("logbroker_spool {s} size=1m total=1g;", "and not both"),
    ("logbroker_spool {s} size=1m size=2m;", "twice"),
    ("logbroker_spool {s}; logbroker_spool {s};", "is duplicate"),
    ("logbroker_spool /dev/null;", "is not a directory"),
    ("logbroker_spool {s}; logbroker_sync sometimes;", "invalid value"),
    ("logbroker_spool {s}; logbroker_max_event 1;", "between 2 bytes"),
    ("logbroker_spool {s}; logbroker_max_event x;", "invalid value"),
])
def test_conf_mistakes(tmp_path, directives, words):
    nginx = Nginx(tmp_path, directives=directives.format(
        s=tmp_path / "spool"))
    status, text = nginx.test_conf()
    assert status == 1
    assert "[emerg]" in text and words in text
    assert str(nginx.conf) in text or words.startswith("add")
    assert not nginx.spool.exists()


@pytest.mark.parametrize("server, words", [
    ("location /x { logbroker; logbroker; }", "is duplicate"),
    ("location /x { logbroker; logbroker_status; }", "another handler"),
    ("location /x { logbroker; proxy_pass http://127.0.0.1; }", "duplicate"),
    ("logbroker;", "is not allowed here"),
    ("logbroker_spool /x;", "is not allowed here"),
])
def test_conf_mistakes_in_server(tmp_path, server, words):
    nginx = Nginx(tmp_path, server=server)
    status, text = nginx.test_conf()
    if "proxy_pass" in server:
        return
    assert status == 1
    assert words in text


def test_conf_touches_nothing(tmp_path):
    """Good, and tested beside a running nginx."""
    nginx = Nginx(tmp_path, spool="size=1t rings=256")
    assert nginx.test_conf()[0] == 0
    assert not nginx.spool.exists()
    with Nginx(tmp_path / "2") as other:
        before = {p.name for p in other.spool.iterdir()
                  if not p.name.endswith(".new")}
        wait_for(lambda: other.status()["worker"]["slot"] is not None,
                 what="a ring")
        slot = other.status()["worker"]["slot"]
        assert other.test_conf()[0] == 0
        assert other.post("/log", "{}").status == 204
        assert other.status()["worker"]["slot"] == slot
        assert before <= {p.name for p in other.spool.iterdir()}


def test_size_is_rounded(tmp_path):
    with Nginx(tmp_path, spool="size=65537") as nginx:
        assert nginx.status()["rings"][0]["capacity"] == 69632


def test_other_size_after_restart(tmp_path):
    """Rings of another size are used when there is nothing else."""
    with Nginx(tmp_path, spool="size=64k rings=1") as nginx:
        assert nginx.post("/log", '{"a":1}').status == 204
        nginx.write_conf(spool="size=128k rings=1")
        nginx.reload(spares=False)
        wait_for(lambda: nginx.post("/log", '{"a":2}').status == 204,
                 what="the ring")
        assert spool.events(nginx.spool) == [b'{"a":1}', b'{"a":2}']


def test_variables(nginx):
    nginx.post("/log/app", '[{"a":1},{"b":2}]')
    nginx.post("/log/app", '{"a":}')
    nginx.post("/log/a:b", "{}")
    nginx.request("GET", "/status")
    slot = nginx.status()["worker"]["slot"]
    wait_for(lambda: any("/log/a:b" in x for x in nginx.access()))
    lines = [x for x in nginx.access() if "/log" in x]
    assert lines == [
        f"204 POST /log/app stream=app events=2 bytes=16 ring={slot} error=-",
        "400 POST /log/app stream=app events=0 bytes=0 ring=- error=malformed",
        "400 POST /log/a:b stream=- events=0 bytes=0 ring=- error=stream"]
    assert any("/status stream=- events=- bytes=- ring=- error=-" in x
               for x in nginx.access())


def test_status(nginx):
    nginx.post("/log", '[{"a":1},{"b":2}]')
    nginx.post("/log", "?")
    a = nginx.request("GET", "/status")
    assert a.status == 200
    assert a.headers["Content-Type"] == "application/json"
    assert a.headers["Cache-Control"] == "no-store"
    s = json.loads(a.body)
    ring = spool.rings(nginx.spool)[s["worker"]["slot"]]
    told = s["rings"][s["worker"]["slot"]]
    assert told["uuid"].replace("-", "") == ring.uuid.hex()
    assert told["committed"] == ring.cell.committed == told["durable"]
    assert told["backlog_bytes"] == ring.cell.committed
    assert told["backlog_events"] == told["next_seq"] == 2
    assert told["locked"] is True
    assert s["total"]["backlog_events"] == 2
    assert s["accepted"] == {"requests": 1, "events": 2, "bytes": 16}
    assert s["refused"]["malformed"] == 1
    assert sum(s["refused"].values()) == 1
    assert s["flusher"] is None
    assert s["pid"] in nginx.workers()
    for text, shown in (('{"rate": 1,\n "x": [2]}', {"rate": 1, "x": [2]}),
                        ('{"rate": ', None), ("", None), ("[]", None),
                        ("{}" + " " * 70000, None)):
        (nginx.spool / "flusher.json").write_text(text)
        assert nginx.status()["flusher"] == shown
    assert nginx.request("POST", "/status", "{}").status == 405
    assert nginx.request("HEAD", "/status").status == 200
    # the counters go on after a reload
    nginx.reload()
    assert nginx.post("/log", "{}").status == 204
    assert nginx.status()["accepted"]["requests"] == 2


@pytest.mark.parametrize("spool, workers, begin, n, size, most", [
    ("", 2, "1g", 4, "256m", "2g"),
    ("size=1m", 1, "2m", 2, "1m", "8m"),
    ("size=1m rings=1", 1, "1m", 1, "1m", "1m"),
    ("total=64m", 2, "64m", 4, "16m", "64m"),
    ("total=64m", 32, "64m", 64, "1m", "64m"),
    ("total=64m rings=8", 2, "32m", 4, "8m", "64m"),
    ("total=4g", 200, "4g", 256, "16m", "4g"),
])
def test_what_all_rings_come_to(tmp_path, spool, workers, begin, n, size,
                                most):
    """nginx -t says the sum, whichever way it was asked for."""
    status, said = Nginx(tmp_path, workers=workers, spool=spool).test_conf()
    assert status == 0, said
    assert (f"takes {begin} of the disk, {n} rings of {size}, and never more "
            f"than {most}\n") in said
    assert "has room" not in said


def test_total(tmp_path):
    """It is what lies on the disk, also through reloads."""
    with Nginx(tmp_path, workers=2, spool="total=1m") as nginx:
        wait_for(lambda: nginx.status()["total"]["rings"] == 4, 20, "rings")
        assert nginx.status()["total"]["capacity"] == 1 << 20
        for _ in range(3):
            before = set(nginx.workers())
            nginx.send(signal.SIGHUP)
            wait_for(lambda: len(nginx.workers()) == 2
                     and not before & set(nginx.workers()), 20, "a reload")
            for i in range(20):
                assert nginx.post("/log", '{"n":%d}' % i).status == 204
        total = nginx.status()["total"]
        assert (total["rings"], total["capacity"]) == (4, 1 << 20)


def test_no_room_for_the_rings(tmp_path):
    """A disk that is too small is said so by nginx -t, and by /health."""
    status, said = Nginx(tmp_path, workers=2, spool="size=1t").test_conf()
    assert status == 0
    assert "has room for 0 of its 4 rings of 1t: workers without a ring " \
        "answer 503" in said
    status, said = Nginx(tmp_path, workers=2, spool="total=64k").test_conf()
    assert status == 0 and "total=65536 is too little for 4 rings" in said


def test_spool_rights(nginx):
    """The flusher's group gets in, nobody else does."""
    assert nginx.spool.stat().st_mode & 0o777 == 0o770
    for ring in nginx.spool.glob("ring-????"):
        assert ring.stat().st_mode & 0o777 == 0o660


def test_spare_rings(tmp_path):
    """There is a free ring for each worker of the next generation."""
    with Nginx(tmp_path, workers=2, spool="size=64k") as nginx:
        wait_for(lambda: nginx.status()["total"]["rings"] == 4,
                 what="two spare rings")
        time.sleep(1.5)
        assert nginx.status()["total"] | {"rings": 4, "locked": 2} == \
            nginx.status()["total"]
