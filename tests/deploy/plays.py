"""Plays of Ansible for machines that are none: what it makes of settings, and what
it says of them."""

import json
import os
import subprocess

import yaml

from env.build import ROOT

BOOKS = ROOT / "ansible"
REPLICAS = {"clickhouse-1": "10.0.128.10", "clickhouse-2": "10.0.128.11"}
KEEPERS = {f"keeper-{i}": f"10.0.128.{12 + i}" for i in (1, 2, 3)}
PASSWORD = "ein Kennwort & <mehr>"


def inventory(keepers=3):
    def group(role, hosts):
        return {"hosts": {h: {
            "ansible_connection": "local", "logbroker_role": role,
            "logbroker_address": a, "logbroker_node_index": i,
            "logbroker_disk": None, "logbroker_node_count": len(hosts)}
            for i, (h, a) in enumerate(hosts.items())}}
    return {"all": {
        "vars": {"ansible_user": "ops",
                 "ansible_python_interpreter": "/usr/bin/python3",
                 "logbroker_registry": "r.example/l",
                 "logbroker_clickhouse_password": PASSWORD,
                 "logbroker_version": "1.2.3"},
        "children": {
            "jump": group("jump", {"jump": "10.0.0.10"}),
            "inside": {"children": {
                "edge": group("edge", {"edge-1": "10.0.0.20"}),
                "broker": group("broker", {"broker-1": "10.0.128.20"}),
                "clickhouse": group("clickhouse", REPLICAS),
                "keeper": group("keeper", dict(
                    list(KEEPERS.items())[:keepers]))}}}}}


def spec(role):
    """What the role says about its container."""
    tasks = yaml.safe_load((BOOKS / f"roles/{role}/tasks/main.yml").read_text())
    return next(t["vars"]["container_spec"] for t in tasks
                if "container_spec" in t.get("vars", {}))


def played(directory, plays, values=None, *, machines=None, timeout=120):
    """Status of the plays, in the directory, with these settings; and all that
    was said, in one line.  machines: another inventory()."""
    (directory / "inventory.json").write_text(
        json.dumps(machines or inventory()))
    (directory / "play.yml").write_text(yaml.safe_dump(plays, sort_keys=False))
    r = subprocess.run(
        ["ansible-playbook", "-i", directory / "inventory.json", "-e",
         json.dumps(values or {}), directory / "play.yml"],
        capture_output=True, text=True, timeout=timeout, check=False,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1"})
    return r.returncode, " ".join((r.stdout + r.stderr).split())
