/*
 * Another size for an empty ring.
 */

#ifndef _LB_RESIZE_H_INCLUDED_
#define _LB_RESIZE_H_INCLUDED_

#include <stdint.h>

#include "lb_error.h"
#include "lb_spool.h"

/* Gives an empty ring that is not locked another capacity: the file is replaced
 * as a whole; identity, positions, seqs and counters go on.  1: done, 0: it has
 * that capacity; LB_ELOCKED: in use; -EBUSY: something in it is not delivered.
 * Blocks like lb_ring_create, and needs room for both files. */
int lb_ring_resize(lb_spool_t *spool, uint32_t slot, uint64_t capacity,
                   lb_error_t *err);

#endif /* _LB_RESIZE_H_INCLUDED_ */
