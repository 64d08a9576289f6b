"""The ClickHouse side: the table, the audit, the flusher's user and the
launcher of the embedded engine, all with the real engine."""

import os
import re
import signal
import socket
import subprocess
import threading

import pytest

from env.build import ROOT
from env.clickhouse import SCRIPTS, ClickHouse
from env.process import free_port

from xml.etree import ElementTree

RING = "00000000-0000-0000-0000-00000000000{}"


@pytest.fixture
def clickhouse(server):
    server.query("TRUNCATE TABLE logbroker.logs")
    return server


def as_flusher(clickhouse, sql):
    return clickhouse.query(sql, "logbroker", clickhouse.password)


def insert(clickhouse, seqs, ring=1, more=""):
    """seqs: an expression over number, and how many of them."""
    expression, n = seqs
    clickhouse.query(
        f"INSERT INTO logbroker.logs (received_at, broker, ring, seq) "
        f"SELECT toStartOfDay(now64(6)), 'b{ring}', '{RING.format(ring)}', "
        f"{expression} FROM numbers({n}) {more}")


def rows(clickhouse):
    return int(clickhouse.query("SELECT count() FROM logbroker.logs"))


def audit(clickhouse, columns):
    return clickhouse.query(f"SELECT {columns} FROM logbroker.logbroker_audit "
                            "FORMAT TSV").splitlines()


# a cluster


def statements(path):
    text = "\n".join(line for line in path.read_text().splitlines()
                     if not line.strip().startswith("--"))
    return [x.strip() for x in re.split(r";\n|;$", text) if x.strip()]


def test_cluster_statements(clickhouse):
    """The engine here has no Keeper to run them with, but it knows the grammar
    and every setting and function; the columns are those of the one table."""
    conf = SCRIPTS.parent.parent / "conf" / "clickhouse"
    found = []
    for file in ("01-schema.sql", "02-audit.sql", "03-upgrade.sql"):
        for sql in statements(conf / "cluster" / file):
            kind = "AlterQuery" if "ALTER" in sql else "CreateQuery"
            assert kind in clickhouse.query(f"EXPLAIN AST {sql}")
            found.append(sql)
    assert len(found) == 12
    # and the table for reading is made anew
    assert [re.sub(r" ON CLUSTER logbroker", "", f) for f in found[4:11]] == \
        statements(conf / "03-upgrade.sql")
    assert found[11].replace("OR REPLACE TABLE", "TABLE IF NOT EXISTS") == \
        found[2]
    one = statements(conf / "01-schema.sql")[1]
    table = found[1]

    def body(sql):
        return sql[sql.index("("):sql.index("\nENGINE")]

    assert body(table) == body(one)
    # as a table of one server, with every setting that is not Keeper's
    clickhouse.query(re.sub(
        r"ON CLUSTER logbroker|Replicated(?=MergeTree)|"
        r"\('/clickhouse[^)]*\)", "",
        table.replace("logbroker.logs", "logbroker.like_cluster")))
    clickhouse.query("DROP TABLE logbroker.like_cluster")
    for xml in (*conf.glob("*.xml"), *conf.glob("cluster/*.xml")):
        ElementTree.parse(xml)


def test_cluster_user(clickhouse):
    """The settings of the flusher's profile are known."""
    conf = SCRIPTS.parent.parent / "conf" / "clickhouse" / "cluster"
    profile = ElementTree.parse(conf / "users.xml").find("profiles/logbroker")
    settings = ", ".join(f"{s.tag} = '{s.text}'" for s in profile)
    assert "insert_quorum = 'auto'" in settings
    clickhouse.query(f"SELECT 1 SETTINGS {settings}")


# the table


def test_apply_again(clickhouse):
    """Nothing is lost, nothing is in the way."""
    insert(clickhouse, ("number", 5))
    subprocess.run([SCRIPTS / "apply.sh", clickhouse.url], check=True)
    assert rows(clickhouse) == 5


def test_upgrade_under_load(clickhouse):
    """A table of the first release becomes the one of today while rows are put
    into it, as often as one likes; old rows get the index when asked to."""
    one = statements(SCRIPTS.parent.parent / "conf/clickhouse/01-schema.sql")[1]
    index = "\n    INDEX received      received_at    TYPE minmax" \
            "                  GRANULARITY 1"
    assert f",{index}" in one
    more = one[one.index("    span_id "):one.index("    INDEX words")]
    clickhouse.query("RENAME TABLE logbroker.logs TO logbroker.today")
    try:
        clickhouse.query(re.sub(
            r"INDEX words +lowerUTF8", "INDEX message_words lower",
            re.sub(r"\n +INDEX times .*", "", one).replace(
                f",{index}", "").replace(more, "").replace(
                    "CODEC(GCD, ", "CODEC(")))
        done = threading.Event()
        put = 0

        def load():
            nonlocal put
            while not done.is_set():
                insert(clickhouse, (f"number + {put}", 1000))
                put += 1000

        thread = threading.Thread(target=load)
        thread.start()
        try:
            for _ in range(3):
                subprocess.run([SCRIPTS / "apply.sh", clickhouse.url],
                               check=True)
            for _ in range(2):
                clickhouse.query("ALTER TABLE logbroker.logs MATERIALIZE "
                                 "INDEX received SETTINGS mutations_sync = 1")
        finally:
            done.set()
            thread.join()
        assert rows(clickhouse) == put > 0
        assert audit(clickhouse, "gaps, duplicates") == ["0\t0"]
        assert int(clickhouse.query(
            "SELECT marks_bytes FROM system.data_skipping_indices WHERE "
            "database = 'logbroker' AND table = 'logs' AND name = 'received'"))
        now, then = (clickhouse.query(f"SHOW CREATE TABLE logbroker.{t}")
                     for t in ("logs", "today"))
        assert now == then.replace("logbroker.today", "logbroker.logs")
    finally:
        clickhouse.query("DROP TABLE logbroker.logs")
        clickhouse.query("RENAME TABLE logbroker.today TO logbroker.logs")


def test_apply_says_what_failed(tmp_path):
    r = subprocess.run(
        [SCRIPTS / "apply.sh", f"http://127.0.0.1:{free_port()}"], text=True,
        capture_output=True)
    assert r.returncode == 1
    assert "no answer from ClickHouse" in r.stderr and "connect" in r.stderr


def test_apply_names_the_statement(clickhouse, tmp_path):
    """What a server refuses, with the file it stands in."""
    (tmp_path / "apply.sh").write_text((SCRIPTS / "apply.sh").read_text())
    (tmp_path / "01-wrong.sql").write_text("SELECT nothing_such;\n")
    r = subprocess.run(["bash", tmp_path / "apply.sh", clickhouse.url],
                       text=True, capture_output=True)
    assert r.returncode == 1
    assert "01-wrong.sql" in r.stderr and "nothing_such" in r.stderr


def test_token(clickhouse):
    """The same batch under the same token is stored once, also after a
    restart; under another token it is another batch."""
    def send(token):
        as_flusher(clickhouse,
                   "INSERT INTO logbroker.logs (received_at, ring, seq) "
                   f"SETTINGS async_insert = 0, "
                   f"insert_deduplication_token = '{token}' "
                   f"VALUES ('2100-01-01 00:00:00', '{RING.format(1)}', 1)")

    send("a")
    send("a")
    assert rows(clickhouse) == 1
    clickhouse.stop()
    clickhouse.start()
    send("a")
    assert rows(clickhouse) == 1
    send("b")
    assert rows(clickhouse) == 2
    assert audit(clickhouse, "events, gaps, duplicates") == ["2\t0\t1"]


def granules(clickhouse, where):
    """Read and present, of the plan for a count."""
    plan = clickhouse.query("EXPLAIN indexes = 1 SELECT count() "
                            f"FROM logbroker.logs WHERE {where}")
    found = [tuple(map(int, g))
             for g in re.findall(r"Granules: (\d+)/(\d+)", plan)]
    return found[-1][0], max(total for _, total in found)


def test_indexes(clickhouse):
    """What is asked often reads a small part of the table."""
    clickhouse.query("SYSTEM STOP MERGES logbroker.logs")
    try:
        for part in range(8):
            clickhouse.query(f"""
                INSERT INTO logbroker.logs
                    (timestamp, received_at, service, level, message, trace_id,
                     ring, seq)
                SELECT toStartOfDay(now64(6)) + toIntervalMillisecond(
                           {part} * 600000 + number * 10) AS time,
                       time, 's' || toString(number % 5),
                       ['info', 'warn', 'error'][1 + number % 3],
                       'GET /' || toString(cityHash64(number, {part})),
                       'trace' || toString({part} * 50000 + number),
                       '{RING.format(1)}', {part} * 50000 + number
                FROM numbers(50000)""")

        def share(where):
            read, total = granules(clickhouse, where)
            assert total >= 48
            return read / total

        # the flusher, about a batch whose outcome is not known
        assert share("toDate(received_at) = today() "
                     f"AND ring = '{RING.format(1)}' "
                     "AND seq BETWEEN 60000 AND 70000") <= 1 / 8
        assert share(f"ring = '{RING.format(2)}'") == 0
        # errors of a service, and the recent ones
        errors = "service = 's3' AND level = 'error'"
        assert share(errors) <= 1 / 3
        assert share(f"{errors} AND timestamp > toStartOfDay(now()) + 4600"
                     ) <= 1 / 4
        # a word, a trace
        assert share("hasToken(lowerUTF8(message), '17')") <= 1 / 8
        assert share("trace_id = 'trace123456'") <= 1 / 8
        # tomorrow
        assert share("toDate(received_at) = today() + 1") == 0
    finally:
        clickhouse.query("SYSTEM START MERGES logbroker.logs")


def test_question_reads_a_moment(clickhouse):
    """About a batch, in one large part of a day: rings that began at different
    seqs make the index on seq useless, the one on received_at is not."""
    clickhouse.query("""
        INSERT INTO logbroker.logs (timestamp, received_at, service, level,
                                    ring, seq)
        SELECT toStartOfDay(now64(6)) + toIntervalMillisecond(number * 10) AS t,
               t, 's' || toString(number % 4), 'info',
               '00000000-0000-0000-0000-00000000000' || toString(number % 8),
               number * (number % 8) + number % 8 * 1000000
        FROM numbers(800000) SETTINGS max_insert_threads = 1""")
    where = ("received_at BETWEEN toStartOfDay(now64(6)) + 4000 "
             "AND toStartOfDay(now64(6)) + 4001 AND ("
             + " OR ".join(f"ring = '{RING.format(r)}' AND seq BETWEEN "
                           f"{r * 1400000} AND {r * 1400000 + r * 1000}"
                           for r in (1, 3, 6)) + ")")
    read, total = granules(clickhouse, where)
    assert total >= 95 and read <= 8
    # rings that were filled two hours apart, each with its own moment
    pair = ("received_at BETWEEN {0} + 100 AND {0} + 7301 AND ("
            "(ring = '{1}' AND seq BETWEEN 1 AND 900 AND received_at BETWEEN "
            "{0} + 100 AND {0} + 101) OR (ring = '{2}' AND seq BETWEEN 5 AND 9 "
            "AND received_at BETWEEN {0} + 7300 AND {0} + 7301))").format(
                "toStartOfDay(now64(6))", RING.format(1), RING.format(2))
    assert granules(clickhouse, pair)[0] <= 16
    without, _ = granules(clickhouse, where + " SETTINGS "
                          "ignore_data_skipping_indices = 'received'")
    assert without >= 5 * read


# the audit


def test_audit(clickhouse):
    insert(clickhouse, ("number", 1000))
    insert(clickhouse, ("number + 1000", 500))
    insert(clickhouse, ("number + 7", 300), ring=2)
    assert audit(clickhouse, "broker, events, first_seq, last_seq, gaps, "
                 "duplicates") == ["b1\t1500\t0\t1499\t0\t0",
                                   "b2\t300\t7\t306\t0\t0"]


def test_audit_finds(clickhouse):
    """Rows twice, and rows that are missing, do not cancel out."""
    insert(clickhouse, ("number", 10))
    insert(clickhouse, ("number + 15", 10))
    insert(clickhouse, ("number + 20", 5))
    insert(clickhouse, ("number", 10), ring=2)
    assert audit(clickhouse, "gaps, duplicates") == ["5\t5", "0\t0"]


def test_audit_finds_a_ring_of_two_brokers(clickhouse):
    """Two that serve copies of one spool, each its own events."""
    insert(clickhouse, ("number", 10))
    insert(clickhouse, ("number", 10), ring=2)
    assert audit(clickhouse, "brokers") == ["1", "1"]
    clickhouse.query(
        "INSERT INTO logbroker.logs (received_at, broker, ring, seq) SELECT "
        f"now64(6), 'clone', '{RING.format(2)}', 10 + number FROM numbers(3)")
    assert audit(clickhouse, "gaps, duplicates, brokers") == [
        "0\t0\t1", "0\t0\t2"]


# the flusher's user


def test_user_may(clickhouse):
    """What the flusher does, and no more than that is granted."""
    as_flusher(clickhouse, "INSERT INTO logbroker.logs (received_at, ring, seq)"
               f" VALUES ('2100-01-01 00:00:00', '{RING.format(1)}', 1)")
    assert as_flusher(
        clickhouse, "SELECT count(), (SELECT count() FROM system.processes "
        "WHERE query_id = 'x') FROM logbroker.logs "
        "WHERE toDate(received_at) = '2100-01-01' "
        f"AND ring = '{RING.format(1)}' AND seq BETWEEN 1 AND 1"
    ) == "1\t0\n"
    assert as_flusher(
        clickhouse, "SELECT count() FROM system.replicas WHERE database = "
        "'logbroker' AND table = 'logs' AND (is_readonly OR "
        "inserts_in_queue > 0 OR log_max_index >= log_pointer)") == "0\n"
    assert "non_replicated_deduplication_window = 10000" in as_flusher(
        clickhouse, "SELECT engine_full FROM system.tables "
        "WHERE database = 'logbroker' AND name = 'logs'")


@pytest.mark.parametrize("sql", [
    "SELECT message FROM logbroker.logs",
    "SELECT * FROM logbroker.logs",
    "SELECT * FROM logbroker.logbroker_audit",
    "SELECT query FROM system.processes",
    "SELECT count() FROM system.users",
    "DROP TABLE logbroker.logs",
    "TRUNCATE TABLE logbroker.logs",
    "ALTER TABLE logbroker.logs DROP PARTITION '2100-01-01'",
    "ALTER TABLE logbroker.logs DELETE WHERE 1",
    "ALTER TABLE logbroker.logs MODIFY SETTING "
    "non_replicated_deduplication_window = 0",
    "CREATE TABLE logbroker.more (a UInt8) ENGINE = MergeTree ORDER BY a",
    "CREATE USER other",
    "GRANT SELECT ON logbroker.logs TO default",
    "KILL QUERY WHERE 1",
    "SYSTEM STOP MERGES logbroker.logs",
    "SELECT * FROM file('/etc/passwd', LineAsString)",
    "SELECT * FROM url('http://127.0.0.1:9/', LineAsString)",
])
def test_user_may_not(clickhouse, sql):
    with pytest.raises(AssertionError, match="ACCESS_DENIED|privileges"):
        as_flusher(clickhouse, sql)


def test_user_needs_the_password(clickhouse):
    with pytest.raises(AssertionError, match="AUTHENTICATION_FAILED"):
        clickhouse.query("SELECT 1", "logbroker", "guessed")
    with pytest.raises(AssertionError, match="AUTHENTICATION_FAILED"):
        clickhouse.query("SELECT 1", "logbroker")


def test_rights_given_by_sql(clickhouse):
    """Where users are made by SQL, as in Yandex Managed Service for
    ClickHouse. The engine at hand keeps no such users: so it parses the
    statements, and they give the rights of the shipped files, no more and no
    less."""
    conf = ROOT / "conf/clickhouse"
    text = (conf / "managed/users.sql").read_text()
    text = re.sub(r"^--.*\n", "", text, flags=re.M)
    text = text.replace("@PASSWORD_SHA256@", "00" * 32)
    statements = [s.strip() for s in text.split(";\n") if s.strip()]
    for s in statements:
        clickhouse.query(f"SELECT formatQuery($${s}$$)")

    def grants(name):
        return re.findall(r"<query>(GRANT .*?)</query>",
                          (conf / name).read_text())

    assert grants("users.xml") == grants("cluster/users.xml")
    assert [s.removesuffix(" TO logbroker") for s in statements
            if s.startswith("GRANT")] == grants("users.xml")
    profile = (conf / "cluster/users.xml").read_text()
    for name, value in re.findall(r"<(insert_quorum\w*)>(.*?)</", profile):
        assert re.search(rf"\b{name} = '?{value}\b", text), name


def test_password_is_private(clickhouse):
    assert (clickhouse.dir / "password").stat().st_mode & 0o077 == 0
    assert clickhouse.password not in (clickhouse.dir / "users.xml").read_text()


# the launcher


def launch(directory, port, **env):
    return subprocess.run(
        [SCRIPTS / "clickhouse.sh", directory, str(port)], text=True,
        capture_output=True, stdin=subprocess.DEVNULL, timeout=60,
        env=dict(os.environ, **env))


def test_port_taken(server, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as s:
        port = s.getsockname()[1]
        r = launch(tmp_path, port)
    assert r.returncode == 1
    assert f"127.0.0.1:{port} is in use" in r.stderr


def test_data_in_use(server):
    """Refused, and the settings of the server that runs are left alone."""
    settings = (server.dir / "config.xml").read_text()
    r = launch(server.dir, free_port())
    assert r.returncode == 1
    assert f"{server.dir} is in use" in r.stderr
    assert (server.dir / "config.xml").read_text() == settings
    assert server.query("SELECT 1") == "1\n"


def test_not_the_library(tmp_path):
    (tmp_path / "chdb/node_modules/@chdb/lib-linux-x64-gnu").mkdir(parents=True)
    library = (tmp_path /
               "chdb/node_modules/@chdb/lib-linux-x64-gnu/libchdb.so")
    library.write_text("x")
    r = launch(tmp_path / "data", free_port(),
               LOGBROKER_CHDB_DIR=str(tmp_path / "chdb"))
    assert r.returncode == 1 and str(library) in r.stderr


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_stops_in_order(tmp_path, sig):
    clickhouse = ClickHouse(tmp_path)
    clickhouse.start()
    insert(clickhouse, ("number", 5))
    os.kill(clickhouse.process.pid, sig)
    assert clickhouse.process.wait(20) == 0
    clickhouse.start()
    assert rows(clickhouse) == 5
    clickhouse.stop()
