/*
 * Poison: the rows of a batch that ClickHouse can never take, and how they are
 * found by halves.
 *
 * A batch that was refused with an error that blames the data, and of which
 * nothing is in the table, is replaced by its first half, a batch of its own
 * with its own token.  When that is in, what is left must hold the culprit and
 * is halved in turn; when it is refused it is halved again.  A row that is
 * refused alone becomes a dead letter.  After it, batches start small and
 * grow, because bad rows tend to cluster.
 *
 * What is known of the culprit lives in memory only: after a restart the
 * search begins again, with batches of the usual size.
 */

#ifndef _LB_POISON_H_INCLUDED_
#define _LB_POISON_H_INCLUDED_

#include "flusher/batch.h"
#include "spool/lb_dead.h"

typedef struct {
    char reason[512];   /* the server's words */
    uint64_t limit;     /* rows of the next batch, 0: as configured */
    uint32_t nsuspects; /* the culprit is in what is left of these ranges */
    lb_ckpt_ring_t suspects[LB_CKPT_RINGS_MAX];
} lb_poison_t;

/* The batch in state becomes its own first half; it must have two rows or
 * more.  Changes nothing but ranges and rows. */
int lb_poison_halve(lb_poison_t *s, lb_rings_t *rings, lb_ckpt_state_t *state,
                    lb_error_t *err);

/* Chooses the next batch among the suspects.  1, or 0: there are none left, or
 * a negative error. */
int lb_poison_pick(lb_poison_t *s, lb_rings_t *rings, lb_ckpt_state_t *state,
                   lb_error_t *err);

/* Sets the only row of the batch aside and moves the acked position behind it
 * (not stored yet).  -ENOSPC: dead letters are full, nothing moves. */
int lb_poison_set_aside(lb_poison_t *s, lb_rings_t *rings,
                        lb_ckpt_state_t *state, lb_dead_t *dead,
                        lb_error_t *err);

/* Sets the n excluded events of the batch aside; acked positions stay where
 * they are. */
int lb_poison_exclude(lb_poison_t *s, lb_rings_t *rings,
                      const lb_ckpt_state_t *state,
                      const lb_excluded_t *excluded, uint32_t n,
                      lb_dead_t *dead, lb_error_t *err);

/* A batch got in. */
void lb_poison_success(lb_poison_t *s, uint64_t max_rows);

#endif /* _LB_POISON_H_INCLUDED_ */
