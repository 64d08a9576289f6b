/*
 * The state diagram of deliver.h with a sink that says what it is told to: no
 * SQL, no codes.  test_deliver.c has the same with ClickHouse's answers.
 */

#include "flusher/deliver.h"
#include "flusher/metrics.h"
#include "spool/lb_crc32c.h"
#include "tests/unit/spool_env.h"

#define NOON (20000 * LB_DAY_US + LB_DAY_US / 2)

typedef struct {
    env_t *env;
    lb_writer_t *w;
    lb_ckpt_t *ckpt;
    lb_ckpt_state_t state;
    lb_rings_t rings;
    lb_dead_t *dead;
    lb_options_t options;
    lb_sink_t sink;
    lb_deliver_t d;

    /* what the sink says next */
    lb_said_t said;
    lb_sent_t sent;
    lb_settled_t settled;
    lb_sifted_t sifted;
    uint64_t bad; /* the seq that sift names */

    /* what it was asked */
    int sends, settles, wheres, sifts, nexts;
    uint32_t crc; /* of the bytes last sent */
    uint32_t version, columns;
    char token[LB_TOKEN_MAX + 1];
} node_t;

/* An encoder of each version: a line of seq and event. */
static node_t *current;
static char block[4096];
static size_t block_len, block_taken;

static void *
enc_open_1(const char *broker, uint32_t columns)
{
    current->columns = columns;
    current->version = 1;
    block_len = block_taken = 0;

    return (void *)(uintptr_t)(broker != NULL);
}

static void *
enc_open_2(const char *broker, uint32_t columns)
{
    void *e = enc_open_1(broker, columns);

    current->version = 2;

    return e;
}

static void
enc_close(void *e)
{
    (void)e;
}

static int
enc_record(void *e, const uint8_t ring[LB_UUID_LEN], const lb_record_t *r)
{
    (void)e;
    (void)ring;
    (void)r;

    return 0;
}

static int
enc_add(void *e, const uint8_t *event, size_t len, uint64_t seq)
{
    (void)e;
    block_len += (size_t)sprintf(block + block_len, "%llu %.*s\n",
                                 (unsigned long long)seq, (int)len, event);

    return 0;
}

static int
enc_full(const void *e)
{
    (void)e;

    return block_len > sizeof(block) / 2;
}

static int
enc_end(void *e)
{
    (void)e;
    block_taken = 0;

    return 0;
}

static size_t
enc_take(void *e, void *buf, size_t size)
{
    size_t n = block_len - block_taken;

    (void)e;
    n = n < size ? n : size;
    memcpy(buf, block + block_taken, n);
    block_taken += n;
    if (n == 0) {
        block_len = block_taken = 0;
    }

    return n;
}

static const lb_encoder_t one = {.version = 1,
                                 .columns = 7,
                                 .open = enc_open_1,
                                 .close = enc_close,
                                 .record = enc_record,
                                 .add = enc_add,
                                 .full = enc_full,
                                 .end = enc_end,
                                 .take = enc_take};
static const lb_encoder_t two = {.version = 2,
                                 .columns = 7,
                                 .open = enc_open_2,
                                 .close = enc_close,
                                 .record = enc_record,
                                 .add = enc_add,
                                 .full = enc_full,
                                 .end = enc_end,
                                 .take = enc_take};

static const lb_encoder_t *const only_one[] = {&one, NULL};
static const lb_encoder_t *const both[] = {&two, &one, NULL};
static const lb_encoder_t *const only_two[] = {&two, NULL};

static void
sink_send(void *ctx, const lb_sink_batch_t *batch, lb_said_t *said,
          lb_sent_t *sent)
{
    long n;
    char buf[100];
    node_t *node = ctx;

    node->crc = 0;
    while ((n = batch->read(batch->arg, buf, sizeof(buf))) > 0) {
        node->crc = lb_crc32c(node->crc, buf, (size_t)n);
    }
    node->sends++;
    strcpy(node->token, batch->state->token);
    *said = node->said;
    *sent = node->sent;
}

static void
sink_settle(void *ctx, const lb_ckpt_state_t *state,
            const uint8_t spool[LB_UUID_LEN], const char *table,
            lb_said_t *said, lb_settled_t *settled)
{
    node_t *node = ctx;

    (void)state;
    (void)spool;
    assert_non_null(strchr(table, '.'));
    node->settles++;
    *said = node->said;
    *settled = node->settled;
}

static void
sink_where(void *ctx, const uint8_t uuid[LB_UUID_LEN],
           char table[LB_TABLE_MAX + 1], lb_said_t *said, lb_settled_t *settled)
{
    node_t *node = ctx;

    (void)uuid;
    node->wheres++;
    table[0] = '\0';
    *said = node->said;
    *settled = node->settled;
}

static lb_sifted_t
sink_sift(void *ctx, const lb_sink_batch_t *batch, lb_excluded_t *excluded,
          uint32_t max, uint32_t *n, lb_said_t *said)
{
    node_t *node = ctx;

    (void)batch;
    assert_true(*n < max);
    node->sifts++;
    *said = node->said;
    if (node->sifted == LB_SIFTED) {
        excluded[*n].entry = 0;
        excluded[(*n)++].seq = node->bad;
    }

    return node->sifted;
}

static void
sink_next(void *ctx)
{
    ((node_t *)ctx)->nexts++;
}

static void
quiet(int level, const char *fmt, ...)
{
    (void)level;
    (void)fmt;
}

static void
node_open(node_t *n)
{
    lb_error_t err;

    assert_int_equal(lb_ckpt_open(n->env->spool, &n->ckpt, &n->state, &err), 0);
    lb_rings_init(&n->rings, n->env->spool);
    assert_int_equal(lb_rings_look(&n->rings, 0, &err), 0);
    assert_int_equal(lb_dead_open(n->env->spool, 1 << 20, &n->dead, &err), 0);
    memset(&n->d, 0, sizeof(n->d));
    n->d.spool = n->env->spool;
    n->d.ckpt = n->ckpt;
    n->d.state = &n->state;
    n->d.rings = &n->rings;
    n->d.dead = n->dead;
    n->d.options = &n->options;
    n->d.sink = &n->sink;
    n->d.log = quiet;
    assert_int_equal(lb_deliver_init(&n->d, &err), 0);
    n->d.late_ms = 0;
}

static void
node_close(node_t *n)
{
    lb_dead_close(n->dead);
    lb_rings_close(&n->rings);
    lb_ckpt_close(n->ckpt);
}

static int
setup(void **arg)
{
    void *env;
    node_t *n = calloc(1, sizeof(*n));
    lb_meta_t meta = {
        .received_us = NOON, .stream = (const uint8_t *)"s", .stream_len = 1};
    static const char events[] = "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n{\"a\":4}\n";

    assert_non_null(n);
    current = n;
    assert_int_equal(env_setup(&env), 0);
    n->env = env;
    n->w = env_writer(n->env, 1 << 20);
    memcpy(lb_writer_stage(n->w, &meta, sizeof(events) - 1), events,
           sizeof(events) - 1);
    assert_int_equal(lb_writer_append(n->w, &meta, sizeof(events) - 1, 4), 0);
    assert_int_equal(env_commit(n->w, 1), 0);

    n->options.database = (char *)"d";
    n->options.table = (char *)"t";
    n->options.broker = (char *)"b";
    n->options.max_rows = 100;
    n->options.max_bytes = 1 << 20;
    n->options.backoff_min_ms = 1000;
    n->options.backoff_max_ms = 4000;
    n->sink.ctx = n;
    n->sink.encoders = only_one;
    n->sink.send = sink_send;
    n->sink.settle = sink_settle;
    n->sink.where = sink_where;
    n->sink.sift = sink_sift;
    n->sink.next = sink_next;
    n->said.made = 1;
    node_open(n);
    *arg = n;

    return 0;
}

static int
teardown(void **arg)
{
    node_t *n = *arg;
    void *env = n->env;

    node_close(n);
    lb_writer_close(n->w);
    assert_int_equal(env_teardown(&env), 0);
    free(n);

    return 0;
}

/* A step after which the state is this; with what the sink says. */
static void
step(node_t *n, lb_sink_outcome_t says, int rc, lb_deliver_state_t at)
{
    n->said.outcome = says;
    assert_int_equal(lb_deliver_wanted(&n->d), 1);
    assert_int_equal(lb_deliver_step(&n->d), rc);
    assert_int_equal(n->d.at, at);
}

static void
done_at_once(void **arg)
{
    node_t *n = *arg;

    n->d.size.grown = 3000;
    n->said.dated_ms = (n->said.sent_ms = 1) + 3600000;
    step(n, LB_SINK_DONE, 1, LB_DELIVER_EMPTY);
    assert_int_equal(n->d.size.grown, 0);
    assert_int_equal(n->state.delivered, 4);
    assert_int_equal(n->state.rings[0].acked_seq, 4);
    assert_int_equal(n->d.counters.requests, 1);
    assert_int_equal(lb_deliver_wanted(&n->d), 0);
}

/* Nothing has left, or the sink said no: the same again, elsewhere. */
static void
not_in_for_certain(void **arg)
{
    uint32_t crc;
    char token[LB_TOKEN_MAX + 1];
    node_t *n = *arg;

    step(n, LB_SINK_NOT_SENT, 0, LB_DELIVER_FIXED);
    strcpy(token, n->token);
    crc = n->crc;
    step(n, LB_SINK_REFUSED, 0, LB_DELIVER_FIXED);
    assert_int_equal(n->nexts, 2);
    assert_int_equal(n->d.failures, 2);

    /* the node's turn was over: no server is to blame */
    n->said.late = 1;
    step(n, LB_SINK_NOT_SENT, 0, LB_DELIVER_FIXED);
    assert_int_equal(n->nexts, 2);
    n->said.late = 0;

    assert_string_equal(n->token, token);
    assert_int_equal(n->crc, crc);
    step(n, LB_SINK_DONE, 1, LB_DELIVER_EMPTY);
    assert_int_equal(n->settles, 0);
    assert_int_equal(n->d.failures, 0);
}

static void
unknown_is_asked_about(void **arg)
{
    uint32_t crc;
    char token[LB_TOKEN_MAX + 1];
    node_t *n = *arg;

    step(n, LB_SINK_UNKNOWN, 0, LB_DELIVER_UNKNOWN);
    strcpy(token, n->token);
    crc = n->crc;

    /* still running, behind, nothing to go by, without a flag: on and on */
    n->settled.running = 1;
    step(n, LB_SINK_DONE, 0, LB_DELIVER_UNKNOWN);
    n->settled.running = 0;
    n->settled.behind = 1;
    step(n, LB_SINK_DONE, 0, LB_DELIVER_UNKNOWN);
    n->settled.behind = 0;
    n->settled.as = LB_SETTLED_NOT;
    step(n, LB_SINK_NOT_SENT, 0, LB_DELIVER_UNKNOWN);
    n->settled.as = LB_SETTLED_AGAIN;
    step(n, LB_SINK_REFUSED, 1, LB_DELIVER_UNKNOWN);
    n->settled.as = LB_SETTLED_DENIED;
    step(n, LB_SINK_REFUSED, 0, LB_DELIVER_UNKNOWN);
    assert_int_equal(n->sends, 1);
    assert_int_equal(n->settles, 5);
    assert_int_equal(n->d.counters.checks, 5);
    assert_int_equal(n->state.delivered, 0);

    /* not there: the same bytes and token */
    n->settled.as = LB_SETTLED;
    step(n, LB_SINK_DONE, 1, LB_DELIVER_FIXED);
    step(n, LB_SINK_UNKNOWN, 0, LB_DELIVER_UNKNOWN);
    assert_string_equal(n->token, token);
    assert_int_equal(n->crc, crc);

    /* there */
    n->settled.found = 4;
    step(n, LB_SINK_DONE, 1, LB_DELIVER_EMPTY);
    assert_int_equal(n->state.delivered, 4);
}

/* Only a part: it is sent again, and never acked. */
static void
a_part_is_not_all(void **arg)
{
    node_t *n = *arg;

    n->d.size.grown = 3000;
    step(n, LB_SINK_UNKNOWN, 0, LB_DELIVER_UNKNOWN);
    assert_int_equal(n->d.size.grown, 0);
    n->settled.found = 3;
    step(n, LB_SINK_DONE, 0, LB_DELIVER_FIXED);
    step(n, LB_SINK_DONE, 1, LB_DELIVER_UNKNOWN);
    step(n, LB_SINK_DONE, 0, LB_DELIVER_UNKNOWN);
    assert_int_equal(n->state.delivered, 0);
}

/* Success for a token that was sent before says nothing of the rows. */
static void
a_claim_without_rows(void **arg)
{
    char token[LB_TOKEN_MAX + 1];
    node_t *n = *arg;

    step(n, LB_SINK_UNKNOWN, 0, LB_DELIVER_UNKNOWN);
    strcpy(token, n->token);
    step(n, LB_SINK_DONE, 1, LB_DELIVER_FIXED);
    step(n, LB_SINK_DONE, 1, LB_DELIVER_UNKNOWN);

    /* this user cannot see whether the replica is behind: no new token */
    strcpy(n->settled.blind, "grant");
    step(n, LB_SINK_DONE, 0, LB_DELIVER_UNKNOWN);
    n->settled.blind[0] = '\0';

    step(n, LB_SINK_DONE, 1, LB_DELIVER_FIXED);
    assert_int_equal(n->d.counters.renamed, 1);
    step(n, LB_SINK_DONE, 1, LB_DELIVER_EMPTY);
    assert_string_not_equal(n->token, token);
}

static void
too_large_is_halved(void **arg)
{
    node_t *n = *arg;

    n->sent.blame = LB_BLAME_SIZE;
    step(n, LB_SINK_UNKNOWN, 0, LB_DELIVER_UNKNOWN);
    step(n, LB_SINK_DONE, 1, LB_DELIVER_EMPTY);
    assert_int_equal(n->d.size.refused, 2);
    step(n, LB_SINK_DONE, 1, LB_DELIVER_EMPTY);
    assert_int_equal(n->state.delivered, 2);
}

/* The blame is not believed before the sink has said that nothing is in. */
static void
data_is_sifted_or_halved(void **arg)
{
    node_t *n = *arg;
    uint64_t offset = 0;
    lb_dead_letter_t letter;

    n->sent.blame = LB_BLAME_DATA;
    n->sent.siftable = 1;
    step(n, LB_SINK_UNKNOWN, 0, LB_DELIVER_UNKNOWN);
    step(n, LB_SINK_DONE, 1, LB_DELIVER_SIFT);

    /* one row is named: it is a letter, the others a batch */
    n->sifted = LB_SIFTED;
    n->bad = 2;
    step(n, LB_SINK_DONE, 1, LB_DELIVER_FIXED);
    assert_int_equal(n->state.rows, 3);
    assert_int_equal(lb_dead_next(n->dead, &offset, &letter), 1);
    assert_int_equal(letter.first_seq, 2);

    /* the rest blames data too, and cannot be told apart: by halves */
    step(n, LB_SINK_UNKNOWN, 0, LB_DELIVER_UNKNOWN);
    step(n, LB_SINK_DONE, 1, LB_DELIVER_SIFT);
    n->sifted = LB_SIFTED_NOT;
    step(n, LB_SINK_DONE, 1, LB_DELIVER_FIXED);
    assert_int_equal(n->sifts, 2);
    assert_int_equal(n->state.rings[0].end_seq, 2);
    assert_int_equal(n->state.rows, 2);

    n->sent.blame = LB_BLAME_NONE;
    step(n, LB_SINK_DONE, 1, LB_DELIVER_EMPTY);
    /* what is left of the suspects begins with the letter: nothing to send */
    step(n, LB_SINK_DONE, 1, LB_DELIVER_EMPTY);
    step(n, LB_SINK_DONE, 1, LB_DELIVER_EMPTY);
    assert_int_equal(n->sends, 4);
    assert_int_equal(lb_deliver_wanted(&n->d), 0);
    assert_int_equal(n->state.delivered, 3);
    assert_int_equal(n->state.dead, 1);
}

/* The checkpoint's encoding selects the encoder: a batch in flight goes on with
 * its own after an upgrade, and the next one has the newest. */
static void
an_upgrade_with_a_batch_in_flight(void **arg)
{
    uint32_t crc;
    char token[LB_TOKEN_MAX + 1];
    node_t *n = *arg;

    step(n, LB_SINK_UNKNOWN, 0, LB_DELIVER_UNKNOWN);
    assert_int_equal(n->version, 1);
    strcpy(token, n->token);
    crc = n->crc;

    node_close(n);
    n->sink.encoders = both;
    node_open(n);
    assert_int_equal(n->d.at, LB_DELIVER_UNKNOWN);
    step(n, LB_SINK_DONE, 1, LB_DELIVER_FIXED);
    step(n, LB_SINK_UNKNOWN, 0, LB_DELIVER_UNKNOWN);
    assert_int_equal(n->version, 1);
    assert_string_equal(n->token, token);
    assert_int_equal(n->crc, crc);

    /* a release that has forgotten it chooses anew, once nothing is in */
    node_close(n);
    n->sink.encoders = only_two;
    node_open(n);
    step(n, LB_SINK_DONE, 1, LB_DELIVER_EMPTY);
    step(n, LB_SINK_DONE, 1, LB_DELIVER_EMPTY);
    assert_int_equal(n->version, 2);
    assert_string_not_equal(n->token, token);
    assert_int_equal(n->state.delivered, 4);
}

/* Nothing of the batch has left: it is fixed for the columns that there are. */
static void
a_look_before_it_has_left(void **arg)
{
    char token[LB_TOKEN_MAX + 1];
    node_t *n = *arg;

    assert_int_equal(n->d.looked, 0);
    step(n, LB_SINK_NOT_SENT, 0, LB_DELIVER_FIXED);
    strcpy(token, n->state.token);
    lb_deliver_table(&n->d, LB_ENCODING(1, 5));
    assert_int_equal(n->d.looked, 1);
    assert_string_not_equal(n->state.token, token);
    step(n, LB_SINK_REFUSED, 0, LB_DELIVER_FIXED);
    assert_int_equal(n->columns, 5);

    /* the same is no change */
    strcpy(token, n->state.token);
    lb_deliver_table(&n->d, LB_ENCODING(1, 5));
    assert_string_equal(n->state.token, token);
    lb_deliver_table(&n->d, LB_ENCODING(1, 1));
    step(n, LB_SINK_DONE, 1, LB_DELIVER_EMPTY);
    assert_int_equal(n->columns, 1);
    assert_int_equal(n->state.delivered, 4);
    assert_int_equal(n->settles, 0);
}

/* A batch in doubt stays what it was when the table gets a column. */
static void
a_column_more_for_a_batch_in_doubt(void **arg)
{
    uint32_t crc;
    char token[LB_TOKEN_MAX + 1];
    node_t *n = *arg;

    lb_deliver_table(&n->d, LB_ENCODING(1, 2));
    step(n, LB_SINK_UNKNOWN, 0, LB_DELIVER_UNKNOWN);
    strcpy(token, n->token);
    crc = n->crc;
    lb_deliver_table(&n->d, LB_ENCODING(1, 3));
    step(n, LB_SINK_DONE, 1, LB_DELIVER_FIXED);

    /* not even after a restart, and what the table had is remembered */
    node_close(n);
    node_open(n);
    assert_int_equal(n->d.looked, 1);
    assert_int_equal(n->d.encoding, LB_ENCODING(1, 2));
    lb_deliver_table(&n->d, LB_ENCODING(1, 3));
    step(n, LB_SINK_DONE, 1, LB_DELIVER_FIXED);
    step(n, LB_SINK_DONE, 1, LB_DELIVER_UNKNOWN);
    assert_string_equal(n->token, token);
    assert_int_equal(n->crc, crc);
    assert_int_equal(n->columns, 2);

    /* of another table nothing is */
    n->settled.found = 4;
    step(n, LB_SINK_DONE, 1, LB_DELIVER_EMPTY);
    node_close(n);
    n->options.table = (char *)"other";
    node_open(n);
    assert_int_equal(n->d.looked, 0);
    assert_int_equal(n->d.encoding, LB_ENCODING(1, 0));
}

/* The table loses a column of a batch in doubt: if it is not in, it is chosen
 * anew, and never sent again as it was. */
static void
a_column_less_for_a_batch_in_doubt(void **arg)
{
    char token[LB_TOKEN_MAX + 1];
    node_t *n = *arg;

    lb_deliver_table(&n->d, LB_ENCODING(1, 6));
    step(n, LB_SINK_UNKNOWN, 0, LB_DELIVER_UNKNOWN);
    step(n, LB_SINK_DONE, 1, LB_DELIVER_FIXED);
    strcpy(token, n->token);
    lb_deliver_table(&n->d, LB_ENCODING(1, 4));
    assert_int_equal(n->d.at, LB_DELIVER_UNKNOWN);
    step(n, LB_SINK_DONE, 1, LB_DELIVER_EMPTY);
    assert_int_equal(n->sends, 1);
    step(n, LB_SINK_DONE, 1, LB_DELIVER_EMPTY);
    assert_string_not_equal(n->token, token);
    assert_int_equal(n->columns, 4);
    assert_int_equal(n->state.delivered, 4);
}

/* It is in, views may miss it, and it cannot be sent again for their sake. */
static void
a_column_less_and_a_view(void **arg)
{
    node_t *n = *arg;

    lb_deliver_table(&n->d, LB_ENCODING(1, 7));
    step(n, LB_SINK_UNKNOWN, 0, LB_DELIVER_UNKNOWN);
    n->settled.found = 4;
    n->settled.views = 1;
    step(n, LB_SINK_DONE, 1, LB_DELIVER_FIXED);
    assert_int_equal(n->d.there, 1);
    step(n, LB_SINK_REFUSED, 0, LB_DELIVER_FIXED);
    lb_deliver_table(&n->d, LB_ENCODING(1, 0));
    step(n, LB_SINK_DONE, 1, LB_DELIVER_EMPTY);
    assert_int_equal(n->state.delivered, 4);
    assert_int_equal(n->d.counters.view_misses, 1);
}

/* No table of the name: where is the one it was fixed for? */
static void
a_table_that_is_gone(void **arg)
{
    node_t *n = *arg;

    memset(n->d.table_uuid, 7, LB_UUID_LEN);
    step(n, LB_SINK_UNKNOWN, 0, LB_DELIVER_UNKNOWN);
    n->settled.as = LB_SETTLED_NO_TABLE;
    step(n, LB_SINK_REFUSED, 1, LB_DELIVER_UNKNOWN);
    n->settled.as = LB_SETTLED;
    step(n, LB_SINK_DONE, 1, LB_DELIVER_FIXED);
    assert_int_equal(n->wheres, 1);
    step(n, LB_SINK_DONE, 1, LB_DELIVER_UNKNOWN);
}

/* What the server said is cut at a size, within a letter if need be: the
 * figures are written all the same, for they are the sign of life. */
static void
figures_with_half_a_letter(void **arg)
{
    char path[300], text[4096] = "";
    FILE *f;
    node_t *n = *arg;
    lb_metrics_t m = {.preflight = {.verdict = "unknown"}};

    strcpy(m.preflight.reason, "caf\xc3");
    strcpy(n->d.last_error, "\xe2\x82");
    n->d.last_error_us = 1;
    assert_int_equal(lb_metrics_publish(&m, &n->d, 1), 0);
    (void)snprintf(path, sizeof(path), "%s/flusher.json", n->env->dir);
    f = fopen(path, "r");
    assert_non_null(f);
    assert_true(fread(text, 1, sizeof(text) - 1, f) > 0);
    fclose(f);
    assert_non_null(strstr(text, "\"verdict\": \"unknown\""));
    assert_non_null(strstr(text, "\"backlog_events\": 0"));
    free(m.written);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(done_at_once),
        T(not_in_for_certain),
        T(unknown_is_asked_about),
        T(a_part_is_not_all),
        T(a_claim_without_rows),
        T(too_large_is_halved),
        T(data_is_sifted_or_halved),
        T(an_upgrade_with_a_batch_in_flight),
        T(a_look_before_it_has_left),
        T(a_column_more_for_a_batch_in_doubt),
        T(a_column_less_for_a_batch_in_doubt),
        T(a_column_less_and_a_view),
        T(a_table_that_is_gone),
        T(figures_with_half_a_letter),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
