"""Rows that the table cannot take, in the middle of everything else."""

import collections
import json
import subprocess

from env.build import find
from env.process import wait_for

from checkpoint import damage
from server import POINTS
from world import PATIENCE, scenario

OURS = [f"{point}.{when}" for point in
        ("dead.write", "dead.sync", "checkpoint.write", "net.send", "net.recv")
        for when in ("before", "after")]


def bad(message):
    request = int(message.split("-")[2])
    return request % 11 == 3 or request % 17 == 5


@scenario
def rows_set_aside(w):
    """Two constraints, one event in seven breaks one: it is a dead letter,
    once, and the others are in the table, once, while the flusher dies at
    each point, ClickHouse too, answers get lost, and the newest copy of the
    checkpoint is damaged."""
    number = "toUInt64(splitByChar(''-'', message)[3])".replace("''", "'")
    w.clickhouse.query(
        f"ALTER TABLE logbroker.logs ADD CONSTRAINT taste CHECK {number} % 11 "
        f"!= 3, ADD CONSTRAINT size CHECK NOT ({number} % 17 = 5)")
    w.preload(trouble=True)
    b = w.broker(flusher={**PATIENCE,
                          "dead_letters": {"max_bytes": 64 << 20}})
    b.nginx.stop()
    b.nginx.env.pop("LB_FAULT_DIR")
    b.start_nginx()
    done = collections.Counter()

    def dies():
        new = w.trouble / "point.new"
        new.write_text(f"{w.rng.choice(OURS)} {w.rng.randint(1, 4)} 9")
        new.rename(w.trouble / "point")
        try:
            wait_for(lambda: not b.flusher.running(), 5)
            done["flusher"] += 1
        except AssertionError:
            b.flusher.kill()
        (w.trouble / "point").unlink(missing_ok=True)

    def kind():
        what = w.rng.choice(["flusher", "server", "answers", "damage"])
        if what == "server":
            w.strike(w.rng.choice(POINTS), "kill")
            if w.struck(5):
                w.revive()
                done["server"] += 1
        elif what == "answers":
            w.door.mode = lambda: w.rng.choice(["drop", "pass", "pass"])
            n = len(w.door.starts)
            wait_for(lambda: len(w.door.starts) > n + 4, 30, "requests")
            w.door.mode = "pass"
            done["answers"] += 1
        else:
            dies()
            if what == "damage":
                damage(w, b)
                done["damage"] += 1
            b.start_flusher()

    with w.load(threads=2, pause=0.02) as oracle:
        wait_for(lambda: oracle.count() > 100, 30, "events")
        for _ in w.for_a_while():
            if w.clickhouse.process.poll() is not None:
                w.revive()
            kind()
    w.door.mode = "pass"
    w.settled(150)

    found = collections.Counter(w.clickhouse.query(
        "SELECT message FROM logbroker.logs FORMAT TSV").split())
    out = subprocess.run(
        [find("logbroker-spool"), "dead", "list", "--json", b.spool],
        stdout=subprocess.PIPE, text=True, check=True, env=b.env).stdout
    letters = collections.Counter(
        json.loads(line)["event"]["message"] for line in out.splitlines())
    figures = (f"acknowledged={len(oracle.acked)} delivered={len(found)} "
               f"letters={len(letters)} {dict(done)}")
    lost = oracle.acked - found.keys() - letters.keys()
    assert not lost, f"{figures}: lost {sorted(lost)[:5]}"
    twice = [m for m, n in (found + letters).items() if n > 1]
    assert not twice, f"{figures}: {len(twice)} twice {sorted(twice)[:5]}"
    wrong = [m for m in letters if not bad(m)] + [m for m in found if bad(m)]
    assert not wrong, f"{figures}: in the wrong place {sorted(wrong)[:5]}"
    audit = json.loads(w.clickhouse.query(
        "SELECT sum(duplicates) AS d FROM logbroker.logbroker_audit "
        "FORMAT JSONEachRow"))
    assert int(audit["d"]) == 0, audit
    return f"{figures} lost=0 duplicated=0"
