"""Clients that remember what they were told, and say what became of it."""

import http.client
import json
import random
import threading
import time

from env.senders import DOORS


class Oracle:
    """Clients that remember what they were told.  Every event carries a
    unique id as its message."""

    def __init__(self, ports, *, threads=4, events=3, seed=1,
                 doors=("log",), keepalive=True, host="127.0.0.1", pause=0,
                 again_after=0.05, pad=300):
        """doors: each request goes to one of these, of env.senders.  pause:
        seconds between a client's requests.  again_after: seconds until
        one is sent again; through an edge, until its broker is there again,
        or another one takes it.  pad: each event is longer by up to so many
        bytes."""
        self.host = host
        self.pause, self.again_after = pause, again_after
        self.ports = ports
        self.doors = [DOORS[name] for name in doors]
        self.headers = {} if keepalive else {"Connection": "close"}
        self.events = events
        self.pad = pad
        self.seed = seed
        self.acked = set()
        self.refused = set()   # told: nothing stored
        self.unknown = set()   # no answer
        self.statuses = {}
        self.again = 0         # requests sent again
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(i,),
                                         daemon=True)
                        for i in range(threads)]

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *exc):
        self.stopping.set()
        for t in self.threads:
            t.join(60)
            assert not t.is_alive()

    def _run(self, number):
        rng = random.Random(f"{self.seed}-{number}")
        conn = None
        n = 0
        port = None
        while not self.stopping.is_set():
            ids = [f"{self.seed}-{number}-{n}-{i}"
                   for i in range(rng.randint(1, self.events))]
            n += 1
            door = rng.choice(self.doors)
            body = door.body([{"message": i, "level": "info",
                               "pad": "x" * rng.randint(0, self.pad)}
                              for i in ids])
            try:
                if conn is None:
                    port = rng.choice(self.ports)
                    conn = self._connect(port)
            except OSError:
                time.sleep(0.01)
                continue
            status, answer, conn = self._send(conn, door, body)
            status, answer, conn = self._until_clear(
                port, door, body, status, answer, conn)
            with self.lock:
                self.statuses[status] = self.statuses.get(status, 0) + 1
                if status and door.stored(status, answer):
                    self.acked.update(ids)
                elif status is None or status in (502, 504):
                    self.unknown.update(ids)
                else:
                    self.refused.update(ids)
            time.sleep(self.pause if status in (200, 204, None) else 0.01)

    def _connect(self, port):
        conn = http.client.HTTPConnection(self.host, port, timeout=30)
        conn.connect()
        return conn

    def _send(self, conn, door, body):
        """(status, answer, the connection, if it goes on)"""
        try:
            conn.request("POST", door.path, body,
                         {**door.headers, **self.headers})
            response = conn.getresponse()
            answer = response.read()
            return (response.status, answer,
                    None if response.will_close else conn)
        except (OSError, http.client.HTTPException):
            return None, None, None

    def _until_clear(self, port, door, body, status, answer, conn):
        """Where nobody knows whether it is stored, and the door knows it by its
        bytes, it is sent to the same broker again until that is clear.  What
        says that nothing is stored then says nothing of the attempts before."""
        if not door.again or status not in (None, 502, 504):
            return status, answer, conn
        for _ in range(100):
            if self.stopping.wait(self.again_after):
                break
            try:
                conn = conn or self._connect(port)
            except OSError:
                continue
            with self.lock:
                self.again += 1
            status, answer, conn = self._send(conn, door, body)
            if status and door.stored(status, answer):
                return status, answer, conn
        return None, None, conn

    def count(self):
        with self.lock:
            return len(self.acked)

    def verify(self, clickhouse, where="1", tables=("logs",)):
        """Each acknowledged event exactly once in all tables together,
        nothing refused, nothing invented; seqs without gaps.  Returns the
        figures."""
        source = "(%s)" % " UNION ALL ".join(
            f"SELECT message, ring, seq, received_at FROM logbroker.{t}"
            for t in tables)
        rows = clickhouse.query(
            f"SELECT message, count() FROM {source} "
            f"WHERE {where} GROUP BY message FORMAT TabSeparated")
        found = {}
        for line in rows.splitlines():
            message, n = line.split("\t")
            found[message] = int(n)
        lost = self.acked - found.keys()
        twice = {m for m, n in found.items() if n != 1}
        refused = self.refused & found.keys()
        invented = found.keys() - self.acked - self.refused - self.unknown
        result = (f"acknowledged={len(self.acked)} delivered={len(found)} "
                  f"lost={len(lost)} duplicated={len(twice)} "
                  f"unknown={len(self.unknown)} sent_again={self.again} "
                  f"statuses={dict(self.statuses)}")
        assert not lost, f"{result}: lost {sorted(lost)[:5]}"
        assert not twice, f"{result}: twice {sorted(twice)[:5]}"
        assert not refused, f"{result}: refused {sorted(refused)[:5]}"
        assert not invented, f"{result}: invented {sorted(invented)[:5]}"
        audit = json.loads(clickhouse.query(
            "SELECT sum(gaps) AS gaps, sum(duplicates) AS duplicates, "
            "max(brokers) AS brokers "
            "FROM logbroker.logbroker_audit FORMAT JSONEachRow"
            if tables == ("logs",) else
            "SELECT sum(last - first + 1 - n) AS gaps, sum(events - n) AS "
            "duplicates, 1 AS brokers FROM (SELECT min(seq) AS first, "
            "max(seq) AS last, uniqExact(seq) AS n, count() AS events FROM "
            f"{source} GROUP BY ring) FORMAT JSONEachRow"))
        assert int(audit["gaps"]) == 0, audit
        assert int(audit["duplicates"]) == 0, audit
        assert int(audit["brokers"]) <= 1, audit
        return result
