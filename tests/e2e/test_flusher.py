"""The flusher against a real ClickHouse, with trouble in between."""

import json
import os
import pathlib
import signal
import subprocess

import pytest

from env.broker import FAST, fill, figures, settled
from env.build import ROOT, find
from env.door import Door
from env.http import post
from env.process import wait_for


def test_answer_lost_after_commit(clickhouse, make_broker):
    """ClickHouse has the batch, the answer never arrives: the flusher asks
    and does not send it again."""
    door = Door(clickhouse.port)
    broker = make_broker(door.url, flusher=FAST).start()
    wait_for(lambda: figures(broker).get("requests"), what="first contact")
    door.mode = "drop"
    post(broker.port, '{"n":1}\n{"n":2}')
    wait_for(lambda: figures(broker).get("unknown"), what="doubt")
    assert clickhouse.query("SELECT count() FROM logbroker.logs") == "2\n"
    door.mode = "pass"
    settled(broker, clickhouse, 2)
    f = wait_for(lambda: figures(broker)["batches"] and figures(broker),
                 what="figures")
    assert f["checks"] >= 1
    assert clickhouse.query(
        "SELECT count() FROM system.parts WHERE database = 'logbroker' "
        "AND table = 'logs'") == "1\n"
    door.close()


def test_index_is_damaged(clickhouse, make_broker):
    """The disk failed while a part's index was written: the batch in doubt is
    asked about without it, and what comes later does not wait."""
    door = Door(clickhouse.port)
    broker = make_broker(door.url, flusher=FAST).start()
    wait_for(lambda: figures(broker).get("requests"), what="first contact")
    door.inserts, door.mode = "drop", "stall"
    post(broker.port, '{"n":1}\n{"n":2}')
    wait_for(lambda: figures(broker).get("unknown"), what="doubt")
    files = wait_for(lambda: list(clickhouse.dir.glob(
        "data/store/*/*/*_*_*_*/skp_idx_rings.cmrk*")), what="the part")
    for f in files:
        f.write_bytes(b"")
    door.inserts, door.mode = None, "pass"
    post(broker.port, '{"n":3}')
    wait_for(lambda: figures(broker)["backlog_events"] == 0
             and figures(broker)["batches"] == 2, what="both batches")
    assert clickhouse.query("SELECT count(), uniqExact(ring, seq) FROM "
                            "logbroker.logs SETTINGS use_skip_indexes = 0"
                            ) == "3\t3\n"
    assert "Empty marks file" in (broker.dir / "flusher.log").read_text()
    door.close()


def test_request_cut(clickhouse, make_broker):
    """The body is cut on its way: nothing gets in, it is sent again."""
    door = Door(clickhouse.port)
    broker = make_broker(door.url, flusher=FAST).start()
    wait_for(lambda: figures(broker).get("requests"), what="first contact")
    door.mode = "cut"
    post(broker.port, "\n".join('{"n":%d}' % i for i in range(1000)))
    wait_for(lambda: figures(broker).get("unknown"), what="doubt")
    assert clickhouse.query("SELECT count() FROM logbroker.logs") == "0\n"
    door.mode = "pass"
    settled(broker, clickhouse, 1000)
    door.close()


def test_next_server_takes_over(clickhouse, make_broker):
    """Two URLs, one of them dead."""
    broker = make_broker(
        "http://127.0.0.1:9",
        flusher={**FAST, "clickhouse": {
            "urls": ["http://127.0.0.1:9", clickhouse.url]}}).start()
    post(broker.port, "{}")
    settled(broker, clickhouse, 1)


@pytest.mark.release_only
def test_doors_shut_in_turn(clickhouse, make_broker):
    """Two ways to one server, and each shuts in the middle of an INSERT: what
    is not known is asked for through the other one."""
    doors = [Door(clickhouse.port), Door(clickhouse.port)]
    broker = make_broker(doors[0].url, flusher={**FAST, "clickhouse": {
        "urls": [d.url for d in doors]}}).start()
    wait_for(lambda: figures(broker).get("requests"), what="first contact")
    rows = 0
    for shut, how in ((0, "drop"), (1, "cut"), (0, "cut"), (1, "drop")):
        before = figures(broker)["unknown"]
        turns = iter([how])
        for d in doors:
            # whoever is first gets stuck in the middle, and is away then
            d.mode = lambda d=d: next(turns, None) or (
                "shut" if d is doors[shut] else "pass")
        post(broker.port, "\n".join('{"n":%d}' % i for i in range(500)))
        rows += 500
        wait_for(lambda: figures(broker)["unknown"] > before, what="doubt")
        settled(broker, clickhouse, rows)
    assert all(len(d.starts) > 2 for d in doors)
    for d in doors:
        d.close()


def test_check_looks_at_the_table(clickhouse, make_broker):
    """--check says whether the table allows exactly once; while a flusher
    serves the spool it asks that one and not ClickHouse."""
    def check():
        r = subprocess.run([find("logbroker-flusher"), "--check", "--config",
                            str(broker.settings)], capture_output=True,
                           text=True, timeout=60, env=broker.env)
        return r.returncode, r.stderr

    door = Door(clickhouse.port)
    broker = make_broker(door.url, flusher=FAST)
    assert check() == (0, "exactly once into logbroker.logs: yes\n")
    clickhouse.query("ALTER TABLE logbroker.logs MODIFY SETTING "
                     "non_replicated_deduplication_window = 0")
    status, text = check()
    assert status == 3 and "no, because the table has no dedup" in text
    door.mode = "shut"
    status, text = check()
    # not known is not good
    assert status == 4 and "unknown, because http" in text, text
    door.mode = "pass"
    broker.start_nginx()
    broker.start_flusher()
    wait_for(lambda: figures(broker).get("exactly_once", {}).get("verdict")
             == "no", what="a look")
    n = len(door.starts)
    assert check() == (3, text.replace("unknown", "no").split(", because")[0]
                       + ", because " + figures(broker)["exactly_once"]
                       ["reason"] + "\n")
    assert len(door.starts) == n
    door.close()


def test_table_made_later(clickhouse, make_broker):
    """Without a table everything waits; nothing is discarded."""
    clickhouse.query("RENAME TABLE logbroker.logs TO logbroker.hidden")
    broker = make_broker(clickhouse.url, flusher=FAST).start()
    post(broker.port, '{"n":1}\n{"n":2}')
    f = wait_for(lambda: figures(broker).get("last_error")
                 and figures(broker), what="error")
    assert "logbroker.logs does not exist" in f["last_error"]["text"]
    wait_for(lambda: figures(broker)["backlog_events"] == 2, what="backlog")
    assert figures(broker)["in_flight"] is None
    clickhouse.query("RENAME TABLE logbroker.hidden TO logbroker.logs")
    settled(broker, clickhouse, 2)


def test_limited_user_and_sighup(clickhouse, make_broker):
    """The shipped user is enough; a wrong password holds everything until it
    is put right and SIGHUP is sent."""
    broker = make_broker(clickhouse.url, user="logbroker", password="wrong",
                         flusher=FAST).start()
    post(broker.port, "{}")
    f = wait_for(lambda: figures(broker).get("refused") and figures(broker),
                 what="refusal")
    assert "516" in f["last_error"]["text"] or "password" in \
        f["last_error"]["text"]
    assert "wrong" not in (broker.dir / "flusher.log").read_text()
    (broker.dir / "password").write_text(clickhouse.password + "\n")
    broker.flusher.signal(signal.SIGHUP)
    settled(broker, clickhouse, 1)
    f = wait_for(lambda: figures(broker)["exactly_once"]["verdict"] == "yes",
                 what="a look at the table")


def test_limited_user_may_ask(clickhouse, make_broker):
    """The question about a batch works with the rights of that user."""
    door = Door(clickhouse.port)
    broker = make_broker(door.url, user="logbroker",
                         password=clickhouse.password, flusher=FAST).start()
    wait_for(lambda: figures(broker).get("requests"), what="first contact")
    door.mode = "drop"
    post(broker.port, "{}")
    wait_for(lambda: figures(broker).get("unknown"), what="doubt")
    door.mode = "pass"
    settled(broker, clickhouse, 1)
    assert "system.processes" not in (broker.dir / "flusher.log").read_text()
    door.close()


def test_bad_settings_are_not_taken(clickhouse, make_broker):
    broker = make_broker(clickhouse.url).start()
    wait_for(lambda: figures(broker), what="flusher")
    good = broker.settings.read_text()
    broker.settings.write_text(good.replace('"index"', '"indx"'))
    broker.flusher.signal(signal.SIGHUP)
    wait_for(lambda: "still using the old one: node.indx"
             in (broker.dir / "flusher.log").read_text(), what="words")
    post(broker.port, "{}")
    settled(broker, clickhouse, 1)


def test_second_flusher_refuses(clickhouse, make_broker):
    broker = make_broker(clickhouse.url).start()
    wait_for(lambda: figures(broker), what="flusher")
    r = subprocess.run(
        [find("logbroker-flusher"), "--config", str(broker.settings)],
        capture_output=True, text=True, timeout=30, env=broker.env)
    assert r.returncode == 1
    assert "another flusher serves spool" in r.stderr


def test_check(tmp_path):
    """--check prints the settings with their defaults; the shipped example
    and the README's are good."""
    flusher = find("logbroker-flusher")
    settings = tmp_path / "flusher.json"
    settings.write_text(json.dumps(
        {"spool": "/s", "clickhouse": {"urls": ["http://h:8123"]}}))
    r = subprocess.run([flusher, "--config", settings, "--check"],
                       capture_output=True, text=True, timeout=30)
    assert r.returncode == 4 and "unknown, because" in r.stderr, r.stderr
    shown = json.loads(r.stdout)

    readme = (ROOT / "README.md").read_text()
    start = readme.index("```json\n{\n  \"spool\"") + len("```json\n")
    example = json.loads(readme[start:readme.index("```", start)])
    assert example == json.loads((ROOT / "conf/flusher.json").read_text())
    secret = tmp_path / "password"
    secret.write_text("x")
    example["clickhouse"]["password_file"] = str(secret)
    settings.write_text(json.dumps(example))
    r = subprocess.run([flusher, "--config", settings, "--check"],
                       capture_output=True, text=True, timeout=30)
    assert r.returncode == 4, r.stderr
    # the README says that these are the defaults
    for key in ("batch", "backoff", "node", "dead_letters",
                "shutdown_timeout_ms"):
        assert example[key] == shown[key]
    for key in ("database", "table", "connect_timeout_ms",
                "request_timeout_ms", "compression", "tls_minimum"):
        assert example["clickhouse"][key] == shown["clickhouse"][key]

    settings.write_text('{"spool": 1}')
    r = subprocess.run([flusher, "--config", settings, "--check"],
                       capture_output=True, text=True, timeout=30)
    assert r.returncode == 2
    assert "spool: must be a string" in r.stderr


def test_compressed(clickhouse, make_broker):
    broker = make_broker(clickhouse.url, flusher={
        "clickhouse": {"compression": "zstd"}}).start()
    post(broker.port, "\n".join('{"n":%d}' % i for i in range(50000)))
    settled(broker, clickhouse, 50000)


@pytest.mark.slow
@pytest.mark.release_only
def test_backlog_in_bounded_memory(clickhouse, make_broker):
    """Some hundred MB wait: they arrive in full batches, each of them one
    part, and the flusher's memory does not notice."""
    broker = make_broker(clickhouse.url, size="512m")
    broker.start_nginx()
    lines = (ROOT / "tests/data/access.log").read_text().splitlines()
    clickhouse.query("SYSTEM STOP MERGES logbroker.logs")
    rows = 0
    # below the size that goes into a second ring: all in one
    for k in range(300):
        body = "\n".join(
            json.dumps({"level": "info", "message": line, "n": rows + i})
            for i, line in enumerate(lines * 3))
        assert post(broker.port, body)[0] == 204
        rows += 3 * len(lines)
    # and rows so small that the number of rows is the limit
    for k in range(6):
        assert post(broker.port, "{}" * 100000)[0] == 204
        rows += 100000
    broker.start_flusher()
    settled(broker, clickhouse, rows)
    status = (open(f"/proc/{broker.flusher.pid}/status")).read()
    peak = int(status.split("VmHWM:")[1].split()[0])
    assert peak < 64 * 1024, f"{peak} KiB"
    f = wait_for(lambda: figures(broker)["delivered_events"] == rows
                 and figures(broker), what="figures")
    parts = clickhouse.query(
        "SELECT count(), max(rows) FROM system.parts WHERE database = "
        "'logbroker' AND table = 'logs' AND active FORMAT TSV").split()
    assert int(parts[0]) == f["batches"]
    # where they begin, and what they may grow to
    assert 500000 <= int(parts[1]) <= 2000000


def test_damage_is_set_aside(clickhouse, make_broker):
    """Bits rot in a ring: what is damaged becomes a dead letter, counted; the
    rest arrives; the audit shows the gap."""
    broker = make_broker(clickhouse.url, size="1m")
    broker.start_nginx()
    for i in range(10):
        post(broker.port, '{"message":"%d"}' % i)
    ring = next(r for r in broker.stat()["rings"] if r["backlog_events"])
    with open(broker.spool / f"ring-{ring['slot']:04}", "r+b") as f:
        data = f.read(1 << 16)
        at = data.index(b'{"message":"4"}')
        f.seek(at)
        f.write(b"?")
    broker.start_flusher()
    wait_for(broker.drained, 30, "delivery")
    assert clickhouse.query(
        "SELECT arrayStringConcat(arraySort(groupArray(message))) "
        "FROM logbroker.logs") == "012356789\n"
    assert clickhouse.query("SELECT sum(gaps) FROM logbroker.logbroker_audit"
                            ) == "1\n"
    f = wait_for(lambda: figures(broker).get("dead_events") == 1
                 and figures(broker), what="figures")
    assert f["lost_bytes"] > 0
    assert b'?"message":"4"}' in (broker.spool / "dead").read_bytes()
    assert "dead letters" in (broker.dir / "flusher.log").read_text()


def test_one_bad_ring_does_not_stop_the_others(clickhouse, make_broker):
    """A ring whose commit cells are gone, and a file that is no ring: named in
    the status, left alone; what is in other rings arrives."""
    broker = make_broker(clickhouse.url, size="1m")
    broker.start_nginx()
    post(broker.port, '{"message":"first"}')
    rings = wait_for(lambda: len(broker.stat()["rings"]) == 2
                     and broker.stat()["rings"], what="a spare ring")
    spare = next(r for r in rings if not r["locked"])
    path = broker.spool / f"ring-{spare['slot']:04}"
    with open(path, "r+b") as f:
        f.seek(4096)
        f.write(bytes(1024))
    (broker.spool / "ring-0200").write_text("hello")
    broker.start_flusher()
    wait_for(lambda: clickhouse.query(
        "SELECT count() FROM logbroker.logs") == "1\n", what="the event")
    log = (broker.dir / "flusher.log")
    wait_for(lambda: f"cannot read ring {spare['slot']}" in log.read_text()
             or "is not a ring" in log.read_text(), what="words")
    assert figures(broker)["last_error"]["text"]
    assert (broker.spool / "ring-0200").read_text() == "hello"
    broker.flusher.stop()
    assert "rings that cannot be read" in log.read_text().splitlines()[-1]


def test_a_ring_of_a_newer_release(clickhouse, make_broker):
    """Left for that release; a flusher that ends does not say that everything
    is delivered."""
    broker = make_broker(clickhouse.url, size="1m")
    broker.start_nginx()
    post(broker.port, '{"message":"of tomorrow"}')
    slot = broker.status()["worker"]["slot"]
    broker.nginx.stop()
    with open(broker.spool / f"ring-{slot:04}", "r+b") as f:
        f.seek(8)
        f.write(b"\7")
    broker.start_flusher()
    log = broker.dir / "flusher.log"
    wait_for(lambda: "use the newer release" in log.read_text(), what="words")
    broker.flusher.stop()
    assert "rings that cannot be read" in log.read_text().splitlines()[-1]
    assert "everything is delivered" not in log.read_text()


@pytest.mark.slow
@pytest.mark.release_only
def test_large_batch(clickhouse, make_broker):
    """Batches grow with the backlog, beyond what ClickHouse puts into a block by
    default: still one part, so still all or nothing, and still little memory
    here."""
    clickhouse.query("SYSTEM STOP MERGES logbroker.logs")
    # they grow while the server is fast
    for index in clickhouse.query("SELECT name FROM system.data_skipping_indices "
                                  "WHERE table = 'logs'").split():
        clickhouse.query(f"ALTER TABLE logbroker.logs DROP INDEX {index}")
    broker = make_broker(clickhouse.url, size="128m", flusher={
        "batch": {"max_rows": 4000000, "max_bytes": 512 << 20}})
    broker.start_nginx()
    for _ in range(14):
        assert post(broker.port, b'{"a":1}\n' * 250000)[0] == 204
    broker.start_flusher()
    wait_for(broker.drained, 120, "delivery", every=0.1)
    parts = [int(x) for x in clickhouse.query(
        "SELECT count() FROM logbroker.logs GROUP BY _part").split()]
    assert sum(parts) == 3500000
    assert max(parts) > 1048449, parts
    assert figures(broker)["batches"] == len(parts), parts
    peak = next(int(x.split()[1]) for x in pathlib.Path(
        f"/proc/{broker.flusher.pid}/status").read_text().splitlines()
        if x.startswith("VmHWM"))
    assert peak < 64 * 1024


def test_words_are_indexed_by_merges(clickhouse, make_broker):
    """An INSERT does not build the index of words, but the others; a word is
    found before and after."""
    clickhouse.query("SYSTEM STOP MERGES logbroker.logs")
    broker = make_broker(clickhouse.url).start()
    fill(broker, 20, "haystack")
    fill(broker, 10, "needle")
    settled(broker, clickhouse, 30)

    def words():
        """(has each index bytes, the rows that have the word)"""
        built = dict(line.split("\t") for line in clickhouse.query(
            "SELECT name, data_compressed_bytes > 0 FROM "
            "system.data_skipping_indices WHERE database = 'logbroker' AND "
            "table = 'logs' FORMAT TSV").splitlines())
        assert int(clickhouse.query(
            "SELECT count() FROM logbroker.logs WHERE "
            "hasToken(lowerUTF8(message), 'needle')")) == 10
        return built.pop("words"), set(built.values())

    assert words() == ("0", {"1"})
    clickhouse.query("SYSTEM START MERGES logbroker.logs")
    clickhouse.query("OPTIMIZE TABLE logbroker.logs FINAL")
    wait_for(lambda: words() == ("1", {"1"}), 20, "the index")


@pytest.mark.slow
@pytest.mark.release_only
def test_figures_of_an_idle_flusher_stay_fresh(clickhouse, make_broker):
    """Health checks go by the time of the file, also when nothing changes."""
    broker = make_broker(clickhouse.url).start()
    wait_for(lambda: figures(broker).get("requests"), what="first contact")
    path = broker.spool / "flusher.json"

    def renewed():
        text = path.read_text()
        os.utime(path, (1, 1))
        wait_for(lambda: path.stat().st_mtime > 1, 60, "a new time", every=0.1)
        return path.read_text() == text

    wait_for(renewed, 150, "a new time of old figures")
    path.unlink()
    wait_for(path.exists, 60, "the file again", every=0.1)
