#include "flusher/deliver.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* repeats of a batch for the sake of materialized views */
#define LB_VIEW_TURNS 3

/* age of events from which on the log speaks of the table's TTL */
#define LB_OLD_DAYS 7

/* batches that got in before a limit that the server set is raised again */
#define LB_SIZE_SUCCESSES 8

/* errors in answer to the same INSERT after which it may be its size */
#define LB_SIZE_ANSWERS 4

__attribute__((format(printf, 3, 4))) static void
trouble(lb_deliver_t *d, int level, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(d->last_error, sizeof(d->last_error), fmt, ap);
    va_end(ap);

    d->last_error_us = lb_now_us();
    d->log(level, "%s", d->last_error);
}

int64_t
lb_deliver_backoff(const lb_options_t *o, uint32_t failures)
{
    int64_t ms = o->backoff_min_ms;

    if (failures == 0) {
        return 0;
    }

    while (--failures > 0 && ms < o->backoff_max_ms) {
        ms *= 2;
    }

    return ms < o->backoff_max_ms ? ms : o->backoff_max_ms;
}

static int
store(lb_deliver_t *d)
{
    lb_error_t err;

    d->store_pending = 1;

    if (lb_ckpt_store(d->ckpt, d->state, &err) != 0) {
        trouble(d, LB_LOG_ERROR, "%s; nothing is sent until it succeeds",
                err.text);
        return -1;
    }

    d->store_pending = 0;

    return 0;
}

/* Once the state is stored the writers may reuse what is acked. */
static int
store_and_tell(lb_deliver_t *d)
{
    if (store(d) != 0) {
        return -1;
    }

    lb_rings_ack(d->rings, d->state);

    return 0;
}

/* The rings may have been told more acks than this checkpoint knows: then it
 * is an older one that was put back. */
static int
is_old(lb_deliver_t *d)
{
    int old = 0;
    uint32_t i;
    lb_ckpt_ring_t *e;
    lb_flusher_ring_t *r;
    lb_ckpt_state_t *st = d->state;

    for (i = 0; i < d->rings->n; i++) {
        r = &d->rings->ring[i];
        e = lb_ckpt_find(st, r->info.uuid);

        if (r->broken || r->info.acked_seq <= (e != NULL ? e->acked_seq : 0) ||
            (e = lb_rings_entry(st, r)) == NULL) {
            continue;
        }

        st->delivered += r->info.acked_seq - e->acked_seq;
        e->acked = r->info.acked;
        e->acked_seq = r->info.acked_seq;

        if (e->end_seq < e->acked_seq) {
            e->end = e->acked;
            e->end_seq = e->acked_seq;
        }

        old = 1;
    }

    return old;
}

/* An event that is a dead letter is never part of a batch again, whatever the
 * table would say to it now: the letter may be replayed.  Leaves the others as
 * the rows of the batch.  0, or -1: there are more letters than room. */
static int
exclude_letters(lb_deliver_t *d)
{
    uint32_t i;
    uint64_t offset = 0;
    lb_ckpt_ring_t *e;
    lb_dead_letter_t letter;

    d->nexcluded = 0;

    while (lb_dead_next(d->dead, &offset, &letter)) {
        for (i = 0; letter.kind == LB_DEAD_ROW && i < d->state->nrings; i++) {
            e = &d->state->rings[i];
            if (memcmp(e->uuid, letter.ring, LB_UUID_LEN) != 0 ||
                letter.first_seq < e->acked_seq ||
                letter.first_seq >= e->end_seq) {
                continue;
            }
            if (d->nexcluded == LB_EXCLUDED_MAX) {
                return -1;
            }
            d->excluded[d->nexcluded].entry = i;
            d->excluded[d->nexcluded++].seq = letter.first_seq;
        }
    }

    lb_batch_sort(d->excluded, d->nexcluded);
    d->state->rows = lb_batch_events(d->state) - d->nexcluded;

    return 0;
}

/* 1 if the batch in flight can be made as it was: by the same encoding, without
 * the same dead letters. */
static int
same_batch(lb_deliver_t *d)
{
    int same;
    lb_ckpt_state_t *st = d->state;
    uint64_t rows = st->rows;
    char token[LB_TOKEN_MAX + 1];

    same = st->encoding == LB_ENCODING && exclude_letters(d) == 0 &&
           st->rows == rows;
    st->rows = rows;

    if (same && d->nexcluded > 0) {
        memcpy(token, st->token, sizeof(token));
        lb_question_token(lb_spool_uuid(d->spool), st, d->excluded,
                          d->nexcluded);
        same = strcmp(token, st->token) == 0;
        memcpy(st->token, token, sizeof(token));
    }

    if (!same) {
        d->nexcluded = 0;
    }

    return same;
}

int
lb_deliver_init(lb_deliver_t *d, lb_error_t *err)
{
    char uuid[LB_UUID_TEXT];
    uint32_t i;
    lb_ckpt_ring_t *e;

    d->at = LB_DELIVER_EMPTY;
    d->late_ms = LB_LATE_MS;
    memcpy(d->table_uuid, d->state->table_uuid, LB_UUID_LEN);

    if (is_old(d)) {
        d->state->flags |= LB_CKPT_DOUBT;
        d->log(LB_LOG_WARN,
               "the checkpoint is older than the acks in the rings: was it "
               "restored from a backup?");
    }

    if (d->state->flags & LB_CKPT_DOUBT) {
        d->at = LB_DELIVER_DOUBT;
        d->loose = 1;
        d->log(LB_LOG_WARN,
               "the checkpoint may not be the newest: before anything is "
               "sent, ClickHouse is asked what it already holds");
        return 0;
    }

    if (!(d->state->flags & LB_CKPT_IN_FLIGHT)) {
        return 0;
    }

    for (i = 0; i < d->state->nrings; i++) {
        e = &d->state->rings[i];

        if (e->end_seq > e->acked_seq &&
            lb_rings_find(d->rings, e->uuid) == NULL) {
            lb_uuid_format(e->uuid, uuid);
            return lb_fail(err, -ENOENT,
                           "ring %s (slot %u) of the batch in flight is "
                           "gone: put its file back",
                           uuid, e->slot);
        }
    }

    d->at = LB_DELIVER_UNKNOWN;
    d->repeated = 1;
    d->loose = 1;
    d->blame = same_batch(d) ? LB_BLAME_NONE : LB_BLAME_BYTES;
    d->log(LB_LOG_INFO,
           "a batch of %llu rows (token %s) was in flight: asking for it",
           (unsigned long long)d->state->rows, d->state->token);

    return 0;
}

int
lb_deliver_wanted(lb_deliver_t *d)
{
    uint32_t i;
    lb_ckpt_ring_t *e;
    lb_flusher_ring_t *r;

    if (d->at != LB_DELIVER_EMPTY || d->store_pending) {
        return 1;
    }

    for (i = 0; i < d->rings->n; i++) {
        r = &d->rings->ring[i];
        e = lb_ckpt_find(d->state, r->info.uuid);
        if (r->info.committed > (e != NULL ? e->acked : 0)) {
            return 1;
        }
    }

    return 0;
}

static void
grow_size(lb_deliver_t *d)
{
    if (d->size_limit == 0 || ++d->size_successes < LB_SIZE_SUCCESSES) {
        return;
    }

    d->size_successes = 0;
    d->size_limit *= 2;

    if (d->size_limit >= d->options->max_rows) {
        d->size_limit = 0;
    }
}

/* There is no batch any more. */
static void
clear(lb_deliver_t *d)
{
    lb_batch_clear(d->state);
    d->state->flags &= ~LB_CKPT_IN_FLIGHT;
    d->nexcluded = 0;
    d->at = LB_DELIVER_EMPTY;
}

static int
ack(lb_deliver_t *d)
{
    uint32_t i;
    lb_ckpt_state_t *st = d->state;
    uint64_t events = lb_batch_events(st);

    for (i = 0; i < st->nrings; i++) {
        st->rings[i].acked = st->rings[i].end;
        st->rings[i].acked_seq = st->rings[i].end_seq;
    }

    st->delivered += st->rows;
    st->dead += events - st->rows;
    clear(d);
    d->failures = 0;
    d->no_sift = 0;
    d->counters.batches++;
    lb_surgery_success(&d->surgery, d->options->max_rows);
    grow_size(d);
    d->last_success_us = lb_now_us();

    /* The checkpoint first: if the writers knew earlier and the power went,
     * the batch would be sent again from space that is reused. */

    return store_and_tell(d);
}

/* Names the batch whose ranges are in the state, and stores it. */
static int
fix_picked(lb_deliver_t *d)
{
    lb_ckpt_state_t *st = d->state;

    st->batch_id++;
    st->encoding = LB_ENCODING;
    st->fixed_us = lb_now_us();
    st->flags |= LB_CKPT_IN_FLIGHT;
    (void)snprintf(st->table, sizeof(st->table), "%s.%s", d->options->database,
                   d->options->table);
    (void)snprintf(st->broker, sizeof(st->broker), "%s", d->options->broker);
    memcpy(st->table_uuid, d->table_uuid, LB_UUID_LEN);
    lb_question_token(lb_spool_uuid(d->spool), st, d->excluded, d->nexcluded);

    d->at = LB_DELIVER_FIXED;
    d->repeated = 0;
    d->loose = 0;
    d->quiet_ms = 0;
    d->quiet_at = 0;
    d->claimed = 0;
    d->there = 0;
    d->view_failed = 0;
    d->views_done = 0;
    d->view_turns = 0;
    d->elsewhere = 0;
    d->other[0] = '\0';
    d->gone = 0;
    d->blame = LB_BLAME_NONE;
    d->answered = 0;
    d->read_rows = 0;

    /* On failure the batch stays fixed in memory and the store is repeated
     * before anything is sent. */

    return store(d);
}

/* Fixes what is chosen, without dead letters; the state is then FIXED, or
 * EMPTY if nothing is left of it.  0, or -1. */
static int
fix_chosen(lb_deliver_t *d)
{
    if (exclude_letters(d) != 0) {
        d->surgery.limit = LB_EXCLUDED_MAX;
        clear(d);
        return store(d);
    }

    return d->state->rows == 0 ? ack(d) : fix_picked(d);
}

static int
measure(lb_deliver_t *d)
{
    lb_error_t err;

    if (lb_batch_measure(d->rings, d->state, &err) != 0) {
        trouble(d, LB_LOG_ERROR, "%s", err.text);
        return -1;
    }

    return 0;
}

/* The same for ranges that others than lb_batch_pick have chosen. */
static int
fix_ranges(lb_deliver_t *d)
{
    return measure(d) == 0 ? fix_chosen(d) : -1;
}

/* Rows dated long ago are what a TTL removes as soon as they are in. */
static void
tell_age(lb_deliver_t *d)
{
    const lb_ckpt_state_t *st = d->state;
    int64_t now_us = (int64_t)lb_now_us() - d->clock_offset_ms * 1000;
    int64_t days = (now_us - (int64_t)st->to_us) / (int64_t)LB_DAY_US;

    if (days < LB_OLD_DAYS || st->day == d->told_day) {
        return;
    }

    d->told_day = st->day;
    d->log(LB_LOG_WARN,
           "sending events that were received %lld days ago, or by a clock "
           "that was wrong then: if the TTL of %s.%s is shorter, ClickHouse "
           "removes them as soon as they are in; ALTER TABLE ... MODIFY TTL "
           "or REMOVE TTL keeps them",
           (long long)days, d->options->database, d->options->table);
}

/* Chooses a batch and fixes it.  1: there is one, 0: nothing to do, -1. */
static int
fix(lb_deliver_t *d)
{
    int rc;
    lb_error_t err;
    lb_batch_limits_t limits;
    lb_ckpt_state_t *st = d->state;

    (void)lb_rings_enter(d->rings, st);

    rc = lb_batch_set_aside(d->rings, st, d->dead, &err);

    if (rc < 0) {
        trouble(d, LB_LOG_ERROR, "%s", err.text);
        return -1;
    }

    if (rc > 0) {
        d->counters.set_aside += (uint64_t)rc;
        trouble(d, LB_LOG_ERROR,
                "%d damaged places in the rings were set aside as dead "
                "letters (%llu bytes and %llu events since the spool was "
                "made)",
                rc, (unsigned long long)st->lost_bytes,
                (unsigned long long)st->dead);
        if (store_and_tell(d) != 0) {
            return -1;
        }
    }

    if (d->surgery.nsuspects > 0) {
        rc = lb_surgery_pick(&d->surgery, d->rings, st, &err);
        if (rc < 0) {
            trouble(d, LB_LOG_ERROR, "%s", err.text);
        } else if (rc > 0 && fix_ranges(d) == 0) {
            return d->at == LB_DELIVER_FIXED;
        }
        if (rc != 0 && d->at == LB_DELIVER_FIXED) {
            return -1;
        }
        /* a ring of theirs cannot be read: the others go on */
        if (rc != 0) {
            d->surgery.nsuspects = 0;
        }
    }

    limits.max_rows = d->options->max_rows;
    if (d->surgery.limit > 0 && d->surgery.limit < limits.max_rows) {
        limits.max_rows = d->surgery.limit;
    }
    if (d->size_limit > 0 && d->size_limit < limits.max_rows) {
        limits.max_rows = d->size_limit;
    }
    limits.max_bytes = d->options->max_bytes;

    /* Events of today do not wait until a backlog of days ago is in. */
    limits.newest = d->turns++ & 1;

    if (!lb_batch_pick(d->rings, st, &limits)) {
        return 0;
    }

    tell_age(d);

    return fix_chosen(d) != 0 ? -1 : d->at == LB_DELIVER_FIXED;
}

/* The rows are in the table, but a materialized view threw, or it is not known
 * whether the INSERT came as far as the views: the same token again, which the
 * table deduplicates and the views take if they have not.  Not for ever: a view
 * that always throws must not stop the table. */
static int
repeat_for_views(lb_deliver_t *d)
{
    d->there = 1;

    if (!d->view_failed || d->view_turns++ < LB_VIEW_TURNS) {
        d->at = LB_DELIVER_FIXED;
        return !d->view_failed;
    }

    d->counters.view_misses++;
    trouble(d, LB_LOG_ERROR,
            "a batch of %llu rows is in %s, but a materialized view did not "
            "take it %d times; going on without it (token %s): %s",
            (unsigned long long)d->state->rows, d->state->table, LB_VIEW_TURNS,
            d->state->token, d->surgery.reason);

    return ack(d) == 0;
}

static lb_blame_t
blame(const lb_ch_result_t *r, const lb_batch_source_t *source,
      uint32_t answered)
{
    if (lb_batch_source_damaged(source)) {
        return LB_BLAME_BYTES;
    }

    if (lb_surgery_blames_data(r->code)) {
        return LB_BLAME_DATA;
    }

    /* What was not sent to its end within the time never gets in, nor does what
     * something before the server refuses again and again. */
    return lb_ch_blames_size(r->http, r->code) ||
                   (r->timed_out && !r->complete) ||
                   (r->http != 0 && answered >= LB_SIZE_ANSWERS)
               ? LB_BLAME_SIZE
               : LB_BLAME_NONE;
}

/* Keeps what an error says of a constraint. */
static void
note_constraint(lb_deliver_t *d, const char *error)
{
    char *text = lb_question_constraint(error);
    uint32_t i;

    if (text == NULL) {
        d->no_sift = 1;
        return;
    }

    for (i = 0; i < d->nconstraints; i++) {
        if (strcmp(d->constraint[i], text) == 0) {
            free(text);
            return;
        }
    }

    if (d->nconstraints == LB_CONSTRAINTS_MAX) {
        /* the oldest may be gone from the table */
        free(d->constraint[0]);
        memmove(&d->constraint[0], &d->constraint[1],
                (LB_CONSTRAINTS_MAX - 1) * sizeof(d->constraint[0]));
        d->nconstraints--;
    }

    d->constraint[d->nconstraints++] = text;
}

static void
drop_constraints(lb_deliver_t *d)
{
    while (d->nconstraints > 0) {
        free(d->constraint[--d->nconstraints]);
    }
}

void
lb_deliver_free(lb_deliver_t *d)
{
    drop_constraints(d);
}

static void
describe(lb_deliver_t *d, lb_ch_insert_t *insert, char *table, size_t size)
{
    lb_question_table(d->state->table, table, size);
    insert->table = table;
    insert->columns = lb_native_columns;
    insert->token = d->state->token;
    insert->rows = d->state->rows;
    insert->reads = d->reads != 0 ? d->reads : 1;
    insert->read = lb_batch_source_read;
}

static int
other_table(lb_deliver_t *d)
{
    char now[LB_TABLE_MAX + 1];

    (void)snprintf(now, sizeof(now), "%s.%s", d->options->database,
                   d->options->table);

    return strcmp(now, d->state->table) != 0;
}

static int
send_batch(lb_deliver_t *d)
{
    char table[LB_TABLE_MAX + 8];
    lb_ch_insert_t insert;
    lb_ch_result_t *r = &d->result;
    lb_batch_source_t *source;

    source = lb_batch_source_new(d->rings, d->state, d->excluded, d->nexcluded);
    if (source == NULL) {
        trouble(d, LB_LOG_ERROR, "no memory to encode a batch");
        return 0;
    }

    describe(d, &insert, table, sizeof(table));
    insert.arg = source;

    d->moved = 0;
    d->counters.requests++;
    d->transport->insert(d->transport->ctx, &insert, r);

    switch (r->outcome) {
    case LB_CH_DONE:
        lb_batch_source_free(source);
        if (!d->repeated || d->there) {
            return ack(d) == 0;
        }
        /* the token is known; are the rows? */
        d->claimed = 1;
        d->view_failed = 0;
        d->at = LB_DELIVER_UNKNOWN;
        return 1;
    case LB_CH_NOT_SENT:
        d->counters.not_sent++;
        if (r->late) {
            d->log(LB_LOG_INFO, "%s", r->text);
            break;
        }
        trouble(d, LB_LOG_WARN,
                "ClickHouse cannot be reached (%s); %llu rows wait", r->text,
                (unsigned long long)insert.rows);
        d->transport->next_url(d->transport->ctx);
        break;
    case LB_CH_REFUSED:
        d->counters.refused++;
        trouble(d, LB_LOG_ERROR,
                "ClickHouse refused a batch of %llu rows, nothing is lost, it "
                "is sent again: %s",
                (unsigned long long)insert.rows, r->text);
        if ((r->code == LB_CH_UNKNOWN_TABLE ||
             r->code == LB_CH_UNKNOWN_DATABASE) &&
            other_table(d)) {
            /* it may have to go to the one that is configured now */
            d->at = LB_DELIVER_UNKNOWN;
        }
        d->transport->next_url(d->transport->ctx);
        break;
    default:
        d->counters.unknown++;
        d->repeated = 1;
        /* What is not ClickHouse's own answer is no end of the INSERT: a proxy
         * that says 504 may let it through yet. */
        if (r->complete && r->code == 0 && r->http != 413) {
            d->loose = 1;
            d->quiet_ms = 0;
        }
        d->quiet_at = 0;
        d->claimed = 0;
        d->read_rows = r->read_rows;
        d->answered += r->http != 0;
        d->blame = blame(r, source, d->answered);
        d->view_failed = lb_ch_blames_view(r->answer);
        d->views_done =
            r->http == 200 && r->code == 0 && r->read_rows >= d->state->rows;
        (void)snprintf(d->surgery.reason, sizeof(d->surgery.reason), "%s",
                       r->text);
        if (d->blame == LB_BLAME_DATA && !d->view_failed) {
            note_constraint(d, r->answer);
        }

        if (d->there) {
            lb_batch_source_free(source);
            trouble(d, LB_LOG_WARN,
                    "a batch of %llu rows is in, its materialized views may "
                    "not have it yet: %s",
                    (unsigned long long)insert.rows, r->text);
            /* an answer, or none in time, is the views' doing */
            d->view_failed |= r->http != 0 || r->timed_out;
            /* reads are counted otherwise where all is deduplicated */
            return d->views_done ? ack(d) == 0 : repeat_for_views(d) && 0;
        }

        d->at = LB_DELIVER_UNKNOWN;
        trouble(d, LB_LOG_WARN,
                "outcome of a batch of %llu rows unknown, will ask for its "
                "rows: %s%s%s",
                (unsigned long long)insert.rows, r->text,
                lb_batch_source_error(source)[0] != '\0' ? ": " : "",
                lb_batch_source_error(source));
    }

    lb_batch_source_free(source);

    return 0;
}

/* Nothing of the batch is in, and the server blames its data. */
static int
operate(lb_deliver_t *d)
{
    lb_error_t err;
    lb_ckpt_state_t *st = d->state;

    if (!d->no_sift && d->nconstraints > 0 && st->rows > 1 && !d->view_failed &&
        d->transport->query_rows != NULL) {
        d->at = LB_DELIVER_SIFT;
        return 1;
    }

    if (lb_batch_events(st) > 1) {
        st->rows = lb_batch_events(st);
        if (lb_surgery_halve(&d->surgery, d->rings, st, &err) != 0) {
            trouble(d, LB_LOG_ERROR, "%s", err.text);
            return 0;
        }
        return fix_ranges(d) == 0;
    }

    if (lb_surgery_set_aside(&d->surgery, d->rings, st, d->dead, &err) != 0) {
        trouble(d, LB_LOG_ERROR, "%s", err.text);
        return 0;
    }

    d->counters.poison++;
    trouble(d, LB_LOG_ERROR,
            "an event that ClickHouse cannot take was set aside as a dead "
            "letter: %s",
            d->surgery.reason);

    clear(d);

    return store_and_tell(d) == 0;
}

/* Which rows of the batch break a constraint?  They are set aside at once, and
 * the others are a batch of their own. */
static int
sift(lb_deliver_t *d)
{
    int added;
    char *sql, table[LB_TABLE_MAX + 8], structure[512];
    uint32_t before = d->nexcluded;
    lb_error_t err;
    lb_ch_insert_t insert;
    lb_ch_result_t *r = &d->result;
    lb_ckpt_state_t *st = d->state;
    lb_batch_source_t *source;

    sql = lb_question_sift((const char *const *)d->constraint, d->nconstraints);
    source = lb_batch_source_new(d->rings, st, d->excluded, d->nexcluded);

    if (sql == NULL || source == NULL) {
        free(sql);
        lb_batch_source_free(source);
        trouble(d, LB_LOG_ERROR, "no memory to sift a batch");
        return 0;
    }

    describe(d, &insert, table, sizeof(table));
    insert.arg = source;
    lb_native_structure(structure, sizeof(structure));

    d->counters.requests++;
    d->counters.checks++;
    d->transport->query_rows(d->transport->ctx, sql, structure, &insert, r);
    lb_batch_source_free(source);
    free(sql);

    if (r->outcome == LB_CH_NOT_SENT) {
        d->counters.not_sent++;
        trouble(d, LB_LOG_WARN, "cannot ask which rows break a constraint: %s",
                r->text);
        d->transport->next_url(d->transport->ctx);
        return 0;
    }

    added = r->outcome == LB_CH_DONE
                ? lb_question_sift_answer(r->answer, st, d->excluded,
                                          LB_EXCLUDED_MAX, &d->nexcluded)
                : 0;

    if ((added < 0 || (r->http == 200 && r->code == 0 && added == 0 &&
                       r->outcome != LB_CH_DONE)) &&
        st->rows > LB_EXCLUDED_MAX) {
        d->log(LB_LOG_WARN,
               "too many of %llu rows break a constraint for one list: going "
               "on with %d rows at most for now",
               (unsigned long long)st->rows, LB_EXCLUDED_MAX);
        d->surgery.limit = LB_EXCLUDED_MAX;
        clear(d);
        return store(d) == 0;
    }

    if (added <= 0) {
        d->nexcluded = before;
        d->log(LB_LOG_WARN,
               "ClickHouse cannot say which rows of the batch break a "
               "constraint (%s): searching by halves",
               r->outcome == LB_CH_DONE ? added < 0 ? "too many" : "none"
                                        : r->text);
        d->no_sift = 1;
        drop_constraints(d);
        return operate(d);
    }

    if (lb_surgery_exclude(&d->surgery, d->rings, st, d->excluded, d->nexcluded,
                           d->dead, &err) != 0) {
        d->nexcluded = before;
        trouble(d, LB_LOG_ERROR, "%s", err.text);
        return 0;
    }

    d->counters.poison += (uint64_t)added;
    trouble(d, LB_LOG_ERROR,
            "%d of %llu events, which break a constraint, were set aside as "
            "dead letters: %s",
            added, (unsigned long long)st->rows, d->surgery.reason);

    /* The list is at hand: a letter that was dropped meanwhile may have made
     * room for another. */
    st->rows -= (uint64_t)added;

    if (st->rows == 0) {
        return ack(d) == 0;
    }

    return measure(d) == 0 && fix_picked(d) == 0;
}

/* Rows that materialized views read are counted with those of the table.  How
 * many are told by a batch of which it is known that all of it got in; from
 * then on the next ones need not be asked about. */
static void
learn_reads(lb_deliver_t *d)
{
    uint64_t reads = d->state->rows > 0 ? d->read_rows / d->state->rows : 0;

    if (reads > 0 && reads != (d->reads != 0 ? d->reads : 1)) {
        d->reads = reads;
        d->log(LB_LOG_INFO,
               "ClickHouse counted %llu rows for it: %s, and the next batches "
               "are judged by that",
               (unsigned long long)d->read_rows,
               reads > 1 ? "materialized views read the table's rows too"
                         : "no materialized view reads them any more");
    }

    d->read_rows = 0;
}

/* The question goes on to the next server. */
static void
move_on(lb_deliver_t *d)
{
    d->moved = 1;
    d->quiet_at = 0;
    d->transport->next_url(d->transport->ctx);
}

/* 1 if an attempt that was not answered may still come in: asks on. */
static int
may_come_late(lb_deliver_t *d)
{
    int64_t now = lb_mono_ms();

    if (!d->loose) {
        return 0;
    }

    if (d->quiet_at != 0) {
        d->quiet_ms += now - d->quiet_at;
    }

    d->quiet_at = now;

    if (d->quiet_ms >= d->late_ms) {
        return 0;
    }

    trouble(d, LB_LOG_WARN,
            "an INSERT without an answer may still come in: asking for %lld s "
            "more",
            (long long)(d->late_ms - d->quiet_ms + 999) / 1000);

    return 1;
}

/* Nothing of the batch is in and nothing of ours runs: what next? */
static int
not_in(lb_deliver_t *d)
{
    lb_ckpt_state_t *st = d->state;
    uint64_t rows = st->rows;

    if (d->claimed) {
        /* The server keeps the token and not the rows: it died, or failed,
         * between the two.  No late INSERT can come under that token any
         * more; the same rows go under a new one. */
        d->counters.renamed++;
        trouble(d, LB_LOG_WARN,
                "ClickHouse answers success to token %s and does not have its "
                "%llu rows: they are sent under a new token",
                st->token, (unsigned long long)rows);
        return fix_picked(d) == 0;
    }

    /* What was asked elsewhere is settled: from now on the name counts, to
     * which INSERTs go. */
    if (d->elsewhere) {
        d->elsewhere = 0;
        d->other[0] = '\0';
        memcpy(st->table_uuid, d->table_uuid, LB_UUID_LEN);
    }

    if ((d->blame != LB_BLAME_NONE || (d->gone && other_table(d))) &&
        may_come_late(d)) {
        return 0;
    }

    if (d->gone && other_table(d)) {
        d->log(LB_LOG_WARN,
               "there is no table %s, so the batch of %llu rows goes to %s.%s "
               "instead",
               st->table, (unsigned long long)rows, d->options->database,
               d->options->table);
        clear(d);
        return store(d) == 0;
    }

    switch (d->blame) {
    case LB_BLAME_DATA:
        return operate(d);
    case LB_BLAME_SIZE:
        if (rows < 2) {
            break;
        }
        d->size_limit = rows / 2;
        d->size_successes = 0;
        d->failures = 0;
        d->log(LB_LOG_WARN,
               "a batch of %llu rows was too large for the server or what is "
               "before it: going on with %llu rows at most for now",
               (unsigned long long)rows, (unsigned long long)d->size_limit);
        clear(d);
        /* memory may be short there and not elsewhere */
        if (!d->moved) {
            d->transport->next_url(d->transport->ctx);
        }
        return store(d) == 0;
    case LB_BLAME_BYTES:
        d->log(LB_LOG_WARN,
               "a batch of %llu rows is not in the table and cannot be made "
               "again as it was (its ring is damaged, or another release fixed "
               "it): it is chosen anew",
               (unsigned long long)rows);
        clear(d);
        return store(d) == 0;
    default:
        break;
    }

    d->log(LB_LOG_INFO,
           "the batch of %llu rows had not got in, sending it again",
           (unsigned long long)rows);
    d->at = LB_DELIVER_FIXED;

    /* The server that failed may fail again; one that had to be asked in its
     * place is another already. */
    if (!d->moved) {
        d->transport->next_url(d->transport->ctx);
    }

    return 1;
}

static int
judge(lb_deliver_t *d, const lb_answer_t *a)
{
    static const uint8_t none[LB_UUID_LEN];
    lb_ckpt_state_t *st = d->state;

    if (a->found >= st->rows) {
        if (a->found > st->rows) {
            trouble(d, LB_LOG_ERROR,
                    "ClickHouse holds %llu rows of a batch of %llu: "
                    "duplicates, see logbroker_audit",
                    (unsigned long long)a->found, (unsigned long long)st->rows);
        } else {
            d->log(LB_LOG_INFO, "the batch of %llu rows had got in",
                   (unsigned long long)a->found);
            learn_reads(d);
        }
        return d->view_failed || (a->views > 0 && !d->claimed && !d->views_done)
                   ? repeat_for_views(d)
                   : ack(d) == 0;
    }

    if (d->elsewhere && memcmp(a->table_uuid, none, LB_UUID_LEN) != 0 &&
        memcmp(a->table_uuid, st->table_uuid, LB_UUID_LEN) != 0) {
        /* it has moved on: where to? */
        d->other[0] = '\0';
        return 0;
    }

    if (a->running > 0) {
        d->quiet_ms = 0;
        d->quiet_at = 0;
        trouble(d, LB_LOG_WARN, "the INSERT of %llu rows still runs",
                (unsigned long long)st->rows);
        return 0;
    }

    if (a->behind > 0) {
        trouble(d, LB_LOG_WARN,
                "this replica is behind the others and cannot tell whether a "
                "batch of %llu rows is in: asking again",
                (unsigned long long)st->rows);
        move_on(d);
        return 0;
    }

    if (a->found > 0) {
        /* Not from an INSERT of ours, which is atomic in one partition; the
         * server fills up what is missing by the token. */
        trouble(d, LB_LOG_ERROR,
                "only part of the batch is in (%llu of %llu); check PARTITION "
                "BY, it must be toDate(received_at).%s",
                (unsigned long long)a->found, (unsigned long long)st->rows,
                d->claimed ? "" : " Sending it again");
        d->at = d->claimed ? LB_DELIVER_UNKNOWN : LB_DELIVER_FIXED;
        return 0;
    }

    if (!d->elsewhere && memcmp(st->table_uuid, none, LB_UUID_LEN) != 0 &&
        memcmp(a->table_uuid, none, LB_UUID_LEN) != 0 &&
        memcmp(a->table_uuid, st->table_uuid, LB_UUID_LEN) != 0) {
        memcpy(d->table_uuid, a->table_uuid, LB_UUID_LEN);
        d->elsewhere = 1;
        d->log(LB_LOG_WARN,
               "another table has taken the name %s while the outcome of a "
               "batch of %llu rows was unknown: asking in the one it was sent "
               "to",
               st->table, (unsigned long long)st->rows);
        return 1;
    }

    if (d->claimed && a->replicated && (d->ask_flags & LB_ASK_NO_REPLICAS)) {
        trouble(d, LB_LOG_ERROR,
                "ClickHouse answers success to token %s and does not show its "
                "%llu rows; whether this replica is only behind cannot be "
                "seen: grant SELECT ON system.replicas. Asking again",
                st->token, (unsigned long long)st->rows);
        return 0;
    }

    return not_in(d);
}

/* An answer to a question that is an error: 1 if it is dealt with. */
static int
cannot_ask(lb_deliver_t *d, int *rc)
{
    lb_ch_result_t *r = &d->result;
    unsigned flag = 0;
    const char *what = "";

    if (r->code == LB_CH_ACCESS_DENIED) {
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
    }

    if (flag != 0 && !(d->ask_flags & flag)) {
        d->ask_flags |= flag;
        d->log(LB_LOG_WARN, "the user may not read %s", what);
        *rc = 1;
        return 1;
    }

    if (r->outcome == LB_CH_NOT_SENT) {
        d->counters.not_sent++;
    } else if (r->outcome == LB_CH_REFUSED) {
        d->counters.refused++;
    }

    return 0;
}

/* Makes a request; frees the SQL. */
static void
query(lb_deliver_t *d, char *sql)
{
    if (sql == NULL) {
        memset(&d->result, 0, offsetof(lb_ch_result_t, answer) + 1);
        d->result.outcome = LB_CH_UNKNOWN;
        (void)snprintf(d->result.text, sizeof(d->result.text),
                       "no memory for the question");
        return;
    }

    d->counters.requests++;
    d->counters.checks++;
    d->transport->query(d->transport->ctx, sql, &d->result);
    free(sql);
}

/* The table that the batch was fixed for has lost its name. */
static int
look_elsewhere(lb_deliver_t *d)
{
    char *sql = malloc(256);
    lb_ch_result_t *r = &d->result;
    size_t len;

    if (sql != NULL) {
        lb_question_where(d->state->table_uuid, sql, 256);
    }

    query(d, sql);

    if (r->outcome != LB_CH_DONE) {
        int rc = 0;

        if (!cannot_ask(d, &rc)) {
            trouble(d, LB_LOG_WARN, "cannot ask where table %s went: %s",
                    d->state->table, r->text);
            move_on(d);
        }
        return rc;
    }

    len = strcspn(r->answer, "\n");

    if (len > 0 && len <= LB_TABLE_MAX && strchr(r->answer, '.') != NULL) {
        (void)snprintf(d->other, sizeof(d->other), "%.*s", (int)len, r->answer);
        return 1;
    }

    d->log(LB_LOG_WARN,
           "the table that a batch of %llu rows was sent to is gone (or this "
           "user may not see it): the batch goes to %s as it is now",
           (unsigned long long)d->state->rows, d->state->table);

    return not_in(d);
}

static int
ask(lb_deliver_t *d)
{
    int rc;
    char prefix[LB_TOKEN_PREFIX];
    lb_answer_t answer;
    lb_ch_result_t *r = &d->result;
    const char *table = d->state->table;

    static const uint8_t none[LB_UUID_LEN];

    if (d->elsewhere) {
        if (d->other[0] == '\0') {
            return look_elsewhere(d);
        }
        table = d->other;
    }

    d->gone &= d->elsewhere;

    lb_question_prefix(lb_spool_uuid(d->spool), prefix);
    query(d, lb_question_batch(d->state, table, prefix, d->ask_flags));

    if (r->outcome == LB_CH_DONE &&
        lb_question_batch_answer(r->answer, &answer) == 0) {
        return judge(d, &answer);
    }

    if (cannot_ask(d, &rc)) {
        return rc;
    }

    if (r->code == LB_CH_ACCESS_DENIED && d->elsewhere) {
        trouble(d, LB_LOG_ERROR,
                "a batch of %llu rows was sent to the table that is now %s, "
                "and this user may not see whether it is there: GRANT "
                "SELECT(received_at, ring, seq) ON %s, or give the table its "
                "name back. Nothing is sent until then",
                (unsigned long long)d->state->rows, table, table);
        d->other[0] = '\0';
        return 0;
    }

    if (r->code == LB_CH_UNKNOWN_TABLE || r->code == LB_CH_UNKNOWN_DATABASE) {

        if (d->elsewhere) {
            /* it has moved on: where to? */
            d->other[0] = '\0';
            return 0;
        }

        d->gone = 1;

        if (memcmp(d->state->table_uuid, none, LB_UUID_LEN) != 0) {
            d->elsewhere = 1;
            return 1;
        }

        if (other_table(d)) {
            return not_in(d);
        }
    }

    trouble(d, LB_LOG_WARN, "cannot ask about the batch of %llu rows: %s",
            (unsigned long long)d->state->rows,
            r->text[0] != '\0' ? r->text : r->answer);
    move_on(d);

    return 0;
}

/*
 * Doubt
 */

/* Rows between the first and the last in the table that are dead letters: a
 * batch goes without those that break a constraint. */
static uint64_t
set_aside_between(lb_deliver_t *d, const lb_beyond_t *b)
{
    uint64_t offset = 0, n = 0;
    lb_dead_letter_t letter;

    while (lb_dead_next(d->dead, &offset, &letter)) {
        n += letter.kind == LB_DEAD_ROW &&
             memcmp(letter.ring, b->ring, LB_UUID_LEN) == 0 &&
             letter.first_seq >= b->first_seq &&
             letter.first_seq <= b->last_seq;
    }

    return n;
}

/* Acks what is in the table behind the acked positions.  0, or -1: it does not
 * look like batches of ours. */
static int
take_over(lb_deliver_t *d, const lb_beyond_t *beyond, uint32_t n)
{
    int rc;
    char uuid[LB_UUID_TEXT];
    uint32_t i;
    uint64_t position, rows = 0;
    lb_ckpt_ring_t *e;
    lb_flusher_ring_t *r;

    for (i = 0; i < n; i++) {
        e = lb_ckpt_find(d->state, beyond[i].ring);
        r = e != NULL ? lb_rings_find(d->rings, e->uuid) : NULL;
        lb_uuid_format(beyond[i].ring, uuid);

        if (r == NULL) {
            trouble(d, LB_LOG_ERROR,
                    "ClickHouse holds rows of ring %s, which is gone: put its "
                    "file back",
                    uuid);
            return -1;
        }

        if (beyond[i].first_seq < e->acked_seq ||
            beyond[i].last_seq - beyond[i].first_seq + 1 !=
                beyond[i].rows + set_aside_between(d, &beyond[i])) {
            trouble(d, LB_LOG_ERROR,
                    "ClickHouse holds %llu rows of ring %s from seq %llu to "
                    "%llu, behind the acked seq %llu: not one batch. Does "
                    "another flusher deliver the same ring? Nothing is sent",
                    (unsigned long long)beyond[i].rows, uuid,
                    (unsigned long long)beyond[i].first_seq,
                    (unsigned long long)beyond[i].last_seq,
                    (unsigned long long)e->acked_seq);
            return -1;
        }

        rc = lb_batch_locate(r, e, beyond[i].last_seq + 1, &position);
        if (rc != 0) {
            trouble(d, LB_LOG_ERROR,
                    "ClickHouse holds rows of ring %s up to seq %llu, which "
                    "are not in its file: put the right file back. Nothing is "
                    "sent",
                    uuid, (unsigned long long)beyond[i].last_seq);
            return -1;
        }
    }

    for (i = 0; i < n; i++) {
        e = lb_ckpt_find(d->state, beyond[i].ring);
        r = lb_rings_find(d->rings, e->uuid);
        (void)lb_batch_locate(r, e, beyond[i].last_seq + 1, &position);

        /* what lies between was set aside before that batch, or of it */
        d->state->dead +=
            beyond[i].last_seq + 1 - e->acked_seq - beyond[i].rows;
        d->state->delivered += beyond[i].rows;
        rows += beyond[i].rows;
        e->acked = position;
        e->acked_seq = beyond[i].last_seq + 1;
    }

    d->log(LB_LOG_WARN,
           "%llu rows behind the checkpoint were in ClickHouse already; going "
           "on behind them",
           (unsigned long long)rows);

    return 0;
}

static int
settle_doubt(lb_deliver_t *d)
{
    int rc;
    char prefix[LB_TOKEN_PREFIX];
    uint32_t i, n;
    uint64_t from_us, to_us;
    lb_answer_t answer;
    lb_ch_result_t *r = &d->result;

    static lb_beyond_t beyond[LB_SLOTS_MAX];

    for (i = 0; i < d->rings->n; i++) {
        if (!d->rings->ring[i].broken) {
            /* an older checkpoint may not know of it */
            (void)lb_rings_entry(d->state, &d->rings->ring[i]);
        }
    }

    if (d->rings->trouble.code != 0) {
        trouble(d, LB_LOG_ERROR,
                "nothing is sent until every ring can be read, for it is not "
                "known what of them is in ClickHouse: %s",
                d->rings->trouble.text);
        return 0;
    }

    if (d->state->table[0] == '\0') {
        (void)snprintf(d->state->table, sizeof(d->state->table), "%s.%s",
                       d->options->database, d->options->table);
    }

    lb_batch_span(d->rings, d->state, &from_us, &to_us);
    lb_question_prefix(lb_spool_uuid(d->spool), prefix);
    query(d,
          lb_question_beyond(d->state, prefix, from_us, to_us, d->ask_flags));

    if (r->outcome != LB_CH_DONE ||
        lb_question_beyond_answer(r->answer, &answer, beyond, LB_SLOTS_MAX,
                                  &n) != 0) {

        if (cannot_ask(d, &rc)) {
            return rc;
        }

        if ((r->code == LB_CH_UNKNOWN_TABLE ||
             r->code == LB_CH_UNKNOWN_DATABASE) &&
            other_table(d)) {
            n = 0;
            memset(&answer, 0, sizeof(answer));
        } else {
            trouble(d, LB_LOG_WARN,
                    "cannot ask what ClickHouse holds behind the checkpoint: "
                    "%s",
                    r->text[0] != '\0' ? r->text : r->answer);
            move_on(d);
            return 0;
        }
    }

    if (answer.running > 0 || answer.behind > 0) {
        d->quiet_ms = 0;
        d->quiet_at = 0;
        trouble(d, LB_LOG_WARN,
                answer.running > 0
                    ? "an INSERT of this spool still runs: waiting for it"
                    : "this replica is behind the others: waiting for it");
        return 0;
    }

    if (n == 0 && may_come_late(d)) {
        return 0;
    }

    if (n > 0 && take_over(d, beyond, n) != 0) {
        return 0;
    }

    /* The lost state may have used the next number. */
    d->state->batch_id++;
    d->state->flags &= ~LB_CKPT_DOUBT;
    d->failures = 0;
    clear(d);

    return store_and_tell(d) == 0;
}

int
lb_deliver_step(lb_deliver_t *d)
{
    int rc;

    if (d->store_pending) {
        if (store_and_tell(d) != 0) {
            d->failures++;
            return 0;
        }
    }

    if (d->at == LB_DELIVER_EMPTY) {
        rc = fix(d);
        if (rc <= 0) {
            d->failures += rc < 0;
            return rc == 0;
        }
    }

    switch (d->at) {
    case LB_DELIVER_DOUBT:
        rc = settle_doubt(d);
        break;
    case LB_DELIVER_UNKNOWN:
        rc = ask(d);
        break;
    case LB_DELIVER_SIFT:
        rc = sift(d);
        break;
    default:
        rc = send_batch(d);
        break;
    }

    d->failures += !rc;

    return rc;
}
