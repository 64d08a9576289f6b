"""Processes, ports, and waiting for what they do."""

import contextlib
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import time


# each once: dozens of servers may be given their ports before one of them
# listens; those of test processes that run side by side differ
_ports = list(range(10000 + int(os.environ.get("PYTEST_XDIST_WORKER",
                                               "gw7")[2:]) % 8, 32000, 8))
random.SystemRandom().shuffle(_ports)


def free_port():
    """Below the ports that connections come from: a server that is killed and
    started again must find its own still free."""
    while True:
        port = _ports.pop()
        _ports.insert(0, port)
        with socket.socket() as s:
            with contextlib.suppress(OSError):
                s.bind(("127.0.0.1", port))
                return port


def wait_for(condition, timeout=60, what="condition", every=0.01):
    """Polls until condition() is true and returns its value.  A timeout of its
    own is for what is promised within a time; the usual one ends what will
    never come, also on a machine that is busy: a worker may be two looks, of
    ten seconds each, away from a spare ring."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {timeout} s")
        time.sleep(every)


def state(pid):
    """A letter, as ps shows it."""
    text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    return text.rpartition(")")[2].split()[0]


def alive(pid):
    """Running, not merely waiting for its parent to notice that it ended."""
    try:
        return state(pid) != "Z"
    except OSError:
        return False


def threads_of(pid):
    """Where each thread of a process waits: by gdb where there is one, else
    by what the kernel tells. For the message of a test that failed."""
    gdb = shutil.which("gdb")
    if gdb is not None:
        done = subprocess.run(
            [gdb, "-p", str(pid), "-batch", "-ex", "thread apply all bt 16"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            timeout=60, check=False)
        return done.stdout
    said = ""
    for task in sorted(pathlib.Path(f"/proc/{pid}/task").glob("*")):
        with contextlib.suppress(OSError):
            stat = (task / "stat").read_text().rpartition(")")[2].split()
            said += (f"thread {task.name}: state {stat[0]}, user {stat[11]}, "
                     f"system {stat[12]} ticks, in "
                     f"{(task / 'wchan').read_text()}, call "
                     f"{(task / 'syscall').read_text()}")
    return said


def children(pid):
    try:
        text = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(c) for c in text.split() if alive(int(c))]


class Process:
    """A child with its output in a file, ended by its own pid only."""

    def __init__(self, name, argv, log, env=None, cwd=None):
        self.name = name
        self.log = log
        self.out = open(log, "ab")
        self.p = subprocess.Popen(
            argv, stdout=self.out, stderr=self.out, stdin=subprocess.DEVNULL,
            env=env, cwd=cwd, start_new_session=True)

    @property
    def pid(self):
        return self.p.pid

    def running(self):
        return self.p.poll() is None

    def signal(self, sig):
        if self.running():
            os.kill(self.p.pid, sig)

    def stop(self, timeout=20):
        self.signal(signal.SIGTERM)
        try:
            self.p.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
        self.out.close()
        return self.p.returncode

    def kill(self):
        self.signal(signal.SIGKILL)
        self.p.wait()


class Daemon:
    """A master in the background, with the face of subprocess.Popen."""

    def __init__(self, pid):
        self.pid = pid

    def poll(self):
        return None if alive(self.pid) else 0

    def wait(self, timeout=None):
        wait_for(lambda: not alive(self.pid), timeout or 60, "nginx to end")
