-- As ../02-audit.sql, over all shards: a ring may have changed its shard.

CREATE OR REPLACE VIEW logbroker.logbroker_audit ON CLUSTER logbroker AS
SELECT
    any_broker AS broker,
    ring,
    events,
    first_seq,
    last_seq,
    last_seq - first_seq + 1 - distinct_events AS gaps,
    events - distinct_events AS duplicates,
    brokers
FROM
(
    SELECT
        any(broker) AS any_broker,
        ring,
        count() AS events,
        min(seq) AS first_seq,
        max(seq) AS last_seq,
        groupBitmap(seq) AS distinct_events,
        uniqExact(broker) AS brokers
    FROM logbroker.logs_all
    GROUP BY ring
)
ORDER BY broker, ring;
