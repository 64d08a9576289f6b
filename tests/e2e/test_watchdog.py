"""logbroker-flusher --watchdog: one that hangs is ended, whatever it hangs at,
for those who start again what has ended."""

import os
import signal
import subprocess
import time

import pytest

from env.broker import AT_ONCE, NOWHERE, Broker, figures
from env.build import find
from env.clickhouse import ClickHouse
from env.http import post
from env.process import Process, alive, children, wait_for


@pytest.fixture
def broker(tmp_path):
    b = Broker(tmp_path / "b", [NOWHERE], workers=1, flusher=AT_ONCE)
    b.start_nginx()
    yield b
    b.stop()


def start(broker, seconds=5):
    broker.flusher = Process(
        "watched", [find("logbroker-flusher"), "--config",
                    str(broker.settings), "--watchdog", str(seconds)],
        broker.dir / "flusher.log", broker.env)
    return wait_for(lambda: children(broker.flusher.pid), what="a child")[0]


def test_hangs(broker, tmp_path):
    """It is killed, its parent ends with 1, and the next one delivers."""
    child = start(broker)
    wait_for(lambda: figures(broker).get("pid") == child, what="figures")
    time.sleep(7)
    assert broker.flusher.running()  # one that is well stays, without ClickHouse
    assert post(broker.port, '{"hangs":1}')[0] == 204
    os.kill(child, signal.SIGSTOP)
    assert broker.flusher.p.wait(30) == 1
    assert not alive(child)
    log = (broker.dir / "flusher.log").read_text()
    assert "no sign of life of the flusher for 5 s: it is killed" in log
    with ClickHouse(tmp_path / "clickhouse") as server:
        text = broker.settings.read_text()
        broker.settings.write_text(text.replace(NOWHERE, server.url))
        start(broker)
        wait_for(broker.drained, 60, "delivery", every=0.1)
        assert server.query("SELECT count() FROM logbroker.logs") == "1\n"


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT,
                                 signal.SIGQUIT])
def test_signals_are_passed_on(broker, sig):
    child = start(broker)
    wait_for(lambda: figures(broker).get("pid") == child, what="figures")
    broker.flusher.signal(signal.SIGHUP)
    log = broker.dir / "flusher.log"
    wait_for(lambda: "configuration reloaded" in log.read_text(),
             what="a reload")
    broker.flusher.signal(sig)
    assert broker.flusher.p.wait(30) == 0
    assert "stopped;" in log.read_text()


def test_does_not_outlive_its_parent(broker):
    child = start(broker)
    wait_for(lambda: figures(broker).get("pid") == child, what="figures")
    broker.flusher.kill()
    wait_for(lambda: not alive(child), 10, "the child to end")


def test_its_end_is_told(broker):
    child = start(broker)
    wait_for(lambda: figures(broker).get("pid") == child, what="figures")
    os.kill(child, signal.SIGKILL)
    assert broker.flusher.p.wait(10) == -signal.SIGKILL


@pytest.mark.parametrize("value", ["0", "4", "x", "5s", "-1", ""])
def test_no_such_time(broker, value):
    p = subprocess.run(
        [find("logbroker-flusher"), "--config", str(broker.settings),
         "--watchdog", value], text=True, capture_output=True, check=False)
    assert p.returncode == 2
    assert "--watchdog must be 5 to 86400 seconds" in p.stderr
