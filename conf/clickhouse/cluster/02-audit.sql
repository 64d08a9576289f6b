-- As ../02-audit.sql, over all shards: a ring may have changed its shard.

CREATE VIEW IF NOT EXISTS logbroker.logbroker_audit ON CLUSTER logbroker AS
SELECT
    broker,
    ring,
    events,
    first_seq,
    last_seq,
    last_seq - first_seq + 1 - distinct_events AS gaps,
    events - distinct_events AS duplicates
FROM
(
    SELECT
        any(broker) AS broker,
        ring,
        count() AS events,
        min(seq) AS first_seq,
        max(seq) AS last_seq,
        groupBitmap(seq) AS distinct_events
    FROM logbroker.logs_all
    GROUP BY ring
)
ORDER BY broker, ring;
