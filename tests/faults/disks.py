"""The disk: another file system, one that is full."""

import contextlib
import os
import subprocess

from env.http import post
from env.process import wait_for
from world import scenario

MKFS = {  # megabytes, for four rings of a size and little more, and how
    "ext4": (176, "32m", ["mkfs.ext4", "-q", "-F", "-m", "0"]),
    "xfs": (300, "32m", ["mkfs.xfs", "-q"]),
    "btrfs": (256, "4m", ["mkfs.btrfs", "-q"]),
}


@contextlib.contextmanager
def small_disk(w, kind):
    """A file system of its own; None where that cannot be made."""
    megabytes, _, mkfs = MKFS[kind]
    image = w.dir / "disk"
    mount = w.dir / "mount"
    mount.mkdir()
    with open(image, "wb") as f:
        f.truncate(megabytes << 20)
    made = False
    with contextlib.suppress(FileNotFoundError):
        made = os.getuid() == 0 and all(
            subprocess.run(command, capture_output=True).returncode == 0
            for command in ([*mkfs, image],
                            ["mount", "-o", "loop", image, mount]))
    try:
        yield mount if made else None
    finally:
        if made:
            for b in w.brokers:
                b.stop()
            subprocess.run(["umount", "-l", mount], check=False)


def until_full(w, b):
    """Nothing is delivered: every ring is needed, to its end."""
    w.door.mode = "shut"
    large = '{"message":"large","p":"%s"}' % ("x" * 500000)
    # 503 is not enough: the disk may hang for a moment
    wait_for(lambda: b"full" in post(b.port, large)[2], 90, "a full spool",
             every=0)
    rings = b.stat()["rings"]
    held = sum(r["backlog_bytes"] for r in rings)
    room = sum(r["capacity"] for r in rings)
    assert held > 0.85 * room, f"full with {held} of {room} bytes"
    w.door.mode = "pass"


def full_disk(w, kind):
    """No room for rings at the start: 503, nothing is lost; then room, and
    later a disk filled to the last byte by another program while workers and
    flusher are killed, and until every ring is full: everything that is needed
    is there already."""
    with small_disk(w, kind) as disk:
        if disk is None:
            return f"skipped: needs root, a loop device and mkfs.{kind}"
        filler = disk / "filler"

        def fill():
            with contextlib.suppress(OSError), open(filler, "wb") as f:
                while True:
                    f.write(bytes(1 << 16))
                    f.flush()

        # The flusher's own files first: it cannot start without them.  Of a
        # spare ring the first 16 MB are zero-filled, no more.
        b = w.broker(size=MKFS[kind][1], rings=4)
        b.stop()
        b.spool = disk / "spool"
        for path in (b.conf, b.settings):
            path.write_text(path.read_text().replace(
                str(b.dir / "spool"), str(b.spool)))
        b.start_flusher()
        wait_for(lambda: (b.spool / "dead").exists() and
                 (b.spool / "flusher.json").exists(), 20, "flusher")
        fill()
        b.nginx.env.pop("LD_PRELOAD", None)
        b.start_nginx(ready=False)
        with w.load() as oracle:
            wait_for(lambda: oracle.statuses.get(503, 0) > 20, 30, "503")
            assert not oracle.acked
            filler.unlink()
            wait_for(lambda: len(oracle.acked) > 500, 60, "rings")
            wait_for(lambda: len(b.stat()["rings"]) == 4, 60, "all rings")
            fill()
            n = oracle.count()
            for _ in w.for_a_while():
                b.kill_worker(w.rng)
            wait_for(lambda: oracle.count() > n + 500, 30, "events")
            if kind != "btrfs":  # a full one takes minutes for it
                until_full(w, b)
            b.flusher.kill()
            b.start_flusher()
        return w.finish(oracle, where="message != 'large'")


@scenario
def disk_full(w):
    """ext4, full at the start and later."""
    return full_disk(w, "ext4")


@scenario(share=0.5)
def disk_full_xfs(w):
    """XFS, full at the start and later."""
    return full_disk(w, "xfs")


@scenario(share=0.5)
def disk_full_btrfs(w):
    """btrfs, full at the start and later."""
    return full_disk(w, "btrfs")
