"""docker/compose.yaml as it is shipped, on images built before; see docker.sh.
The engine may run on another machine (DOCKER_HOST): what it publishes is asked
for there, and it sees no file of this one."""

import gzip
import hashlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse

from env.bodies import lz4, snappy, zstd
from env.doors import DOORS
from env.grpc import Client
from env import http
from env.oracle import Oracle
from env.process import free_port, wait_for

ROOT = pathlib.Path(__file__).resolve().parents[2]

PROJECT = "logbroker-test"
ENGINE = urllib.parse.urlsplit(os.environ.get("DOCKER_HOST", ""))
# by its address: one look-up for thousands of requests
HOST = socket.gethostbyname(ENGINE.hostname or "127.0.0.1") \
    if ENGINE.scheme == "tcp" else "127.0.0.1"
PORT = free_port()
GRPC_PORT = free_port()
OWN_PORT = free_port()
SERVICES = ("edge", "broker-1", "flusher-1", "broker-2", "flusher-2",
            "clickhouse")
failures = []


def post(*argv, **kw):
    return http.post(*argv, host=HOST, **kw)


def run(*argv, check=True, timeout=300):
    p = subprocess.run(argv, capture_output=True, text=True, timeout=timeout,
                       env={**os.environ, "LOGBROKER_PORT": str(PORT),
                            "LOGBROKER_GRPC_PORT": str(GRPC_PORT),
                            "LOGBROKER_OWN_PORT": str(OWN_PORT)})
    if check and p.returncode != 0:
        raise AssertionError(f"{' '.join(argv)}: {p.stdout}{p.stderr}")
    return p


def docker(*argv, **kw):
    return run("docker", *argv, **kw)


def compose(*argv, **kw):
    return run("docker-compose", "-p", PROJECT, "-f",
               str(ROOT / "docker/compose.yaml"), *argv, **kw)


def container(service):
    return f"{PROJECT}_{service}_1"


def execute(service, *argv, **kw):
    return docker("exec", container(service), *argv, **kw)


def inspect(service):
    return json.loads(docker("inspect", container(service)).stdout)[0]


def address(service, network):
    networks = inspect(service)["NetworkSettings"]["Networks"]
    return networks[f"{PROJECT}_{network}"]["IPAddress"]


class ClickHouse:
    def query(self, sql):
        return execute("clickhouse", "curl", "-sS", "--fail-with-body",
                       "--data-binary", sql, "http://127.0.0.1:8123/").stdout


clickhouse = ClickHouse()


def check(f):
    global attempted
    start, attempted = time.monotonic(), None
    try:
        f()
        print(f"ok    {f.__doc__} ({time.monotonic() - start:.0f} s)",
              flush=True)
    except Exception as e:  # noqa: BLE001: whatever it is, the check failed
        failures.append(f.__name__)
        print(f"FAIL  {f.__doc__}: {type(e).__name__}: {e}{last_words()}",
              flush=True)


def up():
    """docker-compose up: an event posted at the edge is in ClickHouse"""
    # what a run that was cut short left behind
    compose("down", "-v", "--remove-orphans", check=False)
    compose("up", "-d", "--no-build")
    wait_for(lambda: attempt(lambda: post(PORT, '{"message":"first"}')[0])
             == 204, 60, "the edge to take an event", every=0.2)
    wait_for(lambda: attempt(lambda: clickhouse.query(
        "SELECT count() FROM logbroker.logs")) == "1\n", 90, "its row",
        every=0.2)


# what the last attempt came to, for whoever waits for it in vain
attempted = None


def attempt(f):
    global attempted
    try:
        attempted = f()
        return attempted
    except (AssertionError, OSError, subprocess.TimeoutExpired) as e:
        attempted = e
        return None


def last_words():
    if attempted is None:
        return ""
    return f"; the last attempt: {attempted!s:.2000}" if isinstance(
        attempted, Exception) else f"; the last attempt gave {attempted!r}"


def healthy():
    """every container says it is healthy, a flusher that hangs does not"""
    for service in SERVICES:
        wait_for(lambda: inspect(service)["State"]["Health"]["Status"]
                 == "healthy", 60, f"{service} healthy", every=0.5)

    def well():
        return execute("flusher-1", "logbroker-entrypoint", "health",
                       check=False).returncode == 0

    before = inspect("flusher-1")["State"]["StartedAt"]
    hang("flusher-1")
    assert well()
    execute("flusher-1", "touch", "-d", "-3 minutes",
            "/var/spool/logbroker/flusher.json")
    assert not well()
    # its watchdog takes a minute
    wait_for(lambda: inspect("flusher-1")["State"]["StartedAt"] != before, 90,
             "it to be started again", every=0.5)
    wait_for(lambda: attempt(well), 40, "the flusher to be well again",
             every=0.2)


def hang(service):
    """The flusher itself, not the process that watches it."""
    execute(service, "sh", "-c", "kill -STOP $(sed -n "
            "'s/.*\"pid\": \\([0-9]*\\).*/\\1/p' "
            "/var/spool/logbroker/flusher.json)")


def reaches(argv, url, seconds=4):
    return docker(*argv, "curl", "-sS", "-o", "/dev/null", "--max-time",
                  str(seconds), url, check=False).returncode == 0


def machine():
    """The address at which containers reach the engine's machine: their way
    out. (What an engine says of its network differs from one to the next.)"""
    routes = docker("run", "--rm", "--entrypoint", "cat", "logbroker/edge",
                    "/proc/net/route").stdout
    hop = next(line.split()[2] for line in routes.splitlines()
               if line.split()[1] == "00000000")
    return ".".join(str(b) for b in reversed(bytes.fromhex(hop)))


def isolated():
    """from outside only the edge answers, and it publishes the only ports"""
    inside = {s: address(s, "inside") for s in SERVICES}
    outside = ["run", "--rm", "--entrypoint", "", "logbroker/edge"]
    assert reaches(outside, f"http://{machine()}:{PORT}/health")
    for service, port in (("broker-1", 8080), ("broker-2", 8080),
                          ("clickhouse", 8123)):
        assert not reaches(outside, f"http://{inside[service]}:{port}/"), \
            service
    published = {s: [p for p, to in (inspect(s)["NetworkSettings"]["Ports"]
                                     or {}).items() if to] for s in SERVICES}
    assert sorted(published.pop("edge")) == ["4317/tcp", "8080/tcp",
                                             "8081/tcp"]
    assert not any(published.values()), published


def inside():
    """a broker reaches ClickHouse; only the edge what is outside"""
    def of(service):
        return ["exec", container(service)]

    assert reaches(of("flusher-1"), "http://clickhouse:8123/ping")
    assert reaches(of("edge"), "http://broker-1:8080/health")
    # what answers outside: another edge
    name = f"{PROJECT}_internet"
    docker("run", "-d", "--name", name, "-e", "LOGBROKER_BROKERS=127.0.0.1:9",
           "-e", "LOGBROKER_SENDERS=anyone",
           "--network", f"{PROJECT}_outside", "logbroker/edge")
    try:
        there = json.loads(docker("inspect", name).stdout)[0]
        there = there["NetworkSettings"]["Networks"][f"{PROJECT}_outside"]
        url = f"http://{there['IPAddress']}:8080/health"
        wait_for(lambda: reaches(of("edge"), url), 20, "it to answer")
        for service in SERVICES[1:]:
            assert not reaches(of(service), url, 2), service
    finally:
        docker("rm", "-f", "-v", name, check=False)
    # what the edge does not pass on
    assert post(PORT, "", path="/status")[0] == 404


def confined():
    """not root, read-only root file system, no capabilities"""
    for service in SERVICES:
        i = inspect(service)
        assert i["Config"]["User"] == "10001:10001", service
        assert i["HostConfig"]["ReadonlyRootfs"], service
        assert i["HostConfig"]["CapDrop"] == ["ALL"], service
        p = execute(service, "sh", "-c", "touch /usr/x || touch /etc/x",
                    check=False)
        assert p.returncode != 0 and "Read-only" in p.stderr, service


def secret():
    """the password is in no setting, layer, log or process list"""
    password = execute("flusher-1", "cat",
                       "/run/secrets/clickhouse_password").stdout.strip()
    assert len(password) >= 24
    for service in SERVICES:
        text = docker("inspect", container(service)).stdout
        text += docker("logs", container(service)).stdout
        text += docker("logs", container(service)).stderr
        text += docker("top", container(service)).stdout
        assert password not in text, service
    for image in ("broker", "edge", "clickhouse"):
        assert password not in docker("history", "--no-trunc",
                                      f"logbroker/{image}").stdout


def smoke():
    """tests/deploy/smoke.sh finds its event"""
    p = run(str(ROOT / "tests/deploy/smoke.sh"), f"http://{HOST}:{PORT}",
            "docker", "exec", "-i", container("clickhouse"), "curl", "-sS",
            "--data-binary", "@-", "http://127.0.0.1:8123/")
    assert "is in ClickHouse" in p.stdout, p.stdout


def doors():
    """what comes through every door, packed or not, is in ClickHouse"""
    for name, door in DOORS.items():
        status, _, body = post(PORT, door.body, door.path, door.headers)
        assert status == door.ok, (name, status, body)
    # the libraries are there, and at the edge they do not matter
    packed = {"gzip": gzip.compress, "lz4": lz4, "snappy": snappy,
              "zstd": zstd}
    for coding, pack in packed.items():
        status, _, body = post(PORT, pack(b'{"message":"packed"}'),
                               headers={"Content-Encoding": coding})
        assert status == 204, (coding, status, body)
    with Client(f"{HOST}:{GRPC_PORT}") as client:
        # OTLP_BYTES of env.doors, but for what the event says
        client.export(b"\x0a\x0c\x12\x0a\x12\x08\x2a\x06\x0a\x04gRPC")
    expected = {"x": len(DOORS) - 2, "packed": len(packed), "gRPC": 1}
    wait_for(lambda: dict(json.loads(line) for line in clickhouse.query(
        "SELECT message, toUInt32(count()) FROM logbroker.logs WHERE message "
        "IN ('x', 'packed', 'gRPC') GROUP BY message FORMAT JSONCompactEachRow"
    ).splitlines()) == expected, 60, f"{expected}", every=0.5)


def without_broker():
    """the edge starts while a broker is away, and finds it when it is back"""
    compose("rm", "-s", "-f", "broker-1")
    compose("restart", "edge")
    wait_for(lambda: attempt(lambda: post(PORT, "{}")[0]) == 204, 30,
             "the edge to take an event", every=0.2)
    compose("up", "-d", "--no-build", "broker-1")
    wait_for(lambda: "broker-1" in sources(), 60, "an event by broker-1",
             every=0.5)


def sources():
    assert attempt(lambda: post(PORT, '{"message":"whose"}')[0]) == 204
    return clickhouse.query("SELECT DISTINCT broker FROM logbroker.logs "
                            "WHERE message = 'whose'").split()


def tls():
    """an edge with certificate, brokers and senders; all changed by a HUP"""
    name = f"{PROJECT}_tls"
    files = f"{PROJECT}_tls_files"

    def settings():
        """Into the volume, by a container that is never started."""
        docker("cp", f"{d}/.", f"{files}:/etc/logbroker/edge")

    with tempfile.TemporaryDirectory() as d:
        d = pathlib.Path(d)
        d.chmod(0o755)

        def certificate(subject):
            run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                "-subj", f"/CN={subject}", "-keyout", str(d / "tls/key.pem"),
                "-out", str(d / "tls/cert.pem"))
            (d / "tls/key.pem").chmod(0o644)

        def curl(*argv):
            return docker("exec", name, "curl", "-ksS", "--max-time", "5", "-o",
                          "/dev/null", "-w", "%{http_code} %{redirect_url}",
                          *argv, check=False).stdout.strip()

        def sender(token):
            (d / "senders.conf").write_text(
                "logbroker_sender one token="
                f"{hashlib.sha256(token.encode()).hexdigest()} streams=one;\n")
            return "-H", f"Authorization: Bearer {token}"

        (d / "tls").mkdir()
        old = sender("old")
        certificate("old.example")
        (d / "brokers.conf").write_text("server 127.0.0.1:9;\n")
        docker("create", "--name", files, "-v", f"{files}:/etc/logbroker/edge",
               "logbroker/edge")
        settings()
        docker("run", "-d", "--name", name, "--read-only", "--cap-drop", "ALL",
               "--network", f"{PROJECT}_inside", "--tmpfs",
               "/run/logbroker:uid=10001,gid=10001", "--tmpfs", "/tmp", "-v",
               f"{files}:/etc/logbroker/edge:ro", "logbroker/edge")
        try:
            wait_for(lambda: curl("https://127.0.0.1:8443/health") == "200",
                     30, "TLS", every=0.2)
            assert curl("http://127.0.0.1:8080/health") == "200"
            assert curl("-d", "{}", "http://127.0.0.1:8080/log") == \
                "308 https://127.0.0.1/log"
            assert curl("--tls-max", "1.1", "https://127.0.0.1:8443/health") \
                == "000"
            assert curl("-d", "{}", "https://127.0.0.1:8443/log") == "401"
            assert curl(*old, "-d", "{}", "https://127.0.0.1:8443/log") == "503"

            certificate("new.example")
            new = sender("new")
            (d / "brokers.conf").write_text(
                f"server {address('broker-1', 'inside')}:8080;\n")
            settings()
            docker("kill", "-s", "HUP", name)
            wait_for(lambda: curl(*new, "-d", "{}",
                                  "https://127.0.0.1:8443/log") == "204",
                     30, "the new lists", every=0.2)
            assert curl(*old, "-d", "{}", "https://127.0.0.1:8443/log") == "401"
            assert curl(*new, "-d", "{}", "https://127.0.0.1:8443/log/two") \
                == "403"
            p = docker("exec", name, "curl", "-ksSv", "-o", "/dev/null",
                       "https://127.0.0.1:8443/health")
            assert "CN=new.example" in p.stderr, p.stderr
        finally:
            docker("rm", "-f", "-v", name, files, check=False)
            docker("volume", "rm", files, check=False)


def drained(broker):
    p = execute(broker.replace("broker", "flusher"), "logbroker-spool", "stat",
                "--json", "/var/spool/logbroker", check=False)
    if p.returncode != 0:
        return False
    s = json.loads(p.stdout)
    return not s["in_flight"] and not any(
        r["backlog_events"] for r in s["rings"])


def exactly_once():
    """containers killed, ClickHouse restarted under load: each event once"""
    wait_for(lambda: all(drained(b) for b in ("broker-1", "broker-2")), 60,
             "the events of other checks", every=0.5)
    clickhouse.query("TRUNCATE TABLE logbroker.logs")
    with Oracle([PORT], host=HOST, threads=3, keepalive=False) as oracle:
        for step in (("kill", "-s", "KILL", container("broker-1")),
                     ("start", container("broker-1")),
                     ("kill", "-s", "KILL", container("flusher-2")),
                     ("start", container("flusher-2")),
                     ("restart", container("clickhouse")),
                     ("kill", "-s", "KILL", container("clickhouse")),
                     ("start", container("clickhouse")),
                     ("restart", container("broker-2"))):
            n = oracle.count()
            wait_for(lambda: oracle.count() > n + 200, 60, "events")
            docker(*step)
        n = oracle.count()
        wait_for(lambda: oracle.count() > n + 200, 60, "events")
    wait_for(lambda: all(drained(b) for b in ("broker-1", "broker-2")), 120,
             "everything delivered", every=0.5)
    # the first event was before the table was emptied
    rows = clickhouse.query(
        "SELECT message, count() FROM logbroker.logs GROUP BY message "
        "FORMAT TabSeparated")
    found = dict(line.split("\t") for line in rows.splitlines())
    lost = oracle.acked - found.keys()
    twice = [m for m, n in found.items() if n != "1"]
    print(f"      acknowledged={len(oracle.acked)} delivered={len(found)} "
          f"lost={len(lost)} duplicated={len(twice)} "
          f"statuses={oracle.statuses}")
    assert not lost and not twice
    assert found.keys() <= oracle.acked | oracle.unknown
    assert set(oracle.statuses) <= {204, 502, 503, 504, None}


def stops():
    """docker-compose stop: nothing is left in the spools, no exit by force"""
    assert post(PORT, '{"message":"last"}')[0] == 204
    compose("stop", *[s for s in SERVICES if s.startswith(("edge", "broker"))])
    compose("stop", "flusher-1", "flusher-2")
    assert clickhouse.query("SELECT count() FROM logbroker.logs WHERE "
                            "message = 'last'") == "1\n"
    compose("stop", "clickhouse")
    for service in SERVICES:
        assert inspect(service)["State"]["ExitCode"] == 0, service


def main():
    try:
        for f in (up, healthy, isolated, inside, confined, secret, smoke,
                  doors, without_broker, tls, exactly_once, stops):
            check(f)
            if failures == ["up"]:
                break
        if failures:
            print(compose("logs", "--no-color", "--tail", "15",
                          check=False).stdout)
    finally:
        compose("down", "-v", "--remove-orphans", check=False)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
