"""What senders make of events on their way: wrappers of many."""

import gzip
import json
import random

from env import spool
from env.nginx import Nginx

NAMES = ("logs", "events", "Events", "entries", "records", "lines", "batch",
         "logEvents")
OWN = ("message", "msg", "log", "body", "event", "level", "severity", "lvl",
       "log.level", "levelname", "loglevel", "timestamp", "time", "ts",
       "@timestamp")


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def unfolded(pairs):
    """The lines that an object, as a list of members, becomes."""
    array = None
    others = []
    for key, value in pairs:
        if array is None and key in NAMES and isinstance(value, list) \
                and value and all(isinstance(v, dict) for v in value):
            array = value
        else:
            others.append((key, value))
    if array is None or any(key in OWN for key, _ in others):
        members = ",".join(f"{compact(k)}:{compact(v)}" for k, v in pairs)
        return ["{" + members + "}"]
    return ["{" + ",".join(f"{compact(k)}:{compact(v)}" for k, v in
                           [*event.items(), *others]) + "}"
            for event in array]


def test_wrappers(tmp_path):
    """One event for each that is in it, whatever stands beside it; an event
    of its own that has such a member stays one."""
    one = {"message": "a]},{\\\"", "n": [1, {"x": [{}]}]}
    two = {"logs": [{"message": "deeper"}]}
    cases = [
        [("logs", [one, two])],
        [("events", [one])],
        [("logs", [{}, {}, one])],
        [("a", 1), ("logs", [one, {}]), ("b", {"c": [{}]})],
        [("a", 1), ("logs", [one, {}])],
        [("logs", [one, {}]), ("b", "x,y")],
        [("logs", [one]), ("events", [two])],
        [("message", "of its own"), ("events", [one, two])],
        [("logs", [one, two]), ("ts", 5)],
        [("logs", [one, 7])],
        [("logs", [[one]])],
        [("logs", [])],
        [("logs", one)],
        [("logs", "x")],
        [("x", [one, two])],
        [("x", {"logs": [one, two]})],
        [("Logs", [one])],
    ]
    rng = random.Random(11)
    values = ["", "\\", '"', "]", "}", "[{", ":[{", "é", 1, -2.5, None, True,
              [], {}, [{}], [1], {"logs": [{}]}, '"logs":[{"a":1}]']

    def anything():
        return rng.choice(values)

    for _ in range(200):
        pairs = [(rng.choice(("a", "b", "x y", "message", "")), anything())
                 for _ in range(rng.randrange(3))]
        pairs.insert(rng.randrange(len(pairs) + 1), (
            rng.choice(NAMES), [{rng.choice("abc"): anything()
                                 for _ in range(rng.randrange(3))}
                                for _ in range(rng.randrange(4))]))
        cases.append(pairs)
    with Nginx(tmp_path, spool="size=4m") as nginx:
        c = nginx.connect()
        for pairs in cases:
            body = "{ " + " , ".join(
                f"{json.dumps(k, ensure_ascii=False)} :\n"
                f"{json.dumps(v, ensure_ascii=False)}" for k, v in pairs) + "}"
            if rng.random() < 0.2:
                body = f"[{body}]"
            assert nginx.post("/log", body, conn=c).status == 204, body
            record = spool.records(nginx.spool)[-1]
            lines = record.payload.decode().splitlines()
            assert lines == unfolded(pairs), body
            assert record.events == len(lines)


def test_wrapper_limits(tmp_path):
    """The limit for an event is one for each that is in it."""
    event = {"message": "x" * 500}
    many = compact({"app": "a", "logs": [event] * 5000})
    with Nginx(tmp_path, spool="size=16m", http="client_max_body_size 8m;"
               "logbroker_max_event 600; logbroker_max_body 4m;") as nginx:
        c = nginx.connect()
        for body, headers in ((many, {}), (gzip.compress(many.encode()),
                                           {"Content-Encoding": "gzip"})):
            a = nginx.post("/log", body, headers, c)
            assert a.status == 204, a
            record = spool.records(nginx.spool)[-1]
            assert record.events == 5000
            assert record.payload.decode() == compact(
                event | {"app": "a"}) .join(["", "\n"]) * 5000
        for body, words in (
                (compact({"logs": [{}, {"m": "x" * 600}]}), "in the array"),
                (compact({"app": "y" * 500, "logs": [event]}), "in the array"),
                (compact({"app": "y" * 500, "logs": [{}] * 9000}),
                 "logbroker_max_body"),
                (compact({"loks": [event] * 2}), "larger than the limit"),
                (compact({"logs": [event] * 2}) * 2, "larger than the limit")):
            a = nginx.post("/log", body, conn=c)
            assert a.status == 413, body[:50]
            assert words in json.loads(a.body)["error"]
        assert len(spool.records(nginx.spool)) == 2
