"""What is sent through the doors of the edge, and how refusals are told there."""

import json
from collections import namedtuple

JSON = {"Content-Type": "application/json"}
PROTO = {"Content-Type": "application/x-protobuf"}


def _varint(data, at):
    shift = value = 0
    while True:
        value |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            return value, at


def status_proto(body):
    """google.rpc.Status: its code and its message, and nothing else."""
    assert body[0] == 1 << 3
    code, at = _varint(body, 1)
    assert body[at] == 2 << 3 | 2
    size, at = _varint(body, at + 1)
    assert len(body) == at + size
    return code, body[at:].decode()


# how a refusal is told: the type and, of the body, (a code or None, the words)
Tells = namedtuple("Tells", "type words")

LOG = Tells("application/json", lambda b: (None, json.loads(b)["error"]))
OTLP_JSON = Tells("application/json",
                  lambda b: (json.loads(b)["code"], json.loads(b)["message"]))
OTLP_PROTO = Tells("application/x-protobuf", status_proto)
ELASTIC = Tells("application/json",
                lambda b: (json.loads(b)["status"],
                           json.loads(b)["error"]["reason"]))
SPLUNK = Tells("application/json",
               lambda b: (json.loads(b)["code"], json.loads(b)["reason"]))
DATADOG = Tells("application/json",
                lambda b: (int(json.loads(b)["errors"][0]["status"]),
                           json.loads(b)["errors"][0]["detail"]))
FIREHOSE = Tells("application/json",
                 lambda b: (None, json.loads(b)["errorMessage"]))
LOKI = Tells("text/plain", lambda b: (None, b.decode()))

OTLP_BODY = json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [
    {"body": {"stringValue": "x"}}]}]}]})
# the same: resource_logs, scope_logs, log_records, body, string_value
OTLP_BYTES = b"\x0a\x09\x12\x07\x12\x05\x2a\x03\x0a\x01x"
BULK = '{"create":{}}\n{"message":"x"}\n'
PUSH = '{"streams":[{"stream":{"a":"b"},"values":[["1","x"]]}]}'

# what stores one event, and the status that says so; codes of a refusal with
# 413, 502, 503
Door = namedtuple("Door", "path headers body ok tells codes")

DOORS = {
    "log": Door("/log", JSON, "{}", 204, LOG, (None, None, None)),
    "stream": Door("/log/app", {}, "{}", 204, LOG, (None, None, None)),
    "otlp json": Door("/v1/logs", JSON, OTLP_BODY, 200, OTLP_JSON,
                      (3, 14, 14)),
    "otlp": Door("/v1/logs", PROTO, OTLP_BYTES, 200, OTLP_PROTO, (3, 14, 14)),
    "bulk": Door("/_bulk", JSON, BULK, 200, ELASTIC, (413, 502, 503)),
    "bulk, index": Door("/idx/_bulk", JSON, BULK, 200, ELASTIC,
                        (413, 502, 503)),
    "bulk, prefix": Door("/es/_bulk", JSON, BULK, 200, ELASTIC,
                         (413, 502, 503)),
    "bulk, both": Door("/es/idx/_bulk", JSON, BULK, 200, ELASTIC,
                       (413, 502, 503)),
    "splunk": Door("/services/collector", {}, '{"event":"x"}', 200, SPLUNK,
                   (6, 8, 9)),
    "splunk event": Door("/services/collector/event/1.0", {},
                         '{"event":"x"}', 200, SPLUNK, (6, 8, 9)),
    "splunk raw": Door("/services/collector/raw", {}, "x", 200, SPLUNK,
                       (6, 8, 9)),
    "gelf": Door("/gelf", JSON, '{"short_message":"x"}', 202, LOG,
                 (None, None, None)),
    "datadog": Door("/api/v2/logs", JSON, '[{"message":"x"}]', 202, DATADOG,
                    (413, 502, 503)),
    "firehose": Door("/firehose", JSON,
                     '{"requestId":"r","records":[{"data":"eA=="}]}', 200,
                     FIREHOSE, (None, None, None)),
    "loki": Door("/loki/api/v1/push", JSON, PUSH, 204, LOKI,
                 (None, None, None)),
}

# handshakes: what is asked before and after, with a status of 200
ASKED = [
    ("GET", "/", b"lucene_version"), ("HEAD", "/", b""),
    ("GET", "/es/", b"lucene_version"), ("GET", "/es", b"lucene_version"),
    ("GET", "/_license", b"active"), ("GET", "/es/_license", b"active"),
    ("GET", "/_cluster/health", b"green"), ("HEAD", "/es/idx", b""),
    ("PUT", "/es/idx", b"acknowledged"),
    ("GET", "/services/collector/health", b"17"),
    ("OPTIONS", "/services/collector/event", b"17"),
    ("GET", "/ready", b"ready"), ("GET", "/api/v1/validate", b"true"),
]
