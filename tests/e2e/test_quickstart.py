"""The quickstart and the README as a newcomer meets them."""

import os
import pathlib
import re
import signal
import socket
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()

pytestmark = [pytest.mark.slow, pytest.mark.release_only]


def free_ports(n):
    """n neighbouring ports that are free now."""
    for base in range(21000, 29000, 20):
        taken = []
        for port in range(base, base + n):
            with socket.socket() as s:
                taken.append(s.connect_ex(("127.0.0.1", port)) == 0)
        if not any(taken):
            return base
    raise AssertionError("no free ports")


@pytest.fixture(scope="module")
def setup(tmp_path_factory):
    base = free_ports(5)
    env = dict(os.environ, LOGBROKER_PORT=str(base),
               LOGBROKER_CLICKHOUSE_PORT=str(base + 4),
               LOGBROKER_DATA=str(tmp_path_factory.mktemp("quickstart")))
    return base, env


@pytest.fixture(scope="module")
def quickstart(setup):
    """Up, as after ./quickstart.sh; ended by Ctrl-C."""
    base, env = setup
    p = subprocess.Popen([ROOT / "quickstart.sh"], env=env, text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         start_new_session=True)
    lines = []
    for line in p.stdout:
        lines.append(line)
        if line.startswith("Logs:"):
            break
    text = "".join(lines)
    assert "Try it:" in text, text
    yield base, env, text
    os.killpg(p.pid, signal.SIGINT)
    rest = p.stdout.read()
    assert p.wait(60) == 130, rest
    for port in range(base, base + 5):
        with socket.socket() as s:
            assert s.connect_ex(("127.0.0.1", port)) != 0, port


def sh(command, base):
    command = command.replace("localhost:8080", f"localhost:{base}")
    command = command.replace("localhost:8123", f"localhost:{base + 4}")
    return subprocess.run(["bash", "-c", command], cwd=ROOT, text=True,
                          capture_output=True, timeout=60)


def test_summary(quickstart):
    _, _, text = quickstart
    assert "every event arrived exactly once" in text
    assert "localhost:" in text


def test_try_it(quickstart):
    """The two curl lines of the README, as typed."""
    base, _, _ = quickstart
    post, count = re.search(r"While it runs:\n\n```sh\n(.*)\n(.*)\n```",
                            README).groups()
    before = int(sh(count, base).stdout)
    assert sh(post, base).returncode == 0
    end = time.monotonic() + 15
    while int(sh(count, base).stdout) != before + 1:
        assert time.monotonic() < end
        time.sleep(0.1)


def test_api_examples(quickstart):
    """Every example of the API section, with the status it is said to get."""
    base, _, _ = quickstart
    section = README[README.index("## API"):]
    block = re.search(r"```sh\n(.*?)```", section, re.S).group(1)
    examples = re.findall(r"# (\d+)(.*)\n(.*)\n", block)
    assert len(examples) >= 8
    for status, words, command in examples:
        r = sh(command.replace("curl ", "curl -s -w '\\n%{http_code}' ", 1),
               base)
        body, got = r.stdout.rsplit("\n", 1)
        assert got == status, (command, r.stdout)
        if words:
            assert words.strip() in body, (command, body)


def test_error_example(quickstart):
    """The error the README prints is the one the module gives."""
    base, _, _ = quickstart
    shown = re.search(r"An error says where: `(.*?)`\.", README).group(1)
    r = sh("curl -s -d '{\"level\":\"info\" \"message\":\"hi\"}' "
           "localhost:8080/log", base)
    assert r.stdout.strip() == shown


def test_same_data_in_use(quickstart):
    _, env, _ = quickstart
    r = subprocess.run([ROOT / "quickstart.sh", "--once"], env=env, text=True,
                       capture_output=True, timeout=300)
    assert r.returncode == 1
    assert "another quickstart uses" in r.stderr


def test_taken_port(quickstart, tmp_path):
    base, env, _ = quickstart
    r = subprocess.run([ROOT / "quickstart.sh", "--once"],
                       env=dict(env, LOGBROKER_DATA=str(tmp_path)), text=True,
                       capture_output=True, timeout=300)
    assert r.returncode == 1
    assert f"port {base} on 127.0.0.1 is taken" in r.stderr


def test_help():
    r = subprocess.run([ROOT / "quickstart.sh", "--help"], text=True,
                       capture_output=True, timeout=30)
    assert r.returncode == 0
    for name in ("LOGBROKER_PORT", "LOGBROKER_CLICKHOUSE_PORT",
                 "LOGBROKER_DATA", "LOGBROKER_BROKERS",
                 "LOGBROKER_CLICKHOUSE_URL", "--once"):
        assert name in r.stdout


def once(env):
    r = subprocess.run([ROOT / "quickstart.sh", "--once"], text=True,
                       timeout=300, capture_output=True, env=env)
    assert r.returncode == 0, r.stdout + r.stderr
    return r.stdout


def test_server_of_ones_own(quickstart, tmp_path):
    """LOGBROKER_CLICKHOUSE_URL: no server is started."""
    base, env, _ = quickstart
    out = once(dict(env, LOGBROKER_PORT=str(free_ports(3)),
                    LOGBROKER_DATA=str(tmp_path), LOGBROKER_BROKERS="1",
                    LOGBROKER_CLICKHOUSE_URL=f"http://127.0.0.1:{base + 4}"))
    assert "starting ClickHouse" not in out
    assert "broker 2" not in out


def test_second_run_goes_on(tmp_path):
    base = free_ports(5)
    env = dict(os.environ, LOGBROKER_PORT=str(base),
               LOGBROKER_CLICKHOUSE_PORT=str(base + 4),
               LOGBROKER_DATA=str(tmp_path))
    assert "logbroker.logs: 0 before, 1000 now" in once(env)
    assert "logbroker.logs: 1000 before, 2000 now" in once(env)
