"""logbroker-spool on a spool in use: shows what is there, changes nothing."""

import contextlib
import ctypes
import hashlib
import json
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import threading
import time

import pytest

from env.broker import FAST, figures
from env.build import ROOT, find
from env.http import post
from env.nginx import Nginx
from env.process import wait_for

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
    assert "0 events delivered, 0 set aside as dead letters, 0 bytes" in text


@pytest.mark.parametrize("command", [
    ["stat"], ["cat"], ["verify"], ["replay"], ["resize", "--size", "8m"]])
def test_no_such_ring(nginx, command):
    r = tool(nginx, *command, "--ring", "99")
    assert r.returncode == 1 and "has no ring 99" in r.stderr
    assert "nan" not in r.stdout


def test_no_such_command(nginx):
    r = tool(nginx, "frobnicate")
    assert r.returncode == 2
    assert r.stderr == ('logbroker-spool: "frobnicate" is no command, see '
                        "logbroker-spool --help\n")


@pytest.mark.parametrize("command", ["stat", "cat"])
def test_output_on_a_full_disk(nginx, command):
    """It is not the spool's fault."""
    nginx.post("/log", '{"a":1}')
    with open("/dev/full", "w") as full:
        r = subprocess.run([find("logbroker-spool"), command, nginx.spool],
                           stdout=full, stderr=subprocess.PIPE, text=True,
                           env=nginx.env)
    assert r.returncode == 1
    assert r.stderr == ("logbroker-spool: what is printed cannot be written: "
                        "No space left on device\n")


@pytest.mark.parametrize("program", ["logbroker-spool", "logbroker-flusher"])
@pytest.mark.parametrize("option", ["--help", "--version", "--settings"])
def test_words_on_a_full_disk(program, option):
    if (program, option) == ("logbroker-spool", "--settings"):
        pytest.skip("it has none")
    with open("/dev/full", "w") as full:
        r = subprocess.run([find(program), option], stdout=full,
                           stderr=subprocess.PIPE, text=True)
    assert r.returncode == 1
    assert r.stderr == (f"{program}: what is printed cannot be written: "
                        "No space left on device\n")


def test_how_long_the_spool_lasts(nginx):
    """At the rate of the last day, or since the ring was made; the module says
    the same."""
    assert "nothing has come" in tool(nginx, "stat").stdout
    assert nginx.status()["lasts_seconds"] is None
    for _ in range(10):
        assert nginx.post("/log", json.dumps({"a": "x" * 9000})).status == 204
    wait_for(lambda: nginx.status()["total"]["backlog_events"] == 10,
             what="the last one in the status")
    now = time.time()
    s = json.loads(tool(nginx, "stat", "--json").stdout)
    said = nginx.status()["lasts_seconds"]
    lasting = s["lasting"]
    assert lasting["received_bytes"] == \
        sum(r["committed"] for r in s["rings"]) > 90000
    made = min(r["created_us"] for r in nginx.status()["rings"]) / 1e6
    assert now - made - 1 < lasting["window_seconds"] < now - made + 5
    rate = lasting["received_bytes"] / lasting["window_seconds"]
    room = 0.9 * sum(r["capacity"] for r in s["rings"])
    backlog = sum(r["backlog_bytes"] for r in s["rings"])
    assert abs(lasting["empty_seconds"] - room / rate) < 2
    assert abs(lasting["seconds"] - (room - backlog) / rate) < 2
    assert said * 0.5 < lasting["seconds"] < said * 2 + 10
    hours = [float(x) for x in re.findall(
        r"lasts ([0-9.]+) hours of outage, ([0-9.]+) hours from now on",
        tool(nginx, "stat").stdout)[0]]
    assert hours[1] <= hours[0] < lasting["empty_seconds"] / 3600 * 2 + 0.1


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
    assert [row["seq"] for row in rows[:4]] == [0, 1, 2, 3]
    # in this ring or, as it is large, the first one of another
    assert rows[4]["seq"] in (4, 0)
    assert [row["stream"] for row in rows] == [
        "default", "default", "app", "app", "default"]
    assert rows[1]["event"] == {"b": "ä"}
    assert len(rows[4]["event"]["long"]) == 2500000


def test_filters(nginx):
    for n in range(6):
        nginx.post(f"/log/s{n % 2}", '{"n":%d}{"n":%d}' % (2 * n, 2 * n + 1))
    slot = str(nginx.status()["worker"]["slot"])

    def numbers(*args):
        r = tool(nginx, "cat", *args)
        assert r.returncode == 0, r.stderr
        return [json.loads(line)["n"] for line in r.stdout.splitlines()]

    assert numbers("--ring", slot, "--seq", "3-8") == [3, 4, 5, 6, 7, 8]
    assert numbers("--ring", slot, "--seq", "10-") == [10, 11]
    assert numbers("-r", slot, "-q", "7", "-s", "s1") == [7]
    assert numbers("-r", slot, "-q", "7", "-s", "s0") == []
    assert numbers("--since", "2024-05-17 10:00:00") == list(range(12))
    assert numbers("--until", "2024-05-17T10:00:00Z") == []
    now = int(time.time())
    assert numbers("--since", str(now - 60), "--until", str(now + 60)) == (
        list(range(12)))
    assert numbers("--since", str(now + 60)) == []
    assert json.loads(tool(nginx, "verify", "-j", "-s", "s1").stdout)[
        "events"] == 6


def test_progress(tmp_path):
    """On a terminal, long work says how far it is; a file gets none of it."""
    with Nginx(tmp_path, spool="size=600m rings=1",
               http="client_max_body_size 32m; "
                    "client_body_buffer_size 32m;") as n:
        for _ in range(10):
            assert n.post("/log", b'{"number":123456789}' * 500000
                          ).status == 204

        def cat(stderr):
            subprocess.run([find("logbroker-spool"), "cat", str(n.spool)],
                           stdout=subprocess.DEVNULL, stderr=stderr,
                           timeout=120, env=n.env)

        master, slave = pty.openpty()
        cat(slave)
        os.close(slave)
        said = b""
        while select.select([master], [], [], 1)[0]:
            try:
                said += os.read(master, 65536)
            except OSError:
                break
        os.close(master)
        assert b"ring 0 [##" in said and b"%" in said
        assert b"\r\x1b[K" in said
        with open(tmp_path / "said", "wb") as f:
            cat(f)
        said = (tmp_path / "said").read_bytes()
        assert b"#" not in said


def rows(server):
    return sorted(int(x) for x in server.query(
        "SELECT JSONExtractInt(attributes, 'n') FROM logbroker.logs").split())


def test_replay(clickhouse, make_broker):
    """ClickHouse lost what it had: from the rings it comes back, at most as
    often as one asks."""
    broker = make_broker(clickhouse.url, flusher=FAST)
    broker.start()
    for n in range(0, 40, 4):
        assert post(broker.port, "".join(
            '{"n":%d}' % (n + i) for i in range(4)))[0] == 204
    wait_for(lambda: rows(clickhouse) == list(range(40)), 60, "delivery")
    wait_for(broker.drained, 60, "acks")
    slot = str(broker.status()["worker"]["slot"])

    def spool(*args, status=0):
        r = subprocess.run(
            [find("logbroker-spool"), *args, str(broker.spool)],
            capture_output=True, text=True, timeout=60, env=broker.env)
        assert r.returncode == status, r.stderr
        return r.stdout + r.stderr

    assert spool("cat") == ""
    assert len(spool("cat", "--delivered").splitlines()) == 40
    assert "which events?" in spool("replay", status=2)
    assert "give --ring too" in spool("replay", "--seq", "3", status=2)
    assert "no delivered event" in spool(
        "replay", "--until", "2024-05-17", status=1)

    clickhouse.query("TRUNCATE TABLE logbroker.logs")
    wait_for(lambda: broker.status()["total"]["rings"] >= 2, what="a spare")
    said = json.loads(spool("replay", "--json", "--ring", slot, "--seq",
                            "10-29"))
    assert said == {"slot": int(slot), "events": 20, "last_seq": 29}
    wait_for(lambda: rows(clickhouse) == list(range(10, 30)), 60, "replay")
    wait_for(broker.drained, 60, "acks")
    # by time: everything that was ever delivered, the replay's copies too
    since = str(int(time.time()) - 600)
    clickhouse.query("TRUNCATE TABLE logbroker.logs")
    spool("replay", "--since", since, "--ring", slot)
    wait_for(lambda: rows(clickhouse) == list(range(40)), 60, "replay")
    f = wait_for(lambda: figures(broker).get("delivered_events") == 100
                 and figures(broker), what="figures")
    assert f["unaccounted_events"] == 0


def test_resize(clickhouse, make_broker):
    """Larger rings without a stop: those that are free and delivered change,
    and everything goes on exactly once."""
    broker = make_broker(clickhouse.url, flusher=FAST, size="64k")
    broker.start()
    sent = 0

    def send(count):
        nonlocal sent
        for _ in range(count):
            assert post(broker.port, '{"n":%d}' % sent)[0] == 204
            sent += 1

    def sizes():
        return {r["slot"]: (r["capacity"], r["locked"])
                for r in broker.stat()["rings"]}

    def resize(*args):
        return subprocess.run(
            [find("logbroker-spool"), "resize", *args, str(broker.spool)],
            capture_output=True, text=True, timeout=60, env=broker.env)

    assert "give --size" in resize().stderr
    assert "between 64k and 1t" in resize("--size", "1k").stderr
    send(200)
    wait_for(broker.drained, 60, "delivery")
    wait_for(lambda: broker.status()["total"]["rings"] >= 2, what="a spare")
    r = resize("--size", "1m")
    assert r.returncode == 1 and "held by another process" in r.stderr
    assert sorted(sizes().values()) == [(65536, True), (1048576, False)]

    # nginx.conf says size=1m from now on: the worker takes the large one
    broker.conf.write_text(broker.conf.read_text().replace(
        "size=64k", "size=1m"))
    broker.reload()
    wait_for(lambda: (1048576, True) in sizes().values()
             and (65536, False) in sizes().values(), 30, "the new worker")
    send(200)
    wait_for(broker.drained, 60, "delivery")
    wait_for(lambda: resize("--size", "1m").returncode == 0 or
             {s for s, _ in sizes().values()} == {1048576}, 30,
             "the rest to be resized", every=0.2)
    broker.reload()
    send(200)
    wait_for(broker.drained, 60, "delivery")
    assert {size for size, _ in sizes().values()} == {1048576}
    assert rows(clickhouse) == list(range(600))
    assert clickhouse.query("SELECT sum(gaps), sum(duplicates) FROM "
                            "logbroker.logbroker_audit FORMAT TSV") == "0\t0\n"
    f = wait_for(lambda: figures(broker).get("delivered_events") == 600
                 and figures(broker), what="figures")
    assert f["unaccounted_events"] == 0


def test_resize_keys(clickhouse, make_broker):
    """A ring is not emptied of keys that nginx may still have to know."""
    broker = make_broker(clickhouse.url, flusher=FAST, size="64k")
    broker.start()
    for key in "first", "second":
        assert post(broker.port, '{"n":1}',
                    headers={"Idempotency-Key": key})[0] == 204
    wait_for(broker.drained, 60, "delivery")
    broker.nginx.stop()
    slot = next(str(r["slot"]) for r in broker.stat()["rings"]
                if r["next_seq"])

    def resize(size, *args):
        return subprocess.run(
            [find("logbroker-spool"), "resize", "--json", "--size", size,
             "--ring", slot, *args, str(broker.spool)],
            capture_output=True, text=True, timeout=60, env=broker.env)

    r = resize("1m")
    assert r.returncode == 1 and r.stdout == "", r
    assert "idempotency keys" in r.stderr and "--force" in r.stderr
    assert int(re.search(r"(\d+) s old", r.stderr)[1]) < 60
    assert resize("64k").returncode == 0
    r = resize("1m", "--force")
    assert json.loads(r.stdout) == {
        "slot": int(slot), "capacity": 1 << 20, "resized": True}, r


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


@pytest.mark.parametrize("args, words", [
    (("stta",), "no command"),
    (("cat", "--seq", "1-5"), "give --ring too"),
    (("cat", "--seq", "5-1"), "seqs are"),
    (("cat", "--ring", "256"), "no slot"),
    (("cat", "--since", "yesterday"), "a time is"),
    (("cat", "--until", "2024-13-01"), "a time is"),
    (("cat", "--nonsense"), "usage"),
])
def test_wrong_options(nginx, args, words):
    r = tool(nginx, *args)
    assert r.returncode == 2
    assert words in r.stderr


def test_told_everywhere():
    """The manual page and the completion know what --help knows."""
    said = subprocess.run([find("logbroker-spool"), "--help"], timeout=10,
                          capture_output=True, text=True, check=True).stdout
    commands = re.findall(r"^  (dead \w+|[a-z]+)  +\S", said, re.M)
    options = re.findall(r"^  (?:-.,|   ) (--[a-z-]+)", said, re.M)
    assert len(commands) == 12 and len(options) == 18, (commands, options)
    man = (ROOT / "man/logbroker-spool.1.in").read_text().replace("\\", "")
    completion = (ROOT / "conf/completion/logbroker-spool").read_text()
    for name in commands:
        assert f"\n.B {name}\n" in man, name
        assert re.search(rf'"[^"]*\b{name.split()[-1]}\b', completion), name
    for name in options:
        assert name in man and name in completion, name


def test_names_that_are_no_utf8(nginx):
    """JSON is JSON whatever the bytes of a path are."""
    nginx.post("/log", "{}")
    nginx.stop()
    path = os.fsencode(nginx.spool) + b" \xff\"\\\x01"
    shutil.copytree(os.fsencode(nginx.spool), path)
    shutil.rmtree(nginx.spool)

    def run(command, *args):
        return subprocess.run([find("logbroker-spool"), command, *args, path],
                              capture_output=True, timeout=30, check=True,
                              env=nginx.env).stdout

    run("move")
    for command in "stat", "verify":
        tie = json.loads(run(command, "--json").decode())["tie"]
        assert tie["path"] == path.decode(errors="replace"), tie
    assert path in run("stat")


def test_mistakes(nginx, tmp_path):
    r = subprocess.run([find("logbroker-spool"), "stat", str(tmp_path / "reports")],
                       capture_output=True, text=True, timeout=60)
    assert r.returncode == 1
    assert "is not a spool" in r.stderr


def test_owner(nginx):
    """Rings made by root belong to whom the old ones, or the spool, belong:
    nginx's workers and the flusher open them."""
    if os.getuid() != 0:
        pytest.skip("needs root")
    wait_for(lambda: nginx.status()["total"]["rings"] >= 2, what="a spare")
    for path in (nginx.spool, *nginx.spool.glob("ring-*")):
        os.chown(path, 12345, 23456)
    tool(nginx, "resize", "--size", "1m")
    resized = [p for p in nginx.spool.glob("ring-????")
               if p.stat().st_size < 2 << 20]
    assert len(resized) == 1
    assert (resized[0].stat().st_uid, resized[0].stat().st_gid) == (
        12345, 23456)


class Fuse:
    """An empty file system, served by this process as the kernel asks."""

    def __init__(self, path, kind, source):
        self.path = path
        self.fd = os.open("/dev/fuse", os.O_RDWR)
        libc = ctypes.CDLL(None, use_errno=True)
        options = f"fd={self.fd},rootmode=40000,user_id=0,group_id=0"
        if libc.mount(source.encode(), str(path).encode(), kind.encode(), 0,
                      options.encode()):
            raise OSError(ctypes.get_errno(), "mount")
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        attr = struct.pack("<QII6Q10I", 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0,
                           0o40755, 2, 0, 0, 0, 4096, 0)
        answers = {
            26: struct.pack("<4I2H2I2H8I", 7, 31, 0, 0, 1, 1, 4096, 1, 1, 0,
                            *[0] * 8),               # INIT
            3: attr,                                # GETATTR
            27: struct.pack("<QII", 1, 0, 0),       # OPENDIR
            17: bytes(80),                          # STATFS
            29: b"", 34: b"",                       # RELEASEDIR, ACCESS
        }
        while True:
            try:
                request = os.read(self.fd, 1 << 17)
            except OSError:
                return  # unmounted
            _, opcode, unique = struct.unpack_from("<IIQ", request)
            if opcode in (2, 42):  # FORGET, BATCH_FORGET
                continue
            error = 0 if opcode in answers else -2  # ENOENT
            body = answers.get(opcode, b"")
            with contextlib.suppress(OSError):
                os.write(self.fd, struct.pack("<IiQ", 16 + len(body), error,
                                              unique) + body)

    def close(self):
        subprocess.run(["umount", "-l", str(self.path)], check=True)
        os.close(self.fd)


@pytest.mark.parametrize("kind, source, network", [
    ("fuse.sshfs", "me@host:/logs", True),
    ("fuse.s3fs", "s3fs", True),
    ("fuse.bindfs", "/logs", False),
])
def test_fuse(tmp_path, kind, source, network):
    """Network file systems behind FUSE are refused as others are."""
    path = tmp_path / "mounted"
    path.mkdir()
    try:
        fuse = Fuse(path, kind, source)
    except OSError as e:
        pytest.skip(f"FUSE cannot be used here: {e}")
    try:
        r = subprocess.run([find("logbroker-spool"), "stat", str(path)],
                           capture_output=True, text=True, timeout=30)
    finally:
        fuse.close()
    assert r.returncode == 1
    assert ("network file system" in r.stderr) == network, r.stderr
    assert (f"({kind}, {source})" if network else "is not a spool") in r.stderr
