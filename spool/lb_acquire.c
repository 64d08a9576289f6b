/*
 * Getting a ring: claim a free one, resize an empty one, create one.
 *
 * A crash in between leaves at most a ring that nothing has been written to.
 */

#include "lb_acquire.h"

#include <errno.h>
#include <stdlib.h>

#include "lb_checkpoint.h"
#include "lb_claim.h"
#include "lb_clock.h"
#include "lb_marks.h"
#include "lb_reader.h"
#include "lb_resize.h"
#include "lb_ringfile.h"

typedef struct {
    uint32_t slot;
    uint64_t capacity;
    uint64_t room;
    uint64_t quiet_us; /* since its last record was received, at least */
} free_ring_t;

static int
more_room(const void *a, const void *b)
{
    const free_ring_t *x = a, *y = b;

    if (x->room != y->room) {
        return x->room > y->room ? -1 : 1;
    }

    return x->slot < y->slot ? -1 : x->slot > y->slot;
}

static uint64_t
quiet(lb_reader_t *reader, const lb_ring_info_t *info)
{
    int n;
    int64_t us;
    lb_mark_t marks[LB_MARKS];

    if (info->committed == 0) {
        return UINT64_MAX;
    }

    n = lb_reader_marks(reader, info->committed, marks);

    if (n <= 0 || marks[n - 1].position != info->committed) {
        return 0;
    }

    us = (int64_t)lb_boot_us() - marks[n - 1].boot_us;

    return us > 0 ? (uint64_t)us : 0;
}

/* Rings that are not locked, those with most room first; bad: the disk error of
 * one that could not be read. */
static int
free_rings(lb_spool_t *spool, free_ring_t rings[LB_SLOTS_MAX], lb_error_t *bad,
           lb_error_t *err)
{
    int i, n, rc, found = 0;
    uint32_t slots[LB_SLOTS_MAX];
    lb_reader_t *reader;
    uint64_t quiet_us;
    lb_error_t why;
    lb_ring_info_t info;

    bad->code = 0;
    n = lb_spool_slots(spool, slots, err);

    for (i = 0; i < n; i++) {

        if (lb_reader_open(spool, slots[i], 0, &reader, &why) != 0) {
            /* an error of the disk, not a damaged ring */
            if (why.code > LB_ECORRUPT) {
                *bad = why;
            }
            continue;
        }

        rc = lb_reader_info(reader, &info);
        quiet_us = rc == 0 ? quiet(reader, &info) : 0;
        lb_reader_close(reader);

        if (rc != 0 || info.locked) {
            continue;
        }

        rings[found].slot = slots[i];
        rings[found].capacity = info.capacity;
        rings[found].room = info.capacity - (info.committed - info.acked);
        rings[found].quiet_us = quiet_us;
        found++;
    }

    qsort(rings, (size_t)found, sizeof(rings[0]), more_room);

    return n < 0 ? n : found;
}

/* Changes the size of a free ring that is empty.  Its slot; LB_ENOSLOT: there
 * is none, and kept says why the last one that could not stays as it is. */
static int
resize_one(lb_spool_t *spool, const free_ring_t *rings, int n,
           const lb_wanted_t *wanted, lb_error_t *kept)
{
    int i;

    for (i = 0; i < n; i++) {

        if (rings[i].capacity == wanted->capacity) {
            continue;
        }

        if (rings[i].room < rings[i].capacity) {
            (void)lb_fail(kept, -EBUSY,
                          "ring %u of spool \"%s\" holds events that are not "
                          "delivered",
                          rings[i].slot, lb_spool_path(spool));
            continue;
        }

        if (rings[i].quiet_us < wanted->keep_us) {
            (void)lb_fail(kept, -EBUSY,
                          "ring %u of spool \"%s\" holds idempotency keys that "
                          "are not forgotten yet",
                          rings[i].slot, lb_spool_path(spool));
            continue;
        }

        if (lb_ring_resize(spool, rings[i].slot, wanted->capacity, kept) >= 0) {
            return (int)rings[i].slot;
        }
    }

    return LB_ENOSLOT;
}

int
lb_writer_acquire(lb_spool_t *spool, const lb_wanted_t *wanted,
                  lb_writer_t **writer, lb_acquired_t *got, lb_error_t *err)
{
    int i, n, rc, made = 0, slot;
    free_ring_t rings[LB_SLOTS_MAX];
    lb_error_t why, bad;
    lb_ckpt_state_t *ckpt;

    got->created = 0;
    got->resized = 0;
    got->kept.code = 0;

    /* Without a checkpoint no ring can be claimed, a new one neither: report
     * that as the reason. */
    ckpt = malloc(sizeof(*ckpt));
    rc = ckpt != NULL ? lb_ckpt_peek(spool, ckpt, err)
                      : lb_fail(err, -ENOMEM, "no memory to open a ring");
    free(ckpt);
    if (rc != 0) {
        return rc;
    }

    n = free_rings(spool, rings, &bad, err);
    if (n < 0) {
        return n;
    }

    for (i = 0; i < n; i++) {
        if (rings[i].capacity == wanted->capacity &&
            lb_writer_claim_within(spool, rings[i].slot, LB_CLAIM_QUICK, writer,
                                   &why) == 0) {
            return 0;
        }
    }

    rc = lb_fail(err, LB_ENOSLOT, "no ring of spool \"%s\" is free",
                 lb_spool_path(spool));

    if (wanted->max_rings > 0) {

        slot = resize_one(spool, rings, n, wanted, &got->kept);

        if (slot >= 0) {
            got->resized = 1;
        } else {
            slot =
                lb_ring_create(spool, wanted->capacity, wanted->max_rings, err);
            got->created = slot >= 0;
        }

        if (slot >= 0) {
            rc = lb_writer_claim_slot(spool, (uint32_t)slot, writer, err);

            if (rc == 0) {
                got->kept.code = 0;
                return 0;
            }
        } else {
            rc = made = slot;
        }
    }

    for (i = 0; i < n; i++) {

        if (lb_writer_claim_slot(spool, rings[i].slot, writer, &why) != 0) {

            /* report a defect, but not in place of why none could be made */
            if ((made == 0 || made == LB_ENOSLOT) && why.code != LB_ELOCKED &&
                why.code != LB_EPOISONED) {
                *err = why;
                rc = why.code;
            }

            continue;
        }

        if (rings[i].capacity == wanted->capacity) {
            got->kept.code = 0;

        } else if (got->kept.code == 0) {
            (void)lb_fail(&got->kept, LB_ELOCKED,
                          "ring %u of spool \"%s\" was needed at once",
                          rings[i].slot, lb_spool_path(spool));
        }

        return 0;
    }

    if (rc == LB_ENOSLOT && bad.code != 0) {
        *err = bad;
        rc = bad.code;
    }

    return rc;
}

int
lb_ring_spare(lb_spool_t *spool, const lb_wanted_t *wanted, lb_error_t *err)
{
    int n, slot;
    lb_error_t kept;
    free_ring_t rings[LB_SLOTS_MAX];

    n = free_rings(spool, rings, &kept, err);
    if (n < 0) {
        return n;
    }

    slot = resize_one(spool, rings, n, wanted, &kept);

    return slot >= 0 ? slot
                     : lb_ring_create(spool, wanted->capacity,
                                      wanted->max_rings, err);
}
