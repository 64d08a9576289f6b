"""Deliberate breakages, and the scenarios that must notice each: a scenario
that stays green over its breakage tests nothing.

In a copy of the tree each breakage is made, built, and its scenarios run until
they are red, with up to three seeds.  Prints one line per breakage; exit 1 if
one survives a scenario.  --quick: three of them, by the day of the year.
--table: the table of docs/guarantees.md, which tests/e2e/test_mutations.py
compares with that page."""

import argparse
import concurrent.futures
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
DELIVER = "flusher/deliver.c"
FIX = "flusher/states/fix.c"
SEND = "flusher/states/send.c"
SETTLE = "flusher/states/settle.c"
CLICKHOUSE = "flusher/clickhouse/clickhouse.c"
WRITER = "spool/lb_writer.c"
CLAIM = "spool/lb_claim.c"

# (what is broken, [(file, what stands there once, what stands there then)],
#  [scenarios])
MUTATIONS = [
    ("the checkpoint is not stored before a batch is sent",
     [(FIX, "     * before anything is sent. */\n\n"
       "    return lb_deliver_store(d);",
       "     * before anything is sent. */\n\n    return 0;")],
     ["flusher_killed_in_doubt", "flusher_dies_at_each_point"]),
    ("the batch in flight is forgotten at a start",
     [(DELIVER, "if (!(d->state->flags & LB_CKPT_IN_FLIGHT)) {\n"
       "        return 0;\n    }\n\n    for",
       "if (1) {\n        return 0;\n    }\n\n    for")],
     ["flusher_killed", "flusher_killed_in_doubt",
      "flusher_dies_at_each_point"]),
    ("the batch in flight is chosen anew at a start, as large as one may be then",
     [(DELIVER, "    lb_batch_times(d->rings, d->state);\n",
       "    lb_batch_limits_t limits;\n\n"
       "    lb_size_limit(&d->size, d->options, &limits);\n"
       "    lb_batch_clear(d->state);\n"
       "    (void)lb_batch_pick(d->rings, d->state, &limits);\n"
       "    d->state->rows = lb_batch_events(d->state);\n")],
     ["flusher_killed_in_a_grown_batch",
      "clickhouse_killed_in_a_grown_batch"]),
    ("an unknown outcome is not asked about: its events are chosen anew",
     [(SEND, "        d->at = LB_DELIVER_UNKNOWN;\n        lb_deliver_trouble(",
       "        lb_deliver_clear(d);\n        lb_deliver_trouble(")],
     ["answers_get_lost", "answers_hang", "false_answers",
      "server_dies_at_each_point", "insert_waits_at_each_point",
      "server_stops_at_each_point", "flusher_stops_at_each_point",
      "frozen", "everything"]),
    ("an unknown outcome counts as delivered",
     [(SEND, "        d->at = LB_DELIVER_UNKNOWN;\n        lb_deliver_trouble(",
       "        (void)lb_deliver_ack(d);\n        lb_deliver_trouble(")],
     ["requests_are_cut", "overload", "server_dies_anywhere",
      "insert_calls_fail", "kill_loop"]),
    ("a batch that was not sent counts as delivered",
     [(SEND, "    case LB_SINK_NOT_SENT:\n",
       "    case LB_SINK_NOT_SENT:\n        (void)lb_deliver_ack(d);\n")],
     ["clickhouse_killed"]),
    ("a refused batch counts as delivered",
     [(SEND, "        d->counters.refused++;\n        lb_size_failed(",
       "        (void)lb_deliver_ack(d);\n        lb_size_failed(")],
     ["table_missing", "wrong_password"]),
    ("a 200 is believed whatever comes with it",
     [("flusher/clickhouse/insert.c",
       'if (http != 200 || strstr(body, "DB::Exception") != NULL) {\n'
       "        return LB_SINK_UNKNOWN;\n    }",
       "if (http == 200 && body != NULL) {\n        return LB_SINK_DONE;\n    }")],
     ["false_answers"]),
    ("a success in answer to a repeated token is believed",
     [(SEND, "if (!d->repeated || d->there) {",
       "if (d->repeated < 2) {")],
     ["token_before_rename", "rename_fails", "insert_calls_fail",
      "server_dies_at_each_point"]),
    ("a damaged copy of the checkpoint raises no doubt",
     [("spool/lb_checkpoint.c",
       "                state->flags |= LB_CKPT_DOUBT;",
       "                state->flags |= 0;")],
     ["checkpoint_bit_flips"]),
    ("an old checkpoint raises no doubt",
     [(DELIVER, "    if (is_old(d)) {", "    if (is_old(NULL)) {"),
      (DELIVER, "    lb_ckpt_state_t *st = d->state;\n\n"
       "    for (i = 0; i < d->rings->n; i++) {",
       "    lb_ckpt_state_t *st;\n\n    if (d == NULL) {\n"
       "        return 0;\n    }\n    st = d->state;\n\n"
       "    for (i = 0; i < d->rings->n; i++) {")],
     ["checkpoint_copy_restored"]),
    ("a view that threw is not served again",
     [(SETTLE, "        if (!d->view_failed && "
       "(a->views == 0 || d->claimed || d->views_done)) {",
       "        if (d->view_turns <= 1000) {")],
     ["view_throws"]),
    ("an error while pushing to a view is a refusal",
     [("flusher/clickhouse/errors.c",
       'return strstr(body, "while pushing to view") != NULL;',
       "return body == NULL;")],
     ["view_lost_what_it_needs"]),
    ("the first batch of a spool goes into a table that was not looked at",
     [("flusher/look.c", "    l->first = !known;", "    l->first = 2 * known;")],
     ["table_exchanged"]),
    ("a table that took the name is taken for the old one",
     [(SETTLE, "if (!d->elsewhere && memcmp(st->table_uuid, none",
       "if (d->turns == 0 && memcmp(st->table_uuid, none")],
     ["table_exchanged"]),
    ("a batch in doubt is chosen anew when its table is not there",
     [(SETTLE, "            d->elsewhere = 1;\n            return 1;",
       "            lb_deliver_clear(d);\n"
       "            return lb_deliver_store(d) == 0;")],
     ["table_renamed_and_back"]),
    ("a failure does not lead to the next URL",
     [("flusher/clickhouse/http.c",
       "ch->url = (ch->url + 1) % ch->options->nurls;",
       "ch->url %= ch->options->nurls;")],
     ["sick_and_healthy"]),
    ("a question goes to another server than the batch",
     [(SEND, "    d->counters.unknown++;\n",
       "    d->counters.unknown++;\n    d->moved = 1;\n"
       "    d->sink->next(d->sink->ctx);\n")],
     ["question_goes_after_the_batch"]),
    ("no INSERT is thought to come late",
     [(SETTLE, "    if (!d->loose) {", "    if (d->loose < 2) {")],
     ["inserts_arrive_late"]),
    ("a batch too large is sent again as it is",
     [(SEND, "               ? LB_BLAME_SIZE\n",
       "               ? LB_BLAME_NONE\n"),
      (CLICKHOUSE, "               ? LB_BLAME_SIZE\n",
       "               ? LB_BLAME_NONE\n")],
     ["batch_too_large_for_a_proxy", "batch_too_large_for_the_server"]),
    ("batches do not grow again",
     [("flusher/size.c", "s->refused *= 2;\n", "s->refused *= 1;\n")],
     ["batch_too_large_for_a_proxy"]),
    ("nodes do not keep to their slots",
     [("flusher/pace.c", "if (pace->count <= 1) {",
       "if (pace->count > 0) {")],
     ["three_nodes", "clocks_differ"]),
    ("ClickHouse's clock is ignored",
     [("flusher/service.c", "lb_clock_offset(&f->clock, now, wall)", "0")],
     ["clocks_differ"]),
    ("a batch holds events of several days",
     [("flusher/pick.c", "        if (rec.received_us / LB_DAY_US != day) {\n"
       "            return;",
       "        if (day == 0) {\n            return;")],
     ["clocks_jump"]),
    ("a failed write is answered with 204",
     [(WRITER, "    if (rc != 0) {\n        lb_writer_poison(w);\n"
       "        return w->result = rc;\n    }\n\n    cell = w->cell;",
       "    cell = w->cell;")],
     ["disk_errors"]),
    ("a group is committed before it is written",
     [(WRITER, "    lb_fill_yield(&w->fill, end);\n",
       "    lb_fill_yield(&w->fill, end);\n"
       "    cell = w->cell;\n    cell.committed = end;\n"
       "    cell.next_seq = g->end_seq;\n"
       "    (void)lb_writer_store_cell(w, &cell, 0);\n")],
     ["workers_stop_at_each_point", "workers_die_at_each_point"]),
    ("an event that is set aside leaves no letter",
     [("flusher/poison.c",
       "        rc = lb_dead_row(dead, r->reader, &r->info, &rec, "
       "excluded[i].seq,\n                         event, len, s->reason, err);",
       "        rc = excluded[i].seq % 3 == 0 ? 0 : "
       "lb_dead_row(\n            dead, r->reader, &r->info, &rec, "
       "excluded[i].seq, event, len,\n            s->reason, err);")],
     ["rows_set_aside"]),
    ("seqs are used again after a restart",
     [(CLAIM, "    w->next_seq = w->cell.next_seq;\n\n    lb_marks_open",
       "    w->next_seq = 0;\n\n    lb_marks_open")],
     ["workers_killed", "nginx_killed"]),
    ("who takes a ring over forgets what is not delivered",
     [(CLAIM, "    cell.committed = found.end;\n    cell.next_seq = found.seq;",
       "    cell.committed = w->acked;\n    cell.next_seq = found.seq;")],
     ["workers_killed", "nginx_killed", "workers_die_at_each_point",
      "reloads", "rings_change"]),
    ("two workers write one ring",
     [(CLAIM, "    rc = lb_io_lock(w->fd);\n    if (rc != 0 || !lb_ring_same(",
       "    rc = 0;\n    if (rc != 0 || !lb_ring_same(")],
     ["reloads"]),
    ("rings get their room when it is needed",
     [("spool/lb_ringfile.c",
       "lb_io->preallocate(fd, (off_t)(LB_RING_DATA + capacity)) != 0",
       "ftruncate(fd, (off_t)(LB_RING_DATA + capacity)) != 0")],
     ["disk_full", "disk_full_xfs"]),
    ("a setting that breaks the question is left to the profile",
     [("flusher/clickhouse/settings.c",
       '    {"force_primary_key", "0", QUESTION, HOLD, 0},\n', "")],
     ["hostile_profiles"]),
    ("what is sent again without a key is another request",
     [("ngx_logbroker_module/ngx_http_logbroker_key.c",
       "ctx->has_key || !llcf->digest", "ctx->has_key || llcf->digest")],
     ["workers_killed", "nginx_killed"]),
    ("the edge repeats a request that got no answer",
     [("conf/nginx/edge.conf",
       "proxy_next_upstream http_503 non_idempotent;",
       "proxy_next_upstream error timeout http_503 non_idempotent;")],
     ["rolling_kills"]),
]

# Without one: a full btrfs is too slow to need every ring.
WITHOUT = ["disk_full_btrfs"]

TARGETS = ["ngx_http_logbroker_module", "logbroker-flusher",
           "logbroker-spool", "logbroker-chserver"]


def table():
    lines = ["| breakage | noticed by |", "|---|---|"]
    for name, _, scenarios in MUTATIONS:
        by = ", ".join(f"`{s}`" for s in scenarios)
        lines.append(f"| {name} | {by} |")
    without = ", ".join(f"`{s}`" for s in WITHOUT)
    return "\n".join(lines) + f"\n\nWithout a breakage: {without}.\n"


def changed(root, edits):
    """{path: text} with the edits made; each place must be there once."""
    texts = {}
    for file, old, new in edits:
        text = texts.get(file) or (root / file).read_text()
        assert text.count(old) == 1, \
            f"{file}: {text.count(old)} times, not once: {old!r}"
        texts[file] = text.replace(old, new)
    return texts


def copy_tree(to):
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True,
                           stdout=subprocess.PIPE, text=True).stdout
    for name in filter(None, files.split("\0")):
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(ROOT / name):
            shutil.copy2(ROOT / name, to / name, follow_symlinks=False)


def build(tree):
    return subprocess.run(
        ["cmake", "--build", "build", "-j", str(os.cpu_count()), "--target",
         *TARGETS], cwd=tree, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, check=False)


def noticed(tree, scenario, seed, span):
    """The first seed that turns it red, with what it says, or None."""
    for attempt in range(3):
        p = subprocess.run(
            [sys.executable, "tests/faults/faults.py", "--scenario", scenario,
             "--seed", str(seed + attempt), "--span", str(span)],
            cwd=tree, stdout=subprocess.PIPE, text=True, check=False,
            env={**os.environ, "LB_BUILD": str(tree / "build"),
                 "TMPDIR": str(tree / "tmp")})
        shutil.rmtree(tree / "tmp")
        (tree / "tmp").mkdir()
        if p.returncode:
            # red, and not for want of something else
            assert " FAILED " in p.stdout, f"{scenario}: {p.stdout[-2000:]}"
            return p.stdout.split(" FAILED ")[1].splitlines()[0]
    return None


def run(tree, mutation, seed, span):
    """{scenario: what it said, or None}"""
    name, edits, scenarios = mutation
    texts = changed(tree, edits)
    whole = {file: (tree / file).read_text() for file in texts}
    try:
        for file, text in texts.items():
            (tree / file).write_text(text)
        built = build(tree)
        assert built.returncode == 0, f"{name}: {built.stdout[-3000:]}"
        return {s: noticed(tree, s, seed, span) for s in scenarios}
    finally:
        for file, text in whole.items():
            (tree / file).write_text(text)


def main():
    parser = argparse.ArgumentParser(
        prog="tests/faults/mutations.sh", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--only", metavar="WORDS", action="append",
                        help="those with these words in their name, or these "
                        "scenarios")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--span", type=float, default=6, metavar="SECONDS",
                        help="under load of each scenario")
    parser.add_argument("--jobs", type=int, default=2, help="at once")
    args = parser.parse_args()

    if args.table:
        print(table(), end="")
        return 0

    chosen = MUTATIONS
    if args.only:
        chosen = [m for m in MUTATIONS
                  if any(w in m[0] or w in m[2] for w in args.only)]
    if args.quick:
        day = time.gmtime().tm_yday
        chosen = [MUTATIONS[(3 * day + i) % len(MUTATIONS)] for i in range(3)]
    os.environ.setdefault("LOGBROKER_CHDB_DIR", str(ROOT / "build" / "chdb"))
    base = pathlib.Path(tempfile.mkdtemp(prefix="lb-mutations-"))
    survived = 0
    try:
        trees = []
        for n in range(min(args.jobs, len(chosen))):
            tree = base / str(n)
            copy_tree(tree)
            (tree / "tmp").mkdir()
            subprocess.run(["cmake", "-S", ".", "-B", "build"], cwd=tree,
                           check=True, stdout=subprocess.DEVNULL)
            trees.append(tree)

        def one(mutation):
            tree = trees.pop()
            try:
                return mutation, run(tree, mutation, args.seed, args.span)
            finally:
                trees.append(tree)

        with concurrent.futures.ThreadPoolExecutor(len(trees)) as pool:
            for mutation, said in pool.map(one, chosen):
                print(mutation[0], flush=True)
                for scenario, words in said.items():
                    survived += words is None
                    print(f"    {scenario:30} "
                          f"{words[:150] if words else 'SURVIVED'}",
                          flush=True)
    finally:
        shutil.rmtree(base)
    print(f"{len(chosen)} breakages, {survived} survived")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
