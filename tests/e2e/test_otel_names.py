"""The names by which tools for OpenTelemetry's logs recognise the table, and the
statements they send."""

import json

import pytest

from env.build import ROOT

import queries

# What HyperDX wants of a table before it takes it for one of logs; what
# Grafana's ClickHouse source asks for beside that in its OTel mode.
HYPERDX = ["Timestamp", "Body", "SeverityText", "TraceId", "SpanId",
           "ServiceName", "LogAttributes", "ResourceAttributes"]
GRAFANA = ["ScopeAttributes", "ScopeName"]
# the exporter's others
OTHERS = ["TraceFlags", "SeverityNumber", "EventName", "ResourceSchemaUrl",
          "ScopeVersion", "ScopeSchemaUrl"]


@pytest.fixture(scope="module")
def filled(server):
    server.query("SYSTEM STOP MERGES logbroker.logs")
    for part in range(8):
        server.query(f"""
            INSERT INTO logbroker.logs (timestamp, received_at, stream, level,
                service, host, message, trace_id, attributes, span_id,
                severity_number, resource, scope, ring, seq)
            SELECT toStartOfDay(now64(6)) + toIntervalSecond({part} * 3600),
                now64(6), 'default', if(number % 50 = 0, 'error', 'info'),
                concat('svc', toString(number % 8)), 'h',
                concat('took ', toString({part}), ' word', toString({part})),
                hex(MD5(toString({part} * 100000 + intDiv(number, 8)))),
                '{{"status":200,"deep":{{"a":1}}}}', hex(number),
                if(number % 50 = 0, 17, 9),
                concat('{{"service.name":"svc', toString(number % 8),
                       '","k8s.pod.name":"p","schema_url":"u"}}'),
                '{{"name":"lib","version":"1"}}',
                '00000000-0000-0000-0000-000000000001',
                {part} * 100000 + number FROM numbers(16384)""")
    yield server
    server.query("SYSTEM START MERGES logbroker.logs")


def test_recognised(filled):
    described = [line.split("\t")[0] for line in filled.query(
        "DESCRIBE logbroker.logs FORMAT TSV").splitlines()]
    for name in HYPERDX + GRAFANA + OTHERS:
        assert name in described, name
    # its absence tells Grafana which release of the exporter's table it is
    assert "TimestampTime" not in described
    # the time column is the first date of the primary key
    key = filled.query("SELECT primary_key FROM system.tables WHERE "
                       "database = 'logbroker' AND name = 'logs'")
    assert "timestamp" in key
    # they are not in the way of SELECT *, and take no room
    star = json.loads(filled.query(
        "SELECT * FROM logbroker.logs LIMIT 1 FORMAT JSONEachRow"))
    assert not set(star) & set(HYPERDX)
    assert filled.query(
        "SELECT sum(data_compressed_bytes) FROM system.columns WHERE database "
        "= 'logbroker' AND table = 'logs' AND default_kind = 'ALIAS'"
    ) in ("0\n", "\\N\n")


def test_values(filled):
    row = json.loads(filled.query(
        f"SELECT {', '.join(HYPERDX + GRAFANA + OTHERS)} FROM logbroker.logs "
        "WHERE seq = 50 FORMAT JSONEachRow SETTINGS "
        "output_format_json_named_tuples_as_objects = 1"))
    assert row["ServiceName"] == "svc2" and row["SeverityText"] == "error"
    assert row["SeverityNumber"] == 17 and row["SpanId"] == "32"
    assert row["ResourceAttributes"] == {
        "service.name": "svc2", "k8s.pod.name": "p", "schema_url": "u"}
    assert row["ResourceSchemaUrl"] == "u"
    assert (row["ScopeName"], row["ScopeVersion"]) == ("lib", "1")
    assert row["ScopeAttributes"] == {"name": "lib", "version": "1"}
    assert row["LogAttributes"]["status"] == "200"
    filled.query("INSERT INTO logbroker.logs (service, host, attributes, seq) "
                 "VALUES ('s', 'h', '{}', 99999999)")
    row = json.loads(filled.query(
        "SELECT ResourceAttributes, LogAttributes, ScopeName FROM "
        "logbroker.logs WHERE seq = 99999999 FORMAT JSONEachRow"))
    assert row == {"ResourceAttributes": {"service.name": "s",
                                          "host.name": "h"},
                   "LogAttributes": {}, "ScopeName": ""}


@pytest.mark.parametrize("where, index", [
    ("TraceId = (SELECT hex(MD5('300001')))", "trace_ids"),
    ("hasToken(lowerUTF8(Body), 'word3')", "words"),
    ("stream = 'default' AND ServiceName = 'svc2' AND SeverityText = 'error'",
     "PrimaryKey"),
])
def test_indexes(filled, where, index):
    """What they ask for is found by the indexes of what it stands for."""
    plan = filled.query("EXPLAIN indexes = 1 SELECT count() FROM "
                        f"logbroker.logs WHERE {where}")
    assert index in plan, plan
    assert int(filled.query(
        f"SELECT count() FROM logbroker.logs WHERE {where}")) > 0


@pytest.mark.parametrize("sql", [
    # HyperDX: search, histogram, keys and values of a map, a row
    "SELECT Timestamp, ServiceName AS service, SeverityText AS level, Body, "
    "TraceId, SpanId FROM logbroker.logs WHERE (Timestamp >= "
    "fromUnixTimestamp64Milli(0)) AND (ResourceAttributes['service.name'] = "
    "'svc3') ORDER BY Timestamp DESC LIMIT 200",
    "SELECT count(), SeverityText, toStartOfInterval(toDateTime(Timestamp), "
    "INTERVAL 1 minute) AS t FROM logbroker.logs GROUP BY SeverityText, t",
    "SELECT groupUniqArrayArray(200)(mapKeys(LogAttributes)) FROM (SELECT "
    "LogAttributes FROM logbroker.logs LIMIT 1000)",
    "SELECT *, LogAttributes, ResourceAttributes FROM logbroker.logs LIMIT 1",
    # Grafana's OTel mode
    'SELECT Timestamp AS "timestamp", Body AS "body", SeverityText AS "level", '
    'LogAttributes AS "labels", TraceId AS "traceID" FROM "logbroker"."logs" '
    "WHERE ( Timestamp >= toDateTime64(0, 3) ) ORDER BY timestamp DESC "
    "LIMIT 100",
])
def test_statements(filled, sql):
    assert filled.query(sql + " FORMAT JSONEachRow").strip()


def test_hyperdx_preset(filled):
    """What the preset names are columns, which a search can be made of."""
    source, = json.loads((ROOT / "conf/clickhouse/hyperdx.json").read_text())
    assert source["kind"] == "log" and source["connection"]
    table = ".".join(source["from"].values())
    named = {k: v for k, v in source.items() if k.endswith("Expression")}
    assert set(HYPERDX) == {x.strip() for v in named.values()
                            for x in v.split(",")}
    time = source["timestampValueExpression"]
    assert filled.query(
        f"SELECT {', '.join(named.values())} FROM {table} WHERE {time} >= "
        "fromUnixTimestamp64Milli(0) AND hasToken(lower("
        f"{source['implicitColumnExpression']}), 'word3') ORDER BY {time} "
        "DESC LIMIT 200 FORMAT JSONEachRow").count("\n") == 200


@pytest.mark.parametrize("name, where", [
    ("lower_words", "hasToken(lower(Body), 'word3')"),
    ("text_words", "hasToken(lowerUTF8(Body), 'word3')"),
])
def test_indexes_of_ones_own(filled, name, where):
    """Those of docs/queries.md are used by what they are for, and nothing is
    found that is not found without."""
    statement = next(sql for _, sql in queries.statements() if name in sql)
    filled.query("CREATE TABLE logbroker.own AS logbroker.logs")
    try:
        filled.query("SYSTEM STOP MERGES logbroker.own")
        count = f"SELECT count() FROM logbroker.own WHERE {where}"
        for indexed in False, True:
            if indexed:
                filled.query("TRUNCATE TABLE logbroker.own")
                filled.query(statement.replace("logbroker.logs",
                                               "logbroker.own"))
            for part in range(8):
                filled.query(
                    "INSERT INTO logbroker.own SELECT * FROM logbroker.logs "
                    f"WHERE hasToken(message, 'word{part}')")
            assert filled.query(count) == "16384\n"
            assert (name in queries.indexes(filled, count)) == indexed
    finally:
        filled.query("DROP TABLE logbroker.own SYNC")


def test_grafana_source():
    """The source is in OTel mode, and its table is the one of the logs."""
    file = ROOT / "conf/grafana/provisioning/datasources/logbroker.yml"
    assert """
      logs:
        defaultDatabase: logbroker
        defaultTable: logs
        otelEnabled: true
""" in file.read_text()


# the time alone, as all of them ask first; whether or not the server keeps
# statistics of each part
@pytest.mark.parametrize("where", [
    "Timestamp >= toStartOfDay(now64(6)) + INTERVAL 24990 SECOND",
    "Timestamp >= fromUnixTimestamp64Milli(toUnixTimestamp64Milli("
    "toDateTime64(toStartOfDay(now()), 3)) + 24990000)",
])
def test_times(filled, where):
    plan = filled.query("EXPLAIN indexes = 1 SELECT Body FROM logbroker.logs "
                        f"WHERE {where} SETTINGS "
                        "use_statistics_for_part_pruning = 0")
    at = plan.index("Name: times")
    parts = plan[at:].split("Parts: ")[1].split("\n")[0].split("/")
    assert int(parts[0]) < int(parts[1]), plan
