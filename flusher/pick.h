/*
 * Which events go into the next batch.
 */

#ifndef _LB_PICK_H_INCLUDED_
#define _LB_PICK_H_INCLUDED_

#include "spool/lb_dead.h"
#include "flusher/batch.h"

typedef struct {
    uint64_t max_rows;
    uint64_t max_bytes;
    int newest; /* of the newest day waiting, not of the oldest */
    int full;   /* filled in: all that may be in a batch is in this one */
} lb_batch_limits_t;

/* Sets aside what is damaged right at the acked position of a ring: as dead
 * letters first, then state's acked position moves on (not stored yet).
 * Returns the number of places set aside, or an error (-ENOSPC: dead letters
 * are full, nothing moves). */
int lb_batch_set_aside(lb_rings_t *rings, lb_ckpt_state_t *state,
                       lb_dead_t *dead, lb_error_t *err);

/* Chooses the next batch: fills end, end_seq and digest of state's entries,
 * rows, day, from_us, to_us and nothing else but limits->full.  Everything chosen is durable and
 * its CRCs are right.  Returns 1, or 0 if there is nothing. */
int lb_batch_pick(lb_rings_t *rings, lb_ckpt_state_t *state,
                  lb_batch_limits_t *limits);

#endif /* _LB_PICK_H_INCLUDED_ */
