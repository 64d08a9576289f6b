-- As ../03-upgrade.sql, on every server.
ALTER TABLE logbroker.logs ON CLUSTER logbroker
    ADD INDEX IF NOT EXISTS received received_at TYPE minmax GRANULARITY 1;
