"""Profiles that a ClickHouse user may come with, each hostile in its way, for
test_profiles.py and the fault scenario: each gets a user and a broker of its own
on one server.
"""

import concurrent.futures
import contextlib
import json

from env.broker import Broker
from env.door import Door
from env.http import post
from env.process import wait_for

# what may be changed is set right by every statement
DELIVERS = {
    "force_primary_key": {"force_primary_key": 1},
    "force_index_by_date": {"force_index_by_date": 1},
    "force_data_skipping_indices": {"force_data_skipping_indices": "nope"},
    "force_optimize_projection": {"force_optimize_projection": 1},
    "query_cache": {
        "use_query_cache": 1, "query_cache_ttl": 600,
        "query_cache_nondeterministic_function_handling": "save",
        "query_cache_system_table_handling": "save"},
    "query_cache_throws": {"use_query_cache": 1},
    "deduplicate_insert": {"deduplicate_insert": "disable"},
    "insert_deduplicate": {"insert_deduplicate": 0,
                           "deduplicate_insert": "backward_compatible_choice"},
    "async_insert": {"async_insert": 1, "wait_for_async_insert": 0},
    "tiny_blocks": {"max_insert_block_size": 7, "max_block_size": 7,
                    "min_insert_block_size_rows": 1,
                    "min_insert_block_size_bytes": 1},
    "insert_threads": {"max_insert_threads": 4},
    "read_limits": {"max_rows_to_read": 1, "max_bytes_to_read": 1,
                    "read_overflow_mode": "break"},
    "read_limits_throw": {"max_rows_to_read": 1, "max_rows_to_read_leaf": 1},
    "result_limits": {"max_result_rows": 1, "max_result_bytes": 1,
                      "result_overflow_mode": "break"},
    "execution_time": {"max_execution_time": 20,
                       "timeout_overflow_mode": "break"},
    "memory": {"max_memory_usage": 200_000_000, "max_threads": 1},
    "columns_to_read": {"max_columns_to_read": 1},
    "odd_output": {
        "output_format_tsv_crlf_end_of_line": 1, "extremes": 1,
        "output_format_write_statistics": 0,
        "date_time_output_format": "iso", "bool_true_representation": "x",
        "format_tsv_null_representation": "none",
        "output_format_decimal_trailing_zeros": 1},
    "odd_input": {
        "input_format_native_allow_types_conversion": 0,
        "input_format_native_decode_types_in_binary_format": 1,
        "input_format_null_as_default": 0, "date_time_input_format": "basic",
        "input_format_defaults_for_omitted_fields": 0},
    "names_and_joins": {"prefer_column_name_to_alias": 1, "join_use_nulls": 1,
                        "transform_null_in": 1},
    "final": {"final": 1},
    "table_filters": {"additional_table_filters": "{'logbroker.logs':'0'}"},
    "result_filter": {"additional_result_filter": "0"},
    "limit": {"limit": 1},
    "offset": {"offset": 1},
    "progress_in_headers": {
        "send_progress_in_http_headers": 1,
        "http_headers_progress_interval_ms": 1,
        "http_write_exception_in_output_format": 1},
    "session_timezone": {"session_timezone": "Pacific/Auckland"},
    "empty_sets": {"empty_result_for_aggregation_by_empty_set": 1,
                   "aggregate_functions_null_for_empty": 1},
    "insert_shard": {"insert_shard_id": 1, "insert_distributed_sync": 0},
    "no_optimize_on_insert": {"optimize_on_insert": 0,
                              "materialize_skip_indexes_on_insert": 0},
    "partitions": {"max_partitions_per_insert_block": 1000,
                   "throw_on_max_partitions_per_insert_block": 0},
    "parallel_replicas": {"enable_parallel_replicas": 1,
                          "max_parallel_replicas": 3,
                          "parallel_replicas_for_non_replicated_merge_tree": 1},
    "dialect": {"dialect": "prql"},
    "compatibility": {"compatibility": "21.3"},
    "strict_blocks": {"use_strict_insert_block_limits": 1,
                      "max_insert_block_size_bytes": 100},
    "small_statements": {
        "max_query_size": 200, "max_parser_depth": 5, "max_ast_depth": 3,
        "max_ast_elements": 10, "max_expanded_ast_elements": 10,
        "max_temporary_columns": 1, "max_temporary_non_const_columns": 1,
        "max_rows_in_set": 1, "max_bytes_in_set": 1},
    "old_analyzer": {"allow_experimental_analyzer": 0},
    # no right to see running INSERTs: said, and no hindrance
    "bare_grants": {},
    "logs_and_formats": {"send_logs_level": "trace", "log_comment": "theirs"},
}

# what may not be changed ("const" or a limit) and does no harm: left out
LEFT_OUT = {
    "const_query_cache": {"use_query_cache": 1, "max_insert_threads": 2},
    "const_limits": {"max_result_rows": 100_000, "max_columns_to_read": 100,
                     "max_insert_block_size": 1_048_449},
    "const_statements": {"max_query_size": 100_000, "max_parser_depth": 500,
                         "dialect": "clickhouse"},
}

# what may not be changed and means that a token is not heeded or a batch cut
SAYS_NO = {
    "const_deduplicate_insert": (
        {"deduplicate_insert": "disable"}, "deduplicate_insert is disable"),
    "const_blocks": (
        {"min_insert_block_size_rows": 1, "min_insert_block_size_bytes": 1,
         "max_insert_block_size": 7}, "insert_block_size"),
}

# what may not be changed and would lose rows, or count them wrong
HOLDS = {
    "const_async_insert": ({"async_insert": 1}, "async_insert is 1"),
    "const_table_filters": (
        {"additional_table_filters": "{'logbroker.logs':'0'}"},
        "additional_table_filters is {'logbroker.logs':'0'}"),
    "const_force_primary_key": ({"force_primary_key": 1}, "force_primary_key"),
    "const_overflow": ({"read_overflow_mode": "break", "max_rows_to_read": 1},
                       "read_overflow_mode is break"),
    "readonly": ({"readonly": 1}, "readonly mode"),
}

EVENTS = 25



def settings(name):
    for group in (DELIVERS, LEFT_OUT):
        if name in group:
            return group[name]
    for group in (SAYS_NO, HOLDS):
        if name in group:
            return group[name][0]
    raise KeyError(name)


def names():
    return [*DELIVERS, *LEFT_OUT, *SAYS_NO, *HOLDS]


def write_users(directory, lifted=False):
    """A profile and a user for each; lifted: nothing is const, nor wrong."""
    profiles, users = [], []
    for name in names():
        const = name not in DELIVERS
        values = "" if const and lifted else "".join(
            f"<{k}>{v}</{k}>" for k, v in settings(name).items())
        constraints = "".join(
            f"<{k}><const/></{k}>" for k in settings(name)
            if k != "readonly") if const and not lifted else ""
        processes = "" if name == "bare_grants" else (
            "<query>GRANT SELECT(query_id) ON system.processes</query>")
        profiles.append(f"<{name}>{values}<constraints>{constraints}"
                        f"</constraints></{name}>")
        users.append(f"""<{name}>
    <password></password><networks><ip>::/0</ip></networks>
    <profile>{name}</profile><quota>default</quota>
    <grants>
        <query>GRANT INSERT ON logbroker.logs</query>
        <query>GRANT SELECT(received_at, ring, seq) ON logbroker.logs</query>
        {processes}
    </grants></{name}>""")
    folder = directory / "users.d"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "profiles.xml").write_text(
        f"<clickhouse><profiles>{''.join(profiles)}</profiles>"
        f"<users>{''.join(users)}</users></clickhouse>")


class Node:
    """One profile: a broker that delivers as its user, through a door."""

    def __init__(self, directory, port, name):
        self.name = name
        self.door = Door(port)
        self.sent = 0
        self.broker = Broker(
            directory / name, [self.door.url], name=name, user=name, workers=1,
            rings=2, size="1m", flusher={
                "backoff": {"min_ms": 1000, "max_ms": 1000},
                "shutdown_timeout_ms": 1000,
                "clickhouse": {"request_timeout_ms": 10000}})

    def post(self):
        for _ in range(2):
            body = "\n".join(json.dumps({"message": f"{self.name}-{i}"})
                             for i in range(self.sent, self.sent + EVENTS))
            assert post(self.broker.port, body)[0] == 204
            self.sent += EVENTS

    def figures(self):
        return self.broker.status()["flusher"] or {}

    def verdict(self):
        e = self.figures().get("exactly_once", {})
        return e.get("verdict"), e.get("reason", "")

    def settled(self, what):
        wait_for(self.broker.drained, 60, f"{self.name}: {what}", every=0.3)

    def deliver(self, lost_answers=True):
        """A batch, one whose answer gets lost, another one."""
        self.broker.start_nginx()
        self.post()
        self.broker.start_flusher()
        self.settled("first batch")
        if lost_answers:
            self.door.mode = "drop"
            self.post()
            wait_for(lambda: self.figures().get("unknown"), 30,
                     f"{self.name}: doubt", every=0.1)
            self.door.mode = "pass"
            self.settled("a batch in doubt")
        self.post()
        self.settled("last batch")

    def stop(self):
        with contextlib.suppress(Exception):
            self.broker.stop()
        self.door.close()


def all_at_once(f, nodes):
    """Every node's trouble is told, not just the first one's."""
    with concurrent.futures.ThreadPoolExecutor(len(nodes)) as pool:
        done = [pool.submit(f, n) for n in nodes]
    wrong = [str(d.exception()) for d in done if d.exception()]
    assert not wrong, wrong


def run(server, directory):
    """server: not yet started.  Returns the figures; raises what is wrong."""
    write_users(server.dir)
    server.start()
    nodes = [Node(directory, server.port, name) for name in names()]
    held = [n for n in nodes if n.name in HOLDS]
    try:
        def first(n):
            if n in held:
                n.broker.start()
                n.post()
            else:
                n.deliver()

        all_at_once(first, held + [n for n in nodes if n not in held])

        def judged(n):
            wanted, words = "yes", ""
            if n.name in SAYS_NO or n.name in HOLDS:
                wanted, words = "no", (SAYS_NO | HOLDS)[n.name][1]
            wait_for(lambda: n.verdict()[0] == wanted
                     and words in n.verdict()[1], 60,
                     f"{n.name}: {wanted} {words}, not {n.verdict()}",
                     every=0.3)

        all_at_once(judged, nodes)
        bare = next(n for n in nodes if n.name == "bare_grants")
        assert "grant SELECT(query_id) ON system.processes" in (
            bare.broker.dir / "flusher.log").read_text()

        # held: what comes after the verdict waits
        in_before = rows(server)
        all_at_once(Node.post, held)
        verify(server, [n for n in nodes if n not in held], held)
        for n in held:
            wait_for(lambda: n.figures()["backlog_events"] >= 2 * EVENTS, 20,
                     f"{n.name}: backlog")
        assert {n.name: rows(server).get(n.name) for n in held} == {
            n.name: in_before.get(n.name) for n in held}

        # until the profile is put right
        write_users(server.dir, lifted=True)
        server.stop()
        server.start()
        all_at_once(lambda n: n.settled("what was held"), held)
        return verify(server, nodes)
    finally:
        for n in nodes:
            n.stop()


def rows(server):
    """Rows, different (ring, seq) and different events of each broker."""
    found = {}
    for line in server.query(
            "SELECT broker, count(), uniqExact(ring, seq), uniqExact(message) "
            "FROM logbroker.logs GROUP BY broker FORMAT TSV").splitlines():
        broker, *figures = line.split("\t")
        found[broker] = [int(x) for x in figures]
    return found


def verify(server, nodes, others=()):
    found = rows(server)
    for n in others:
        found.pop(n.name, None)
    acked = sum(n.sent for n in nodes)
    lost = sum(max(0, n.sent - found.get(n.name, [0, 0, 0])[2]) for n in nodes)
    twice = sum(f[0] - f[2] for f in found.values())
    wrong = [(n.name, n.sent, found.get(n.name)) for n in nodes
             if found.get(n.name) != [n.sent] * 3]
    result = (f"profiles={len(nodes)} acknowledged={acked} lost={lost} "
              f"duplicated={twice}")
    assert not wrong and set(found) == {n.name for n in nodes}, (
        f"{result}: {wrong} {set(found) ^ {n.name for n in nodes}}")
    return result
