"""What the images are made from, and what is known against their packages: the
parts that need no container engine (tests/deploy/images.sh has the others)."""

import datetime
import json
import shutil
import subprocess
import sys

import pytest

from env.build import ROOT

sys.path.insert(0, str(ROOT / "docker"))
import inventory  # noqa: E402


@pytest.fixture
def checkout(tmp_path):
    """A repository with nothing but what names a base."""
    for name in ("docker/bases", "docker/bases.sh", "docker/edge/Dockerfile",
                 "docker/broker/Dockerfile", "docker/clickhouse/Dockerfile",
                 "docs/deploy.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    subprocess.run("git init -q . && git add .", shell=True, check=True,
                   cwd=tmp_path)
    return tmp_path


def bases(where, *argv):
    r = subprocess.run([where / "docker/bases.sh", *argv], text=True,
                       capture_output=True, check=False)
    return r.returncode, r.stderr


def test_every_base_is_pinned():
    assert bases(ROOT) == (0, "")
    for name in ("edge", "broker", "clickhouse"):
        text = (ROOT / f"docker/{name}/Dockerfile").read_text()
        args = [x for x in text.splitlines() if x.startswith("ARG ")
                and "=" in x]
        assert args and all("@sha256:" in x for x in args), name


def test_another_base_is_found_and_written(checkout):
    assert bases(checkout) == (0, "")
    list_ = checkout / "docker/bases"
    list_.write_text(list_.read_text().replace("bookworm-2026", "bookworm-2027")
                     .replace("@sha256:", "@sha256:0"))
    status, words = bases(checkout)
    assert status == 1 and "edge/Dockerfile" in words
    assert bases(checkout, "--write") == (0, "")
    assert "bookworm-2027" in (checkout / "docker/edge/Dockerfile").read_text()
    # for people, without the digest
    page = (checkout / "docs/deploy.md").read_text()
    assert "debian:bookworm-2027" in page and "slim@sha256" not in page


def test_a_base_without_updates(checkout):
    assert bases(checkout, "--supported")[0] in (0, 1)
    list_ = checkout / "docker/bases"
    for days, expected in ((400, 0), (10, 1), (-10, 1)):
        day = datetime.date.today() + datetime.timedelta(days)
        list_.write_text("SERVER clickhouse/clickhouse-server:1.2 "
                         f"{day.isoformat()}\n")
        assert bases(checkout, "--supported")[0] == expected, days


STATUS = "\n\n".join(
    f"Package: {name}\nStatus: install ok {state}\nArchitecture: amd64\n{more}"
    for name, state, more in (
        ("libc6", "installed", "Source: glibc\nVersion: 2.36-9+deb12u9"),
        ("libssl3", "installed", "Source: openssl\nVersion: 3.0.17-1~deb12u2"),
        ("nginx-light", "installed", "Source: nginx (1.22.1-9)\n"
         "Version: 1.22.1-9+b1"),
        ("perl-base", "not-installed", "Source: perl\nVersion: 5.36.0-7"),
        *((f"lib{i}", "installed", "Version: 1") for i in range(12))))


def test_a_list_of_packages():
    parts = {c["name"]: c for c in map(
        inventory.component, inventory.paragraphs(STATUS))}
    assert "perl-base" not in parts and len(parts) == 15
    assert parts["libc6"]["purl"] == \
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u9?arch=amd64"
    # a package has the version of its source, unless it says another
    assert [p["value"] for p in parts["nginx-light"]["properties"]] == \
        ["nginx", "1.22.1-9"]
    assert [p["value"] for p in parts["libssl3"]["properties"]] == \
        ["openssl", "3.0.17-1~deb12u2"]


def scan(tmp_path, against, accepted=""):
    bom = tmp_path / "bom.json"
    bom.write_text(json.dumps({
        "metadata": {"component": {"name": "broker", "properties": [
            {"name": "debian:release", "value": "bookworm"}]}},
        "components": [inventory.component(p)
                       for p in inventory.paragraphs(STATUS)]}))
    tracker = {"glibc": {}}
    for source, cve, here in against:
        tracker.setdefault(source, {})[cve] = {"releases": {
            "bookworm": here, "trixie": {"status": "open", "urgency": "high"}}}
    (tmp_path / "tracker.json").write_text(json.dumps(tracker))
    (tmp_path / "accepted").write_text(accepted)
    r = subprocess.run(
        [sys.executable, ROOT / "docker/inventory.py", "scan", bom,
         tmp_path / "tracker.json", tmp_path / "accepted"], text=True,
        capture_output=True, check=False)
    return r.returncode, r.stdout + r.stderr


FIXED = {"status": "resolved", "urgency": "not yet assigned",
         "fixed_version": "3.0.17-1~deb12u3"}
OPEN = {"status": "open", "urgency": "not yet assigned"}


@pytest.mark.parametrize("here, status", [
    (FIXED, 1),                                          # a fix that is not in
    (FIXED | {"fixed_version": "3.0.17-1~deb12u2"}, 0),  # it is
    (FIXED | {"fixed_version": "3.0.9-1"}, 0),           # by number, not letters
    (FIXED | {"fixed_version": "0"}, 0),                 # never was affected
    (OPEN, 1),
    (OPEN | {"urgency": "unimportant"}, 0),
    (OPEN | {"urgency": "low"}, 0),
    (OPEN | {"nodsa": "Minor issue"}, 0),
    ({}, 0),                                             # another release's
])
def test_what_counts(tmp_path, here, status):
    got, words = scan(tmp_path, [("openssl", "CVE-2026-1", here)])
    assert got == status, words
    assert ("CVE-2026-1 openssl" in words) == bool(status)
    # of a package that is not there
    assert scan(tmp_path, [("perl", "CVE-2026-1", here)])[0] == 0


def test_what_is_accepted(tmp_path):
    day = datetime.date.today()
    against = [("openssl", "CVE-2026-1", OPEN), ("nginx", "CVE-2026-2", OPEN)]
    one = f"# words\nCVE-2026-1 openssl {day} not reached from here\n"
    got, words = scan(tmp_path, against, one)
    assert got == 1 and "(accepted: not reached from here)" in words
    assert scan(tmp_path, against, one + f"CVE-2026-2 nginx {day} why\n")[0] == 0
    # of another package, over, without a reason
    for bad in (f"CVE-2026-1 nginx {day} why",
                f"CVE-2026-1 openssl {day - datetime.timedelta(1)} why"):
        assert scan(tmp_path, against[:1], bad)[0] == 1
    got, words = scan(tmp_path, against[:1], f"CVE-2026-1 openssl {day}\n")
    assert got == 2 and "REASON" in words


def test_what_is_no_list_at_all(tmp_path):
    """A page that says 200 and is something else must not pass for good."""
    assert scan(tmp_path, [])[0] == 0
    for text in ("<html>", "{}"):
        (tmp_path / "x.json").write_text(text)
        r = subprocess.run(
            [sys.executable, ROOT / "docker/inventory.py", "scan",
             tmp_path / "bom.json", tmp_path / "x.json"], check=False,
            capture_output=True)
        assert r.returncode == 2
    (tmp_path / "bom.json").write_text("{}")
    assert subprocess.run(
        [sys.executable, ROOT / "docker/inventory.py", "scan",
         tmp_path / "bom.json", tmp_path / "tracker.json"], check=False,
        capture_output=True).returncode == 2
