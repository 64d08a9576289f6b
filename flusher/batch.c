#include "flusher/batch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Events of the batch in one ring: seqs have no gap inside a batch because a
 * damaged record ends the walk. */
uint64_t
lb_batch_events_of(const lb_ckpt_ring_t *e)
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
        state->rings[i].from_us = 0;
        state->rings[i].to_us = 0;
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
        n += lb_batch_events_of(&state->rings[i]);
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

uint64_t
lb_batch_digest(uint64_t digest, const lb_record_t *rec)
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
void
lb_batch_include(const lb_record_t *rec, lb_ckpt_ring_t *e,
                 lb_ckpt_state_t *state)
{
    e->digest = lb_batch_digest(e->digest, rec);
    widen(rec, &e->from_us, &e->to_us);
    widen(rec, &state->from_us, &state->to_us);
}

/* How far a batch can have been read: after a power cut the commit cell may be
 * older than the batch, which was fixed on synced bytes. */
uint64_t
lb_batch_readable(const lb_flusher_ring_t *r, const lb_ckpt_ring_t *e)
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
        e->from_us = 0;
        e->to_us = 0;

        if (e->end_seq == e->acked_seq) {
            continue;
        }

        r = lb_rings_find(rings, e->uuid);
        if (r == NULL) {
            return read_failed(err, -ENOENT, e->slot, e->acked);
        }

        for (p = e->acked;; p = rec.next) {
            rc = lb_reader_record(r->reader, p, lb_batch_readable(r, e), 0,
                                  &rec);
            if (rc != 0) {
                return read_failed(err, rc, e->slot, p);
            }
            if (rec.first_seq + rec.events > e->acked_seq) {
                lb_batch_include(&rec, e, state);
            }
            if (rec.first_seq + rec.events >= e->end_seq) {
                break;
            }
        }
    }

    return 0;
}

void
lb_batch_times(lb_rings_t *rings, lb_ckpt_state_t *state)
{
    uint32_t i;

    static lb_ckpt_state_t copy;

    copy = *state;
    if (lb_batch_measure(rings, &copy, NULL) != 0) {
        return;
    }

    for (i = 0; i < state->nrings; i++) {
        if (copy.rings[i].digest == state->rings[i].digest) {
            state->rings[i].from_us = copy.rings[i].from_us;
            state->rings[i].to_us = copy.rings[i].to_us;
        }
    }
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

        end = lb_batch_readable(r, e);

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

        rc = lb_reader_record(r->reader, *position, lb_batch_readable(r, e), 0,
                              &rec);
        if (rc != 0) {
            return rc;
        }

        if (seq < rec.first_seq + rec.events) {
            return 0;
        }

        /* the record behind it may be damaged and is not needed */
        if (seq == rec.first_seq + rec.events) {
            *position = rec.next;
            return 0;
        }
    }
}
