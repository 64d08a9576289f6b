#include "flusher/deliver.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

int
lb_deliver_init(lb_deliver_t *d, lb_error_t *err)
{
    char uuid[LB_UUID_TEXT];
    uint32_t i;
    lb_ckpt_ring_t *e;

    d->at = LB_DELIVER_EMPTY;

    if (!(d->state->flags & LB_CKPT_IN_FLIGHT)) {
        return 0;
    }

    if (d->state->encoding != LB_ENCODING) {
        err->code = LB_EFOREIGN;
        (void)snprintf(err->text, sizeof(err->text),
                       "the batch in flight (token %s) has encoding version "
                       "%u, this flusher knows version %u: run the release "
                       "that made it until it is delivered",
                       d->state->token, d->state->encoding, LB_ENCODING);
        return LB_EFOREIGN;
    }

    for (i = 0; i < d->state->nrings; i++) {
        e = &d->state->rings[i];

        if (e->end_seq > e->acked_seq &&
            lb_rings_find(d->rings, e->uuid) == NULL) {
            lb_uuid_format(e->uuid, uuid);
            err->code = -ENOENT;
            (void)snprintf(err->text, sizeof(err->text),
                           "ring %s (slot %u) of the batch in flight is "
                           "gone: put its file back",
                           uuid, e->slot);
            return -ENOENT;
        }
    }

    d->at = LB_DELIVER_UNKNOWN;
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

/* Names the batch whose ranges are in the state, and stores it. */
static int
fix_picked(lb_deliver_t *d)
{
    char uuid[LB_UUID_TEXT], plain[LB_UUID_TEXT], *to;
    const char *from;
    lb_ckpt_state_t *st = d->state;

    lb_uuid_format(lb_spool_uuid(d->spool), uuid);
    for (from = uuid, to = plain; *from != '\0'; from++) {
        if (*from != '-') {
            *to++ = *from;
        }
    }
    *to = '\0';

    st->batch_id++;
    st->encoding = LB_ENCODING;
    st->fixed_us = lb_now_us();
    st->flags |= LB_CKPT_IN_FLIGHT;
    (void)snprintf(st->token, sizeof(st->token), "%s-%llu-%u", plain,
                   (unsigned long long)st->batch_id, st->encoding);
    (void)snprintf(st->table, sizeof(st->table), "%s.%s", d->options->database,
                   d->options->table);
    (void)snprintf(st->broker, sizeof(st->broker), "%s", d->options->broker);

    d->at = LB_DELIVER_FIXED;
    d->surgery.blamed = 0;

    /* On failure the batch stays fixed in memory and the store is repeated
     * before anything is sent. */

    return store(d);
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
            return -1;
        }
        if (rc > 0) {
            return fix_picked(d) == 0 ? 1 : -1;
        }
    }

    limits.max_rows = d->options->max_rows;
    if (d->surgery.limit > 0 && d->surgery.limit < limits.max_rows) {
        limits.max_rows = d->surgery.limit;
    }
    limits.max_bytes = d->options->max_bytes;

    if (!lb_batch_pick(d->rings, st, &limits)) {
        return 0;
    }

    return fix_picked(d) == 0 ? 1 : -1;
}

static int
ack(lb_deliver_t *d)
{
    uint32_t i;
    lb_ckpt_state_t *st = d->state;

    for (i = 0; i < st->nrings; i++) {
        st->rings[i].acked = st->rings[i].end;
        st->rings[i].acked_seq = st->rings[i].end_seq;
    }

    st->delivered += st->rows;
    st->rows = 0;
    st->flags &= ~LB_CKPT_IN_FLIGHT;

    d->at = LB_DELIVER_EMPTY;
    d->failures = 0;
    d->counters.batches++;
    lb_surgery_success(&d->surgery, d->options->max_rows);
    d->last_success_us = lb_now_us();

    /* The checkpoint first: if the writers knew earlier and the power went,
     * the batch would be sent again from space that is reused. */

    return store_and_tell(d);
}

/* The batch's rows never got in and never will: choose again. */
static void
forget(lb_deliver_t *d)
{
    uint32_t i;
    lb_ckpt_state_t *st = d->state;

    for (i = 0; i < st->nrings; i++) {
        st->rings[i].end = st->rings[i].acked;
        st->rings[i].end_seq = st->rings[i].acked_seq;
    }

    st->rows = 0;
    st->flags &= ~LB_CKPT_IN_FLIGHT;
    d->at = LB_DELIVER_EMPTY;
}

/* "db.table" of the checkpoint as SQL. */
static void
quoted(const char *table, char *out, size_t size)
{
    const char *dot = strchr(table, '.');

    (void)snprintf(out, size, "`%.*s`.`%s`",
                   dot != NULL ? (int)(dot - table) : 0, table,
                   dot != NULL ? dot + 1 : table);
}

static int
send_batch(lb_deliver_t *d)
{
    char table[LB_TABLE_MAX + 8];
    lb_ch_insert_t insert;
    lb_ch_result_t *r = &d->result;
    lb_batch_source_t *source;

    source = lb_batch_source_new(d->rings, d->state);
    if (source == NULL) {
        trouble(d, LB_LOG_ERROR, "no memory to encode a batch");
        return 0;
    }

    quoted(d->state->table, table, sizeof(table));
    insert.table = table;
    insert.columns = lb_native_columns;
    insert.token = d->state->token;
    insert.rows = d->state->rows;
    insert.reads = d->reads != 0 ? d->reads : 1;
    insert.read = lb_batch_source_read;
    insert.arg = source;

    d->counters.requests++;
    d->transport->insert(d->transport->ctx, &insert, r);

    switch (r->outcome) {
    case LB_CH_DONE:
        lb_batch_source_free(source);
        return ack(d) == 0;
    case LB_CH_NOT_SENT:
        d->counters.not_sent++;
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
        d->transport->next_url(d->transport->ctx);
        break;
    default:
        d->counters.unknown++;
        d->at = LB_DELIVER_UNKNOWN;
        d->read_rows = r->read_rows;
        d->surgery.blamed = lb_surgery_blames_data(r->code);
        (void)snprintf(d->surgery.reason, sizeof(d->surgery.reason), "%s",
                       r->text);
        trouble(d, LB_LOG_WARN,
                "it is not known whether a batch of %llu rows got in, asking "
                "next: %s%s%s",
                (unsigned long long)insert.rows, r->text,
                lb_batch_source_error(source)[0] != '\0' ? ": " : "",
                lb_batch_source_error(source));
    }

    lb_batch_source_free(source);

    return 0;
}

/* SQL that counts the batch's rows and says whether its INSERT still runs; the
 * caller frees it. */
static char *
question(lb_deliver_t *d)
{
    char *sql, *p, *end, uuid[LB_UUID_TEXT], table[LB_TABLE_MAX + 8];
    const char * or = "";
    size_t size;
    uint32_t i;
    lb_ckpt_ring_t *e;

    size = 1024 + d->state->nrings * 128;
    sql = malloc(size);
    if (sql == NULL) {
        return NULL;
    }

    p = sql;
    end = sql + size;
    quoted(d->state->table, table, sizeof(table));

    p += snprintf(p, (size_t)(end - p),
                  "SELECT count(), %s%s%s FROM %s WHERE "
                  "toDate(received_at) = toDate(%u) AND (",
                  d->no_processes ? "0"
                                  : "(SELECT count() FROM system.processes "
                                    "WHERE query_id = '",
                  d->no_processes ? "" : d->state->token,
                  d->no_processes ? "" : "')", table, d->state->day);

    for (i = 0; i < d->state->nrings; i++) {
        e = &d->state->rings[i];
        if (e->end_seq == e->acked_seq) {
            continue;
        }
        lb_uuid_format(e->uuid, uuid);
        p += snprintf(p, (size_t)(end - p),
                      "%s(ring = '%s' AND seq BETWEEN %llu AND %llu)", or, uuid,
                      (unsigned long long)e->acked_seq,
                      (unsigned long long)e->end_seq - 1);
        or = " OR ";
    }

    (void)snprintf(p, (size_t)(end - p), ") FORMAT TabSeparated");

    return sql;
}

static int
other_table(lb_deliver_t *d)
{
    char now[LB_TABLE_MAX + 1];

    (void)snprintf(now, sizeof(now), "%s.%s", d->options->database,
                   d->options->table);

    return strcmp(now, d->state->table) != 0;
}

/* Nothing of the batch is in, and the server blames its data. */
static int
operate(lb_deliver_t *d)
{
    lb_error_t err;
    lb_ckpt_state_t *st = d->state;

    if (st->rows > 1) {
        if (lb_surgery_halve(&d->surgery, d->rings, st, &err) != 0) {
            trouble(d, LB_LOG_ERROR, "%s", err.text);
            return 0;
        }
        return fix_picked(d) == 0;
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

    forget(d);

    return store_and_tell(d) == 0;
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

static int
ask(lb_deliver_t *d)
{
    char *sql;
    unsigned long long found, running;
    lb_ch_result_t *r = &d->result;

    sql = question(d);
    if (sql == NULL) {
        trouble(d, LB_LOG_ERROR, "no memory");
        return 0;
    }

    d->counters.requests++;
    d->counters.checks++;
    d->transport->query(d->transport->ctx, sql, r);
    free(sql);

    if (r->outcome == LB_CH_DONE &&
        sscanf(r->answer, "%llu %llu", &found, &running) == 2) {

        if (found >= d->state->rows) {
            if (found > d->state->rows) {
                trouble(d, LB_LOG_ERROR,
                        "ClickHouse holds %llu rows of a batch of %llu: "
                        "duplicates, see logbroker_audit",
                        found, (unsigned long long)d->state->rows);
            } else {
                d->log(LB_LOG_INFO, "the batch of %llu rows had got in", found);
                learn_reads(d);
            }
            return ack(d) == 0;
        }

        if (running > 0) {
            trouble(d, LB_LOG_WARN, "the INSERT of %llu rows still runs",
                    (unsigned long long)d->state->rows);
            return 0;
        }

        if (found == 0 && d->surgery.blamed) {
            return operate(d);
        }

        if (found > 0) {
            /* Not from an INSERT of ours, which is atomic; the server fills
             * up what is missing by the token. */
            trouble(d, LB_LOG_ERROR,
                    "ClickHouse holds %llu rows of a batch of %llu: is the "
                    "table partitioned by anything but "
                    "toDate(received_at)? Sending it again",
                    found, (unsigned long long)d->state->rows);
        } else {
            d->log(LB_LOG_INFO,
                   "the batch of %llu rows had not got in, sending it again",
                   (unsigned long long)d->state->rows);
        }

        d->at = LB_DELIVER_FIXED;
        return 1;
    }

    if (r->code == 497 && strstr(r->text, "processes") != NULL &&
        !d->no_processes) {
        d->no_processes = 1;
        d->log(LB_LOG_WARN,
               "the user may not read system.processes: only the "
               "deduplication token protects against an INSERT that is "
               "still running; grant SELECT ON system.processes");
        return 1;
    }

    if ((r->code == 60 || r->code == 81) && other_table(d)) {
        d->log(LB_LOG_WARN,
               "there is no table %s, so the batch of %llu rows is not in it "
               "and goes to %s.%s instead",
               d->state->table, (unsigned long long)d->state->rows,
               d->options->database, d->options->table);
        forget(d);
        return store(d) == 0;
    }

    if (r->outcome == LB_CH_NOT_SENT) {
        d->counters.not_sent++;
    } else if (r->outcome == LB_CH_REFUSED) {
        d->counters.refused++;
    }

    trouble(d, LB_LOG_WARN, "cannot ask about the batch of %llu rows: %s",
            (unsigned long long)d->state->rows,
            r->text[0] != '\0' ? r->text : r->answer);
    d->transport->next_url(d->transport->ctx);

    return 0;
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

    rc = d->at == LB_DELIVER_UNKNOWN ? ask(d) : send_batch(d);

    d->failures = rc ? 0 : d->failures + 1;

    return rc;
}
