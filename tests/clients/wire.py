"""What goes over the wire between a client and the broker."""

import contextlib
import gzip
import hashlib
import http.client
import http.server
import re
import threading
import time
import zlib

LOST = "lost"  # stored, and the answer never comes
FAULT = {"Retry-After": "1", "Content-Type": "application/json",
         "Access-Control-Allow-Origin": "*"}


def unsnappy(data):
    """A block of snappy: its length, then literals and copies."""
    at = 0
    while data[at] & 0x80:
        at += 1
    at += 1
    out = bytearray()
    while at < len(data):
        tag = data[at]
        at += 1
        if tag & 3 == 0:
            size = tag >> 2
            if size >= 60:
                wide = size - 59
                size = int.from_bytes(data[at:at + wide], "little")
                at += wide
            out += data[at:at + size + 1]
            at += size + 1
            continue
        if tag & 3 == 1:
            size, back = (tag >> 2 & 7) + 4, (tag >> 5) << 8 | data[at]
            at += 1
        else:
            wide = 2 if tag & 3 == 2 else 4
            size, back = (tag >> 2) + 1, int.from_bytes(
                data[at:at + wide], "little")
            at += wide
        for _ in range(size):
            out.append(out[-back])
    return bytes(out)


def plain(path, headers, body):
    """Some clients say something else of the coding than what it is."""
    if body[:2] == b"\x1f\x8b":
        return gzip.decompress(body)
    coding = headers.get("Content-Encoding", "")
    if coding and body[:1] == b"\x78":
        return zlib.decompress(body)
    if "/push" in path and "json" not in headers.get("Content-Type", ""):
        return unsnappy(body)
    return body


class Request:
    """orders: the numbers that it carries.  status: what the client was
    answered, None if nothing."""

    def __init__(self, path, headers, body):
        text = plain(path, headers, body)
        self.orders = {int(n) for n in re.findall(
            rb"order(?: |\+|%20)(\d+)(?: |\+|%20)failed", text)}
        self.digest = hashlib.sha256(path.encode() + body).digest()
        self.status = None


class Wire:
    """Passes requests on.  The first that carry orders meet the faults: LOST,
    or a status they are answered with instead.  requests has all of them that
    carry orders."""

    def __init__(self, port, faults=()):
        self.requests = []
        self.faults = list(faults)
        self.lock = threading.Lock()
        self.last = time.monotonic()
        self.busy = 0
        wire = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def body(self):
                if self.headers["Transfer-Encoding"] != "chunked":
                    return self.rfile.read(
                        int(self.headers["Content-Length"] or 0))
                del self.headers["Transfer-Encoding"]
                chunks = []
                while size := int(self.rfile.readline(), 16):
                    chunks.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(chunks)

            def pass_on(self):
                with wire.at_work():
                    self.handle_request()

            def handle_request(self):
                body = self.body()
                request = Request(self.path, self.headers, body)
                fault = None
                if request.orders:
                    with wire.lock:
                        wire.requests.append(request)
                        fault = wire.faults and wire.faults.pop(0)
                if fault and fault != LOST:
                    answer = fault, dict(FAULT), b'{"error":"a fault"}'
                else:
                    answer = wire.ask(self, body)
                if answer is None or fault == LOST:
                    self.close_connection = True
                    return
                request.status = answer[0]
                with contextlib.suppress(OSError):  # who does not wait for it
                    self.answer(*answer)

            do_GET = do_HEAD = do_POST = do_PUT = do_OPTIONS = pass_on

            def answer(self, status, headers, text):
                self.send_response(status)
                for name, value in headers.items():
                    if name not in ("Connection", "Server", "Date",
                                    "Content-Length", "Transfer-Encoding"):
                        self.send_header(name, value)
                if status != 204:
                    self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *args):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 1024

            def handle_error(self, request, client_address):
                pass  # a client that went away

        self.upstream = port
        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever,
                         daemon=True).start()

    def ask(self, client, body):
        """(status, headers, text) of the broker; None if it gave none."""
        c = http.client.HTTPConnection("127.0.0.1", self.upstream, timeout=60)
        try:
            c.request(client.command, client.path, body or None,
                      dict(client.headers))
            r = c.getresponse()
            return r.status, r.headers, r.read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            c.close()

    @contextlib.contextmanager
    def at_work(self):
        with self.lock:
            self.busy += 1
        try:
            yield
        finally:
            with self.lock:
                self.busy -= 1
                self.last = time.monotonic()

    def delivered(self):
        """Orders of which the client was told that they are stored."""
        with self.lock:
            return set().union(*(r.orders for r in self.requests
                                 if r.status and r.status // 100 == 2))

    def quiet(self):
        """For how many seconds nothing has been on its way: some clients do
        not wait for an answer."""
        with self.lock:
            return 0 if self.busy else time.monotonic() - self.last

    def again(self):
        """Of the first request's orders: whether they came again, and whether
        the same bytes did."""
        first, *later = self.requests
        later = [r for r in later if r.orders & first.orders]
        return bool(later), any(r.digest == first.digest for r in later)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.server.shutdown()
        self.server.server_close()
