#include "flusher/pick.h"

#include <stdlib.h>

/* The record at the acked position of a ring, synced and with the right CRCs:
 * what a batch is fixed on must never change.  0, LB_EEND: there is none,
 * LB_ECORRUPT: it is damaged, or an error, after which the ring is left. */
static int
first_unacked(lb_rings_t *rings, lb_flusher_ring_t *r, const lb_ckpt_ring_t *e,
              lb_record_t *rec)
{
    int rc;

    if (e == NULL || e->acked >= r->info.committed) {
        return LB_EEND;
    }

    rc = lb_reader_sync(r->reader, &r->info);

    if (rc == 0) {
        rc = lb_reader_record(r->reader, e->acked, r->info.committed, 1, rec);
    }

    if (rc != 0 && rc != LB_ECORRUPT) {
        lb_rings_leave(rings, r, rc);
    }

    return rc;
}

/* 1, or 0 if the ring cannot be read: it is left alone.  Negative: there is no
 * room for dead letters. */
static int
set_aside(lb_rings_t *rings, lb_flusher_ring_t *r, lb_ckpt_ring_t *e,
          lb_ckpt_state_t *state, lb_dead_t *dead, lb_error_t *err)
{
    int rc;
    uint64_t next, next_seq, events;
    lb_record_t rec;

    rc = lb_reader_resync(r->reader, e->acked, r->info.committed, &next);
    if (rc != 0) {
        lb_rings_leave(rings, r, rc);
        return 0;
    }

    next_seq = r->info.next_seq;

    if (next < r->info.committed) {
        rc = lb_reader_record(r->reader, next, r->info.committed, 1, &rec);
        if (rc != 0) {
            lb_rings_leave(rings, r, rc);
            return 0;
        }
        next_seq = rec.first_seq;
    }

    events = next_seq > e->acked_seq ? next_seq - e->acked_seq : 0;

    rc = lb_dead_bitrot(dead, r->reader, &r->info, e->acked, next, e->acked_seq,
                        events, err);
    if (rc != 0) {
        return rc;
    }

    state->dead += events;
    state->lost_bytes += next - e->acked;
    e->acked = next;
    e->acked_seq = next_seq;
    e->end = e->acked;
    e->end_seq = e->acked_seq;

    return 1;
}

int
lb_batch_set_aside(lb_rings_t *rings, lb_ckpt_state_t *state, lb_dead_t *dead,
                   lb_error_t *err)
{
    int rc, n = 0;
    uint32_t i;
    lb_record_t rec;
    lb_ckpt_ring_t *e;
    lb_flusher_ring_t *r;

    for (i = 0; i < rings->n; i++) {
        r = &rings->ring[i];
        e = lb_ckpt_find(state, r->info.uuid);

        if (first_unacked(rings, r, e, &rec) == LB_ECORRUPT) {
            rc = set_aside(rings, r, e, state, dead, err);
            if (rc < 0) {
                return rc;
            }
            n += rc;
        }
    }

    return n;
}

typedef struct {
    uint32_t index; /* in rings */
    lb_ckpt_ring_t *e;
    uint64_t backlog;
} candidate_t;

static int
smaller_first(const void *a, const void *b)
{
    const candidate_t *x = a, *y = b;

    return x->backlog < y->backlog ? -1 : x->backlog > y->backlog;
}

typedef struct {
    uint64_t rows;
    uint64_t bytes;
} budget_t;

/* Takes records of one day from one ring, up to a budget; into e. */
static void
take(lb_rings_t *rings, lb_ckpt_state_t *state, lb_flusher_ring_t *r,
     lb_ckpt_ring_t *e, uint64_t day, budget_t *left)
{
    int rc;
    uint64_t skip, events, bytes, fit;
    lb_record_t rec;

    while (e->end < r->info.committed && left->rows > 0 && left->bytes > 0) {

        rc = lb_reader_record(r->reader, e->end, r->info.committed, 1, &rec);

        if (rc == LB_ECORRUPT) {
            /* set aside when it is first in line */
            return;
        }

        if (rc != 0) {
            /* what was taken so far is good */
            lb_rings_leave(rings, r, rc);
            return;
        }

        if (rec.received_us / LB_DAY_US != day) {
            return;
        }

        /* the batch of a ring is one range without gaps */
        if (rec.first_seq > e->end_seq && e->end_seq > e->acked_seq) {
            return;
        }

        /* events of this record that earlier batches had */

        skip = e->end_seq > rec.first_seq ? e->end_seq - rec.first_seq : 0;

        if (skip >= rec.events) {
            e->end = rec.next;
            continue;
        }

        events = rec.events - skip;
        bytes = (uint64_t)rec.payload_len * events / rec.events + 1;
        fit = events;

        if (bytes > left->bytes) {
            /* as many as fit by their average size, at least one */
            fit = left->bytes * rec.events / ((uint64_t)rec.payload_len + 1);
            fit = fit > 0 ? fit : 1;
            fit = fit < events ? fit : events;
        }

        if (fit > left->rows) {
            fit = left->rows;
        }

        e->end_seq = rec.first_seq + skip + fit;
        lb_batch_include(&rec, e, state);

        if (fit < events) {
            e->end = rec.position;
            left->rows -= fit;
            left->bytes = 0;
            return;
        }

        e->end = rec.next;
        left->rows -= fit;
        left->bytes -= bytes < left->bytes ? bytes : left->bytes;
    }
}

int
lb_batch_pick(lb_rings_t *rings, lb_ckpt_state_t *state,
              lb_batch_limits_t *limits)
{
    uint32_t i, n = 0;
    uint64_t day, chosen = 0;
    budget_t left, share, used;
    candidate_t c[LB_SLOTS_MAX];
    lb_record_t rec;
    lb_ckpt_ring_t *e;
    lb_flusher_ring_t *r;

    lb_batch_clear(state);
    limits->full = 0;

    for (i = 0; i < rings->n; i++) {
        r = &rings->ring[i];
        e = lb_ckpt_find(state, r->info.uuid);

        if (first_unacked(rings, r, e, &rec) != 0) {
            continue;
        }

        if (rec.first_seq > e->acked_seq) {
            /* the events before it were set aside or cut off */
            e->acked_seq = rec.first_seq;
            e->end_seq = rec.first_seq;
        }

        day = rec.received_us / LB_DAY_US;

        if (n == 0 || (limits->newest ? day > chosen : day < chosen)) {
            chosen = day;
        }

        c[n].index = i;
        c[n].e = e;
        c[n].backlog = r->info.committed - e->acked;
        n++;
    }

    if (n == 0) {
        return 0;
    }

    /* Smallest backlog first: what a ring does not use of its share goes to
     * those that can. */

    qsort(c, n, sizeof(c[0]), smaller_first);

    left.rows = limits->max_rows;
    left.bytes = limits->max_bytes;

    for (i = 0; i < n && left.rows > 0 && left.bytes > 0; i++) {
        share.rows = (left.rows + n - i - 1) / (n - i);
        share.bytes = (left.bytes + n - i - 1) / (n - i);
        used = share;

        take(rings, state, &rings->ring[c[i].index], c[i].e, chosen, &used);

        left.rows -= share.rows - used.rows;
        left.bytes -= share.bytes - used.bytes;
        state->rows += lb_batch_events_of(c[i].e);
    }

    state->day = (uint32_t)chosen;
    limits->full = left.rows == 0 || left.bytes == 0;

    return state->rows > 0;
}
