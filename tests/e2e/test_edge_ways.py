"""One edge and one broker in every way of running them: what is rendered for the
quickstart, the images (compose), Ansible and the packages differs in addresses,
folders, logs and sizes and in nothing else, and nginx takes it."""

import os
import re
import shutil
import subprocess
import urllib.error
import urllib.request

import pytest

from env.build import BUILD, ROOT, preloads, sanitizers
from env.edge import make_certificate
from env.process import Process, free_port, wait_for

SENDERS = f"logbroker_sender shop token={'0' * 64} requests=100;\n"
KNOWN = ("logbroker_senders on; limit_req zone=guesses burst=20 nodelay; "
         "limit_conn senders 2048;")
ADDRESSES = ["192.0.2.1:8080", "192.0.2.2:8080"]


def bash(script, **env):
    return subprocess.run(
        ["bash", "-euc", script], cwd=ROOT, check=True, capture_output=True,
        text=True, timeout=60,
        env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin", **env}
    ).stdout


def quickstart(d, kind):
    """Its own lines that render."""
    text = (ROOT / "quickstart.sh").read_text()
    function = re.search(r"^nginx_conf\(\) \{.*?^\}", text, re.M | re.S)[0]
    call = re.search(rf"^ *nginx_conf {kind} (?:.*\\\n)*.*\n", text, re.M)[0]
    (d / "reader").write_text("of the reader\n")
    bash(f"{function}\ni=1\nreader=(READER={d}/reader)\n{call}",
         root=str(ROOT), data=str(d), dir=str(d),
         server="http://127.0.0.1:8123",
         port="8080", brokers="2", addresses=" ".join(ADDRESSES))
    return (d if kind == "broker" else d / "edge") / "nginx.conf"


def entrypoint(d, kind, **env):
    """What that of the images renders; nginx itself is not started."""
    script = elsewhere(d, ("exec nginx -e", "exec true -e"))
    (d / "reader").write_text("of the reader\n")
    bash(f"sh {script} {kind}",
         LOGBROKER_READER_PASSWORD_FILE=str(d / "reader"), **env)
    return d / "run/nginx.conf"


def elsewhere(d, *changes):
    """The images' entrypoint, with its folders in d."""
    (d / "share").mkdir()
    (d / "share/nginx").symlink_to(ROOT / "conf/nginx")
    (d / "etc").mkdir(exist_ok=True)
    (d / "run").mkdir()
    script = (ROOT / "docker/entrypoint.sh").read_text()
    for old, new in (("/usr/share/logbroker", d / "share"),
                     ("/run/logbroker", d / "run"),
                     ("/etc/logbroker/edge", d / "etc"), *changes):
        assert old in script
        script = script.replace(old, str(new))
    (d / "entrypoint.sh").write_text(script)
    return d / "entrypoint.sh"


def compose(d, kind):
    """Settings of the service in compose.yaml."""
    text = (ROOT / "docker/compose.yaml").read_text()
    names = set(re.findall(r"LOGBROKER_(?:BROKERS|RING_SIZE|WORKERS|TRUSTED"
                           r"|SENDERS)", text.split("flusher-1:")[0]))
    assert len(names) == 5 and "LOGBROKER_SENDERS: anyone" in text
    return entrypoint(
        d, kind, LOGBROKER_BROKERS=" ".join(ADDRESSES),
        LOGBROKER_RING_SIZE="64m", LOGBROKER_WORKERS="2",
        LOGBROKER_SENDERS="anyone",
        LOGBROKER_TRUSTED="192.0.2.10")


def ansible(d, kind):
    """The same images; the list of brokers is a file made of a template."""
    role = ROOT / "ansible/roles/edge"
    defaults = dict(re.findall(r"^(edge_broker_\w+): (.*)$", (
        role / "defaults/main.yml").read_text(), re.M))
    (d / "etc").mkdir()
    for name in ("brokers.conf", "grpc_brokers.conf"):
        line = (role / f"templates/{name}.j2").read_text().splitlines()[1]
        for key, value in defaults.items():
            line = line.replace(f"{{{{ {key} }}}}", value)
        (d / "etc" / name).write_text("".join(
            re.sub(r"\{\{ hostvars.*?\}\}", a.split(":")[0], line) + "\n"
            for a in ADDRESSES))
        assert "{" not in (d / "etc" / name).read_text()
    (d / "etc/senders.conf").write_text(SENDERS)
    return entrypoint(d, kind, LOGBROKER_WORKERS="auto",
                      LOGBROKER_TRUSTED="192.0.2.10 192.0.2.11",
                      LOGBROKER_RING_SIZE="2g")


def packages(d, kind):
    """The command of docs/packages.md, with folders that are here."""
    text = (ROOT / "docs/packages.md").read_text()
    command = re.search(rf"^(/usr/share/\S*render.sh {kind} (?:.*\\\n)*.*?)"
                        r" >/etc/nginx/nginx.conf$", text, re.M)[1]
    (d / "senders.conf").write_text(SENDERS)
    text = bash(command.replace("/usr/share/logbroker", f"{ROOT}/conf")
                .replace("/etc/logbroker/", f"{d}/")
                .replace(f" TLS={d}/tls", ""))
    (d / "nginx.conf").write_text(text)
    return d / "nginx.conf"


WAYS = {w.__name__: w for w in (quickstart, compose, ansible, packages)}


def server_lines(text):
    """An included list of brokers stands where it is included."""
    return re.sub(r"include (\S*brokers\.conf);",
                  lambda m: " ".join(open(m[1]).read().split("\n")).strip(),
                  text)


def without_places(text):
    """Everything but addresses, folders, logs, sizes and numbers of workers."""
    text = server_lines(text)
    for pattern, place in (
            (r"(?m)^user .*\n", ""),
            (r'"?[^ "]*/conf/nginx/|"?[^ "]*/share/nginx/', "CONF/"),
            (r"(?m)^ *include \S+/senders.conf\";\n", ""),
            (rf"(?m)^ *{KNOWN}\n", ""),
            (r"error_log \S+", "error_log LOG"),
            (r"access_log (?!off)\S+ json if=\S+;", "access_log LOG;"),
            (r"pid \S+;", "pid FILE;"),
            (r"_temp_path \S+/", "_temp_path FOLDER/"),
            (r"load_module \S+/", "load_module FOLDER/"),
            (r"worker_processes \S+;", "worker_processes N;"),
            (r"logbroker_spool \S+ size=\S+;", "logbroker_spool FOLDER;"),
            (r"set_real_ip_from [^;]+;( set_real_ip_from [^;]+;)*", "TRUSTED;"),
            (r"server \S+:\d+ (max_fails=3 fail_timeout=10s|max_fails=0 "
             r"weight=64);( server \S+:\d+ \1;)*", r"servers \1;"),
            (r"(upstream status_\d+ \{ server )\S+;", r"\1ADDRESS;"),
            (r"logbroker_tails [^;]+;", "logbroker_tails ADDRESSES;"),
            (r'"address": "[^"]+"', '"address": "ADDRESS"'),
            (r"http://localhost:\d+/cluster", "PAGE"),
            (r"location = /logs/query \{.*\}", "QUERY"),
            (r"(?m)^ *upstream clickhouse \{.*\}\n", ""),
            (r"listen \S+( ssl http2| ssl)? backlog", r"listen ADDRESS\1 backlog"),
            (r"(server \{ +)listen \S+;", r"\1listen ADDRESS;"),
            # HTTP/2 has ports of its own before nginx 1.25.1
            (r"\n *listen \S+; http2 on;(?=\n)", "\n"),
            (r"http2 on; listen \S+;", "http2 on;"),
            (r"\n *listen \S+( http2)?;(?=\n)", "\n")):
        text = re.sub(pattern, place, text)
    return [line.strip() for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("kind", ["edge", "broker"])
def test_all_ways_are_one(tmp_path, kind):
    rendered = {}
    for name, way in WAYS.items():
        d = tmp_path / name
        d.mkdir()
        text = way(d, kind).read_text()
        assert not re.findall(r"@[A-Z_]+@", text)
        rendered[name] = without_places(text)
        # a laptop takes from anyone, what is deployed from those in its file
        known = kind == "edge" and name in ("ansible", "packages")
        assert text.count(KNOWN) == 2 * known
        assert len(re.findall(r'include "\S*senders.conf";', text)) == known
        # as it is, but for what this machine has not
        for folder in ("log", "temp"):
            (d / folder).mkdir()
        text = text.replace("listen 10.0.0.5:", "listen 127.0.0.1:")
        text = re.sub(r"/var/log/nginx", str(d / "log"), text)
        text = re.sub(r"/var/lib/nginx", str(d / "temp"), text)
        text = re.sub(r"pid \S+/", f"pid {d}/", text)
        text = text.replace("/usr/lib/nginx/modules", str(BUILD))
        text = re.sub(r"/var/spool/logbroker", str(d / "spool"), text)
        (d / "checked.conf").write_text(text)
        r = subprocess.run(["/usr/sbin/nginx", "-t", "-e", "stderr", "-c",
                            d / "checked.conf"], capture_output=True,
                           text=True, timeout=30, check=False,
                           env={**os.environ, **sanitizers(d),
                                "LD_PRELOAD": preloads()})
        assert r.returncode == 0, (name, r.stderr)
        assert "[warn]" not in r.stderr, (name, r.stderr)
    for name, lines in rendered.items():
        assert lines == rendered["compose"], name
    text = "\n".join(rendered["compose"])
    for line in (["servers max_fails=3 fail_timeout=10s;",
                  "servers max_fails=0 weight=64;", "error_log LOG crit;",
                  "limit_req_status 503;"] if kind == "edge" else
                 ["error_log LOG crit;", "TRUSTED;", "logbroker_otlp;"]):
        assert line in text


def test_tls_is_the_same(tmp_path):
    """A certificate in the image's folder turns TLS on, and the readers'
    authority their port; a package's edge is told of folder and port."""
    (tmp_path / "etc/tls").mkdir(parents=True)
    make_certificate(tmp_path / "etc/tls")
    shutil.copy(tmp_path / "etc/tls/cert.pem", tmp_path / "etc/tls/readers.pem")
    image = entrypoint(tmp_path, "edge", LOGBROKER_BROKERS=" ".join(ADDRESSES),
                       LOGBROKER_SENDERS="anyone")
    package = bash(f"conf/nginx/render.sh edge TLS={tmp_path}/etc/tls "
                   "READERS=8444 METRICS=8081 'ACCESS_LOG=/dev/stdout json if=$kept' "
                   "SENDERS=anyone "
                   f"'BROKERS={' '.join(ADDRESSES)}'")
    same = [re.sub(r"listen \d+;", "listen PLAIN;", "\n".join(without_places(t)))
            for t in (image.read_text(), package)]
    assert same[0] == same[1]
    assert "ssl_verify_client on;" in same[0]
    assert "ssl_certificate_key" in same[0] and "return 308 https" in same[0]


@pytest.mark.parametrize("args, said", [
    ("", "broker or edge?"), ("doors", "broker or edge?"),
    ("edge", "no BROKERS"), ("edge BROKERS=a:1", "no SENDERS"),
    ("edge BROKER=1", "what is BROKER=1?"),
])
def test_render_explains_itself(args, said):
    r = subprocess.run(f"conf/nginx/render.sh {args}", shell=True, cwd=ROOT,
                       capture_output=True, text=True, check=False)
    assert r.returncode == 2 and said in r.stderr


def test_rules_of_ones_own(tmp_path):
    """In the folder of the image's settings, or where render.sh is told; for
    every door."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/rules.conf").write_text("deny all;\n")
    image = entrypoint(tmp_path, "edge", LOGBROKER_BROKERS=" ".join(ADDRESSES),
                       LOGBROKER_SENDERS="anyone")
    package = bash(f"conf/nginx/render.sh edge RULES={tmp_path}/etc/rules.conf "
                   "SENDERS=anyone "
                   f"'BROKERS={' '.join(ADDRESSES)}'")
    for text in (image.read_text(), package):
        assert text.count(f'include "{tmp_path}/etc/rules.conf";') == \
            len(re.findall(r"^            (?:proxy|grpc)_pass \S+\$brokers;", text,
                           re.M)) == 2


def test_an_image_without_senders_says_so(tmp_path):
    """Neither a file nor the word: it does not let everybody in."""
    with pytest.raises(subprocess.CalledProcessError) as e:
        entrypoint(tmp_path, "edge", LOGBROKER_BROKERS=" ".join(ADDRESSES))
    assert "nobody may send: mount" in e.value.stderr


@pytest.mark.parametrize("late", [False, True])
def test_a_readers_password_that_is_made_later(tmp_path, late):
    """By ClickHouse's container, which starts with the broker's: while its
    settings are written, or long after that."""
    port, reader = free_port(), tmp_path / "secrets/reader"
    reader.parent.mkdir()
    make = f"echo secret >{reader}"
    script = elsewhere(tmp_path, ("exec nginx -e", "exec /usr/sbin/nginx -e"))
    render = tmp_path / "share/nginx/render.sh"
    render.parent.unlink()
    render.parent.mkdir()
    render.write_text(f"""#!/bin/sh
echo "user root;"
{ROOT}/conf/nginx/render.sh "$@" MODULES={BUILD} LISTEN=127.0.0.1:{port} \\
    GRPC= SPOOL={tmp_path}/spool SIZE=4m CLICKHOUSE=http://127.0.0.1:1 \\
    LOG={tmp_path}/error.log
{"" if late else make}
""")
    render.chmod(0o755)

    def asked():
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/logs/query", b"SELECT 1",
            {"X-Requested-With": "logbroker"})
        try:
            urllib.request.urlopen(request, timeout=5)
        except urllib.error.HTTPError as e:
            return e.code
        except OSError:
            return None

    broker = Process("the entrypoint", ["sh", script, "broker"],
                     tmp_path / "out.log", env={
        **os.environ, **sanitizers(tmp_path), "LD_PRELOAD": preloads(),
        "LOGBROKER_READER_PASSWORD_FILE": str(reader)})
    try:
        if late:
            wait_for(lambda: asked() == 501, 20, "no password yet")
            subprocess.run(["sh", "-c", make], check=True)
        # it asks ClickHouse, which is not there
        wait_for(lambda: asked() == 502, 20, "the query location")
    finally:
        broker.stop()
