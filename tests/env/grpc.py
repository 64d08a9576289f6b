"""gRPC: calls of a real client, and bytes as no client would send them."""

import base64
import socket
from collections import namedtuple
from urllib.parse import unquote_to_bytes

import grpc
import hpack

from env.bodies import h2_frame

SERVICE = "/opentelemetry.proto.collector.logs.v1.LogsService"
EXPORT = SERVICE + "/Export"

# A port of its own, as "http" of Nginx.
SERVER = """
    server {{
        listen 127.0.0.1:{port} http2;
        {more}
        location / {{ logbroker_otlp; }}
    }}"""

Answer = namedtuple("Answer", "status code message headers body frames")

END_STREAM = 1


def frame(message, packed=0):
    return bytes([packed]) + len(message).to_bytes(4, "big") + message


def raw(port, body, headers=None, path=EXPORT, method="POST"):
    """One request of these bytes, which are few, and its answer: headers and
    trailers in one, and (kind, flags) of its frames."""
    headers = {":method": method, ":scheme": "http", ":path": path,
               ":authority": "localhost", "content-type": "application/grpc",
               "te": "trailers", **{k.lower(): v for k, v in
                                    (headers or {}).items()}}
    data = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + h2_frame(4, 0, 0, b"") + \
        h2_frame(1, 4, 1, hpack.Encoder().encode(headers))
    for at in range(0, len(body) or 1, 16384):
        data += h2_frame(0, at + 16384 >= len(body), 1, body[at:at + 16384])
    answer = Answer(0, None, "", {}, b"", [])
    decoder = hpack.Decoder()
    with socket.create_connection(("127.0.0.1", port), 60) as s, \
            s.makefile("rb") as f:
        s.sendall(data)
        while not answer.frames or not answer.frames[-1][1] & END_STREAM:
            head = f.read(9)
            assert len(head) == 9, answer
            payload = f.read(int.from_bytes(head[:3], "big"))
            if head[3] > 1:
                continue  # neither data nor headers
            answer.frames.append((head[3], head[4]))
            if head[3] == 1:
                answer.headers.update(decoder.decode(payload))
            else:
                answer = answer._replace(body=answer.body + payload)
    code = answer.headers.get("grpc-status")
    return answer._replace(
        status=int(answer.headers[":status"]), code=int(code) if code else None,
        message=unquote_to_bytes(answer.headers.get("grpc-message", ""))
        .decode())


def fields(message):
    """[(number, value)] of a message of protobuf: int, or bytes."""
    found = []
    while message:
        values = []
        while len(values) < 2:
            n = shift = 0
            while True:
                byte, message = message[0], message[1:]
                n |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
            values.append(n)
        number, value = values
        if number & 7 == 2:
            value, message = message[:value], message[value:]
        found.append((number >> 3, value))
    return found


def retry_info(details):
    """(code, message, seconds) of a google.rpc.Status, in base64 or not."""
    if isinstance(details, str):
        details = base64.b64decode(details + "=" * (-len(details) % 4))
    status = dict(fields(details))
    info = dict(fields(status[3]))
    assert info[1] == b"type.googleapis.com/google.rpc.RetryInfo"
    delay = dict(fields(dict(fields(info[2]))[1]))
    return status[1], status[2].decode(), delay[1]


class Client:
    """Calls over one connection; what is raised is a grpc.RpcError."""

    def __init__(self, target, credentials=None):
        target = target if isinstance(target, str) else f"127.0.0.1:{target}"
        # by default what has failed once is not tried again for a second
        options = [("grpc.initial_reconnect_backoff_ms", 100),
                   ("grpc.max_reconnect_backoff_ms", 500),
                   ("grpc.use_local_subchannel_pool", 1)]
        self.channel = grpc.secure_channel(target, credentials, options) \
            if credentials else grpc.insecure_channel(target, options)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.channel.close()

    def export(self, message, *, gzip=False, key=None, timeout=60, path=EXPORT,
               headers=()):
        """The answer's message."""
        metadata = list(headers)
        if key:
            metadata.append(("idempotency-key", key))
        return self.channel.unary_unary(path)(
            message, timeout=timeout, metadata=metadata, wait_for_ready=False,
            compression=grpc.Compression.Gzip if gzip else None)

    def refused(self, *args, **kw):
        """(name of the code, words, retry_info() or None)"""
        try:
            answer = self.export(*args, **kw)
        except grpc.RpcError as e:
            details = dict(e.trailing_metadata() or ()) \
                .get("grpc-status-details-bin")
            return (e.code().name, e.details(),
                    retry_info(details) if details else None)
        raise AssertionError(f"it is taken: {answer}")
