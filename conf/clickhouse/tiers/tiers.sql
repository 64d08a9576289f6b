-- A week on the server's own disk, the rest of a year in a bucket: once tiers.xml
-- is in the server's config.d. Each statement may be run again, and while events
-- are delivered. What is older than a week begins to move at once.
ALTER TABLE logbroker.logs MODIFY SETTING storage_policy = 'tiers';

-- Days move and go as wholes, by the day of receipt, as they are partitioned.
ALTER TABLE logbroker.logs
    MODIFY TTL toDateTime(received_at) + INTERVAL 7 DAY TO VOLUME 'cold',
        toDateTime(received_at) + INTERVAL 365 DAY DELETE;
