"""The edge and a broker with the configurations that are shipped."""

import contextlib
import os
import pathlib
import re
import signal
import socket
import subprocess
import threading

from env.build import BUILD, ROOT
from env.nginx import Nginx
from env.process import free_port


def render(kind, **values):
    """As the quickstart, the images and the packages do it."""
    return subprocess.run(
        [ROOT / "conf/nginx/render.sh", kind, "USER=root",
         *(f"{name}={value}" for name, value in values.items())],
        check=True, capture_output=True, text=True).stdout


class Shipped(Nginx):
    """nginx with one of the templates; it is up when it is made."""

    ENDS = signal.SIGTERM  # clients may wait for what never comes

    def __init__(self, directory, kind, values, replace=()):
        self.kind, self.values, self.replace = kind, values, replace
        super().__init__(directory)
        status, said = self.test_conf()
        assert status == 0, said
        self.start(ring=False)

    def __enter__(self):
        return self

    def text(self):
        text = render(self.kind, RUN=self.dir, TEMP=self.dir,
                      LOG=self.error_log, WORKERS=1,
                      LISTEN=f"127.0.0.1:{self.port}", **self.values)
        text = re.sub(r'include "(.*/rules\.conf)";',
                      lambda m: pathlib.Path(m[1]).read_text(), text)
        for old, new in self.replace:
            assert old in text, old
            text = text.replace(old, new)
        return self.main + text


class Edge(Shipped):
    def __init__(self, directory, ports, tls="", plain=0, replace=(),
                 access_log="json", http2=0, grpc=(), senders=None, page=""):
        """grpc: the brokers' ports for it; the edge's is self.grpc then.
        self.figures is the port for Prometheus.  senders: what their file
        says, which is self.senders; None: anyone.  page: STATUS_PAGE."""
        self.grpc = free_port() if grpc else None
        self.figures = free_port()
        super().__init__(directory, "edge", {
            "MODULES": BUILD,
            "SENDERS": self.say_senders(directory, senders),
            "BROKERS": " ".join(f"127.0.0.1:{p}" for p in ports),
            **({"STATUS_PAGE": page} if page else {}),
            "ACCESS_LOG": f"{directory}/access.log {access_log}",
            "TLS": tls, "PLAIN": f"127.0.0.1:{plain}",
            "GRPC": f"127.0.0.1:{self.grpc}" if grpc else "",
            "GRPC_BROKERS": " ".join(f"127.0.0.1:{p}" for p in grpc),
            "METRICS": f"127.0.0.1:{self.figures}",
            "H2C": f"127.0.0.1:{http2}" if http2 else ""}, replace)


    def say_senders(self, directory, text):
        if text is None:
            return "anyone"
        directory.mkdir(parents=True, exist_ok=True)
        self.senders = directory / "senders.conf"
        self.senders.write_text(text)
        return self.senders


class ShippedBroker(Shipped):
    def __init__(self, directory, size="4m", replace=(), **values):
        """values: more of render.sh's."""
        self.grpc = free_port()
        super().__init__(directory, "broker", {
            **values,
            "GRPC": f"127.0.0.1:{self.grpc}",
            "MODULES": BUILD, "SPOOL": directory / "spool", "SIZE": size},
            replace)


class Script:
    """Stands in for a broker that behaves as scripted: reads a whole request,
    then sends the answer, or closes the connection without one."""

    def __init__(self, answer):
        self.answer = answer
        self.requests = 0
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def before(self):
        """The request is there, the answer comes next."""

    def _serve(self):
        while True:
            try:
                c, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(c,),
                             daemon=True).start()

    def _answer(self, c):
        with c, contextlib.suppress(ConnectionError):
            data = b""
            while b"\r\n\r\n" not in data:
                more = c.recv(65536)
                if not more:
                    return
                data += more
            head, body = data.split(b"\r\n\r\n", 1)
            length = 0
            for line in head.split(b"\r\n"):
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            left = length - len(body)
            while left > 0:
                more = c.recv(65536)
                if not more:
                    return
                left -= len(more)
            with self.lock:
                self.requests += 1
            self.before()
            if self.answer:
                c.sendall(self.answer)


REFUSAL = (b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n"
           b"Content-Length: 2\r\nConnection: close\r\n\r\n{}")


def stored(broker):
    """Without the first event."""
    return sum(r["next_seq"] for r in broker.status()["rings"]) - 1


def make_certificate(d):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:prime256v1", "-nodes", "-days",
         "1", "-subj", "/CN=localhost", "-keyout", d / "key.pem", "-out",
         d / "cert.pem"], check=True, capture_output=True)
    return d
