"""File systems that fail differently: full, or shut down, under load.  nginx
stays up, says 503 where it cannot store, and what it acknowledged is there
once the disk works again.

Each test has a file system of its own in a loop device; where those cannot be
mounted, the tests are skipped."""

import contextlib
import ctypes
import errno
import fcntl
import os
import shutil
import struct
import subprocess
import threading
import time

import pytest

from env import spool
from env.nginx import Nginx
from env.process import wait_for

MKFS = {
    "ext4": (64, ["mkfs.ext4", "-q", "-F"]),
    "xfs": (300, ["mkfs.xfs", "-q"]),
    "btrfs": (256, ["mkfs.btrfs", "-q"]),
}
SYNC = ["always", pytest.param("off", marks=pytest.mark.release_only)]
SHUTDOWN = 0x8004587D  # XFS_IOC_GOINGDOWN, which ext4 knows as well
MNT_DETACH = 2

libc = ctypes.CDLL(None, use_errno=True)


class Disk:
    def __init__(self, directory, kind):
        megabytes, mkfs = MKFS[kind]
        self.image = directory / "image"
        self.dir = directory / "disk"
        self.dir.mkdir()
        with open(self.image, "wb") as f:
            f.truncate(megabytes << 20)
        if not shutil.which(mkfs[0]):
            pytest.skip(f"no {mkfs[0]}")
        subprocess.run([*mkfs, self.image], check=True, capture_output=True)
        self.mount()

    def mount(self):
        p = subprocess.run(["mount", "-o", "loop", self.image, self.dir],
                           capture_output=True, text=True, check=False)
        if p.returncode:
            pytest.skip(f"cannot mount a loop device: {p.stderr.strip()}")

    def unmounted(self):
        """Only if nobody has anything open there."""
        with contextlib.suppress(OSError):
            self.umount()
            return True
        return False

    def released(self):
        return not subprocess.run(["losetup", "-j", self.image], check=True,
                                  capture_output=True).stdout

    def umount(self, lazy=False):
        if libc.umount2(os.fsencode(self.dir), MNT_DETACH if lazy else 0):
            raise OSError(ctypes.get_errno(), "umount")

    def fill(self):
        """Until not even one page more fits."""
        with open(self.dir / "ballast", "ab", buffering=0) as f:
            for size in (1 << 20, 64 << 10, 4096):
                with contextlib.suppress(OSError):
                    while True:
                        f.write(b"x" * size)
                        if size == 1 << 20:
                            os.fsync(f.fileno())
            with contextlib.suppress(OSError):
                os.fsync(f.fileno())

    def free(self):
        (self.dir / "ballast").unlink()
        os.sync()

    def shutdown(self):
        """Nothing is written to it any more: what a controller that dies
        looks like."""
        fd = os.open(self.dir, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, SHUTDOWN, struct.pack("I", 2))
        finally:
            os.close(fd)


@pytest.fixture
def disk(request, tmp_path):
    d = Disk(tmp_path, request.param)
    yield d
    with contextlib.suppress(OSError):
        while True:
            d.umount(lazy=True)


class Load:
    """Clients that remember what became of each event."""

    def __init__(self, nginx, clients=4):
        self.nginx = nginx
        self.acked, self.refused = [], []
        self.unknown, self.broken = [], []
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self.client, args=(i,))
                        for i in range(clients)]

    def client(self, i):
        n = 0
        while not self.stop.is_set():
            body = b'{"client":%d,"n":%d}' % (i, n)
            n += 1
            try:
                status = self.nginx.post("/log", body).status
            except OSError:
                status = None
            {204: self.acked, 502: self.unknown, 503: self.refused}.get(
                status, self.broken).append(body)
            if status != 204:
                time.sleep(0.02)

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *exc):
        self.stop.set()
        for t in self.threads:
            t.join()

    def goes_on(self, what, n=50):
        before = len(what)
        wait_for(lambda: len(what) > before + n, what="answers")


def restart(nginx, disk):
    """On the disk as it is, with nothing left in memory."""
    if nginx.process is not None:
        nginx.stop()
    with contextlib.suppress(OSError):
        while True:
            disk.umount()
    disk.mount()
    nginx.start()


def everything_is_there(nginx, load, torn=False):
    assert not load.broken
    stored = spool.events(nginx.spool, torn)
    assert len(stored) == len(set(stored))
    assert set(load.acked) <= set(stored)
    assert set(stored) <= set(load.acked + load.unknown)


def copy_on_write(nginx, disk):
    """The rings as an older release left them on btrfs."""
    nginx.stop()
    other = disk.dir / "other"
    other.mkdir()
    for ring in nginx.spool.glob("ring-*"):
        subprocess.run(["cp", "--reflink=never", ring, other], check=True)
        os.replace(other / ring.name, ring)
    nginx.start()


@pytest.mark.parametrize("disk", MKFS, indirect=True)
@pytest.mark.parametrize("sync", SYNC)
def test_full(tmp_path, disk, sync):
    """Rings are preallocated, and their blocks written in place: a full disk
    is not noticed, not even where they are not zero-filled yet."""
    with Nginx(tmp_path / "nginx", workers=2,
               location=f"logbroker_sync {sync};",
               directives=f"logbroker_spool {disk.dir}/spool size=24m rings=2;"
               ) as nginx:
        nginx.spool = disk.dir / "spool"
        workers = nginx.workers()
        with Load(nginx) as load:
            load.goes_on(load.acked)
            disk.fill()
            with pytest.raises(OSError) as e:
                (disk.dir / "one-more").write_bytes(b"x" * 65536)
            assert e.value.errno == errno.ENOSPC
            load.goes_on(load.acked, 500)
            time.sleep(1.5)  # the second's sync
        assert not load.refused
        assert nginx.workers() == workers
        restart(nginx, disk)
        everything_is_there(nginx, load)


@pytest.mark.parametrize("disk", ["btrfs"], indirect=True)
@pytest.mark.parametrize("sync", SYNC)
def test_full_with_copies_on_write(tmp_path, disk, sync):
    """Rings that an older release made there: refused, not killed."""
    with Nginx(tmp_path / "nginx", workers=2,
               location=f"logbroker_sync {sync};",
               directives=f"logbroker_spool {disk.dir}/spool size=8m rings=8;"
               ) as nginx:
        nginx.spool = disk.dir / "spool"
        wait_for(lambda: nginx.status()["total"]["rings"] == 4, what="spares")
        copy_on_write(nginx, disk)
        wait_for(lambda: "btrfs and was made without NOCOW" in
                 nginx.error_log.read_text(), what="a warning")
        workers = nginx.workers()
        with Load(nginx) as load:
            load.goes_on(load.acked)
            disk.fill()
            load.goes_on(load.refused)
            assert nginx.workers() == workers
            disk.free()
            load.goes_on(load.acked)
        assert nginx.workers() == workers
        restart(nginx, disk)
        everything_is_there(nginx, load)


@pytest.mark.parametrize("disk", ["xfs", "ext4"], indirect=True)
@pytest.mark.parametrize("sync", SYNC)
def test_shut_down(tmp_path, disk, sync):
    """The disk is gone from one moment to the next; later it is mounted again
    where it was, without a word to nginx."""
    with Nginx(tmp_path / "nginx", workers=2,
               location=f"logbroker_sync {sync};",
               directives=f"logbroker_spool {disk.dir}/spool size=8m rings=4;"
               ) as nginx:
        nginx.spool = disk.dir / "spool"
        workers = nginx.workers()
        with Load(nginx) as load:
            load.goes_on(load.acked)
            if sync == "off":
                # what was taken more than a second ago survives
                before = list(load.acked)
                time.sleep(2.5)
            disk.shutdown()
            load.goes_on(load.refused)
            time.sleep(1.5)
            assert nginx.workers() == workers
            if sync == "off":
                load.acked, after = before, load.acked
                load.unknown += after
            lost = len(load.acked)
            wait_for(disk.unmounted, what="nginx to let go of the dead disk")
            load.goes_on(load.refused)
            assert not nginx.spool.exists()
            try:
                wait_for(disk.released)
            except AssertionError:
                pytest.skip("another mount namespace has the dead disk")
            disk.mount()
            load.goes_on(load.acked)
        assert len(load.acked) > lost
        assert nginx.workers() == workers
        restart(nginx, disk)
        everything_is_there(nginx, load, torn=sync == "off")
