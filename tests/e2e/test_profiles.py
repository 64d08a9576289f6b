"""Delivery under hostile profiles of the ClickHouse user (profiles.py)."""

import contextlib
import re
import socket
import urllib.parse

from env import profiles
from env.broker import Broker, figures
from env.clickhouse import ClickHouse
from env.door import Door
from env.http import post
from env.process import wait_for

FAST = {"backoff": {"min_ms": 1000, "max_ms": 1000},
        "shutdown_timeout_ms": 1000}


def test_hostile_profiles(tmp_path):
    """Each delivers everything once, also through an answer that got lost; or
    holds all of it, says why, and delivers when the profile was put right."""
    assert len(profiles.names()) >= 40
    server = ClickHouse(tmp_path / "clickhouse")
    try:
        print(profiles.run(server, tmp_path))
    finally:
        server.stop()


class Proxy(Door):
    """Passes on requests as edit(head, body so far) says; a bytes answer goes
    back instead."""

    def __init__(self, port, edit):
        self.edit = edit
        super().__init__(port)

    def _serve(self, inner):
        data = b""
        with contextlib.suppress(OSError):
            while b"\r\n\r\n" not in data:
                more = inner.recv(1 << 16)
                if not more:
                    break
                data += more
        if b"\r\n\r\n" not in data:
            inner.close()
            return
        head, _, body = data.partition(b"\r\n\r\n")
        head, answer = self.edit(head, body)
        if answer is not None:
            self._instead(inner, answer)
            inner.close()
            return
        super()._serve(Begun(inner, head + b"\r\n\r\n" + body))


class Begun:
    """A connection of which the beginning was read."""

    def __init__(self, s, data):
        self.s = s
        self.data = data

    def recv(self, n, flags=0):
        if not self.data:
            return self.s.recv(n, flags)
        data = self.data[:n]
        if flags != socket.MSG_PEEK:
            self.data = self.data[n:]
        return data

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.s.close()

    def __getattr__(self, name):
        return getattr(self.s, name)


def test_proxy_drops_parameters(tmp_path):
    """A proxy that passes on the statement alone, under an id of its own, before
    a hostile profile: everything once, also what was in doubt."""
    dropped = set()

    def edit(head, body):
        line, rest = head.split(b"\r\n", 1)
        method, path, version = line.split(b" ")
        parameters = urllib.parse.parse_qs(
            path.partition(b"?")[2], strict_parsing=True)
        dropped.update(parameters)
        left = {b"query": q[0] for q in [parameters.get(b"query")] if q}
        left[b"query_id"] = f"proxy-{len(proxy.starts)}"
        path = b"/?" + urllib.parse.urlencode(left).encode()
        return b" ".join([method, path, version]) + b"\r\n" + rest, None

    clickhouse = ClickHouse(tmp_path / "clickhouse")
    folder = clickhouse.dir / "users.d"
    folder.mkdir()
    (folder / "hostile.xml").write_text(
        "<clickhouse><profiles><hostile><async_insert>1</async_insert>"
        "<wait_for_async_insert>0</wait_for_async_insert>"
        "<use_query_cache>1</use_query_cache><limit>1</limit>"
        "<deduplicate_insert>disable</deduplicate_insert>"
        "<max_insert_block_size>3</max_insert_block_size>"
        "<min_insert_block_size_rows>1</min_insert_block_size_rows>"
        "</hostile></profiles><users><logbroker><profile replace='1'>hostile"
        "</profile></logbroker></users></clickhouse>")
    clickhouse.start()
    proxy = Proxy(clickhouse.port, edit)
    broker = Broker(tmp_path / "broker", [proxy.url], workers=1, rings=2,
                    user="logbroker", password=clickhouse.password,
                    flusher=FAST)
    try:
        broker.start()
        sent = 0
        for mode in ("pass", "drop", "500", "pass", "late"):
            unknown = figures(broker).get("unknown", 0)
            proxy.mode = mode
            assert post(broker.port, "\n".join(["{}"] * 50))[0] == 204
            sent += 50
            if mode in ("drop", "500"):
                wait_for(lambda: figures(broker).get("unknown", 0) > unknown,
                         20, "doubt")
                proxy.mode = "pass"
            wait_for(broker.drained, 60, f"delivery after {mode}")
        assert clickhouse.query(
            "SELECT count(), uniqExact(ring, seq) FROM logbroker.logs "
            "FORMAT TSV") == f"{sent}\t{sent}\n"
        wait_for(lambda: figures(broker)["exactly_once"]["verdict"] == "yes",
                 20, "the verdict")
        assert figures(broker)["view_misses"] == 0
        # one block each, whatever the profile says
        assert clickhouse.query(
            "SELECT max(n) FROM (SELECT count() AS n FROM system.parts WHERE "
            "table = 'logs' AND level = 0 GROUP BY min_block_number)"
        ) in ("1\n", "0\n")
        assert {b"wait_end_of_query", b"query_id"} <= dropped
    finally:
        broker.stop()
        proxy.close()
        clickhouse.stop()


def test_older_server(tmp_path):
    """A server that does not know the newer settings: one refused request, and
    then it is delivered without them."""
    newer = ("exclude_materialize_skip_indexes_on_insert",
             "max_insert_block_size_bytes", "deduplicate_insert",
             "use_strict_insert_block_limits")
    refused = []

    def edit(head, body):
        text = urllib.parse.unquote_to_bytes(head + body)
        for name in newer:
            if re.search(rb"[^_a-z']%s[^_a-z']" % name.encode(), text):
                refused.append(name)
                words = (f"Code: 115. DB::Exception: Unknown setting '{name}'"
                         ": Maybe you meant ['insert_deduplicate',"
                         "'max_insert_block_size']. (UNKNOWN_SETTING)")
                return head, (
                    f"HTTP/1.1 400 Bad Request\r\n"
                    f"X-ClickHouse-Exception-Code: 115\r\n"
                    f"Content-Length: {len(words)}\r\n"
                    f"Connection: close\r\n\r\n{words}").encode()
        return head, None

    with ClickHouse(tmp_path / "clickhouse") as clickhouse:
        proxy = Proxy(clickhouse.port, edit)
        broker = Broker(tmp_path / "broker", [proxy.url], workers=1, rings=2,
                        flusher=FAST)
        try:
            broker.start()
            for n in range(4):
                assert post(broker.port, "{}")[0] == 204
                wait_for(broker.drained, 20, "delivery")
            wait_for(lambda: figures(broker)["exactly_once"]["verdict"]
                     == "yes", 20, "the verdict")
            assert refused == [newer[0]]
            assert clickhouse.query("SELECT count() FROM logbroker.logs"
                                    ) == "4\n"
        finally:
            broker.stop()
            proxy.close()
