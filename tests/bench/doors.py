#!/usr/bin/env python3
"""What each door costs beside /log: batches of 512 records of 300 bytes,
durable before the answer (sync always), one worker.

    tests/bench/doors.py [--seconds N] [--rounds N] [--only PATTERN]

The doors take turns, in the opposite order in every other round; medians of
the rounds. No two bodies are the same: twelve digits in each count. "A core"
is a second of processor time of the worker with all its threads, the kernel's
part of it included. MB are of bodies as sent. wrk makes the load, a stand-in
acks the rings.

LB_BUILD names the build directory (default: build).
"""

import argparse
import base64
import importlib.util
import json
import os
import pathlib
import re
import statistics
import subprocess
import tempfile

from bench import cpu_seconds
from env.build import BUILD
from env.nginx import Nginx

HERE = pathlib.Path(__file__).resolve().parent
RECORDS = 512
COUNT = "000000000000"  # what counts in a body, once

spec = importlib.util.spec_from_file_location(
    "body", HERE.parent / "otlp/body.py")
otlp = importlib.util.module_from_spec(spec)
spec.loader.exec_module(otlp)


def records():
    made = [otlp.record(n) for n in range(RECORDS)]
    made[0]["body"] = made[0]["body"][:-len(COUNT)] + COUNT
    return made


def flat(r):
    """The same record as a logger writes it that knows no OTLP."""
    return {"time": r["timeUnixNano"], "level": r["severityText"],
            "message": r["body"], "service": "orders", "host": "node-17",
            "trace_id": r["traceId"], "span_id": r["spanId"],
            **r["attributes"]}


def lines(objects, before=""):
    return "".join(before + json.dumps(o, separators=(",", ":")) + "\n"
                   for o in objects).encode()


def ndjson():
    return lines(map(flat, records()))


def bulk():
    return lines(map(flat, records()), '{"create":{}}\n')


def splunk():
    return lines({"time": int(r["timeUnixNano"]) / 1e9, "host": "node-17",
                  "source": "orders", "event": flat(r)} for r in records())


def loki():
    return json.dumps({"streams": [{
        "stream": {"service_name": "orders", "host": "node-17"},
        "values": [[r["timeUnixNano"], json.dumps(flat(r))]
                   for r in records()]}]}, separators=(",", ":")).encode()


def gelf():
    return lines({"version": "1.1", "host": "node-17",
                  "short_message": r["body"],
                  "timestamp": int(r["timeUnixNano"]) / 1e9, "level": 6,
                  **{"_" + k: v for k, v in flat(r).items()
                     if k not in ("message", "time", "level")}}
                 for r in records())


def datadog():
    return json.dumps([{"message": json.dumps(flat(r)), "status": "info",
                        "timestamp": int(r["timeUnixNano"]) // 1000000,
                        "hostname": "node-17", "service": "orders",
                        "ddsource": "go", "ddtags": "env:prod,version:1.2.3"}
                       for r in records()], separators=(",", ":")).encode()


def firehose():
    made = [base64.b64encode(lines([flat(r)])).decode() for r in records()]
    return json.dumps({"requestId": COUNT, "records": [
        {"data": r} for r in made]}, separators=(",", ":")).encode()


JSON = "application/json"
DOORS = {  # path, content type, body
    "/log, NDJSON": ("/log", "application/x-ndjson", ndjson),
    "OTLP, protobuf": ("/v1/logs", "application/x-protobuf",
                       lambda: otlp.proto(records())),
    "OTLP, JSON": ("/v1/logs", JSON, lambda: otlp.as_json(records())),
    "Elasticsearch _bulk": ("/es/logs/_bulk", "application/x-ndjson", bulk),
    "Splunk HEC": ("/services/collector/event", JSON, splunk),
    "Loki, JSON": ("/loki/api/v1/push", JSON, loki),
    "GELF": ("/gelf", JSON, gelf),
    "Datadog": ("/api/v2/logs", JSON, datadog),
    "Firehose": ("/firehose", JSON, firehose),
}
LOCATIONS = """
    location = /v1/logs { logbroker_otlp; }
    location /es/ { logbroker_elasticsearch; }
    location /services/collector { logbroker_splunk; }
    location /loki/api/v1/push { logbroker_loki; }
    location /gelf { logbroker_gelf; }
    location /api/ { logbroker_datadog; }
    location /firehose { logbroker_firehose; }"""


def measure(nginx, directory, name, seconds):
    path, kind, make = DOORS[name]
    body = make()
    assert body.count(COUNT.encode()) == 1
    file = directory / "to_send"
    file.write_bytes(body)
    before = cpu_seconds(nginx.workers())
    out = subprocess.run(
        ["wrk", "-t", "1", "-c", "16", "-d", f"{seconds}s", "-s",
         HERE / "load.lua", f"http://127.0.0.1:{nginx.port}{path}"],
        env={**os.environ, "BENCH_BODY": str(file), "BENCH_TYPE": kind,
             "BENCH_COUNT": COUNT}, capture_output=True, text=True, check=True)
    cpu = cpu_seconds(nginx.workers()) - before
    done = json.loads(re.search(r"^BENCH (.*)$", out.stdout, re.M)[1])
    assert not done["bad"] and not done["broken"], (
        name, done, nginx.error_log.read_text()[-3000:])
    n = done["requests"]
    return {"size": len(body), "core": n * RECORDS / cpu,
            "mb": n * len(body) / cpu / 1e6,
            "wall": n * RECORDS / done["us"] * 1e6, "p99": done["p99"] / 1e3}


def main():
    args = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    args.add_argument("--seconds", type=int, default=4)
    args.add_argument("--rounds", type=int, default=5)
    args.add_argument("--only", default="")
    args = args.parse_args()
    names = [n for n in DOORS if re.search(args.only, n)]
    runs = {n: [] for n in names}
    with tempfile.TemporaryDirectory() as directory, Nginx(
            directory, spool="size=512m rings=2", access="off",
            http="client_body_buffer_size 512k; logbroker_sync always;",
            server=LOCATIONS) as nginx, \
            subprocess.Popen([BUILD / "bench_drain", nginx.spool]) as drain:
        try:
            for n in range(args.rounds):
                for name in names if n % 2 else reversed(names):
                    runs[name].append(measure(
                        nginx, pathlib.Path(directory), name, args.seconds))
        finally:
            drain.kill()
    print("| door | bytes a body | records/s a core (min-max) | MB/s a core |"
          " records/s, one worker | p99, ms |\n|---|---|---|---|---|---|")
    for name, made in runs.items():
        def middle(what, made=made):
            return statistics.median(m[what] for m in made)
        core = sorted(m["core"] for m in made)
        print(f"| {name} | {made[0]['size']:,} | {middle('core'):,.0f} "
              f"({core[0]:,.0f}-{core[-1]:,.0f}) | {middle('mb'):,.0f} | "
              f"{middle('wall'):,.0f} | {middle('p99'):.1f} |")


if __name__ == "__main__":
    main()
