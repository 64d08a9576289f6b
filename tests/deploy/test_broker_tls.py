"""TLS between edges and brokers, by Ansible: on which ports, in which lists of
brokers, and what is refused; tests/deploy/test_hosts.py switches it under load."""

import pytest
import yaml

from plays import BOOKS, played, spec
from test_readers import CERTIFICATE, KEY

FILES = {"logbroker_broker_tls_ca_file": "ca.pem",
         "logbroker_broker_tls_cert_file": "cert.pem",
         "logbroker_broker_tls_key_file": "key.pem"}


@pytest.fixture(scope="module")
def play(tmp_path_factory):
    """Settings, and what becomes of them: status, what was said, the folder."""
    d = tmp_path_factory.mktemp("broker-tls")
    for name, text in (("ca.pem", CERTIFICATE), ("cert.pem", CERTIFICATE),
                       ("key.pem", KEY)):
        (d / name).write_text(text)
    roles = f"{BOOKS}/roles"
    tasks = yaml.safe_load(
        (BOOKS / "roles/edge/tasks/broker_tls.yml").read_text())
    lists = next(t for t in tasks if "ansible.builtin.template" in t)
    plays = [
        {"hosts": "edge", "gather_facts": False,
         "vars_files": [f"{BOOKS}/group_vars/all/main.yml",
                        f"{roles}/edge/defaults/main.yml"],
         "tasks": [
             {"include_tasks": f"{BOOKS}/tasks/settings.yml"},
             {**lists, "ansible.builtin.template": {
                 "src": f"{roles}/edge/templates/{{{{ item }}}}.j2",
                 "dest": f"{d}/{{{{ item }}}}"}},
             {"debug": {"msg": "revision={{ revision }}"},
              "vars": {"revision": spec("edge")["revision"]}}]},
        {"hosts": "broker", "gather_facts": False,
         "vars_files": [f"{BOOKS}/group_vars/all/main.yml",
                        f"{roles}/broker/defaults/main.yml",
                        f"{roles}/broker/vars/main.yml"],
         "tasks": [{"debug": {"msg": "ports={{ broker_nginx.ports }} "
                              "revision={{ broker_nginx.revision }}"}}]}]

    def run(**values):
        for name in ("brokers.conf", "grpc_brokers.conf"):
            (d / name).unlink(missing_ok=True)
        return *played(d, plays, {
            "logbroker_senders": "anyone",
            "broker_ring_chosen": "8m", "broker_workers": 1,
            "logbroker_clickhouse_password": "x" * 16,
            **{k: f"{d}/{v}" for k, v in values.items()}}), d
    return run


def test_on_and_off(play):
    status, said, d = play()
    assert status == 0, said
    assert "'10.0.128.20:8080:8080'" in said and "8443" not in said
    assert not (d / "brokers.conf").exists()
    status, said, d = play(**FILES)
    assert status == 0, said
    for port in ("10.0.128.20:8443:8443", "10.0.128.20:4318:4318",
                 "10.0.128.20:8080:8080", "127.0.0.1:8080:8080",
                 "10.0.128.20:4317:4317"):
        assert f"'{port}'" in said
    assert " broker-tls rules" in said and " tls" in said
    more = " max_fails=3 fail_timeout=10s;\n"
    assert (d / "brokers.conf").read_text() == f"server 10.0.128.20:8443{more}"
    assert (d / "grpc_brokers.conf").read_text() == \
        f"server 10.0.128.20:4318{more}"


def test_all_of_the_files(play):
    for left in FILES:
        status, said, _ = play(**{k: v for k, v in FILES.items() if k != left})
        assert status != 0 and "or none of them" in said, said


def test_who_changes_first():
    """On: brokers, then edges. Off: edges, then brokers."""
    plays = yaml.safe_load((BOOKS / "site.yml").read_text())
    names = [p["name"] for p in plays]
    order = [names.index(n) for n in (
        "Edges that speak TLS to brokers no longer", "Brokers", "Edges")]
    assert order == sorted(order)
    first = plays[order[0]]
    assert first["tasks"][-1]["when"] == \
        "site_by_tls.stat.exists and not logbroker_broker_tls | bool"
    edge = [t["name"] for t in yaml.safe_load(
        (BOOKS / "roles/edge/tasks/main.yml").read_text())]
    assert edge.index("The edge is ready to start") < \
        edge.index("TLS to the brokers") < edge.index("The edge runs")
