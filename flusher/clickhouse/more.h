/*
 * The values of a column that a table may lack.  Most rows have nothing in it,
 * or the same as the row before: nothing is done for a row that has nothing,
 * zeros stand for it whatever the type.
 *
 * Texts and bytes are one behind the other.  A column of the type
 * LowCardinality(String) is written as (SerializationLowCardinality in
 * ClickHouse's source; integers of 8 bytes, little-endian)
 *
 *   1, 0x601 (values of its own; places of two bytes), how many values,
 *   the values, how many rows, each row's place among the values
 */

#ifndef _LB_MORE_H_INCLUDED_
#define _LB_MORE_H_INCLUDED_

#include "event/lift.h"
#include "flusher/clickhouse/bytes.h"

/* All zero at first. */
typedef struct {
    lb_bytes_t values;
    size_t rows; /* so many have one; those behind them have nothing so far */

    /* of a LowCardinality(String) */
    lb_bytes_t places; /* of each row */
    uint32_t n;        /* values; the first of them is the empty one */
    size_t last;       /* where the last one begins, */
    size_t last_len;   /* and its length */
} lb_more_t;

void lb_more_reset(lb_more_t *m);
void lb_more_free(lb_more_t *m);

/* What row has, which comes behind all that have something: 0, or -ENOMEM. */
int lb_more_string(lb_more_t *m, size_t row, lb_str_t s);
int lb_more_byte(lb_more_t *m, size_t row, uint8_t value);

/* What n rows from row on have, in a LowCardinality(String) of at most 65535
 * rows.  It is there once if the last rows that had something had the same.
 * The bytes that came to the values, or -ENOMEM. */
long lb_more_value(lb_more_t *m, size_t row, size_t n, lb_str_t s);

/* The block has so many rows and ends: values is whole.  0, or -ENOMEM. */
int lb_more_end(lb_more_t *m, size_t rows);

/* The same of a LowCardinality(String); header: what comes before values. */
int lb_more_end_values(lb_more_t *m, size_t rows, lb_bytes_t *header);

#endif /* _LB_MORE_H_INCLUDED_ */
