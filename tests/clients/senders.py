"""The senders of docs/senders.md: how the block on the page becomes a program
that logs "order N failed" for many N."""

import dataclasses
import datetime
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess

from env.build import ROOT
from env.process import wait_for
from wire import Wire

HERE = pathlib.Path(__file__).resolve().parent
INSTALLED = pathlib.Path(
    os.environ.get("LOGBROKER_CLIENTS_DIR") or ROOT / "build/clients")
PAGE = (ROOT / "docs/senders.md").read_text()
TRACE, SPAN = "5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174"


def change(text, *pairs):
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return text


def section(heading):
    return re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", PAGE,
                     re.S | re.M)[1]


class Use:
    """A section's blocks for a broker at this port, to be run in directory."""

    def __init__(self, heading, port, directory):
        self.port, self.directory = port, directory
        self.found = re.findall(r"```(\w[\w-]*)\n(.*?)```", section(heading),
                                re.S)

    def blocks(self, language):
        return [re.sub(r"\bedge\b", "127.0.0.1", re.sub(
            r"\b8080\b", str(self.port), text))
            for name, text in self.found if name == language]

    def block(self, language, *pairs):
        text, = self.blocks(language)
        return change(text, *pairs)

    def write(self, name, text):
        (self.directory / name).write_text(text)


def looped(text, before, after=""):
    """The line with order 17 for all orders n."""
    line, = (line for line in text.splitlines(True)
             if re.search(r"\b17\b", line))
    return text.replace(line, before + re.sub(r"\b17\b", "n", line) + after)


def python(use, *pairs, before="", loop="for n in numbers():\n    "):
    text = use.block("python", *pairs)
    use.write("use.py", "from watch import *\n" + before + (
        looped(text, loop) if loop else text))
    return [INSTALLED / "venv/bin/python", "use.py"]


def node(use, *pairs, before="", loop=True):
    text = use.block("js", *pairs)
    if loop:
        text = looped(text, "for await (const n of numbers()) {\n", "}\n")
    # beside node_modules, where Node.js looks for them
    use.write("use.mjs", "import { keep, numbers } from './watch.mjs';\n" +
              before + text)
    (use.directory / "node_modules").symlink_to(INSTALLED / "npm/node_modules")
    use.write("package.json", '{"type": "module"}')
    return ["node", "use.mjs"]


def go(use, *pairs, name, watch=()):
    """Built once, for all ports."""
    port, use.port = use.port, 8080
    text = looped(use.block("go", *pairs),
                  "\tdefer tell()\n\tfor n := range numbers() {\n", "\t}\n")
    made = INSTALLED / "go" / name
    made.mkdir(exist_ok=True)
    for file in ("watch.go", *watch):
        shutil.copy(HERE / "go" / file, made)
    (made / "main.go").write_text(change(
        text, ('"http://127.0.0.1:8080', 'os.Getenv("URL") + "')))
    subprocess.run(["go", "build", "-o", f"{name}.bin", f"./{name}"],
                   cwd=INSTALLED / "go", check=True, timeout=600)
    return ["env", f"URL=http://127.0.0.1:{port}",
            INSTALLED / f"go/{name}.bin"]


def java(use, text=None, *, loop="for (int n : Watch.numbers()) "):
    text = looped(text or use.block("java"), loop)
    use.write("Shop.java", text + (HERE / "java/Watch.java").read_text())
    return ["java", "-XX:TieredStopAtLevel=1", "-cp",
            f".:{INSTALLED}/java/lib/*", "Shop.java"]


def rust(use):
    """Built once, for all ports."""
    port, use.port = use.port, 8080
    text = looped(use.block("rust"),
                  "let _span = watch::span();\nfor n in watch::numbers() {\n",
                  "}\n")
    made = INSTALLED / "rust"
    shutil.copy(HERE / "rust/watch.rs", made / "src")
    text = "mod watch;\n" + change(
        text, ('"http://127.0.0.1:8080/v1/logs"',
               'std::env::var("URL").unwrap() + "/v1/logs"'))
    main = made / "src/main.rs"
    if not main.exists() or main.read_text() != text:
        main.write_text(text)
    subprocess.run(["cargo", "build", "-q"], cwd=made, check=True, timeout=600)
    return ["env", f"URL=http://127.0.0.1:{port}", made / "target/debug/clients"]


def otel_python(use):
    return python(use, before="from watch_otel import *\n",
                  loop="with span():\n  for n in numbers():\n    ")


def otel_js(use, *pairs):
    return node(
        use, *pairs, ("body: `order ${17} failed`",
                      "body: `order ${17} failed`, context"),
        ("const provider", "watch(exporter);\nconst provider"),
        before="import { context, watch } from './watch_otel.mjs';\n")


def otel_js_proto(use):
    return otel_js(use, ("exporter-logs-otlp-http", "exporter-logs-otlp-proto"))


def elastic_python(use):
    return python(
        use, ("[17]", "numbers()"),
        ("    assert ok, item\n", "    if ok:\n"
         '        keep(f"order {done}")\n    done += 1\n'),
        ("def document", "done = FIRST\n\n\ndef document"), loop=None)


def elastic_python_bulk(use):
    """helpers.bulk, once for every ten, so that it is at work for a while; it
    tells how many it sent, and raises unless it is all."""
    text = use.block("python")
    use.write("use.py", "from watch import *\n" + text[:text.index("for ok,")]
              + """
for n in range(FIRST, FIRST + COUNT, 10):
    for _, i in zip(range(10), numbers()):
        pass
    try:
        sent, _ = helpers.bulk(client, map(document, range(n, n + 10)))
    except Exception as e:
        print(repr(e)[:200])
        continue
    assert sent == 10
    for i in range(n, n + 10):
        keep(f"order {i}")
""")
    return [INSTALLED / "venv/bin/python", "use.py"]


def elastic_js(use, *pairs):
    return node(use, ("[17]", "numbers()"), (
        "    onDrop:", "    flushBytes: 5000,\n"
        "    onSuccess: ({ document }) => keep(document.message),\n"
        "    onDrop:"), *pairs, loop=False)


def elastic_js_9(use):
    return elastic_js(use, ("from '@elastic/elasticsearch'",
                            "from 'elasticsearch-9'"))


def pino_elastic(use):
    """It tells only how many were stored, in the end."""
    return node(use, ("stream.end();", """
stream.on('insert', (stats) => {
    console.log(JSON.stringify(stats));
    if (stats.successful === Number(process.env.COUNT)) {
        const first = Number(process.env.FIRST);
        for (let n = 0; n < stats.successful; n++) keep(`order ${first + n}`);
    }
});
stream.on('insertError', console.log);
stream.on('error', console.log);
stream.end();"""))


def otel_go(use):
    return go(use, ("NewBatchProcessor(exporter)",
                    "NewBatchProcessor(watched{exporter})"),
              ("ctx := context.Background()",
               "ctx := span(context.Background())"),
              name="otel", watch=["otel.go"])


def bridge(*imports):
    """A logger on the provider of OpenTelemetry for Go."""
    def make(use):
        text = Use("OpenTelemetry for Go", 8080, use.directory).block("go")
        text = text[:text.index("\tlogger :=")] + use.block("go") + \
            text[text.index("\tprovider.Shutdown"):]
        use.found = [("go", change(
            text, ('\t"time"\n', ""),
            ('\t"go.opentelemetry.io/otel/log"\n',
             "".join(f'\t"{name}"\n' for name in imports))))]
        return go(use, ("NewBatchProcessor(exporter)",
                        "NewBatchProcessor(watched{exporter})"),
                  ("ctx := context.Background()",
                   "ctx := span(context.Background())"),
                  name=pathlib.Path(imports[0]).name, watch=["otel.go"])
    return make


def docker(use):
    """The driver, with the options of the command."""
    made = INSTALLED / "go/docker"
    made.mkdir(exist_ok=True)
    for file in ("watch.go", "docker.go"):
        shutil.copy(HERE / "go" / file, made)
    subprocess.run(["go", "build", "-o", "docker.bin", "./docker"],
                   cwd=INSTALLED / "go", check=True, timeout=600)
    return ["env", "SPLUNK_LOGGING_DRIVER_POST_MESSAGES_FREQUENCY=200ms",
            INSTALLED / "go/docker.bin",
            *re.findall(r"--log-opt (\S+)", use.block("sh"))]


JAVA_SPAN = "Watch.span();\nfor (int n : Watch.numbers()) "


def otel_java(use):
    return java(use, loop=JAVA_SPAN)


def logback(use):
    """On the provider of OpenTelemetry for Java."""
    text = Use("OpenTelemetry for Java", use.port, use.directory).block("java")
    use.write("logback.xml", use.block("xml"))
    return java(use, """
import io.opentelemetry.instrumentation.logback.appender.v1_0.OpenTelemetryAppender;
import io.opentelemetry.sdk.OpenTelemetrySdk;
import org.slf4j.LoggerFactory;
""" + text[:text.index("        var log =")] + use.block("java")
        + text[text.index("        provider.shutdown"):], loop=JAVA_SPAN)


def with_xml(name):
    def make(use):
        use.write(name, use.block("xml"))
        return java(use)
    return make


def line(n):
    """Of a log file."""
    now = datetime.datetime.now(datetime.timezone.utc)
    return json.dumps({
        "time": now.isoformat(), "level": "error", "service": "checkout",
        "message": f"order {n} failed", "trace_id": TRACE, "span_id": SPAN})


def collector(use):
    (use.directory / "logs").mkdir()
    use.write("config.yaml", change(
        use.block("yaml"), ("/var/log/shop", str(use.directory / "logs")),
        ("service:\n", "service:\n  telemetry: {metrics: {level: none}}\n")))
    return [INSTALLED / "collector/collector", "--config", "config.yaml"]


def filebeat(use):
    (use.directory / "logs").mkdir()
    use.write("filebeat.yml", use.block(
        "yaml", ("/var/log/shop", str(use.directory / "logs"))))
    return [INSTALLED / "filebeat/filebeat", "-e", "-c", "filebeat.yml",
            "--path.home", use.directory]


def to_file(use, n):
    with open(use.directory / "logs/shop.log", "a") as out:
        out.write(line(n) + "\n")


def system_python(use):
    """All blocks of the section together."""
    use.write("use.py", "from watch import *\n" + looped(
        "".join(use.blocks("python")), "for n in numbers():\n    "))
    return ["/usr/bin/python3", "use.py"]


def own_stream(use):
    """Two files."""
    stream, text = use.blocks("js")
    use.write("logbroker.mjs", stream)
    use.found = [("js", text)]
    return node(use)


def debian(program, *argv):
    """Unpacked rather than installed, as its package would replace the
    machine's own."""
    root = INSTALLED / "debian"
    libraries = {str(path.parent) for path in root.glob("**/lib*.so*")}
    return ["env", "LD_LIBRARY_PATH=" + ":".join(libraries),
            root / "usr/sbin" / program, *argv]


def syslog_ng(use):
    use.write("conf", f"""@version: 3.38
source src {{ unix-dgram("{use.directory}/socket"); }};
{use.block("syslog-ng")}
log {{ source(src); destination(logbroker); }};
""")
    modules = next(INSTALLED.glob("debian/usr/lib/syslog-ng/[0-9]*"))
    return debian("syslog-ng", "-F", "--no-caps", "-f", "conf",
                  f"--module-path={modules}", *(
                      f"--{name}={use.directory}/{name}"
                      for name in ("persist-file", "control", "pidfile")))


def rsyslog(use):
    modules = next(INSTALLED.glob("debian/usr/lib/*/rsyslog"))
    use.write("conf", f"""
global(workDirectory="{use.directory}")
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="{use.directory}/socket")
""" + use.block("rsyslog", ("/var/log/", f"{use.directory}/")))
    return debian("rsyslogd", "-n", "-f", use.directory / "conf", "-i",
                  use.directory / "pid", "-M", modules)


def to_syslog(use, n):
    now = datetime.datetime.now(datetime.timezone.utc)
    wait_for((use.directory / "socket").exists, what="its socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.connect(str(use.directory / "socket"))
        s.send(f"<11>{now:%b %e %H:%M:%S} checkout[17]: order {n} failed"
               .encode())


def browser(use, *pairs):
    """The page is done when nothing is left to send."""
    text = looped(use.block("js", *pairs), "for (let n = first; n < first + count; n++)"
                  " {\n", "await pause(2);\n}\n")
    use.write("page.html", f"""<!DOCTYPE html><script type="module">
const first = FIRST, count = COUNT;
const pause = (ms) => new Promise((wake) => setTimeout(wake, ms));
{text}
do await pause(3000);
while (typeof batch !== 'undefined' && events.length + batch.length);
await fetch('/done');
</script>""")
    return ["/usr/bin/python3", HERE / "browse.py"]


def beacon(use):
    return browser(use, ("log('error', `order ${17} failed`);",
                         "while (!log('error', `order ${17} failed`)) "
                         "await pause(10); await pause(20);"))


def elastic_go(use):
    return go(use, ('Index: "shop"', 'Index: "shop", FlushBytes: 5000'),
              ("\t\t\tOnFailure:", """
OnSuccess: func(_ context.Context, item esutil.BulkIndexerItem,
    _ esutil.BulkIndexerResponseItem) { keep(fmt.Sprintf("order %d", n), nil) },
OnFailure:"""), name="elastic")


def splunk_handler(use):
    """At work for some seconds, as its timer has 15."""
    return python(use, ("token=", "flush_interval=0.5, token="))


def splunk_js(use):
    return node(use, ("metadata });\n", "metadata }, (error, answer) => { "
                      "if (answer?.statusCode === 200) keep(`order ${n}`); "
                      "});\n"))


def datadog(use):
    """A failure ends the script otherwise."""
    return node(use, ("await send(`order ${17} failed`);",
                      "await send(`order ${17} failed`).catch(console.log);"))


def pino_loki(use):
    return node(use, ("options: {", "options: {\nbatching: { interval: 1 },"))


def winston_loki(use):
    return node(use, ("host: 'http:", "interval: 1, host: 'http:"))


@dataclasses.dataclass
class Row:
    """count: how many orders while disturbed.  regroups: what it sends
    again may stand in another batch.  make(use) gives the command.  One that does not end by itself gets the
    orders by feed(use, n).  stream, host: of its rows.  behind: by how much its
    clock may be (ns)."""
    heading: str
    needs: str
    make: object
    feed: object = None
    stream: str = "shop"
    host: str = dataclasses.field(default_factory=socket.gethostname)
    behind: int = 10**6
    count: int = 1000
    regroups: bool = False
    ids: bool = False
    wire: type = Wire

    def installed(self):
        return not self.needs or (
            INSTALLED / self.needs / ".installed").exists()


OTLP = {"stream": "default", "ids": True}
LOKI = {"stream": "default"}
SENDERS = {
    "otel-python": Row("OpenTelemetry for Python", "venv", otel_python,
                       **OTLP),
    "otel-js-json": Row("OpenTelemetry for JavaScript", "npm", otel_js, **OTLP),
    "otel-js-proto": Row("OpenTelemetry for JavaScript", "npm", otel_js_proto,
                         **OTLP),
    "otel-go": Row("OpenTelemetry for Go", "go", otel_go, **OTLP),
    "otel-java": Row("OpenTelemetry for Java", "java", otel_java, **OTLP),
    "otel-rust": Row("OpenTelemetry for Rust", "rust", rust, **OTLP),
    "slog": Row("slog", "go", bridge(
        "go.opentelemetry.io/contrib/bridges/otelslog"), **OTLP),
    "zap": Row("zap", "go", bridge(
        "go.opentelemetry.io/contrib/bridges/otelzap", "go.uber.org/zap"),
        **OTLP),
    "logback": Row("Logback", "java", logback, **OTLP),
    "collector": Row("OpenTelemetry Collector", "collector", collector, to_file,
                     host="till-3", **OTLP),
    "filebeat": Row("Filebeat", "filebeat", filebeat, to_file, regroups=True),
    "elasticsearch-py": Row("Elasticsearch for Python", "venv",
                            elastic_python),
    "elasticsearch-py-bulk": Row("Elasticsearch for Python", "venv",
                                 elastic_python_bulk),
    "elasticsearch-js": Row("Elasticsearch for JavaScript", "npm", elastic_js),
    "elasticsearch-js-9": Row("Elasticsearch for JavaScript", "npm",
                              elastic_js_9),
    "elasticsearch-go": Row("Elasticsearch for Go", "go", elastic_go),
    "pino-elasticsearch": Row("pino-elasticsearch", "npm", pino_elastic,
                              host="till-3"),
    "splunk-handler": Row("splunk_handler for Python", "venv",
                          splunk_handler),
    "splunk-logging": Row("splunk-logging for JavaScript", "npm", splunk_js),
    "winston-splunk": Row("winston-splunk-httplogger", "npm", node),
    "docker": Row("Docker", "go", docker),
    "datadog": Row("Datadog for JavaScript", "npm", datadog, stream="default",
                   count=300),
    "python-loki": Row("python-logging-loki", "venv", python, **LOKI),
    "pino-loki": Row("pino-loki", "npm", pino_loki, host="till-3", **LOKI),
    "winston-loki": Row("winston-loki", "npm", winston_loki, regroups=True,
                        **LOKI),
    "loki4j": Row("loki4j", "java", with_xml("logback.xml"), **LOKI),
    "loki-go": Row("loki-client-go", "go", lambda use: go(use, name="loki"),
                   **LOKI),
    "log4j2": Row("log4j2", "java", with_xml("log4j2.xml")),
    "winston-http": Row("winston", "npm", node),
    "http-handler": Row("HTTPHandler of Python", "", system_python),
    "own-handler": Row("A handler for Python", "", system_python),
    "own-stream": Row("A stream for pino", "npm", own_stream, host="till-3"),
    "syslog-ng": Row("syslog-ng", "debian", syslog_ng, to_syslog,
                     stream="syslog", behind=10**9),
    "rsyslog": Row("rsyslog", "debian", rsyslog, to_syslog, behind=10**9,
                   regroups=True),
    "pygelf": Row("pygelf", "venv", python, stream="default"),
    "graypy": Row("graypy", "venv", python, stream="default"),
    "browser-fetch": Row("fetch in a browser", "chromium", browser,
                         host="127.0.0.1"),
    "browser-beacon": Row("sendBeacon in a browser", "chromium", beacon,
                          host="127.0.0.1", count=200),
}
