-- The flushers' user where users are made by SQL and not by files (users.xml):
-- on Yandex Managed Service for ClickHouse with user management by SQL, as its
-- user admin, on every host. Replace @PASSWORD_SHA256@ by the output of
--   printf %s "$password" | sha256sum
-- Statements end with a semicolon at the end of a line; each may be run again.
--
-- The rights are those of users.xml, which says what each is for. insert_quorum
-- is for replicas: what is confirmed is on a majority of them.

CREATE USER IF NOT EXISTS logbroker;

ALTER USER logbroker IDENTIFIED WITH sha256_hash BY '@PASSWORD_SHA256@'
    SETTINGS insert_quorum = 'auto', insert_quorum_parallel = 0, insert_quorum_timeout = 30000;

REVOKE ALL ON *.* FROM logbroker;
GRANT INSERT ON logbroker.logs TO logbroker;
GRANT SELECT(received_at, ring, seq) ON logbroker.logs TO logbroker;
GRANT SELECT(query_id) ON system.processes TO logbroker;
GRANT SELECT(database, table, is_readonly, inserts_in_queue, log_max_index, log_pointer) ON system.replicas TO logbroker;
GRANT SHOW TABLES ON logbroker.* TO logbroker;
