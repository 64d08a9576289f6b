"""GELF, Datadog and Firehose while workers are killed: what a client was told
is stored is in the table once, and what Firehose sends again is as well."""

import base64
import json
import threading

from env.broker import FAST
from env.http import post
from env.process import wait_for

EVENTS = 120


def gelf(n):
    return "/gelf", {"short_message": f"gelf {n}"}, {}


def datadog(n):
    return "/api/v2/logs", [{"message": f"datadog {n}"}], {}


def firehose(n):
    name = f"firehose {n}"
    data = base64.b64encode(name.encode()).decode()
    return "/firehose", {"requestId": name, "records": [{"data": data}]}, {
        "X-Amz-Firehose-Request-Id": name}


DOORS = {"gelf": (gelf, 202, False), "datadog": (datadog, 202, False),
         "firehose": (firehose, 200, True)}


def test_killed(clickhouse, make_broker):
    broker = make_broker(clickhouse.url, flusher=FAST, extra_server="""
        location = /gelf { logbroker_gelf; }
        location = /api/v2/logs { logbroker_datadog; }
        location = /firehose { logbroker_firehose; }""")
    broker.start_nginx()
    broker.start_flusher()
    stored, said = set(), []

    def send(name):
        make, ok, again = DOORS[name]
        for n in range(EVENTS):
            path, body, headers = make(n)
            while True:
                try:
                    status = post(broker.port, json.dumps(body), path, headers)[0]
                except OSError:
                    status = 0
                said.append(status)
                if status == ok:
                    stored.add(f"{name} {n}")
                if status in (ok, 0) and not (again and status != ok):
                    break

    threads = [threading.Thread(target=send, args=(d,)) for d in DOORS]
    for t in threads:
        t.start()
    for n in range(1, 6):
        wait_for(lambda n=n: len(stored) > n * EVENTS // 3, 60, "answers")
        broker.kill_worker()
    for t in threads:
        t.join(120)
        assert not t.is_alive()
    assert set(said) <= {0, 200, 202, 502, 503}
    wait_for(broker.drained, 60, "delivery", every=0.1)

    rows = dict(r.split("\t") for r in clickhouse.query(
        "SELECT message, count() FROM logbroker.logs GROUP BY message"
        ).splitlines())
    assert {m for m, count in rows.items() if count != "1"} == set()
    assert stored - rows.keys() == set()
    assert {f"firehose {n}" for n in range(EVENTS)} <= stored
