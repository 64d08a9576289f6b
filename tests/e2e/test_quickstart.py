"""The quickstart and the README as a newcomer meets them."""

import http.server
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

from env.build import find

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
    """With a user in ClickHouse who has a password that URLs must escape."""
    base = free_ports(5)
    data = tmp_path_factory.mktemp("quick <start> & 'more'")
    users = data / "clickhouse/users.d"
    users.mkdir(parents=True)
    (users / "boss.xml").write_text("""<clickhouse><users><boss>
        <password>p@ss/w"\\d</password><networks><ip>127.0.0.1</ip></networks>
        <profile>default</profile><quota>default</quota>
        </boss></users></clickhouse>""")
    env = dict(os.environ, LOGBROKER_PORT=str(base),
               LOGBROKER_CLICKHOUSE_PORT=str(base + 4),
               LOGBROKER_DATA=str(data))
    return base, env


class Terminal:
    """A command at a terminal of its own."""

    def __init__(self, command, env, *args):
        self.text = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            # nohup and "&" leave them ignored
            for s in (signal.SIGINT, signal.SIGHUP):
                signal.signal(s, signal.SIG_DFL)
            os.execve(command, [str(command), *args], env)

    def until(self, words, timeout=300):
        """What it says from now on until then; all of it at its end."""
        end = time.monotonic() + timeout
        begin = len(self.text)
        while words is None or words not in self.text[begin:]:
            if not select.select([self.fd], [], [], 1)[0]:
                assert time.monotonic() < end, self.text
                continue
            try:
                more = os.read(self.fd, 65536)
            except OSError:  # its last process is gone
                assert words is None, self.text
                break
            self.text += more.decode().replace("\r\n", "\n")
        return self.text[begin:]

    def end(self, key):
        os.write(self.fd, key)
        self.until(None)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.fixture(scope="module")
def terminal(setup):
    """Up, as after ./quickstart.sh; ended by Ctrl-C."""
    base, env = setup
    terminal = Terminal(ROOT / "quickstart.sh", env)
    text = terminal.until("goes on with the data.")
    assert "Try it:" in text, text
    yield terminal
    # delivered although they have just come, and everything is gone
    for i in range(20):
        sh(f"curl -s -d 'the last ones {i}' -H 'Content-Type: text/plain' "
           "localhost:8080/log", base)
    assert terminal.end(b"\x03") == 130, terminal.text
    for port in range(base, base + 5):
        with socket.socket() as s:
            assert s.connect_ex(("127.0.0.1", port)) != 0, port
    for spool in spools(env):
        assert sum(r["backlog_events"] for r in stat(spool)["rings"]) == 0


@pytest.fixture
def quickstart(setup, terminal):
    return (*setup, terminal.text)


def spools(env):
    return sorted(pathlib.Path(env["LOGBROKER_DATA"]).glob("broker-*/spool"))


def stat(spool):
    return json.loads(subprocess.run(
        [find("logbroker-spool"), "stat", "--json", spool],
        check=True, capture_output=True).stdout)


def sh(command, base):
    command = command.replace("localhost:8080", f"localhost:{base}")
    command = command.replace("localhost:8123", f"localhost:{base + 4}")
    return subprocess.run(["bash", "-c", command], cwd=ROOT, text=True,
                          capture_output=True, timeout=60)


def test_summary(quickstart):
    base, _, text = quickstart
    assert "every event arrived exactly once" in text
    root, status = f"http://localhost:{base}/", \
        f"http://localhost:{base + 3}/cluster"
    for url in (root, status):
        assert url == root or f"  {url}\n" in text
        r = sh(f"curl -fsS -H 'Accept: text/html' {url}", base)
        assert "<title>logbroker</title>" in r.stdout
        assert url == status or f'href="{status}"' in r.stdout
    brokers = json.loads(sh(f"curl -fsS {status}", base).stdout)["brokers"]
    assert [b["status"]["flusher"]["broker"] for b in brokers] == [
        "broker-1", "broker-2"]


def questions(base):
    """Of the page of the logs: who asks, what there is, and a try to change
    it; base is the edge's own port."""
    ask = (f"curl -sS -H 'X-Requested-With: logbroker' "
           f"localhost:{base}/logs/query -d ")
    return [sh(ask + f'"{sql}"', base).stdout for sql in (
        "SELECT currentUser()",
        "SELECT count() >= 1000 FROM logbroker.logs "
        "WHERE stream LIKE 'quickstart-%'",
        "TRUNCATE TABLE logbroker.logs")]


def test_the_page_of_the_logs(quickstart):
    base, _, text = quickstart
    assert f"  http://localhost:{base + 3}/logs\n" in text
    page = sh(f"curl -fsS localhost:{base + 3}/logs", base).stdout
    assert "<title>logs" in page
    who, there, refused = questions(base + 3)
    assert (who, there) == ("reader\n", "1\n") and "ACCESS_DENIED" in refused


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


def process(env, words):
    """The pid of the quickstart's process with these words in its command,
    which may be about to start."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        for p in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                command = (p / "cmdline").read_bytes().decode()
            except (OSError, UnicodeDecodeError):
                continue
            if words in command and env["LOGBROKER_DATA"] in command:
                return int(p.name)
        time.sleep(0.1)
    raise AssertionError(words)


def test_what_dies_is_started_again(setup, terminal):
    """ClickHouse, a flusher, a master, the edge and a worker, by kill -9."""
    base, env = setup
    count = "SELECT count() FROM logbroker.logs WHERE stream = 'killed'"
    for n, (words, name) in enumerate((
            ("/clickhouse/", "clickhouse"),
            ("broker-2/flusher.json", "flusher-2"),
            ("broker-1/nginx.conf", "broker-1"),
            ("broker-1/nginx.conf", "broker-1"),  # and at once again
            ("broker-1/nginx.conf", "broker-1"),
            ("edge/nginx.conf", "edge"))):
        os.kill(process(env, words), signal.SIGKILL)
        assert f"{name} has ended by signal KILL: starting it again" in \
            terminal.until("starting it again")
        posted = sh("curl -sf --retry 20 --retry-delay 1 --retry-all-errors "
                    f"-H 'Idempotency-Key: {n}' -d '{{\"n\":{n}}}' "
                    "localhost:8080/log/killed", base)
        assert posted.returncode == 0, posted.stderr
    master = process(env, "broker-2/nginx.conf")
    worker = pathlib.Path(f"/proc/{master}/task/{master}/children").read_text()
    os.kill(int(worker.split()[0]), signal.SIGKILL)
    terminal.until("nginx has started another")
    end = time.monotonic() + 60
    while sh(f'curl -s localhost:8123 -d "{count}"', base).stdout != "6\n":
        assert time.monotonic() < end
        time.sleep(0.2)
    assert "Killed" not in terminal.text  # bash's own word


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


URL = "the URL of ClickHouse must be like http://host:8123 or https://user:"


@pytest.fixture(scope="module")
def silent():
    """Ports: one whose queue is full, one that takes connections."""
    full = socket.create_server(("127.0.0.1", 0), backlog=0)
    waiting = []
    for _ in range(3):
        waiting.append(socket.socket())
        waiting[-1].setblocking(False)
        waiting[-1].connect_ex(full.getsockname())
    with full, socket.create_server(("127.0.0.1", 0)) as deaf:
        yield {"@FULL@": str(full.getsockname()[1]),
               "@SILENT@": str(deaf.getsockname()[1])}
    for s in waiting:
        s.close()


@pytest.mark.parametrize("settings, words", [
    ({"LOGBROKER_PORT": "eighty"},
     'LOGBROKER_PORT is "eighty": it must be a number from 1 to 65532'),
    ({"LOGBROKER_PORT": "65535"}, "it must be a number from 1 to 65532"),
    ({"LOGBROKER_PORT": "99999"}, "it must be a number from 1 to 65532"),
    ({"LOGBROKER_CLICKHOUSE_PORT": "0"}, "it must be a number from 1 to 65535"),
    ({"LOGBROKER_PORT": "8122"}, "8122 to 8125 are the edge's"),
    ({"LOGBROKER_PORT": "08080"}, "it must be a number from 1 to 65532"),
    ({"LOGBROKER_BROKERS": "17"}, "it must be a number from 1 to 16"),
    ({"LOGBROKER_DATA": "/proc/nothing"},
     'LOGBROKER_DATA is "/proc/nothing": it cannot be made'),
    ({"LOGBROKER_CLICKHOUSE_URL": "http://u:secret@127.0.0.1:1"},
     "no answer from ClickHouse at http://127.0.0.1:1: curl: (7)"),
    ({"LOGBROKER_CLICKHOUSE_URL": "http://u:secret@nowhere.invalid:8123/"},
     "Could not resolve host"),
    ({"LOGBROKER_CLICKHOUSE_URL": "127.0.0.1:@CLICKHOUSE@/play"},
     "no answer from ClickHouse"),
    ({"LOGBROKER_CLICKHOUSE_URL": "http://u:secret@127.0.0.1:@CLICKHOUSE@"},
     "Authentication failed"),
    ({"LOGBROKER_CLICKHOUSE_URL": "http://127.0.0.1:@EDGE@"},
     "no answer from ClickHouse"),
    # nobody takes the connection, nobody answers
    ({"LOGBROKER_CLICKHOUSE_URL": "http://u:secret@127.0.0.1:@FULL@"},
     "no answer from ClickHouse at http://127.0.0.1:"),
    ({"LOGBROKER_CLICKHOUSE_URL": "http://u:secret@127.0.0.1:@SILENT@"},
     "no answer from ClickHouse at http://127.0.0.1:"),
    # not escaped
    ({"LOGBROKER_CLICKHOUSE_URL": "http://u:not@secret@127.0.0.1:1"}, URL),
    ({"LOGBROKER_CLICKHOUSE_URL": "http://u:no/secret@127.0.0.1:1"}, URL),
    ({"LOGBROKER_CLICKHOUSE_URL": "http://127.0.0.1:1/?password=secret"}, URL),
    ({"LOGBROKER_CLICKHOUSE_URL": "tcp://127.0.0.1:9000"}, URL),
    ({"LOGBROKER_CLICKHOUSE_URL": "http://"}, URL),
])
def test_wrong_settings(quickstart, silent, tmp_path, settings, words):
    """Said at once, before anything is built, and without the password."""
    base, _, _ = quickstart
    fill = {"@CLICKHOUSE@": str(base + 4), "@EDGE@": str(base), **silent}
    for name, value in settings.items():
        for old, new in fill.items():
            value = value.replace(old, new)
        settings[name] = value
    env = {k: v for k, v in os.environ.items()
           if not k.startswith("LOGBROKER_") or k == "LOGBROKER_CHDB_DIR"}
    begun = time.monotonic()
    r = subprocess.run([ROOT / "quickstart.sh", "--once"], text=True,
                       env={**env, "LOGBROKER_PORT": str(free_ports(4)),
                            "LOGBROKER_DATA": str(tmp_path), **settings},
                       capture_output=True, timeout=60)
    assert r.returncode == 1
    assert words in r.stderr, r.stderr
    assert "building" not in r.stdout and "secret" not in r.stdout + r.stderr
    assert "the logs are in" not in r.stderr
    assert time.monotonic() - begun < 20


def test_old_server(tmp_path):
    """Debian's own is named as too old."""
    with Old() as server:
        r = subprocess.run(
            [ROOT / "quickstart.sh", "--once"], text=True, timeout=60,
            capture_output=True, env={
                **os.environ, "LOGBROKER_PORT": str(free_ports(4)),
                "LOGBROKER_DATA": str(tmp_path),
                "LOGBROKER_CLICKHOUSE_URL":
                    f"http://127.0.0.1:{server.server_port}"})
    assert r.returncode == 1
    assert "is 18.16.1, too old: it must be 24.8 or newer" in r.stderr


class Old(http.server.HTTPServer):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"18.16.1\n")

        def log_message(self, *_):
            pass

    def __init__(self):
        super().__init__(("127.0.0.1", 0), self.Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __exit__(self, *exc):
        self.shutdown()
        super().__exit__(*exc)


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


@pytest.mark.parametrize("login, user", [
    ("boss:p%40ss%2Fw%22%5Cd@", "boss"), ("", "default")])
def test_server_of_ones_own(quickstart, tmp_path, login, user):
    """LOGBROKER_CLICKHOUSE_URL: no server is started; the user in it is the
    flushers', too, and the page's, who changes nothing there."""
    base, env, _ = quickstart
    port = free_ports(4)
    terminal = Terminal(ROOT / "quickstart.sh", dict(
        env, LOGBROKER_PORT=str(port), LOGBROKER_DATA=str(tmp_path),
        LOGBROKER_BROKERS="1", LOGBROKER_CLICKHOUSE_URL=
        f"http://{login}127.0.0.1:{base + 4}/"))
    try:
        out = terminal.until("goes on with the data.")
        assert f"  http://localhost:{port + 2}/logs\n" in out
        who, there, refused = questions(port + 2)
    finally:
        terminal.end(b"\x03")
    assert (who, there) == (f"{user}\n", "1\n") and "READONLY" in refused
    assert "starting ClickHouse" not in out
    assert "broker 2" not in out
    assert "p%40ss" not in out
    settings = (tmp_path / "broker-1/flusher.json").read_text()
    named = {"user": "boss", "password_file": str(tmp_path / "password")}
    assert json.loads(settings)["clickhouse"] == {
        "urls": [f"http://127.0.0.1:{base + 4}"], **(named if login else {})}
    for name in ("password", "reader_password") if login else ():
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
        assert (tmp_path / name).read_text() == "p@ss/w\"\\d\n"


def test_second_run_goes_on(tmp_path):
    """After a kill -9, too."""
    base = free_ports(5)
    env = dict(os.environ, LOGBROKER_PORT=str(base),
               LOGBROKER_CLICKHOUSE_PORT=str(base + 4),
               LOGBROKER_DATA=str(tmp_path))
    first = Terminal(ROOT / "quickstart.sh", env)
    assert "logbroker.logs: 0 before, 1000 now" in first.until(
        "goes on with the data.")
    os.kill(first.pid, signal.SIGKILL)
    os.waitpid(first.pid, 0)
    second = once(env)
    assert "ending what a quickstart left behind that was killed" in second
    assert "logbroker.logs: 1000 before, 2000 now" in second
    os.close(first.fd)


def test_no_registry(silent, tmp_path):
    """The way out is named; a Ctrl-C need not wait for npm."""
    env = dict(os.environ, LOGBROKER_CHDB_DIR=str(tmp_path))
    if not shutil.which("npm") or shutil.which("clickhouse"):
        pytest.skip("nothing would be fetched")
    fetch = ROOT / "tools/clickhouse/clickhouse.sh"
    r = subprocess.run([fetch, "--fetch"], text=True, capture_output=True,
                       env={**env, "NPM_CONFIG_REGISTRY": "http://127.0.0.1:1"},
                       timeout=60)
    assert r.returncode == 1
    assert "ECONNREFUSED" in r.stderr and "LOGBROKER_CLICKHOUSE_URL" in r.stderr
    terminal = Terminal(fetch, {
        **env, "NPM_CONFIG_REGISTRY": f"http://127.0.0.1:{silent['@SILENT@']}"},
        "--fetch")
    time.sleep(1.5)
    begun = time.monotonic()
    assert terminal.end(b"\x03") != 0
    assert time.monotonic() - begun < 5


def test_room_for_one_ring_only(quickstart, tmp_path):
    """It does not end all green, and says what is missing."""
    base, env, _ = quickstart
    data = tmp_path / "small disk"
    data.mkdir()
    p = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100m", "none",
                        data], capture_output=True, text=True, check=False)
    if p.returncode != 0:
        pytest.skip(f"cannot mount: {p.stderr.strip()}")
    try:
        r = subprocess.run(
            [ROOT / "quickstart.sh", "--once"], text=True, timeout=120,
            capture_output=True, env=dict(
                env, LOGBROKER_PORT=str(free_ports(4)),
                LOGBROKER_DATA=str(data), LOGBROKER_BROKERS="1",
                LOGBROKER_CLICKHOUSE_URL=f"http://127.0.0.1:{base + 4}"))
    finally:
        subprocess.run(["umount", data], check=True)
    assert r.returncode == 1
    # both, while they are in each other's way
    assert re.search("[12] of 2 workers take no events, they have no ring",
                     r.stderr), r.stderr
    # who of both is asked knows why, or where that is said
    assert "No space left on device" in r.stderr or "error log" in r.stderr
    assert "exactly once" not in r.stdout
