/*
 * Claiming a ring, and recovering it.
 */

#ifndef _LB_CLAIM_H_INCLUDED_
#define _LB_CLAIM_H_INCLUDED_

#include <stdint.h>

#include "lb_error.h"
#include "lb_spool.h"
#include "lb_writer.h"

/* Claims the ring of a slot; LB_ELOCKED: another process holds it.  The flusher
 * closes orphan rings with it: claim, recover, commit, release. */
int lb_writer_claim_slot(lb_spool_t *spool, uint32_t slot, lb_writer_t **writer,
                         lb_error_t *err);

/* Like lb_writer_claim_slot; LB_ELONG if recovery has more than budget bytes
 * to look through (0: as many as there are). */
int lb_writer_claim_within(lb_spool_t *spool, uint32_t slot, uint64_t budget,
                           lb_writer_t **writer, lb_error_t *err);

/* A claim that does not take long: what a recovery finds behind a cell that
 * this release has written, and some more. */
#define LB_CLAIM_QUICK (128u << 20)

#endif /* _LB_CLAIM_H_INCLUDED_ */
