"""Load on one nginx, compared with what is in its spool."""

import itertools
import random
import threading
import time

from env import spool
from env.process import wait_for


class Load:
    """Clients that post until told to stop, and remember what was answered."""

    number = itertools.count()

    def __init__(self, nginx, clients=6, path="/log"):
        self.nginx = nginx
        self.path = path
        self.id = next(self.number)
        self.acked = []
        self.other = []
        self.lost = []
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(i,))
                        for i in range(clients)]

    def run(self, i):
        rng = random.Random(i)
        c = None
        n = 0
        while not self.stop.is_set():
            event = b'{"load":%d,"c":%d,"n":%d,"p":"%s"}' % (
                self.id, i, n, b"x" * rng.randint(0, 500))
            n += 1
            if c is None:
                c = self.nginx.connect()
                try:
                    c.connect()
                except OSError:
                    c = None
                    time.sleep(0.01)
                    continue
            try:
                a = self.nginx.post(self.path, event, conn=c)
            except (OSError, Exception) as e:
                c.close()
                c = None
                self.lost.append((event, repr(e)))
                continue
            if a.status == 204:
                self.acked.append(event)
            else:
                self.other.append((a.status, a.body))
            if a.headers.get("Connection") == "close":
                c.close()
                c = None

    def __enter__(self):
        for t in self.threads:
            t.start()
        wait_for(lambda: len(self.acked) > 20, what="first answers")
        return self

    def __exit__(self, *exc):
        self.stop.set()
        for t in self.threads:
            t.join()

    def more(self, n=50):
        before = len(self.acked)
        wait_for(lambda: len(self.acked) >= before + n, what="progress")

    def verify(self, *others):
        """Everything acknowledged is stored once; what else is stored was
        sent by a request that got no answer."""
        loads = [self, *others]
        stored = spool.events(self.nginx.spool)
        assert len(stored) == len(set(stored))
        missing = {e for x in loads for e in x.acked} - set(stored)
        assert not missing, f"{len(missing)} lost"
        extra = set(stored) - {e for x in loads for e in x.acked}
        assert extra <= {e for x in loads for e, _ in x.lost}
