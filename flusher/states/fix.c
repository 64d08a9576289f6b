#include "flusher/states/states.h"

#include <stdio.h>
#include <string.h>

#include "flusher/token.h"

/* age of events from which on the log speaks of the table's TTL */
#define LB_OLD_DAYS 7

/* An event that is a dead letter is never part of a batch again, whatever the
 * table would say to it now: the letter may be replayed.  Leaves the others as
 * the rows of the batch.  0; LB_EFULL: there are more letters than room; or
 * another error, which was said. */
static int
exclude_letters(lb_deliver_t *d)
{
    int rc;
    size_t k, n;
    uint32_t i;
    lb_error_t err;
    lb_ckpt_ring_t *e;

    static uint64_t seqs[LB_EXCLUDED_MAX];

    d->nexcluded = 0;

    for (i = 0; i < d->state->nrings; i++) {
        e = &d->state->rings[i];
        if (e->end_seq <= e->acked_seq) {
            continue;
        }

        rc = lb_dead_rows(d->dead, e->uuid, e->acked_seq, e->end_seq, seqs,
                          LB_EXCLUDED_MAX, &n, &err);
        if (rc != 0) {
            lb_deliver_trouble(d, LB_LOG_ERROR, "%s", err.text);
            return rc;
        }
        if (n > LB_EXCLUDED_MAX - d->nexcluded) {
            return LB_EFULL;
        }

        for (k = 0; k < n; k++) {
            d->excluded[d->nexcluded].entry = i;
            d->excluded[d->nexcluded++].seq = seqs[k];
        }
    }

    lb_batch_sort(d->excluded, d->nexcluded);
    d->state->rows = lb_batch_events(d->state) - d->nexcluded;

    return 0;
}

/* 1 if the batch in flight can be made as it was: by the same encoding, without
 * the same dead letters. */
int
lb_fix_same_batch(lb_deliver_t *d)
{
    int same;
    lb_ckpt_state_t *st = d->state;
    uint64_t rows = st->rows;
    char token[LB_TOKEN_MAX + 1];

    same = lb_encoder_find(d->sink->encoders, st->encoding) != NULL &&
           exclude_letters(d) == 0 && st->rows == rows;
    st->rows = rows;

    if (same && d->nexcluded > 0) {
        memcpy(token, st->token, sizeof(token));
        lb_token_make(lb_spool_uuid(d->spool), st, d->excluded, d->nexcluded);
        same = strcmp(token, st->token) == 0;
        memcpy(st->token, token, sizeof(token));
    }

    if (!same) {
        d->nexcluded = 0;
    }

    return same;
}

/* Names the batch whose ranges are in the state, and stores it. */
int
lb_fix_picked(lb_deliver_t *d)
{
    lb_ckpt_state_t *st = d->state;

    st->batch_id++;
    st->encoding = d->encoding;
    st->fixed_us = lb_now_us();
    st->flags |= LB_CKPT_IN_FLIGHT;
    (void)snprintf(st->table, sizeof(st->table), "%s.%s", d->options->database,
                   d->options->table);
    (void)snprintf(st->broker, sizeof(st->broker), "%s", d->options->broker);
    memcpy(st->table_uuid, d->table_uuid, LB_UUID_LEN);
    lb_token_make(lb_spool_uuid(d->spool), st, d->excluded, d->nexcluded);

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
    d->took_ms = -1;
    d->answered = 0;

    /* On failure the batch stays fixed in memory and the store is repeated
     * before anything is sent. */

    return lb_deliver_store(d);
}

/* Fixes what is chosen, without dead letters; the state is then FIXED, or
 * EMPTY if nothing is left of it.  0, or -1. */
static int
fix_chosen(lb_deliver_t *d)
{
    int rc = exclude_letters(d);

    if (rc != 0) {
        lb_deliver_clear(d);
        if (rc != LB_EFULL) {
            return -1;
        }
        d->poison.limit = LB_EXCLUDED_MAX;
        return lb_deliver_store(d);
    }

    return d->state->rows == 0 ? lb_deliver_ack(d) : lb_fix_picked(d);
}

int
lb_fix_measure(lb_deliver_t *d)
{
    lb_error_t err;

    if (lb_batch_measure(d->rings, d->state, &err) != 0) {
        lb_deliver_trouble(d, LB_LOG_ERROR, "%s", err.text);
        return -1;
    }

    return 0;
}

/* The same for ranges that others than lb_batch_pick have chosen. */
int
lb_fix_ranges(lb_deliver_t *d)
{
    return lb_fix_measure(d) == 0 ? fix_chosen(d) : -1;
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
    lb_deliver_say(
        d, LB_LOG_WARN,
        "sending events that were received %lld days ago, or by a clock "
        "that was wrong then: if the TTL of %s.%s is shorter, ClickHouse "
        "removes them as soon as they are in; ALTER TABLE ... MODIFY TTL "
        "or REMOVE TTL keeps them",
        (long long)days, d->options->database, d->options->table);
}

/* Chooses a batch and fixes it.  1: there is one, 0: nothing to do, -1. */
int
lb_state_empty(lb_deliver_t *d)
{
    int rc;
    lb_error_t err;
    lb_batch_limits_t limits;
    lb_ckpt_state_t *st = d->state;

    (void)lb_rings_enter(d->rings, st);
    d->size.full = 0;

    rc = lb_batch_set_aside(d->rings, st, d->dead, &err);

    if (rc < 0) {
        lb_deliver_trouble(d, LB_LOG_ERROR, "%s", err.text);
        return -1;
    }

    if (rc > 0) {
        lb_deliver_trouble(
            d, LB_LOG_ERROR,
            "%d damaged places in the rings were set aside as dead "
            "letters (%llu bytes and %llu events since the spool was "
            "made)",
            rc, (unsigned long long)st->lost_bytes,
            (unsigned long long)st->dead);
        if (lb_deliver_store_and_tell(d) != 0) {
            return -1;
        }
    }

    if (d->poison.nsuspects > 0) {
        rc = lb_poison_pick(&d->poison, d->rings, st, &err);
        if (rc < 0) {
            lb_deliver_trouble(d, LB_LOG_ERROR, "%s", err.text);
        } else if (rc > 0 && lb_fix_ranges(d) == 0) {
            return d->at == LB_DELIVER_FIXED;
        }
        if (rc != 0 && d->at == LB_DELIVER_FIXED) {
            return -1;
        }
        /* a ring of theirs cannot be read: the others go on */
        if (rc != 0) {
            d->poison.nsuspects = 0;
        }
    }

    lb_size_limit(&d->size, d->options, &limits);
    if (d->poison.limit > 0 && d->poison.limit < limits.max_rows) {
        limits.max_rows = d->poison.limit;
    }

    /* Events of today do not wait until a backlog of days ago is in. */
    limits.newest = d->turns++ & 1;

    if (!lb_batch_pick(d->rings, st, &limits)) {
        return 0;
    }

    d->size.full = limits.full && d->poison.limit == 0;

    tell_age(d);

    return fix_chosen(d) != 0 ? -1 : d->at == LB_DELIVER_FIXED;
}
