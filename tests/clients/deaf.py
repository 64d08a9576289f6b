"""A way to the broker on which answers get lost."""

import http.client
import http.server
import threading


class Deaf:
    """Passes requests on.  The answers to the first COUNT that store something
    never come: their connection ends.  bodies has all such requests'."""

    def __init__(self, port, count=1):
        self.bodies = []
        deaf = self

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
                body = self.body()
                c = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                c.request(self.command, self.path, body or None,
                          dict(self.headers))
                r = c.getresponse()
                text = r.read()
                c.close()
                if self.path.split("?")[0].endswith(("_bulk", "/logs")):
                    deaf.bodies.append((r.status, body))
                    if len(deaf.bodies) <= count:
                        self.close_connection = True
                        return
                self.send_response(r.status)
                for name, value in r.headers.items():
                    if name not in ("Connection", "Server", "Date"):
                        self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_HEAD = do_POST = do_PUT = pass_on

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever,
                         daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.server.shutdown()
        self.server.server_close()
