"""Events live, as a client sees them."""

import contextlib
import json
import socket
import threading


class Tail:
    """A client that reads server-sent events as they come."""

    def __init__(self, at, query="", last=None, read=True, path="/tail"):
        """at: an nginx, or a port."""
        self.sock = socket.create_connection(
            ("127.0.0.1", getattr(at, "port", at)), 30)
        more = f"Last-Event-ID: {last}\r\n" if last else ""
        self.sock.sendall(f"GET {path}{query} HTTP/1.0\r\nHost: x\r\n{more}\r\n"
                          .encode())
        self.got = bytearray()
        self.ended = threading.Event()
        self.header = b""
        while b"retry: 1000\n\n" not in self.header:
            piece = self.sock.recv(1)
            assert piece, self.header
            self.header += piece
        if read:
            self.read()

    def read(self):
        threading.Thread(target=self._read, daemon=True).start()
        return self

    def _read(self):
        while True:
            try:
                piece = self.sock.recv(65536)
            except OSError:
                piece = b""
            if not piece:
                break
            self.got += piece
        self.ended.set()

    def close(self):
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()

    def frames(self):
        """(id, event, data) of each whole one."""
        out = []
        for frame in self.got.decode().split("\n\n")[:-1]:
            fields = dict(line.split(": ", 1) for line in frame.split("\n")
                          if ": " in line)
            if "data" in fields:
                out.append((fields.get("id"), fields.get("event"),
                            json.loads(fields["data"])))
        return out

    def ids(self):
        return [line[4:] for line in self.got.decode().split("\n")[:-1]
                if line.startswith("id: ")]

    def rows(self):
        return [data for _, event, data in self.frames() if event is None]

    def dropped(self):
        return sum(data["events"] for _, event, data in self.frames()
                   if event == "dropped")

    def messages(self):
        return [row["message"] for row in self.rows()]
