/*
 * Events to ClickHouse's Native format: one block after another, each
 *
 *   varint columns, varint rows, then per column: name, type, values
 *
 * (names and types are strings with a varint length; src/Formats/NativeWriter
 * in ClickHouse's source).  Where a block ends is a function of the events
 * alone: LB_NATIVE_ROWS rows, or LB_NATIVE_BYTES bytes of event text reached.
 * The server's deduplication covers block boundaries too, so these constants,
 * the columns and all of event/ that lifts belong to LB_NATIVE_VERSION: what
 * changes one of them takes the next number.  A batch in flight of an older
 * number is settled under its own token: version 4, which has a String where this
 * one has a LowCardinality(String) (low.h), is made again as it was; of those
 * before it, what has to be made anew has other bytes, and so another token.
 *
 * Columns that a table may lack are LB_LIFT_* (lift.h): a block has those that
 * it is asked for, behind the others; what would be in the rest stays in
 * attributes.  Resource and scope are in a block once, and not in each row
 * (more.h).
 */

#ifndef _LB_NATIVE_H_INCLUDED_
#define _LB_NATIVE_H_INCLUDED_

#include "flusher/encode.h"

#define LB_NATIVE_VERSION 5u
#define LB_NATIVE_ROWS 8192u
#define LB_NATIVE_BYTES (1u << 20)

extern const lb_encoder_t lb_native_encoder;

/* The bytes of version 4: a batch in flight that an earlier release has fixed. */
extern const lb_encoder_t lb_native_encoder_4;

#endif /* _LB_NATIVE_H_INCLUDED_ */
