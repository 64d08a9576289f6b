"""The jobs that make images and try them, against a registry on this machine in
the place of Yandex's, and for images-check with an engine as a runner has it: at
the host "docker", by TLS, without any of the job's files.  Run by ci.sh.
"""

import json
import os
import pathlib
import shutil
import subprocess

import pytest

from env.process import wait_for
from jobs import Runner

NAME = "logbroker-images-test"
HERE, THERE = "172.29.190.1", "172.29.190.2"
REGISTRY = "127.0.0.1:18700"
BASE = "debian:bookworm-20251229-slim"
NAMES = ("broker", "edge", "clickhouse")
KEY = '{"id": "key", "private_key": "of the account that may push"}'


def run(*argv, **more):
    return subprocess.run(argv, check=True, text=True, capture_output=True,
                          **more).stdout.strip()


@pytest.fixture(scope="module")
def servers():
    started = []
    yield started
    for server in reversed(started):
        server.terminate()
        server.wait()


@pytest.fixture(scope="module")
def network():
    """Where the engine is: it and the job have a wire between them."""
    subprocess.run(["ip", "netns", "delete", NAME], stderr=subprocess.DEVNULL)
    subprocess.run(["ip", "link", "delete", "lb-engine"],
                   stderr=subprocess.DEVNULL)
    for argv in (f"netns add {NAME}",
                 f"link add lb-engine type veth peer eth0 netns {NAME}",
                 f"address add {HERE}/30 dev lb-engine",
                 "link set lb-engine up",
                 f"-n {NAME} address add {THERE}/30 dev eth0",
                 f"-n {NAME} link set lo up",
                 f"-n {NAME} link set eth0 up"):
        run("ip", *argv.split())
    yield ("nsenter", f"--net=/run/netns/{NAME}")
    run("ip", "netns", "delete", NAME)


@pytest.fixture(scope="module")
def registry(tmp_path_factory, network, servers):
    """On the loopback of both sides."""
    directory = tmp_path_factory.mktemp("registry")
    (directory / "key.json").write_text(KEY)
    (directory / "users").write_text(
        run("htpasswd", "-Bbn", "json_key", KEY) + "\n")
    (directory / "config.yml").write_text(f"""
version: 0.1
log: {{level: warn}}
storage:
  filesystem: {{rootdirectory: {directory}/data}}
http: {{addr: "{REGISTRY}", secret: none}}
auth:
  htpasswd: {{realm: registry, path: {directory}/users}}
""")
    with open(directory / "log", "w") as log:
        for at in ((), network):
            servers.append(subprocess.Popen(
                [*at, "docker-registry", "serve",
                 str(directory / "config.yml")], stdout=log, stderr=log))
            wait_for(lambda: subprocess.run(
                [*at, "curl", "-s", "-o", os.devnull,
                 f"http://{REGISTRY}/v2/"]).returncode == 0, 20,
                "the registry")
    # what images are made from, where --pull finds it
    env = {**os.environ, "DOCKER_CONFIG": str(directory / "docker")}
    run("docker", "login", "--username", "json_key", "--password-stdin",
        REGISTRY, input=KEY, env=env)
    for name in (BASE, "logbroker/embedded:latest"):
        run("docker", "tag", name, f"{REGISTRY}/mirror/{name}")
        run("docker", "push", "-q", f"{REGISTRY}/mirror/{name}", env=env)
        run("docker", "rmi", f"{REGISTRY}/mirror/{name}")
    return directory


@pytest.fixture(scope="module")
def runner(tmp_path_factory, registry):
    directory = tmp_path_factory.mktemp("runner")
    os.chmod(directory, 0o755)
    return Runner(directory)


@pytest.fixture(scope="module", autouse=True)
def clean():
    yield
    found = [line for line in run(
        "docker", "images", "--format", "{{.Repository}}:{{.Tag}}").split()
        if line.startswith((REGISTRY, "built/"))]
    if found:
        subprocess.run(["docker", "rmi", *found], stdout=subprocess.DEVNULL)


def images(runner, registry, **more):
    """The job, with the engine of this machine: status, output, release."""
    status, out = runner.run("images", {
        "YC_REGISTRY": f"{REGISTRY}/crp", "YC_REGISTRY_KEY":
        str(registry / "key.json"), "LOGBROKER_BUILD_ARGS":
        f"--build-arg BASE={REGISTRY}/mirror/{BASE} "
        f"--build-arg SERVER={REGISTRY}/mirror/logbroker/embedded:latest",
        "DOCKER_HOST": None, "DOCKER_TLS_VERIFY": None,
        "DOCKER_CERT_PATH": None, **more}, shell="dash", timeout=1800)
    assert not list(runner.checkout.glob(".docker-*")), "a login is left"
    release = runner.checkout / "release.json"
    return status, out, json.loads(release.read_text()) \
        if release.exists() else None


def tags(name):
    return json.loads(run("curl", "-sS", "-u", f"json_key:{KEY}",
                          f"http://{REGISTRY}/v2/crp/{name}/tags/list"))["tags"]


def test_images_are_pushed_by_their_content(runner, registry):
    status, out, release = images(runner, registry, CI_COMMIT_TAG="v1.0.0")
    assert status == 0, out[-3000:]
    for name in NAMES:
        assert release[f"{name}_image"].startswith(
            f"{REGISTRY}/crp/{name}@sha256:"), release
        assert {"v1.0.0", "0123abcd"} < set(tags(name)), tags(name)


def test_only_what_changed_is_another_image(runner, registry):
    """A change of the flusher: it is built into the broker alone, though the
    edge is built anew.  No tag is moved."""
    before = json.loads((runner.checkout / "release.json").read_text())
    source = runner.checkout / "flusher/main.c"
    text = source.read_text()
    assert '"usage: ' in text
    source.write_text(text.replace('"usage: ', '"Usage: '))
    status, out, _ = images(runner, registry, CI_COMMIT_TAG="v1.0.0")
    assert status != 0 and "v1.0.0 is " in out, out[-2000:]
    status, out, after = images(runner, registry)
    assert status == 0, out[-3000:]
    assert {n for n in after if after[n] != before[n]} == {"broker_image"}
    assert "edge: has not changed" in out
    assert "0123abcd is " in out and "stays it" in out
    assert len(tags("broker")) == 4 and len(tags("edge")) == 3


@pytest.fixture(scope="module")
def engine(tmp_path_factory, network, servers):
    """An engine that is no longer than this test; the folder of a client's
    certificates."""
    directory = tmp_path_factory.mktemp("engine")
    certs = directory / "certs"
    certs.mkdir()

    def openssl(*argv):
        run("openssl", *argv, cwd=certs)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
            "-subj", "/CN=ca", "-keyout", "ca-key.pem", "-out", "ca.pem")
    for who, use in (("server", "serverAuth"), ("client", "clientAuth")):
        (certs / f"{who}.ext").write_text(
            f"extendedKeyUsage={use}\nsubjectAltName=DNS:docker\n")
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={who}",
                "-keyout", f"{who}-key.pem", "-out", f"{who}.csr")
        openssl("x509", "-req", "-in", f"{who}.csr", "-CA", "ca.pem",
                "-CAkey", "ca-key.pem", "-CAcreateserial", "-days", "2",
                "-extfile", f"{who}.ext", "-out", f"{who}.pem")
    client = certs / "client"
    client.mkdir()
    for name, to in (("ca.pem", "ca.pem"), ("client.pem", "cert.pem"),
                     ("client-key.pem", "key.pem")):
        shutil.copy(certs / name, client / to)
    log = open(directory / "log", "w")
    # of the files of this machine it has its own folder, as /mnt, and a /tmp
    # of its own, where a TMPDIR of this one is not
    dockerd = subprocess.Popen(
        [*network, "unshare", "--mount", "sh", "-c",
         'mount --bind "$1" /mnt && mount -t tmpfs tmpfs /tmp && exec dockerd '
         "--data-root /mnt/data --exec-root /mnt/exec --pidfile /mnt/pid "
         "--host tcp://0.0.0.0:2376 --tlsverify --tlscacert /mnt/certs/ca.pem "
         "--tlscert /mnt/certs/server.pem --tlskey /mnt/certs/server-key.pem",
         "sh", str(directory)], stdout=log, stderr=log,
        env={**os.environ, "TMPDIR": "/tmp"})
    servers.append(dockerd)
    yield client
    dockerd.terminate()
    dockerd.wait()
    servers.remove(dockerd)
    shutil.rmtree(directory, ignore_errors=True)


def test_images_are_tried_before_they_are_rolled_out(runner, registry, engine):
    """images-check, with the very digests, from an engine elsewhere."""
    hosts = pathlib.Path(engine).parent / "hosts"
    hosts.write_text(f"127.0.0.1 localhost\n{THERE} docker\n")
    status, out = runner.run("images-check", {
        "YC_REGISTRY": f"{REGISTRY}/crp", "YC_REGISTRY_KEY":
        str(registry / "key.json"), "DOCKER_CERT_PATH": str(engine)},
        binds={hosts: "/etc/hosts"}, timeout=1200)
    print(out)
    assert status == 0, out[-6000:]
    assert "lost=0 duplicated=0" in out
