"""docs/shippers.md: what is on that page is run here, against a real broker;
every event arrives once and lands in the right columns."""

import gzip
import json
import os
import re
import shutil
import signal
import socket
import subprocess

import pytest

from env import spool
from env.build import ROOT
from env.nginx import Nginx
from env.process import wait_for

PAGE = (ROOT / "docs/shippers.md").read_text()
DATA = ROOT / "tests/data/shippers"


def blocks(language, nginx):
    """The page's blocks in a language, for this broker."""
    found = re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)
    assert found
    return [b.replace("edge:8080", f"127.0.0.1:{nginx.port}") for b in found]


def events(nginx, stream):
    return [json.loads(line) for r in spool.records(nginx.spool)
            if r.stream == stream for line in r.payload.splitlines()]


def arrived(nginx, stream, count):
    return wait_for(lambda: len(found := events(nginx, stream)) >= count
                    and found, 30, f"{count} events")


@pytest.fixture
def nginx(tmp_path):
    with Nginx(tmp_path / "nginx", spool="size=8m") as n:
        yield n


def test_curl(nginx, tmp_path):
    (tmp_path / "app.log").write_text("one\ntwo\n")
    subprocess.run(["bash", "-ec", blocks("sh", nginx)[0]], cwd=tmp_path,
                   check=True, timeout=60)
    assert [e["message"] for e in events(nginx, "app")] == ["one", "two"]


@pytest.fixture(scope="module")
def syslog_ng(tmp_path_factory):
    """(command, environment): unpacked rather than installed, for the package
    would replace the machine's own syslog."""
    if shutil.which("syslog-ng"):
        return ["syslog-ng"], None
    d = tmp_path_factory.mktemp("syslog-ng")
    d.chmod(0o755)
    got = subprocess.run(
        ["apt-get", "download", "-q", "syslog-ng-core", "syslog-ng-mod-http"],
        cwd=d, capture_output=True, text=True, timeout=120)
    if got.returncode:
        pytest.skip("no syslog-ng, and apt-get cannot download it: "
                    + got.stderr[-300:])
    for package in d.glob("*.deb"):
        subprocess.run(["dpkg", "-x", package, d], check=True)
    library = next(d.glob("usr/lib/syslog-ng/libsyslog-ng-*.so.0")).parent
    modules = next(d.glob("usr/lib/syslog-ng/3*/libhttp.so")).parent
    return ([d / "usr/sbin/syslog-ng", f"--module-path={modules}"],
            dict(os.environ, LD_LIBRARY_PATH=str(library)))


def test_syslog_ng(nginx, syslog_ng, tmp_path):
    """Also while the broker is away: what was refused comes again."""
    command, env = syslog_ng
    sock = tmp_path / "log"
    conf = tmp_path / "syslog-ng.conf"
    conf.write_text(f"""@version: 3.38
source src {{ unix-dgram("{sock}"); }};
{blocks("syslog-ng", nginx)[0]}
log {{ source(src); destination(logbroker); }};
""")
    with open(tmp_path / "out", "wb") as out:
        p = subprocess.Popen(
            [*command, "-F", "--no-caps", "-f", conf, "-R",
             tmp_path / "persist", "-c", tmp_path / "ctl", "-p",
             tmp_path / "pid"], stdout=out, stderr=out, env=env)
    try:
        wait_for(sock.exists, what=(tmp_path / "out").read_text)

        def log(priority, text):
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
                s.connect(str(sock))
                s.send(f"<{priority}>Nov 23 10:00:00 shop[17]: {text}"
                       .encode())
        for n in range(20):
            log(11, f'failed {n}: "quoted" \\ caf\u00e9')
        first = arrived(nginx, "syslog", 20)
        assert first[0]["message"] == 'failed 0: "quoted" \\ caf\u00e9'
        assert (first[0]["level"], first[0]["service"]) == ("err", "shop")
        assert re.match(r"\d{4}-11-23T10:00:00", first[0]["timestamp"])
        nginx.kill()
        for n in range(20, 40):
            log(14, f"failed {n}:")
        nginx.start()
        wait_for(lambda: sorted(int(re.search(r"\d+", e["message"])[0])
                                for e in events(nginx, "syslog"))
                 == list(range(40)), 60, "the rest")
    finally:
        p.send_signal(signal.SIGTERM)
        p.wait(20)


def test_python(nginx):
    handler, use = blocks("python", nginx)
    code = handler + use + """
try:
    1 / 0
except ZeroDivisionError:
    log.exception("sum")
log.propagate = False
for n in range(1000):
    log.warning("%d", n)
log.handlers[0].flush()
assert log.handlers[0].dropped == 0
"""
    subprocess.run(["/usr/bin/python3", "-c", code], check=True, timeout=60,
                   stderr=subprocess.DEVNULL)
    found = events(nginx, "shop")
    assert len(found) == 1002
    assert found[0]["message"] == "order 17 failed"
    assert found[0]["level"] == "ERROR" and found[0]["service"] == "checkout"
    assert "ZeroDivisionError" in found[1]["exception"]
    assert [int(e["message"]) for e in found[2:]] == list(range(1000))


@pytest.mark.slow
def test_pino(nginx, tmp_path):
    if not shutil.which("npm"):
        pytest.skip("no npm")
    install = subprocess.run(
        ["npm", "install", "--no-save", "--no-audit", "--no-fund",
         "--ignore-scripts", "--prefix", tmp_path, "pino@9.5.0"],
        capture_output=True, text=True, timeout=120)
    if install.returncode:
        pytest.skip("npm cannot install pino: " + install.stderr[-200:])
    stream, use = blocks("js", nginx)
    (tmp_path / "logbroker.mjs").write_text(stream)
    (tmp_path / "use.mjs").write_text(use.replace(
        "stream.end();",
        "for (let n = 0; n < 1000; n++) log.info({ n }, 'x');\nstream.end();"))
    subprocess.run(["node", "use.mjs"], cwd=tmp_path, check=True, timeout=60)
    found = events(nginx, "shop")
    assert len(found) == 1001
    assert found[0]["msg"] == "order failed" and found[0]["level"] == 50
    assert found[0]["service"] == "checkout" and found[0]["time"] > 1.7e12
    assert [e["n"] for e in found[1:]] == list(range(1000))


@pytest.mark.parametrize("name, kind", [
    ("fluent-bit.json", "application/json"),
    ("fluent-bit.json_lines", "application/x-ndjson"),
    ("fluent-bit.json_stream", "application/json"),
    ("vector.json", "application/json"),
    ("vector.ndjson", "application/x-ndjson"),
])
@pytest.mark.parametrize("zipped", [False, True])
def test_bodies(nginx, name, kind, zipped):
    body = (DATA / name).read_bytes()
    headers = {"Content-Type": kind}
    if zipped:
        body = gzip.compress(body)
        headers["Content-Encoding"] = "gzip"
    assert nginx.post("/log/app", body, headers).status == 204
    found = events(nginx, "app")
    assert len(found) == 2
    assert all("log" in e or "message" in e for e in found)


def test_every_block_is_known():
    """A new block on the page needs a test, or a word why there is none."""
    languages = set(re.findall(r"```([\w-]+)\n", PAGE))
    assert languages == {"sh", "syslog-ng", "python", "js", "ini", "toml"}
