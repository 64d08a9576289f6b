#!/usr/bin/env python3
"""What is in an image, and what is known against it.

  inventory.py sbom IMAGE          CycloneDX of its packages, from dpkg's list in it
  inventory.py scan SBOM TRACKER [ACCEPTED]
                                   fails on vulnerabilities of these packages

TRACKER is Debian's list, https://security-tracker.debian.org/tracker/data/json. A
scan fails on what has a fix that the image does not have, and on what has none
unless Debian calls it unimportant, low or not worth an advisory. ACCEPTED
(docker/accepted by default) has those that are lived with:

  CVE-NUMBER SOURCE-PACKAGE UNTIL  REASON

Exit status of scan: 0 nothing, 1 vulnerabilities, 2 it could not be done.
"""

import datetime
import io
import json
import pathlib
import re
import subprocess
import sys
import tarfile
import uuid
from urllib.parse import quote

HERE = pathlib.Path(__file__).resolve().parent
MINOR = ("unimportant", "low", "end-of-life")


def paragraphs(text):
    """Of dpkg's list: fields of each package that is installed."""
    for part in text.split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z-]+): (.*)$", part, re.M))
        if fields.get("Status", "").endswith(" installed"):
            yield fields


def component(fields):
    """A package, and the source it was made from: in brackets if its version is
    another."""
    name, version = fields["Package"], fields["Version"]
    source, _, other = fields.get("Source", name).partition(" (")
    return {"type": "library", "name": name, "version": version,
            "purl": f"pkg:deb/debian/{quote(name, safe='.-')}"
                    f"@{quote(version, safe='.~-')}?arch={fields['Architecture']}",
            "properties": [
                {"name": "debian:source", "value": source},
                {"name": "debian:source-version",
                 "value": other.rstrip(")") or version}]}


def sbom(image):
    def docker(*argv):
        return subprocess.run(["docker", *argv], check=True,
                              stdout=subprocess.PIPE).stdout

    about = json.loads(docker("image", "inspect", image))[0]
    container = docker("create", image, "none").decode().strip()
    try:
        files = {name: tarfile.open(fileobj=io.BytesIO(
            docker("cp", f"{container}:{name}", "-"))) for name in (
                "/var/lib/dpkg/status", "/usr/lib/os-release")}
        status, release = (f.extractfile(f.next()).read().decode()
                           for f in files.values())
    finally:
        docker("rm", container)
    release = dict(re.findall(r'^([A-Z_]+)="?([^"\n]*)"?$', release, re.M))
    labels = about["Config"]["Labels"] or {}
    return {
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "serialNumber": f"urn:uuid:{uuid.uuid4()}",
        "metadata": {"timestamp": datetime.datetime.now(
            datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {
                "type": "container", "bom-ref": "image",
                "name": labels.get("org.opencontainers.image.title", image),
                "version": about["Id"],
                "properties": [
                    {"name": "debian:release",
                     "value": release["VERSION_CODENAME"]},
                    {"name": "base", "value": labels.get(
                        "org.opencontainers.image.base.name", "")}]}},
        "components": sorted(map(component, paragraphs(status)),
                             key=lambda c: c["name"])}


def older(version, fixed):
    return subprocess.run(["dpkg", "--compare-versions", version, "lt", fixed],
                          check=False).returncode == 0


def known(packages, tracker, release):
    """(CVE, source, version, what is the matter) of those that count."""
    for source, version in sorted(packages):
        for cve, entry in sorted(tracker.get(source, {}).items()):
            here = entry.get("releases", {}).get(release, {})
            urgency = here.get("urgency", "")
            fixed = here.get("fixed_version", "0")
            if urgency in MINOR:
                continue
            if here.get("status") == "resolved":
                if fixed != "0" and older(version, fixed):
                    yield cve, source, version, f"fixed in {fixed}"
            elif here.get("status") == "open" and "nodsa" not in here:
                yield cve, source, version, "no fix yet"


def accepted(text, today):
    """{(CVE, source): reason}; those whose time is over count no more."""
    lived_with = {}
    for n, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        words = line.split(None, 3)
        if len(words) < 4 or not re.fullmatch(r"\d{4}-\d\d-\d\d", words[2]):
            sys.exit(f"line {n} of the accepted: "
                     "not CVE SOURCE-PACKAGE YYYY-MM-DD REASON")
        if words[2] >= today:
            lived_with[tuple(words[:2])] = words[3]
        else:
            print(f"{words[0]} {words[1]}: accepted until {words[2]} only")
    return lived_with


def scan(sbom_file, tracker_file, accepted_file=HERE / "accepted"):
    bom = json.loads(pathlib.Path(sbom_file).read_text())
    about = bom["metadata"]["component"]
    release = {p["name"]: p["value"] for p in about["properties"]}[
        "debian:release"]
    packages = {tuple(p["value"] for p in c["properties"])
                for c in bom["components"]}
    tracker = json.loads(pathlib.Path(tracker_file).read_text())
    if len(packages) < 10 or "glibc" not in tracker:
        sys.exit("this is no list of packages, or not Debian's list")
    lived_with = accepted(pathlib.Path(accepted_file).read_text(),
                          datetime.date.today().isoformat())
    failed = 0
    for cve, source, version, what in known(packages, tracker, release):
        reason = lived_with.get((cve, source))
        failed += reason is None
        print(f"{cve} {source} {version}: {what}"
              + (f" (accepted: {reason})" if reason else ""))
    print(f"{about['name']}: {len(packages)} source packages, "
          f"{failed} vulnerabilities that count")
    return failed


def main(argv):
    if len(argv) == 2 and argv[0] == "sbom":
        json.dump(sbom(argv[1]), sys.stdout, indent=1)
        print()
        return 0
    if len(argv) in (3, 4) and argv[0] == "scan":
        try:
            return min(scan(*argv[1:]), 1)
        except (OSError, ValueError, LookupError, SystemExit) as e:
            print(f"inventory.py: {e!r}" if isinstance(e, LookupError)
                  else f"inventory.py: {e}", file=sys.stderr)
            return 2
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
