/*
 * The spool library: rings, slots, recovery and checkpoint.
 *
 * Used by the nginx module (writer), the flusher (reader) and the tools.
 * Knows neither nginx nor curl, never logs, never exits.  Functions return 0
 * or a positive result on success and on failure -errno or one of LB_E*; where
 * they take an lb_error_t, it then says in words what failed, on which file,
 * and what to do.  Nothing here is thread-safe unless its comment says so.
 *
 * Positions are 64-bit logical byte offsets that only grow; acked <= durable
 * <= committed always holds for one ring.
 */

#ifndef _LB_RING_H_INCLUDED_
#define _LB_RING_H_INCLUDED_

#include "lb_acquire.h"
#include "lb_checkpoint.h"
#include "lb_claim.h"
#include "lb_clock.h"
#include "lb_crc32c.h"
#include "lb_dead.h"
#include "lb_error.h"
#include "lb_format.h"
#include "lb_left.h"
#include "lb_marks.h"
#include "lb_open.h"
#include "lb_others.h"
#include "lb_reader.h"
#include "lb_record.h"
#include "lb_renew.h"
#include "lb_resize.h"
#include "lb_ringfile.h"
#include "lb_slot.h"
#include "lb_spool.h"
#include "lb_tie.h"
#include "lb_uuid.h"
#include "lb_writer.h"

#endif /* _LB_RING_H_INCLUDED_ */
