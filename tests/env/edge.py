"""The edge and a broker with the configurations that are shipped."""

import os
import socket
import subprocess

from env.nginx import BUILD, NGINX, ROOT, free_port, wait_for
from env.broker import Process


def fill(template, values, replace=()):
    """As the quickstart and the images do it."""
    text = "user root;\n" if os.getuid() == 0 else ""
    for line in (ROOT / "conf/nginx" / template).read_text().splitlines():
        if line.strip().startswith("#"):
            continue
        for name, value in values.items():
            line = line.replace(f"@{name}@", value)
        for old, new in replace:
            line = line.replace(old, new)
        text += line + "\n"
    return text


class Shipped:
    """nginx with one of the templates, in a directory of its own."""

    def __init__(self, directory, template, values, replace=()):
        self.dir = directory
        self.dir.mkdir(exist_ok=True)
        self.port = free_port()
        self.log = directory / "error.log"
        values = {"RUN": str(directory), "LOG": "stderr", "WORKERS": "1",
                  "LISTEN": "127.0.0.1:@PORT@", **values,
                  "PORT": str(self.port)}
        (directory / "nginx.conf").write_text(fill(template, values, replace))
        argv = [NGINX, "-p", str(directory), "-e", "stderr",
                "-c", str(directory / "nginx.conf"), "-g", "daemon off;"]
        subprocess.run([*argv, "-t"], check=True, capture_output=True)
        self.process = Process(template, argv, self.log)
        wait_for(self.up, what=template)

    def up(self):
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self):
        self.process.stop()


class Edge(Shipped):
    def __init__(self, directory, ports, tls="", plain=0, replace=(),
                 access_log="json", http2=0):
        values = {"TLS": tls,
                  "REDIRECT": f"include {directory}/redirect.conf;"
                              if tls else "",
                  "ACCESS_LOG": f"{directory}/access.log {access_log}",
                  "BROKERS": "".join(
                      f"server 127.0.0.1:{p} max_fails=3 fail_timeout=10s;"
                      for p in ports),
                  "BROKERS_BY_KEY": "".join(
                      f"server 127.0.0.1:{p} max_fails=0 weight=64;"
                      for p in ports)}
        if tls:
            values["LISTEN"] = "127.0.0.1:@PORT@ ssl http2"
        if http2:
            values["TLS"] += f"listen 127.0.0.1:{http2} http2;"
        directory.mkdir()
        (directory / "redirect.conf").write_text(
            fill("edge-redirect.conf", {"PLAIN": f"127.0.0.1:{plain}"})
            .removeprefix("user root;\n"))
        super().__init__(directory, "edge.conf", values, replace)


class ShippedBroker(Shipped):
    def __init__(self, directory):
        super().__init__(directory, "broker.conf", {
            "MODULES": str(BUILD), "SPOOL": str(directory / "spool"),
            "SIZE": "4m", "TRUSTED": "127.0.0.1"})
