/*
 * Where a writer goes on, see lb_recovery.c for the rule.
 */

#ifndef _LB_RECOVERY_H_INCLUDED_
#define _LB_RECOVERY_H_INCLUDED_

#include <stdint.h>

#include "lb_cell.h"
#include "lb_checkpoint.h"
#include "lb_record.h"
#include "lb_ringfile.h"

typedef struct {
    uint64_t end;    /* position behind the last valid record */
    uint64_t seq;    /* the seq the next event gets */
    uint32_t epoch;  /* highest seen */
    uint64_t events; /* found behind the commit cell */
} lb_recovered_t;

/* The record at position, payload checked: 0; LB_EEND or LB_ECORRUPT if there
 * is none that ends at or before end; -errno. */
typedef int (*lb_record_at_pt)(void *arg, uint64_t position, uint64_t end,
                               lb_record_t *record);

/* The decision itself: everything read from the ring comes from at().  cell:
 * the newest commit cell; entry: the ring's in the checkpoint, or NULL; limit:
 * no record reaches further (acked + capacity); budget: bytes that may be
 * looked through, 0: all there are.  0; LB_ELONG: the budget is used up;
 * -errno. */
int lb_resume(const lb_cell_t *cell, const lb_ckpt_ring_t *entry,
              uint64_t limit, uint64_t budget, lb_record_at_pt at, void *arg,
              lb_recovered_t *found);

/* The same for the file of a ring, of which everything before acked is known
 * to be acked. */
int lb_recover(int fd, const lb_ring_id_t *id, const lb_cell_t *cell,
               const lb_ckpt_ring_t *entry, uint64_t acked, uint64_t budget,
               lb_recovered_t *found);

#endif /* _LB_RECOVERY_H_INCLUDED_ */
