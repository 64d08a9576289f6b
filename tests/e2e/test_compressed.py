"""Compressed bodies: stored as what is in them, or refused."""

import base64
import gzip
import random
import zlib

from env import spool
from env.bodies import zstd
from env.http import error
from env.nginx import Nginx


def test_compressed(tmp_path):
    body = b"".join(b'{"n":%d,"pad":"%s"}\n' % (i, b"y" * (i % 50))
                    for i in range(1000))
    half = body.index(b"\n", len(body) // 2) + 1
    rest = random.Random(1).randbytes(3000)
    noise = b'{"noise":"%s"}\n' % base64.b64encode(rest)
    with Nginx(tmp_path, spool="size=4m", http="client_max_body_size 200k;",
               server="""location /file {
                   logbroker; client_body_buffer_size 1k; }""") as nginx:
        good = [
            ("gzip", gzip.compress(body), body),
            ("x-gzip", gzip.compress(body, 1), body),
            ("GZIP", gzip.compress(body[:half]) + gzip.compress(body[half:]),
             body),
            ("gzip, identity", gzip.compress(noise), noise),
            ("identity", body, body),
            ("zstd", zstd(body), body),
            ("zstd", zstd(body[:half]) + zstd(body[half:]), body),
            ("zstd", zstd(noise), noise),
        ]
        for path in ("/log", "/file"):
            for encoding, data, _ in good:
                a = nginx.post(path, data, {"Content-Encoding": encoding})
                assert a.status == 204, (path, encoding, a)
        assert [r.payload for r in spool.records(nginx.spool)] == \
            [plain for _ in "12" for _, _, plain in good]
        packed = gzip.compress(noise)
        bad = [
            ("gzip", packed[:-1]), ("gzip", packed[:-9]), ("gzip", packed[:5]),
            ("gzip", noise), ("gzip", packed + b"x"),
            ("gzip", packed[:100] + b"\0\0\0" + packed[103:]),
            ("gzip", zlib.compress(noise)),
            ("zstd", zstd(noise)[:-1]), ("zstd", noise),
            ("zstd", zstd(noise) + b"xyzt"),
        ]
        bombs = [
            ("gzip", gzip.compress(b" " * 10_000_000 + b"{}")),
            ("zstd", zstd(b" " * 50_000_000 + b"{}")),
            ("gzip", gzip.compress(b"{}" + b" " * (200 * 1024 - 1))),
        ]
        c = nginx.connect()
        for path in ("/log", "/file"):
            for encoding, data in bad:
                a = nginx.post(path, data, {"Content-Encoding": encoding}, c)
                assert a.status == 400, (path, encoding, a)
                assert encoding in error(a)["error"]
            for encoding, data in bombs:
                a = nginx.post(path, data, {"Content-Encoding": encoding}, c)
                assert a.status == 413, (path, encoding, a)
                assert "too large" in error(a)["error"]
            a = nginx.post(path, gzip.compress(b"{}" + b" " * (200 * 1024 - 2)),
                           {"Content-Encoding": "gzip"}, c)
            assert a.status == 204
            for exact in (b"{}" + b" " * (200 * 1024 - 2), b'{"n":"%s"}' % (
                    base64.b64encode(random.Random(2).randbytes(153_594)))):
                assert len(exact) == 200 * 1024
                a = nginx.post(path, gzip.compress(exact) + gzip.compress(b""),
                               {"Content-Encoding": "gzip"}, c)
                assert a.status == 204
            a = nginx.post(path, b"", {"Content-Encoding": "gzip"}, c)
            assert a.status == 400
            a = nginx.post(path, gzip.compress(b'{"a":\n?}'),
                           {"Content-Encoding": "gzip"}, c)
            assert (error(a)["row"], error(a)["column"]) == (2, 1)
        for encoding in ("br", "deflate", "gzip, gzip", "compress"):
            a = nginx.post("/log", "{}", {"Content-Encoding": encoding}, c)
            assert a.status == 415
            assert error(a)["error"] == ("unsupported Content-Encoding: "
                                         "send gzip, zstd or none")
        assert len(spool.records(nginx.spool)) == 2 * len(good) + 6
