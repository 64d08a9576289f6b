/*
 * Which ring a worker gets of those there are.
 */

#ifndef _LB_SLOT_H_INCLUDED_
#define _LB_SLOT_H_INCLUDED_

#include <stdint.h>

#include "lb_error.h"
#include "lb_spool.h"
#include "lb_writer.h"

/* Claims an existing ring: one of the given capacity if there is one, the one
 * with most room first.  Runs recovery from the commit cell on (usually
 * nothing to scan).  Fast enough for the start of a worker.  LB_ENOSLOT: none
 * is free, create one. */
int lb_writer_claim(lb_spool_t *spool, uint64_t capacity, lb_writer_t **writer,
                    lb_error_t *err);

/* Claims a ring to go on in when the own one is full: only one that has room
 * for `need` bytes, and so much that the change is worth it (LB_RING_WORTH).
 * LB_ENOSLOT: no ring has, held or not; LB_ELOCKED: one has, but another
 * writer holds it. */
#define LB_RING_WORTH 16u /* at least this part of a ring, 1/n */
int lb_writer_claim_room(lb_spool_t *spool, uint64_t capacity, uint64_t need,
                         lb_writer_t **writer, lb_error_t *err);

#endif /* _LB_SLOT_H_INCLUDED_ */
