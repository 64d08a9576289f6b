/*
 * Recovery: from the last known good position to the first record that is not
 * valid.
 *
 * What a crash can leave behind the commit cell, and what becomes of it: whole
 * records of a group that was written but not committed (kept: nobody was told
 * they were refused), a torn record (ends the walk), leftovers of earlier laps
 * (their position gives them away) and of a failed group of an earlier writer
 * (their epoch is lower than that of the record before them).
 */

#include "lb_recovery.h"

#include "lb_error.h"
#include "lb_view.h"

int
lb_recover(int fd, const lb_ring_id_t *id, uint64_t limit,
           lb_recovered_t *found)
{
    uint64_t budget = UINT64_MAX;

    return lb_recover_within(fd, id, limit, &budget, found);
}

int
lb_recover_within(int fd, const lb_ring_id_t *id, uint64_t limit,
                  uint64_t *budget, lb_recovered_t *found)
{
    int rc;
    lb_view_t view;
    uint64_t position = found->end;
    lb_record_t record;

    rc = lb_view_init(&view, fd, id);
    if (rc != 0) {
        return rc;
    }

    for (;;) {
        rc = lb_view_record(&view, found->end, limit, 1, &record);

        if (rc != 0) {
            break;
        }

        if (record.epoch < found->epoch) {
            break;
        }

        if (record.first_seq != found->seq) {
            /* Only where the walk starts: the checkpoint names a record by
             * a seq inside it. */
            if (found->end != position || record.first_seq > found->seq ||
                record.first_seq + record.events <= found->seq) {
                break;
            }
        }

        if (record.next - found->end > *budget) {
            rc = LB_ELONG;
            break;
        }

        *budget -= record.next - found->end;
        found->end = record.next;
        found->seq = record.first_seq + record.events;
        found->epoch = record.epoch;
        found->events += record.events;
    }

    lb_view_free(&view);

    /* the end of what is valid is the normal outcome */
    return rc == LB_ECORRUPT || rc == LB_EEND ? 0 : rc;
}
