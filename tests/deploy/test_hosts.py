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
import tempfile

import pytest

from env.http import post
from env.oracle import Oracle
from env.process import wait_for

from hosts import (BAD, EDGE, HOSTS, INTERNET, METADATA, NAME, NEW, OLD, ROOT,
                   ClickHouse, Cloud, Machines, Rotation, address, changed,
                   drained, images, inside, run, running, say)


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
            m.make()
            yield m
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
    argv = ["ssh", "-F", f"{machines.dir}/ssh_config", "-o", "BatchMode=yes",
            "-o", "ConnectTimeout=10"]
    r = run(*argv, f"ops@{address('broker-1')}", "true", check=False)
    assert r.returncode != 0, "broker-1 let us in"
    run(*argv, "-J", f"ops@{address('jump')}",
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
        i = json.loads(inside(host, "docker", "inspect", name))[0]
        assert i["HostConfig"]["ReadonlyRootfs"], name
        assert i["HostConfig"]["CapDrop"] == ["ALL"], name
        assert not i["HostConfig"]["Privileged"], name
        assert i["Config"]["User"].startswith("10001"), name
        assert service.password not in json.dumps(i), name
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


@pytest.mark.parametrize("book, version", [("site.yml", NEW),
                                           ("rollback.yml", OLD)])
def test_nothing_is_lost_under_load(service, clickhouse, book, version):
    """A rolling update, to images that ask for a login, and a roll-back."""
    m = service
    settings = {} if version == OLD else {
        "logbroker_version": NEW, "logbroker_registry_auth": "password",
        "logbroker_registry_user": "deploy",
        "logbroker_registry_password": m.cloud.password}
    before = running()
    say(book)
    with Oracle([80], host=EDGE, seed=book, threads=2) as oracle, \
            Rotation() as rotation:
        wait_for(lambda: oracle.count() > 100, 30, "events")
        argv = {"settings": settings} if settings else {}
        m.play(book, **argv)
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
    for host in ("broker-1", "broker-2", "edge-1"):
        killed = inside(host, "sh", "-c", "journalctl --no-pager "
                        "-u 'logbroker-*' | grep status=137 || true")
        assert not killed, killed
    say(oracle.verify(clickhouse, f"message LIKE '{book}-%'"))
    # the edge that is replaced may cut idle connections, no more
    assert oracle.statuses.keys() <= {204, None}, oracle.statuses
    assert oracle.statuses.get(None, 0) < 20, oracle.statuses


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
