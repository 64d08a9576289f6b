"""What a location may do around the module: success answers, blocks, rewrites, logs
of its own."""

import json

from env import spool
from env.nginx import Nginx
from env.process import wait_for


def test_success(tmp_path):
    """Some clients know no success but 200."""
    with Nginx(tmp_path, location="logbroker_success 200;", server="""
            location /other { logbroker; }
            location /204 { logbroker; logbroker_success 204; }""") as nginx:
        c = nginx.connect()
        key = {"Idempotency-Key": "k"}
        for headers in ({}, key, key):
            a = nginx.post("/log", '{"a":1}', headers, c)
            assert (a.status, a.body) == (200, b"{}\n")
            assert a.headers["Content-Type"] == "application/json"
        for path in ("/other", "/204"):
            a = nginx.post(path, '{"a":1}', conn=c)
            assert (a.status, a.body) == (204, b"")
        assert nginx.post("/log", '{"a":}', conn=c).status == 400
        assert len(spool.events(nginx.spool)) == 4
        assert nginx.status()["repeated"] == 1
    bad = Nginx(tmp_path / "bad", location="logbroker_success 201;")
    status, words = bad.test_conf()
    assert status != 0
    assert "logbroker_success" in words or "201" in words


def test_limit_except(tmp_path):
    """As with proxy_pass: the block decides on access, the location on what
    is done."""
    with Nginx(tmp_path, server="""
            location /deny { logbroker; limit_except POST { deny all; } }
            location /except { logbroker; logbroker_stream s;
                limit_except GET { allow all; } }
            location /name/ { logbroker; limit_except GET { allow all; } }
            location ~ ^/re/ { logbroker; limit_except GET { allow all; } }
            location /if/ { logbroker; if ($arg_x) { set $y 1; } }
            location ~ ^/ifre/ { logbroker; if ($arg_x) { set $y 1; } }
            location /text { logbroker_status metrics;
                limit_except POST { allow all; }
                if ($arg_x) { set $y 1; } }
            location /plain { limit_except POST { deny all; } }
            """) as nginx:
        assert nginx.request("GET", "/deny").status == 403
        assert nginx.request("PUT", "/deny", "{}").status == 403
        assert nginx.post("/deny", "{}").status == 204
        for path in ("/except", "/name/n", "/re/x", "/if/i?x=1", "/if/i",
                     "/ifre/x?x=1"):
            assert nginx.post(path, "{}").status == 204, path
        assert nginx.request("PUT", "/except", "{}").status == 405
        assert nginx.request("GET", "/except").status == 405
        assert [r.stream for r in spool.records(nginx.spool)] == \
            ["default", "s", "n", "default", "i", "i", "default"]
        for path in ("/text", "/text?x=1"):
            a = nginx.request("GET", path)
            assert a.body.startswith(b"# HELP"), a.body[:100]
        # no handler comes out of nowhere
        assert nginx.request("GET", "/plain").status == 403
        assert nginx.post("/plain", "{}").status in (404, 405)


def test_stream_after_rewrite(tmp_path):
    """What counts is the new URI: behind the location's name, or all of it if
    it does not begin with that."""
    with Nginx(tmp_path, server="""
            location /a/ { rewrite ^/a/v1/(.*)$ /a/$1 break; logbroker; }
            location /b/ { rewrite ^/b/(.*)$ /$1 break; logbroker; }
            location /c { rewrite ^/c/(.*)$ /logs/$1 break; logbroker; }
            location /d { rewrite ^ / break; logbroker; }
            location /e/ { rewrite ^ /log/e last; }
            location = /f { rewrite ^ /g break; logbroker; }
            """) as nginx:
        for path, stream in (("/a/v1/app", "app"), ("/a/app", "app"),
                             ("/b/app", "app"), ("/b/", "default"),
                             ("/d/x", "default"), ("/e/", "e"), ("/f", "g")):
            assert nginx.post(path, "{}").status == 204, path
            assert spool.records(nginx.spool)[-1].stream == stream, path
        a = nginx.post("/c/app", "{}")
        assert a.status == 400
        assert "stream" in json.loads(a.body)["error"]


def test_own_access_log_has_no_limit(tmp_path):
    """logbroker_max_event is for what clients send."""
    with Nginx(tmp_path, http="logbroker_max_event 100;",
               server="logbroker_access_log access;") as nginx:
        lost = nginx.status()["access_log"]["lost"]
        assert nginx.post("/log", b'{"a":"%s"}' % (b"x" * 100)).status == 413
        wait_for(lambda: [r for r in spool.records(nginx.spool)
                          if b"/log" in r.payload], what="the log")
        assert nginx.status()["access_log"]["lost"] == lost
