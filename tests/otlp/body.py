#!/usr/bin/env python3
"""A body as an SDK sends it: 512 records of 300 bytes with one resource.

    body.py proto|json >FILE; build/otlp_lines proto|json bench FILE
"""

import json
import struct
import sys


def record(n):
    return {
        "timeUnixNano": str(1772600767123456789 + n * 1000003),
        "observedTimeUnixNano": str(1772600767123556789 + n * 1000003),
        "severityNumber": (9, 9, 9, 13, 17)[n % 5],
        "severityText": ("INFO", "INFO", "INFO", "WARN", "ERROR")[n % 5],
        "body": f"GET /api/v1/orders/{n * 7919 % 100000} took {n % 977} ms, "
                "upstream 10.0.3.17:8080 answered 200 after 1 try",
        "attributes": {"http.request.method": "GET", "http.route":
                       "/api/v1/orders/{id}", "http.response.status_code": 200,
                       "thread.name": f"worker-{n % 16}"},
        "flags": 1,
        "traceId": f"5b8efff798038103d269b6338{n:07x}",
        "spanId": f"eee19b7ec3c1b{n:03x}",
    }


RESOURCE = {"service.name": "orders", "service.version": "1.17.3",
            "host.name": "node-17", "deployment.environment.name": "production",
            "k8s.namespace.name": "shop", "k8s.pod.name": "orders-6d5f7c9b-x2kqp",
            "telemetry.sdk.language": "java", "telemetry.sdk.name":
            "opentelemetry", "telemetry.sdk.version": "1.49.0"}
SCOPE = "com.example.orders.OrderController"


def varint(n):
    out = b""
    while n >= 0x80:
        out += bytes([n & 0x7f | 0x80])
        n >>= 7
    return out + bytes([n])


def field(number, body):
    body = body.encode() if isinstance(body, str) else body
    return varint(number << 3 | 2) + varint(len(body)) + body


def proto_value(x):
    return b"\x18" + varint(x) if isinstance(x, int) else field(1, x)


def proto_attributes(number, attributes):
    return b"".join(field(number, field(1, k) + field(2, proto_value(v)))
                    for k, v in attributes.items())


def proto_record(r):
    return (b"\x09" + struct.pack("<Q", int(r["timeUnixNano"])) +
            b"\x10" + varint(r["severityNumber"]) +
            field(3, r["severityText"]) + field(5, proto_value(r["body"])) +
            proto_attributes(6, r["attributes"]) +
            b"\x45" + struct.pack("<I", r["flags"]) +
            field(9, bytes.fromhex(r["traceId"])) +
            field(10, bytes.fromhex(r["spanId"])) +
            b"\x59" + struct.pack("<Q", int(r["observedTimeUnixNano"])))


def proto(records):
    return field(1, field(1, proto_attributes(1, RESOURCE)) + field(
        2, field(1, field(1, SCOPE)) +
        b"".join(field(2, proto_record(r)) for r in records)))


def json_value(x):
    return {"intValue": str(x)} if isinstance(x, int) else {"stringValue": x}


def json_attributes(attributes):
    return [{"key": k, "value": json_value(v)} for k, v in attributes.items()]


def as_json(records):
    return json.dumps({"resourceLogs": [{
        "resource": {"attributes": json_attributes(RESOURCE)},
        "scopeLogs": [{"scope": {"name": SCOPE}, "logRecords": [
            {**r, "body": json_value(r["body"]),
             "attributes": json_attributes(r["attributes"])}
            for r in records]}]}]}, separators=(",", ":")).encode()


if __name__ == "__main__":
    made = [record(n) for n in range(512)]
    sys.stdout.buffer.write(
        proto(made) if sys.argv[1] == "proto" else as_json(made))
