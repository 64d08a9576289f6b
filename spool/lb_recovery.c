/*
 * Recovery: where a writer goes on.
 *
 * The rule: behind everything that is valid, acked or in a batch.
 *
 * There are three places to start from, each only if it is further on than the
 * last valid record found before it:
 *
 *   1. the commit cell.  It may be so old, after a power cut, that what it
 *      points at has been overwritten a lap later; then the walk ends at once;
 *   2. the acked position of the checkpoint, the first that is known then;
 *   3. the end of the batch in flight: where its records can no longer be read,
 *      its positions and seqs are taken all the same.
 *
 * From each, valid records are walked to the first that is not one.  What a
 * crash can leave behind the commit cell, and what becomes of it: whole records
 * of a group that was written but not committed (kept: nobody was told they
 * were refused), a torn record (ends the walk), leftovers of earlier laps
 * (their position gives them away) and of a failed group of an earlier writer
 * (their epoch is lower than that of the record before them).  Nothing behind
 * the commit cell of a poisoned ring is believed: there the walks are left out.
 *
 * The next seq is behind the last event found, and behind the batch, which may
 * end inside a record.  No seq is given twice.
 */

#include "lb_recovery.h"

#include "lb_error.h"
#include "lb_view.h"

typedef struct {
    lb_record_at_pt at;
    void *arg;
    uint64_t limit;
    uint64_t budget; /* what is left of it */
} walk_t;

/* Moves found behind the last valid record from found on. */
static int
walk(walk_t *w, lb_recovered_t *found)
{
    int rc;
    uint64_t start = found->end;
    lb_record_t record;

    for (;;) {
        rc = w->at(w->arg, found->end, w->limit, &record);

        if (rc != 0 || record.epoch < found->epoch) {
            break;
        }

        if (record.first_seq != found->seq) {
            /* Only where the walk starts: the checkpoint names a record by
             * a seq inside it. */
            if (found->end != start || record.first_seq > found->seq ||
                record.first_seq + record.events <= found->seq) {
                break;
            }
        }

        if (record.next - found->end > w->budget) {
            return LB_ELONG;
        }

        w->budget -= record.next - found->end;
        found->end = record.next;
        found->seq = record.first_seq + record.events;
        found->epoch = record.epoch;
        found->events += record.events;
    }

    /* the end of what is valid is the normal outcome */
    return rc == LB_ECORRUPT || rc == LB_EEND ? 0 : rc;
}

int
lb_resume(const lb_cell_t *cell, const lb_ckpt_ring_t *entry, uint64_t limit,
          uint64_t budget, lb_record_at_pt at, void *arg, lb_recovered_t *found)
{
    int rc = 0, poisoned = (cell->flags & LB_CELL_POISONED) != 0;
    walk_t w = {at, arg, limit, budget > 0 ? budget : UINT64_MAX};

    found->end = cell->committed;
    found->seq = cell->next_seq;
    found->epoch = cell->epoch;
    found->events = 0;

    if (!poisoned) {
        rc = walk(&w, found);
    }

    if (rc == 0 && entry != NULL && entry->acked > found->end) {
        found->end = entry->acked;
        found->seq = entry->acked_seq;
        rc = poisoned ? 0 : walk(&w, found);
    }

    if (rc == 0 && entry != NULL && entry->end > found->end) {
        found->end = entry->end;
        found->seq = entry->end_seq;
        rc = poisoned ? 0 : walk(&w, found);
    }

    if (rc == 0 && entry != NULL && entry->end_seq > found->seq) {
        found->seq = entry->end_seq;
    }

    return rc;
}

static int
read_record(void *view, uint64_t position, uint64_t end, lb_record_t *record)
{
    return lb_view_record(view, position, end, 1, record);
}

int
lb_recover(int fd, const lb_ring_id_t *id, const lb_cell_t *cell,
           const lb_ckpt_ring_t *entry, uint64_t acked, uint64_t budget,
           lb_recovered_t *found)
{
    int rc;
    lb_view_t view;

    rc = lb_view_init(&view, fd, id);
    if (rc != 0) {
        return rc;
    }

    rc = lb_resume(cell, entry, acked + id->capacity, budget, read_record,
                   &view, found);

    lb_view_free(&view);

    return rc;
}
