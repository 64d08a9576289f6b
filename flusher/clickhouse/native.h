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
 * number is settled under its own token; if it has to be made anew, its bytes
 * are others and so is its token (an encoder of the old number beside this one
 * could make the old bytes again).
 */

#ifndef _LB_NATIVE_H_INCLUDED_
#define _LB_NATIVE_H_INCLUDED_

#include "flusher/encode.h"

#define LB_NATIVE_VERSION 4u
#define LB_NATIVE_ROWS 8192u
#define LB_NATIVE_BYTES (1u << 20)
#define LB_NATIVE_COLUMNS 13u

/* "timestamp,received_at,..." in the order of the blocks */
extern const char lb_native_columns[];

/* "timestamp DateTime64(9, 'UTC'),...": as what they are sent. */
void lb_native_structure(char *out, size_t size);

extern const lb_encoder_t lb_native_encoder;

#endif /* _LB_NATIVE_H_INCLUDED_ */
