#include "flusher/rings.h"

#include <errno.h>
#include <string.h>

#include "spool/lb_claim.h"
#include "spool/lb_writer.h"

/* how often the directory is read */
#define LIST_MS 1000

void
lb_rings_init(lb_rings_t *rings, lb_spool_t *spool)
{
    memset(rings, 0, sizeof(*rings));
    rings->spool = spool;
    rings->listed = -1;
}

void
lb_rings_close(lb_rings_t *rings)
{
    while (rings->n > 0) {
        lb_reader_close(rings->ring[--rings->n].reader);
    }
}

static int
list(lb_rings_t *rings, lb_error_t *err)
{
    int i, n, rc;
    uint32_t k, slots[LB_SLOTS_MAX];
    lb_flusher_ring_t *r;

    for (k = 0; k < rings->n;) {
        r = &rings->ring[k];
        if (lb_reader_stale(r->reader)) {
            lb_reader_close(r->reader);
            *r = rings->ring[--rings->n];
        } else {
            k++;
        }
    }

    n = lb_spool_slots(rings->spool, slots, err);
    rings->unlisted = n < 0;
    if (n < 0) {
        return n;
    }

    rings->unopened = 0;

    for (i = 0; i < n; i++) {

        for (k = 0; k < rings->n; k++) {
            if (rings->ring[k].info.slot == slots[i]) {
                break;
            }
        }

        if (k < rings->n) {
            continue;
        }

        r = &rings->ring[rings->n];
        memset(r, 0, sizeof(*r));
        r->free_since = -1;

        rc = lb_reader_open(rings->spool, slots[i], 1, &r->reader,
                            &rings->trouble);
        if (rc != 0) {
            rings->trouble.code = rc;
            rings->unopened++;
            continue;
        }

        r->info.slot = slots[i];
        rings->n++;
    }

    return 0;
}

void
lb_rings_leave(lb_rings_t *rings, lb_flusher_ring_t *r, int rc)
{
    char buf[128];

    (void)lb_fail(&rings->trouble, rc,
                  "cannot read ring %u of spool \"%.300s\": %s; its events "
                  "wait, the other rings go on ring=%u",
                  r->info.slot, lb_spool_path(rings->spool),
                  lb_strerror(rc, buf, sizeof(buf)), r->info.slot);

    r->broken = 1;
    r->free_since = -1;
    r->info.committed = 0;
    r->info.next_seq = 0;
}

int
lb_rings_look(lb_rings_t *rings, int64_t mono_ms, lb_error_t *err)
{
    int rc;
    uint32_t i;
    lb_flusher_ring_t *r;

    if (rings->listed < 0 || mono_ms - rings->listed >= LIST_MS) {
        rings->trouble.code = 0;
        rc = list(rings, err);
        if (rc != 0 && rings->listed < 0) {
            return rc;
        }
        if (rc != 0) {
            rings->trouble = *err;
            rings->trouble.code = rc;
        }
        rings->listed = mono_ms;
    }

    for (i = 0; i < rings->n; i++) {
        r = &rings->ring[i];

        rc = lb_reader_info(r->reader, &r->info);
        r->broken = 0;

        if (rc != 0) {
            lb_rings_leave(rings, r, rc);
        } else if (r->info.locked) {
            r->free_since = -1;
        } else if (r->free_since < 0) {
            r->free_since = mono_ms;
        }
    }

    return 0;
}

int
lb_rings_unread(const lb_rings_t *rings)
{
    uint32_t i;

    for (i = 0; i < rings->n; i++) {
        if (rings->ring[i].broken) {
            return 1;
        }
    }

    return rings->unopened > 0 || rings->unlisted;
}

lb_flusher_ring_t *
lb_rings_find(lb_rings_t *rings, const uint8_t uuid[LB_UUID_LEN])
{
    uint32_t i;

    for (i = 0; i < rings->n; i++) {
        if (memcmp(rings->ring[i].info.uuid, uuid, LB_UUID_LEN) == 0) {
            return &rings->ring[i];
        }
    }

    return NULL;
}

lb_ckpt_ring_t *
lb_rings_entry(lb_ckpt_state_t *state, const lb_flusher_ring_t *r)
{
    lb_ckpt_ring_t *e = lb_ckpt_find(state, r->info.uuid);

    if (e == NULL && state->nrings < LB_CKPT_RINGS_MAX) {
        e = &state->rings[state->nrings++];
        memset(e, 0, sizeof(*e));
        memcpy(e->uuid, r->info.uuid, LB_UUID_LEN);
        e->slot = r->info.slot;
    }

    return e;
}

int
lb_rings_enter(lb_rings_t *rings, lb_ckpt_state_t *state)
{
    int changed = 0;
    uint32_t i;
    lb_ckpt_ring_t *e;
    lb_flusher_ring_t *r;

    /* While a batch is in flight the entries are its definition. */
    if (state->flags & LB_CKPT_IN_FLIGHT) {
        return 0;
    }

    for (i = 0; i < state->nrings;) {
        e = &state->rings[i];

        /* The slot holds another ring now: the old one was replaced, which
         * is only ever done to an empty one. */
        for (uint32_t k = 0; k < rings->n; k++) {
            r = &rings->ring[k];
            if (!r->broken && r->info.slot == e->slot &&
                memcmp(r->info.uuid, e->uuid, LB_UUID_LEN) != 0) {
                *e = state->rings[--state->nrings];
                changed = 1;
                e = NULL;
                break;
            }
        }

        if (e != NULL) {
            i++;
        }
    }

    for (i = 0; i < rings->n; i++) {
        r = &rings->ring[i];

        changed |= !r->broken && lb_ckpt_find(state, r->info.uuid) == NULL &&
                   lb_rings_entry(state, r) != NULL;
    }

    return changed;
}

void
lb_rings_recover_orphans(lb_rings_t *rings, int64_t mono_ms)
{
    int rc;
    uint32_t i;
    lb_error_t err;
    lb_writer_t *w;
    lb_flusher_ring_t *r;

    for (i = 0; i < rings->n; i++) {
        r = &rings->ring[i];

        if (r->free_since < 0 || mono_ms - r->free_since < LB_ORPHAN_MS ||
            r->closed_epoch == r->info.epoch) {
            continue;
        }

        rc = lb_writer_claim_slot(rings->spool, r->info.slot, &w, &err);

        if (rc == 0) {
            lb_writer_close(w);
        } else if (rc != LB_ELOCKED && rc != LB_EPOISONED) {
            (void)lb_fail(&rings->trouble, rc,
                          "%.400s; the other rings go on ring=%u", err.text,
                          r->info.slot);
            r->free_since = mono_ms;
            continue;
        }

        rc = lb_reader_info(r->reader, &r->info);
        if (rc != 0) {
            lb_rings_leave(rings, r, rc);
            continue;
        }

        r->closed_epoch = r->info.epoch;
    }
}

void
lb_rings_backlog(lb_rings_t *rings, lb_ckpt_state_t *state,
                 lb_backlog_t *backlog)
{
    uint32_t i;
    lb_ckpt_ring_t *e;
    lb_flusher_ring_t *r;

    backlog->events = 0;
    backlog->bytes = 0;

    for (i = 0; i < rings->n; i++) {
        r = &rings->ring[i];
        e = lb_ckpt_find(state, r->info.uuid);

        if (r->info.committed > (e != NULL ? e->acked : 0)) {
            backlog->events +=
                r->info.next_seq - (e != NULL ? e->acked_seq : 0);
            backlog->bytes += r->info.committed - (e != NULL ? e->acked : 0);
        }
    }
}

void
lb_rings_ack(lb_rings_t *rings, lb_ckpt_state_t *state)
{
    int rc;
    char buf[128];
    uint32_t i;
    lb_ckpt_ring_t *e;
    lb_flusher_ring_t *r;

    rings->untold = 0;

    for (i = 0; i < rings->n; i++) {
        r = &rings->ring[i];
        e = lb_ckpt_find(state, r->info.uuid);

        if (e == NULL ||
            (e->acked <= r->info.acked && e->acked_seq <= r->info.acked_seq)) {
            continue;
        }

        rc = lb_reader_ack(r->reader, e->acked, e->acked_seq);
        if (rc != 0) {
            (void)lb_fail(&rings->trouble, rc,
                          "cannot store the ack of ring %u: %s; it fills up, "
                          "the other rings go on ring=%u",
                          r->info.slot, lb_strerror(rc, buf, sizeof(buf)),
                          r->info.slot);
            rings->untold = 1;
            continue;
        }

        r->info.acked = e->acked;
        r->info.acked_seq = e->acked_seq;
    }
}
