"""The commands of the pages, as they stand there, on a broker that runs: what
is not run here is run by a test of its own or needs a cloud, and is listed
below with the reason."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import time

import pytest

from env.broker import FAST, Broker
from env.build import ROOT, find
from env.clickhouse import ClickHouse
from env.http import post
from env.nginx import Nginx
from env.process import wait_for

# page: where its commands are run, if not here
ELSEWHERE = {
    "README.md": "test_quickstart.py and tests/packages",
    "CONTRIBUTING.md": "tests/run.sh, .ci/run",
    "docs/access.md": "test_edge_senders.py, tests/deploy/test_senders.py",
    "docs/backups.md": "test_backups.py",
    "docs/ansible.md": "tests/deploy/ansible.sh; ssh needs machines",
    "docs/deploy-terraform.md": "tests/deploy/terraform.sh; yc needs a cloud",
    "docs/deploy.md": "tests/deploy; yc needs a cloud",
    "docs/explore.md": "test_edge_readers.py",
    "docs/packages.md": "tests/packages/run.sh",
    "docs/senders.md": "tests/clients/run.sh, test_shippers.py",
    "docs/queries.md": "test_queries.py",
    "docs/tls.md": "test_edge_tls.py, with its own commands",
}
HERE = {"docs/directives.md", "docs/flusher.md", "docs/operations.md",
        "docs/status.md"}


def text(page):
    return (ROOT / page).read_text()


def blocks(page, language="sh"):
    return re.findall(rf"```{language}\n(.*?)```", text(page), re.S)


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    base = tmp_path_factory.mktemp("docs")
    with ClickHouse(base / "clickhouse") as server:
        server.query("ALTER TABLE logbroker.logs ADD CONSTRAINT taste "
                     "CHECK message != 'bad'")
        b = Broker(base / "broker", [server.url], workers=1, flusher=FAST)
        b.conf.write_text(b.conf.read_text().replace(
            "location = /status",
            "location = /metrics { logbroker_status metrics; }\n"
            "location = /status"))
        b.start()
        b.server = server
        (b.dir / "app.log").write_text("one\ntwo\n")
        (b.dir / "events.ndjson").write_text('{"a":1}\n{"a":2}\n')
        yield b
        b.stop()


def run(broker, command, **kwargs):
    """As typed by somebody on the broker's machine."""
    for theirs, ours in (("localhost:8080", f"localhost:{broker.port}"),
                         ("localhost:8081", f"localhost:{broker.port}"),
                         ("/var/spool/logbroker", str(broker.spool)),
                         (" SPOOL", f" {broker.spool}"),
                         ("/etc/logbroker/flusher.json",
                          str(broker.settings))):
        command = command.replace(theirs, ours)
    path = ":".join([*{os.path.dirname(find(p)) for p in (
        "logbroker-spool", "logbroker-flusher")}, os.environ["PATH"]])
    return subprocess.run(["bash", "-c", command], cwd=broker.dir, text=True,
                          capture_output=True, timeout=60,
                          env=dict(broker.env, PATH=path), **kwargs)


def test_every_page_is_known():
    """A page with commands is run here, or it is said where."""
    pages = {"README.md", "CONTRIBUTING.md",
             *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))}
    with_commands = {p for p in pages if blocks(p)}
    assert with_commands == HERE | ELSEWHERE.keys() - {"docs/queries.md"}
    # and every link between the pages leads somewhere
    for page in pages:
        for link in re.findall(r"\]\(([^)#\s]+)", text(page)):
            if "://" not in link:
                target = (ROOT / page).parent / link
                assert target.exists(), (page, link)


def test_directives(broker):
    lines = blocks("docs/directives.md")[0].splitlines()
    assert len(lines) == 3
    for line in lines:
        r = run(broker, line.replace("curl ", "curl -sS -w '%{http_code}' "))
        assert r.stdout == "204", (line, r)


@pytest.mark.parametrize("block", blocks("docs/directives.md", "nginx"))
def test_configurations(tmp_path, block):
    """Every example is a configuration that nginx takes."""
    if "load_module" in block:
        body = block[block.index("{") + 1:block.rindex("}")]
    elif "server {" in block:
        body = block
    else:
        body = f"{block}\nserver {{ listen 1; }}"
    n = Nginx(tmp_path, directives="", http="")
    conf = n.conf.read_text()
    head = conf[:conf.index("http {")]
    body = re.sub(r"logbroker_spool \S+", f"logbroker_spool {tmp_path}/spool",
                  body)
    body = body.replace("http://app", "http://127.0.0.1:1")
    body = re.sub(r"listen (\d+)", f"listen 127.0.0.1:{n.port}", body)
    n.conf.write_text(f"{head}\nhttp {{\n{body}\n}}\n")
    status, said = n.test_conf()
    assert status == 0, said


def test_status(broker):
    lines = blocks("docs/status.md")[0].splitlines()
    answers = [run(broker, line.replace("curl ", "curl -sS ")).stdout
               for line in lines]
    assert json.loads(answers[0])["rings"]
    assert "logbroker_build_info" in answers[1]
    assert "<html" in answers[2]
    assert "logbroker_build_info" in answers[3]
    assert json.loads(answers[4]).keys() <= {
        "step", "end", "in", "out", "backlog", "lag_ms", "requests"}


def test_flusher(broker):
    _, check = blocks("docs/flusher.md")[0].splitlines()
    # this table's constraint is not what stops exactly once; the flusher that
    # serves the spool has to have looked at it
    r = wait_for(lambda: (r := run(broker, check)).returncode != 4 and r,
                 60, "a look")
    assert r.returncode == 0 and '"spool"' in r.stdout, r


def test_table_and_user_of_the_packages(broker, tmp_path):
    """As docs/packages.md has it: the table, a password, the user's file."""
    block = next(b for b in blocks("docs/packages.md") if "apply.sh" in b)
    for theirs, ours in (
            ("/usr/share/logbroker/clickhouse/apply.sh",
             ROOT / "tools/clickhouse/apply.sh"),
            ("/usr/share/logbroker/clickhouse", ROOT / "conf/clickhouse"),
            ("http://clickhouse:8123", broker.server.url),
            ("root:logbroker", f"{os.getuid()}:{os.getgid()}"),
            ("/etc/logbroker/password", tmp_path / "password")):
        assert theirs in block
        block = block.replace(theirs, str(ours))
    subprocess.run(["bash", "-ec", block], cwd=tmp_path, check=True)
    password = (tmp_path / "password").read_text().strip()
    assert len(password) == 24
    made = (tmp_path / "logbroker.xml").read_text()
    assert hashlib.sha256(password.encode()).hexdigest() in made
    # for the rest it is the user that this server has
    user = re.search(r"<logbroker>.*</logbroker>", made, re.S)[0].replace(
        hashlib.sha256(password.encode()).hexdigest(),
        hashlib.sha256(broker.server.password.encode()).hexdigest())
    assert user in (broker.server.dir / "users.xml").read_text()


def test_settings_of_the_flusher():
    """One table in the code: what is read, --check's print, and the page."""
    table = subprocess.run([find("logbroker-flusher"), "--settings"],
                           capture_output=True, text=True, check=True).stdout
    assert table.count("\n") > 20
    assert table in text("docs/flusher.md"), \
        "put what logbroker-flusher --settings prints into docs/flusher.md"


MANUALS = {"logbroker-flusher": "man/logbroker-flusher.8.in",
           "logbroker-spool": "man/logbroker-spool.1.in"}


def manual(page):
    """Sections of a manual page, as they are read."""
    r = subprocess.run(["groff", "-man", "-Tascii", "-P-cbou"], text=True,
                       input=".ll 10i\n.hy 0\n" + text(page), capture_output=True,
                       check=True)
    parts = re.split(r"^([A-Z][A-Z ]+)$", r.stdout, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


def options(words):
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", words))


@pytest.mark.skipif(not shutil.which("groff"), reason="no groff")
@pytest.mark.parametrize("program", MANUALS)
def test_manual_and_help_agree(program):
    """Options, their letters and exit statuses are the same in both, and the
    commands of logbroker-spool with what each needs."""
    page = manual(MANUALS[program])
    r = subprocess.run([find(program), "--help"], text=True,
                       capture_output=True, check=True)
    told, _, statuses = r.stdout.partition("Exit status:")
    assert options(page["OPTIONS"]) == options(told)
    pair = r"(?<![\w-])(-[a-zA-Z]), (--[a-z-]+)"
    assert set(re.findall(pair, page["OPTIONS"])) == \
        set(re.findall(pair, told))
    status = r"^ +(\d) +\S"
    assert re.findall(status, page["EXIT STATUS"], re.M) == \
        re.findall(status, statuses, re.M) != []
    if program == "logbroker-spool":
        command = r"^ {2,8}((?:dead )?[a-z]+)(?= +\S|$)"
        theirs = dict.fromkeys(re.findall(command, told.split("\n\n", 1)[1]
                                          .split("LETTER")[0], re.M))
        ours = dict.fromkeys(re.findall(r"^ {7}((?:dead )?[a-z]+)(?: |$)",
                                        page["COMMANDS"], re.M))
        assert theirs.keys() <= ours.keys(), (theirs, ours)
        needs = r"[Nn]eeds (--[^.;]*)"
        assert [sorted(options(x)) for x in re.findall(needs, told)] == \
            [sorted(options(x)) for x in re.findall(
                needs, " ".join(page["COMMANDS"].split()))]
    # no other page has another number
    for number in re.findall(status, statuses, re.M):
        if program == "logbroker-flusher":
            codes = re.search(r"Exit codes: (.*)", text("docs/flusher.md"))[1]
            assert re.search(rf"\b{number} ", codes), number


@pytest.mark.skipif(not shutil.which("groff"), reason="no groff")
@pytest.mark.parametrize("program", MANUALS)
def test_examples_of_the_manual(broker, program):
    """As they stand there; what starts a service is for tests/packages."""
    page = manual(MANUALS[program])
    lines = re.findall(rf"^ {{8,}}({program} .*)", page["EXAMPLES"], re.M)
    assert len(lines) >= 3
    count = "SELECT count() FROM logbroker.logs WHERE message = 'example'"
    assert post(broker.port, '{"message":"example"}')[0] == 204
    wait_for(lambda: broker.server.query(count) != "0\n", 60, "delivery")
    for line in lines:
        if line.endswith("flusher.json"):
            continue  # it serves
        if program == "logbroker-spool" and line.endswith(" all"):
            set_aside(broker)
        r = wait_for(lambda: (r := run(broker, line)).returncode != 4 and r,
                     60, line)
        assert r.returncode == 0, (line, r)


def set_aside(broker):
    """A dead letter; its number."""
    assert post(broker.port, '{"message":"good"}\n{"message":"bad"}')[0] == 204

    def letters():
        r = run(broker, "logbroker-spool dead list --json SPOOL")
        return [d["letter"] for d in map(json.loads, r.stdout.splitlines())
                if d["state"] == "open"]
    return wait_for(letters, 60, "a dead letter", every=0.1)[0]


@pytest.mark.slow
@pytest.mark.release_only
@pytest.mark.parametrize("page", ["docs/flusher.md", "docs/operations.md"])
def test_dead_letters(broker, page):
    lines = next(b for b in blocks(page) if "dead list" in b).splitlines()
    letter = set_aside(broker)
    lines = [re.sub(r"\b4096\b|\bLETTER\b", str(letter), x) for x in lines]
    kept = [x for x in lines if "replay" not in x and not x.startswith("#")]
    for line in kept:
        r = run(broker, line)
        assert r.returncode == 0, (line, r)
    assert "done" in run(broker, kept[0]).stdout
    letter = set_aside(broker)
    replay = next(x for x in lines if "replay" in x)
    broker.server.query("ALTER TABLE logbroker.logs DROP CONSTRAINT taste")
    assert run(broker, replay).returncode == 0
    wait_for(lambda: broker.server.query(
        "SELECT count() FROM logbroker.logs WHERE message = 'bad'") != "0\n",
        60, "the replayed event")
    broker.server.query("TRUNCATE TABLE logbroker.logs")
    broker.server.query("ALTER TABLE logbroker.logs ADD CONSTRAINT taste "
                        "CHECK message != 'bad'")


def test_first_look(broker):
    lines = blocks("docs/operations.md")[0].splitlines()
    for line in lines:
        if "journalctl" not in line:  # needs the package's service
            r = run(broker, line)
            assert r.returncode == 0 and r.stdout, (line, r)


def test_move_and_adopt(broker):
    """On a spool that is where it was: nothing to do, nothing to drop."""
    move, look, adopt = next(b for b in blocks("docs/operations.md")
                             if "spool move" in b).splitlines()
    wait_for(broker.drained, 60, "delivery", every=0.1)
    assert "nothing to do" in run(broker, move).stdout
    assert "--yes" in run(broker, look).stdout or \
        "dead letters" in run(broker, look).stderr
    assert run(broker, adopt).returncode == 1  # it is in use


def test_recover(broker):
    """As they stand there; under a flusher they are refused. What they do is
    test_recover.py's."""
    for line in next(b for b in blocks("docs/operations.md")
                     if "spool recover" in b).splitlines():
        r = run(broker, line)
        assert r.returncode == 1 and "a flusher serves" in r.stderr, (line, r)


def test_replay(broker):
    """The commands after a restored backup."""
    block = re.search(r"```\n(logbroker-spool cat --delivered.*?)```",
                      text("docs/operations.md"), re.S).group(1)
    post(broker.port, '{"message":"delivered"}')
    wait_for(broker.drained, 60, "delivery", every=0.1)
    ago = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() - 3600))
    cat, by_time, by_seq = block.splitlines()
    shown = run(broker, cat.replace("2026-11-23 10:00:00", ago))
    first = json.loads(shown.stdout)
    slot = broker.status()["worker"]["slot"]
    for line in (by_time.replace("2026-11-23 10:00:00", ago),
                 re.sub(r"--ring 0 --seq \S+",
                        f"--ring {slot} --seq {first['seq']}", by_seq)):
        r = run(broker, line)
        assert r.returncode == 0 and "delivered again" in r.stdout, (line, r)
    wait_for(broker.drained, 60, "the replayed events", every=0.1)
