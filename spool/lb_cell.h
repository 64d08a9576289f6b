/*
 * The commit cell, by which a writer says what is committed, and the ack cell,
 * by which the reader says what may be overwritten.  Nothing here reads a file.
 */

#ifndef _LB_CELL_H_INCLUDED_
#define _LB_CELL_H_INCLUDED_

#include <stdint.h>

#include "lb_format.h"

/* The commit cell in memory. */
typedef struct {
    uint64_t generation;
    uint64_t committed;
    uint64_t next_seq;
    uint64_t durable;
    uint64_t committed_us;
    uint64_t fill_end;
    uint32_t epoch;
    uint32_t flags;
} lb_cell_t;

/* The ack cell in memory. */
typedef struct {
    uint64_t generation;
    uint64_t acked;
    uint64_t acked_seq;
} lb_ack_t;

void lb_cell_encode(uint8_t buf[LB_CELL_SIZE], const lb_cell_t *cell);

/* The newest valid of the two cells of a writer page, or LB_ECORRUPT. */
int lb_cell_decode(const uint8_t *page, lb_cell_t *cell);
void lb_ack_encode(uint8_t buf[LB_CELL_SIZE], const lb_ack_t *ack);
int lb_ack_decode(const uint8_t *page, lb_ack_t *ack);

#endif /* _LB_CELL_H_INCLUDED_ */
