/*
 * The values of a column of the type LowCardinality(String), as a block has them
 * (SerializationLowCardinality in ClickHouse's source; integers of 8 bytes,
 * little-endian):
 *
 *   1, 0x600 or 0x601 (values of its own; places of one byte, of two), how many
 *   values, the values, how many rows, each row's place among the values
 *
 * The first value is the empty one, for rows that have nothing; places have one
 * byte for up to 256 values.
 *
 * A value of up to LB_LOW_LONGEST bytes is found again by its hash, in at most
 * LB_LOW_TRIES of LB_LOW_SLOTS slots.  One that is longer, is not found, or has
 * no slot, is there once more, which is right too: whatever the values are, a row
 * costs the same, and two bytes more than as a String at most.
 */

#ifndef _LB_LOW_H_INCLUDED_
#define _LB_LOW_H_INCLUDED_

#include "event/lift.h"
#include "flusher/clickhouse/bytes.h"

#define LB_LOW_ROWS 8192u /* of a block, at most */
#define LB_LOW_SLOTS 2048u
#define LB_LOW_TRIES 8u
#define LB_LOW_LONGEST 1024u

typedef struct {
    uint64_t a, b;  /* up to 16 bytes: the value; else hashes of it */
    size_t at;      /* of the value's bytes */
    uint32_t block; /* it is of: free in all others */
    uint16_t len;
    uint16_t place;
} lb_low_slot_t;

/* All zero at first, and then reset. */
typedef struct {
    uint32_t block;
    uint32_t n;    /* values */
    uint32_t rows; /* so many have a place; those behind them have nothing */
    uint32_t size; /* bytes of a place */
    uint8_t places[2 * LB_LOW_ROWS];
    lb_low_slot_t slots[LB_LOW_SLOTS];
} lb_low_t;

/* A new block. */
void lb_low_reset(lb_low_t *low);

/* What n rows from row on have, behind all that have something; values are the
 * column's.  0, or -ENOMEM. */
int lb_low_put(lb_low_t *low, lb_bytes_t *values, size_t row, size_t n,
               lb_str_t s);

/* The block has so many rows and ends: values is whole, header has what comes
 * before it.  0, or -ENOMEM. */
int lb_low_end(lb_low_t *low, lb_bytes_t *values, size_t rows,
               lb_bytes_t *header);

#endif /* _LB_LOW_H_INCLUDED_ */
