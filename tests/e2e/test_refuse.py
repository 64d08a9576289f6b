"""What the module refuses, and what it says then."""

import gzip

import pytest

from env import spool
from env.http import error
from env.nginx import Nginx


def test_malformed(nginx):
    c = nginx.connect()
    for body, row, column in (
            ('{"a":1}\n{"a":2}\n{"a":x}\n', 3, 6),
            ('{"a":', 1, 6),
            ('[{"a":1},2]', 1, 10),
            ('{"é":1}\n"x"', 2, 1),
            ('{"é": tru}', 1, 7),
            ('{"a":1},{"a":2}', 1, 8),
            ('hello', 1, 1)):
        a = nginx.post("/log", body, conn=c)
        assert a.status == 400
        e = error(a)
        assert (e["row"], e["column"]) == (row, column), (body, e)
        assert e["error"]
    a = nginx.post("/log", b"ok\n\xff\n", {"Content-Type": "text/plain"}, c)
    assert a.status == 400
    assert (error(a)["row"], error(a)["column"]) == (2, 1)
    # quotes, backslashes and control characters in the words are escaped
    a = nginx.post("/log", b'{"a":1 "\\\x01\x7f\xff"}', conn=c)
    assert a.status == 400
    error(a)
    # all or nothing, and the connection still works
    assert nginx.post("/log", '{"last":1}', conn=c).status == 204
    assert spool.events(nginx.spool) == [b'{"last":1}']


@pytest.mark.parametrize("body", ["", " \n\t ", "[]", "[] [ ]"])
def test_empty(nginx, body):
    a = nginx.post("/log", body)
    assert a.status == 400
    assert error(a) == {"error": "no event in the body"}


def test_too_big(tmp_path):
    with Nginx(tmp_path, spool="size=64k", server="""
            client_max_body_size 100k;
            location /tiny { logbroker; logbroker_max_event 20; }
            location /own { logbroker; client_max_body_size 0; }
            """) as nginx:
        c = nginx.connect()
        a = nginx.post("/tiny", '{"a": "0123456789ab"}\n{"a":"0123456789abc"}',
                       conn=c)
        assert a.status == 413
        assert error(a)["row"] == 2
        assert nginx.post("/tiny", '{"a" : "0123456789ab"}',
                          conn=c).status == 204
        big = b'{"a":"%s"}' % (b"x" * 70000)
        a = nginx.post("/log", big, conn=c)     # larger than the ring
        assert a.status == 413
        assert "ring" in error(a)["error"]
        assert "row" not in error(a)
        assert nginx.post("/log", big * 2).status == 413    # nginx's own
        a = nginx.post("/own", gzip.compress(b"{} " * 50000),
                       {"Content-Encoding": "gzip"})
        assert a.status == 413
        assert len(spool.events(nginx.spool)) == 1
