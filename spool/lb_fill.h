/*
 * Zero-filling a new ring ahead of its writer.
 */

#ifndef _LB_FILL_H_INCLUDED_
#define _LB_FILL_H_INCLUDED_

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "lb_cell.h"
#include "lb_ringfile.h"
#include "lb_spool.h"

typedef struct {
    int fd; /* a description of its own; -1: nothing to fill */
    uint64_t capacity;
    uint64_t filled;    /* position; up to here it has been done */
    atomic_ullong end;  /* as in the cell; read by whoever writes it */
    atomic_ullong from; /* of the slice under way; UINT64_MAX: none */
    uint64_t to;        /* under the lock */
    pthread_mutex_t lock;
    int result;
} lb_fill_t;

void lb_fill_init(lb_fill_t *fill, lb_spool_t *spool, uint32_t slot, int fd,
                  uint64_t capacity, const lb_cell_t *cell);
void lb_fill_close(lb_fill_t *fill);

/* next: behind everything staged.  1: there is a slice to be run. */
int lb_fill_begin(lb_fill_t *fill, uint64_t next);
void lb_fill_run(lb_fill_t *fill);
int lb_fill_end(lb_fill_t *fill);

/* Records up to end are about to be written: no slice may come after them.
 * lb_fill_busy does not wait, and returns 1 where lb_fill_yield would. */
int lb_fill_busy(lb_fill_t *fill, uint64_t end);
void lb_fill_yield(lb_fill_t *fill, uint64_t end);

#endif /* _LB_FILL_H_INCLUDED_ */
