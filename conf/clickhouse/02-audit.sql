-- Exactly once, to be checked by anyone: each event carries (ring, seq), and
-- the seqs of a ring have neither gaps nor repetitions.
--
--   SELECT * FROM logbroker.logbroker_audit
--
-- gaps counts missing seqs between the first and the last that are there (the
-- TTL removes the oldest days, nothing in between).  brokers counts the names
-- under which a ring was delivered: more than one says that a broker got another
-- name, or that two serve copies of one spool.  Reads three columns of the whole
-- table and keeps one compressed bitmap per ring.
CREATE OR REPLACE VIEW logbroker.logbroker_audit AS
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
    FROM logbroker.logs
    GROUP BY ring
)
ORDER BY broker, ring;
