"""Requests, and what is in their answers."""

import http.client
import json
import urllib.request
from collections import namedtuple

Answer = namedtuple("Answer", "status headers body")


def post(port, body, path="/log", headers=None, timeout=30,
         host="127.0.0.1"):
    """One request on a connection of its own: (status, headers, body)."""
    conn = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        if isinstance(body, str):
            body = body.encode()
        conn.request("POST", path, body, headers or {})
        r = conn.getresponse()
        return r.status, dict(r.getheaders()), r.read()
    finally:
        conn.close()


def get(port, path="/status", accept=None):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}")
    if accept:
        request.add_header("Accept", accept)
    with urllib.request.urlopen(request, timeout=10) as r:
        return r.headers, r.read().decode()


def metrics(text):
    """{'name{labels}': value}"""
    return {k: float(v) for k, v in
            (line.rsplit(" ", 1) for line in text.splitlines()
             if line and not line.startswith("#"))}


PROMETHEUS = ("application/openmetrics-text;version=1.0.0,text/plain;"
              "version=0.0.4;q=0.5,*/*;q=0.1")
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def error(answer):
    assert answer.headers["Content-Type"] == "application/json"
    assert int(answer.headers["Content-Length"]) == len(answer.body)
    return json.loads(answer.body)
