"""What runs Prometheus and Grafana, as far as it can be seen without their
images: the profile "monitoring" of compose, Ansible's role, and the files both
give to Grafana."""

import json
import os
import re
import shutil
import subprocess

import pytest
import yaml

from env.build import ROOT

JOBS = set(re.findall(r"targets/(\w+)\.yml", (
    ROOT / "conf/prometheus/prometheus.yml").read_text()))
ROLE = ROOT / "ansible/roles/monitoring"


def load(path):
    return yaml.safe_load((ROOT / path).read_text())


@pytest.fixture(scope="module")
def compose():
    if not shutil.which("docker-compose"):
        pytest.skip("no docker-compose")
    out = subprocess.run(
        ["docker-compose", "-f", ROOT / "docker/compose.yaml", "config"],
        env={**os.environ, "COMPOSE_PROFILES": "monitoring"}, check=True,
        capture_output=True, text=True)
    return yaml.safe_load(out.stdout)


def test_profile(compose):
    """Without it nothing of it runs; with it each file that is mounted is
    there, and nothing is published beyond this machine."""
    base = load("docker/compose.yaml")["services"]
    watch = {n for n, s in base.items() if "monitoring" in s.get(
        "profiles", [])}
    assert watch == {"prometheus", "alertmanager", "blackbox", "node",
                     "grafana"}
    for name in watch:
        service = compose["services"][name]
        assert re.search(r":v?\d+\.\d+\.\d+$", service["image"])
        for port in service.get("ports", []):
            assert str(port).startswith("127.0.0.1:"), (name, port)
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("/") and source != "/":
                assert os.path.exists(source), (name, source)


def test_targets_of_compose(compose):
    """Each job has targets, and each target is a service."""
    folder = ROOT / "docker/monitoring/targets"
    # a single ClickHouse has no Keeper
    jobs = JOBS - {"keeper"}
    assert {p.stem for p in folder.iterdir()} == jobs
    for job in jobs:
        (group,) = load(folder / f"{job}.yml")
        for target in group["targets"] + list(group.get("labels", {}).values()):
            host = re.sub(r"^http://", "", target).split(":")[0]
            assert host in compose["services"], (job, target)


def test_grafana_is_given_what_it_asks_for(compose):
    """Every name in the provisioning files has a value in both ways of running
    it, and what is named as a path is mounted there."""
    text = "".join((ROOT / f"conf/grafana/provisioning/{f}/logbroker.yml"
                    ).read_text() for f in ("datasources", "dashboards"))
    names = set(re.findall(r"\$(LOGBROKER_\w+)", text))
    files = set(re.findall(r"\$__file\{(.*?)\}", text))
    path = load("conf/grafana/provisioning/dashboards/logbroker.yml"
                )["providers"][0]["options"]["path"]
    service = compose["services"]["grafana"]
    role = (ROLE / "tasks/grafana.yml").read_text()
    assert len(names) == 3
    assert names <= service["environment"].keys()
    assert names <= set(re.findall(r"LOGBROKER_\w+", role))
    mounted = [v.split(":")[1] for v in service["volumes"]]
    for f in files:
        folder = f.rsplit("/", 1)[0]
        assert folder in mounted and f"target: {folder}," in role
    for dashboard in ("service", "logs"):
        assert f"{path}/{dashboard}.json" in mounted
        assert f"dest: dashboards/{dashboard}.json" in role
    assert f"target: {path}," in role


def test_sources_are_those_of_the_dashboards():
    sources = load("conf/grafana/provisioning/datasources/logbroker.yml"
                   )["datasources"]
    uids = [s["uid"] for s in sources]
    assert len(set(uids)) == len(uids)
    types = {s["type"] for s in sources}
    for name in ("service", "logs"):
        text = (ROOT / f"conf/grafana/{name}.json").read_text()
        asked = {v["query"] for v in json.loads(text)["templating"]["list"]
                 if v["type"] == "datasource"}
        assert asked and asked <= types
    user = next(s for s in sources if s["uid"] == "clickhouse")["jsonData"]
    assert f"<{user['username']}>" in (
        ROOT / "conf/clickhouse/readers.xml").read_text()


def play(tmp_path):
    """The tasks of the role that write files, into a folder of this test."""
    keep = [t for t in yaml.safe_load((ROLE / "tasks/main.yml").read_text())
            if any(k in t for k in ("ansible.builtin.copy",))
            or t["name"] == "Folder of the targets"]
    text = json.dumps(keep).replace("/etc/default", f"{tmp_path}/default")
    text = text.replace("/etc/prometheus", str(tmp_path))
    text = text.replace('"group": "prometheus"', '"group": "root"')
    tasks = [{k: v for k, v in t.items() if k not in ("notify", "no_log")}
             for t in json.loads(text)]
    (tmp_path / "default").mkdir()
    book = ROOT / "ansible/.test-monitoring.yml"
    book.write_text(yaml.safe_dump([{
        "hosts": "monitoring", "gather_facts": False, "tasks": tasks,
        "vars": load(ROLE / "defaults/main.yml")}]))

    def hosts(*addresses):
        return {"hosts": {f"h{a}": {"logbroker_address": a}
                          for a in addresses}}
    inventory = tmp_path / "inventory.json"
    inventory.write_text(json.dumps({"all": {"children": {
        "jump": hosts("10.0.0.9"), "inside": {"children": {
            "edge": hosts("10.0.0.1"), "clickhouse": hosts("10.0.0.4"),
            "broker": hosts("10.0.0.2", "10.0.0.3"),
            "keeper": hosts("10.0.0.6"),
            "monitoring": {"hosts": {"m": {
                "logbroker_address": "10.0.0.5",
                "ansible_connection": "local"}}}}}}}}))
    try:
        p = subprocess.run(["ansible-playbook", "-i", inventory, book],
                           cwd=ROOT / "ansible", capture_output=True,
                           text=True, check=False)
    finally:
        book.unlink()
    assert p.returncode == 0, p.stdout + p.stderr


@pytest.mark.skipif(os.getuid() != 0 or not shutil.which("ansible-playbook")
                    or not shutil.which("promtool"),
                    reason="no ansible-playbook, no promtool, or not root")
def test_role(tmp_path):
    """The files it writes are what Prometheus and Alertmanager take, with all
    machines among the targets."""
    play(tmp_path)
    subprocess.run(["promtool", "check", "config",
                    tmp_path / "prometheus.yml"], check=True)
    if shutil.which("amtool"):
        subprocess.run(["amtool", "check-config",
                        tmp_path / "alertmanager.yml"], check=True)
    assert {p.stem for p in (tmp_path / "targets").iterdir()} == JOBS
    targets = {job: load(tmp_path / f"targets/{job}.yml")[0]["targets"]
               for job in JOBS}
    assert targets["logbroker"] == ["10.0.0.2:8080", "10.0.0.3:8080"]
    assert targets["clickhouse"] == ["10.0.0.4:8123"]
    assert targets["edge"] == ["10.0.0.1:9145"]
    assert targets["keeper"] == ["http://10.0.0.6:9182/ready"]
    assert sorted(targets["node"]) == [
        f"10.0.0.{n}:9100" for n in (1, 2, 3, 4, 5, 6, 9)]
