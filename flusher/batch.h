/*
 * A batch: ranges of rings in the state, and what is known of them.
 */

#ifndef _LB_BATCH_H_INCLUDED_
#define _LB_BATCH_H_INCLUDED_

#include "flusher/rings.h"

/* A day of UTC in microseconds; batches never cross one, because the table is
 * partitioned by it and an INSERT is atomic in one partition only. */
#define LB_DAY_US 86400000000ull

/* Fills digest, from_us and to_us, of the rings and the whole, for ranges that
 * were not made by lb_batch_pick.  0, or an error of a ring that cannot be read. */
int lb_batch_measure(lb_rings_t *rings, lb_ckpt_state_t *state,
                     lb_error_t *err);

/* When the events of each ring of a batch were received, which is not stored;
 * where a ring cannot be read any more as it was, it stays unknown. */
void lb_batch_times(lb_rings_t *rings, lb_ckpt_state_t *state);

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

/* Of one ring: seqs have no gap inside a batch. */
uint64_t lb_batch_events_of(const lb_ckpt_ring_t *e);

/* How far a batch can have been read in a ring. */
uint64_t lb_batch_readable(const lb_flusher_ring_t *r, const lb_ckpt_ring_t *e);

/* A digest one record further; never 0, which stands for: not known. */
uint64_t lb_batch_digest(uint64_t digest, const lb_record_t *rec);

/* Some events of this record are in the batch: digest, from_us and to_us. */
void lb_batch_include(const lb_record_t *rec, lb_ckpt_ring_t *e,
                      lb_ckpt_state_t *state);

#endif /* _LB_BATCH_H_INCLUDED_ */
