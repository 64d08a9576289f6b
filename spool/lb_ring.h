/*
 * The spool, for its users: the nginx module (writer), the flusher (reader) and
 * the tools.  A header for each concept; this one only includes them.
 *
 * What always holds:
 *
 *   1. Positions (64-bit byte offsets) and seqs of a ring only grow; none is
 *      given twice, whatever crashes.
 *   2. acked <= durable <= committed, in positions of one ring; a batch in
 *      flight lies between acked and durable.
 *   3. Bytes between acked and committed never change, and committed never
 *      passes acked + capacity.
 *   4. A ring has one writer, which holds its lock; the checkpoint has one, the
 *      flusher.  Readers need no lock.
 *   5. The checkpoint is the truth about acks.  The ack cell of a ring is a
 *      hint that never runs ahead of it.
 *   6. After a failed write or sync nothing is tried again on that ring, and
 *      nothing of that group is ever committed.
 *
 * The spool knows neither nginx nor curl, never logs, never exits.  Functions
 * return 0 or a positive result on success and on failure -errno or one of
 * LB_E*; where they take an lb_error_t, it then says in words what failed, on
 * which file, and what to do.  Nothing here is thread-safe unless its comment
 * says so.
 */

#ifndef _LB_RING_H_INCLUDED_
#define _LB_RING_H_INCLUDED_

/* what everything stands on */
#include "lb_clock.h"
#include "lb_crc32c.h"
#include "lb_error.h"
#include "lb_format.h"
#include "lb_uuid.h"

/* the directory and what the flusher knows */
#include "lb_checkpoint.h"
#include "lb_left.h"
#include "lb_open.h"
#include "lb_others.h"
#include "lb_renew.h"
#include "lb_spool.h"
#include "lb_tie.h"

/* a ring: its file, its two sides */
#include "lb_claim.h"
#include "lb_marks.h"
#include "lb_reader.h"
#include "lb_record.h"
#include "lb_ringfile.h"
#include "lb_writer.h"

/* choosing, making and resizing rings; dead letters */
#include "lb_acquire.h"
#include "lb_dead.h"
#include "lb_resize.h"
#include "lb_slot.h"

#endif /* _LB_RING_H_INCLUDED_ */
