"""Columns of few values, which are sent as LowCardinality: whatever is in them,
whatever the table's types, and a batch that the release before has fixed."""

import json
import random
import re
import struct

import pytest

from env.broker import FAST, figures, settled
from env.door import Door
from env.http import post
from env.process import wait_for
from env.spool import crc32c

ODD = ["", " ", "a\0b", "\0", "ключ", "日本", "\U0001f600", "\\\"'\n\t", "x" * 127,
       "x" * 128, "y" * 2000, "%s", "svc-1", "svc-2", "SVC-1", "svc-1 "]
STREAMS = ["default", "a", "b-2"]
STREAM = {"name": "broker-9",
          "extra_location": "logbroker_stream $http_x_log_stream;"}
COPY = 65536  # of the checkpoint


def events(seed, n):
    """Values that are seldom alike, among some that often are."""
    rng = random.Random(seed)
    for i in range(n):
        event = {"message": f"m{i}"}
        for name in "service", "host":
            kind = rng.random()
            if kind < 0.5:
                event[name] = rng.choice(ODD)
            elif kind < 0.9:
                event[name] = f"{name}-{rng.randrange(5000)}.example.com"
        event["level"] = rng.choice(["info", "ERROR", "warn", "", "debug"])
        yield event


def send(broker, all_events):
    """In requests of several streams."""
    for i in range(0, len(all_events), 400):
        body = "\n".join(map(json.dumps, all_events[i:i + 400]))
        stream = STREAMS[i // 400 % len(STREAMS)]
        assert post(broker.port, body, headers={
            "X-Log-Stream": stream})[0] == 204
        for event in all_events[i:i + 400]:
            event["stream"] = stream


def retype(clickhouse, **types):
    """The table is made anew with these types."""
    sql = clickhouse.query("SELECT create_table_query FROM system.tables WHERE "
                           "database = 'logbroker' AND name = 'logs' FORMAT "
                           "TSVRaw")
    for name, new in types.items():
        sql, n = re.subn(rf"`{name}` LowCardinality\(String\)",
                         lambda _, name=name, new=new: f"`{name}` {new}", sql,
                         count=1)
        assert n, name
    clickhouse.query("DROP TABLE logbroker.logs SYNC")
    clickhouse.query(sql.rstrip() + ", allow_nullable_key = 1")


def rows(clickhouse):
    names = ["stream", "level", "service", "host", "broker"]
    texts = ", ".join(f"hex(toString({c}))" for c in names)
    out = {}
    for line in clickhouse.query(f"SELECT message, {texts} FROM logbroker.logs "
                                 "FORMAT TSV").splitlines():
        message, *values = line.split("\t")
        out[message] = dict(zip(names, (bytes.fromhex(v).decode()
                                        for v in values)))
    return out


def expected(event, broker):
    level = {"ERROR": "error"}.get(event["level"], event["level"])
    return {"stream": event["stream"], "level": level,
            "service": event.get("service", ""), "host": event.get("host", ""),
            "broker": broker}


@pytest.mark.parametrize("types", [
    {},
    dict.fromkeys(["stream", "level", "service", "host", "broker",
                   "event_name"], "String"),
    {"stream": "LowCardinality(Nullable(String))", "service": "Nullable(String)",
     "level": "Enum8('' = 0, 'debug' = 1, 'info' = 2, 'warn' = 3, 'error' = 4)",
     "broker": "FixedString(8)"}], ids=["shipped", "strings", "others"])
def test_whatever_is_in_them(clickhouse, make_broker, types):
    if types:
        retype(clickhouse, **types)
    broker = make_broker(clickhouse.url, flusher=FAST, **STREAM)
    broker.start_nginx()
    sent = list(events(1, 12000))
    sent[0]["service"] = "z" * 200_000
    send(broker, sent)
    broker.start_flusher()
    settled(broker, clickhouse, len(sent))
    found = rows(clickhouse)
    for event in sent:
        assert found[event["message"]] == expected(event, "broker-9")
    assert figures(broker)["dead_events"] == 0


def encoding(broker, version=None):
    """That of the batch in flight: (version, columns); with a version, made so by
    hand, as a release that has it would have stored it."""
    path = broker.spool / "checkpoint"
    data = bytearray(path.read_bytes())
    at = max((at for at in (0, COPY) if data[at:at + 8] == b"LBCKPT1\n"),
             key=lambda at: struct.unpack_from("<Q", data, at + 16)[0])
    if version is not None:
        struct.pack_into("<H", data, at + 96, version)
        rings, = struct.unpack_from("<I", data, at + 88)
        struct.pack_into("<I", data, at + 12,
                         crc32c(data[at + 16:at + 512 + rings * 64]))
        path.write_bytes(data)
    return struct.unpack_from("<HH", data, at + 96)


@pytest.mark.parametrize("there", ["in", "not in"])
def test_a_batch_of_the_release_before(clickhouse, make_broker, there):
    """It is in doubt while the flusher is upgraded: it is asked for, and sent again
    as it was, if it is not in; the next one is of the new release."""
    door = Door(clickhouse.port)
    door.inserts, door.bodies = "pass", []
    broker = make_broker(door.url, flusher=FAST, **STREAM).start()
    log = (broker.dir / "flusher.log").read_text
    wait_for(lambda: figures(broker).get("requests"), what="first contact")
    door.inserts = "drop" if there == "in" else "cut"
    sent = list(events(2, 2000))
    send(broker, sent)
    wait_for(lambda: figures(broker).get("unknown"), what="doubt")
    broker.flusher.kill()
    token = re.search(r"will ask.*token=(\S+)", log()).group(1)
    newest, columns = encoding(broker)
    assert (newest, columns) == (5, 0x3f)
    encoding(broker, 4)
    door.inserts, door.bodies = "pass", []
    broker.start_flusher()
    settled(broker, clickhouse, len(sent))
    asked = f"is in token={token}" if there == "in" else \
        f"is not in, sending it again token={token}"
    assert asked in log()
    first = [b for b in door.bodies if token.encode() in b.head]
    assert len(first) == (there == "not in")
    for body in first:
        assert b"\x06stream\x06String" in body.rest
    found = rows(clickhouse)
    for event in sent:
        assert found[event["message"]] == expected(event, "broker-9")

    more = [{"message": "more", "level": "info"}]
    send(broker, more)
    settled(broker, clickhouse, len(sent) + 1)
    assert b"\x06stream\x16LowCardinality" in door.bodies[-1].rest
    assert encoding(broker) == (newest, columns)
    door.close()
