#!/usr/bin/env python3
"""How many instructions the work takes: what does not change with how busy
the machine is. valgrind counts them, those of a program, not the kernel's.

    tests/bench/counts.py [--module FILE] [--only PATTERN]

scan, lift and encode take events of real log lines, 300 to 330 bytes each as
JSON; "encode" is all that the flusher does with them, from the spool to where
nothing happens to them. A request is one of a connection that stays open, a
group of its own; "floor" is the module of tests/bench/floor, if run.sh has
built it, which inflates what is compressed. Each figure is the difference
between a short and a longer run, so that what starts and ends them is not in
it. What is done once a second is: on a busy machine a request has more of it,
thousands more if its load is 20.

--module counts the requests to another build of the module.
LB_BUILD names the build directory (default: build).
"""

import argparse
import http.client
import pathlib
import re
import subprocess
import tempfile
import time

from bench import NGINX, ROOT, make_bodies
from env.build import BUILD, find
from env.nginx import configuration
from env.process import free_port

LOG = ROOT / "tests/data/access.log"
TYPES = {"gzip20k": {"Content-Encoding": "gzip"}}


def valgrind(directory, *command):
    """The command under valgrind, and the file with what valgrind says."""
    said = directory / "valgrind"
    return ["valgrind", "--tool=callgrind", f"--log-file={said}",
            f"--callgrind-out-file={directory}/callgrind.out",
            *map(str, command)], said


def collected(said):
    return int(re.search(r"Collected : (\d+)", said.read_text())[1])


def count(directory, *command):
    """Instructions of a program, and what it prints."""
    command, said = valgrind(directory, *command)
    out = subprocess.run(command, check=True, capture_output=True, text=True)
    return collected(said), out.stdout


def repeated(directory, what):
    short, _ = count(directory, BUILD / "tests/unit/bench_scanner", LOG, what, 1)
    longer, out = count(directory, BUILD / "tests/unit/bench_scanner", LOG, what, 3)
    events, size = map(int, out.split())
    return (longer - short) / 2 / events, size / events


def encoded(directory):
    figures = []
    for megabytes in (2, 8):
        spool = directory / f"spool-{megabytes}"
        out = subprocess.check_output(
            [find("bench_flusher"), spool, "fill", LOG, str(megabytes)],
            text=True)
        events, size = map(int, re.findall(r"\d+", out))
        used, _ = count(directory, find("bench_flusher"), spool, "encode")
        figures.append((used, events, size))
    (a, n, x), (b, m, y) = figures
    return (b - a) / (m - n), (y - x) / (m - n)


class Server:
    """nginx in one process, counted."""

    def __init__(self, directory, load, http_lines, location):
        self.dir = directory
        self.port = free_port()
        (directory / "nginx.conf").write_text(configuration(
            directory, f"""
    access_log off;
    keepalive_requests 1000000;
    client_body_buffer_size 2m;
    client_max_body_size 32m;
    {http_lines}
    server {{ listen 127.0.0.1:{self.port};
              location = /log {{ {location} }} }}""",
            main=f"load_module {load}; daemon off; master_process off;",
            threads=1))

    def run(self, body, headers, requests):
        command, said = valgrind(self.dir, NGINX, "-p", self.dir, "-c",
                                 "nginx.conf", "-e", "stderr")
        with open(self.dir / "output", "wb") as out:
            p = subprocess.Popen(command, stdout=out, stderr=out)
        try:
            c = self.connect(p, body, headers)
            # with the spare ring, which a start makes within two seconds
            time.sleep(3)
            for _ in range(requests):
                self.post(c, body, headers)
            c.close()
        finally:
            self.stop(p)
        return collected(said)

    @staticmethod
    def stop(process):
        """A signal just before nginx sleeps is not seen: once more, then."""
        for _ in range(60):
            process.terminate()
            try:
                process.wait(5)
                return
            except subprocess.TimeoutExpired:
                pass
        process.kill()

    def connect(self, process, body, headers):
        end = time.monotonic() + 60
        while True:
            c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            try:
                self.post(c, body, headers)
                return c
            except (OSError, http.client.HTTPException):
                if process.poll() is not None or time.monotonic() > end:
                    said = [self.dir / name for name in ("output", "error.log")]
                    raise SystemExit("counts: nginx takes nothing:\n" + "".join(
                        p.read_text() for p in said if p.exists())) from None
                time.sleep(0.2)

    @staticmethod
    def post(connection, body, headers):
        connection.request("POST", "/log", body, {
            "Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        answer.read()
        if answer.status != 204:
            raise http.client.HTTPException(f"an answer of {answer.status}")


def asked(directory, kind, module, body, headers):
    """Instructions of a request."""
    directory.mkdir()
    if kind == "floor":
        inflate = "inflate" if "Content-Encoding" in headers else ""
        server = Server(directory, module, "", f"bench_floor {inflate};")
    else:
        server = Server(directory, module,
                        f"logbroker_spool {directory}/spool size=64m rings=2;"
                        f"logbroker_sync {kind};", "logbroker;")
    few, many = (20, 60) if len(body) > 100_000 else (200, 2200)
    short = server.run(body, headers, few)
    return (server.run(body, headers, many) - short) / (many - few)


def main():
    parser = argparse.ArgumentParser(prog="tests/bench/counts.py")
    parser.add_argument("--module", type=pathlib.Path,
                        default=BUILD / "ngx_http_logbroker_module.so")
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lb-counts-") as d:
        base = pathlib.Path(d)
        print("| what | instructions an event | a byte |\n|---|---|---|")
        for what in ("scan", "lift", "encode"):
            if not re.search(args.only, what):
                continue
            each, size = (encoded(base) if what == "encode"
                          else repeated(base, what))
            print(f"| {what} | {each:.0f} | {each / size:.2f} |", flush=True)
        make_bodies(base)
        print("\n| request | instructions | a byte |\n|---|---|---|")
        floor = BUILD / "ngx_http_bench_floor_module.so"
        for name in ("event200", "ndjson20k", "ndjson1m", "gzip20k"):
            body = (base / name).read_bytes()
            for kind, module in (("floor", floor), ("off", args.module),
                                 ("always", args.module)):
                what = f"{name} {kind}"
                if module.exists() and re.search(args.only, what):
                    used = asked(base / f"{name}-{kind}", kind,
                                 module.resolve(), body, TYPES.get(name, {}))
                    print(f"| {what} | {used:,.0f} | {used / len(body):.2f} |",
                          flush=True)


if __name__ == "__main__":
    main()
