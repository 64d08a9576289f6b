"""logbroker-spool on a spool in use: shows what is there, changes nothing."""

import hashlib
import json
import subprocess

import pytest

from nginxd import Nginx
from stack import find

TEXT = {"Content-Type": "text/plain"}


@pytest.fixture
def nginx(tmp_path):
    with Nginx(tmp_path, workers=1, spool="size=8m",
               http="logbroker_max_event 4m; client_max_body_size 8m;") as n:
        yield n


def tool(nginx, *args):
    return subprocess.run([find("logbroker-spool"), *args, str(nginx.spool)],
                          capture_output=True, text=True, timeout=60,
                          env=nginx.env)


def ring_file(nginx):
    slot = nginx.status()["worker"]["slot"]
    return nginx.spool / f"ring-{slot:04}"


def test_stat(nginx):
    nginx.post("/log", '{"a":1}{"a":2}')
    s = json.loads(tool(nginx, "stat", "--json").stdout)
    assert not s["in_flight"] and s["delivered"] == 0
    mine = next(r for r in s["rings"] if r["backlog_events"])
    assert (mine["next_seq"], mine["backlog_events"]) == (2, 2)
    assert mine["locked"] and not mine["poisoned"]
    assert mine["backlog_bytes"] == mine["committed"]
    text = tool(nginx, "stat").stdout
    assert mine["ring"] in text and "in use" in text


def test_cat(nginx):
    """Every event on a line of its own, as it is stored, however long."""
    long = b'{"long":"%s"}' % (b"x" * 2500000)
    nginx.post("/log", '{"a": 1} {"b": "\\u00e4"}')
    nginx.post("/log/app", "first\nsecond", TEXT)
    assert nginx.post("/log", long).status == 204
    r = tool(nginx, "cat")
    assert r.returncode == 0
    assert r.stdout.encode() == (
        b'{"a":1}\n{"b":"\\u00e4"}\n{"message":"first"}\n'
        b'{"message":"second"}\n' + long + b"\n")
    assert tool(nginx, "cat", "-s", "app").stdout == (
        '{"message":"first"}\n{"message":"second"}\n')
    rows = [json.loads(line)
            for line in tool(nginx, "cat", "--json").stdout.splitlines()]
    assert [row["seq"] for row in rows] == [0, 1, 2, 3, 4]
    assert [row["stream"] for row in rows] == [
        "default", "default", "app", "app", "default"]
    assert rows[1]["event"] == {"b": "ä"}
    assert len(rows[4]["event"]["long"]) == 2500000


def test_verify(nginx):
    for i in range(10):
        nginx.post("/log", '{"n":%d}' % i)
    r = tool(nginx, "verify")
    assert r.returncode == 0
    assert "10 records, 10 events" in r.stdout and "0 damaged" in r.stdout
    with open(ring_file(nginx), "r+b") as f:
        at = f.read(1 << 16).index(b'{"n":4}')
        f.seek(at)
        f.write(b"?")
    r = tool(nginx, "verify", "--json")
    assert r.returncode == 1
    assert json.loads(r.stdout)["damaged_places"] == 1
    assert json.loads(r.stdout)["events"] == 9
    assert "are damaged" in r.stderr


def test_reads_only(nginx):
    """Not a byte changes under an idle nginx."""
    nginx.post("/log", "{}")

    def digest():
        return {p.name: hashlib.sha256(p.read_bytes()).hexdigest()
                for p in sorted(nginx.spool.iterdir())
                if not p.name.endswith(".new")}

    before = digest()
    for command in ("stat", "verify", "cat"):
        assert tool(nginx, command).returncode == 0
    after = digest()
    assert {n: after[n] for n in before} == before


def test_mistakes(nginx, tmp_path):
    assert tool(nginx, "stta").returncode == 2
    r = subprocess.run([find("logbroker-spool"), "stat", str(tmp_path / "reports")],
                       capture_output=True, text=True, timeout=60)
    assert r.returncode == 1
    assert "is not a spool" in r.stderr
