"""Jobs of .gitlab-ci.yml as a runner has them (jobs.py): which are in a
pipeline, the way to machines through a jump host that was never seen, what lets
a job into the cloud.  The machines are two sshd on this one; the same jobs on
whole machines are in test_hosts.py.  Run by ci.sh.
"""

import http.server
import json
import os
import pathlib
import re
import shutil
import ssl
import subprocess
import threading
import time
import urllib.parse
import zipfile

import pytest

from jobs import CLOUD, MERGE, PUSH, ROOT, Pipeline, Runner

JUMP, MACHINE = "127.0.61.1", "127.0.61.2"
MIRROR, NOBODY = "127.0.62.1", "127.0.62.2"
CHECKS = {"ansible-check", "terraform-check", "tests"}
ROLLOUT = {"plan", "rollback", "rollout", "smoke"}


@pytest.fixture(scope="module")
def pipeline():
    return Pipeline()


def test_without_a_cloud_checks_alone(pipeline):
    assert set(pipeline.jobs(PUSH)) == CHECKS


def test_default_branch_waits_for_a_person(pipeline):
    jobs = pipeline.jobs({**PUSH, **CLOUD})
    assert set(jobs) == CHECKS | ROLLOUT | {"images", "images-check", "images-scan",
                                            "infrastructure"}
    assert {n for n, w in jobs.items() if w == "manual"} == {
        "infrastructure", "rollout", "rollback"}
    jobs = pipeline.jobs({**PUSH, **CLOUD, "LOGBROKER_ROLLOUT": "auto"})
    assert {n for n, w in jobs.items() if w == "manual"} == {"rollback"}


def test_a_job_is_there_for_what_changed(pipeline):
    """Documents roll out nothing; playbooks build no images."""
    def jobs(*changed):
        return set(pipeline.jobs({**PUSH, **CLOUD}, changed)) - CHECKS

    for path in ("docs/deploy.md", "README.md", "CHANGES", "tests/run.sh",
                 "man/logbroker-flusher.8", "CONTRIBUTING.md"):
        assert jobs(path) == set(), path
    assert jobs("ansible/site.yml") == ROLLOUT
    assert jobs("docs/deploy.md", "ansible/roles/x/y.yml") == ROLLOUT
    assert jobs("terraform/tests/a.tftest.hcl") == ROLLOUT | {"infrastructure"}
    for path in ("spool/lb_ring.c", "docker/edge/Dockerfile", "packages.txt",
                 "conf/clickhouse/schema.sql", "event/a/b/c.h"):
        assert jobs(path) == ROLLOUT | {"images", "images-check", "images-scan"}, path


def test_all_that_images_are_made_of_builds_them(pipeline):
    """.dockerignore has the list of it."""
    changes = next(r["changes"] for r in pipeline.job("images")["rules"]
                   if "changes" in r)
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if line.startswith("!"):
            name = line[1:]
            assert name in changes or f"{name}/**/*" in changes, name
    rollout = pipeline.file[".rollout-change"]["changes"]
    for part in (".images-change", ".terraform-change"):
        assert set(pipeline.file[part]["changes"]) <= set(rollout), part
    assert all((ROOT / c.removesuffix("/**/*")).exists() for c in rollout)


def test_only_tested_digests_are_rolled_out(pipeline):
    needs = [n["job"] if isinstance(n, dict) else n
             for n in pipeline.job("rollout")["needs"]]
    assert {"images", "images-check", "images-scan", "tests", "ansible-check"} <= set(needs)
    text = (ROOT / ".gitlab-ci.yml").read_text()
    assert not re.search(r"docker (push|tag)", text)
    assert "release.json" in pipeline.job("images")["artifacts"]["paths"]
    assert "--release release.json" in str(pipeline.job("images-check"))


def test_merge_requests_are_planned(pipeline):
    """With variables of protected branches or without them."""
    for variables in (MERGE, {**MERGE, **CLOUD}):
        jobs = pipeline.jobs(variables, ["terraform/network.tf"])
        assert set(jobs) == CHECKS | {"plan-merge-request"}
    assert set(pipeline.jobs(MERGE, ["docs/deploy.md"])) == CHECKS
    privileged = {"LOGBROKER_PRIVILEGED_RUNNER": "yes"}
    assert "compose-check" in pipeline.jobs({**MERGE, **CLOUD, **privileged})
    assert "compose-check" in pipeline.jobs({**PUSH, **privileged})


def test_other_pipelines(pipeline):
    """No registry yet; a key or an account; a tag; a schedule."""
    jobs = pipeline.jobs({**PUSH, "YC_TERRAFORM_ACCOUNT": "aje"})
    assert set(jobs) == CHECKS | {"plan", "infrastructure"}
    tag = {"CI_PIPELINE_SOURCE": "push", "CI_COMMIT_TAG": "v1", **CLOUD}
    assert set(pipeline.jobs(tag)) == CHECKS | {"images", "images-check", "images-scan"}
    jobs = pipeline.jobs({**PUSH, **CLOUD, "CI_PIPELINE_SOURCE": "schedule"})
    assert {"images", "images-check", "images-scan", "rollout"} <= set(jobs)


# ---- who may do what


def test_a_job_may_do_what_it_is_for(pipeline):
    """What a job asks the cloud for is what its identity is good for; a job
    that asks for nothing has none.  A merge request's asks to look."""
    asked = {}
    for name in pipeline.names:
        job = pipeline.job(name)
        what = re.findall(r"credentials (\w+)", str(job["script"]))
        audiences = [t["aud"] for t in job.get("id_tokens", {}).values()]
        assert audiences == [f"logbroker-{w}" for w in what], name
        asked[name] = what
    assert {n: w for n, (w,) in ((n, w) for n, w in asked.items() if w)} == {
        "images": "registry", "images-check": "registry",
        "images-scan": "registry", "plan-merge-request": "plan",
        "plan": "terraform", "infrastructure": "terraform"}
    docs = (ROOT / "docs/deploy.md").read_text()
    trusted = set(re.findall(r"^trust (\w+)", docs, re.M))
    assert trusted == {"terraform", "registry"}
    assert '--audiences "logbroker-$1"' in docs


def test_roles_of_the_accounts():
    """As documented, in both places alike: of services, not of all of them;
    none that says who else may, but where it is said why."""
    why = (ROOT / "docs/deploy-terraform.md").read_text()
    lists = [re.search(r"^for role in ((?:[^;]|\n)*);", text, re.M)[1]
             .replace("\\\n", " ").split()
             for text in (why, (ROOT / "docs/deploy.md").read_text())]
    assert lists[0] == lists[1] and len(lists[0]) > 5
    assert not {"admin", "editor", "resource-manager.admin", "iam.admin",
                "vpc.admin", "storage.admin"} & set(lists[0])
    table = why[why.index("| role | for |"):]
    table = table[:table.index("\n\n")]
    for role in lists[0]:
        short = role.rpartition(".")[2]
        assert f"`{role}`" in table or f"`.{short}`" in table, role


# ---- on a runner


@pytest.fixture(scope="module")
def runner(tmp_path_factory):
    if os.geteuid() != 0:
        pytest.skip("a home of its own for the job needs root")
    directory = tmp_path_factory.mktemp("runner")
    os.chmod(directory, 0o755)
    return Runner(directory)


class Machines:
    """A jump host, and a machine behind it that is edge, broker and
    ClickHouse: `sudo docker exec` answers 1 there."""

    def __init__(self, directory):
        self.dir = directory
        self.servers = []
        self.posts = 0
        bin_dir = directory / "bin"
        bin_dir.mkdir()
        sudo = bin_dir / "sudo"
        sudo.write_text("""#!/bin/sh
case "$1 $2" in
"docker exec") cat >/dev/null; echo 1; exit ;;
esac
while [ "${1#-}" != "$1" ]; do
    case $1 in -u | -p) shift ;; esac
    shift
done
exec "$@"
""")
        sudo.chmod(0o755)
        self._key(directory / "key")
        for address in (JUMP, MACHINE):
            self.serve(address)
        service = self

        class Edge(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                service.posts += 1
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.edge = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Edge)
        threading.Thread(target=self.edge.serve_forever, daemon=True).start()

    @staticmethod
    def _key(path):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f",
                        str(path)], check=True)

    def serve(self, address):
        key = self.dir / f"host-{address}"
        self._key(key)
        config = self.dir / f"sshd-{address}"
        config.write_text(f"""
ListenAddress {address}:22
HostKey {key}
PidFile none
AuthorizedKeysFile {self.dir}/key.pub
StrictModes no
PermitRootLogin prohibit-password
UsePAM no
Subsystem sftp internal-sftp
SetEnv PATH={self.dir}/bin:/usr/sbin:/usr/bin:/sbin:/bin
""")
        pathlib.Path("/run/sshd").mkdir(exist_ok=True)
        server = subprocess.Popen(["/usr/sbin/sshd", "-D", "-f", str(config)],
                                  stderr=subprocess.DEVNULL)
        self.servers.append(server)
        deadline = time.monotonic() + 20
        while subprocess.run(["ssh-keyscan", "-T", "1", address],
                             capture_output=True).stdout == b"":
            assert server.poll() is None, f"sshd at {address} does not run"
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def outputs(self):
        def host(address):
            return {"ansible_host": address, "logbroker_address": address,
                    "logbroker_node_index": 0, "logbroker_node_count": 1}
        inventory = {"all": {
            "vars": {"ansible_user": "root", "logbroker_registry":
                     "cr.yandex/x"},
            "children": {
                "jump": {"hosts": {"jump": host(JUMP)}},
                "inside": {
                    "vars": {"ansible_ssh_common_args":
                             f"-o ProxyJump=root@{JUMP}"},
                    "children": {role: {"hosts": {f"{role}-1": host(MACHINE)}}
                                 for role in ("edge", "broker",
                                              "clickhouse")}}}}}
        return {"ansible_inventory": {"value": inventory},
                "service_address": {"value": "203.0.113.20"}}

    def variables(self):
        vault = self.dir / "vault.yml"
        vault.write_text("{logbroker_clickhouse_password: 0123456789abcdef, "
                         "logbroker_senders: anyone}\n")
        (self.dir / "password").write_text("password of the vault\n")
        # GitLab takes the last newline away
        key = self.dir / "ANSIBLE_SSH_KEY"
        key.write_text((self.dir / "key").read_text().rstrip("\n"))
        key.chmod(0o666)
        return {"ANSIBLE_SSH_KEY": str(key), "ANSIBLE_VAULT": str(vault),
                "ANSIBLE_VAULT_KEY": str(self.dir / "password"), **CLOUD,
                "LOGBROKER_URL":
                f"http://127.0.0.1:{self.edge.server_address[1]}"}

    def close(self):
        for server in self.servers:
            server.terminate()
            server.wait()
        self.edge.shutdown()


@pytest.fixture(scope="module")
def machines(runner, tmp_path_factory):
    if not pathlib.Path("/usr/sbin/sshd").exists():
        pytest.skip("no sshd (tools/install-deps.sh deploy)")
    directory = tmp_path_factory.mktemp("machines")
    os.chmod(directory, 0o755)
    m = Machines(directory)
    (runner.checkout / "planned").mkdir(exist_ok=True)
    (runner.checkout / "planned/outputs.json").write_text(
        json.dumps(m.outputs()))
    yield m
    m.close()


def test_smoke_reaches_machines_never_seen(runner, machines):
    """Through a jump host whose key, too, is met for the first time."""
    status, out = runner.run("smoke", machines.variables())
    assert status == 0 and "is in ClickHouse" in out, out
    assert machines.posts == 1
    assert not (runner.checkout / "ansible/group_vars/all/vault.yml").exists()


def test_smoke_says_who_it_is(runner, machines):
    """A service that refuses the unknown is asked with a token."""
    status, out = runner.run("smoke", {**machines.variables(),
                                       "LOGBROKER_TOKEN": "t" * 20})
    assert status == 0 and "t" * 20 not in out, out


def test_rollback_reaches_machines(runner, machines):
    """Those here remember nothing, and it says so: it has asked them."""
    status, out = runner.run("rollback", machines.variables())
    assert status != 0 and "remembers no earlier version" in out, out
    assert "no hosts matched" not in out, out


def test_rollout_reaches_machines(runner, machines):
    """Without images of this pipeline it keeps what runs, and here nothing
    does."""
    status, out = runner.run("rollout", machines.variables())
    assert status != 0 and "Which broker is to run?" in out, out[-3000:]
    release = runner.checkout / "release.json"
    release.write_text("{}")
    try:
        _, out = runner.run("rollout", machines.variables())
    finally:
        release.unlink()
    assert "Which broker is to run?" in out, out[-3000:]


def test_ping_as_documented(runner, machines):
    """docs/deploy.md, on a first contact."""
    runner.pipeline.file["ping"] = {"extends": ".ansible", "script": [
        "cd ansible", "unset ANSIBLE_CONFIG",
        "ansible -i inventory.json all -m ping"]}
    status, out = runner.run("ping", machines.variables())
    assert status == 0 and out.count("SUCCESS") == 4, out


def test_a_machine_with_another_key_is_refused(runner, machines):
    known = machines.dir / "SSH_KNOWN_HOSTS"
    known.write_text(f"{MACHINE} " + (machines.dir / "key.pub").read_text())
    status, out = runner.run("rollback", {**machines.variables(),
                                          "SSH_KNOWN_HOSTS": str(known)})
    assert status != 0 and "Host key verification failed" in out, out


def test_no_machines_yet(runner, machines):
    outputs = runner.checkout / "planned/outputs.json"
    before = outputs.read_text()
    outputs.write_text("{}")
    try:
        status, out = runner.run("rollback", machines.variables())
    finally:
        outputs.write_text(before)
    assert status != 0 and "run the job infrastructure first" in out, out


@pytest.mark.parametrize("job", ["ansible-check", "terraform-check"])
def test_checks_in_such_a_checkout(runner, job):
    program = {"ansible-check": "ansible-lint", "terraform-check": "terraform"}
    if not shutil.which(program[job]):
        pytest.skip(f"no {program[job]}")
    status, out = runner.run(job, {"TERRAFORM_OFFLINE": os.environ.get(
        "TERRAFORM_OFFLINE")})
    if status == 77:
        pytest.skip(out.splitlines()[-1])
    assert status == 0, out[-3000:]


# ---- into the cloud


@pytest.fixture(scope="module")
def tokens():
    """What takes a job's identity for a token of the cloud."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            form = urllib.parse.parse_qs(self.rfile.read(
                int(self.headers["Content-Length"])).decode())
            asked.append({k: v[0] for k, v in form.items()})
            right = form["audience"] != ["stranger"]
            body = json.dumps({"access_token": "t1.short", "token_type":
                               "Bearer", "expires_in": 3600} if right else
                              {"error": "invalid_grant"}).encode()
            self.send_response(200 if right else 400)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.asked = asked
    server.url = f"http://127.0.0.1:{server.server_address[1]}/oauth/token"
    yield server
    server.shutdown()


@pytest.fixture
def terraform(tmp_path):
    """Plays Terraform: notes what it is told, and by whom."""
    program = tmp_path / "terraform"
    program.write_text(f"""#!/bin/sh
echo "$* token=${{YC_TOKEN-}} key=${{YC_SERVICE_ACCOUNT_KEY_FILE-}} \
aws=$AWS_ACCESS_KEY_ID" >>{tmp_path}/calls
[ "$1" != output ] || echo '{{}}'
""")
    program.chmod(0o755)
    return tmp_path


PLAN = {"YC_CLOUD_ID": "b1c", "YC_FOLDER_ID": "b1f", "TERRAFORM_TFVARS":
        "/tfvars", "TERRAFORM_BACKEND": "/backend"}
SHELLS = ("bash", "dash")


@pytest.mark.parametrize("shell", SHELLS)
def test_a_plan_says_what_it_lacks(runner, terraform, shell):
    job = runner.pipeline.job("plan-merge-request")
    status, out = runner.run("plan-merge-request", path=terraform, shell=shell)
    assert status == job["allow_failure"]["exit_codes"], out
    assert "Not set: YC_PLAN_KEY" in out, out
    status, out = runner.run("plan-merge-request", {
        "YC_PLAN_KEY": "/key", "YC_CLOUD_ID": "b1c"}, terraform, shell=shell)
    assert status == 3, out
    for name in ("YC_FOLDER_ID", "TERRAFORM_TFVARS", "TERRAFORM_BACKEND",
                 "PLAN_AWS_ACCESS_KEY_ID", "PLAN_AWS_SECRET_ACCESS_KEY"):
        assert name in out, out
    assert not (terraform / "calls").exists()


def test_a_merge_request_locks_nothing(runner, terraform):
    status, out = runner.run("plan-merge-request", {
        **PLAN, "YC_PLAN_KEY": "/key", "PLAN_AWS_ACCESS_KEY_ID": "reader",
        "PLAN_AWS_SECRET_ACCESS_KEY": "x"}, terraform)
    assert status == 0, out
    calls = (terraform / "calls").read_text().splitlines()
    assert calls[-1] == ("plan -lock=false -var-file=/tfvars token= key=/key "
                         "aws=reader"), calls


@pytest.mark.parametrize("shell", SHELLS)
def test_a_token_in_exchange_for_the_job(runner, terraform, tokens, shell):
    tokens.asked.clear()
    given = {**PLAN, "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "x",
             "YC_TERRAFORM_ACCOUNT": "ajeterraform", "YC_TOKEN_URL":
             tokens.url, "YC_SERVICE_ACCOUNT_KEY_FILE": "/old"}
    for job in ("plan", "infrastructure"):
        status, out = runner.run(job, given, terraform, shell=shell)
        assert status == 0 and "t1.short" not in out, out
    assert tokens.asked == 2 * [{
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "requested_token_type":
            "urn:ietf:params:oauth:token-type:access_token",
        "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
        "audience": "ajeterraform",
        "subject_token": "token of the job for logbroker-terraform"}]
    calls = (terraform / "calls").read_text()
    assert "token= " not in calls and "key= " in calls, calls
    assert "apply -lock-timeout=10m plan.cache token=t1.short" in calls, calls


def test_who_is_not_trusted_is_told(runner, terraform, tokens):
    status, out = runner.run("plan", {
        **PLAN, "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "x",
        "YC_TERRAFORM_ACCOUNT": "stranger", "YC_TOKEN_URL": tokens.url},
        terraform)
    assert status == 1 and "invalid_grant" in out, out
    assert not (terraform / "calls").exists()


def test_a_key_where_there_is_no_trust(runner, terraform):
    status, out = runner.run("plan", {
        **PLAN, "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "x",
        "YC_TERRAFORM_KEY": "/key"}, terraform)
    assert status == 0, out
    calls = (terraform / "calls").read_text()
    assert "plan -lock-timeout=10m -var-file=/tfvars -out=plan.cache " \
        "token= key=/key aws=id" in calls, calls


# ---- where providers come from


@pytest.fixture
def mirror(tmp_path):
    """Yandex' mirror of providers, as far as `terraform init` asks it, where
    the registry of Terraform cannot be reached: what a job needs for that."""
    version = re.search(r'version = "([\d.]+)"', (
        ROOT / "terraform/versions.tf").read_text())[1]
    with zipfile.ZipFile(tmp_path / "provider.zip", "w") as z:
        z.writestr(f"terraform-provider-yandex_v{version}", "#!/bin/sh\n")
    top = "/registry.terraform.io/yandex-cloud/yandex/"
    found = {
        f"{top}index.json": json.dumps({"versions": {version: {}}}),
        f"{top}{version}.json": json.dumps({"archives": {
            "linux_amd64": {"url": "provider.zip"}}}),
        f"{top}provider.zip": (tmp_path / "provider.zip").read_bytes()}
    name = "terraform-mirror.yandexcloud.net"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days",
         "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}",
         "-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem"],
        check=True, stderr=subprocess.DEVNULL)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = found.get(self.path, b"")
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", "application/zip"
                             if isinstance(body, bytes) else "application/json")
            self.end_headers()
            self.wfile.write(body if isinstance(body, bytes)
                             else body.encode())

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer((MIRROR, 443), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hosts = tmp_path / "hosts"
    hosts.write_text(f"127.0.0.1 localhost\n{MIRROR} {name}\n"
                     f"{NOBODY} registry.terraform.io\n")
    yield {"binds": {hosts: "/etc/hosts"}, "given": {
        "SSL_CERT_FILE": str(tmp_path / "cert.pem"),
        "TF_DATA_DIR": str(tmp_path / "data")}}
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("job", ["plan", "plan-merge-request",
                                 "infrastructure"])
def test_providers_come_from_the_mirror(runner, mirror, job):
    """No variable says so, and the registry of Terraform does not answer."""
    if not shutil.which("terraform"):
        pytest.skip("no terraform")
    script = runner.pipeline.job(job)["script"]
    init = next(i for i, line in enumerate(script) if " init " in line)
    script = [line.replace('-backend-config="$TERRAFORM_BACKEND"',
                           "-backend=false")
              for line in script[:init + 1] if "credentials" not in line]
    runner.pipeline.file["init"] = {"extends": ".terraform", "script": script}
    try:
        status, out = runner.run("init", mirror["given"],
                                 binds=mirror["binds"])
        assert status == 0, out
        assert "Installed yandex-cloud/yandex" in out, out
        if job == "plan":
            status, out = runner.run("init", {
                **mirror["given"], "TF_CLI_CONFIG_FILE": "", "TF_DATA_DIR":
                mirror["given"]["TF_DATA_DIR"] + "-other"},
                binds=mirror["binds"])
            assert status != 0 and "registry.terraform.io" in out, out
    finally:
        for left in (".terraform-plugins", "terraform/.terraform.lock.hcl"):
            subprocess.run(["rm", "-rf", str(runner.checkout / left)])


def test_a_runner_without_certificates_is_told(runner, tmp_path):
    """The engine beside a job, where the runner does not share them."""
    runner.pipeline.file["engine"] = {"extends": ".engine", "script": [
        ".ci/engine 1"]}
    status, out = runner.run("engine", {"DOCKER_CERT_PATH": str(tmp_path)})
    assert status == 1 and '"/certs/client"' in out, out
