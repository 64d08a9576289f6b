"""Scenarios that damage the flusher's durable state."""

import os
import time

from env.process import wait_for

from world import scenario

COPY = 65536  # spool/lb_format.h


def generation(data, copy):
    start = copy * COPY
    return int.from_bytes(data[start + 16:start + 24], "little")


def newest(data):
    """(start, length) of the newest copy."""
    copy = max((0, 1), key=lambda c: generation(data, c))
    start = copy * COPY
    rings = int.from_bytes(data[start + 88:start + 92], "little")
    return start, 512 + 64 * rings


def damage(w, b):
    """One flipped bit in what the newest copy's checksum covers, now and then
    a whole sector of zeros.  Not in the last good copy: a flusher that was
    killed before it had settled what it found has only one."""
    if b.stat()["doubt"]:
        return
    path = b.spool / "checkpoint"
    data = bytearray(path.read_bytes())
    start, length = newest(data)
    if w.rng.random() < 0.8:
        at = start + w.rng.randrange(8, length)
        data[at] ^= 1 << w.rng.randrange(8)
        span = at, at + 1
    else:
        at = start + 512 * w.rng.randrange(length // 512)
        span = at, at + 512
        data[at:at + 512] = bytes(512)
    with open(path, "r+b") as f:
        f.seek(span[0])
        f.write(data[span[0]:span[1]])
        os.fsync(f.fileno())


def batches(b):
    return (b.status()["flusher"] or {}).get("batches", 0)


def in_doubt(b):
    flight = (b.status()["flusher"] or {}).get("in_flight")
    return flight and flight["state"] == "unknown"


def delivered_some(b, timeout=60):
    """batches counts from the flusher's start."""
    n, pid = batches(b), b.flusher.pid

    def more():
        f = b.status()["flusher"] or {}
        return f.get("pid") == pid and f.get("batches", 0) > (
            n if known else 0)

    known = (b.status()["flusher"] or {}).get("pid") == pid
    wait_for(more, timeout, "a batch")


@scenario
def checkpoint_bit_flips(w):
    """The newest copy of the checkpoint is damaged while a batch is in doubt
    (its rows in ClickHouse or not), right after a store, and when everything
    is delivered; the flusher is started on it.  Where nothing is in, it asks
    for 20 s before it goes on: that once in a short run."""
    w.preload(trouble=True)
    b = w.broker()
    b.nginx.stop()
    b.nginx.env.pop("LB_FAULT_DIR")
    b.start_nginx()
    done = 0

    def flip():
        nonlocal done
        damage(w, b)
        w.door.inserts = None
        b.start_flusher()
        done += 1

    def doubt(mode):
        w.door.inserts = mode
        wait_for(lambda: in_doubt(b), 30, "a batch in doubt")
        b.flusher.kill()
        flip()

    def stored(n):
        """Fixed, or acked."""
        new = w.trouble / "point.new"
        new.write_text(f"checkpoint.write.after {n} 9")
        new.rename(w.trouble / "point")
        b.flusher.p.wait(30)
        flip()

    def killed():
        b.flusher.kill()
        flip()

    quick = [lambda: doubt("drop"), lambda: doubt("hang")]
    slow = [lambda: doubt("cut"), lambda: doubt("500"), killed,
            lambda: stored(1), lambda: stored(2), lambda: stored(3)]
    w.rng.shuffle(slow)
    end = time.monotonic() + w.span
    with w.load(threads=2) as oracle:
        for turn in [*quick, *slow]:
            delivered_some(b, 100)
            turn()
            if done > 2 and time.monotonic() > end:
                break
        delivered_some(b, 100)
    return f"{w.finish(oracle)} flips={done}"


@scenario(share=0.5)
def checkpoint_copy_restored(w):
    """The whole file as it was some batches ago, put back: the flusher must
    notice, and either settle it or say so and wait for the right one."""
    b = w.broker()
    path = b.spool / "checkpoint"
    refused = settled = 0
    with w.load(threads=2) as oracle:
        for _ in w.for_a_while():
            delivered_some(b)
            old = path.read_bytes()
            for _ in range(w.rng.randint(1, 3)):
                delivered_some(b)
            b.flusher.kill()
            new = path.read_bytes()
            with open(path, "r+b") as f:
                f.write(old)
            b.start_flusher()
            try:
                wait_for(lambda: not b.flusher.running() or batches(b) > 0
                         and b.status()["flusher"]["pid"] == b.flusher.pid,
                         30, "the flusher's choice")
            except AssertionError:
                pass
            if b.flusher.running():
                settled += 1
                continue
            refused += 1
            assert "checkpoint" in (b.dir / "flusher.log").read_text()
            with open(path, "r+b") as f:
                f.write(new)
            b.start_flusher()
    return f"{w.finish(oracle)} settled={settled} refused={refused}"
