/*
 * Where a writer goes on.
 */

#ifndef _LB_RECOVERY_H_INCLUDED_
#define _LB_RECOVERY_H_INCLUDED_

#include <stdint.h>

#include "lb_ringfile.h"

typedef struct {
    uint64_t end;    /* position behind the last valid record */
    uint64_t seq;    /* seq behind its last event */
    uint32_t epoch;  /* highest seen */
    uint64_t events; /* found by this scan */
} lb_recovered_t;

/* Walks valid records from found's end and seq on, but never past limit, and
 * moves found along. */
int lb_recover(int fd, const lb_ring_id_t *id, uint64_t limit,
               lb_recovered_t *found);

/* The same with so many bytes to be looked through at most; what of them is
 * left is stored back.  LB_ELONG: there are more. */
int lb_recover_within(int fd, const lb_ring_id_t *id, uint64_t limit,
                      uint64_t *budget, lb_recovered_t *found);

#endif /* _LB_RECOVERY_H_INCLUDED_ */
