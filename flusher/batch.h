/*
 * Batches: which events go into the next one, and its events one by one.
 */

#ifndef _LB_BATCH_H_INCLUDED_
#define _LB_BATCH_H_INCLUDED_

#include "spool/lb_dead.h"
#include "flusher/clickhouse/native.h"
#include "flusher/rings.h"

/* A day of UTC in microseconds; batches never cross one, because the table is
 * partitioned by it and an INSERT is atomic in one partition only. */
#define LB_DAY_US 86400000000ull

typedef struct {
    uint64_t max_rows;
    uint64_t max_bytes;
    int newest; /* of the newest day waiting, not of the oldest */
} lb_batch_limits_t;

/* Sets aside what is damaged right at the acked position of a ring: as dead
 * letters first, then state's acked position moves on (not stored yet).
 * Returns the number of places set aside, or an error (-ENOSPC: dead letters
 * are full, nothing moves). */
int lb_batch_set_aside(lb_rings_t *rings, lb_ckpt_state_t *state,
                       lb_dead_t *dead, lb_error_t *err);

/* Chooses the next batch: fills end, end_seq and digest of state's entries,
 * rows, day, from_us, to_us and nothing else.  Everything chosen is durable and
 * its CRCs are right.  Returns 1, or 0 if there is nothing. */
int lb_batch_pick(lb_rings_t *rings, lb_ckpt_state_t *state,
                  const lb_batch_limits_t *limits);

/* Fills digest, from_us and to_us for ranges that were not made by
 * lb_batch_pick.  0, or an error of a ring that cannot be read. */
int lb_batch_measure(lb_rings_t *rings, lb_ckpt_state_t *state,
                     lb_error_t *err);

/* No batch: each entry's end is its acked position again. */
void lb_batch_clear(lb_ckpt_state_t *state);

/* What may have been taken from the rings behind the acked positions by a
 * batch that this state does not know: from_us and to_us become the times of
 * receipt of the records there, as far as one batch can reach (LB_BATCH_MAX of
 * payload in each ring).  Records that cannot be read end the walk. */
#define LB_BATCH_MAX (512ull << 20)
void lb_batch_span(lb_rings_t *rings, lb_ckpt_state_t *state, uint64_t *from_us,
                   uint64_t *to_us);

/* The position of the record that holds seq, in a ring whose acked position is
 * e->acked, or the committed position if seq is the next one.  0, LB_EEND if
 * the ring has no such event, or an error. */
int lb_batch_locate(lb_flusher_ring_t *r, const lb_ckpt_ring_t *e, uint64_t seq,
                    uint64_t *position);

/* Events of the batch's ranges that are not in it: set aside as dead letters
 * before it was fixed.  In the order of the ranges. */
typedef struct {
    uint32_t entry; /* of state->rings */
    uint64_t seq;
} lb_excluded_t;

/* Puts them into that order. */
void lb_batch_sort(lb_excluded_t *excluded, uint32_t n);

/* Events of the ranges, excluded or not. */
uint64_t lb_batch_events(const lb_ckpt_state_t *state);

/* The bytes of the batch in flight, as a pure function of state, rings and the
 * n excluded events, which must stay where they are. */
typedef struct lb_batch_source_s lb_batch_source_t;

lb_batch_source_t *lb_batch_source_new(lb_rings_t *rings,
                                       const lb_ckpt_state_t *state,
                                       const lb_excluded_t *excluded,
                                       uint32_t n);
void lb_batch_source_free(lb_batch_source_t *s);

/* Up to size bytes into buf; 0 at the end; negative on an error, which is
 * then in lb_batch_source_error. */
long lb_batch_source_read(void *source, void *buf, size_t size);

/* 1 if reading failed because the ring no longer holds what the batch was
 * fixed on: it is damaged. */
int lb_batch_source_damaged(const lb_batch_source_t *s);
const char *lb_batch_source_error(const lb_batch_source_t *s);

#endif /* _LB_BATCH_H_INCLUDED_ */
