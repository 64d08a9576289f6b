#include "flusher/batch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "event/lines.h"

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

/* Events of the batch in one ring: seqs have no gap inside a batch because a
 * damaged record ends the walk. */
static uint64_t
events_of(const lb_ckpt_ring_t *e)
{
    return e->end_seq - e->acked_seq;
}

void
lb_batch_clear(lb_ckpt_state_t *state)
{
    uint32_t i;

    for (i = 0; i < state->nrings; i++) {
        state->rings[i].end = state->rings[i].acked;
        state->rings[i].end_seq = state->rings[i].acked_seq;
        state->rings[i].digest = 0;
    }

    state->rows = 0;
    state->from_us = 0;
    state->to_us = 0;
}

static int
in_order(const void *a, const void *b)
{
    const lb_excluded_t *x = a, *y = b;

    if (x->entry != y->entry) {
        return x->entry < y->entry ? -1 : 1;
    }

    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

void
lb_batch_sort(lb_excluded_t *excluded, uint32_t n)
{
    qsort(excluded, n, sizeof(*excluded), in_order);
}

uint64_t
lb_batch_events(const lb_ckpt_state_t *state)
{
    uint32_t i;
    uint64_t n = 0;

    for (i = 0; i < state->nrings; i++) {
        n += events_of(&state->rings[i]);
    }

    return n;
}

/* One step of a digest: not against people who look for collisions, the seqs
 * and CRCs of a ring are not theirs to choose. */
static uint64_t
mix(uint64_t digest, uint64_t value)
{
    digest = (digest ^ value) * 0x9e3779b97f4a7c15ull;

    return digest ^ digest >> 29;
}

static uint64_t
digest_record(uint64_t digest, const lb_record_t *rec)
{
    digest = mix(digest, rec->position);
    digest = mix(digest, rec->first_seq);
    digest = mix(digest, (uint64_t)rec->payload_len << 32 | rec->payload_crc);
    digest = mix(digest, rec->received_us);

    /* 0 stands for: not known */
    return digest != 0 ? digest : 1;
}

static void
widen(const lb_record_t *rec, uint64_t *from_us, uint64_t *to_us)
{
    if (*from_us == 0 || rec->received_us < *from_us) {
        *from_us = rec->received_us;
    }

    if (rec->received_us > *to_us) {
        *to_us = rec->received_us;
    }
}

/* A record some of whose events are in the batch. */
static void
include(const lb_record_t *rec, lb_ckpt_ring_t *e, lb_ckpt_state_t *state)
{
    e->digest = digest_record(e->digest, rec);
    widen(rec, &state->from_us, &state->to_us);
}

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
        include(&rec, e, state);

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
              const lb_batch_limits_t *limits)
{
    int rc;
    uint32_t i, n = 0;
    uint64_t day, chosen = 0;
    budget_t left, share, used;
    candidate_t c[LB_SLOTS_MAX];
    lb_record_t rec;
    lb_ckpt_ring_t *e;
    lb_flusher_ring_t *r;

    lb_batch_clear(state);

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
        state->rows += events_of(c[i].e);
    }

    state->day = (uint32_t)chosen;

    return state->rows > 0;
}

/* How far a batch can have been read: after a power cut the commit cell may be
 * older than the batch, which was fixed on synced bytes. */
static uint64_t
readable(const lb_flusher_ring_t *r, const lb_ckpt_ring_t *e)
{
    return r->info.committed > e->end ? r->info.committed : e->end;
}

static int
read_failed(lb_error_t *err, int rc, uint32_t slot, uint64_t position)
{
    char buf[128];

    return lb_fail(err, rc, "cannot read ring %u at position %llu: %s", slot,
                   (unsigned long long)position,
                   lb_strerror(rc, buf, sizeof(buf)));
}

int
lb_batch_measure(lb_rings_t *rings, lb_ckpt_state_t *state, lb_error_t *err)
{
    int rc;
    uint32_t i;
    uint64_t p;
    lb_record_t rec;
    lb_ckpt_ring_t *e;
    lb_flusher_ring_t *r;

    state->from_us = 0;
    state->to_us = 0;

    for (i = 0; i < state->nrings; i++) {
        e = &state->rings[i];
        e->digest = 0;

        if (e->end_seq == e->acked_seq) {
            continue;
        }

        r = lb_rings_find(rings, e->uuid);
        if (r == NULL) {
            return read_failed(err, -ENOENT, e->slot, e->acked);
        }

        for (p = e->acked;; p = rec.next) {
            rc = lb_reader_record(r->reader, p, readable(r, e), 0, &rec);
            if (rc != 0) {
                return read_failed(err, rc, e->slot, p);
            }
            if (rec.first_seq + rec.events > e->acked_seq) {
                include(&rec, e, state);
            }
            if (rec.first_seq + rec.events >= e->end_seq) {
                break;
            }
        }
    }

    return 0;
}

void
lb_batch_span(lb_rings_t *rings, lb_ckpt_state_t *state, uint64_t *from_us,
              uint64_t *to_us)
{
    uint32_t i;
    uint64_t p, end;
    lb_record_t rec;
    lb_ckpt_ring_t *e;
    lb_flusher_ring_t *r;

    *from_us = 0;
    *to_us = 0;

    for (i = 0; i < state->nrings; i++) {
        e = &state->rings[i];
        r = lb_rings_find(rings, e->uuid);
        if (r == NULL) {
            continue;
        }

        end = readable(r, e);

        for (p = e->acked; p - e->acked < LB_BATCH_MAX; p = rec.next) {
            if (lb_reader_record(r->reader, p, end, 0, &rec) != 0) {
                break;
            }
            widen(&rec, from_us, to_us);
        }
    }
}

int
lb_batch_locate(lb_flusher_ring_t *r, const lb_ckpt_ring_t *e, uint64_t seq,
                uint64_t *position)
{
    int rc;
    lb_record_t rec;

    for (*position = e->acked;; *position = rec.next) {

        if (*position == r->info.committed && seq == r->info.next_seq) {
            return 0;
        }

        rc = lb_reader_record(r->reader, *position, readable(r, e), 0, &rec);
        if (rc != 0) {
            return rc;
        }

        if (seq < rec.first_seq + rec.events) {
            return 0;
        }

        /* what comes next may be damaged, which is none of our business */
        if (seq == rec.first_seq + rec.events) {
            *position = rec.next;
            return 0;
        }
    }
}

/*
 * Source
 */

struct lb_batch_source_s {
    lb_rings_t *rings;
    const lb_ckpt_state_t *state;
    const lb_excluded_t *excluded; /* the next one, */
    uint32_t nexcluded;            /* and how many there are from it on */
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
    uint64_t digest; /* of the records of this entry so far */

    lb_lines_t lines; /* of the payload */
    uint8_t *line;    /* an event that does not fit a view */
    size_t line_len;
    size_t line_cap;

    int done;
    int damaged;
};

lb_batch_source_t *
lb_batch_source_new(lb_rings_t *rings, const lb_ckpt_state_t *state,
                    const lb_excluded_t *excluded, uint32_t n)
{
    lb_batch_source_t *s = calloc(1, sizeof(*s));

    if (s == NULL) {
        return NULL;
    }

    s->rings = rings;
    s->state = state;
    s->excluded = excluded;
    s->nexcluded = n;
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
    s->damaged = rc == LB_ECORRUPT || rc == -EIO;

    return rc;
}

int
lb_batch_source_damaged(const lb_batch_source_t *s)
{
    return s->damaged;
}

static int
add(lb_batch_source_t *s, const uint8_t *event, size_t len)
{
    const lb_ckpt_ring_t *e = &s->state->rings[s->entry];
    uint64_t seq = s->seq++;

    if (seq < e->acked_seq || seq >= e->end_seq) {
        return 0;
    }

    if (s->nexcluded > 0 && s->excluded->entry == s->entry &&
        s->excluded->seq == seq) {
        s->excluded++;
        s->nexcluded--;
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
    size_t n;
    uint64_t end = s->rec.payload + s->rec.payload_len;
    const uint8_t *data;
    lb_line_t line;

    while (s->at < end && !lb_native_full(s->native)) {

        rc = lb_reader_view(s->r->reader, s->at, end, 1, &data, &n);
        if (rc != 0) {
            return source_failed(s, rc, "cannot read a ring");
        }

        lb_lines_view(&s->lines, data, n);

        while (!lb_native_full(s->native) && lb_lines_next(&s->lines, &line)) {

            if (line.context) {
                continue;
            }

            if (line.begins && line.ends) {
                rc = add(s, line.data, line.len);

            } else {
                rc = keep(s, line.data, line.len);
                if (rc == 0 && line.ends) {
                    rc = add(s, s->line, s->line_len);
                    s->line_len = 0;
                }
            }

            if (rc != 0) {
                return source_failed(s, rc, "cannot encode an event");
            }
        }

        n = (size_t)(s->lines.at - data);
        s->crc = lb_crc32c(s->crc, data, n);
        s->at += n;
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

        if (e->end_seq == e->acked_seq) {
            s->entry++;
            continue;
        }

        if (s->r != NULL && s->seq >= e->end_seq) {
            if (e->digest != 0 && s->digest != e->digest) {
                return source_failed(s, LB_ECORRUPT,
                                     "the records of the batch");
            }
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
            s->digest = 0;
        }

        end = readable(s->r, e);

        rc = lb_reader_record(s->r->reader, s->position, end, 0, &s->rec);
        if (rc != 0) {
            return source_failed(s, rc, "a record of the batch");
        }

        rc = lb_native_record(s->native, e->uuid, &s->rec);
        if (rc != 0) {
            return source_failed(s, rc, "cannot encode an event");
        }

        if (s->rec.first_seq + s->rec.events > e->acked_seq) {
            s->digest = digest_record(s->digest, &s->rec);
        }

        s->seq = s->rec.first_seq;
        s->at = s->rec.payload;
        s->crc = 0;
        lb_lines_start(&s->lines);
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
