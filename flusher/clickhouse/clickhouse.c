#include "flusher/clickhouse/clickhouse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flusher/clickhouse/columns.h"
#include "flusher/clickhouse/native.h"
#include "flusher/clickhouse/preflight.h"
#include "flusher/clickhouse/question.h"
#include "flusher/token.h"

/* checks after which refused settings are tried again */
#define FORGET_CHECKS 30

#define CONSTRAINTS_MAX 8

typedef struct {
    lb_sink_t sink;
    lb_transport_t transport;
    const lb_options_t *options;
    const volatile sig_atomic_t *abort;
    lb_ch_t *ch; /* NULL: a transport of one's own */
    int (*gate)(void *arg);
    void *gate_arg;

    unsigned ask_flags; /* LB_ASK_*: what this user may not read */
    int check_again;    /* a setting was refused: without it, at once */
    uint32_t checks;

    /* How often ClickHouse reads a row, 0: once.  Rows that materialized views
     * read are counted with those of the table: the factor is learned from the
     * first batch that is known to be complete; later batches are judged by it
     * without a query. */
    uint64_t reads;
    uint64_t read_rows;           /* by the INSERT in doubt, 0: not told */
    char token[LB_TOKEN_MAX + 1]; /* of that INSERT */

    /* Constraints that rows have broken, in the words of the server. */
    char *constraint[CONSTRAINTS_MAX];
    uint32_t nconstraints;

    /* They are about columns that the table makes itself: asked for, and then
     * known for one sift. */
    int ask_columns;
    char *columns;

    lb_ch_result_t result;
} clickhouse_t;

static const lb_encoder_t *const encoders[] = {&lb_native_encoder,
                                               &lb_native_encoder_4, NULL};

void
lb_clickhouse_said(const lb_ch_result_t *r, lb_said_t *said)
{
    memset(said, 0, sizeof(*said));
    said->outcome = r->outcome;
    said->made = 1;
    said->late = r->late;
    said->again = r->relearn;
    said->hold = r->relearn && r->code == LB_CH_SETTING_CONSTRAINT;
    said->suspect = r->outcome != LB_SINK_DONE && r->code != 0 &&
                    !(lb_ch_error(r->code) & LB_CH_BUSY);
    said->repeated = r->repeated;
    said->new_password = r->new_password;
    said->sent_ms = r->sent_ms;
    said->dated_ms = r->dated_ms;
    said->dated_mono = r->dated_mono;
    said->left_mono = r->left_mono;
    said->date = r->date;
    (void)snprintf(said->text, sizeof(said->text), "%s", r->text);
}

static void
no_memory(lb_said_t *said, const char *what)
{
    memset(said, 0, sizeof(*said));
    said->outcome = LB_SINK_UNKNOWN;
    (void)snprintf(said->text, sizeof(said->text), "no memory for %s", what);
}

/*
 * Send
 */

/* What an INSERT is told of a batch; the texts it points at. */
typedef struct {
    char table[LB_TABLE_MAX + 8];
    char columns[LB_COLUMNS_TEXT];
} names_t;

static void
describe(const clickhouse_t *c, const lb_sink_batch_t *batch,
         lb_ch_insert_t *insert, names_t *names)
{
    lb_question_table(batch->state->table, names->table, sizeof(names->table));
    lb_columns_names(LB_ENCODING_COLUMNS(batch->state->encoding),
                     names->columns);
    insert->table = names->table;
    insert->columns = names->columns;
    insert->token = batch->state->token;
    insert->rows = batch->state->rows;
    insert->reads = c->reads != 0 ? c->reads : 1;
    insert->read = batch->read;
    insert->arg = batch->arg;
}

static void
forget_constraints(clickhouse_t *c)
{
    while (c->nconstraints > 0) {
        free(c->constraint[--c->nconstraints]);
    }
}

/* Keeps what an error says of a constraint.  1, or 0: it names none. */
static int
note_constraint(clickhouse_t *c, const char *error)
{
    char *text = lb_question_constraint(error);
    uint32_t i;

    if (text == NULL) {
        return 0;
    }

    for (i = 0; i < c->nconstraints; i++) {
        if (strcmp(c->constraint[i], text) == 0) {
            free(text);
            return 1;
        }
    }

    if (c->nconstraints == CONSTRAINTS_MAX) {
        /* the oldest may be gone from the table */
        free(c->constraint[0]);
        memmove(&c->constraint[0], &c->constraint[1],
                (CONSTRAINTS_MAX - 1) * sizeof(c->constraint[0]));
        c->nconstraints--;
    }

    c->constraint[c->nconstraints++] = text;

    return 1;
}

static lb_blame_t
blame(const lb_ch_result_t *r)
{
    if (lb_ch_error(r->code) & LB_CH_DATA) {
        return LB_BLAME_DATA;
    }

    /* What was not sent to its end within the time never gets in. */
    return lb_ch_blames_size(r->http, r->code) || (r->timed_out && !r->complete)
               ? LB_BLAME_SIZE
               : LB_BLAME_NONE;
}

static void
send_batch(void *ctx, const lb_sink_batch_t *batch, lb_said_t *said,
           lb_sent_t *sent)
{
    names_t names;
    clickhouse_t *c = ctx;
    lb_ch_insert_t insert;
    lb_ch_result_t *r = &c->result;

    describe(c, batch, &insert, &names);
    c->transport.insert(c->transport.ctx, &insert, r);
    lb_clickhouse_said(r, said);
    memset(sent, 0, sizeof(*sent));

    if (strcmp(c->token, insert.token) != 0) {
        (void)snprintf(c->token, sizeof(c->token), "%s", insert.token);
        c->read_rows = 0;
    }

    if (r->outcome == LB_SINK_REFUSED) {
        sent->no_table = lb_ch_no_table(r->code);
    }

    if (r->outcome != LB_SINK_UNKNOWN) {
        return;
    }

    c->read_rows = r->read_rows;

    /* What is not ClickHouse's own answer is no end of the INSERT: a proxy that
     * says 504 may let it through yet. */
    sent->loose = r->complete && r->code == 0 && r->http != 413;
    sent->answered = r->http != 0;
    sent->timed_out = r->timed_out;
    sent->view_failed = lb_ch_blames_view(r->answer);
    sent->views_done =
        r->http == 200 && r->code == 0 && r->read_rows >= insert.rows;
    sent->blame = blame(r);
    sent->siftable = sent->blame == LB_BLAME_DATA && !sent->view_failed &&
                     note_constraint(c, r->answer) &&
                     c->transport.query_rows != NULL;
}

/*
 * Questions
 */

/* Makes a request; frees the SQL.  Says in settled what is the same for all
 * questions: as is SETTLED if there is an answer to read. */
static void
ask(clickhouse_t *c, char *sql, lb_said_t *said, lb_settled_t *settled)
{
    unsigned flag = 0;
    const char *what = "";
    lb_ch_result_t *r = &c->result;

    memset(settled, 0, sizeof(*settled));
    settled->as = LB_SETTLED_NOT;

    if (sql == NULL) {
        no_memory(said, "the question");
        return;
    }

    c->transport.query(c->transport.ctx, sql, r);
    free(sql);
    lb_clickhouse_said(r, said);

    if (r->outcome == LB_SINK_DONE) {
        settled->as = LB_SETTLED;
        return;
    }

    if (lb_ch_no_table(r->code)) {
        settled->as = LB_SETTLED_NO_TABLE;
    }

    if (r->code != LB_CH_ACCESS_DENIED) {
        return;
    }

    settled->as = LB_SETTLED_DENIED;

    if (strstr(r->text, "processes") != NULL) {
        flag = LB_ASK_NO_PROCESSES;
        what = "system.processes: only the deduplication token protects "
               "against an INSERT that is still running; grant "
               "SELECT(query_id) ON system.processes";
    } else if (strstr(r->text, "replicas") != NULL) {
        flag = LB_ASK_NO_REPLICAS;
        what = "system.replicas: it cannot be seen whether a replica is "
               "behind the others; grant SELECT ON system.replicas";
    }

    if (flag != 0 && !(c->ask_flags & flag)) {
        c->ask_flags |= flag;
        settled->as = LB_SETTLED_AGAIN;
        (void)snprintf(settled->note, sizeof(settled->note),
                       "the user may not read %s", what);
    }
}

/* The answer is not one to the question: it is what there is to quote. */
static void
unreadable(const clickhouse_t *c, lb_said_t *said, lb_settled_t *settled)
{
    settled->as = LB_SETTLED_NOT;
    (void)snprintf(said->text, sizeof(said->text), "%.511s", c->result.answer);
}

static void
learn_reads(clickhouse_t *c, uint64_t rows, lb_settled_t *settled)
{
    uint64_t reads = rows > 0 ? c->read_rows / rows : 0;

    if (reads > 0 && reads != (c->reads != 0 ? c->reads : 1)) {
        c->reads = reads;
        (void)snprintf(settled->note, sizeof(settled->note),
                       "ClickHouse counted %llu rows for it: %s, and the next "
                       "batches are judged by that",
                       (unsigned long long)c->read_rows,
                       reads > 1
                           ? "materialized views read the table's rows too"
                           : "no materialized view reads them any more");
    }

    c->read_rows = 0;
}

static void
settle(void *ctx, const lb_ckpt_state_t *state,
       const uint8_t spool[LB_UUID_LEN], const char *table, lb_said_t *said,
       lb_settled_t *settled)
{
    char prefix[LB_TOKEN_PREFIX];
    clickhouse_t *c = ctx;
    lb_answer_t answer;

    lb_token_prefix(spool, prefix);
    ask(c, lb_question_batch(state, table, prefix, c->ask_flags), said,
        settled);

    if (settled->as != LB_SETTLED) {
        return;
    }

    if (lb_question_batch_answer(c->result.answer, &answer) != 0) {
        unreadable(c, said, settled);
        return;
    }

    settled->found = answer.found;
    settled->running = answer.running;
    settled->behind = answer.behind;
    settled->views = answer.views;
    memcpy(settled->table_uuid, answer.table_uuid, LB_UUID_LEN);

    if (answer.replicated && (c->ask_flags & LB_ASK_NO_REPLICAS)) {
        (void)snprintf(settled->blind, sizeof(settled->blind),
                       "grant SELECT ON system.replicas");
    }

    if (answer.found == state->rows) {
        learn_reads(c, state->rows, settled);
    }
}

static void
where(void *ctx, const uint8_t uuid[LB_UUID_LEN], char table[LB_TABLE_MAX + 1],
      lb_said_t *said, lb_settled_t *settled)
{
    char *sql = malloc(256);
    size_t len;
    clickhouse_t *c = ctx;

    if (sql != NULL) {
        lb_question_where(uuid, sql, 256);
    }

    table[0] = '\0';
    ask(c, sql, said, settled);

    if (settled->as == LB_SETTLED) {
        len = strcspn(c->result.answer, "\n");
        if (len > 0 && len <= LB_TABLE_MAX &&
            strchr(c->result.answer, '.') != NULL) {
            memcpy(table, c->result.answer, len);
            table[len] = '\0';
        }
    }
}

static void
beyond(void *ctx, const lb_ckpt_state_t *state,
       const uint8_t spool[LB_UUID_LEN], uint64_t from_us, uint64_t to_us,
       lb_beyond_t *list, uint32_t max, uint32_t *n, lb_said_t *said,
       lb_settled_t *settled)
{
    char prefix[LB_TOKEN_PREFIX];
    clickhouse_t *c = ctx;
    lb_answer_t answer;

    *n = 0;
    lb_token_prefix(spool, prefix);
    ask(c, lb_question_beyond(state, prefix, from_us, to_us, c->ask_flags),
        said, settled);

    if (settled->as != LB_SETTLED) {
        return;
    }

    if (lb_question_beyond_answer(c->result.answer, &answer, list, max, n) !=
        0) {
        *n = 0;
        unreadable(c, said, settled);
        return;
    }

    settled->running = answer.running;
    settled->behind = answer.behind;
}

/* What the table makes of the batch, for the sift that follows. */
static lb_sifted_t
learn_columns(clickhouse_t *c, const lb_ckpt_state_t *state, lb_said_t *said)
{
    char sql[LB_COLUMNS_SQL], *text = c->result.answer;

    c->ask_columns = 0;

    lb_question_columns(state->table, LB_ENCODING_COLUMNS(state->encoding), sql,
                        sizeof(sql));
    c->transport.query(c->transport.ctx, sql, &c->result);
    lb_clickhouse_said(&c->result, said);

    if (c->result.outcome == LB_SINK_DONE) {
        text[strcspn(text, "\n")] = '\0';
        c->columns = text[0] != '\0' ? strdup(text) : NULL;
    }

    return c->columns != NULL ? LB_SIFTED_AGAIN : LB_SIFTED_NOT;
}

static lb_sifted_t
sift(void *ctx, const lb_sink_batch_t *batch, lb_excluded_t *excluded,
     uint32_t max, uint32_t *n, lb_said_t *said)
{
    int added = 0, many;
    char *sql, structure[LB_COLUMNS_TEXT];
    names_t names;
    uint32_t before = *n;
    clickhouse_t *c = ctx;
    lb_ch_insert_t insert;
    lb_ch_result_t *r = &c->result;

    if (c->ask_columns) {
        return learn_columns(c, batch->state, said);
    }

    sql = lb_question_sift((const char *const *)c->constraint, c->nconstraints,
                           c->columns);
    if (sql == NULL) {
        no_memory(said, "the question");
        return LB_SIFTED_NOT;
    }

    describe(c, batch, &insert, &names);
    lb_columns_structure(LB_ENCODING_COLUMNS(batch->state->encoding),
                         structure);
    c->transport.query_rows(c->transport.ctx, sql, structure, &insert, r);
    free(sql);
    lb_clickhouse_said(r, said);

    if (r->outcome == LB_SINK_NOT_SENT) {
        return LB_SIFTED_NOT;
    }

    if (r->code == LB_CH_UNKNOWN_IDENTIFIER && c->columns == NULL) {
        c->ask_columns = 1;
        return LB_SIFTED_AGAIN;
    }

    free(c->columns);
    c->columns = NULL;

    if (r->outcome == LB_SINK_DONE) {
        added =
            lb_question_sift_answer(r->answer, batch->state, excluded, max, n);
    }

    if (added > 0) {
        return LB_SIFTED;
    }

    *n = before;

    /* the answer, which is cut at its size, can name more than there is room
     * for only if there are more */
    many = added < 0 ||
           (r->http == 200 && r->code == 0 && r->outcome != LB_SINK_DONE);

    if (many && batch->state->rows > max) {
        return LB_SIFTED_MANY;
    }

    if (r->outcome == LB_SINK_DONE) {
        (void)snprintf(said->text, sizeof(said->text), "%s",
                       added < 0 ? "too many" : "none");
    }

    forget_constraints(c);

    return LB_SIFTED_NOT;
}

/*
 * Check
 */

static void
check(void *ctx, lb_verdict_t *verdict, lb_said_t *said)
{
    char sql[LB_PREFLIGHT_SQL];
    clickhouse_t *c = ctx;
    lb_ch_result_t *r = &c->result;

    /* what could not be set may be allowed by now */
    if (c->ch != NULL && !c->check_again &&
        (verdict->hold || ++c->checks % FORGET_CHECKS == 0)) {
        lb_ch_forget_settings(c->ch);
    }

    lb_preflight_sql(c->options, sql, sizeof(sql));
    c->transport.query(c->transport.ctx, sql, r);
    lb_clickhouse_said(r, said);

    /* once more without the setting it stumbled on */
    c->check_again = r->relearn;
    verdict->hold |= said->hold;

    if (!said->again && !said->late) {
        lb_preflight_judge(c->options, r, verdict);
    }
}

/*
 * By HTTP
 */

static void
http_insert(void *ctx, const lb_ch_insert_t *insert, lb_ch_result_t *result)
{
    lb_ch_insert(((clickhouse_t *)ctx)->ch, insert, result);
}

static void
http_query(void *ctx, const char *sql, lb_ch_result_t *result)
{
    lb_ch_query(((clickhouse_t *)ctx)->ch, sql, result);
}

static void
http_query_rows(void *ctx, const char *sql, const char *structure,
                const lb_ch_insert_t *rows, lb_ch_result_t *result)
{
    lb_ch_query_rows(((clickhouse_t *)ctx)->ch, sql, structure, rows, result);
}

static void
http_next_url(void *ctx)
{
    lb_ch_next_url(((clickhouse_t *)ctx)->ch);
}

static void
next(void *ctx)
{
    clickhouse_t *c = ctx;

    c->transport.next_url(c->transport.ctx);
}

static void
set_gate(void *ctx, int (*gate)(void *arg), void *arg)
{
    clickhouse_t *c = ctx;

    c->gate = gate;
    c->gate_arg = arg;

    if (c->ch != NULL) {
        lb_ch_set_gate(c->ch, gate, arg);
    }
}

static int
configure(void *ctx, const lb_options_t *options)
{
    lb_ch_t *ch;
    clickhouse_t *c = ctx;

    ch = lb_ch_new(options, c->abort);
    if (ch == NULL) {
        return -1;
    }

    lb_ch_free(c->ch);
    c->ch = ch;
    c->options = options;
    c->ask_flags = 0;
    lb_ch_set_gate(ch, c->gate, c->gate_arg);

    return 0;
}

static void
clickhouse_free(void *ctx)
{
    clickhouse_t *c = ctx;

    forget_constraints(c);
    lb_ch_free(c->ch);
    free(c->columns);
    free(c);
}

lb_sink_t *
lb_clickhouse_over(const lb_transport_t *transport, const lb_options_t *options)
{
    clickhouse_t *c = calloc(1, sizeof(*c));

    static const lb_sink_t sink = {
        NULL,   encoders, check, send_batch, settle,    where,
        beyond, sift,     next,  set_gate,   configure, clickhouse_free};

    if (c == NULL) {
        return NULL;
    }

    c->sink = sink;
    c->sink.ctx = c;
    c->transport = *transport;
    c->options = options;

    return &c->sink;
}

lb_sink_t *
lb_clickhouse_new(const lb_options_t *options,
                  const volatile sig_atomic_t *abort)
{
    lb_sink_t *sink;
    clickhouse_t *c;

    static const lb_transport_t http = {NULL, http_insert, http_query,
                                        http_next_url, http_query_rows};

    sink = lb_clickhouse_over(&http, options);
    if (sink == NULL) {
        return NULL;
    }

    c = sink->ctx;
    c->transport.ctx = c;
    c->abort = abort;

    if (configure(c, options) != 0) {
        clickhouse_free(c);
        return NULL;
    }

    return sink;
}
