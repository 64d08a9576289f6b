"""A spool is tied to where it is: of a copy and its original one alone is
served, and nothing is delivered twice or under the name of something else."""

import json
import os
import shutil
import subprocess

import pytest

from env.broker import AT_ONCE, NOWHERE, fill, reach, settled
from env.build import find
from env.http import post
from env.process import Process, alive, wait_for


def spool_tool(*args, prefix=(), status=0):
    r = subprocess.run([*prefix, find("logbroker-spool"), *map(str, args)],
                       capture_output=True, text=True, timeout=60)
    assert r.returncode == status, (args, r)
    return r.stdout + r.stderr


def tie(spool, prefix=()):
    return json.loads(spool_tool("stat", "--json", spool, prefix=prefix))["tie"]


def rings(spool):
    return {r["ring"] for r in json.loads(
        spool_tool("stat", "--json", spool))["rings"]}


def copy(a, b):
    # of one in use, flusher.json and a ring being made may vanish meanwhile
    r = subprocess.run(["cp", "-a", "--sparse=always", str(a.spool),
                        str(b.spool)], capture_output=True, text=True)
    assert all("flusher.json" in x or ".new'" in x
               for x in r.stderr.splitlines()), r


def each_once(clickhouse):
    """How many messages there are, each once and under one broker's name."""
    assert clickhouse.query("SELECT max(brokers) FROM "
                            "logbroker.logbroker_audit FORMAT TSV") == "1\n"
    distinct, n = map(int, clickhouse.query(
        "SELECT uniqExact(message), count() FROM logbroker.logs "
        "FORMAT TSV").split())
    assert distinct == n
    return n


def refused(broker):
    """Neither of its two processes does anything with the copy."""
    broker.start_nginx(ready=False)
    status, headers, _ = post(broker.port, '{"message":"refused"}')
    assert status == 503 and headers["Retry-After"]
    log = wait_for(lambda: "logbroker-spool adopt" in
                   (broker.dir / "error.log").read_text() and
                   (broker.dir / "error.log").read_text(), what="a log line")
    assert "logbroker-spool move" in log
    broker.start_flusher()
    assert broker.flusher.p.wait(30) == 1
    assert "logbroker-spool move" in (broker.dir / "flusher.log").read_text()


def test_copy_with_a_backlog(clickhouse, make_broker):
    """Both would deliver the backlog: the copy does not, until it has been
    made a spool of its own."""
    a = make_broker(NOWHERE, flusher=AT_ONCE, name="a")
    b = make_broker(clickhouse.url, flusher=AT_ONCE, name="b")
    a.start()
    fill(a, 100, "original")
    copy(a, b)  # while it runs
    assert tie(a.spool)["state"] == "here"
    assert tie(b.spool)["state"] == "elsewhere"
    a.stop()
    reach(a, clickhouse.url)
    refused(b)
    # what changes something is refused, what looks is not
    for args in (("replay", "--since", "1"), ("resize", "--size", "64k"),
                 ("dead", "replay")):
        said = spool_tool(*args, b.spool, *(["all"] if args[0] == "dead"
                                            else []), status=1)
        assert "logbroker-spool move" in said, said
    assert len(spool_tool("cat", b.spool).splitlines()) == 100
    # it is not gone: the original is where it was
    assert "is still at" in spool_tool("move", b.spool, status=1)
    before = sorted((p.name, p.stat().st_mtime_ns)
                    for p in b.spool.iterdir() if p.name != "flusher.json")
    said = spool_tool("adopt", b.spool)
    assert "100 events that are not delivered" in said and "--yes" in said
    assert before == sorted((p.name, p.stat().st_mtime_ns)
                            for p in b.spool.iterdir()
                            if p.name != "flusher.json")
    done = json.loads(spool_tool("adopt", "--yes", "--json", b.spool))
    assert done["done"] and done["dropped_events"] == 100
    # nginx finds out by itself
    wait_for(b.ready, 30, "a ring")
    b.start_flusher()
    a.start()
    fill(a, 50, "original later")
    fill(b, 50, "copy later")
    for broker in (a, b):
        wait_for(broker.drained, 60, "delivery")
    settled(a, clickhouse, 200)
    assert each_once(clickhouse) == 200
    assert not rings(a.spool) & rings(b.spool)


def test_copy_with_nothing_to_deliver(clickhouse, make_broker):
    """An image of a broker that had delivered everything: each machine made
    from it is a broker of its own at once, nobody has to do anything."""
    a = make_broker(clickhouse.url, flusher=AT_ONCE, name="a")
    others = [make_broker(clickhouse.url, flusher=AT_ONCE, name=n) for n in "bc"]
    a.start()
    fill(a, 50, "before")
    settled(a, clickhouse, 50)
    a.stop()
    for other in others:
        copy(a, other)
    # whoever of the two comes first makes it anew
    a.start()
    others[0].start()
    others[1].start_flusher()
    wait_for(lambda: "serving spool" in
             (others[1].dir / "flusher.log").read_text(), what="the flusher")
    others[1].start_nginx()
    for other, log in zip(others, ("error.log", "flusher.log")):
        said = (other.dir / log).read_text()
        assert "it has a new identity" in said, said
        assert not rings(a.spool) & rings(other.spool)
        assert tie(other.spool)["state"] == "here"
    for broker in (a, *others):
        fill(broker, 50, broker.name)
    for broker in (a, *others):
        wait_for(broker.drained, 60, "delivery")
    settled(a, clickhouse, 200)
    assert each_once(clickhouse) == 200


def figures_file(broker):
    path = broker.spool / "flusher.json"
    return path.exists() and json.loads(path.read_text())


def test_moved(clickhouse, make_broker):
    """Renamed on its disk: no questions. Onto another disk: one command."""
    a = make_broker(NOWHERE, flusher=AT_ONCE, name="a")
    a.start()
    fill(a, 30, "x")
    a.stop()
    away = a.dir / "away"
    a.spool.rename(away)
    assert tie(away)["state"] == "here"
    away.rename(a.spool)

    subprocess.run(["cp", "-a", str(a.spool), str(away)], check=True)
    shutil.rmtree(a.spool)
    away.rename(a.spool)
    assert tie(a.spool)["state"] == "elsewhere"
    reach(a, clickhouse.url)
    refused(a)
    assert "tied to" in spool_tool("move", a.spool)
    assert "nothing to do" in spool_tool("move", a.spool)
    wait_for(a.ready, 30, "a ring")
    a.start_flusher()
    fill(a, 10, "y")
    settled(a, clickhouse, 40)
    # and for good
    a.stop()
    a.start()
    fill(a, 10, "z")
    settled(a, clickhouse, 50)


def test_tied_by_an_older_release(make_broker):
    """A spool without a tie is served, and tied by that."""
    a = make_broker(NOWHERE, flusher=AT_ONCE, name="a")
    a.start()
    fill(a, 10, "x")
    a.stop()
    uuids = rings(a.spool)
    with open(a.spool / "spool", "r+b") as f:
        f.seek(64)
        f.write(bytes(448))
    assert tie(a.spool)["state"] == "none"
    assert "nginx or the flusher" in spool_tool("stat", a.spool)
    assert tie(a.spool)["state"] == "none"
    a.start()
    assert tie(a.spool)["state"] == "here"
    assert tie(a.spool)["path"] == str(a.spool)
    assert rings(a.spool) >= uuids
    assert len(spool_tool("cat", a.spool).splitlines()) == 10


def test_adopt_keeps_what_nobody_else_has(make_broker):
    """Where the spool was last used, adopt drops nothing."""
    a = make_broker(NOWHERE, flusher=AT_ONCE, name="a")
    a.start()
    fill(a, 10, "x")
    a.stop()
    said = spool_tool("adopt", "--yes", a.spool, status=1)
    assert "let the flusher deliver it first" in said
    assert len(spool_tool("cat", a.spool).splitlines()) == 10


def test_adopt_of_a_spool_in_use(make_broker):
    a = make_broker(NOWHERE, flusher=AT_ONCE, name="a")
    a.start()
    said = spool_tool("adopt", "--yes", a.spool, status=1)
    assert "held by another process" in said
    assert post(a.port, "{}")[0] == 204


def test_path_changed(clickhouse, make_broker):
    """What is left in the old spool is named: by nginx at the reload, by the
    flusher at its start."""
    a = make_broker(NOWHERE, flusher=AT_ONCE, name="a")
    a.start()
    fill(a, 20, "x")
    old, a.spool = a.spool, a.dir / "elsewhere"
    for conf in (a.conf, a.settings):
        conf.write_text(conf.read_text().replace(str(old), str(a.spool)))
    leaving = a.nginx.workers()
    a.reload()
    log = a.dir / "error.log"
    wait_for(lambda: "the spool is" in log.read_text(), what="the reload")
    assert f'"{old}" still holds 20 events' in log.read_text()
    wait_for(lambda: a.spool.exists() and a.ready(), 30, "the new spool")
    # which still take requests into the old one
    wait_for(lambda: not any(alive(p) for p in leaving),
             what="the old workers to leave")
    a.flusher.stop()
    reach(a, clickhouse.url)
    a.start_flusher()
    wait_for(lambda: "another spool" in (a.dir / "flusher.log").read_text(),
             what="a word about the old spool")
    said = (a.dir / "flusher.log").read_text()
    assert f'another spool, "{old}", holds 20 events' in said
    fill(a, 10, "y")
    settled(a, clickhouse, 10)
    # as it is told: a flusher with the old path, for as long as it takes
    a.stop()
    settings = json.loads(a.settings.read_text())
    settings["spool"] = str(old)
    b = make_broker(clickhouse.url, flusher=AT_ONCE, name="b")
    b.settings.write_text(json.dumps(settings))
    b.spool = old
    b.start_flusher()
    settled(b, clickhouse, 30)
    b.flusher.stop()
    (a.dir / "flusher.log").write_text("")
    a.start_flusher()
    wait_for(lambda: "serving spool" in (a.dir / "flusher.log").read_text(),
             what="the flusher")
    a.flusher.stop()
    assert "another spool" not in (a.dir / "flusher.log").read_text()


def on_a_machine(tmp_path, machine_id):
    """A prefix for commands that see this machine id, whatever machine or
    container this is: in a root folder of their own."""
    if os.getuid() != 0:
        pytest.skip("needs root")
    root = tmp_path / f"root-{machine_id}"
    root.mkdir()
    file = tmp_path / machine_id
    file.write_text(machine_id * 32 + "\n")
    prefix = ["unshare", "-m", "sh", "-ec", f"""
        mount -t tmpfs tmpfs {root}
        for x in /*; do
            if [ -L "$x" ]; then cp -P "$x" {root}
            elif [ -d "$x" ]; then mkdir {root}$x; mount --rbind "$x" {root}$x
            fi
        done
        [ -e {root}/etc/machine-id ]
        mount --bind {file} {root}/etc/machine-id
        exec chroot {root} "$@" """, "sh"]
    if subprocess.run([*prefix, "true"], capture_output=True).returncode:
        pytest.skip("mounts are not allowed here")
    return prefix


def test_another_machine(make_broker, tmp_path):
    """The disk as a whole came up on another machine: a clone, or moved."""
    one, two = (on_a_machine(tmp_path, x) for x in "12")
    a = make_broker(NOWHERE, flusher=AT_ONCE, name="a")

    def flusher(machine, log):
        return Process("flusher", [*machine, find("logbroker-flusher"),
                                   "--config", str(a.settings)],
                       a.dir / log, a.env)

    a.start_nginx()  # may be in a container, and knows no machine then
    fill(a, 10, "x")
    p = flusher(one, "one.log")
    wait_for(lambda: figures_file(a), what="the flusher")
    p.stop()
    a.stop()
    assert tie(a.spool, one)["state"] == "here"
    assert "another machine" in tie(a.spool, two)["why"]
    assert flusher(two, "two.log").p.wait(30) == 1
    assert "another machine" in (a.dir / "two.log").read_text()
    spool_tool("move", a.spool, prefix=two)
    assert tie(a.spool, two)["state"] == "here"
    assert tie(a.spool, one)["state"] == "elsewhere"


def test_image_of_a_disk(make_broker, tmp_path):
    """A copy of the disk, byte by byte, on the same machine."""
    if os.getuid() != 0 or not shutil.which("mkfs.ext4"):
        pytest.skip("needs root and mkfs.ext4")
    images = [tmp_path / "disk", tmp_path / "clone"]
    mounts = [tmp_path / "mounted", tmp_path / "mounted-clone"]
    with open(images[0], "wb") as f:
        f.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", str(images[0])], check=True)
    a = make_broker(NOWHERE, flusher=AT_ONCE, name="a", size="1m")
    mounted = []

    def mount(i):
        mounts[i].mkdir()
        if subprocess.run(["mount", "-o", "loop", str(images[i]),
                           str(mounts[i])], capture_output=True).returncode:
            pytest.skip("loop devices cannot be mounted here")
        mounted.append(mounts[i])

    try:
        mount(0)
        a.spool = mounts[0] / "spool"
        for conf in (a.conf, a.settings):
            conf.write_text(conf.read_text().replace(
                str(a.dir / "spool"), str(a.spool)))
        a.start()
        fill(a, 10, "x")
        a.stop()
        subprocess.run(["sync", "-f", str(a.spool)], check=True)
        shutil.copyfile(images[0], images[1])
        mount(1)
        clone = mounts[1] / "spool"
        stats = [os.stat(p / "spool") for p in (a.spool, clone)]
        assert stats[0].st_ino == stats[1].st_ino
        assert tie(a.spool)["state"] == "here"
        assert "another disk" in tie(clone)["why"]
    finally:
        a.stop()
        for path in mounted:
            subprocess.run(["umount", str(path)])
