"""An authority that issues certificates by ACME, on this machine: pebble."""

import json
import os
import shutil
import ssl
import subprocess
import urllib.request

import pytest

from env.process import Process, free_port, wait_for


class Authority:
    """Issues for ten days, so that each look renews.  It listens on host; each
    name's address is to be answered_by, at the port http."""

    def __init__(self, directory, host="127.0.0.1", answered_by="127.0.0.1",
                 http=None):
        for program in ("pebble", "pebble-challtestsrv", "dehydrated"):
            if not shutil.which(program):
                pytest.skip(f"{program} is not installed")
        self.dir, self.host, self.by = directory, host, answered_by
        self.http = http or free_port()
        # whom its own certificate is from
        self.ca = directory / "cert.pem"
        self.port, self.manage = free_port(), free_port()
        self.url = f"https://{host}:{self.port}/dir"

    def __enter__(self):
        d, dns = self.dir, free_port()
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes",
             "-days", "1", "-subj", "/CN=localhost", "-addext",
             f"subjectAltName=IP:{self.host}", "-keyout", d / "key.pem",
             "-out", self.ca], check=True, capture_output=True)
        (d / "pebble.json").write_text(json.dumps({"pebble": {
            "listenAddress": f"{self.host}:{self.port}",
            "managementListenAddress": f"{self.host}:{self.manage}",
            "certificate": str(self.ca), "privateKey": str(d / "key.pem"),
            "httpPort": self.http, "tlsPort": free_port(),
            "ocspResponderURL": "", "externalAccountBindingRequired": False,
            "certificateValidityPeriod": 10 * 86400}}))
        self.names = Process("DNS", [
            "pebble-challtestsrv", "-defaultIPv6", "", "-defaultIPv4", self.by,
            "-dns01", f"127.0.0.1:{dns}", "-http01", "", "-https01", "",
            "-tlsalpn01", "", "-management",
            f"127.0.0.1:{free_port()}"], d / "dns.log")
        self.server = Process("pebble", [
            "pebble", "-config", d / "pebble.json", "-dnsserver",
            f"127.0.0.1:{dns}"], d / "pebble.log",
            {**os.environ, "PEBBLE_VA_NOSLEEP": "1",
             "PEBBLE_WFE_NONCEREJECT": "0"})
        wait_for(lambda: self._get(self.port, "/dir"), what="pebble")
        return self

    def _get(self, port, path):
        try:
            context = ssl.create_default_context(cafile=self.ca)
            with urllib.request.urlopen(f"https://{self.host}:{port}{path}",
                                        context=context) as r:
                return r.read().decode()
        except OSError:
            return None

    def root(self):
        """Whom the certificates that it issues are from."""
        return self._get(self.manage, "/roots/0")

    def kill(self):
        self.server.kill()

    def __exit__(self, *exc):
        self.server.kill()
        self.names.kill()
