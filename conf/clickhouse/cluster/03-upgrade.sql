-- As ../03-upgrade.sql, on every server.
ALTER TABLE logbroker.logs ON CLUSTER logbroker
    ADD INDEX IF NOT EXISTS received received_at TYPE minmax GRANULARITY 1;

-- in the place of one that knew the letters A to Z alone
ALTER TABLE logbroker.logs ON CLUSTER logbroker
    ADD INDEX IF NOT EXISTS words lowerUTF8(message) TYPE tokenbf_v1(16384, 3, 0) GRANULARITY 1 FIRST;
ALTER TABLE logbroker.logs ON CLUSTER logbroker
    DROP INDEX IF EXISTS message_words;
ALTER TABLE logbroker.logs ON CLUSTER logbroker
    ADD INDEX IF NOT EXISTS times timestamp TYPE minmax GRANULARITY 1 AFTER trace_ids;

ALTER TABLE logbroker.logs ON CLUSTER logbroker
    ADD COLUMN IF NOT EXISTS span_id String
        DEFAULT JSONExtractString(attributes, 'span_id') CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS trace_flags UInt8
        DEFAULT JSONExtractUInt(attributes, 'flags'),
    ADD COLUMN IF NOT EXISTS severity_number UInt8
        DEFAULT multiIf(JSONExtractUInt(attributes, 'severity_number') BETWEEN 1 AND 24,
        JSONExtractUInt(attributes, 'severity_number'), level = 'trace', 1, level = 'debug', 5,
        level = 'info', 9, level = 'notice', 10, level = 'warn', 13, level = 'error', 17,
        level = 'fatal', 21, 0),
    ADD COLUMN IF NOT EXISTS event_name LowCardinality(String)
        DEFAULT JSONExtractString(attributes, 'event_name'),
    ADD COLUMN IF NOT EXISTS resource LowCardinality(String)
        DEFAULT if(JSONType(attributes, 'resource') = 'Object', JSONExtractRaw(attributes, 'resource'), ''),
    ADD COLUMN IF NOT EXISTS scope LowCardinality(String)
        DEFAULT if(JSONType(attributes, 'scope') = 'Object', JSONExtractRaw(attributes, 'scope'), '');
ALTER TABLE logbroker.logs ON CLUSTER logbroker
    ADD COLUMN IF NOT EXISTS Timestamp DateTime64(9, 'UTC')
        ALIAS timestamp,
    ADD COLUMN IF NOT EXISTS TraceId String
        ALIAS trace_id,
    ADD COLUMN IF NOT EXISTS SpanId String
        ALIAS span_id,
    ADD COLUMN IF NOT EXISTS TraceFlags UInt8
        ALIAS trace_flags,
    ADD COLUMN IF NOT EXISTS SeverityText LowCardinality(String)
        ALIAS level,
    ADD COLUMN IF NOT EXISTS SeverityNumber UInt8
        ALIAS severity_number,
    ADD COLUMN IF NOT EXISTS ServiceName LowCardinality(String)
        ALIAS service,
    ADD COLUMN IF NOT EXISTS Body String
        ALIAS message,
    ADD COLUMN IF NOT EXISTS EventName LowCardinality(String)
        ALIAS event_name,
    ADD COLUMN IF NOT EXISTS ResourceSchemaUrl String
        ALIAS JSONExtractString(resource, 'schema_url'),
    ADD COLUMN IF NOT EXISTS ResourceAttributes Map(LowCardinality(String), String)
        ALIAS if(resource = '', map('service.name', toString(service), 'host.name', toString(host)),
        JSONExtract(toString(resource), 'Map(String, String)')),
    ADD COLUMN IF NOT EXISTS ScopeName String
        ALIAS JSONExtractString(scope, 'name'),
    ADD COLUMN IF NOT EXISTS ScopeVersion String
        ALIAS JSONExtractString(scope, 'version'),
    ADD COLUMN IF NOT EXISTS ScopeSchemaUrl String
        ALIAS JSONExtractString(scope, 'schema_url'),
    ADD COLUMN IF NOT EXISTS ScopeAttributes Map(LowCardinality(String), String)
        ALIAS JSONExtract(toString(scope), 'Map(String, String)'),
    ADD COLUMN IF NOT EXISTS LogAttributes Map(LowCardinality(String), String)
        ALIAS JSONExtract(attributes, 'Map(String, String)');

-- of what is written from now on, and of what merges write anew
ALTER TABLE logbroker.logs ON CLUSTER logbroker
    MODIFY COLUMN timestamp CODEC(GCD, Delta(8), ZSTD(1)),
    MODIFY COLUMN received_at CODEC(GCD, Delta(8), ZSTD(1));

-- It holds no rows: made anew, it has the columns of the others.
CREATE OR REPLACE TABLE logbroker.logs_all ON CLUSTER logbroker AS logbroker.logs
ENGINE = Distributed(logbroker, logbroker, logs, rand());
