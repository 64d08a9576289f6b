/*
 * Batches: which events go into the next one, and its events one by one.
 */

#ifndef _LB_BATCH_H_INCLUDED_
#define _LB_BATCH_H_INCLUDED_

#include "spool/lb_dead.h"
#include "flusher/native.h"
#include "flusher/rings.h"

/* A day of UTC in microseconds; batches never cross one, because the table is
 * partitioned by it and an INSERT is atomic in one partition only. */
#define LB_DAY_US 86400000000ull

typedef struct {
    uint64_t max_rows;
    uint64_t max_bytes;
} lb_batch_limits_t;

/* Sets aside what is damaged right at the acked position of a ring: as dead
 * letters first, then state's acked position moves on (not stored yet).
 * Returns the number of places set aside, or an error (-ENOSPC: dead letters
 * are full, nothing moves). */
int lb_batch_set_aside(lb_rings_t *rings, lb_ckpt_state_t *state,
                       lb_dead_t *dead, lb_error_t *err);

/* Chooses the next batch: fills end and end_seq of state's entries, rows, day
 * and nothing else.  Everything chosen is durable and its CRCs are right.
 * Returns 1, or 0 if there is nothing. */
int lb_batch_pick(lb_rings_t *rings, lb_ckpt_state_t *state,
                  const lb_batch_limits_t *limits);

/* The bytes of the batch in flight, as a pure function of state and rings. */
typedef struct lb_batch_source_s lb_batch_source_t;

lb_batch_source_t *lb_batch_source_new(lb_rings_t *rings,
                                       const lb_ckpt_state_t *state);
void lb_batch_source_free(lb_batch_source_t *s);

/* Up to size bytes into buf; 0 at the end; negative on an error, which is
 * then in lb_batch_source_error. */
long lb_batch_source_read(void *source, void *buf, size_t size);
const char *lb_batch_source_error(const lb_batch_source_t *s);

#endif /* _LB_BATCH_H_INCLUDED_ */
