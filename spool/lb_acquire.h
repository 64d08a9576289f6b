/*
 * Whatever it takes to get a ring.
 */

#ifndef _LB_ACQUIRE_H_INCLUDED_
#define _LB_ACQUIRE_H_INCLUDED_

#include <stdint.h>

#include "lb_error.h"
#include "lb_spool.h"
#include "lb_writer.h"

/*
 * Whatever it takes to get a ring of this capacity, in this order: claim one
 * that is free, change the size of one that is free and empty, create one (at
 * most max_rings; 0: neither change nor create), claim any, however long it
 * takes to recover.  LB_ENOSLOT: none is free, and no more may be made.  Call it
 * from a thread.
 */
typedef struct {
    uint64_t capacity;
    uint32_t max_rings;
    uint64_t keep_us; /* what was written within this time stays in its ring,
                       * delivered or not: it tells repeated requests */
} lb_wanted_t;

typedef struct {
    int created;     /* 1: made just now */
    int resized;     /* 1: it was of another size just now */
    lb_error_t kept; /* code: 0, or why it is still of another size */
} lb_acquired_t;

int lb_writer_acquire(lb_spool_t *spool, const lb_wanted_t *wanted,
                      lb_writer_t **writer, lb_acquired_t *got,
                      lb_error_t *err);

/* A free ring of this capacity to be claimed later: changes or creates one as
 * above.  Returns its slot. */
int lb_ring_spare(lb_spool_t *spool, const lb_wanted_t *wanted,
                  lb_error_t *err);

#endif /* _LB_ACQUIRE_H_INCLUDED_ */
