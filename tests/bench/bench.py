"""The driver behind run.sh: starts the servers, loads them in turns, and
writes down what came of it.

A cell is one body, one number of connections, one number of workers.  Within
a cell all variants run one after another in each round, in the opposite order
in every other round, and a ratio is always between two runs of the same round:
what else the machine does hits both.  With one worker the server has the first
processor and the load generator the second.  The floor of a body that is
compressed inflates it, too.
"""

import argparse
import contextlib
import gzip
import http.client
import json
import math
import os
import pathlib
import platform
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from env import spool

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
NGINX = os.environ.get("LB_NGINX", "/usr/sbin/nginx")
CPUS = sorted(os.sched_getaffinity(0))
TICK = os.sysconf("SC_CLK_TCK")

NAMES = {
    "floor": "nginx reads the body, answers 204 (the floor)",
    "inflate": "nginx reads the body, inflates it, answers 204 (the floor)",
    "off": "logbroker, `sync off`",
    "always": "logbroker, `sync always`",
    "accesslog": "nginx `access_log` of `$request_body`",
    "fastapi": "FastAPI + uvicorn, append",
    "fastapi-fsync": "FastAPI + uvicorn, append + fsync",
}
SHORT = {"off": "off", "always": "always", "accesslog": "access_log",
         "fastapi": "FastAPI", "fastapi-fsync": "FastAPI+fsync"}
BODIES = {
    "event200": "one event of 200 bytes",
    "ndjson20k": "NDJSON, 100 events, 20 KB",
    "ndjson1m": "NDJSON, 5,000 events, 1 MB",
    "array20k": "JSON array, 100 events, 20 KB",
    "gzip20k": "gzip of NDJSON, 100 events, 20 KB",
}
TARGETS = {
    "event200_c64_off": 0.95, "event200_c64_always": 0.75,
    "event200_c512_always": 0.90,
    "ndjson20k_c64_off": 0.70, "ndjson20k_c64_always": 0.60,
    "ndjson1m_c64_off": 0.40, "ndjson1m_c64_always": 0.40,
    "gzip20k_c64_off": 0.50, "gzip20k_c64_always": 0.50,
}
OURS = ["off", "always"]
ALL = [*OURS, "accesslog", "fastapi", "fastapi-fsync"]

# body, connections, workers, variants beside the floor
CELLS = [
    ("event200", 1, 1, ALL), ("event200", 64, 1, ALL),
    ("event200", 512, 1, ALL), ("ndjson20k", 1, 1, OURS),
    ("ndjson20k", 64, 1, ALL), ("ndjson20k", 512, 1, OURS),
    ("ndjson1m", 64, 1, ALL), ("array20k", 64, 1, OURS),
    ("gzip20k", 64, 1, OURS), ("event200", 64, 2, OURS),
    ("event200", 512, 2, OURS), ("ndjson20k", 64, 2, OURS),
]
QUICK = [("event200", 64, 1, ALL), ("ndjson20k", 64, 1, OURS),
         ("gzip20k", 1, 2, OURS)]


def cell_name(body, connections, workers):
    return f"{body}_c{connections}" + (f"_w{workers}" if workers > 1 else "")


# bodies: real log lines as JSON events

def events(n):
    lines = (ROOT / "tests/data/access.log").read_text().splitlines()
    out = []
    for i in range(n):
        event = {"time": f"2024-05-17T10:05:{i % 60:02}.{i % 1000:03}Z",
                 "level": "info", "service": "web", "host": f"web-{i % 7}",
                 "message": lines[i % len(lines)].replace('"', "'")}
        room = 199 - len(json.dumps({**event, "message": ""},
                                    separators=(",", ":")))
        event["message"] = event["message"][:room].ljust(room, ".")
        out.append(json.dumps(event, separators=(",", ":")))
    return out


def make_bodies(directory):
    ndjson = ("\n".join(events(100)) + "\n").encode()
    bodies = {
        "event200": events(1)[0].encode() + b"\n",
        "ndjson20k": ndjson,
        "ndjson1m": ("\n".join(events(5000)) + "\n").encode(),
        "array20k": ("[" + ",".join(events(100)) + "]").encode(),
        "gzip20k": gzip.compress(ndjson, 6, mtime=0),
    }
    for name, data in bodies.items():
        (directory / name).write_bytes(data)
    return {name: len(data) for name, data in bodies.items()}


def coding(body):
    """What the body of this name or file is encoded with."""
    return "gzip" if pathlib.Path(body).name.startswith("gzip") else None


def pinned(cpus, command):
    return ["taskset", "-c", ",".join(map(str, cpus)), *command]


def cpu_parts(pids):
    """Seconds of processes with all their threads: the user's, the kernel's."""
    stats = [pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
             .split() for pid in pids]
    return [sum(int(s[i]) for s in stats) / TICK for i in (11, 12)]


def cpu_seconds(pids):
    return sum(cpu_parts(pids))


def children(pid):
    text = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(p) for p in text.split()]


def wait_for(condition, what, timeout=60):
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise SystemExit(f"bench: {what}: not within {timeout} s")
        time.sleep(0.01)


class Server:
    """One process and its children; what several variants have in common."""

    def __init__(self, directory, port, workers, env=None):
        self.dir = directory
        self.dir.mkdir(parents=True, exist_ok=True)
        self.port = port
        self.workers = workers
        self.env = {**os.environ, **(env or {})}
        self.process = None

    def command(self):
        raise NotImplementedError

    def prepare(self):
        pass

    def start(self):
        self.prepare()
        cpus = CPUS[:1] if self.workers == 1 else CPUS
        with open(self.dir / "output", "wb") as out:
            self.process = subprocess.Popen(
                pinned(cpus, self.command()), cwd=self.dir, env=self.env,
                stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            wait_for(self.ready, f"{self.dir.name} to be ready")
        except BaseException:
            self.stop()
            print((self.dir / "output").read_text(errors="replace")[-3000:],
                  file=sys.stderr)
            raise
        return self

    def ready(self):
        if self.process.poll() is not None:
            raise SystemExit(
                f"bench: {self.dir.name} ended:\n"
                + (self.dir / "output").read_text(errors="replace")[-3000:])
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def pids(self):
        return [self.process.pid]

    def path(self, body):
        """Where a body is posted to."""
        return "/log"

    def counters(self):
        return None

    def settle(self):
        """What a run leaves behind must not weigh on the next one."""


class Nginx(Server):
    def __init__(self, directory, port, workers, build):
        super().__init__(directory, port, workers)
        self.build = build

    def load(self):
        return ""

    def http(self):
        return ""

    def locations(self):
        return ""

    def prepare(self):
        (self.dir / "temp").mkdir(exist_ok=True)
        (self.dir / "nginx.conf").write_text(f"""
{self.load()}
{"user root;" if os.getuid() == 0 else ""}
worker_processes {self.workers};
worker_rlimit_nofile 8192;
pid nginx.pid;
error_log error.log warn;
thread_pool default threads=4;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path temp/body;
    proxy_temp_path temp/proxy;
    fastcgi_temp_path temp/fastcgi;
    uwsgi_temp_path temp/uwsgi;
    scgi_temp_path temp/scgi;
    client_body_buffer_size 2m;
    client_max_body_size 32m;
    keepalive_requests 1000000000;
    {self.http()}
    server {{
        listen 127.0.0.1:{self.port} backlog=4096 reuseport;
        {self.locations()}
    }}
}}
""")

    def command(self):
        return [NGINX, "-p", str(self.dir), "-c", "nginx.conf",
                "-e", "error.log", "-g", "daemon off;"]

    def pids(self):
        return children(self.process.pid)


class Floor(Nginx):
    def load(self):
        return f"load_module \"{self.build}/ngx_http_bench_floor_module.so\";"

    def locations(self):
        return """
        location = /log { bench_floor; }
        location = /inflate { bench_floor inflate; }"""

    def path(self, body):
        return "/inflate" if coding(body) else "/log"


class Logbroker(Nginx):
    size = "256m"

    def __init__(self, directory, port, workers, build, sync):
        super().__init__(directory, port, workers, build)
        self.sync = sync

    def load(self):
        return f"load_module \"{self.build}/ngx_http_logbroker_module.so\";"

    def http(self):
        return f"""
    logbroker_spool spool size={self.size};
    logbroker_sync {self.sync};"""

    def locations(self):
        return """
        location = /log { logbroker; }
        location = /status { logbroker_status; }"""

    def start(self):
        super().start()
        self.drain = subprocess.Popen(
            pinned(CPUS[-1:], [f"{self.build}/bench_drain", "spool"]),
            cwd=self.dir, stdin=subprocess.DEVNULL)
        return self

    def stop(self):
        if getattr(self, "drain", None):
            self.drain.kill()
            self.drain.wait()
        super().stop()

    def status(self):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            c.request("GET", "/status")
            return json.loads(c.getresponse().read())
        finally:
            c.close()

    def ready(self):
        # with the spare rings, whose creation costs time, and the workers' own
        # zero-filled, which costs something as long as it lasts
        if not super().ready():
            return False
        rings = self.status()["rings"]
        cells = [spool.Ring(self.dir / "spool" / f"ring-{r['slot']:04}").cell
                 for r in rings if r.get("locked")]
        return (len(rings) >= 2 * self.workers <= 2 * len(cells)
                and not any(cell.fill_end for cell in cells))

    def counters(self):
        status = self.status()
        return {**status["total"], "largest": status["largest_group"]}

    def settle(self):
        wait_for(lambda: all(r["durable"] == r["committed"] == r["acked"]
                             for r in self.status()["rings"]),
                 "the rings to be durable and drained")


class AccessLog(Nginx):
    """$request_body is there only when something reads the body: a proxy to
    the same nginx."""

    def http(self):
        return f"""
    log_format body escape=none '$request_body';
    upstream self {{ server unix:{self.dir}/sink.sock; keepalive 512; }}
    server {{ listen unix:{self.dir}/sink.sock;
              location / {{ return 204; }} }}"""

    def locations(self):
        return """
        location = /log { access_log body.log body; proxy_pass http://self;
                          proxy_http_version 1.1;
                          proxy_set_header Connection ""; }"""

    def prepare(self):
        super().prepare()
        (self.dir / "sink.sock").unlink(missing_ok=True)

    def settle(self):
        os.truncate(self.dir / "body.log", 0)


class FastApi(Server):
    def __init__(self, directory, port, workers, fsync):
        super().__init__(directory, port, workers, {
            "BENCH_FILE": str(directory / "bodies"),
            "BENCH_FSYNC": "1" if fsync else "0"})

    def command(self):
        return ["/usr/bin/python3", "-m", "uvicorn", "service:app",
                "--app-dir", str(HERE), "--host", "127.0.0.1",
                "--port", str(self.port), "--no-access-log",
                "--log-level", "warning", "--backlog", "4096"]

    def settle(self):
        os.truncate(self.dir / "bodies", 0)


def load(server, body, connections, seconds):
    """One run of wrk: a dict of figures."""
    cpus = CPUS[-1:] if server.workers == 1 else CPUS
    command = pinned(cpus, [
        "wrk", "-t", str(min(server.workers, connections)),
        "-c", str(connections), "-d", f"{seconds}s", "--timeout", "30s",
        "-s", str(HERE / "load.lua"),
        f"http://127.0.0.1:{server.port}{server.path(body)}"])
    env = {**os.environ, "BENCH_BODY": str(body)}
    env.pop("BENCH_ENCODING", None)
    if coding(body):
        env["BENCH_ENCODING"] = coding(body)
    before, cpu = server.counters(), cpu_seconds(server.pids())
    p = subprocess.run(command, env=env, capture_output=True, text=True,
                       check=False)
    cpu, after = cpu_seconds(server.pids()) - cpu, server.counters()
    found = re.search(r"^BENCH (.*)$", p.stdout, re.M)
    if p.returncode or not found:
        raise SystemExit(f"bench: wrk failed:\n{p.stdout}{p.stderr}")
    raw = json.loads(found.group(1))
    if raw["bad"] or raw["broken"] or not raw["requests"]:
        raise SystemExit(
            f"bench: {server.dir.name}, {body.name}, {connections} "
            f"connections: {raw['requests']} answers, {raw['bad']} of them "
            f"errors, {raw['broken']} connections failed")
    took = raw["us"] / 1e6
    rate = raw["requests"] / took
    run = {"requests_per_s": rate,
           "mb_per_s": rate * body.stat().st_size / 1e6,
           "p50_us": raw["p50"], "p99_us": raw["p99"], "p999_us": raw["p999"],
           "cpu_us_per_request": cpu * 1e6 / raw["requests"]}
    if before:
        writes = after["writes"] - before["writes"]
        run["syncs_per_s"] = (after["syncs"] - before["syncs"]) / took
        run["mean_group"] = (after["records"] - before["records"]
                             ) / max(writes, 1)
        run["largest_group"] = after["largest"]
    return run


def run_cell(cell, args, directory, say):
    body_name, connections, workers, variants = cell
    variants = ["floor", *(v for v in variants if v in args.variants)]
    body = directory / "bodies" / body_name
    runs = {v: [] for v in variants}
    with contextlib.ExitStack() as stack:
        servers = {}
        for i, (name, make) in enumerate((
                ("floor", lambda d, p: Floor(d, p, workers, args.build)),
                ("off", lambda d, p: Logbroker(d, p, workers, args.build,
                                               "off")),
                ("always", lambda d, p: Logbroker(d, p, workers, args.build,
                                                  "always")),
                ("accesslog", lambda d, p: AccessLog(d, p, workers,
                                                     args.build)),
                ("fastapi", lambda d, p: FastApi(d, p, workers, False)),
                ("fastapi-fsync", lambda d, p: FastApi(d, p, workers,
                                                       True)))):
            if name in variants:
                servers[name] = make(directory / name, args.port + i).start()
                stack.callback(servers[name].stop)
        for turn in range(args.rounds):
            for v in variants if turn % 2 == 0 else reversed(variants):
                server = servers[v]
                run = load(server, body, connections, args.seconds)
                run["load_average"] = os.getloadavg()[0]
                runs[v].append(run)
                server.settle()
    figures = {v: summary(runs[v], runs["floor"]) for v in variants}
    for v in variants:
        say(v, figures[v])
    return figures


def summary(runs, floors):
    out = {}
    for key in runs[0]:
        out[key] = round(statistics.median(r[key] for r in runs), 3)
    if "largest_group" in out:
        out["largest_group"] = max(r["largest_group"] for r in runs)
    out["runs"] = [round(r["requests_per_s"], 1) for r in runs]
    for name, key in (("ratio_to_floor", "requests_per_s"),
                      ("cpu_to_floor", "cpu_us_per_request")):
        ratios = [r[key] / f[key] for r, f in zip(runs, floors) if f[key]]
        if not ratios:
            continue
        out[name] = {"median": round(statistics.median(ratios), 3),
                     "min": round(min(ratios), 3),
                     "max": round(max(ratios), 3)}
    return out


# output

def amount(x):
    if x >= 1000:
        return f"{x:,.0f}"
    return f"{x:.0f}" if x >= 10 else f"{x:.1f}"


def milli(us):
    return f"{us / 1000:.2f}" if us < 10000 else f"{us / 1000:.0f}"


def table(results):
    lines = [
        "| body | connections | workers | what | requests/s | MB/s "
        "| p50 / p99 / p99.9, ms | CPU µs per request | syncs/s "
        "| group mean / largest | ratio to the floor (min–max) | target |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|"]
    for name, cell in results["cells"].items():
        for v, f in cell["variants"].items():
            ours = "syncs_per_s" in f
            ratio = f["ratio_to_floor"]
            target = TARGETS.get(f"{name}_{v}")
            inflates = v == "floor" and coding(cell["body"])
            lines.append("| " + " | ".join([
                BODIES[cell["body"]], str(cell["connections"]),
                str(cell["workers"]), NAMES["inflate" if inflates else v],
                amount(f["requests_per_s"]), amount(f["mb_per_s"]),
                " / ".join(milli(f[k]) for k in ("p50_us", "p99_us",
                                                 "p999_us")),
                f"{f['cpu_us_per_request']:.1f}",
                amount(f["syncs_per_s"]) if ours else "",
                f"{f['mean_group']:.1f} / {f['largest_group']}"
                if ours else "",
                "1" if v == "floor" else
                f"**{ratio['median']:.2f}** "
                f"({ratio['min']:.2f}–{ratio['max']:.2f})",
                f"{target:.2f}" if target else ""]) + " |")
    return "\n".join(lines) + "\n"


COLOURS = {"off": "#2f6fb0", "always": "#163a5f", "accesslog": "#d08a2e",
           "fastapi": "#b04848", "fastapi-fsync": "#7a2020"}


def plot(results):
    """Bars: requests per second as a share of the floor's."""
    bars = []
    for name, cell in results["cells"].items():
        group = [(v, f["ratio_to_floor"]) for v, f in cell["variants"].items()
                 if v != "floor"]
        bars.append((name, group))
    row, gap, left, width = 16, 14, 190, 520
    top = 56
    height = top + sum(len(g) * row + gap for _, g in bars) + 30
    most = max((r["max"] for _, g in bars for _, r in g), default=1)
    scale = width / max(1.05, min(most, 1.4))
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 60}"'
           f' height="{height}" font-family="sans-serif" font-size="12">',
           '<rect width="100%" height="100%" fill="white"/>',
           '<text x="10" y="20" font-size="15">Requests per second, as a share '
           'of bare nginx (median, min to max)</text>']
    x = 10
    for v in [v for v in COLOURS
              if any(v == u for _, g in bars for u, _ in g)]:
        out.append(f'<rect x="{x}" y="31" width="11" height="11" '
                   f'fill="{COLOURS[v]}"/><text x="{x + 15}" y="41">'
                   f'{SHORT[v]}</text>')
        x += 40 + 7 * len(SHORT[v])
    for share in (0, 0.25, 0.5, 0.75, 1):
        x = left + share * scale
        out.append(f'<line x1="{x:.1f}" y1="{top}" x2="{x:.1f}" '
                   f'y2="{height - 26}" stroke="{"#333" if share == 1 else "#ccc"}"/>'
                   f'<text x="{x:.1f}" y="{height - 10}" '
                   f'text-anchor="middle">{share:g}</text>')
    y = top
    for name, group in bars:
        y += gap
        out.append(f'<text x="10" y="{y + 12}">{name}</text>')
        for v, r in group:
            out.append(
                f'<rect x="{left}" y="{y + 2}" width="{r["median"] * scale:.1f}" '
                f'height="{row - 4}" fill="{COLOURS[v]}"/>'
                f'<line x1="{left + r["min"] * scale:.1f}" y1="{y + row / 2}" '
                f'x2="{left + r["max"] * scale:.1f}" y2="{y + row / 2}" '
                'stroke="black"/>'
                f'<text x="{left + max(r["median"], r["max"]) * scale + 5:.1f}" '
                f'y="{y + 12}">{r["median"]:.2f}</text>')
            y += row
    return "\n".join([*out, "</svg>"]) + "\n"


def machine():
    model = re.search(r"model name\s*:\s*(.*)",
                      pathlib.Path("/proc/cpuinfo").read_text())
    nginx = subprocess.run([NGINX, "-v"], capture_output=True, text=True,
                           check=False).stderr
    return {"processors": len(CPUS),
            "model": model.group(1) if model else platform.machine(),
            "kernel": platform.release(),
            "nginx": nginx.strip().rpartition("/")[2]}


def check(results, cells, args):
    """What --quick is for: everything that was asked for has its figures."""
    for body, connections, workers, variants in cells:
        name = cell_name(body, connections, workers)
        for v in ["floor", *(v for v in variants if v in args.variants)]:
            f = results["cells"][name]["variants"][v]
            for key in ("requests_per_s", "mb_per_s", "p50_us", "p99_us",
                        "p999_us", "cpu_us_per_request"):
                if not (f[key] > 0 and math.isfinite(f[key])):
                    raise SystemExit(f"bench: {name} {v}: {key} is {f[key]}")
            if v == "always" and (f["syncs_per_s"] < 1
                                  or f["largest_group"] < 1):
                raise SystemExit(f"bench: {name} {v}: no syncs")


def options():
    parser = argparse.ArgumentParser(prog="tests/bench/run.sh")
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=int, default=1)
    parser.add_argument("--only", default="")
    parser.add_argument("--variants", type=lambda s: s.split(","), default=ALL)
    parser.add_argument("--port", type=int, default=18900)
    args = parser.parse_args()
    unknown = set(args.variants) - set(ALL)
    if unknown:
        parser.error(f"no such variant: {', '.join(sorted(unknown))}; "
                     f"there are {', '.join(ALL)}")
    if args.rounds is None:
        args.rounds = 1 if args.quick else 5
    if args.out is None:
        args.out = args.build / "bench"
    return args


def main():
    args = options()
    cells = [c for c in (QUICK if args.quick else CELLS)
             if re.search(args.only, cell_name(*c[:3]))]
    if not cells:
        raise SystemExit(f"bench: no cell matches {args.only!r}")
    if args.quick:
        Logbroker.size = "64m"
    args.out.mkdir(parents=True, exist_ok=True)
    results = {"when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
               "machine": machine(), "rounds": args.rounds,
               "seconds": args.seconds, "targets": TARGETS, "cells": {}}
    begun = time.monotonic()
    directory = pathlib.Path(tempfile.mkdtemp(prefix="logbroker-bench-"))
    try:
        (directory / "bodies").mkdir()
        sizes = make_bodies(directory / "bodies")
        for cell in cells:
            name = cell_name(*cell[:3])

            def say(variant, f, name=name):
                print(f"{name:20} {variant:14} "
                      f"{f['requests_per_s']:9.0f}/s  "
                      f"p50 {milli(f['p50_us']):>6}  "
                      f"p99 {milli(f['p99_us']):>6} ms  "
                      f"{f['cpu_us_per_request']:8.1f} us  "
                      f"ratio {f['ratio_to_floor']['median']:.2f} "
                      f"({f['ratio_to_floor']['min']:.2f}-"
                      f"{f['ratio_to_floor']['max']:.2f})", flush=True)

            results["cells"][name] = {
                "body": cell[0], "bytes": sizes[cell[0]],
                "connections": cell[1], "workers": cell[2],
                "variants": run_cell(cell, args, directory, say)}
    except BaseException:
        print(f"bench: logs and configurations are in {directory}",
              file=sys.stderr)
        raise
    shutil.rmtree(directory, ignore_errors=True)
    for key in ("ratio_to_floor", "cpu_to_floor"):
        results[key] = {
            f"{name}_{v}": f[key]["median"]
            for name, cell in results["cells"].items()
            for v, f in cell["variants"].items()
            if v != "floor" and key in f}
    results["took_s"] = round(time.monotonic() - begun)
    (args.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (args.out / "table.md").write_text(table(results))
    (args.out / "plot.svg").write_text(plot(results))
    check(results, cells, args)
    for name, target in TARGETS.items():
        if name in results["ratio_to_floor"]:
            got = results["ratio_to_floor"][name]
            print(f"target {name}: {got:.2f} of {target:.2f} "
                  f"{'met' if got >= target else 'missed'}")
    print(f"took {results['took_s']} s; figures are in {args.out}")


if __name__ == "__main__":
    main()
