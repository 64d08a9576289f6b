-- The tables of a ClickHouse cluster (cluster.xml), run once on any server of it.
-- Statements end with a semicolon at the end of a line; each may be run again.
--
-- logs is the table logbroker delivers into, on every server: replicated within
-- a shard. A flusher has the URLs of the replicas of ONE shard, so that an INSERT
-- is one block of one table, all or nothing, and its token is known to all
-- replicas it may come to. Brokers are dealt to shards by their settings; nothing
-- is inserted through logs_all, which is for reading.

CREATE DATABASE IF NOT EXISTS logbroker ON CLUSTER logbroker;

-- The deduplication window counts INSERTs into the shard. The whole cluster makes
-- at most one per second, however many nodes it has: 10000 are at least 2 3/4
-- hours. The second limit, a week, must not be the shorter one.
CREATE TABLE IF NOT EXISTS logbroker.logs ON CLUSTER logbroker
(
    timestamp   DateTime64(9, 'UTC')   CODEC(GCD, Delta(8), ZSTD(1)),
    received_at DateTime64(6, 'UTC')   CODEC(GCD, Delta(8), ZSTD(1)),
    stream      LowCardinality(String),
    level       LowCardinality(String),
    service     LowCardinality(String),
    host        LowCardinality(String),
    message     String                 CODEC(ZSTD(1)),
    trace_id    String                 CODEC(ZSTD(1)),
    attributes  String                 CODEC(ZSTD(1)),
    client      String                 CODEC(ZSTD(1)),
    broker      LowCardinality(String),
    ring        UUID                   CODEC(ZSTD(1)),
    seq         UInt64                 CODEC(Delta(8), ZSTD(1)),

    -- What OpenTelemetry has beside that. Rows of flushers that did not know these
    -- columns have it in attributes, and are read as if they had them.
    span_id         String                 DEFAULT JSONExtractString(attributes, 'span_id') CODEC(ZSTD(1)),
    trace_flags     UInt8                  DEFAULT JSONExtractUInt(attributes, 'flags'),
    severity_number UInt8                  DEFAULT multiIf(JSONExtractUInt(attributes, 'severity_number') BETWEEN 1 AND 24,
        JSONExtractUInt(attributes, 'severity_number'), level = 'trace', 1, level = 'debug', 5,
        level = 'info', 9, level = 'notice', 10, level = 'warn', 13, level = 'error', 17,
        level = 'fatal', 21, 0),
    event_name      LowCardinality(String) DEFAULT JSONExtractString(attributes, 'event_name'),
    resource        LowCardinality(String) DEFAULT if(JSONType(attributes, 'resource') = 'Object', JSONExtractRaw(attributes, 'resource'), ''),
    scope           LowCardinality(String) DEFAULT if(JSONType(attributes, 'scope') = 'Object', JSONExtractRaw(attributes, 'scope'), ''),

    -- The names that tools for OpenTelemetry's logs know. They take no room.
    Timestamp          DateTime64(9, 'UTC') ALIAS timestamp,
    TraceId            String ALIAS trace_id,
    SpanId             String ALIAS span_id,
    TraceFlags         UInt8 ALIAS trace_flags,
    SeverityText       LowCardinality(String) ALIAS level,
    SeverityNumber     UInt8 ALIAS severity_number,
    ServiceName        LowCardinality(String) ALIAS service,
    Body               String ALIAS message,
    EventName          LowCardinality(String) ALIAS event_name,
    ResourceSchemaUrl  String ALIAS JSONExtractString(resource, 'schema_url'),
    ResourceAttributes Map(LowCardinality(String), String) ALIAS if(resource = '', map('service.name', toString(service), 'host.name', toString(host)),
        JSONExtract(toString(resource), 'Map(String, String)')),
    ScopeName          String ALIAS JSONExtractString(scope, 'name'),
    ScopeVersion       String ALIAS JSONExtractString(scope, 'version'),
    ScopeSchemaUrl     String ALIAS JSONExtractString(scope, 'schema_url'),
    ScopeAttributes    Map(LowCardinality(String), String) ALIAS JSONExtract(toString(scope), 'Map(String, String)'),
    LogAttributes      Map(LowCardinality(String), String) ALIAS JSONExtract(attributes, 'Map(String, String)'),

    -- words of a message, of any alphabet: hasToken(lowerUTF8(message), 'timeout')
    INDEX words         lowerUTF8(message) TYPE tokenbf_v1(16384, 3, 0) GRANULARITY 1,
    INDEX trace_ids     trace_id       TYPE bloom_filter(0.01)      GRANULARITY 1,
    -- the last of everything: days and streams of other times are left out
    INDEX times         timestamp      TYPE minmax                  GRANULARITY 1,
    -- what the flusher asks when the outcome of a batch is not known
    INDEX rings         ring           TYPE set(64)                 GRANULARITY 1,
    INDEX seqs          seq            TYPE minmax                  GRANULARITY 1,
    INDEX received      received_at    TYPE minmax                  GRANULARITY 1
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/logbroker/logs', '{replica}')
PARTITION BY toDate(received_at)
ORDER BY (stream, service, level, timestamp)
TTL toDateTime(received_at) + INTERVAL 30 DAY DELETE
SETTINGS replicated_deduplication_window = 10000,
    replicated_deduplication_window_seconds = 604800, ttl_only_drop_parts = 1,
    fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS logbroker.logs_all ON CLUSTER logbroker AS logbroker.logs
ENGINE = Distributed(logbroker, logbroker, logs, rand());
