#!/usr/bin/env python3
"""logbroker_tail: how soon an event is seen, and what that costs its senders.

    tests/bench/tail.py [--seconds N] [--tails N] [--merged]

One worker, sync always. First the time from sending a request to its event in
a tail, one at a time. Then, with no tail and with many, in turns: the time of
small requests (four connections) and the worker's CPU for each.  --merged: the
same at an edge, with the events of two brokers in each tail, and its CPU.

LB_BUILD names the build directory (default: build).
"""

import argparse
import contextlib
import http.client
import os
import pathlib
import socket
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from env.edge import Edge, ShippedBroker  # noqa: E402
from env.nginx import Nginx  # noqa: E402
from env.process import wait_for  # noqa: E402

BODY = b'{"level":"info","message":"%s"}' % (b"m" * 170)


class Tail:
    def __init__(self, port, path="/tail"):
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        self.events = 0
        self.seen = threading.Event()
        threading.Thread(target=self.read, daemon=True).start()

    def receive(self):
        with contextlib.suppress(ConnectionResetError):
            return self.sock.recv(1 << 20)
        return b""  # it is left with bytes on their way

    def read(self):
        while piece := self.receive():
            n = piece.count(b"\ndata: ")
            if n:
                self.events += n
                self.seen.set()


def cpu(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1]
    return sum(map(int, fields.split()[11:13])) / os.sysconf("SC_CLK_TCK")


def middle(values, part):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * part))] * 1000


def load(port, seconds):
    took = []

    def sender():
        c = http.client.HTTPConnection("127.0.0.1", port)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            begun = time.monotonic()
            c.request("POST", "/log", BODY)
            r = c.getresponse()
            r.read()
            assert r.status in (204, 503), r.status
            took.append(time.monotonic() - begun)
            time.sleep(0.002)

    threads = [threading.Thread(target=sender) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return took


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--tails", type=int, default=50)
    parser.add_argument("--merged", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as d, contextlib.ExitStack() as stack:
        d = pathlib.Path(d)
        if args.merged:
            brokers = [ShippedBroker(d / f"broker{i}", "256m")
                       for i in range(2)]
            n = Edge(d / "edge", [b.port for b in brokers])
            for made in (*brokers, n):
                stack.callback(made.stop)
            at = n.figures, "/cluster/tail"
        else:
            n = stack.enter_context(Nginx(d, spool="size=256m"))
            at = n.port, "/tail"
        worker = wait_for(n.workers)[0]
        tail = Tail(*at)
        time.sleep(0.2)
        took = []
        c = http.client.HTTPConnection("127.0.0.1", n.port)
        for _ in range(200):
            tail.seen.clear()
            begun = time.monotonic()
            c.request("POST", "/log", BODY)
            c.getresponse().read()
            tail.seen.wait()
            took.append(time.monotonic() - begun)
        tail.sock.shutdown(socket.SHUT_RDWR)
        print(f"POST to tail: median {middle(took, 0.5):.1f} ms, "
              f"p99 {middle(took, 0.99):.1f} ms")
        for _ in range(2):
            for count in (0, args.tails):
                tails = [Tail(*at) for _ in range(count)]
                time.sleep(0.3)
                before = cpu(worker)
                took = load(n.port, args.seconds)
                used = (cpu(worker) - before) / len(took) * 1e6
                print(f"{count:3} tails: {len(took)} requests, "
                      f"median {middle(took, 0.5):.2f} ms, "
                      f"p99 {middle(took, 0.99):.1f} ms, "
                      f"{used:.0f} us of CPU each")
                for t in tails:
                    t.sock.shutdown(socket.SHUT_RDWR)


main()
