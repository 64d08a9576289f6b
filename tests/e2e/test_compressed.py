"""Compressed bodies: stored as what is in them, or refused."""

import base64
import gzip
import random
import zlib

from env import spool
from env.bodies import (deflate, lz4, snappy, snappy_block, snappy_chunk,
                        snappy_masked, zstd)
from env.http import error
from env.nginx import Nginx

# a frame of lz4 that is to be passed over
SKIPPED = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc"


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
            ("deflate", zlib.compress(body), body),
            ("Deflate", deflate(body), body),
            ("zlib", zlib.compress(body[:half]) + zlib.compress(body[half:]),
             body),
            ("deflate", deflate(body[:half]) + deflate(body[half:]), body),
            ("deflate", deflate(noise), noise),
            ("deflate", zlib.compress(noise, 0), noise),
            ("lz4", lz4(body), body),
            ("LZ4", lz4(body[:half]) + SKIPPED + lz4(body[half:]), body),
            ("identity, lz4", lz4(noise), noise),
            ("snappy", snappy(body), body),
            ("snappy", snappy_block(body), body),
            ("snappy", snappy_block(noise), noise),
            ("X-Snappy-Framed", snappy(noise, packed=False), noise),
            ("snappy", snappy(body[:half]) + snappy_chunk(0xfe, b"pad") +
             snappy(body[half:]), body),
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
            ("deflate", zlib.compress(noise)[:-1]),
            ("deflate", deflate(noise)[:-1]), ("deflate", noise),
            ("deflate", deflate(noise) + b"x"),
            ("deflate", zlib.compress(noise) + deflate(noise)),
            ("deflate", b"x"), ("lz4", lz4(noise)[:-1]), ("lz4", noise),
            ("lz4", lz4(noise)[:6]), ("lz4", lz4(noise) + b"xyzt"),
            ("lz4", SKIPPED[:-1]), ("snappy", noise),
            ("snappy", snappy_block(noise)[:-1]),
            ("snappy", snappy_block(noise) + b"x"),
            ("snappy", b"\xff\xff\xff\xff\x0f"),
            ("snappy", snappy(noise)[:-1]), ("snappy", snappy(noise) + b"x"),
            ("snappy", snappy(noise) + snappy_chunk(2, b"")),
            ("snappy", snappy(noise) + snappy_chunk(0xff, b"sNaPpy")),
            ("snappy", snappy(b"") + snappy_chunk(
                1, snappy_masked(b"{}")[::-1] + b"{}")),
            ("snappy", snappy(b"") + snappy_chunk(
                1, snappy_masked(b" " * 65537) + b" " * 65537)),
        ]
        bombs = [
            ("gzip", gzip.compress(b" " * 10_000_000 + b"{}")),
            ("zstd", zstd(b" " * 50_000_000 + b"{}")),
            ("gzip", gzip.compress(b"{}" + b" " * (200 * 1024 - 1))),
            ("deflate", deflate(b" " * 10_000_000 + b"{}")),
            ("lz4", lz4(b" " * 10_000_000 + b"{}")),
            ("lz4", lz4(b"{}" + b" " * (200 * 1024 - 1))),
            ("snappy", snappy(b" " * 2_000_000 + b"{}")),
            ("snappy", snappy_block(b" " * 2_000_000 + b"{}")),
            ("snappy", snappy_block(b"{}" + b" " * (200 * 1024 - 1))),
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
                for encoding, data in (
                        ("gzip", gzip.compress(exact) + gzip.compress(b"")),
                        ("deflate", deflate(exact)), ("zstd", zstd(exact)),
                        *[("lz4", lz4(exact)), ("snappy", snappy(exact)),
                          ("snappy", snappy_block(exact))][
                              :3 if b" " in exact else 0]):
                    a = nginx.post(path, data, {"Content-Encoding": encoding},
                                   c)
                    assert a.status == 204
            a = nginx.post(path, b"", {"Content-Encoding": "gzip"}, c)
            assert a.status == 400
            a = nginx.post(path, gzip.compress(b'{"a":\n?}'),
                           {"Content-Encoding": "gzip"}, c)
            assert (error(a)["row"], error(a)["column"]) == (2, 1)
        for encoding, words in (
                ("br", ""), ("compress", ""), ("lz4_raw", ""),
                ("gzip, gzip", "several are not taken, "),
                ("deflate, identity, zstd", "several are not taken, "),
                ("gzip, br", "several are not taken, ")):
            a = nginx.post("/log", "{}", {"Content-Encoding": encoding}, c)
            assert a.status == 415
            assert error(a)["error"] == (
                "unsupported Content-Encoding: " + words + "send gzip, "
                "deflate, zstd, snappy, lz4 or none")
        assert len(spool.records(nginx.spool)) == 2 * len(good) + 20
