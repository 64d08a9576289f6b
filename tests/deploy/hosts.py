"""The playbooks of ansible/ against throw-away machines: containers with
systemd, sshd and a Docker engine of their own, reached through a jump host that
is their NAT instance too, and a registry that asks for a login, in the cloud's
place.  What happens to them is in test_hosts.py.
"""

import base64
import contextlib
import http.server
import json
import os
import pathlib
import re
import secrets
import shlex
import shutil
import subprocess
import sys
import threading
import time

from env.process import wait_for

from jobs import Runner, own_home

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent

NAME = "logbroker-ansible-test"
NETWORK = "172.29.188"
# a network namespace: what is neither a machine nor the machines' network
INTERNET = "172.29.189.2"
REGISTRY = f"{INTERNET}:18800"
PUSH = "127.0.0.1:18800"
# on the machines' own network, as in the cloud, and nobody's address else:
# containers may not talk to it
METADATA = f"{NETWORK}.254:18801"
EDGE = f"{NETWORK}.20"
OLD, NEW, BAD = "1.0.0", "1.0.1", "1.0.2"
BASE = os.environ.get("LOGBROKER_BASE", "debian:bookworm-20251229-slim")
# other images than images.sh makes
IMAGES = os.environ.get("LOGBROKER_IMAGES", "logbroker")
HOSTS = {
    "jump": ("jump", 10, None),
    "edge-1": ("edge", 20, None),
    "broker-1": ("broker", 30, "spool"),
    "broker-2": ("broker", 31, "spool"),
    "clickhouse-1": ("clickhouse", 40, "data"),
}
CAPABILITIES = ("SYS_ADMIN", "NET_ADMIN", "SYS_PTRACE", "SYS_CHROOT", "MKNOD",
                "DAC_READ_SEARCH", "SYS_NICE", "NET_RAW")

# to let a file system grow while it is in use; not everywhere can a container
# have it
RESOURCE = 24
GROWS = int(re.search(r"^CapBnd:\s*(\w+)", pathlib.Path(
    "/proc/self/status").read_text(), re.M)[1], 16) >> RESOURCE & 1
if GROWS:
    CAPABILITIES += ("SYS_RESOURCE",)

begun = time.monotonic()


def say(text):
    print(f"[{time.monotonic() - begun:4.0f} s] {text}", flush=True)


def run(*argv, check=True, data=None, timeout=900, **more):
    r = subprocess.run(argv, input=data, capture_output=True, text=True,
                       timeout=timeout, **more)
    if check and r.returncode:
        raise AssertionError(
            f"{' '.join(argv)}: exit {r.returncode}\n{r.stdout}{r.stderr}")
    return r


def docker(*argv, **more):
    return run("docker", *argv, **more).stdout.strip()


def address(host):
    return f"{NETWORK}.{HOSTS[host][1]}"


def private():
    return [h for h in HOSTS if HOSTS[h][0] in ("broker", "clickhouse")]


def inside(host, *argv, **more):
    """A command on a machine, past SSH: only to look."""
    return docker("exec", *(["-i"] if "data" in more else []),
                  f"{NAME}-{host}", *argv, **more)


class Cloud:
    """What is around the machines: their network, disks, registry, and the
    service that tells them their token."""

    def __init__(self, directory):
        self.dir = pathlib.Path(directory)
        self.token = secrets.token_hex(20)
        self.password = secrets.token_hex(12)
        self.servers = []
        self.server = self.log = None
        self.asked = 0
        self.digests = {}

    def __enter__(self):
        clean()
        network = docker("network", "create", "--subnet", f"{NETWORK}.0/24",
                         "--gateway", f"{NETWORK}.1", NAME)
        try:
            self._internet(f"br-{network[:12]}")
            self._registry()
            self._metadata()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _internet(self, bridge):
        """Tells who asks: its clients' addresses are not rewritten here. And as
        in the cloud, what a machine without a public address sends there by
        itself is lost."""
        gateway = INTERNET[:-1] + "1"
        for argv in (f"netns add {NAME}",
                     f"link add lb-internet type veth peer eth0 netns {NAME}",
                     f"address add {gateway}/30 dev lb-internet",
                     "link set lb-internet up",
                     f"-n {NAME} address add {INTERNET}/30 dev eth0",
                     f"-n {NAME} link set lo up",
                     f"-n {NAME} link set eth0 up",
                     f"-n {NAME} route add default via {gateway}"):
            run("ip", *argv.split())
        run("ip", "address", "add", METADATA.split(":")[0] + "/32", "dev",
            bridge)
        mark = ("-m", "comment", "--comment", NAME)
        run("iptables", "-w", "-t", "nat", "-I", "POSTROUTING", "-s",
            f"{NETWORK}.0/24", "-d", INTERNET, *mark, "-j", "ACCEPT")
        for host in private():
            run("iptables", "-w", "-I", "DOCKER-USER", "-s", address(host),
                "-i", bridge, "!", "-o", bridge, *mark, "-j", "DROP")
        self.servers.append(subprocess.Popen(
            ["ip", "netns", "exec", NAME, sys.executable, "-c", """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.client_address[0].encode())
http.server.ThreadingHTTPServer(("", 80), Handler).serve_forever()
"""], stderr=subprocess.DEVNULL))

    def _registry(self):
        """Listens on the internet and, for pushing to it (an engine trusts a
        registry without TLS on loopback alone), on loopback."""
        users = self.dir / "htpasswd"
        users.write_text("".join(
            run("htpasswd", "-Bbn", user, password).stdout.strip() + "\n"
            for user, password in (("iam", self.token),
                                   ("deploy", self.password))))
        self.log = open(self.dir / "registry.log", "wb")
        for where, at in ((REGISTRY, ("ip", "netns", "exec", NAME)), (PUSH, ())):
            settings = self.dir / f"registry-{where}.yml"
            settings.write_text(f"""
version: 0.1
log: {{level: warn}}
storage:
  filesystem: {{rootdirectory: {self.dir}/registry}}
http: {{addr: "{where}", secret: {self.token}}}
auth:
  htpasswd: {{realm: registry, path: {users}}}
""")
            self.servers.append(subprocess.Popen(
                [*at, "docker-registry", "serve", str(settings)],
                stdout=self.log, stderr=self.log))
            wait_for(lambda: run("curl", "-s", f"http://{where}/v2/",
                                 check=False).returncode == 0, 20,
                     "the registry")

    def _metadata(self):
        cloud = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                right = (self.headers["Metadata-Flavor"] == "Google"
                         and self.path == "/computeMetadata/v1/instance/"
                         "service-accounts/default/token")
                cloud.asked += right
                body = json.dumps({"access_token": cloud.token,
                                   "expires_in": 3600,
                                   "token_type": "Bearer"}).encode()
                self.send_response(200 if right else 403)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(body if right else b"{}")

            def log_message(self, *_):
                pass

        host, port = METADATA.split(":")
        self.server = http.server.ThreadingHTTPServer((host, int(port)),
                                                      Handler)
        threading.Thread(target=self.server.serve_forever,
                         daemon=True).start()

    def push(self, image, name, version):
        config = self.dir / "push"
        config.mkdir(exist_ok=True)
        (config / "config.json").write_text(json.dumps({"auths": {
            PUSH: {"auth": base64.b64encode(
                f"deploy:{self.password}".encode()).decode()}}}))
        tag = f"{PUSH}/logbroker/{name}:{version}"
        docker("tag", image, tag)
        docker("--config", str(config), "push", tag)
        self.digests[name, version] = docker(
            "image", "inspect", "--format", "{{index .RepoDigests 0}}",
            tag).split("@")[1]
        docker("rmi", tag)

    def release(self, version, **others):
        """release.json, as the job images writes it."""
        return json.dumps({
            f"{name}_image": f"{REGISTRY}/logbroker/{name}@"
            + self.digests[name, others.get(name, version)]
            for name in ("broker", "edge", "clickhouse")})

    def disk(self, host, megabytes=700):
        image = self.dir / f"{host}.disk"
        with open(image, "wb") as f:
            f.truncate(megabytes << 20)
        return run("losetup", "--find", "--show", str(image)).stdout.strip()

    def __exit__(self, *exc):
        if self.server:
            self.server.shutdown()
        for server in self.servers:
            server.terminate()
            server.wait()
        if self.log:
            self.log.close()
        clean()


def clean():
    """Removes what this run, or one that was cut short, has made."""
    names = docker("ps", "-aq", "--filter", f"name=^{NAME}-").split()
    if names:
        docker("rm", "--force", "--volumes", *names)
    volumes = docker("volume", "ls", "-q", "--filter",
                     f"name=^{NAME}-").split()
    if volumes:
        docker("volume", "rm", "--force", *volumes)
    for line in run("losetup", "--list", "--noheadings", "--output",
                    "NAME,BACK-FILE").stdout.splitlines():
        if NAME in line:
            run("losetup", "--detach", line.split()[0], check=False)
    for table, chain in (("nat", "POSTROUTING"), ("filter", "DOCKER-USER")):
        for line in run("iptables", "-w", "-t", table, "-S",
                        chain).stdout.splitlines():
            if NAME in line:
                run("iptables", "-w", "-t", table, "-D",
                    *shlex.split(line)[1:])
    if pathlib.Path(f"/run/netns/{NAME}").exists():
        run("ip", "netns", "delete", NAME)
    run("ip", "link", "delete", "lb-internet", check=False)
    run("docker", "network", "rm", NAME, check=False)


class Machines:
    def __init__(self, cloud):
        self.cloud = cloud
        self.dir = cloud.dir
        self.key = self.dir / "key"
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f",
            str(self.key))
        # the key is at hand as people and pipelines have it
        agent = run("ssh-agent", "-s").stdout
        self.agent = dict(re.findall(r"(SSH_\w+)=([^;]+)", agent))
        run("ssh-add", "-q", str(self.key), env={**os.environ, **self.agent})
        self.password = secrets.token_hex(24)
        self.log = self.dir / "ansible.log"
        self.runner = None
        self.home = self.dir / "home"
        self.env = {**os.environ, **self.agent}
        self.ssh_argv = [*own_home(self.home), "ssh", "-F",
                         str(ROOT / "ansible/ssh_config"), "-o",
                         "BatchMode=yes"]
        # as they are now, and without anyone's own settings
        self.books = self.dir / "ansible"
        # what roles copy from beside it
        for name in ("conf", "tools"):
            (self.dir / name).symlink_to(ROOT / name)
        shutil.copytree(ROOT / "ansible", self.books,
                        ignore=shutil.ignore_patterns(
                            "vault.yml", "inventory.json", "tls"))

    def make(self):
        docker("build", "--build-arg", f"BASE={BASE}", "-t", f"{NAME}/host",
               str(HERE / "host"), env={**os.environ, "DOCKER_BUILDKIT": "0"})
        for host, (role, number, disk) in HOSTS.items():
            more = []
            if disk:
                device = self.cloud.disk(host)
                more += ["--device", f"{device}:{device}"]
            docker(
                "run", "--detach", "--name", f"{NAME}-{host}",
                "--hostname", host, "--network", NAME,
                # a reboot ends its first process
                "--restart", "always",
                "--ip", address(host),
                *(f"--cap-add={c}" for c in CAPABILITIES),
                "--security-opt", "seccomp=unconfined",
                "--security-opt", "apparmor=unconfined",
                "--cgroupns=host", "-v", "/sys/fs/cgroup:/sys/fs/cgroup:rw",
                "-v", f"{NAME}-{host}:/var/lib/docker",
                "--tmpfs", "/run:exec", "--tmpfs", "/tmp", *more,
                f"{NAME}/host")
            self._boot(host, (
                (f"mkdir -p /dev/disk/by-id; ln -sf {device} "
                 f"/dev/disk/by-id/virtio-{disk}",
                 # before it is in use, anyone may
                 *(() if GROWS else (
                     f"blkid -t TYPE=ext4 {device} && e2fsck -fp {device} && "
                     f"resize2fs {device}",)),
                 "mount -a") if disk else ())
                # the cloud's route table
                + ((f"ip route replace default via {address('jump')}",)
                   if host in private() else ()))
            inside(host, "sh", "-c", "cat >>/home/ops/.ssh/authorized_keys",
                   data=self.key.with_suffix(".pub").read_text())
            if role != "jump":
                # as the cloud's security groups have it
                inside(host, "sh", "-c", "cat >/etc/ssh/sshd_config.d/"
                       "05-security-group.conf",
                       data=f"AllowUsers ops@{address('jump')}\n")
        self.describe()
        for host in HOSTS:
            wait_for(lambda: inside(host, "systemctl", "is-active", "ssh",
                                    check=False) == "active", 60,
                     f"{host} to be up")
        # the cloud's image of a NAT instance
        inside("jump", "sh", "-c", "DEBIAN_FRONTEND=noninteractive "
               "apt-get install -y --no-install-recommends iptables")
        self._boot("jump", (
            f"iptables -t nat -A POSTROUTING -s {NETWORK}.0/24 "
            f"! -d {NETWORK}.0/24 -j MASQUERADE",
            "for i in all eth0; do "
            "echo 0 >/proc/sys/net/ipv4/conf/$i/send_redirects; done",
            "echo 1 >/proc/sys/net/ipv4/ip_forward"))

    @staticmethod
    def _boot(host, lines):
        """What is to be done at each boot, and now."""
        inside(host, "sh", "-c", "cat >/etc/at-boot && sh /etc/at-boot",
               data="\n".join((*lines, "")))

    @staticmethod
    def nat(works):
        inside("jump", "sh", "-c",
               f"echo {int(works)} >/proc/sys/net/ipv4/ip_forward")

    def ssh(self, *argv, **more):
        """ssh as a person types it, with the file of ansible/."""
        return run(*self.ssh_argv, *argv, env=self.env, **more)

    def describe(self, without=()):
        self.inventory = self.dir / "inventory.json"
        self.inventory.write_text(json.dumps(self._inventory(
            {h: v for h, v in HOSTS.items() if h not in without}), indent=1))

    def _inventory(self, hosts):
        """In the shape of Terraform's output ansible_inventory."""
        def variables(host):
            role, _, disk = hosts[host]
            peers = [h for h in hosts if hosts[h][0] == role]
            return {
                "ansible_host": address(host),
                "logbroker_role": role,
                "logbroker_address": address(host),
                "logbroker_disk":
                    disk and f"/dev/disk/by-id/virtio-{disk}",
                "logbroker_node_index": peers.index(host),
                "logbroker_node_count": len(peers),
            }
        return {"all": {
            "vars": {"ansible_user": "ops",
                     "logbroker_registry": f"{REGISTRY}/logbroker"},
            "children": {
                "jump": {"hosts": {"jump": variables("jump")}},
                "inside": {
                    "vars": {"ansible_ssh_common_args":
                             f"-o ProxyJump=ops@{address('jump')}"},
                    "children": {
                        role: {"hosts": {h: variables(h) for h in hosts
                                         if hosts[h][0] == role}}
                        for role in ("edge", "broker", "clickhouse")}}}}}

    def play(self, book, *argv, settings=None, fails=False):
        """Runs a playbook; returns per host what the recap says, and the
        output."""
        values = self.dir / "settings.json"
        given = {"logbroker_version": OLD, "logbroker_clickhouse_version": OLD,
                 **self.settings(), **(settings or {})}
        if book == "rollback.yml":
            del given["logbroker_version"]
        values.write_text(json.dumps(
            {k: v for k, v in given.items() if v is not None}))
        r = run(*own_home(self.home), "ansible-playbook", "-i",
                str(self.inventory), book, *argv,
                "-e", f"@{values}", cwd=self.books, check=False,
                env={**os.environ, **self.agent, "ANSIBLE_NOCOLOR": "1",
                     "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.dir / "cp")})
        return self._played(book, (argv, settings), r.returncode, r.stdout,
                            r.stderr, fails)

    def settings(self):
        return {
            "logbroker_clickhouse_password": self.password,
            "logbroker_senders": "anyone",
            "logbroker_metadata_url": f"http://{METADATA}/computeMetadata/v1",
            "docker_insecure_registries": [REGISTRY],
            "docker_blocked": [METADATA.split(":")[0]],
            "broker_workers": 2,
            # no more is allowed to a container in a container
            "logbroker_nofile": 16384,
            "clickhouse_nofile": 16384}

    def job(self, name, release=None, **variables):
        """A job of the pipeline, as a runner has it that has met no machine."""
        if not self.runner:
            self.runner = Runner(self.dir)
        checkout = self.runner.checkout
        settings = checkout / "ansible/group_vars/all/test.yml"
        settings.write_text(json.dumps(
            {k: v for k, v in self.settings().items()
             if k != "logbroker_clickhouse_password"}))
        (checkout / "planned").mkdir(exist_ok=True)
        (checkout / "planned/outputs.json").write_text(json.dumps({
            "ansible_inventory": {"value": json.loads(
                self.inventory.read_text())},
            "service_address": {"value": EDGE}}))
        (checkout / "release.json").unlink(missing_ok=True)
        if release:
            (checkout / "release.json").write_text(release)
        files = {"ANSIBLE_SSH_KEY": self.key.read_text(),
                 "ANSIBLE_VAULT": json.dumps({
                     "logbroker_clickhouse_password": self.password}),
                 "ANSIBLE_VAULT_KEY": "password of the vault"}
        for key, text in files.items():
            (self.dir / key).write_text(text)
        status, out = self.runner.run(name, {
            "ANSIBLE_FORCE_COLOR": None, "YC_REGISTRY":
            f"{REGISTRY}/logbroker", **variables,
            **{key: str(self.dir / key) for key in files}})
        return self._played(f"job {name}", release, status, out, "", False)

    def _played(self, book, argv, status, out, error, fails):
        with open(self.log, "a") as f:
            f.write(f"==== {book} {argv}\n{out}{error}")
        recap = {}
        for line in out.splitlines():
            m = re.match(r"(\S+)\s*: (ok=.*)", line)
            if m:
                recap[m[1]] = {k: int(v) for k, v in
                               re.findall(r"(\w+)=(\d+)", m[2])}
        # where it is seen that there is an inventory
        recap.pop("localhost", None)
        for secret in (self.password, self.cloud.token, self.cloud.password):
            assert secret not in out + error, f"{book} shows a secret"
        if not fails:
            tail = "\n".join(out.splitlines()[-60:])
            assert status == 0, f"{book}: {tail}\n{error}"
        return recap, out + error

    def close(self):
        os.kill(int(self.agent["SSH_AGENT_PID"]), 15)


class ClickHouse:
    """What the oracle asks."""

    def query(self, sql):
        return inside("clickhouse-1", "docker", "exec", "-i",
                      "logbroker-clickhouse", "curl", "-sS",
                      "--fail-with-body", "--data-binary", "@-",
                      "http://127.0.0.1:8123/", data=sql)

    def count(self):
        return int(self.query("SELECT count() FROM logbroker.logs"))


def images(cloud):
    """Two versions of each, alike but for their label: what counts here is
    that one replaces the other."""
    if IMAGES == "logbroker":
        run(str(HERE / "images.sh"))
    for name in ("broker", "edge", "clickhouse"):
        for version in (OLD, NEW):
            tag = f"{NAME}/{name}:{version}"
            docker("build", "-t", tag, "-", data=f"FROM {IMAGES}/{name}\n"
                   f"LABEL logbroker.version={version}\n",
                   env={**os.environ, "DOCKER_BUILDKIT": "0"})
            cloud.push(tag, name, version)
            docker("rmi", tag)
    tag = f"{NAME}/broker:{BAD}"
    docker("build", "-t", tag, "-",
           data=f"FROM {IMAGES}/broker\nENTRYPOINT [\"false\"]\n",
           env={**os.environ, "DOCKER_BUILDKIT": "0"})
    cloud.push(tag, "broker", BAD)
    docker("rmi", tag)


def running():
    """Per container of the service: which it is, and the version in it."""
    found = {}
    for host, (role, _, _) in HOSTS.items():
        if role == "jump":
            continue
        for line in inside(host, "docker", "ps", "--no-trunc", "--format",
                           "{{.Names}} {{.ID}} "
                           '{{.Label "logbroker.version"}}',
                           check=False).splitlines():
            name, number, version = line.split(" ")
            found[f"{host} {name}"] = (number, version)
    return found


def drained(hosts=("broker-1", "broker-2")):
    for host in hosts:
        s = json.loads(inside(host, "docker", "exec", "logbroker-flusher",
                              "logbroker-spool", "stat", "--json",
                              "/var/spool/logbroker"))
        if s["in_flight"] or any(r["backlog_events"] for r in s["rings"]):
            return False
    return True


class Rotation:
    """Watches the edge's list: how many brokers were in it at least, and
    which were out at some time."""

    def __init__(self):
        self.least = len(self._listed()[0])
        self.out = set()
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    @staticmethod
    def _listed():
        lines = inside("edge-1", "cat",
                       "/etc/logbroker/edge/brokers.conf").splitlines()
        return ([li for li in lines if " down;" not in li],
                [li for li in lines if " down;" in li])

    def _run(self):
        while not self.stopping.is_set():
            with contextlib.suppress(AssertionError):
                up, down = self._listed()
                self.least = min(self.least, len(up))
                self.out.update(li.split()[1].split(":")[0] for li in down)
            self.stopping.wait(0.5)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.stopping.set()
        self.thread.join()


def boots():
    """When each machine was started."""
    return {h: inside(h, "systemctl", "show", "--property=UserspaceTimestamp",
                      check=False) for h in HOSTS}


def confined(host, name):
    """Holds a container to what it may do; what the engine says of it."""
    said = inside(host, "docker", "inspect", name)
    i = json.loads(said)[0]
    assert i["HostConfig"]["ReadonlyRootfs"], name
    assert i["HostConfig"]["CapDrop"] == ["ALL"], name
    assert not i["HostConfig"]["Privileged"], name
    assert i["Config"]["User"].startswith("10001"), name
    # one that goes wrong does not take its machine with it
    memory = i["HostConfig"]["Memory"]
    assert memory > 0 and i["HostConfig"]["MemorySwap"] == memory, name
    for folder, options in i["HostConfig"]["Tmpfs"].items():
        size = int(re.search(r"size=(\d+)m", options)[1]) << 20
        assert size <= memory / 3, (name, folder)
    return said


def changed(recap):
    return {h: n["changed"] for h, n in recap.items() if n["changed"]}


def commands(page, heading=""):
    """The blocks of commands of a page, or behind one of its headings: where
    they are typed, or None, and the lines."""
    text = (ROOT / page).read_text()
    text = re.split(r"(?m)^## ", text[text.index(heading) + len(heading):])[0]
    for block in re.findall(r"```sh\n(.*?)```", text, re.S):
        lines = [re.split(r" {2,}#", line)[0].strip()
                 for line in block.splitlines()]
        where = None
        if re.match("ssh -J ", lines[0]):
            where, *lines = lines
        yield where, [line for line in lines if line]


def typed(line):
    """With the names of machines for the words in capitals."""
    for word, host in (("JUMP", "jump"), ("BROKER", "broker-1"),
                       ("EDGE", "edge-1"), ("CLICKHOUSE", "clickhouse-1")):
        line = re.sub(rf"\b{word}\b", address(host), line)
    return line
