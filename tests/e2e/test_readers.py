"""The user for those who read, of conf/clickhouse/readers.xml: finds what is
there, changes nothing, and is cut off at its limits whatever it asks for."""

import http.client
import re
import threading

import pytest

from env.build import ROOT
from env.clickhouse import ClickHouse
from env.process import wait_for

import queries

FILE = ROOT / "conf/clickhouse/readers.xml"


class Server(ClickHouse):
    """With the readers' file; limits made smaller, quota too if there is one
    here."""

    quota = None

    def configure(self):
        text = FILE.read_text()
        if self.quota:
            text, n = re.subn(r"<queries>\d+", f"<queries>{self.quota}", text)
            assert n == 1
        folder = self.dir / "users.d"
        folder.mkdir(parents=True)
        # printf %s secret | sha256sum
        (folder / "readers.xml").write_text(text.replace(
            "@READER_SHA256@", "2bb80d537b1da3e38bd30361aa855686bde0eacd"
            "7162fef6a25fe97bf527a25b"))

    def read(self, sql):
        return self.query(sql, "reader", "secret")

    def refused(self, sql):
        with pytest.raises(AssertionError) as e:
            self.read(sql)
        return str(e.value)


def made(tmp_path, quota=None):
    server = Server(tmp_path / "clickhouse")
    server.quota = quota
    server.configure()
    return server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with made(tmp_path_factory.mktemp("readers")) as s:
        queries.fill(s, 50_000)
        yield s


def test_reads(server):
    assert server.read("SELECT count() FROM logbroker.logs") == "50000\n"
    assert server.read("SELECT gaps, duplicates FROM logbroker."
                       "logbroker_audit FORMAT TSV") == "0\t0\n"
    # every question of the page, with its own settings
    for _, sql in queries.statements():
        if sql.startswith("SELECT") and "logbroker.access" not in sql \
                and "SELECT status, count()" not in sql:
            server.read(sql + " SETTINGS max_execution_time = 30")
    # what Grafana looks at to offer tables and columns
    assert server.read("SELECT name FROM system.tables WHERE database = "
                       "'logbroker' ORDER BY name") == "logbroker_audit\nlogs\n"
    assert "message" in server.read(
        "SELECT name FROM system.columns WHERE table = 'logs'")


def test_nobody_without_the_password(server):
    for password in (None, "", "Secret"):
        with pytest.raises(AssertionError, match="Authentication failed"):
            server.query("SELECT 1", "reader", password)


WRITES = [
    "INSERT INTO logbroker.logs (message) VALUES ('x')",
    "INSERT INTO logbroker.logs SELECT * FROM logbroker.logs",
    "INSERT INTO FUNCTION file('x.tsv', 'TSV', 'a String') SELECT 'x'",
    "ALTER TABLE logbroker.logs DELETE WHERE 1",
    "ALTER TABLE logbroker.logs MODIFY TTL toDateTime(received_at) + "
    "INTERVAL 1 DAY DELETE",
    "DELETE FROM logbroker.logs WHERE 1",
    "TRUNCATE TABLE logbroker.logs",
    "DROP TABLE logbroker.logs",
    "RENAME TABLE logbroker.logs TO logbroker.x",
    "OPTIMIZE TABLE logbroker.logs FINAL",
    "CREATE TABLE logbroker.x (a UInt8) ENGINE = Memory",
    "CREATE TEMPORARY TABLE x (a UInt8)",
    "CREATE DATABASE x",
    "CREATE USER x",
    "GRANT ALL ON *.* TO reader",
    "SYSTEM STOP MERGES logbroker.logs",
    "SYSTEM SHUTDOWN",
    "KILL QUERY WHERE user != 'reader' SYNC",
    "BACKUP TABLE logbroker.logs TO File('x')",
]


@pytest.mark.parametrize("sql", WRITES)
def test_cannot_write(server, sql):
    said = server.refused(sql)
    assert re.search("Not enough privileges|readonly|read-only|prohibited",
                     said), said
    assert server.query("SELECT count() FROM logbroker.logs") == "50000\n"


@pytest.mark.parametrize("sql", [
    "SELECT * FROM file('/etc/passwd', 'LineAsString', 'x String')",
    "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString', 'x String')",
    "SELECT * FROM remote('127.0.0.1', system.one)",
    "SELECT * FROM system.quotas",
    "SELECT * FROM system.users",
])
def test_reads_nothing_else(server, sql):
    assert "Not enough privileges" in server.refused(sql)


LIMITS = {
    "max_execution_time": ["0", "61", "3600"],
    "max_memory_usage": ["0", "3000000000"],
    "max_threads": ["5", "64"],
    "max_result_rows": ["0", "1000001"],
    "max_result_bytes": ["0", "2000000000"],
    "max_memory_usage_for_user": ["0", "8000000000"],
    "max_concurrent_queries_for_user": ["0", "100"],
    "timeout_overflow_mode": ["'break'"],
    "result_overflow_mode": ["'break'"],
    "priority": ["0", "1"],
    "allow_ddl": ["1"],
    "readonly": ["0", "1"],
}


@pytest.mark.parametrize("setting", LIMITS)
def test_limits_stay(server, setting):
    """By the query, and by the URL alike."""
    for value in LIMITS[setting]:
        if setting == "readonly" and value == "1":
            continue
        said = server.refused(f"SELECT 1 SETTINGS {setting} = {value}")
        assert re.search("should not be|shouldn't be|Cannot modify|readonly",
                         said), (value, said)


def test_every_limit_is_held():
    """None in the profile that a query could lift."""
    text = FILE.read_text()
    profile = text[text.index("<reader>"):text.index("<constraints>")]
    held = text[text.index("<constraints>"):text.index("</constraints>")]
    for name in re.findall(r"^ +<(\w+)>\d|^ +<(\w+)>throw", profile, re.M):
        name = name[0] or name[1]
        assert f"<{name}>" in held or name == "readonly", name


def test_cut_off_in_time(server):
    said = server.refused("SELECT sum(sipHash64(number)) FROM "
                          "numbers(1000000000000) SETTINGS "
                          "max_execution_time = 1")
    assert "TIMEOUT_EXCEEDED" in said or "Timeout exceeded" in said


def test_cut_off_in_memory(server):
    said = server.refused("SELECT groupArray(toString(number)) FROM "
                          "numbers(100000000) FORMAT Null")
    assert "MEMORY_LIMIT_EXCEEDED" in said


def test_cut_off_in_size(server):
    """In the middle of the answer."""
    with pytest.raises(http.client.IncompleteRead) as e:
        server.read("SELECT number FROM numbers(1000001)")
    assert e.value.partial.count(b"\n") <= 1000000


def test_another_profile_lifts_nothing(server):
    assert server.read(
        "SELECT getSetting('max_memory_usage'), getSetting('readonly'), "
        "getSetting('max_execution_time') SETTINGS profile = 'default' "
        "FORMAT TSV") == "2000000000\t2\t60\n"


def test_cut_off_in_number(server):
    """Sixteen at a time; the flusher's user is not in their way."""
    slow = "SELECT sleepEachRow(0.5) FROM numbers(6) FORMAT Null"
    said = []

    def ask():
        try:
            server.read(slow)
        except AssertionError as e:
            said.append(str(e))

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for t in threads:
        t.start()
    wait_for(lambda: said, 20, "a refusal")
    assert server.query("SELECT 1", "logbroker", server.password) == "1\n"
    for t in threads:
        t.join()
    assert len(said) >= 4
    assert all("TOO_MANY_SIMULTANEOUS_QUERIES" in s for s in said)


def test_quota(tmp_path):
    with made(tmp_path, quota=5) as server:
        said = ""
        for _ in range(7):
            try:
                server.read("SELECT count() FROM logbroker.logs")
            except AssertionError as e:
                said = str(e)
        assert "QUOTA_EXCEEDED" in said
        server.query("SELECT max(seq) FROM logbroker.logs", "logbroker",
                     server.password)
