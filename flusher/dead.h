/*
 * Dead letters: what is set aside for good, with its reason, in a preallocated
 * file of the spool (layout in spool/lb_format.h).  A letter is synced before
 * the checkpoint moves past what it holds; if the flusher dies in between, the
 * letter is found again by ring and position and not written twice.
 */

#ifndef _LB_DEAD_H_INCLUDED_
#define _LB_DEAD_H_INCLUDED_

#include "spool/lb_ring.h"

typedef struct lb_dead_s lb_dead_t;

/* Opens the file, or creates it with this size. */
int lb_dead_open(lb_spool_t *spool, uint64_t size, lb_dead_t **dead,
                 lb_error_t *err);
void lb_dead_close(lb_dead_t *dead);

/* Sets the raw bytes between two positions of a ring aside.  -ENOSPC: the file
 * is full, nothing was set aside. */
int lb_dead_bitrot(lb_dead_t *dead, lb_reader_t *reader,
                   const lb_ring_info_t *info, uint64_t from, uint64_t to,
                   uint64_t first_seq, uint64_t events, lb_error_t *err);

/* Letters in the file. */
uint64_t lb_dead_count(const lb_dead_t *dead);

#endif /* _LB_DEAD_H_INCLUDED_ */
