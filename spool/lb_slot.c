/*
 * Slots: which of the rings there are a worker gets.
 */

#include "lb_slot.h"

#include <stdlib.h>

#include "lb_claim.h"
#include "lb_reader.h"

typedef struct {
    uint32_t slot;
    int matches;
    uint64_t room;
} candidate_t;

static int
better(const void *a, const void *b)
{
    const candidate_t *x = a, *y = b;

    if (x->matches != y->matches) {
        return y->matches - x->matches;
    }

    if (x->room != y->room) {
        return x->room > y->room ? -1 : 1;
    }

    return x->slot < y->slot ? -1 : x->slot > y->slot;
}

/* need 0: any ring will do. */
static int
claim_best(lb_spool_t *spool, uint64_t capacity, uint64_t need,
           lb_writer_t **writer, lb_error_t *err)
{
    int i, n, rc, candidates = 0, held = 0;
    uint32_t slots[LB_SLOTS_MAX];
    uint64_t room, least;
    lb_reader_t *reader;
    candidate_t c[LB_SLOTS_MAX];
    lb_ring_info_t info;

    n = lb_spool_slots(spool, slots, err);
    if (n < 0) {
        return n;
    }

    for (i = 0; i < n; i++) {

        if (lb_reader_open(spool, slots[i], 0, &reader, NULL) != 0) {
            continue;
        }

        rc = lb_reader_info(reader, &info);

        lb_reader_close(reader);

        if (rc != 0) {
            continue;
        }

        room = info.capacity - (info.committed - info.acked);

        if (need > 0) {
            least = info.capacity / LB_RING_WORTH;

            if (room < (need > least ? need : least) ||
                ((info.flags & LB_CELL_POISONED) && room < info.capacity)) {
                continue;
            }
        }

        if (info.locked) {
            held = 1;
            continue;
        }

        c[candidates].slot = slots[i];
        c[candidates].matches = info.capacity == capacity;
        c[candidates].room = room;
        candidates++;
    }

    qsort(c, (size_t)candidates, sizeof(c[0]), better);

    rc = lb_fail(err, LB_ENOSLOT, "no ring of spool \"%s\" is free%s",
                 lb_spool_path(spool), need > 0 ? " and has room" : "");

    for (i = 0; i < candidates; i++) {
        /* a worker that looks for room has requests waiting */
        rc = lb_writer_claim_within(spool, c[i].slot,
                                    need > 0 ? LB_CLAIM_QUICK : 0, writer, err);
        if (rc == 0) {
            return 0;
        }
        held |= rc == LB_ELOCKED;
    }

    if (need > 0 && held) {
        return LB_ELOCKED;
    }

    /* taken meanwhile, or not usable: the caller should create one */
    return rc == LB_ELOCKED || rc == LB_EPOISONED || rc == LB_ELONG ? LB_ENOSLOT
                                                                    : rc;
}

int
lb_writer_claim(lb_spool_t *spool, uint64_t capacity, lb_writer_t **writer,
                lb_error_t *err)
{
    return claim_best(spool, capacity, 0, writer, err);
}

int
lb_writer_claim_room(lb_spool_t *spool, uint64_t capacity, uint64_t need,
                     lb_writer_t **writer, lb_error_t *err)
{
    return claim_best(spool, capacity, need > 0 ? need : 1, writer, err);
}
