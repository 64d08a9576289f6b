"""An S3 of this machine: buckets that begin empty and are gone with it."""

import os
import re
import shutil
import subprocess
import urllib.error
import urllib.request

import pytest

from env.build import ROOT
from env.process import Process, free_port, wait_for


def moto():
    """moto's S3 server, from PyPI, once."""
    cache = ROOT / "build" / "moto"
    program = cache / "bin" / "moto_server"
    if not program.exists():
        try:
            subprocess.run(["/usr/bin/python3", "-m", "venv", cache],
                           check=True, capture_output=True, timeout=60)
            subprocess.run([cache / "bin" / "pip", "install", "-q",
                            "moto[s3]==5.1.*", "flask", "flask-cors"],
                           check=True, capture_output=True, timeout=300)
        except (OSError, subprocess.SubprocessError) as e:
            shutil.rmtree(cache, ignore_errors=True)
            pytest.skip(f"moto cannot be had from PyPI: {e}")
    return str(program)


KEY_ID, KEY = "a-key-id", "a/secret+key"


def with_bucket(directory, file, endpoint):
    """Puts a file of conf/clickhouse into config.d of a server's folder."""
    text = (ROOT / "conf/clickhouse" / file).read_text()
    for name, value in (("ENDPOINT", endpoint), ("KEY_ID", KEY_ID),
                        ("KEY", KEY)):
        text = text.replace(f"@{name}@", value)
    d = directory / "config.d"
    d.mkdir(parents=True, exist_ok=True)
    (d / (ROOT / file).name).write_text(text)


class Bucket:
    """At a free port of this machine or, with the words before the program's
    that bring it there, elsewhere."""

    def __init__(self, directory, host="127.0.0.1", at=()):
        self.url = f"http://{host}:{free_port()}"
        self.server = Process(
            "S3", [*at, moto(), "-H", host, "-p", self.url.split(":")[-1]],
            directory / "s3.log", {**os.environ, "MOTO_S3_CUSTOM_ENDPOINTS":
                                   self.url})
        wait_for(lambda: self.ask("/"), what="the S3 server")
        self.ask("/backups", "PUT")
        self.endpoint = self.url + "/backups/clickhouse/"

    def ask(self, path, method="GET"):
        try:
            request = urllib.request.Request(self.url + path, method=method)
            # whoever shows a key of some form may delete
            request.add_header(
                "Authorization", "AWS4-HMAC-SHA256 Credential=x/20260101/"
                "us-east-1/s3/aws4_request, SignedHeaders=host, Signature=x")
            with urllib.request.urlopen(request, timeout=10) as r:
                return r.read().decode() or "done"
        except urllib.error.HTTPError as e:
            return e.read().decode()
        except OSError:
            return ""

    def objects(self, prefix=""):
        found, more = [], ""
        while True:
            answer = self.ask("/backups?list-type=2&prefix=clickhouse/"
                              + prefix + more)
            found += re.findall("<Key>(.*?)</Key>", answer)
            token = re.search("<NextContinuationToken>(.*?)</", answer)
            if token is None:
                return found
            more = "&continuation-token=" + token[1]
