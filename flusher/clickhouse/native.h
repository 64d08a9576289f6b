/*
 * Events to ClickHouse's Native format: one block after another, each
 *
 *   varint columns, varint rows, then per column: name, type, values
 *
 * (names and types are strings with a varint length; src/Formats/NativeWriter
 * in ClickHouse's source).  Where a block ends is a function of the events
 * alone: LB_NATIVE_ROWS rows, or LB_NATIVE_BYTES bytes of event text reached.
 * The server's deduplication covers block boundaries too, so these constants,
 * the columns and everything lift.c does belong to LB_ENCODING: change one
 * and the number must grow, and a batch in flight of an older number must
 * still be settled.
 */

#ifndef _LB_NATIVE_H_INCLUDED_
#define _LB_NATIVE_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>

#include "spool/lb_ring.h"

#define LB_ENCODING 2u
#define LB_NATIVE_ROWS 8192u
#define LB_NATIVE_BYTES (1u << 20)
#define LB_NATIVE_COLUMNS 13u

/* "timestamp,received_at,..." in the order of the blocks */
extern const char lb_native_columns[];

/* "timestamp DateTime64(9, 'UTC'),...": as what they are sent. */
void lb_native_structure(char *out, size_t size);

typedef struct lb_native_s lb_native_t;

/* broker: name of the node, copied.  NULL: no memory. */
lb_native_t *lb_native_new(const char *broker);
void lb_native_free(lb_native_t *n);

/* Forgets everything not yet taken out. */
void lb_native_reset(lb_native_t *n);

/* The record the next events belong to: 0, or -ENOMEM. */
int lb_native_record(lb_native_t *n, const uint8_t ring[LB_UUID_LEN],
                     const lb_record_t *record);

/* Adds one event (without its \n): 0, or -ENOMEM.  Call only while
 * lb_native_full is 0. */
int lb_native_add(lb_native_t *n, const uint8_t *event, size_t len,
                  uint64_t seq);

/* 1: the block has reached its end and must be taken out. */
int lb_native_full(const lb_native_t *n);
size_t lb_native_rows(const lb_native_t *n);

/* Closes the block; from now on lb_native_take hands out its bytes.  Nothing
 * happens for a block without rows.  0 or -ENOMEM. */
int lb_native_close(lb_native_t *n);

/* Up to size bytes of the closed block; 0: all taken, the next may begin. */
size_t lb_native_take(lb_native_t *n, void *buf, size_t size);

#endif /* _LB_NATIVE_H_INCLUDED_ */
