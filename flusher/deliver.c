#include "flusher/states/states.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spool/lb_clock.h"
#include "spool/lb_uuid.h"

/* What alerting can go by: of the batch that the line is about. */
static void
say(lb_deliver_t *d, int level, const char *text)
{
    if (d->state->flags & LB_CKPT_IN_FLIGHT) {
        d->log(level, "%s token=%s", text, d->state->token);
    } else {
        d->log(level, "%s", text);
    }
}

void
lb_deliver_say(lb_deliver_t *d, int level, const char *fmt, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);

    say(d, level, text);
}

void
lb_deliver_trouble(lb_deliver_t *d, int level, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(d->last_error, sizeof(d->last_error), fmt, ap);
    va_end(ap);

    d->last_error_us = lb_now_us();
    say(d, level, d->last_error);
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

int
lb_deliver_store(lb_deliver_t *d)
{
    lb_error_t err;

    d->store_pending = 1;

    if (lb_ckpt_store(d->ckpt, d->state, &err) != 0) {
        lb_deliver_trouble(d, LB_LOG_ERROR,
                           "%s; nothing is sent until it succeeds", err.text);
        return -1;
    }

    d->store_pending = 0;

    return 0;
}

/* Once the state is stored the writers may reuse what is acked. */
int
lb_deliver_store_and_tell(lb_deliver_t *d)
{
    if (lb_deliver_store(d) != 0) {
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

/* What the table had columns for when the last batch was fixed; it need not be
 * looked at again before the next one. */
static void
remember_columns(lb_deliver_t *d)
{
    const lb_ckpt_state_t *st = d->state;
    uint32_t columns = 0;

    if (lb_encoder_find(d->sink->encoders, st->encoding) != NULL &&
        !lb_settle_other_table(d)) {
        columns = LB_ENCODING_COLUMNS(st->encoding);
    }

    d->encoding = LB_ENCODING(d->sink->encoders[0]->version, columns);
    d->looked = columns != 0;
}

void
lb_deliver_table(lb_deliver_t *d, uint32_t encoding)
{
    lb_ckpt_state_t *st = d->state;
    uint32_t gone = LB_ENCODING_COLUMNS(st->encoding & ~encoding);

    d->encoding = encoding;
    d->looked = 1;

    if (!(st->flags & LB_CKPT_IN_FLIGHT) || lb_settle_other_table(d)) {
        return;
    }

    if (d->at == LB_DELIVER_FIXED && !d->repeated) {
        if (st->encoding != encoding) {
            (void)lb_fix_picked(d);
        }
        return;
    }

    if (gone != 0 && d->blame == LB_BLAME_NONE &&
        (d->at == LB_DELIVER_FIXED || d->at == LB_DELIVER_UNKNOWN)) {
        lb_deliver_say(d, LB_LOG_WARN,
                       "the table %s has lost columns that a batch of %llu "
                       "rows was fixed for: asking whether it is in",
                       st->table, (unsigned long long)st->rows);
        d->blame = LB_BLAME_TABLE;
        d->at = LB_DELIVER_UNKNOWN;
    }
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
    remember_columns(d);

    if (is_old(d)) {
        d->state->flags |= LB_CKPT_DOUBT;
        lb_deliver_say(d, LB_LOG_WARN,
                       "the checkpoint is older than the acks in the rings, as "
                       "one restored from a backup is");
    }

    if (d->state->flags & LB_CKPT_DOUBT) {
        d->at = LB_DELIVER_DOUBT;
        d->loose = 1;
        lb_deliver_say(
            d, LB_LOG_WARN,
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

    lb_batch_times(d->rings, d->state);
    d->at = LB_DELIVER_UNKNOWN;
    d->repeated = 1;
    d->took_ms = -1;
    d->loose = 1;
    d->blame = lb_fix_same_batch(d) ? LB_BLAME_NONE : LB_BLAME_BYTES;
    lb_deliver_say(d, LB_LOG_INFO,
                   "a batch of %llu rows was in flight: asking for it",
                   (unsigned long long)d->state->rows);

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

/* There is no batch any more. */
void
lb_deliver_clear(lb_deliver_t *d)
{
    lb_batch_clear(d->state);
    d->state->flags &= ~LB_CKPT_IN_FLIGHT;
    d->nexcluded = 0;
    d->at = LB_DELIVER_EMPTY;
}

int
lb_deliver_ack(lb_deliver_t *d)
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
    lb_deliver_clear(d);
    d->failures = 0;
    d->no_sift = 0;
    d->counters.batches++;
    lb_poison_success(&d->poison, d->options->max_rows);
    lb_size_done(&d->size, d->options, d->took_ms);
    d->last_success_us = lb_now_us();

    /* The checkpoint first: if the writers knew earlier and the power went,
     * the batch would be sent again from space that is reused. */

    return lb_deliver_store_and_tell(d);
}

int
lb_deliver_step(lb_deliver_t *d)
{
    int rc;

    if (d->store_pending) {
        if (lb_deliver_store_and_tell(d) != 0) {
            d->failures++;
            return 0;
        }
    }

    if (d->at == LB_DELIVER_EMPTY) {
        rc = lb_state_empty(d);
        if (rc <= 0) {
            d->failures += rc < 0;
            return rc == 0;
        }
    }

    switch (d->at) {
    case LB_DELIVER_DOUBT:
        rc = lb_state_doubt(d);
        break;
    case LB_DELIVER_UNKNOWN:
        rc = lb_state_unknown(d);
        break;
    case LB_DELIVER_SIFT:
        rc = lb_state_sift(d);
        break;
    default:
        rc = lb_state_fixed(d);
        break;
    }

    d->failures += !rc;

    return rc;
}
