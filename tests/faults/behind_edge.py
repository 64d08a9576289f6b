"""Scenarios with the edge before the brokers."""

import time
import uuid

from env.edge import Edge
from env.oracle import Oracle
from env.process import wait_for

from world import scenario


class OneKeyEach(dict):
    """Headers of requests that each have a key of their own."""

    def items(self):
        return [("Idempotency-Key", str(uuid.uuid4()))]


@scenario
def rolling_kills(w):
    """Three brokers behind the edge, killed and started one after the other,
    now and then all of them.  Requests with keys and without are answered 204,
    or truthfully 503 or 502; no more of the latter than were on their way when
    a broker died; the first 204 within a second after the first one is back."""
    for i in range(3):
        w.broker(index=i, count=3)
    edge = Edge(w.dir / "edge", [b.port for b in w.brokers])
    try:
        plain = Oracle([edge.port], seed=w.seed)
        keyed = Oracle([edge.port], seed=w.seed + 500000, threads=2)
        keyed.headers = OneKeyEach()
        kills = 0
        slowest = 0.0
        with plain, keyed:
            wait_for(lambda: plain.count() > 50 and keyed.count() > 50, 30,
                     "events")
            for _ in w.for_a_while():
                victims = [w.brokers[kills % 3]]
                if w.rng.random() < 0.3:
                    victims = w.rng.sample(w.brokers, 3)
                for b in victims:
                    b.kill_nginx()
                    kills += 1
                time.sleep(w.rng.random() / 2)
                for b in victims:
                    b.start_nginx()
                    n, begun = plain.count(), time.monotonic()
                    wait_for(lambda: plain.count() > n, 20, "events again")
                    slowest = max(slowest, time.monotonic() - begun)
            n = keyed.count()
            wait_for(lambda: keyed.count() > n + 200, 30, "events with keys")
    finally:
        edge.stop()
    for name in ("acked", "refused", "unknown"):
        getattr(plain, name).update(getattr(keyed, name))
    for status, n in keyed.statuses.items():
        plain.statuses[status] = plain.statuses.get(status, 0) + n
    assert plain.statuses.keys() <= {204, 502, 503}, plain.statuses
    assert plain.statuses.get(502, 0) <= 6 * kills, (plain.statuses, kills)
    assert slowest < 1, f"the first 204 after {slowest:.2f} s"
    return f"{w.finish(plain)} kills={kills} first_204={slowest:.2f}s"
