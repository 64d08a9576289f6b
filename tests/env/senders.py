"""How a few events look at each door, and what its answer means."""

import json


class Log:
    """NDJSON to /log."""

    again = False
    path = "/log"
    headers = {}

    @staticmethod
    def body(events):
        return "".join(json.dumps(e) + "\n" for e in events).encode()

    @staticmethod
    def stored(status, body):
        return status == 204


def _varint(n):
    out = b""
    while n >= 0x80:
        out += bytes([n & 0x7f | 0x80])
        n >>= 7
    return out + bytes([n])


def _field(number, value):
    value = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _attribute(number, key, value):
    return _field(number, _field(1, key) + _field(2, _field(1, value)))


class Otlp:
    """ExportLogsServiceRequest in protobuf, with a resource and a scope; sent
    again, the same bytes, until it is answered, as its clients do."""

    again = True
    path = "/v1/logs"
    headers = {"Content-Type": "application/x-protobuf"}

    @staticmethod
    def body(events):
        records = b"".join(
            _field(2, _field(3, e["level"]) + _field(5, _field(1, e["message"]))
                   + b"".join(_attribute(6, k, v) for k, v in e.items()
                              if k not in ("level", "message")))
            for e in events)
        return _field(1, _field(1, _attribute(1, "service.name", "oracle"))
                      + _field(2, _field(1, _field(1, "env.senders"))
                               + records))

    @staticmethod
    def stored(status, body):
        return status == 200 and body == b""


class Bulk:
    """Elasticsearch's _bulk: a line that says what, a line that is it."""

    again = False
    path = "/es/logs/_bulk"
    headers = {"Content-Type": "application/x-ndjson"}

    @staticmethod
    def body(events):
        return "".join('{"create":{}}\n' + json.dumps(e) + "\n"
                       for e in events).encode()

    @staticmethod
    def stored(status, body):
        return status == 200 and b'"errors":false' in body


DOORS = {"log": Log, "otlp": Otlp, "bulk": Bulk}

# where a broker has them; /log is there in any case
LOCATIONS = """
        location = /v1/logs { logbroker_otlp; }
        location /es/ { logbroker_elasticsearch; }"""
