/*
 * Delivery against a server that betrays it: tokens without rows, views that
 * throw, tables that change their name, servers that are sick.
 */

#include "spool_env.h"

#include <fcntl.h>

#include "flusher/clickhouse/clickhouse.h"
#include "flusher/clickhouse/native.h"
#include "flusher/clickhouse/question.h"
#include "flusher/deliver.h"
#include "flusher/token.h"

#define ROWS_MAX 4096
#define DAY_US 86400000000ull

/* What the next INSERTs meet, one character each; behind the end: 'o'.
 *
 *   o  done              l  lost: nothing in, no answer
 *   d  done, no answer   t  token known, rows not, no answer
 *   v  rows in, a materialized view threw   w  it took too long
 *   m  no memory         p  a proxy's 413
 */
typedef struct {
    const char *script;
    int url, nurls, sick; /* sick: that URL answers 'm' whatever the script */
    uint64_t max_rows;    /* more: 'p' */
    int rows[ROWS_MAX];   /* by seq; there is one ring */
    char tokens[512][LB_TOKEN_MAX + 1]; /* known */
    int ntokens;
    char sent[512][LB_TOKEN_MAX + 1];
    uint64_t sent_rows[512];
    int sent_url[512];
    int nsent, nasked;
    int views;
    const char *uuid; /* of the table that has the name */
    int moved;        /* the rows are in the table of the state's UUID */
    int behind;
    lb_ckpt_state_t *state;
    const lb_deliver_t *d;
    unsigned every;      /* one row in so many breaks a constraint, 0: none */
    const char *missing; /* a table that is not there */
} server_t;

typedef struct {
    env_t env;
    lb_writer_t *w;
    lb_ckpt_t *ckpt;
    lb_ckpt_state_t state;
    lb_rings_t rings;
    lb_dead_t *dead;
    lb_options_t options;
    lb_transport_t transport;
    lb_sink_t *sink;
    lb_deliver_t d;
    server_t server;
    uint64_t appended;
} node_t;

static int
excluded(const server_t *s, uint64_t seq)
{
    uint32_t i;

    for (i = 0; i < s->d->nexcluded; i++) {
        if (s->d->excluded[i].seq == seq) {
            return 1;
        }
    }

    return 0;
}

static int
is_missing(const server_t *s, const char *text, lb_ch_result_t *r)
{
    if (s->missing == NULL || strstr(text, s->missing) == NULL) {
        return 0;
    }

    r->outcome = LB_SINK_REFUSED;
    r->http = 404;
    r->code = LB_CH_UNKNOWN_TABLE;

    return 1;
}

static int
breaks(const server_t *s, lb_ch_result_t *r)
{
    uint64_t seq;
    const lb_ckpt_ring_t *e = &s->state->rings[0];

    for (seq = e->acked_seq; s->every && seq < e->end_seq; seq++) {
        if (seq % s->every == 3 && !excluded(s, seq)) {
            r->http = 500;
            r->code = 469;
            (void)snprintf(r->answer, sizeof(r->answer),
                           "Code: 469. DB::Exception: Constraint `c` for table "
                           "logbroker.logs is violated at row 1. Expression: "
                           "(n > 3). Column values: n = 3. ");
            return 1;
        }
    }

    return 0;
}

static void
serve_rows(void *ctx, const char *sql, const char *structure,
           const lb_ch_insert_t *rows, lb_ch_result_t *r)
{
    int n;
    char uuid[LB_UUID_TEXT], *p = r->answer;
    uint64_t seq, last = 0;
    const server_t *s = ctx;
    const lb_ckpt_ring_t *e = &s->state->rings[0];

    (void)rows;
    memset(r, 0, sizeof(*r));
    r->outcome = LB_SINK_DONE;
    assert_non_null(strstr(sql, "(n > 3)"));
    assert_non_null(strstr(structure, "seq UInt64"));

    for (seq = e->acked_seq; seq < e->end_seq; seq++) {
        if (s->every && seq % s->every == 3 && !excluded(s, seq)) {
            if (last == 0) {
                lb_uuid_format(e->uuid, uuid);
                n = sprintf(p, "%s\t%llu\t0", uuid, (unsigned long long)seq);
            } else {
                n = sprintf(p, ",%llu", (unsigned long long)(seq - last));
            }
            p += n;
            last = seq;
        }
    }
    strcpy(p, last != 0 ? "\n" : "");
}

static void
serve_insert(void *ctx, const lb_ch_insert_t *in, lb_ch_result_t *r)
{
    int i, known = 0;
    long n;
    char how, buf[4096];
    uint64_t seq;
    server_t *s = ctx;
    lb_ckpt_ring_t *e = &s->state->rings[0];

    memset(r, 0, sizeof(*r));
    r->outcome = LB_SINK_UNKNOWN;
    (void)snprintf(s->sent[s->nsent], sizeof(s->sent[0]), "%s", in->token);
    s->sent_rows[s->nsent] = in->rows;
    s->sent_url[s->nsent++] = s->url;

    while ((n = in->read(in->arg, buf, sizeof(buf))) > 0) {
        /* void */
    }

    if (n < 0) {
        return;
    }

    r->complete = 1;

    if (is_missing(s, in->table, r) || breaks(s, r)) {
        return;
    }

    how = *s->script != '\0' ? *s->script++ : 'o';

    if (s->sick == s->url) {
        how = 'm';
    } else if (s->max_rows != 0 && in->rows > s->max_rows) {
        how = 'p';
    }

    for (i = 0; i < s->ntokens; i++) {
        known |= strcmp(s->tokens[i], in->token) == 0;
    }

    if (strchr("odvtw", how) != NULL && !known) {
        strcpy(s->tokens[s->ntokens++], in->token);
        for (seq = e->acked_seq; how != 't' && seq < e->end_seq; seq++) {
            s->rows[seq] += !excluded(s, seq);
        }
    }

    switch (how) {
    case 'o':
        r->outcome = LB_SINK_DONE;
        r->http = 200;
        r->read_rows = in->rows;
        break;
    case 'v':
        r->http = 500;
        r->code = 395;
        (void)snprintf(r->answer, sizeof(r->answer),
                       "Code: 395. DB::Exception: no: while pushing to view "
                       "logbroker.v");
        break;
    case 'w':
        r->timed_out = 1;
        break;
    case 'm':
        r->http = 500;
        r->code = 241;
        break;
    case 'p':
        r->http = 413;
        break;
    default:
        break;
    }
}

static void
serve_query(void *ctx, const char *sql, lb_ch_result_t *r)
{
    char uuid[LB_UUID_TEXT];
    uint64_t seq, n = 0, first = 0, last = 0;
    server_t *s = ctx;
    lb_ckpt_ring_t *e = &s->state->rings[0];

    memset(r, 0, sizeof(*r));
    r->outcome = LB_SINK_DONE;
    s->nasked++;

    if (is_missing(s, sql, r)) {
        return;
    }

    if (strstr(sql, "WHERE uuid = ") != NULL) {
        lb_uuid_format(s->state->table_uuid, uuid);
        assert_non_null(strstr(sql, uuid));
        (void)snprintf(r->answer, sizeof(r->answer), "%s",
                       s->moved ? "logbroker.moved\n" : "");
        return;
    }

    for (seq = e->acked_seq; seq < ROWS_MAX; seq++) {
        if (s->rows[seq] > 0 &&
            (seq < e->end_seq || strstr(sql, "GROUP BY ring") != NULL)) {
            first = n == 0 ? seq : first;
            last = seq;
            n += (uint64_t)s->rows[seq];
        }
    }

    if (strstr(sql, "GROUP BY ring") != NULL) {
        lb_uuid_format(e->uuid, uuid);
        if (n > 0) {
            (void)snprintf(r->answer, sizeof(r->answer),
                           "1\t0\t%d\t%s %llu %llu %llu\n", s->behind, uuid,
                           (unsigned long long)n, (unsigned long long)first,
                           (unsigned long long)last);
        } else {
            (void)snprintf(r->answer, sizeof(r->answer), "0\t0\t%d\t\n",
                           s->behind);
        }
        return;
    }

    if (s->moved && strstr(sql, "`moved`") == NULL) {
        n = 0;
    }

    (void)snprintf(r->answer, sizeof(r->answer),
                   "%llu\t0\t%d\t%s\t%d\tMergeTree\n", (unsigned long long)n,
                   s->behind, s->uuid, s->views);
}

static void
serve_next(void *ctx)
{
    server_t *s = ctx;

    s->url = (s->url + 1) % s->nurls;
}

static unsigned warned_of_age;
static char said[1024]; /* the last line above info */

static void
quiet(int level, const char *fmt, ...)
{
    char text[1024];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);

    warned_of_age += level == LB_LOG_WARN && strstr(text, "MODIFY TTL") != NULL;
    if (level != LB_LOG_INFO) {
        (void)snprintf(said, sizeof(said), "%s", text);
    }
}

#define TABLE "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
#define ANOTHER "6ba7b811-9dad-11d1-80b4-00c04fd430c8"

static void
node_open(node_t *n)
{
    lb_error_t err;

    assert_int_equal(lb_ckpt_open(n->env.spool, &n->ckpt, &n->state, &err), 0);
    lb_rings_init(&n->rings, n->env.spool);
    assert_int_equal(lb_rings_look(&n->rings, 0, &err), 0);
    assert_int_equal(lb_dead_open(n->env.spool, 1 << 20, &n->dead, &err), 0);

    memset(&n->d, 0, sizeof(n->d));
    n->d.spool = n->env.spool;
    n->d.ckpt = n->ckpt;
    n->d.state = &n->state;
    n->d.rings = &n->rings;
    n->d.dead = n->dead;
    n->d.options = &n->options;
    n->sink = lb_clickhouse_over(&n->transport, &n->options);
    assert_non_null(n->sink);
    n->d.sink = n->sink;
    n->d.log = quiet;
    n->server.state = &n->state;
    n->server.d = &n->d;

    if (lb_deliver_init(&n->d, &err) != 0) {
        fail_msg("%s", err.text);
    }
    n->d.late_ms = 0;
    assert_int_equal(lb_uuid_parse(TABLE, n->d.table_uuid), 0);
}

static void
node_close(node_t *n)
{
    n->sink->free(n->sink->ctx);
    lb_dead_close(n->dead);
    lb_rings_close(&n->rings);
    lb_ckpt_close(n->ckpt);
}

static int
setup(void **state)
{
    void *env;
    node_t *n = calloc(1, sizeof(*n));

    assert_non_null(n);
    assert_int_equal(env_setup(&env), 0);
    n->env = *(env_t *)env;
    free(env);

    n->w = env_writer(&n->env, 1 << 20);
    n->options.database = (char *)"logbroker";
    n->options.table = (char *)"logs";
    n->options.broker = (char *)"b";
    n->options.max_rows = 1000;
    n->options.max_bytes = 1 << 20;
    n->options.backoff_min_ms = 1000;
    n->options.backoff_max_ms = 30000;
    n->server.script = "";
    n->server.nurls = 1;
    n->server.sick = -1;
    n->server.uuid = TABLE;
    n->transport.ctx = &n->server;
    n->transport.insert = serve_insert;
    n->transport.query = serve_query;
    n->transport.next_url = serve_next;
    n->transport.query_rows = serve_rows;
    node_open(n);
    *state = n;

    return 0;
}

static int
teardown(void **state)
{
    node_t *n = *state;

    node_close(n);
    lb_writer_close(n->w);
    lb_spool_close(n->env.spool);
    env_remove(n->env.dir);
    free(n);

    return 0;
}

static void
append(node_t *n, lb_writer_t *w, uint32_t events, uint64_t received_us)
{
    uint8_t *p;
    uint32_t i;
    size_t len = 0;
    lb_meta_t meta = {.received_us = received_us,
                      .stream = (const uint8_t *)"s",
                      .stream_len = 1};

    p = lb_writer_stage(w, &meta, events * 32);
    assert_non_null(p);
    for (i = 0; i < events; i++) {
        len += (size_t)sprintf((char *)p + len, "{\"n\":%llu}\n",
                               (unsigned long long)n->appended++);
    }
    assert_int_equal(lb_writer_append(w, &meta, len, events), 0);
    assert_int_equal(env_commit(w, 1), 0);
}

/* Steps until nothing is wanted; the number of requests. */
static int
deliver(node_t *n)
{
    int turns;
    lb_error_t err;

    for (turns = 0; turns < 400; turns++) {
        assert_int_equal(lb_rings_look(&n->rings, turns * 2000, &err), 0);
        if (!lb_deliver_wanted(&n->d)) {
            return turns;
        }
        (void)lb_deliver_step(&n->d);
    }

    fail_msg("no end: %s", n->d.last_error);
    return 0;
}

/* Until the next step would ask, or nothing is wanted. */
static void
one_insert(node_t *n)
{
    int before = n->server.nsent;
    lb_error_t err;

    assert_int_equal(lb_rings_look(&n->rings, 1, &err), 0);
    while (n->server.nsent == before) {
        (void)lb_deliver_step(&n->d);
    }
}

static void
once(node_t *n, uint64_t first, uint64_t end)
{
    uint64_t seq;

    for (seq = first; seq < end; seq++) {
        if (n->server.rows[seq] != 1) {
            fail_msg("seq %llu is there %d times", (unsigned long long)seq,
                     n->server.rows[seq]);
        }
    }
}

static void
token_without_rows(void **state)
{
    node_t *n = *state;

    n->server.script = "t";
    append(n, n->w, 50, 1700000000000000u);
    (void)deliver(n);
    once(n, 0, 50);

    /* the identical batch first, then the same rows under another token */
    assert_int_equal(n->server.nsent, 3);
    assert_string_equal(n->server.sent[0], n->server.sent[1]);
    assert_string_not_equal(n->server.sent[1], n->server.sent[2]);
    assert_int_equal(n->d.counters.renamed, 1);
    assert_int_equal(n->state.delivered, 50);
}

static void
token_without_rows_and_a_crash(void **state)
{
    node_t *n = *state;

    n->server.script = "tlt";
    append(n, n->w, 5, 1700000000000000u);
    one_insert(n);
    node_close(n);
    node_open(n);
    assert_int_equal(n->d.at, LB_DELIVER_UNKNOWN);
    (void)deliver(n);
    once(n, 0, 5);
}

static void
a_repeat_that_is_in_is_sent_once_more_at_most(void **state)
{
    node_t *n = *state;

    n->server.script = "d";
    append(n, n->w, 5, 1700000000000000u);
    assert_int_equal(deliver(n), 2);
    assert_int_equal(n->server.nsent, 1);
    once(n, 0, 5);
}

static void
flip(node_t *n, uint64_t generation)
{
    int fd;
    char path[300], c;
    off_t at = (generation & 1 ? LB_CKPT_COPY : 0) + 100;

    (void)snprintf(path, sizeof(path), "%s/checkpoint", n->env.dir);
    fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &c, 1, at), 1);
    c ^= 4;
    assert_int_equal(pwrite(fd, &c, 1, at), 1);
    close(fd);
}

/* The newest copy is damaged at any moment of a batch's life: in flight and
 * in, in flight and not in, acked. */
static void
newest_copy_damaged(void **state)
{
    node_t *n = *state;
    uint64_t rows = 0;
    const char *how;

    for (how = "dlo"; *how != '\0'; how++) {
        n->server.script = how;
        append(n, n->w, 10, 1700000000000000u);
        one_insert(n);
        rows += 10;
        node_close(n);
        flip(n, n->state.generation);
        /* more has come when the flusher is back: another batch */
        append(n, n->w, 50, 1700000001000000u);
        rows += 50;
        n->server.script = "";
        node_open(n);
        assert_int_equal(n->d.at, LB_DELIVER_DOUBT);
        (void)deliver(n);
        once(n, 0, rows);
        assert_int_equal(n->state.delivered, rows);
        assert_int_equal(n->state.rings[0].acked_seq, rows);
        assert_false(n->state.flags & LB_CKPT_DOUBT);
    }
}

/* A sector of zeros looks like a copy that was never written. */
static void
newest_copy_zeroed(void **state)
{
    int fd, i;
    char path[300];
    node_t *n = *state;
    static const char zeros[LB_SECTOR];

    for (i = 0; i < 3; i++) {
        n->server.script = "d";
        append(n, n->w, 10, 1700000000000000u);
        one_insert(n);
        node_close(n);
        (void)snprintf(path, sizeof(path), "%s/checkpoint", n->env.dir);
        fd = open(path, O_RDWR);
        assert_true(fd >= 0);
        assert_int_equal(pwrite(fd, zeros, sizeof(zeros),
                                n->state.generation & 1 ? LB_CKPT_COPY : 0),
                         sizeof(zeros));
        close(fd);
        append(n, n->w, 50, 1700000001000000u);
        node_open(n);
        assert_int_equal(n->d.at, LB_DELIVER_DOUBT);
        (void)deliver(n);
        once(n, 0, n->appended);
    }
}

/* After halving, the older copy names a batch of which only a part is in. */
static void
damage_after_a_smaller_batch(void **state)
{
    node_t *n = *state;

    n->server.script = "p";
    append(n, n->w, 100, 1700000000000000u);
    one_insert(n);
    (void)lb_deliver_step(&n->d); /* asks: not in, smaller */
    n->server.script = "d";
    one_insert(n);
    assert_int_equal(n->server.sent_rows[1], 50);
    node_close(n);
    flip(n, n->state.generation);
    node_open(n);
    (void)deliver(n);
    once(n, 0, 100);
}

static void
an_older_checkpoint_is_put_back(void **state)
{
    int fd;
    char path[300];
    node_t *n = *state;
    static char old[LB_CKPT_SIZE];

    append(n, n->w, 10, 1700000000000000u);
    (void)deliver(n);
    (void)snprintf(path, sizeof(path), "%s/checkpoint", n->env.dir);
    fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, old, sizeof(old), 0), sizeof(old));
    append(n, n->w, 20, 1700000000000000u);
    (void)deliver(n);
    append(n, n->w, 30, 1700000000000000u);
    n->server.script = "d";
    one_insert(n);
    node_close(n);
    assert_int_equal(pwrite(fd, old, sizeof(old), 0), sizeof(old));
    close(fd);
    append(n, n->w, 40, 1700000000000000u);
    node_open(n);
    assert_int_equal(n->d.at, LB_DELIVER_DOUBT);
    (void)deliver(n);
    once(n, 0, 100);
    assert_int_equal(n->state.delivered, 100);
}

static void
doubt_waits_for_a_replica_that_is_behind(void **state)
{
    int i;
    node_t *n = *state;

    n->server.script = "d";
    append(n, n->w, 10, 1700000000000000u);
    one_insert(n);
    n->server.behind = 1;
    n->server.rows[3] = 0; /* not here yet */
    for (i = 0; i < 5; i++) {
        assert_int_equal(lb_deliver_step(&n->d), 0);
    }
    assert_int_equal(n->server.nsent, 1);
    n->server.behind = 0;
    n->server.rows[3] = 1;
    (void)deliver(n);
    once(n, 0, 10);
    assert_int_equal(n->server.nsent, 1);
}

static void
tokens_name_the_content(void **state)
{
    node_t *n = *state;
    char token[LB_TOKEN_MAX + 1];
    lb_error_t err;
    lb_ckpt_ring_t *e;

    n->server.script = "l";
    append(n, n->w, 3, 1700000000000000u);
    one_insert(n);
    strcpy(token, n->state.token);
    e = &n->state.rings[0];

    /* what the state says of it is what the ring holds */
    assert_true(e->digest != 0);
    assert_int_equal(n->state.from_us, 1700000000000000u);
    assert_int_equal(lb_batch_measure(&n->rings, &n->state, &err), 0);
    lb_token_make(lb_spool_uuid(n->env.spool), &n->state, NULL, 0);
    assert_string_equal(token, n->state.token);

    e->digest ^= 1;
    lb_token_make(lb_spool_uuid(n->env.spool), &n->state, NULL, 0);
    assert_string_not_equal(token, n->state.token);
    e->digest ^= 1;
    e->end_seq--;
    lb_token_make(lb_spool_uuid(n->env.spool), &n->state, NULL, 0);
    assert_string_not_equal(token, n->state.token);
    e->end_seq++;
}

/* A ring that no longer holds what the batch was fixed on is not sent. */
static void
a_changed_ring_is_not_sent(void **state)
{
    node_t *n = *state;

    n->server.script = "l";
    append(n, n->w, 3, 1700000000000000u);
    one_insert(n);
    n->state.rings[0].digest ^= 1;
    (void)deliver(n);
    once(n, 0, 3);
    assert_string_not_equal(n->server.sent[1], n->server.sent[2]);
}

static void
another_release_fixed_it(void **state)
{
    /* one that is too old, a newer one, and the last one, which is still made */
    static const uint32_t encodings[] = {
        LB_NATIVE_VERSION - 2, LB_NATIVE_VERSION + 1, LB_NATIVE_VERSION - 1};
    node_t *n = *state;
    lb_error_t err;
    int i, sent;

    for (i = 0; i < 3; i++) {
        n->server.script = "l";
        append(n, n->w, 3, 1700000000000000u);
        one_insert(n);
        sent = n->server.nsent;
        n->state.encoding = encodings[i];
        assert_int_equal(lb_ckpt_store(n->ckpt, &n->state, &err), 0);
        node_close(n);
        node_open(n);
        (void)deliver(n);
        once(n, 0, n->appended);
        /* its token never names bytes that are made anew */
        assert_true(n->server.nsent > sent);
        assert_int_equal(
            strcmp(n->server.sent[sent - 1], n->server.sent[sent]) == 0,
            i == 2);
    }
}

static void
too_large_is_cut_and_grows_back(void **state)
{
    int i;
    node_t *n = *state;

    n->server.max_rows = 100;
    append(n, n->w, 1000, 1700000000000000u);
    (void)deliver(n);
    once(n, 0, 1000);
    for (i = 0; i < n->server.nsent; i++) {
        assert_true(i == 0 ||
                    n->server.sent_rows[i] <= 2 * n->server.sent_rows[i - 1]);
    }

    n->server.max_rows = 0;
    for (i = 0; i < 60; i++) {
        append(n, n->w, 20, 1700000000000000u);
        (void)deliver(n);
    }
    assert_int_equal(n->d.size.refused, 0);
    once(n, 0, n->appended);
}

/* An attempt without an answer may come in late: until that is over no other
 * token is used for its rows. */
static void
late_attempts_are_waited_for(void **state)
{
    int i;
    node_t *n = *state;

    n->server.script = "lmmmmmmmmmmmmmm";
    append(n, n->w, 10, 1700000000000000u);
    one_insert(n);
    n->d.late_ms = LB_LATE_MS;
    for (i = 0; i < 12; i++) {
        (void)lb_deliver_step(&n->d);
    }
    for (i = 0; i < n->server.nsent; i++) {
        assert_string_equal(n->server.sent[i], n->server.sent[0]);
    }
    assert_int_equal(n->d.size.refused, 0);
    n->d.late_ms = 0;
    (void)deliver(n);
    once(n, 0, 10);
}

static void
a_sick_server_is_passed_over(void **state)
{
    node_t *n = *state;

    n->server.nurls = 2;
    n->server.sick = 0;
    append(n, n->w, 1, 1700000000000000u);
    assert_true(deliver(n) <= 4);
    append(n, n->w, 1, 1700000000000000u);
    (void)deliver(n);
    once(n, 0, 2);
    assert_int_equal(n->server.nsent, 3);
    assert_int_equal(n->server.sent_url[0], 0);
    assert_int_equal(n->server.sent_url[1], 1);
    assert_int_equal(n->server.sent_url[2], 1);
}

/* Question or not: without an ack the pauses grow. */
static void
pauses_grow_until_an_ack(void **state)
{
    int i;
    node_t *n = *state;
    lb_error_t err;

    n->server.script = "llllllllllll";
    append(n, n->w, 1, 1700000000000000u);
    assert_int_equal(lb_rings_look(&n->rings, 1, &err), 0);
    for (i = 0; i < 12; i++) {
        (void)lb_deliver_step(&n->d);
    }
    assert_true(n->d.failures >= 5);
    (void)deliver(n);
    assert_int_equal(n->d.failures, 0);
    once(n, 0, 1);
}

static void
views_get_repeats(void **state)
{
    node_t *n = *state;

    n->server.views = 1;
    n->server.script = "vv";
    append(n, n->w, 4, 1700000000000000u);
    (void)deliver(n);
    once(n, 0, 4);
    assert_int_equal(n->server.nsent, 3);
    assert_string_equal(n->server.sent[0], n->server.sent[2]);
    assert_int_equal(n->d.counters.view_misses, 0);

    /* an answer was lost: did the view get it? */
    n->server.nsent = 0;
    n->server.script = "d";
    append(n, n->w, 4, 1700000000000000u);
    (void)deliver(n);
    once(n, 0, 8);
    assert_int_equal(n->server.nsent, 2);

    /* one that always throws does not stop the table */
    n->server.nsent = 0;
    n->server.script = "vvvvvvvvvvvv";
    append(n, n->w, 4, 1700000000000000u);
    (void)deliver(n);
    once(n, 0, 12);
    assert_int_equal(n->server.nsent, 4);
    assert_int_equal(n->d.counters.view_misses, 1);
}

/* Slow ones end too. */
static void
views_that_are_too_slow(void **state)
{
    node_t *n = *state;

    n->server.views = 1;
    n->server.script = "wwwwwwwwwwww";
    append(n, n->w, 4, 1700000000000000u);
    (void)deliver(n);
    once(n, 0, 4);
    assert_int_equal(n->d.counters.view_misses, 1);
}

/* What is a dead letter may be replayed: it never goes by itself again, also
 * when the table would take it by now. */
static void
letters_are_not_sent(void **state)
{
    int i;
    uint64_t seq, open = 0;
    node_t *n = *state;

    /* 0: as it was; 1: the flusher dies with the batch in flight; 2: the
     * letters are written and the batch without them is not fixed */
    for (i = 0; i < 3; i++) {
        n->server.every = 10;
        append(n, n->w, 100, 1700000000000000u);
        (void)lb_deliver_step(&n->d);
        n->server.script = "l";
        while (lb_dead_count_open(n->dead) < open + 10) {
            lb_error_t err;

            assert_int_equal(lb_rings_look(&n->rings, 1, &err), 0);
            (void)lb_deliver_step(&n->d);
        }
        open += 10;
        if (i == 1) {
            one_insert(n);
        }
        if (i == 2) {
            flip(n, n->state.generation);
        }
        if (i > 0) {
            node_close(n);
            node_open(n);
        }
        n->server.every = 0;
        n->server.script = "";
        (void)deliver(n);
        assert_int_equal(lb_dead_count_open(n->dead), open);
        for (seq = 0; seq < n->appended; seq++) {
            assert_int_equal(n->server.rows[seq], seq % 10 != 3);
        }
        assert_int_equal(n->state.dead, open);
        assert_int_equal(n->state.delivered, n->appended - open);
    }
}

/* The table is renamed and the settings follow it, with a batch fixed for the
 * old name. */
static void
another_table_with_a_batch_in_flight(void **state)
{
    int i;
    node_t *n = *state;

    for (i = 0; i < 2; i++) {
        n->options.table = (char *)"logs";
        n->server.missing = NULL;
        n->server.script = "l";
        append(n, n->w, 4, 1700000000000000u);
        one_insert(n);
        n->server.missing = "`logs`";
        n->options.table = (char *)"others";
        if (i == 1) {
            node_close(n);
            node_open(n);
        }
        (void)deliver(n);
        once(n, 0, n->appended);
        assert_string_equal(n->state.table, "logbroker.others");
    }
}

static void
table_exchanged_in_doubt(void **state)
{
    node_t *n = *state;

    /* the rows are in the old table: nothing goes into the new one */
    n->server.script = "d";
    append(n, n->w, 4, 1700000000000000u);
    one_insert(n);
    n->server.uuid = ANOTHER;
    n->server.moved = 1;
    (void)deliver(n);
    once(n, 0, 4);
    assert_int_equal(n->server.nsent, 1);

    /* they are in neither */
    n->server.moved = 0;
    n->server.script = "l";
    append(n, n->w, 4, 1700000000000000u);
    one_insert(n);
    n->server.uuid = TABLE;
    (void)deliver(n);
    once(n, 0, 8);
    assert_int_equal(n->server.nsent, 3);
}

/* A backlog of days ago shares the requests with what comes now. */
static void
newest_day_has_its_turns(void **state)
{
    int i;
    node_t *n = *state;
    lb_error_t err;
    lb_writer_t *w;

    for (i = 0; i < 100; i++) {
        append(n, n->w, 10, 1700000000000000u);
    }

    assert_true(lb_ring_create(n->env.spool, 1 << 20, 2, &err) >= 0);
    w = env_writer(&n->env, 1 << 20);
    append(n, w, 1, 1700000000000000u + 2 * DAY_US);
    n->options.max_rows = 10;
    assert_int_equal(lb_rings_look(&n->rings, 5000, &err), 0);

    for (i = 0; i < 2; i++) {
        (void)lb_deliver_step(&n->d);
    }

    assert_int_equal(n->state.delivered, 11);
    lb_writer_close(w);
}

/* What a client wrote never becomes a statement. */
static void
only_the_servers_words_are_asked_with(void **state)
{
    size_t i;
    char *text;
    static const char *const planted[] = {
        "Code: 6. DB::Exception: Cannot parse string 'Code: 469. "
        "DB::Exception: Constraint `x` is violated at row 1. Expression: "
        "(1). Column values: ' as UInt16",
        "Code: 469. DB::Exception: Constraint `x` returns NULL. Column "
        "values: message = ' is violated at row 1. Expression: (1). Column "
        "values:'",
        "Code: 469. DB::Exception: Constraint `x` is violated at row one. "
        "Expression: (1). Column values: ",
        "<html> is violated at row 1. Expression: (1). Column values: ",
        "Code: 469. DB::Exception: Constraint `x` is violated at row 1. "
        "Expression: (1",
        "",
    };

    (void)state;

    for (i = 0; i < sizeof(planted) / sizeof(planted[0]); i++) {
        assert_null(lb_question_constraint(planted[i]));
    }

    text = lb_question_constraint(
        "Code: 469. DB::Exception: Constraint `two` for table logbroker.logs "
        "(9c553b84) is violated at row 2. Expression: ((length(host) < 3) AND "
        "(level != '\\'x')). Column values: level = '). Column values: '.");
    assert_string_equal(text, "(length(host) < 3) AND (level != '\\'x')");
    free(text);
}

/* What alerting goes by: a line about a batch ends with its token, and so does
 * not the status, which has it anyway. */
static void
lines_name_the_token(void **state)
{
    char tail[LB_TOKEN_MAX + 16];
    node_t *n = *state;

    n->server.script = "l";
    append(n, n->w, 3, 1700000000000000u);
    one_insert(n);
    (void)snprintf(tail, sizeof(tail), " token=%s", n->state.token);
    assert_string_equal(said + strlen(said) - strlen(tail), tail);
    assert_null(strstr(n->d.last_error, "token="));
    assert_memory_equal(said, n->d.last_error, strlen(n->d.last_error));
    (void)deliver(n);
}

/* A TTL would take them: said once a day of theirs. */
static void
old_events_are_named(void **state)
{
    int i;
    node_t *n = *state;
    uint64_t now = lb_now_us();

    warned_of_age = 0;
    append(n, n->w, 1, now);
    (void)deliver(n);
    assert_int_equal(warned_of_age, 0);

    for (i = 0; i < 3; i++) {
        append(n, n->w, 1, now - 30 * DAY_US);
        (void)deliver(n);
    }
    assert_int_equal(warned_of_age, 1);

    /* this clock is wrong, and ClickHouse's is not */
    n->d.clock_offset_ms = -40 * 86400000ll;
    append(n, n->w, 1, now);
    (void)deliver(n);
    assert_int_equal(warned_of_age, 2);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(token_without_rows),
        T(token_without_rows_and_a_crash),
        T(a_repeat_that_is_in_is_sent_once_more_at_most),
        T(newest_copy_damaged),
        T(newest_copy_zeroed),
        T(damage_after_a_smaller_batch),
        T(an_older_checkpoint_is_put_back),
        T(doubt_waits_for_a_replica_that_is_behind),
        T(tokens_name_the_content),
        T(a_changed_ring_is_not_sent),
        T(another_release_fixed_it),
        T(too_large_is_cut_and_grows_back),
        T(late_attempts_are_waited_for),
        T(a_sick_server_is_passed_over),
        T(pauses_grow_until_an_ack),
        T(views_get_repeats),
        T(views_that_are_too_slow),
        T(letters_are_not_sent),
        T(another_table_with_a_batch_in_flight),
        T(table_exchanged_in_doubt),
        T(newest_day_has_its_turns),
        T(old_events_are_named),
        T(lines_name_the_token),
        T(only_the_servers_words_are_asked_with),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
