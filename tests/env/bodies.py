"""Bodies, and requests made by hand."""

import contextlib
import ctypes
import ctypes.util
import itertools
import re
import socket
import struct
import zlib

def crc32c_table():
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (0x82f63b78 if n & 1 else 0)
        yield n


CRC32C = list(crc32c_table())

CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


def body_of(size):
    """NDJSON of exactly this many bytes, each line different."""
    lines = []
    left = size
    for n in itertools.count():
        line = b'{"n":%d,"p":"' % n
        if left < 2 * 100 + len(line):
            lines.append(line + b"z" * (left - len(line) - 3) + b'"}\n')
            return b"".join(lines)
        lines.append(line + b"z" * (100 - len(line) - 3) + b'"}\n')
        left -= 100


def zstd(data):
    lib = ctypes.CDLL(ctypes.util.find_library("zstd"))
    lib.ZSTD_compressBound.restype = ctypes.c_size_t
    lib.ZSTD_compress.restype = ctypes.c_size_t
    size = lib.ZSTD_compressBound(ctypes.c_size_t(len(data)))
    out = ctypes.create_string_buffer(size)
    n = lib.ZSTD_compress(out, ctypes.c_size_t(size), data,
                          ctypes.c_size_t(len(data)), 3)
    assert n <= size
    return out.raw[:n]


def deflate(data):
    """Without the header of zlib."""
    c = zlib.compressobj(wbits=-15)
    return c.compress(data) + c.flush()


def lz4(data):
    lib = ctypes.CDLL(ctypes.util.find_library("lz4"))
    lib.LZ4F_compressFrameBound.restype = ctypes.c_size_t
    lib.LZ4F_compressFrame.restype = ctypes.c_size_t
    size = lib.LZ4F_compressFrameBound(ctypes.c_size_t(len(data)), None)
    out = ctypes.create_string_buffer(size)
    n = lib.LZ4F_compressFrame(out, ctypes.c_size_t(size), data,
                               ctypes.c_size_t(len(data)), None)
    assert n <= size
    return out.raw[:n]


def snappy_block(data):
    lib = ctypes.CDLL(ctypes.util.find_library("snappy"))
    lib.snappy_max_compressed_length.restype = ctypes.c_size_t
    n = ctypes.c_size_t(lib.snappy_max_compressed_length(
        ctypes.c_size_t(len(data))))
    out = ctypes.create_string_buffer(n.value)
    assert lib.snappy_compress(data, ctypes.c_size_t(len(data)), out,
                               ctypes.byref(n)) == 0
    return out.raw[:n.value]


def snappy_chunk(kind, data):
    return bytes([kind]) + len(data).to_bytes(3, "little") + data


def snappy_masked(data):
    crc = 0xffffffff
    for byte in data:
        crc = CRC32C[(crc ^ byte) & 255] ^ crc >> 8
    crc ^= 0xffffffff
    return (((crc >> 15 | crc << 17) + 0xa282ead8) & 0xffffffff).to_bytes(
        4, "little")


def snappy(data, packed=True):
    """Its framing format."""
    parts = [data[i:i + 65536] for i in range(0, len(data), 65536)]
    done = {}
    for part in parts:
        if part not in done:
            done[part] = snappy_chunk(
                0 if packed else 1, snappy_masked(part) +
                (snappy_block(part) if packed else part))
    return b"\xff\x06\x00\x00sNaPpY" + b"".join(done[p] for p in parts)


def h2_frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) \
        + struct.pack(">I", stream) + payload


def h2_literal(name, value):
    return b"\0" + bytes((len(name),)) + name + bytes((len(value),)) + value


def h2_post(port, headers, frames, timeout=3):
    """One stream by hand: its status, or None if it was reset or cut."""
    block = b"".join(h2_literal(n, v) for n, v in (
        (b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/log"),
        (b":authority", b"x"), *headers))
    with socket.create_connection(("127.0.0.1", port), timeout) as s:
        s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + h2_frame(4, 0, 0, b"")
                  + h2_frame(1, 4, 1, block) + b"".join(frames))
        data = b""
        with contextlib.suppress(OSError):
            while chunk := s.recv(65536):
                data += chunk
                p = 0
                while len(data) - p >= 9:
                    size = int.from_bytes(data[p:p + 3], "big")
                    kind = data[p + 3]
                    if len(data) - p < 9 + size:
                        break
                    body = data[p + 9:p + 9 + size]
                    if kind == 1:
                        # :status by the static table, or as a literal
                        if body[0] == 0x89:
                            return 204
                        if body[0] == 0x8c:
                            return 400
                        return int(body[2:5]) if body[1] == 3 else body
                    if kind in (3, 7):
                        return None
                    p += 9 + size
    return None


def http1(body=b"{}", lines="Host: a\r\n", version="1.1"):
    return (f"POST /log HTTP/{version}\r\n{lines}"
            f"Content-Length: {len(body)}\r\n\r\n").encode() + body


def answer(port, request):
    """All of it, from the client's point of view: what it says it is."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as s:
        s.sendall(request)
        data = b""
        while True:
            head, end, body = data.partition(b"\r\n\r\n")
            length = re.search(rb"Content-Length: (\d+)", head)
            if end and (b" 204 " in head
                        or length and len(body) >= int(length[1])):
                return data
            more = s.recv(65536)
            assert more, data
            data += more
