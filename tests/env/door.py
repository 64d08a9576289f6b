"""A way to ClickHouse that can be shut, cut and answered at."""

import contextlib
import hashlib
import socket
import threading
import time


class Body:
    """What came of a chunked request that passes."""

    PIECE = 1 << 20

    def __init__(self):
        self.head = None
        self.size = 0     # bytes of the body so far
        self.pieces = []  # digests of each complete MiB of it
        self.raw = bytearray()
        self.rest = bytearray()

    def add(self, data):
        self.raw += data
        if self.head is None:
            head, found, rest = self.raw.partition(b"\r\n\r\n")
            if not found:
                return
            self.head, self.raw = bytes(head), rest
        while (end := self.raw.find(b"\r\n", 0, 20)) > 0:
            size = int(self.raw[:end], 16)
            if len(self.raw) < end + size + 4:
                return
            self.rest += self.raw[end + 2:end + 2 + size]
            self.size += size
            del self.raw[:end + size + 4]
            while len(self.rest) >= self.PIECE:
                self.pieces.append(
                    hashlib.sha256(self.rest[:self.PIECE]).digest())
                del self.rest[:self.PIECE]

    def begins(self, other):
        """Is it the other's, or the beginning of it?"""
        n = len(self.pieces)
        return self.size <= other.size and self.pieces == other.pieces[:n]


class Door:
    """Passes TCP connections on to a server and remembers when the first byte
    of each came: the flusher makes one connection per request, ahead of it.

    mode, looked at when that byte comes (shut: when the connection begins,
    unless a function says so), may be a function that returns one of
      pass   as it is
      shut   the connection is closed at once
      cut    the request ends after some bytes of its body (the embedded engine
             stops listening after a cut header)
      drop   the server answers, the answer is thrown away
      hang   the same, but the connection stays open
      late   the answer comes 3 s later
      stall  the server never hears of it, and the connection stays open
      held   read to its end, no answer; it goes on to the server, whose
             answer nobody hears, when release is set
      504    the same, and the client is told 504 meanwhile
      memory:N  the server may use N bytes for this request
      limit:N  as a proxy that takes N bytes: 413, or as it is
      code:N   error N of ClickHouse; the server never hears of it
      and a key of ANSWERS: the server answers, the client gets this instead,
      or, for the keys of INSTEAD, the server never hears of it.

    inserts, if not None, is the mode of requests that are INSERTs.  heard has
    (time, "insert" or "question") of each request that began to arrive while
    inserts was set.  bodies, if not None, gets a Body for each INSERT that
    passes, or stalls."""

    ANSWERS = {
        "500": b"HTTP/1.1 500 Internal Server Error\r\n"
               b"Content-Length: 4\r\nConnection: close\r\n\r\noops",
        "exception": b"HTTP/1.1 200 OK\r\nContent-Length: 41\r\n"
                     b"Connection: close\r\n\r\n"
                     b"Code: 241. DB::Exception: not enough mem.",
        "empty": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
                 b"Connection: close\r\n\r\n",
    }
    INSTEAD = {
        "503": b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n"
               b"Connection: close\r\n\r\n",
        "429": b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n"
               b"Connection: close\r\n\r\n",
        "exception instead": ANSWERS["exception"],
        "empty instead": ANSWERS["empty"],
    }

    TOO_LARGE = b"HTTP/1.1 413 Request Entity Too Large\r\n" \
                b"Content-Length: 0\r\nConnection: close\r\n\r\n"

    def __init__(self, port, host="127.0.0.1", listen=0):
        self.starts = []
        self.heard = []
        self.mode = "pass"
        self.inserts = None
        self.bodies = None
        self.release = threading.Event()
        self.target = port
        self.listener = socket.create_server(
            (host, listen), backlog=64,
            family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.port = self.listener.getsockname()[1]
        self.url = (f"http://[{host}]:{self.port}" if ":" in host
                    else f"http://{host}:{self.port}")
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                inner, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(inner,),
                             daemon=True).start()

    def _serve(self, inner):
        with inner, contextlib.suppress(OSError):
            if self.mode == "shut" or not inner.recv(1, socket.MSG_PEEK):
                return
            self.starts.append(time.monotonic())
            mode = self.mode() if callable(self.mode) else self.mode
            body = None
            if self.inserts is not None:
                insert = b"INSERT" in inner.recv(200, socket.MSG_PEEK)
                self.heard.append((time.monotonic(),
                                   "insert" if insert else "question"))
                if insert:
                    mode = self.inserts
                    mode = mode() if callable(mode) else mode
                    if self.bodies is not None:
                        body = Body()
                        self.bodies.append(body)
            if mode == "shut":
                return
            if mode == "stall":
                while data := inner.recv(1 << 16):
                    if body is not None:
                        body.add(data)
                return
            if mode in ("held", "504"):
                self._hold(inner, mode)
                return
            if mode.startswith("code:"):
                self._instead(inner, self._error(int(mode[5:])))
                return
            if mode.startswith("limit:"):
                # what this server sends is chunked, its end told by the data
                limit = int(mode[6:])
                data = b""
                while len(data) <= limit and not self._whole(data):
                    more = inner.recv(1 << 16)
                    if not more:
                        return
                    data += more
                if len(data) > limit:
                    self._instead(inner, self.TOO_LARGE, data)
                    return
                with socket.create_connection(
                        ("127.0.0.1", self.target)) as outer:
                    outer.sendall(data)
                    self._answer(outer, inner, "pass")
                return
            if mode in self.INSTEAD:
                self._instead(inner, self.INSTEAD[mode])
                return
            with socket.create_connection(
                    ("127.0.0.1", self.target)) as outer:
                if mode.startswith("memory:"):
                    first = inner.recv(1 << 16)
                    outer.sendall(first.replace(
                        b"/?", b"/?max_memory_usage=%d&" % int(mode[7:]), 1))
                there = threading.Thread(
                    target=self._request, daemon=True,
                    args=(inner, outer, 1000 if mode == "cut" else None, body))
                there.start()
                self._answer(outer, inner, mode)
                with contextlib.suppress(OSError):
                    inner.shutdown(socket.SHUT_RDWR)
                there.join(60)

    @staticmethod
    def _instead(inner, answer, data=b""):
        """Read to the end first, so that the answer is not lost in a reset
        connection."""
        inner.settimeout(0.2)
        with contextlib.suppress(OSError):
            while not Door._whole(data):
                more = inner.recv(1 << 16)
                if not more:
                    return
                data += more
        inner.settimeout(None)
        inner.sendall(answer)
        inner.shutdown(socket.SHUT_WR)
        while inner.recv(1 << 16):
            pass

    @staticmethod
    def _error(code):
        text = f"Code: {code}. DB::Exception: as the test wants it".encode()
        return (b"HTTP/1.1 500 Internal Server Error\r\n"
                b"X-ClickHouse-Exception-Code: %d\r\n"
                b"Content-Length: %d\r\nConnection: close\r\n\r\n%s"
                % (code, len(text), text))

    @staticmethod
    def _whole(data):
        """A request as the flusher makes them."""
        if b"chunked" not in data[:4096] and b"\r\n\r\n" in data[:8192]:
            head, _, body = data.partition(b"\r\n\r\n")
            for line in head.lower().splitlines():
                if line.startswith(b"content-length:"):
                    return len(body) >= int(line[15:])
        return data.endswith(b"\r\n0\r\n\r\n")

    def _hold(self, inner, mode):
        data = b""
        while not self._whole(data):
            more = inner.recv(1 << 16)
            if not more:
                return
            data += more
        if mode == "504":
            inner.sendall(b"HTTP/1.1 504 Gateway Timeout\r\n"
                          b"Content-Length: 0\r\nConnection: close\r\n\r\n")
            inner.shutdown(socket.SHUT_WR)
        inner.close()
        self.release.wait(120)
        with socket.create_connection(("127.0.0.1", self.target)) as outer:
            outer.sendall(data)
            outer.recv(1 << 16)

    @staticmethod
    def _request(inner, outer, limit, body=None):
        head = b"" if limit is not None else None
        with contextlib.suppress(OSError):
            while data := inner.recv(1 << 16):
                if body is not None:
                    body.add(data)
                if head is not None:
                    head += data
                    if b"\r\n\r\n" not in head:
                        continue
                    limit += head.index(b"\r\n\r\n") + 4
                    data, head = head, None
                if limit is not None:
                    data = data[:limit]
                    limit -= len(data)
                outer.sendall(data)
                if limit == 0:
                    break
        with contextlib.suppress(OSError):
            outer.shutdown(socket.SHUT_RDWR if limit == 0
                           else socket.SHUT_WR)

    def _answer(self, outer, inner, mode):
        data = outer.recv(1 << 16)
        if mode == "drop":
            return
        if mode == "hang":
            time.sleep(30)
            return
        if mode == "late":
            time.sleep(3)
        if mode in self.ANSWERS:
            inner.sendall(self.ANSWERS[mode])
            return
        while data:
            inner.sendall(data)
            data = outer.recv(1 << 16)

    def close(self):
        self.listener.close()
