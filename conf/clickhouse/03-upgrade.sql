-- What a table of an earlier release lacks; nothing for one that is new. Each
-- statement may be run again, and while events are delivered: it changes what is
-- written from now on, and touches no row that is there.
ALTER TABLE logbroker.logs
    ADD INDEX IF NOT EXISTS received received_at TYPE minmax GRANULARITY 1;
