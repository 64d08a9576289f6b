"""The decoders of OTLP's logs against the official reader of protobuf: the same
events with the same resource and scope, whatever the order and number of the
fields, and whatever bytes are wrong."""

import base64
import json
import math
import random
import re
import struct
import subprocess
import warnings

import pytest

from env.build import ROOT, find

OK, NOSPACE, EMPTY, BAD, TOOBIG = range(5)

NAMES = {1: "trace", 2: "debug", 3: "info", 4: "warn", 5: "error", 6: "fatal"}


@pytest.fixture(scope="module")
def oracle(tmp_path_factory):
    """The class ExportLogsServiceRequest, with bytes in place of strings: it
    must not refuse what is not UTF-8."""
    pytest.importorskip("google.protobuf", reason="no python3-protobuf")
    from google.protobuf import descriptor_pb2, descriptor_pool
    from google.protobuf import message_factory
    directory = tmp_path_factory.mktemp("proto")
    text = (ROOT / "tests/otlp/logs.proto").read_text()
    (directory / "logs.proto").write_text(
        re.sub(r"^( +)string ", r"\1bytes ", text, flags=re.M))
    try:
        subprocess.run(["protoc", "-I", directory, "logs.proto",
                        "--descriptor_set_out", directory / "logs.set"],
                       check=True, timeout=60)
    except FileNotFoundError:
        pytest.skip("no protoc (protobuf-compiler)")
    files = descriptor_pb2.FileDescriptorSet.FromString(
        (directory / "logs.set").read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    descriptor = pool.FindMessageTypeByName(
        "logbroker.oracle.ExportLogsServiceRequest")
    return message_factory.MessageFactory(pool).GetPrototype(descriptor)


def decode(kind, bodies, max_event=1 << 24):
    """Of each body: status, rejected, replaced, lines."""
    r = subprocess.run(
        [find("otlp_lines"), kind, str(max_event)], timeout=300,
        input=b"".join(struct.pack("<I", len(b)) + b for b in bodies),
        stdout=subprocess.PIPE, check=True)
    at, answers = 0, []
    while at < len(r.stdout):
        status, rejected, replaced, n = struct.unpack_from("<4I", r.stdout, at)
        at += 16
        answers.append((status, rejected, replaced, r.stdout[at:at + n]))
        at += n
    assert len(answers) == len(bodies)
    return answers


class Object(list):
    """Members in order; keys may occur twice."""


def load(line):
    return json.loads(line.decode(), object_pairs_hook=Object)


def unfold(lines):
    """[(resource, scope, event)]"""
    context, events = Object(), []
    for line in lines.split(b"\n")[:-1]:
        if line[:1] == b"\x01":
            context = load(line[1:])
        else:
            assert line[:1] == b"{"
            parts = dict(context)
            assert set(parts) <= {"resource", "scope"}
            events.append((parts.get("resource", Object()),
                           parts.get("scope", Object()), load(line)))
    return events


def text(b):
    return b.decode(errors="replace")


def value(v):
    kind = v.WhichOneof("value")
    if kind is None:
        return None
    x = getattr(v, kind)
    if kind == "string_value":
        return text(x)
    if kind == "double_value" and not math.isfinite(x):
        return ("NaN" if math.isnan(x) else
                "Infinity" if x > 0 else "-Infinity")
    if kind == "array_value":
        return [value(e) for e in x.values]
    if kind == "kvlist_value":
        return Object((text(e.key), value(e.value)) for e in x.values)
    if kind == "bytes_value":
        return base64.b64encode(x).decode()
    return x


def with_attributes(members, attributes, last=()):
    names = {name for name, _ in [*members, *last]}
    return Object([*members, *(
        (("attributes." if text(a.key) in names else "") + text(a.key),
         value(a.value)) for a in attributes), *last])


def rest(message, schema_url):
    return [(name, x) for name, x in (
        ("dropped_attributes_count", message.dropped_attributes_count),
        ("schema_url", text(schema_url))) if x]


def date(ns):
    s = ns // 10**9
    days, second = divmod(s, 86400)
    # a calendar of its own: from the year 1970 on, year by year
    year = 1970
    while True:
        n = 366 if year % 4 == 0 and (year % 100 or year % 400 == 0) else 365
        if days < n:
            break
        days -= n
        year += 1
    months = [31, 28 + (n == 366), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    month = 0
    while days >= months[month]:
        days -= months[month]
        month += 1
    return (f"{year:04}-{month + 1:02}-{days + 1:02}T{second // 3600:02}:"
            f"{second // 60 % 60:02}:{second % 60:02}.{ns % 10**9:09}Z")


def event(r):
    out, odd = [], []
    time = r.time_unix_nano or r.observed_time_unix_nano
    if time:
        out.append(("timestamp", date(time)))
    level = text(r.severity_text) or NAMES.get((r.severity_number + 3) // 4)
    if level:
        out.append(("level", level))
    if r.severity_number:
        out.append(("severity_number", r.severity_number))
    if r.HasField("body") and r.body.WhichOneof("value"):
        out.append(("message", value(r.body)))
    for name, n in ("trace_id", 16), ("span_id", 8):
        x = getattr(r, name)
        if len(x) == n and any(x):
            out.append((name, x.hex()))
        elif len(x) not in (0, n):
            out.append(("attributes." + name, x.hex()))
    for name, x in (("flags", r.flags), ("event_name", text(r.event_name)),
                    ("observed", r.observed_time_unix_nano),
                    ("dropped_attributes_count", r.dropped_attributes_count)):
        if x:
            out.append((name, x))
    return with_attributes(out, r.attributes)


def expected(message):
    events = []
    for r in message.resource_logs:
        resource = with_attributes([], r.resource.attributes,
                                   rest(r.resource, r.schema_url))
        for s in r.scope_logs:
            head = [(name, text(x)) for name, x in (
                ("name", s.scope.name), ("version", s.scope.version)) if x]
            scope = with_attributes(head, s.scope.attributes,
                                    rest(s.scope, s.schema_url))
            for record in s.log_records:
                events.append((resource, scope, event(record)))
    return events


def same(a, b):
    if isinstance(a, (list, tuple)):
        return (isinstance(b, (list, tuple)) and len(a) == len(b) and
                isinstance(a, Object) == isinstance(b, Object) and
                all(map(same, a, b)))
    return type(a) is type(b) and (a == b)


def check(got, wanted, body):
    assert len(got) == len(wanted), body
    for g, w in zip(got, wanted):
        for a, b in zip(g, w):
            assert same(a, b), (a, b, body)


# making messages

WORDS = ["", "a", "service.name", "host.name", "level", "message", "timestamp",
         "flags", "observed", "trace_id", "span_id", "event_name", "name",
         "version", "schema_url", "severity_number", "x" * 15, "y" * 16,
         "z" * 33, "dropped_attributes_count", "k8s.pod.name", "ключ", "日本",
         "quote\"", "back\\slash", "line\nend\r\t\b\f", "\0\x01\x1f\x7f", "😀" * 9,
         "mixed ä b" * 7]


def words(rng):
    w = rng.choice(WORDS)
    return (w if rng.random() < 0.7 else
            w + "".join(rng.choice(WORDS) for _ in range(rng.randrange(4))))


def fill_value(rng, v, depth=0):
    kind = rng.randrange(9 if depth < 5 else 6)
    if kind == 0:
        v.bool_value = rng.random() < 0.5
    elif kind == 1:
        v.int_value = rng.choice([0, 1, -1, 2**63 - 1, -2**63, rng.getrandbits(40)])
    elif kind == 2:
        v.double_value = rng.choice([
            0.0, -0.0, 1.0, 0.1, 1e300, 5e-324, math.inf, -math.inf, math.nan,
            1 / 3, 123456789012345680.0, rng.random()])
    elif kind == 3:
        v.bytes_value = rng.randbytes(rng.randrange(8))
    elif kind in (4, 5):
        v.string_value = words(rng).encode()
    elif kind == 6:
        v.array_value.SetInParent()
        for _ in range(rng.randrange(4)):
            fill_value(rng, v.array_value.values.add(), depth + 1)
    elif kind == 7:
        v.kvlist_value.SetInParent()
        fill_attributes(rng, v.kvlist_value.values, depth + 1)
    # 8: none of them


def fill_attributes(rng, attributes, depth=0):
    for _ in range(rng.randrange(5)):
        a = attributes.add()
        a.key = words(rng).encode()
        if rng.random() < 0.9:
            fill_value(rng, a.value, depth)


def fill_record(rng, r):
    def sometimes(p=0.5):
        return rng.random() < p

    if sometimes(0.8):
        r.time_unix_nano = rng.choice([1, 1772600767123456789, 2**64 - 1,
                                       rng.getrandbits(61)])
    if sometimes():
        r.observed_time_unix_nano = rng.getrandbits(61)
    if sometimes(0.8):
        r.severity_number = rng.choice([-1, 0, 1, 4, 5, 9, 13, 17, 24, 25])
    if sometimes():
        r.severity_text = words(rng).encode()
    if sometimes(0.9):
        fill_value(rng, r.body)
    fill_attributes(rng, r.attributes)
    if sometimes(0.2):
        r.dropped_attributes_count = rng.getrandbits(32)
    if sometimes(0.3):
        r.flags = rng.choice([1, 2**32 - 1])
    for name, n in ("trace_id", 16), ("span_id", 8):
        if sometimes():
            setattr(r, name, rng.choice([
                rng.randbytes(n), rng.randbytes(n), bytes(n),
                rng.randbytes(rng.randrange(20))]))
    if sometimes(0.2):
        r.event_name = words(rng).encode()


def make(rng, cls):
    m = cls()
    for _ in range(rng.randrange(4)):
        r = m.resource_logs.add()
        if rng.random() < 0.8:
            fill_attributes(rng, r.resource.attributes)
            if rng.random() < 0.2:
                r.resource.dropped_attributes_count = 3
        if rng.random() < 0.3:
            r.schema_url = b"https://r"
        for _ in range(rng.randrange(4)):
            s = r.scope_logs.add()
            if rng.random() < 0.6:
                s.scope.name = words(rng).encode()
                s.scope.version = words(rng).encode()
                fill_attributes(rng, s.scope.attributes)
            if rng.random() < 0.3:
                s.schema_url = b"https://s"
            for _ in range(rng.randrange(5)):
                fill_record(rng, s.log_records.add())
    return m


# another encoding of the same, or nearly

def varint(n, pad=0):
    out = bytearray()
    while n >= 0x80 or pad:
        out.append(n & 0x7f | 0x80)
        n >>= 7
        pad -= pad > 0
    out.append(n)
    return bytes(out)


def encode(rng, message):
    """Fields in any order, messages in pieces, unknown fields, values that are
    overwritten, lengths written longer than they have to be."""
    singular, fields = [], []
    for field, x in message.ListFields():
        repeated = field.label == field.LABEL_REPEATED
        for e in x if repeated else [x]:
            if field.message_type is not None:
                body = encode(rng, e)
                (fields if repeated else singular).append((field.number, body))
            else:
                kind = {1: 1, 6: 1, 3: 0, 5: 0, 8: 0, 13: 0, 12: 2, 7: 5}[
                    field.type]
                if kind == 1:
                    raw = struct.pack("<d" if field.type == 1 else "<Q", e)
                elif kind == 5:
                    raw = struct.pack("<I", e)
                elif kind == 0:
                    raw = varint(int(e) & (2**64 - 1))
                else:
                    raw = varint(len(e), rng.randrange(3) == 0) + e
                fields.append((field.number << 3 | kind, raw, True))
    out = []
    for number, body in fields_of(fields):
        out.append(varint(number << 3 | 2) + varint(len(body)) + body)
    pieces = []
    for number, body in singular:
        parts = [body]
        if rng.random() < 0.2:
            # pieces of a message are its fields, here and there
            parts = split(rng, body)
        pieces += [varint(number << 3 | 2) + varint(len(p)) + p for p in parts]
    scalars = [varint(f[0]) + f[1] for f in fields if len(f) == 3]
    everything = [("r", x) for x in out] + [("s", x) for x in scalars] + [
        ("p", x) for x in pieces]
    order = list(everything)
    rng.shuffle(order)
    # what is repeated, and the pieces, keep their order among themselves
    queues = {k: iter([x for t, x in everything if t == k]) for k in "rsp"}
    raw = [next(queues[t]) for t, _ in order]
    for _ in range(rng.choice([0, 0, 0, 1, 2])):
        raw.insert(rng.randrange(len(raw) + 1), rng.choice([
            varint(99 << 3) + varint(rng.getrandbits(63)),
            varint(98 << 3 | 1) + bytes(8), varint(97 << 3 | 5) + bytes(4),
            varint(1000 << 3 | 2) + varint(5) + b"\xff" * 5]))
    return b"".join(raw)


def fields_of(fields):
    return [f for f in fields if len(f) == 2]


def split(rng, body):
    """At a border between two fields."""
    at, borders = 0, [0]
    while at < len(body):
        tag, at = read_varint(body, at)
        kind = tag & 7
        if kind == 0:
            _, at = read_varint(body, at)
        elif kind == 2:
            n, at = read_varint(body, at)
            at += n
        else:
            at += 8 if kind == 1 else 4
        borders.append(at)
    cut = rng.choice(borders)
    return [body[:cut], body[cut:]]


def read_varint(b, at):
    n = shift = 0
    while True:
        c = b[at]
        at += 1
        n |= (c & 0x7f) << shift
        shift += 7
        if c < 0x80:
            return n, at


def groups(body, depth=0):
    """Is there anything of the wire types 3 and 4, here or below?"""
    at = 0
    try:
        while at < len(body):
            tag, at = read_varint(body, at)
            kind = tag & 7
            if kind in (3, 4):
                return True
            if kind == 0:
                _, at = read_varint(body, at)
            elif kind == 2:
                n, at = read_varint(body, at)
                if depth < 30 and groups(body[at:at + n], depth + 1):
                    return True
                at += n
            else:
                at += 8 if kind == 1 else 4
    except IndexError:
        pass
    return False


@pytest.mark.parametrize("seed", range(4))
def test_protobuf(oracle, seed):
    rng = random.Random(seed)
    bodies = []
    for _ in range(400):
        m = make(rng, oracle)
        bodies.append(m.SerializeToString())
        bodies.append(encode(rng, m))
    events = 0
    for body, (status, rejected, replaced, lines) in zip(
            bodies, decode("proto", bodies)):
        wanted = expected(oracle.FromString(body))
        assert status == (OK if wanted else EMPTY), body
        assert rejected == replaced == 0
        check(unfold(lines), wanted, body)
        events += len(wanted)
    assert events > 2000


@pytest.mark.parametrize("seed", range(3))
def test_protobuf_that_is_wrong(oracle, seed):
    """What the official reader takes is taken and is the same, also where
    strings are no UTF-8; only groups are not."""
    from google.protobuf.message import DecodeError
    rng = random.Random(100 + seed)
    bodies = []
    for _ in range(1500):
        b = bytearray(make(rng, oracle).SerializeToString())
        for _ in range(rng.randrange(1, 4)):
            if not b:
                break
            at = rng.randrange(len(b))
            what = rng.randrange(4)
            if what == 0:
                b[at] = rng.randrange(256)
            elif what == 1:
                b[at] ^= 1 << rng.randrange(8)
            elif what == 2:
                del b[at]
            else:
                b[at:at] = rng.randbytes(1)
        bodies.append(bytes(b))
    taken = refused = replacements = 0
    for body, (status, rejected, replaced, lines) in zip(
            bodies, decode("proto", bodies)):
        try:
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                message = oracle.FromString(body)
            if said:  # of bytes behind what it takes for an end
                raise DecodeError
        except DecodeError:
            refused += status == BAD or rejected > 0
            continue
        if status == BAD or rejected:
            assert groups(body), body
            continue
        check(unfold(lines), expected(message), body)
        taken += 1
        replacements += replaced
    assert taken > 300 and refused > 300 and replacements > 30


# JSON

def json_value(rng, v):
    kind = v.WhichOneof("value")
    if kind is None:
        return rng.choice([{}, None, {"stringValue": None}, {"future": [1]}])
    x = getattr(v, kind)
    if kind == "string_value":
        return {"stringValue": x.decode()}
    if kind == "bool_value":
        return {"boolValue": x}
    if kind == "int_value":
        return {"intValue": rng.choice([x, str(x)])}
    if kind == "double_value":
        if not math.isfinite(x):
            return {"doubleValue": value(v)}
        return {"doubleValue": rng.choice([x, x, repr(x)])}
    if kind == "bytes_value":
        return {"bytesValue": base64.b64encode(x).decode()}
    if kind == "array_value":
        return {"arrayValue": {"values": [json_value(rng, e)
                                          for e in x.values]}}
    return {"kvlistValue": {"values": json_attributes(rng, x.values)}}


def json_attributes(rng, attributes):
    return [shuffled(rng, {"key": a.key.decode(),
                           "value": json_value(rng, a.value)})
            for a in attributes]


def shuffled(rng, members):
    """In any order, with something unknown in between."""
    items = list(members.items())
    if rng.random() < 0.3:
        items.append(("future\"", {"a": ["]}", {"b": "\\"}], "logRecords": 1}))
    if rng.random() < 0.5:
        rng.shuffle(items)
    return dict(items)


def json_record(rng, r):
    out = {"attributes": json_attributes(rng, r.attributes)}
    for name, x in (("timeUnixNano", r.time_unix_nano),
                    ("observedTimeUnixNano", r.observed_time_unix_nano),
                    ("severityNumber", r.severity_number),
                    ("droppedAttributesCount", r.dropped_attributes_count),
                    ("flags", r.flags)):
        if x or rng.random() < 0.1:
            out[name] = rng.choice([x, str(x)])
    for name, x in (("severityText", r.severity_text.decode()),
                    ("eventName", r.event_name.decode()),
                    ("traceId", r.trace_id.hex()), ("spanId", r.span_id.hex())):
        if x or rng.random() < 0.1:
            out[name] = x
    for name, n in ("traceId", 32), ("spanId", 16):
        if len(out.get(name, "")) == n and rng.random() < 0.3:
            out[name] = out[name].upper()
    if r.HasField("body"):
        out["body"] = json_value(rng, r.body)
    return shuffled(rng, out)


def json_part(rng, part):
    out = {"attributes": json_attributes(rng, part.attributes),
           "droppedAttributesCount": part.dropped_attributes_count}
    for name in "name", "version":
        if hasattr(part, name):
            out[name] = getattr(part, name).decode()
    return shuffled(rng, out)


def as_json(rng, m):
    body = {"resourceLogs": [shuffled(rng, {
        "resource": json_part(rng, r.resource),
        "schemaUrl": r.schema_url.decode(),
        "scopeLogs": [shuffled(rng, {
            "scope": json_part(rng, s.scope),
            "schemaUrl": s.schema_url.decode(),
            "logRecords": [json_record(rng, x) for x in s.log_records]})
            for s in r.scope_logs]})
        for r in m.resource_logs]}
    return json.dumps(shuffled(rng, body), indent=rng.choice([None, 1]),
                      ensure_ascii=rng.random() < 0.5).encode()


@pytest.mark.parametrize("seed", range(4))
def test_json(oracle, seed):
    rng = random.Random(200 + seed)
    messages = [make(rng, oracle) for _ in range(400)]
    bodies = [as_json(rng, m) for m in messages]
    for m, body, (status, rejected, replaced, lines) in zip(
            messages, bodies, decode("json", bodies)):
        wanted = expected(m)
        assert status == (OK if wanted else EMPTY), body
        assert rejected == replaced == 0
        check(unfold(lines), wanted, body)


def test_json_that_is_wrong(oracle):
    """Bytes that are no UTF-8 are replaced; whatever else is broken is said,
    or rejected alone, and never taken for something else."""
    rng = random.Random(7)
    bodies, wrong = [], []
    for _ in range(300):
        body = as_json(rng, make(rng, oracle))
        for good, bad in ((b"\xd0\xba", b"\xd0"), (b"\xe6\x97", b"\xff\xfe")):
            if good in body:
                wrong.append(body.replace(good, bad))
        at = rng.randrange(len(body))
        bodies.append(body[:at] + rng.randbytes(1) + body[at + 1:])
    repaired = [b.decode(errors="replace").encode() for b in wrong]
    for body, (status, _, replaced, lines), (status2, _, _, wanted) in zip(
            wrong, decode("json", wrong), decode("json", repaired)):
        assert status == status2
        if status == OK:
            assert replaced > 0
            assert lines == wanted, body
    for body, (status, rejected, replaced, lines) in zip(
            bodies, decode("json", bodies)):
        try:
            json.loads(body)
        except ValueError:
            assert status in (BAD, EMPTY) or replaced, body
        if status == OK and not rejected:
            unfold(lines)


def test_payload():
    """The body of a real sender has the columns that are written beside it."""
    sent = next(p for p in json.loads(
        (ROOT / "tests/data/payloads.json").read_text())
        if p["name"] == "otlp-json")
    (status, rejected, replaced, lines), = decode("json", [
        sent["body"].encode()])
    assert (status, rejected, replaced) == (OK, 0, 0)
    for (resource, _, event), want in zip(unfold(lines), sent["want"],
                                          strict=True):
        got = dict(event)
        assert got["timestamp"] == want["t"].replace(" ", "T") + "Z"
        assert got["level"].lower() == want["level"]
        assert got["message"] == want["message"]
        assert dict(resource)["service.name"] == want["service"]
