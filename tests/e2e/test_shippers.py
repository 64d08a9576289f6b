"""What of docs/senders.md is not run by tests/clients: curl, and the bodies of
shippers that cannot be had."""

import gzip
import json
import re
import subprocess

import pytest

from env import spool
from env.build import ROOT
from env.nginx import Nginx

PAGE = (ROOT / "docs/senders.md").read_text()
DATA = ROOT / "tests/data/shippers"


def events(nginx, stream):
    return [json.loads(line) for r in spool.records(nginx.spool)
            if r.stream == stream for line in r.payload.splitlines()]


@pytest.fixture
def nginx(tmp_path):
    with Nginx(tmp_path / "nginx", spool="size=8m") as n:
        yield n


def test_curl(nginx, tmp_path):
    (tmp_path / "app.log").write_text("one\ntwo\n")
    command = re.search(r"```sh\n(curl .*?)```", PAGE, re.S)[1].replace(
        "edge:8080", f"127.0.0.1:{nginx.port}")
    subprocess.run(["bash", "-ec", command], cwd=tmp_path, check=True,
                   timeout=60)
    assert [e["message"] for e in events(nginx, "app")] == ["one", "two"]


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
