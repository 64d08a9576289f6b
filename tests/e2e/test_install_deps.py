"""tools/install-deps.sh when it is interrupted. apt-get is a stand-in, as the
machine's packages are none of a test's business; tests/releases.sh has the
real one."""

import os
import pathlib
import pty
import select
import signal
import subprocess
import time

import pytest

from env.process import wait_for

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "tools/install-deps.sh"
POLICY = "policy-rc.d"

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="needs root")

# update and the plan are over at once; what has begun to unpack goes on
# whatever comes, as dpkg does
APT_GET = """#!/bin/bash
case "$*" in
*" update"* | *--assume-no*) exit ;;
esac
trap 'echo interrupted' INT
echo begun >'{dir}/apt'
for ((i = 0; i < 15; i++)); do sleep 0.1; done
[ ! -x /usr/sbin/policy-rc.d ] || /usr/sbin/policy-rc.d || echo no service is started >>'{dir}/apt'
echo ended >>'{dir}/apt'
"""


class Machine:
    """Where no package is installed, and /usr/sbin is a folder of the test's."""

    def __init__(self, directory):
        self.dir = directory
        self.sbin = directory / "sbin"
        self.sbin.mkdir()
        tools = directory / "bin"
        tools.mkdir()
        for name, text in (("apt-get", APT_GET.format(dir=directory)),
                           ("dpkg-query", "#!/bin/sh\nexit 1\n"),
                           ("apt-cache", "#!/bin/sh\n"),
                           ("systemctl", "#!/bin/sh\n")):
            (tools / name).write_text(text)
            (tools / name).chmod(0o755)
        self.env = dict(os.environ, PATH=f"{tools}:{os.environ['PATH']}")
        self.command = ["unshare", "--mount", "sh", "-c",
                        'mount --bind "$0" /usr/sbin && exec "$@"',
                        str(self.sbin), str(SCRIPT), "scan"]

    def start(self):
        """At a terminal of its own."""
        pid, fd = pty.fork()
        if pid == 0:
            # nohup and "&" leave them ignored
            for s in (signal.SIGINT, signal.SIGHUP):
                signal.signal(s, signal.SIG_DFL)
            os.execvpe(self.command[0], self.command, self.env)
        wait_for((self.dir / "apt").exists, what="apt-get")
        return pid, fd

    def said(self):
        return (self.dir / "apt").read_text().split("\n")[:-1]


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def ended(pid, fd):
    """Its exit status, and what it said."""
    text = b""
    while fd is not None and select.select([fd], [], [], 30)[0]:
        try:
            text += os.read(fd, 65536)
        except OSError:
            break
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), text.decode()


@pytest.mark.parametrize("how, status", [
    ("Ctrl-C", 130), ("Ctrl-C twice", 130), ("hang-up", 129), ("TERM", 143)])
def test_interrupted(machine, how, status):
    """It waits until apt-get has ended, which starts no service, and leaves
    nothing behind."""
    pid, fd = machine.start()
    if how == "hang-up":
        os.close(fd)
        fd = None
    elif how == "TERM":
        os.kill(pid, signal.SIGTERM)
    else:
        os.write(fd, b"\x03")
        if how == "Ctrl-C twice":
            time.sleep(0.5)
            os.write(fd, b"\x03")
    got, text = ended(pid, fd)
    assert got == status
    assert machine.said() == ["begun", "no service is started", "ended"]
    assert not (machine.sbin / POLICY).exists()
    if fd is not None:
        assert "waiting until apt-get has ended" in text


def test_killed(machine):
    """A policy that nobody takes away any more forbids nothing."""
    pid, _ = machine.start()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    policy = machine.sbin / POLICY
    assert subprocess.run([policy]).returncode == 0
    wait_for(lambda: "ended" in machine.said(), what="apt-get")
    # and the next one does not take it for somebody else's
    (machine.dir / "apt").unlink()
    assert subprocess.run(machine.command, env=machine.env).returncode == 0
    assert machine.said() == ["begun", "no service is started", "ended"]
    assert not policy.exists()


def test_a_policy_of_ones_own_stays(machine):
    policy = machine.sbin / POLICY
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    assert subprocess.run(machine.command, env=machine.env).returncode == 0
    assert policy.exists()


def test_names_of_ubuntu():
    """What the quickstart installs has a name in Ubuntu 24.04, too."""
    known = {line for line in (ROOT / "tests/data/ubuntu-24.04.packages")
             .read_text().splitlines() if not line.startswith("#")}
    wanted = {"npm"}
    for line in (ROOT / "packages.txt").read_text().splitlines():
        groups, _, names = line.partition(" ")
        if {"build", "broker", "edge", "quickstart"} & set(groups.split(",")):
            wanted.add(names.strip())
    assert len(wanted) > 20
    for names in wanted:
        assert known & set(names.split("|")), \
            f"look {names} up, see tests/data/ubuntu-24.04.packages"


def test_no_such_group():
    r = subprocess.run([SCRIPT, "biuld"], text=True, capture_output=True)
    assert r.returncode == 1
    assert "packages.txt has no group biuld" in r.stderr
