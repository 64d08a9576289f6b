#include "flusher/batch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Set aside
 */

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

        if (e == NULL || e->acked >= r->info.committed) {
            continue;
        }

        rc = lb_reader_sync(r->reader, &r->info);

        if (rc == 0) {
            rc = lb_reader_record(r->reader, e->acked, r->info.committed, 1,
                                  &rec);
        }

        if (rc == LB_ECORRUPT) {
            rc = set_aside(rings, r, e, state, dead, err);
            if (rc < 0) {
                return rc;
            }
            n += rc;
            continue;
        }

        if (rc != 0) {
            lb_rings_leave(rings, r, rc);
        }
    }

    return n;
}

/*
 * Pick
 */

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
take(lb_rings_t *rings, lb_flusher_ring_t *r, lb_ckpt_ring_t *e, uint64_t day,
     budget_t *left)
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

/* Rows of the batch in one ring: seqs have no gap inside a batch because a
 * damaged record ends the walk. */
static uint64_t
rows_of(const lb_ckpt_ring_t *e)
{
    return e->end_seq - e->acked_seq;
}

int
lb_batch_pick(lb_rings_t *rings, lb_ckpt_state_t *state,
              const lb_batch_limits_t *limits)
{
    int rc;
    uint32_t i, n = 0;
    uint64_t day, first_day = UINT64_MAX;
    budget_t left, share, used;
    candidate_t c[LB_SLOTS_MAX];
    lb_record_t rec;
    lb_ckpt_ring_t *e;
    lb_flusher_ring_t *r;

    for (i = 0; i < state->nrings; i++) {
        state->rings[i].end = state->rings[i].acked;
        state->rings[i].end_seq = state->rings[i].acked_seq;
    }

    state->rows = 0;

    for (i = 0; i < rings->n; i++) {
        r = &rings->ring[i];
        e = lb_ckpt_find(state, r->info.uuid);

        if (e == NULL || e->acked >= r->info.committed) {
            continue;
        }

        /* What a batch is fixed on must never change. */
        rc = lb_reader_sync(r->reader, &r->info);

        if (rc == 0) {
            rc = lb_reader_record(r->reader, e->acked, r->info.committed, 1,
                                  &rec);
        }

        if (rc == LB_ECORRUPT) {
            continue;
        }

        if (rc != 0) {
            lb_rings_leave(rings, r, rc);
            continue;
        }

        if (rec.first_seq > e->acked_seq) {
            /* the events before it were set aside or cut off */
            e->acked_seq = rec.first_seq;
            e->end_seq = rec.first_seq;
        }

        day = rec.received_us / LB_DAY_US;

        if (day < first_day) {
            first_day = day;
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

        take(rings, &rings->ring[c[i].index], c[i].e, first_day, &used);

        left.rows -= share.rows - used.rows;
        left.bytes -= share.bytes - used.bytes;
        state->rows += rows_of(c[i].e);
    }

    state->day = (uint32_t)first_day;

    return state->rows > 0;
}

/*
 * Source
 */

struct lb_batch_source_s {
    lb_rings_t *rings;
    const lb_ckpt_state_t *state;
    lb_native_t *native;
    char error[256];

    uint32_t entry;       /* of state->rings */
    lb_flusher_ring_t *r; /* of that entry; NULL: not entered yet */
    uint64_t position;    /* of the next record */
    uint64_t seq;         /* of the next event */

    int in_record;
    lb_record_t rec;
    uint64_t at; /* position inside the payload */
    uint32_t crc;

    uint8_t *line; /* an event that does not fit a view */
    size_t line_len;
    size_t line_cap;

    int done;
};

lb_batch_source_t *
lb_batch_source_new(lb_rings_t *rings, const lb_ckpt_state_t *state)
{
    lb_batch_source_t *s = calloc(1, sizeof(*s));

    if (s == NULL) {
        return NULL;
    }

    s->rings = rings;
    s->state = state;
    s->native = lb_native_new(state->broker);

    if (s->native == NULL) {
        free(s);
        return NULL;
    }

    return s;
}

void
lb_batch_source_free(lb_batch_source_t *s)
{
    if (s != NULL) {
        lb_native_free(s->native);
        free(s->line);
        free(s);
    }
}

const char *
lb_batch_source_error(const lb_batch_source_t *s)
{
    return s->error;
}

static int
source_failed(lb_batch_source_t *s, int rc, const char *what)
{
    char buf[128];

    (void)snprintf(s->error, sizeof(s->error), "%s: %s", what,
                   lb_strerror(rc, buf, sizeof(buf)));

    return rc;
}

static int
add(lb_batch_source_t *s, const uint8_t *event, size_t len)
{
    const lb_ckpt_ring_t *e = &s->state->rings[s->entry];
    uint64_t seq = s->seq++;

    if (seq < e->acked_seq || seq >= e->end_seq) {
        return 0;
    }

    return lb_native_add(s->native, event, len, seq);
}

static int
keep(lb_batch_source_t *s, const uint8_t *data, size_t len)
{
    size_t cap;
    uint8_t *line;

    if (s->line_cap - s->line_len < len) {
        cap = s->line_cap * 2 > 65536 ? s->line_cap * 2 : 65536;
        if (cap < s->line_len + len) {
            cap = s->line_len + len;
        }
        line = realloc(s->line, cap);
        if (line == NULL) {
            return -ENOMEM;
        }
        s->line = line;
        s->line_cap = cap;
    }

    memcpy(s->line + s->line_len, data, len);
    s->line_len += len;

    return 0;
}

/* Goes on in the current record until the block is full or its end. */
static int
feed_record(lb_batch_source_t *s)
{
    int rc;
    size_t n, len;
    uint64_t end = s->rec.payload + s->rec.payload_len;
    const uint8_t *data, *p, *nl;

    while (s->at < end && !lb_native_full(s->native)) {

        rc = lb_reader_view(s->r->reader, s->at, end, 1, &data, &n);
        if (rc != 0) {
            return source_failed(s, rc, "cannot read a ring");
        }

        for (p = data; p < data + n && !lb_native_full(s->native);) {

            nl = memchr(p, '\n', (size_t)(data + n - p));
            len = (size_t)((nl != NULL ? nl : data + n) - p);

            if (nl == NULL || s->line_len > 0) {
                rc = keep(s, p, len);
                if (rc == 0 && nl != NULL) {
                    rc = add(s, s->line, s->line_len);
                    s->line_len = 0;
                }
            } else {
                rc = add(s, p, len);
            }

            if (rc != 0) {
                return source_failed(s, rc, "cannot encode an event");
            }

            p += len + (nl != NULL);
        }

        s->crc = lb_crc32c(s->crc, data, (size_t)(p - data));
        s->at += (uint64_t)(p - data);
    }

    if (s->at == end) {
        /* The batch was fixed on these very bytes. */
        if (s->crc != s->rec.payload_crc || s->line_len > 0) {
            return source_failed(s, LB_ECORRUPT, "a record of the batch");
        }
        s->position = s->rec.next;
        s->in_record = 0;
    }

    return 0;
}

/* Fills the block until it is full or the batch ends. */
static int
feed(lb_batch_source_t *s)
{
    int rc;
    uint64_t end;
    const lb_ckpt_ring_t *e;

    while (!s->done && !lb_native_full(s->native)) {

        if (s->in_record) {
            rc = feed_record(s);
            if (rc != 0) {
                return rc;
            }
            continue;
        }

        if (s->entry == s->state->nrings) {
            s->done = 1;
            break;
        }

        e = &s->state->rings[s->entry];

        if (e->end_seq == e->acked_seq ||
            (s->r != NULL && s->seq >= e->end_seq)) {
            s->entry++;
            s->r = NULL;
            continue;
        }

        if (s->r == NULL) {
            s->r = lb_rings_find(s->rings, e->uuid);
            if (s->r == NULL) {
                return source_failed(s, -ENOENT, "a ring of the batch");
            }
            s->position = e->acked;
            s->seq = e->acked_seq;
        }

        /* After a power cut the commit cell may be older than the batch,
         * which was fixed on synced bytes. */
        end = s->r->info.committed > e->end ? s->r->info.committed : e->end;

        rc = lb_reader_record(s->r->reader, s->position, end, 0, &s->rec);
        if (rc != 0) {
            return source_failed(s, rc, "a record of the batch");
        }

        rc = lb_native_record(s->native, e->uuid, &s->rec);
        if (rc != 0) {
            return source_failed(s, rc, "cannot encode an event");
        }

        s->seq = s->rec.first_seq;
        s->at = s->rec.payload;
        s->crc = 0;
        s->in_record = 1;
    }

    return 0;
}

long
lb_batch_source_read(void *source, void *buf, size_t size)
{
    int rc;
    size_t n;
    lb_batch_source_t *s = source;

    for (;;) {
        n = lb_native_take(s->native, buf, size);
        if (n > 0) {
            return (long)n;
        }

        if (s->done) {
            return 0;
        }

        rc = feed(s);

        if (rc == 0) {
            rc = lb_native_close(s->native);
        }

        if (rc != 0) {
            return rc;
        }
    }
}
