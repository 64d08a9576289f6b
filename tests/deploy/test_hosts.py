"""A whole life of the service on throw-away machines (hosts.py), in order: each
test goes on where the one before it left them.

Run by ansible.sh.  With --keep and -s the machines stay at the end until Enter,
for a look around; a later run removes them otherwise.
"""

import fcntl
import json
import pathlib
import re
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading

import pytest

from env.acme import Authority
from env.http import post
from env.oracle import Oracle
from env.process import wait_for
from env.s3 import Bucket

from hosts import (BAD, EDGE, HOSTS, INTERNET, METADATA, NAME, NEW, OLD, ROOT,
                   ClickHouse, Cloud, Machines, Rotation, address, boots,
                   changed, commands, confined, drained, images, inside, run,
                   running, say, typed)


@pytest.fixture(scope="module")
def machines(request):
    """Bare machines, with what is around them."""
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("ended", 1))
    lock = open(f"/run/lock/{NAME}", "w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pytest.exit("another run of this test is under way: wait for its end", 1)
    directory = pathlib.Path(tempfile.mkdtemp(prefix=f"{NAME}-"))
    try:
        with Cloud(directory) as cloud:
            say("images")
            images(cloud)
            say("machines")
            m = Machines(cloud)
            m.serves = False
            try:
                m.make()
                yield m
            finally:
                m.close()
            if request.session.testsfailed and m.log.exists():
                shutil.copy(m.log, ROOT / "build/ansible.log")
                say("the playbooks' output: build/ansible.log")
            if request.config.getoption("keep"):
                input(f"Inventory and logs: {directory}. Enter ends it.")
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def service(machines):
    """The machines, once they serve."""
    if not machines.serves:
        pytest.skip("there is no running service")
    return machines


@pytest.fixture(scope="module")
def clickhouse():
    return ClickHouse()


def test_reached_through_the_jump_host_alone(machines):
    """Inside machines are reached through the jump host alone."""
    r = machines.ssh("-o", "ConnectTimeout=10", f"ops@{address('broker-1')}",
                     "true", check=False)
    assert r.returncode != 0, "broker-1 let us in"
    machines.ssh("-o", "ConnectTimeout=10", "-J", f"ops@{address('jump')}",
                 f"ops@{address('broker-1')}", "true")


def test_check_of_bare_machines(machines):
    """--check says that there is nothing to compare with."""
    _, out = machines.play("site.yml", "--check", fails=True)
    assert "is bare" in out, out[-2000:]


def test_from_bare_machines_to_a_running_service(machines, clickhouse):
    """From bare machines to a running service."""
    say("site.yml on bare machines")
    recap, _ = machines.play("site.yml")
    say("done")
    assert set(recap) == set(HOSTS), recap
    assert machines.cloud.asked >= 4, "nobody asked for the machine's token"
    status, _, body = post(80, '{"message": "first"}', host=EDGE)
    assert status == 204, (status, body)
    wait_for(lambda: clickhouse.count() == 1, 30, "the first event")
    machines.serves = True


def test_second_run_changes_nothing(service):
    """A second run changes nothing."""
    before = running()
    recap, out = service.play("site.yml")
    assert not changed(recap), (
        changed(recap), re.findall(r"TASK \[.*\n(?:changed.*\n)+", out))
    assert running() == before, "containers were replaced"
    say("done")


def test_containers_are_confined(service):
    """Containers are confined, secrets are where they should be."""
    for host, name in (("broker-1", "logbroker-nginx"),
                       ("broker-1", "logbroker-flusher"),
                       ("edge-1", "logbroker-edge"),
                       ("clickhouse-1", "logbroker-clickhouse")):
        assert service.password not in confined(host, name), name
    mounted = inside("broker-1", "findmnt", "-no", "FSTYPE",
                     "/var/spool/logbroker")
    assert mounted == "ext4", mounted
    for host in HOSTS:
        assert not inside(host, "sh", "-c",
                          f"grep -rls {service.cloud.token} /etc /root /home "
                          "/run || true"), host
    token = ("curl", "-sS", "--max-time", "5", "-H",
             "Metadata-Flavor: Google", f"http://{METADATA}/"
             "computeMetadata/v1/instance/service-accounts/default/token")
    assert service.cloud.token in inside("broker-1", *token)
    assert service.cloud.token not in inside(
        "broker-1", "docker", "exec", "logbroker-flusher", *token,
        check=False), "a container gets the machine's token"


def test_private_machines_behind_the_nat_instance(service, clickhouse):
    """They reach the internet through the NAT instance alone, and ClickHouse
    without it."""
    flusher = ("docker", "exec", "logbroker-flusher")
    server = ("docker", "exec", "logbroker-clickhouse")
    get = ("curl", "-sS", "--max-time", "5")

    def seen(host, *argv):
        return inside(host, *argv, *get, f"http://{INTERNET}/",
                      check=False)

    behind = (("broker-1", *flusher), ("broker-2",),
              ("clickhouse-1", *server))
    assert seen("edge-1") == address("edge-1"), seen("edge-1")
    for where in behind:
        assert seen(*where) == address("jump"), (where, seen(*where))
    service.nat(False)
    try:
        for where in behind:
            assert seen(*where) == "", (where, seen(*where))
        assert inside("broker-1", *flusher, *get, "http://"
                      f"{address('clickhouse-1')}:8123/ping") == "Ok."
        n = clickhouse.count()
        assert post(80, '{"message": "without"}', host=EDGE)[0] == 204
        wait_for(lambda: clickhouse.count() == n + 1, 30, "an event")
    finally:
        service.nat(True)


def test_check_touches_nothing(service):
    """--check tells and touches nothing."""
    before = running()
    recap, _ = service.play("site.yml", "--check",
                             settings={"logbroker_version": NEW})
    assert "broker-1" in changed(recap), recap
    assert "edge-1" in changed(recap), recap
    assert running() == before, "containers were replaced"
    recap, _ = service.play("site.yml", "--check")
    assert not changed(recap), recap


def test_edge_speaks_tls(service):
    """With a certificate the edge speaks TLS, and 80 redirects."""
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
        "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
        f"/CN={EDGE}", "-addext",
        f"subjectAltName=IP:{EDGE}", "-keyout",
        f"{service.dir}/key.pem", "-out", f"{service.dir}/cert.pem")
    service.play("site.yml", "--tags", "edge", settings={
        "logbroker_tls_cert_file": f"{service.dir}/cert.pem",
        "logbroker_tls_key_file": f"{service.dir}/key.pem"})
    to = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}",
          "--cacert", f"{service.dir}/cert.pem", "-d", '{"message": "tls"}']
    r = run(*to, f"https://{EDGE}/log").stdout
    assert r == "204", r
    r = run(*to, f"http://{EDGE}/log").stdout
    assert r[0] == "3", r
    service.play("site.yml", "--tags", "edge")


def test_tls_to_the_brokers_under_load(service, clickhouse):
    """Switched on and off by site.yml alone, while clients send."""
    folder = service.dir / "broker-tls"
    folder.mkdir()
    page = (ROOT / "docs/tls.md").read_text()
    run("bash", "-euc", re.search(
        r"```sh\n(openssl req -x509 .*?)```", page, re.S)[1], cwd=folder)
    files = {f"logbroker_broker_tls_{kind}_file": f"{folder}/{name}.pem"
             for kind, name in (("ca", "ca"), ("cert", "cert"), ("key", "key"))}

    def spoken():
        return inside("edge-1", "docker", "exec", "logbroker-edge", "grep", "-c",
                      "proxy_ssl_verify on", "/run/logbroker/nginx.conf",
                      check=False) != "0"
    with Oracle([80], host=EDGE, seed="switch", threads=2) as oracle:
        for on in (True, False):
            reached = oracle.count()
            wait_for(lambda n=reached: oracle.count() > n + 100, 30, "events")
            service.play("site.yml", "--tags", "broker,edge",
                         settings=files if on else {})
            assert spoken() == on
        reached = oracle.count()
        wait_for(lambda: oracle.count() > reached + 100, 30, "events after it")
    wait_for(drained, 120, "empty spools")
    say(oracle.verify(clickhouse, "message LIKE 'switch-%'"))
    # the edge that is replaced may cut idle connections, no more
    assert oracle.statuses.keys() <= {204, None}, oracle.statuses
    assert oracle.statuses.get(None, 0) < 40, oracle.statuses


def test_documented_commands_work(service):
    """What docs/ansible.md and docs/operations.md tell to type on a machine,
    typed there."""
    said = {}
    on_machines = list(commands("docs/ansible.md", "## On the machines"))
    first_look = list(commands("docs/operations.md"))[0]
    broker = next(where for where, _ in on_machines
                  if where and "BROKER" in where)
    for where, lines in [*on_machines, (broker, first_look[1])]:
        if where is None:
            continue
        for line in lines:
            r = service.ssh(*typed(where).split()[1:], line)
            # logs of containers come where they were written to
            said[line] = r.stdout or r.stderr
            assert said[line].strip(), line
    assert json.loads(said["curl -s localhost:8080/status"])["rings"]
    assert "backlog" in said["logbroker-spool stat /var/spool/logbroker"]


def test_pages_through_tunnels(service):
    """The pages for browsers, as docs/ansible.md tells to open them."""
    opened = {}
    for where, lines in commands("docs/ansible.md", "## On the machines"):
        for line in lines:
            tunnel = re.match(r"ssh (-N -L (\d+):\S+ -J .*)", typed(line))
            if where is not None or not tunnel:
                continue
            url = re.search(rf"http://localhost:{tunnel[2]}(/\w+)",
                            (ROOT / "docs/ansible.md").read_text())[1]
            p = subprocess.Popen([*service.ssh_argv,
                                  "-o", "ExitOnForwardFailure=yes",
                                  *tunnel[1].split()], env=service.env)
            try:
                opened[url] = wait_for(lambda: run(
                    "curl", "-sS", "--fail", "-H", "Accept: text/html",
                    f"http://127.0.0.1:{tunnel[2]}{url}", check=False).stdout,
                    20, line)
            finally:
                p.terminate()
                p.wait()
    assert opened.keys() == {"/cluster", "/status"}
    for page in opened.values():
        assert "<title>logbroker" in page
    # and no further than the machine itself
    r = service.ssh("-W", f"{address('clickhouse-1')}:8123", "-J",
                    f"ops@{address('jump')}", f"ops@{address('broker-1')}",
                    data="GET /ping HTTP/1.0\r\n\r\n", check=False)
    assert r.returncode != 0 and "prohibited" in r.stderr, r
    # not from outside
    for port in (8079, 8080, 8081, 8090):
        assert run("curl", "-s", "--max-time", "3", "-o", "/dev/null",
                   f"http://{EDGE}:{port}/cluster", check=False).returncode
    assert run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}",
               f"http://{EDGE}/cluster").stdout in ("403", "404")


def test_rules_with_and_without_a_key(service):
    """Rules of one's own hold for each door, whatever a request brings
    along; what they refuse leaves few lines in the logs."""
    rules = service.dir / "rules.conf"
    rules.write_text((ROOT / "conf/nginx/rules.conf").read_text() + """
if ($http_authorization != "Bearer of-the-shop") {
    return 401;
}
""")
    service.play("site.yml", "--tags", "edge",
                 settings={"edge_rules_file": str(rules)})
    doors = {"/log": '{"message": "ruled"}', "/v1/logs": '{"resourceLogs": []}'}
    for path, body in doors.items():
        for key in ({}, {"Idempotency-Key": f"ruled-{path}"}):
            more = {**key, "Content-Type": "application/json"}
            assert post(80, body, path, more, host=EDGE)[0] == 401
            right = {**more, "Authorization": "Bearer of-the-shop"}
            assert post(80, body, path, right, host=EDGE)[0] in (200, 204)

    def lines():
        return int(inside("edge-1", "sh", "-c",
                          "(journalctl -u logbroker-edge --no-pager; "
                          "docker logs logbroker-edge) 2>&1 | wc -l"))
    before = lines()
    for _ in range(300):
        assert post(80, "{", host=EDGE)[0] == 401
    assert lines() - before < 30
    service.play("site.yml", "--tags", "edge")
    assert post(80, '{"message": "ruled"}', host=EDGE)[0] == 204


def test_clients_that_leave(service, clickhouse):
    """Who sends a whole request and closes has its event stored."""
    def stored():
        return int(clickhouse.query("SELECT count() FROM logbroker.logs WHERE "
                                    "message LIKE 'leaves-%'"))
    n = 40
    for i in range(n):
        body = f'{{"message": "leaves-{i}"}}'
        with socket.create_connection((EDGE, 80), timeout=20) as s:
            s.sendall(f"POST /log HTTP/1.1\r\nHost: a\r\nContent-Length: "
                      f"{len(body)}\r\n\r\n{body}".encode())
            if i % 2:
                s.shutdown(socket.SHUT_WR)
    wait_for(lambda: stored() == n, 60, "all events of those who left")


def test_rolling_kills_under_load(service, clickhouse):
    """Each container is killed in turn, as by the kernel for its memory."""
    def answers(host, name):
        port = 8081 if name == "logbroker-edge" else 8080
        return inside(host, "docker", "exec", name, "curl", "-fsS", "-o",
                      "/dev/null", f"http://127.0.0.1:{port}/health",
                      check=False) == "" and name in inside(
                          host, "docker", "ps", "--format", "{{.Names}}")
    with Oracle([80], host=EDGE, seed="kills", threads=2,
                doors=("log", "otlp"), again_after=10) as oracle:
        for host, name in (("broker-1", "logbroker-nginx"),
                           ("broker-1", "logbroker-flusher"),
                           ("broker-2", "logbroker-nginx"),
                           ("broker-2", "logbroker-flusher"),
                           ("clickhouse-1", "logbroker-clickhouse"),
                           ("edge-1", "logbroker-edge")):
            reached = oracle.count()
            wait_for(lambda: oracle.count() > reached + 50, 60, "events")
            number = inside(host, "docker", "ps", "-q", "--filter",
                            f"name={name}")
            inside(host, "docker", "kill", "--signal", "KILL", name)
            wait_for(lambda: inside(host, "docker", "ps", "-q", "--filter",
                                    f"name={name}") not in ("", number), 60,
                     f"{name} of {host} again", every=0.2)
            if name in ("logbroker-nginx", "logbroker-edge"):
                wait_for(lambda: answers(host, name), 60, f"{name} to answer",
                         every=0.2)
        reached = oracle.count()
        wait_for(lambda: oracle.count() > reached + 50, 60, "events")
    wait_for(drained, 120, "empty spools", every=1)
    say(oracle.verify(clickhouse, "message LIKE 'kills-%'"))


def test_images_of_the_same_content_restart_nothing(service):
    """By their digests instead of their tags, by a job of the pipeline."""
    before = {k: v[0] for k, v in running().items()}
    say("job rollout, with digests of what runs")
    service.job("rollout", service.cloud.release(OLD))
    assert {k: v[0] for k, v in running().items()} == before


def test_without_a_version_what_runs_stays(service):
    before = running()
    recap, _ = service.play("site.yml", "--tags", "broker,edge,clickhouse",
                            settings={"logbroker_version": None,
                                      "logbroker_clickhouse_version": None})
    assert not changed(recap), recap
    assert running() == before


@pytest.mark.parametrize("job, version", [("rollout", NEW),
                                          ("rollback", OLD)])
def test_nothing_is_lost_under_load(service, clickhouse, job, version):
    """A rolling update and a roll-back, by the jobs of the pipeline; ClickHouse
    has not changed."""
    m = service
    before = running()
    begun = {h: inside(h, "date", "+%s") for h in ("broker-1", "broker-2",
                                                   "edge-1")}
    say(f"job {job}")
    with Oracle([80], host=EDGE, seed=job, threads=2) as oracle, \
            Rotation() as rotation:
        wait_for(lambda: oracle.count() > 100, 30, "events")
        m.job(job, m.cloud.release(NEW, clickhouse=OLD)
              if job == "rollout" else None)
        reached = oracle.count()
        wait_for(lambda: oracle.count() > reached + 100, 30,
                 "events after it")
    wait_for(drained, 120, "empty spools")
    after = running()
    for container in before:
        old, new = before[container], after[container]
        if "clickhouse" in container:
            assert old == new, f"{container} was replaced"
        else:
            assert new[1] == version and old[0] != new[0], container
    assert rotation.out == {address("broker-1"),
                            address("broker-2")}, rotation.out
    assert rotation.least == 1, rotation.least
    for host, since in begun.items():
        killed = inside(host, "sh", "-c", "journalctl --no-pager "
                        f"--since @{since} -u 'logbroker-*' | "
                        "grep status=137 || true")
        assert not killed, killed
    say(oracle.verify(clickhouse, f"message LIKE '{job}-%'"))
    # the edge that is replaced may cut idle connections, no more
    assert oracle.statuses.keys() <= {204, None}, oracle.statuses
    assert oracle.statuses.get(None, 0) < 20, oracle.statuses


def test_smoke_of_the_pipeline(service):
    _, out = service.job("smoke", LOGBROKER_URL=f"http://{EDGE}")
    assert "is in ClickHouse" in out, out


def test_login_by_password(service):
    """Images that ask for one; and a broker alone."""
    before = running()
    service.play("site.yml", "--tags", "broker", settings={
        "logbroker_version": NEW, "logbroker_registry_auth": "password",
        "logbroker_registry_user": "deploy",
        "logbroker_registry_password": service.cloud.password})
    after = running()
    assert {k for k in before if before[k] != after[k]} == {
        k for k in before if k.startswith("broker-")}
    service.play("site.yml", "--tags", "broker")


def test_unknown_version_touches_nothing(service):
    """A version that is not there touches nothing."""
    before = running()
    _, out = service.play("site.yml", "--tags", "broker", fails=True,
                          settings={"logbroker_version": "9.9.9"})
    assert "unknown" in out or "not found" in out, out[-2000:]
    assert running() == before


def test_broken_version_stops_the_roll_out(service):
    """A broker that does not come up stops the roll-out."""
    say(f"site.yml with {BAD}, which ends at once")
    _, out = service.play("site.yml", "--tags", "broker", fails=True,
                          settings={"logbroker_version": BAD})
    assert "stays out of the rotation" in out, out[-3000:]
    assert {k for k, v in running().items() if "broker-2" in k
            and v[1] == OLD} == {"broker-2 logbroker-nginx",
                                 "broker-2 logbroker-flusher"}
    for _ in range(20):
        status, _, body = post(80, '{"message": "still here"}',
                               host=EDGE)
        assert status == 204, (status, body)
    service.play("site.yml", "--tags", "broker,edge")
    assert {v[1] for v in running().values()} == {OLD}, running()
    assert " down;" not in inside("edge-1", "cat",
                                  "/etc/logbroker/edge/brokers.conf")
    say("and the old one mends it")


def test_broker_leaves_under_load(service, clickhouse):
    """A broker leaves under load, its share goes to the other."""
    say("uninstall.yml --limit broker-2")
    with Oracle([80], host=EDGE, seed="leave", threads=2) as oracle:
        wait_for(lambda: oracle.count() > 100, 30, "events")
        service.play("uninstall.yml", "--limit", "broker-2", "-e", "confirm=yes")
        service.describe(without=["broker-2"])
        service.play("site.yml", "--tags", "broker,edge")
        reached = oracle.count()
        wait_for(lambda: oracle.count() > reached + 100, 30,
                 "events after it")
    wait_for(lambda: drained(["broker-1"]), 120, "an empty spool")
    assert not [k for k in running() if "broker-2" in k], running()
    share = inside("broker-1", "docker", "exec", "logbroker-flusher",
                   "printenv", "LOGBROKER_NODE_COUNT")
    assert share == "1", share
    say(oracle.verify(clickhouse, "message LIKE 'leave-%'"))
    service.describe()


def test_broker_is_added_under_load(service, clickhouse):
    """A broker is added under load, and has its share."""
    say("site.yml with broker-2")
    with Oracle([80], host=EDGE, seed="grow", threads=2) as oracle:
        wait_for(lambda: oracle.count() > 100, 30, "events")
        service.play("site.yml", "--tags", "broker,edge")
        reached = oracle.count()
        wait_for(lambda: oracle.count() > reached + 100, 30,
                 "events after it")
    wait_for(drained, 120, "empty spools")
    for number, host in enumerate(("broker-1", "broker-2")):
        share = inside(host, "docker", "exec", "logbroker-flusher",
                       "printenv", "LOGBROKER_NODE_INDEX",
                       "LOGBROKER_NODE_COUNT").split()
        assert share == [str(number), "2"], (host, share)
    say(oracle.verify(clickhouse, "message LIKE 'grow-%'"))
    brokers = clickhouse.query("SELECT uniqExact(broker) FROM "
                               "logbroker.logs WHERE message LIKE "
                               "'grow-%'").strip()
    assert brokers == "2", brokers


def test_password_is_changed_under_load(service, clickhouse):
    """ClickHouse's password is changed under load."""
    say("site.yml with another password")
    old, service.password = service.password, secrets.token_hex(24)
    with Oracle([80], host=EDGE, seed="password", threads=2) as oracle:
        wait_for(lambda: oracle.count() > 100, 30, "events")
        service.play("site.yml", "--tags", "clickhouse,broker")
        reached = oracle.count()
        wait_for(lambda: oracle.count() > reached + 100, 30,
                 "events after it")
    wait_for(drained, 120, "empty spools")
    say(oracle.verify(clickhouse, "message LIKE 'password-%'"))
    assert set(oracle.statuses) == {204}, oracle.statuses
    for host in ("broker-1", "broker-2", "clickhouse-1"):
        assert not inside(host, "sh", "-c",
                          f"grep -rls {old} /etc /root /run || true"), host


def test_reboot_under_load(service, clickhouse):
    """All machines are rebooted under load, one at a time."""
    say("reboot.yml")
    before = boots()
    with Oracle([80], host=EDGE, seed="reboot", threads=2) as oracle, \
            Rotation() as rotation:
        wait_for(lambda: oracle.count() > 100, 30, "events")
        service.play("reboot.yml")
        reached = oracle.count()
        wait_for(lambda: oracle.count() > reached + 100, 30,
                 "events after it")
    after = boots()
    assert not [h for h in HOSTS if before[h] == after[h]], (before, after)
    assert rotation.out == {address("broker-1"),
                            address("broker-2")}, rotation.out
    assert rotation.least == 1, rotation.least
    wait_for(drained, 120, "empty spools")
    say(oracle.verify(clickhouse, "message LIKE 'reboot-%'"))
    # the edge alone is away for a while
    assert oracle.statuses.keys() <= {204, None}, oracle.statuses


def test_resize_under_load(service, clickhouse):
    """Brokers get larger disks under load, one at a time."""
    say("resize.yml")
    script = service.dir / "resize"
    script.write_text(f"""#!/bin/sh -e
truncate -s +100M {service.dir}/$1.disk
losetup -c "$(losetup -n -O NAME -j {service.dir}/$1.disk)"
docker restart {NAME}-$1
""")
    script.chmod(0o755)

    def sizes():
        return [int(inside(h, "findmnt", "-bno", "SIZE",
                           "/var/spool/logbroker"))
                for h in ("broker-1", "broker-2")]
    before = sizes()
    with Oracle([80], host=EDGE, seed="resize", threads=2) as oracle, \
            Rotation() as rotation:
        wait_for(lambda: oracle.count() > 100, 30, "events")
        service.play("resize.yml", "--limit", "broker", settings={
            "resize_command": f"{script} {{{{ inventory_hostname }}}}"})
        reached = oracle.count()
        wait_for(lambda: oracle.count() > reached + 100, 30,
                 "events after it")
    for old, new in zip(before, sizes()):
        assert new > old + (80 << 20), (old, new)
    assert rotation.least == 1, rotation.least
    wait_for(drained, 120, "empty spools")
    say(oracle.verify(clickhouse, "message LIKE 'resize-%'"))
    # the edge that is told another list cuts idle connections, no more
    assert oracle.statuses.keys() <= {204, None}, oracle.statuses
    assert oracle.statuses.get(None, 0) < 20, oracle.statuses


def test_certificate_by_acme(service, clickhouse):
    """The edge gets a certificate by itself and, while clients send, the next
    one by its timer's service."""
    name = "logs.example.org"
    folder = service.dir / "acme"
    folder.mkdir()
    shown = []

    def serial():
        pem = ssl.get_server_certificate((EDGE, 443))
        return run("openssl", "x509", "-noout", "-serial", "-issuer",
                   data=pem).stdout

    with Authority(folder, METADATA.split(":")[0], EDGE, 80) as authority:
        # as an authority of one's own is believed
        inside("edge-1", "sh", "-c", "cat >/usr/local/share/ca-certificates/"
               "acme.crt && update-ca-certificates",
               data=authority.ca.read_text())
        service.play("site.yml", "--tags", "edge", settings={
            "logbroker_tls": "acme", "logbroker_tls_names": [name],
            "logbroker_acme": authority.url})
        shown.append(serial())
        assert "Pebble" in shown[0], shown
        (service.dir / "root.pem").write_text(authority.root())
        to = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}",
              "--cacert", f"{service.dir}/root.pem", "--resolve",
              f"{name}:443:{EDGE}", f"https://{name}/log", "-d",
              '{"message": "by acme"}']
        answers, on = [], threading.Event()

        def send():
            while not on.is_set():
                answers.append(run(*to, check=False).stdout)
        sender = threading.Thread(target=send)
        sender.start()
        try:
            wait_for(lambda: len(answers) > 5, 30, "answers")
            assert inside("edge-1", "systemctl", "is-active",
                          "logbroker-certificate.timer") == "active"
            inside("edge-1", "systemctl", "start",
                   "logbroker-certificate.service")
            shown.append(wait_for(lambda: serial() != shown[0] and serial(),
                                  30, "the next certificate"))
            reached = len(answers)
            wait_for(lambda: len(answers) > reached + 5, 30, "answers")
        finally:
            on.set()
            sender.join()
    assert "Pebble" in shown[1], shown
    assert set(answers) == {"204"}, answers
    wait_for(lambda: int(clickhouse.query(
        "SELECT count() FROM logbroker.logs WHERE message = 'by acme'"))
        == len(answers), 60, "an event for each answer")
    service.play("site.yml", "--tags", "edge")
    assert post(80, '{"message": "plain"}', host=EDGE)[0] == 204
    assert inside("edge-1", "systemctl", "is-active",
                  "logbroker-certificate.timer", check=False) != "active"


def test_backups_into_a_bucket(service, clickhouse):
    """A backup by its timer's service; the table is lost and comes back."""
    folder = service.dir / "s3"
    folder.mkdir()
    tool = ("docker", "exec", "logbroker-clickhouse",
            "/usr/share/logbroker/clickhouse/backup.sh",
            "http://127.0.0.1:8123")
    bucket = Bucket(folder, INTERNET, ("ip", "netns", "exec", NAME))
    try:
        service.play("site.yml", "--tags", "clickhouse", settings={
            "logbroker_backup_endpoint": bucket.endpoint,
            "logbroker_backup_key_id": "a-key-id",
            "logbroker_backup_key": "a/secret+key"})
        wait_for(drained, 60, "empty spools")
        assert inside("clickhouse-1", "systemctl", "is-active",
                      "logbroker-backup.timer") == "active"
        before = clickhouse.count()
        inside("clickhouse-1", "systemctl", "start", "logbroker-backup.service")
        assert bucket.objects()
        figures = inside("clickhouse-1", "cat", "/var/lib/prometheus/"
                         "node-exporter/logbroker-backup.prom")
        assert re.search(r"newest_timestamp_seconds [1-9]", figures), figures
        assert "each ring's events are those" in inside(
            "clickhouse-1", *tool, "drill")
        clickhouse.query("DROP DATABASE logbroker SYNC")
        inside("clickhouse-1", *tool, "restore", "latest")
        assert clickhouse.count() == before
        assert clickhouse.query("SELECT sum(duplicates) FROM "
                                "logbroker.logbroker_audit").strip() == "0"
        assert post(80, '{"message": "restored"}', host=EDGE)[0] == 204
        wait_for(lambda: clickhouse.count() == before + 1, 60, "an event")
        recap, _ = service.play("site.yml", "--tags", "clickhouse")
        assert changed(recap), recap
    finally:
        bucket.server.stop()
    for path in ("/etc/systemd/system/logbroker-backup.timer",
                 "/etc/logbroker/clickhouse/config.d/backups.xml"):
        assert inside("clickhouse-1", "ls", path, check=False) == "", path


def test_uninstall_leaves_the_events(service):
    """Uninstall takes the service and leaves the events."""
    r = service.play("uninstall.yml", fails=True)[1]
    assert "add -e confirm=yes" in r, r
    service.play("uninstall.yml", "-e", "confirm=yes")
    assert not running(), running()
    assert inside("clickhouse-1", "ls", "/var/lib/clickhouse")
    assert inside("broker-1", "ls", "/var/spool/logbroker")
    assert inside("broker-1", "sh", "-c",
                  "ls /etc/systemd/system/logbroker* /etc/logbroker "
                  "2>/dev/null || true") == ""
