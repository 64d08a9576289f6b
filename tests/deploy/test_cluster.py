"""Replicas of ClickHouse and their Keeper, as Ansible describes them: its
templates filled for an inventory of two and three machines, and what ClickHouse's
engine says to the settings, which docker/entrypoint.sh puts together.  A server
that replicates is not to be had here; what the engine cannot be asked is compared
with conf/clickhouse/cluster.
"""

import os
import pathlib
import re
import shutil
import subprocess
import time
import urllib.request
from xml.etree import ElementTree

import pytest
import yaml

from env.build import ROOT
from env.process import free_port, wait_for

from plays import BOOKS, KEEPERS, PASSWORD, REPLICAS, inventory, played, spec


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A folder for each machine, with what Ansible writes there."""
    d = tmp_path_factory.mktemp("cluster")
    plays = []
    # what machines and roles bring along
    given = {"ansible_memtotal_mb": 7900, "container_revision": "x",
             "clickhouse_image": "r.example/l/clickhouse:1.2.3",
             "logbroker_clickhouse_password": PASSWORD}
    for role, file in (("clickhouse", "cluster.xml"), ("keeper", "keeper.xml")):
        plays.append({
            "hosts": role, "gather_facts": False,
            "vars_files": [f"{BOOKS}/group_vars/all/main.yml",
                           f"{BOOKS}/roles/{role}/defaults/main.yml",
                           f"{BOOKS}/roles/container/defaults/main.yml",
                           f"{BOOKS}/roles/container/vars/main.yml"],
            "tasks": [
                {"file": {"path": f"{d}/{{{{ inventory_hostname }}}}",
                          "state": "directory"}},
                {"template": {"src": f"{BOOKS}/roles/{role}/templates/{file}.j2",
                              "dest": f"{d}/{{{{ inventory_hostname }}}}/{file}"},
                 "vars": given},
                {"template": {"src": f"{BOOKS}/roles/container/templates/"
                              "container.service.j2",
                              "dest": f"{d}/{{{{ inventory_hostname }}}}/unit"},
                 "vars": {**given,
                          "container_spec": {**spec(role), "revision": "x"}}},
            ]})
    status, said = played(d, plays, timeout=300)
    assert status == 0, said
    return d


def test_settings_ask_for_keepers(tmp_path):
    """Replicas without a Keeper of three are refused before anything is done."""
    status, said = played(tmp_path, [{
        "hosts": "all", "gather_facts": False, "tasks": [
            {"include_tasks": f"{BOOKS}/tasks/settings.yml",
             "run_once": True}],
        "vars_files": [f"{BOOKS}/group_vars/all/main.yml"],
        "vars": {"logbroker_clickhouse_password": "x" * 16}}],
        machines=inventory(keepers=2), timeout=300)
    assert status != 0
    assert "must have three machines (or five), it has 2" in said, said


def shape(element):
    """Names of the elements, as a tree; repeated ones once."""
    return {child.tag: shape(child) for child in element}


def test_replicas_as_documented(filled):
    """As conf/clickhouse/cluster/cluster.xml has it; what differs between two
    servers is who they are."""
    shipped = ElementTree.parse(
        ROOT / "conf/clickhouse/cluster/cluster.xml").getroot()
    texts = {}
    for host in REPLICAS:
        text = (filled / host / "cluster.xml").read_text()
        texts[host] = text.replace(host, "ME")
        root = ElementTree.fromstring(text)
        ours = shape(root)
        for section, inside in shape(shipped).items():
            if section == "remote_servers":
                # how they know each other is not for everybody's eyes
                ours[section]["logbroker"].pop("secret")
            assert ours[section] == inside, section
        assert [h.text for h in root.findall(
            "remote_servers/logbroker/shard/replica/host")] == list(REPLICAS)
        assert root.findtext("macros/replica") == host
        assert root.findtext("macros/shard") == "1"
        assert [h.text for h in root.findall("zookeeper/node/host")] == \
            list(KEEPERS.values())
        secret = root.findtext("remote_servers/logbroker/secret")
        assert re.fullmatch("[0-9a-f]{64}", secret)
        assert secret == root.findtext("interserver_http_credentials/password")
        assert PASSWORD not in text
    a, b = texts.values()
    assert len([1 for x, y in zip(a.splitlines(), b.splitlines())
                if x != y]) == 2    # the list of replicas, both times


def test_units_of_replicas(filled):
    """They reach each other, and nobody else does by a port of their own."""
    me, other = REPLICAS
    unit = (filled / me / "unit").read_text()
    for port in (8123, 9000, 9009):
        assert f"--publish {REPLICAS[me]}:{port}:{port} " in unit
    assert f"--add-host {other}:{REPLICAS[other]} " in unit
    assert f"--add-host {me}:" not in unit
    assert f"--hostname {me} " in unit
    assert "--publish 127.0.0.1:8123:8123 " in unit
    assert "target=/etc/logbroker/clickhouse,readonly" in unit
    # 90 % of the 8 GB that 7900 MB are
    assert "--memory 7372m " in unit
    unit = (filled / "keeper-2" / "unit").read_text()
    for port in (9181, 9234, 9182):
        assert f"--publish {KEEPERS['keeper-2']}:{port}:{port} " in unit
    assert unit.count("--publish") == 3
    assert unit.rstrip().count(" keeper\n") == 1, unit


def test_keeper_of_three(filled):
    """The same list on all, each with its own number."""
    lists = set()
    for i, (host, address) in enumerate(KEEPERS.items(), 1):
        root = ElementTree.parse(filled / host / "keeper.xml").getroot()
        assert root.findtext("keeper_server/server_id") == str(i)
        servers = [tuple(e.text for e in s) for s in root.findall(
            "keeper_server/raft_configuration/server")]
        assert servers[i - 1] == (str(i), address, "9234")
        lists.add(tuple(servers))
        for path in ("log_storage_path", "snapshot_storage_path"):
            assert root.findtext(f"keeper_server/{path}").startswith(
                "/var/lib/clickhouse/"), "not on its disk"
    assert len(lists) == 1 and len(lists.pop()) == 3


@pytest.fixture(scope="module")
def server(filled):
    """A replica's settings, put together by the image's entry point, in the
    engine; the program alone is another."""
    program = ROOT / "build/tools/logbroker-chserver"
    library = pathlib.Path(
        os.environ.get("LOGBROKER_CHDB_DIR", ROOT / "build/chdb"),
        "node_modules/@chdb/lib-linux-x64-gnu/libchdb.so")
    if not program.exists() or not library.exists():
        pytest.skip("the engine is not here: tools/clickhouse/clickhouse.sh "
                    "--fetch, and build")
    d = filled / "server"
    for folder in ("etc/config.d", "run", "data"):
        (d / folder).mkdir(parents=True)
    ports = {old: free_port() for old in (8123, 9000, 9009)}
    cluster = (filled / "clickhouse-1" / "cluster.xml").read_text()
    for old in (9000, 9009):
        cluster = re.sub(rf"(_port>){old}<", rf"\g<1>{ports[old]}<", cluster)
    (d / "etc/config.d/cluster.xml").write_text(cluster)
    (d / "password").write_text(PASSWORD + "\n")
    share = d / "share"
    shutil.copytree(ROOT / "conf/clickhouse", share / "clickhouse")
    shutil.copy(ROOT / "tools/clickhouse/apply.sh", share / "clickhouse")
    config = (ROOT / "conf/clickhouse/config.xml").read_text()
    for old, new in (("/run/logbroker", d / "run"),
                     ("/var/lib/clickhouse", d / "data"),
                     (">8123<", f">{ports[8123]}<"),
                     (">0.0.0.0<", ">127.0.0.1<")):
        assert old in config
        config = config.replace(old, str(new))
    (share / "clickhouse/config.xml").write_text(config)
    script = (ROOT / "docker/entrypoint.sh").read_text()
    for old, new in (
            ("/usr/share/logbroker", share), ("/run/logbroker", d / "run"),
            ("/var/lib/clickhouse", d / "data"),
            ("/etc/logbroker/clickhouse", d / "etc"),
            ("127.0.0.1:8123", f"127.0.0.1:{ports[8123]}"),
            ("exec clickhouse server --config-file=$run/config.xml",
             f"exec {program} {library} $run/config.xml $PWD/engine")):
        assert old in script, old
        script = script.replace(old, str(new))
    (d / "entrypoint.sh").write_text(script)
    with open(d / "log", "wb") as log:
        process = subprocess.Popen(
            ["sh", d / "entrypoint.sh", "clickhouse"], stdout=log, stderr=log,
            start_new_session=True,
            env={**os.environ, "LOGBROKER_PASSWORD_FILE": str(d / "password")})
    url = f"http://127.0.0.1:{ports[8123]}/"

    def query(sql, user=None):
        headers = {"X-ClickHouse-User": user,
                   "X-ClickHouse-Key": PASSWORD} if user else {}
        with urllib.request.urlopen(urllib.request.Request(
                url, sql.encode(), headers), timeout=20) as r:
            return r.read().decode().strip()

    def ready():
        assert process.poll() is None, (d / "log").read_text()
        try:
            return query("SELECT 1") == "1"
        except OSError:
            return False
    query.dir = d
    try:
        wait_for(ready, 60, "the engine")
        yield query
    finally:
        # the whole group: the statements are tried for ever
        os.killpg(process.pid, 15)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()


def test_engine_takes_the_settings(server):
    """The cluster, who this is, and the user whose INSERTs wait for a majority
    are what the engine says it has."""
    assert server("SELECT host_name, port, shard_num, replica_num FROM "
                  "system.clusters WHERE cluster = 'logbroker' ORDER BY "
                  "replica_num").splitlines() == [
        "clickhouse-1\t9000\t1\t1", "clickhouse-2\t9000\t1\t2"]
    assert server("SELECT getMacro('shard'), getMacro('replica')") == \
        "1\tclickhouse-1"
    assert server("SELECT getSetting('insert_quorum'), "
                  "getSetting('insert_quorum_parallel')",
                  "logbroker") == "auto\tfalse"


def test_question_about_replicas(server):
    """What is asked before the next machine's turn comes is a question the
    engine understands."""
    tasks = yaml.safe_load(
        (BOOKS / "roles/clickhouse/tasks/well.yml").read_text())
    argv = tasks[1]["ansible.builtin.command"]["argv"]
    question = argv[argv.index("--data-binary") + 1].replace(
        "{{ clickhouse_replicas }}", "2")
    assert server(question) == "0"


def test_statements_of_a_replica(server):
    """Each replica makes its own tables: what it is told names no cluster to
    do it on, and is otherwise what is shipped."""
    shipped = ROOT / "conf/clickhouse/cluster"
    found = sorted((server.dir / "run/cluster").glob("*.sql"))
    assert [f.name for f in found] == ["01-schema.sql", "02-audit.sql",
                                       "03-upgrade.sql"]
    for file in found:
        text = file.read_text()
        assert "ON CLUSTER" not in re.sub(r"(?m)^--.*", "", text)
        assert text == (shipped / file.name).read_text().replace(
            " ON CLUSTER logbroker", "")
    end = time.monotonic() + 20
    while "logbroker" not in server("SHOW DATABASES").splitlines():
        assert time.monotonic() < end, (server.dir / "log").read_text()
        time.sleep(0.1)
