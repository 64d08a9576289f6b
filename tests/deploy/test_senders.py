"""logbroker_senders, as the vault has it: what Ansible writes of it nginx takes,
and what makes no sense is noticed before anything is touched."""

import hashlib
import json
import pathlib
import re
import subprocess

import pytest
import yaml

ANSIBLE = pathlib.Path(__file__).resolve().parents[2] / "ansible"


def sha(token):
    return hashlib.sha256(token.encode()).hexdigest()


ONE = {"name": "shop", "tokens": [sha("a")]}


@pytest.fixture(scope="module")
def playbook(tmp_path_factory):
    """The assertions alone, and the file of the edge."""
    d = tmp_path_factory.mktemp("senders")
    text = (ANSIBLE / "tasks/settings.yml").read_text()
    (d / "settings.yml").write_text(
        "---\n" + text[text.index("- name: Somebody may send"):])
    (d / "play.yml").write_text(f"""---
- hosts: localhost
  gather_facts: false
  vars_files: ["{ANSIBLE}/group_vars/all/main.yml"]
  tasks:
    - ansible.builtin.include_tasks: {d}/settings.yml
    - ansible.builtin.template:
        src: {ANSIBLE}/roles/edge/templates/senders.conf.j2
        dest: {d}/senders.conf
      when: logbroker_senders != 'anyone'
""")

    def run(senders, **more):
        given = {"logbroker_senders": senders, "logbroker_plain_http": True,
                 **more}
        p = subprocess.run(
            ["ansible-playbook", "-i", "localhost,", "-c", "local", "-e",
             json.dumps(given), d / "play.yml"], cwd=ANSIBLE,
            capture_output=True, text=True, timeout=120, check=False)
        conf = d / "senders.conf"
        return (p.returncode, p.stdout + p.stderr,
                conf.read_text() if conf.exists() else "")

    return run


def test_twenty_teams(playbook):
    teams = [{"name": f"team-{i}", "tokens": [sha(f"a{i}"), sha(f"b{i}")],
              "streams": [f"team-{i}", f"team-{i}-*"], "requests": 100 + i,
              "bytes": "10m", "quota": "50g", "expires": "2027-12-31"}
             for i in range(19)]
    status, said, conf = playbook(teams + [
        {"name": "bank", "certificates": ["CN=bank,O=Example Inc"]}])
    assert status == 0, said
    lines = conf.splitlines()
    assert len(lines) == 20
    assert lines[3] == (
        f"logbroker_sender team-3 token={sha('a3')} token={sha('b3')} "
        "streams=team-3,team-3-* requests=103 bytes=10m quota=50g "
        "expires=2027-12-31;")
    assert lines[19] == ('logbroker_sender bank '
                         '"certificate=CN=bank,O=Example Inc";')


def test_the_page(playbook):
    """docs/access.md has the same twice."""
    page = (ANSIBLE.parent / "docs/access.md").read_text()
    senders = yaml.safe_load(re.search(r"```yaml\n(.*?)```", page, re.S)[1])
    status, said, conf = playbook(senders["logbroker_senders"])
    assert status == 0, said
    assert conf.split() == re.search(r"```nginx\n(.*?)```", page,
                                     re.S)[1].split()


def test_anyone(playbook):
    assert playbook("anyone", logbroker_plain_http=False)[0] == 0


@pytest.mark.parametrize("senders, words", [
    ([], "Nobody may send"),
    ("everybody", "Nobody may send"),
    ([{"name": "a b", "tokens": [sha("a")]}], "A sender has a name"),
    ([{"name": "a"}], "A sender has a name"),
    ([{**ONE, "tokens": ["secret"]}], "A sender has a name"),
    ([{**ONE, "tokens": [sha(str(i)) for i in range(3)]}], "A sender has"),
    ([{**ONE, "rate": 5}], "A sender has a name"),
    ([{**ONE, "streams": ["a-*"]}], "A sender has a name"),
    ([{**ONE, "streams": ["a;"]}], "A sender has a name"),
    ([{**ONE, "requests": 0}], "A sender has a name"),
    ([{**ONE, "bytes": "10 MB"}], "A sender has a name"),
    ([{**ONE, "expires": "soon"}], "A sender has a name"),
    ([{"name": "a", "certificates": ['CN="x";']}], "A sender has a name"),
    ([ONE, ONE], "the same name or token"),
    ([ONE, {**ONE, "name": "b"}], "the same name or token"),
], ids=str)
def test_mistakes(playbook, senders, words):
    status, said, _ = playbook(senders)
    assert status != 0 and words in said.replace("\n", " "), said


def test_tokens_in_the_clear(playbook):
    status, said, _ = playbook([ONE], logbroker_plain_http=False)
    assert status != 0 and "tokens of logbroker_senders" in said
