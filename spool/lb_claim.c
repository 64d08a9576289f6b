/*
 * Claiming a ring: lock it, find out where to go on, say so in a new cell.
 *
 * A crash before that cell leaves the ring as it was: the next claim repeats
 * the recovery.
 */

#include "lb_claim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lb_bytes.h"
#include "lb_checkpoint.h"
#include "lb_clock.h"
#include "lb_io.h"
#include "lb_recovery.h"
#include "lb_spool_private.h"
#include "lb_writer_private.h"

/* Drops the positions [from, to) from the page cache. */
static void
drop_cache(lb_writer_t *w, uint64_t from, uint64_t to)
{
    uint64_t offset, n;

    while (from < to) {
        offset = from % w->id.capacity;
        n = w->id.capacity - offset;

        if (n > to - from) {
            n = to - from;
        }

        /* only whole pages are dropped: include those at both ends */
        lb_io->drop_cache(w->fd,
                          (off_t)((LB_RING_DATA + offset) / LB_PAGE * LB_PAGE),
                          (off_t)(n + 2 * LB_PAGE));
        from += n;
    }
}

static int
sync_failed(lb_spool_t *spool, lb_writer_t *w, int rc, lb_error_t *err)
{
    lb_writer_poison(w);

    return lb_fail(err, rc,
                   "cannot sync ring %u of spool \"%s\": %s; it is not used "
                   "before what it holds is delivered",
                   w->id.slot, spool->path, strerror(-rc));
}

/* The ring's entry in the checkpoint; *known: there is one. */
static int
load_entry(lb_spool_t *spool, const lb_writer_t *w, lb_ckpt_ring_t *entry,
           int *known, lb_error_t *err)
{
    int rc;
    lb_ckpt_ring_t *e;
    lb_ckpt_state_t *st;

    *known = 0;

    st = malloc(sizeof(*st));
    if (st == NULL) {
        return lb_fail(err, -ENOMEM, "no memory to open a ring");
    }

    rc = lb_ckpt_peek(spool, st, err);
    if (rc == 0) {
        e = lb_ckpt_find(st, w->id.uuid);
        *known = e != NULL;
        if (e != NULL) {
            *entry = *e;
        }
    }

    free(st);

    return rc;
}

/* Goes on where lb_recover says. */
static int
resume(lb_spool_t *spool, lb_writer_t *w, uint64_t budget, lb_error_t *err)
{
    int rc, known;
    lb_cell_t cell;
    lb_recovered_t found;
    lb_ckpt_ring_t entry;

    rc = load_entry(spool, w, &entry, &known, err);
    if (rc != 0) {
        return rc;
    }

    (void)lb_writer_load_acked(w);
    if (known && entry.acked > w->acked) {
        w->acked = entry.acked;
    }

    /* What an earlier owner wrote becomes durable, or, if it failed to and
     * could not say so, goes from the page cache: from here on what is read is
     * what is stored. */

    rc = lb_io_sync(w->fd);
    if (rc != 0) {
        return sync_failed(spool, w, rc, err);
    }

    drop_cache(w, w->cell.durable, w->acked + w->id.capacity);

    rc = lb_recover(w->fd, &w->id, &w->cell, known ? &entry : NULL, w->acked,
                    budget, &found);

    if (rc == LB_ELONG) {
        return lb_fail(err, rc,
                       "ring %u of spool \"%s\" has much behind its commit "
                       "cell: it is left to be recovered",
                       w->id.slot, spool->path);
    }

    if (rc != 0) {
        return lb_fail(err, rc, "cannot read ring %u of spool \"%s\": %s",
                       w->id.slot, spool->path, strerror(-rc));
    }

    w->counters[LB_COUNTER_RECOVERED] += found.events;
    w->counters[LB_COUNTER_EVENTS] += found.events;

    /* The new epoch must be on disk before a record carries it. */

    cell = w->cell;
    cell.committed = found.end;
    cell.next_seq = found.seq;
    cell.durable = found.end;
    cell.epoch = found.epoch + 1;
    cell.flags = 0;

    /* the time of the last commit stays unless something was found */
    if (found.events > 0) {
        cell.committed_us = lb_now_us();
    }

    rc = lb_writer_store_cell(w, &cell, 0);
    if (rc == 0) {
        rc = lb_io_sync(w->fd);
    }
    if (rc != 0) {
        return sync_failed(spool, w, rc, err);
    }

    w->epoch = w->cell.epoch;
    w->cell_synced = w->cell.committed;
    w->next_seq = w->cell.next_seq;

    lb_marks_open(&w->marks, w->fd, w->cell.committed);

    return 0;
}

int
lb_writer_claim_slot(lb_spool_t *spool, uint32_t slot, lb_writer_t **writer,
                     lb_error_t *err)
{
    return lb_writer_claim_within(spool, slot, 0, writer, err);
}

int
lb_writer_claim_within(lb_spool_t *spool, uint32_t slot, uint64_t budget,
                       lb_writer_t **writer, lb_error_t *err)
{
    int i, rc;
    char name[LB_RING_NAME];
    lb_writer_t *w;

    w = calloc(1, sizeof(*w));
    if (w == NULL) {
        return lb_fail(err, -ENOMEM, "no memory to open a ring");
    }

    lb_ring_name(slot, name);

    if (asprintf(&w->path, "%s/%s", spool->path, name) < 0) {
        free(w);
        return lb_fail(err, -ENOMEM, "no memory to open a ring");
    }

    rc = lb_ring_open(spool, slot, O_RDWR, &w->fd, &w->id, err);
    if (rc != 0) {
        free(w->path);
        free(w);
        return rc;
    }

    w->fill.fd = -1;

    rc = lb_io_lock(w->fd);
    if (rc != 0 || !lb_ring_same(spool, slot, w->fd)) {
        rc = lb_fail(err, rc == 0 || rc == -EAGAIN ? LB_ELOCKED : rc,
                     "ring %u of spool \"%s\" is held by another process", slot,
                     spool->path);
        goto failed;
    }

    rc = lb_io_read(w->fd, w->page, sizeof(w->page), LB_RING_WRITER);
    if (rc != 0) {
        rc = lb_fail(err, rc, "cannot read ring %u of spool \"%s\": %s", slot,
                     spool->path, strerror(-rc));
        goto failed;
    }

    if (lb_cell_decode(w->page, &w->cell) != 0) {
        rc = lb_fail(err, LB_ECORRUPT,
                     "ring %u of spool \"%s\" has no valid commit cell", slot,
                     spool->path);
        goto failed;
    }

    for (i = 0; i < LB_COUNTERS; i++) {
        w->counters[i] = lb_get64(w->page + LB_RING_COUNTERS + 8 * i);
    }

    /* A poisoned ring first gives up what it holds: clearing the flag earlier
     * would make readers trust the page cache again. */

    if ((w->cell.flags & LB_CELL_POISONED) &&
        lb_writer_load_acked(w) < w->cell.committed) {
        rc = lb_fail(err, LB_EPOISONED,
                     "ring %u of spool \"%s\" had an I/O error and is not "
                     "drained yet",
                     slot, spool->path);
        goto failed;
    }

    /* resume() stores it unchanged */
    atomic_store(&w->fill.end, w->cell.fill_end);

    rc = resume(spool, w, budget, err);
    if (rc != 0) {
        goto failed;
    }

    lb_fill_init(&w->fill, spool, slot, w->fd, w->id.capacity, &w->cell);

    *writer = w;

    return 0;

failed:

    lb_writer_close(w);

    return rc;
}
