/*
 * Commit and ack cells: encode, and choose the newest of two copies.  Pure
 * functions.
 */

#include "lb_cell.h"

#include <string.h>

#include "lb_bytes.h"
#include "lb_crc32c.h"
#include "lb_error.h"

void
lb_cell_encode(uint8_t buf[LB_CELL_SIZE], const lb_cell_t *cell)
{
    memset(buf, 0, LB_CELL_SIZE);
    lb_put64(buf, cell->generation);
    lb_put64(buf + 8, cell->committed);
    lb_put64(buf + 16, cell->next_seq);
    lb_put64(buf + 24, cell->durable);
    lb_put32(buf + 32, cell->epoch);
    lb_put32(buf + 36, cell->flags);
    lb_put64(buf + 40, cell->committed_us);
    lb_put64(buf + 48, cell->fill_end);
    lb_put32(buf + 60, lb_crc32c(0, buf, 60));
}

void
lb_ack_encode(uint8_t buf[LB_CELL_SIZE], const lb_ack_t *ack)
{
    memset(buf, 0, LB_CELL_SIZE);
    lb_put64(buf, ack->generation);
    lb_put64(buf + 8, ack->acked);
    lb_put64(buf + 16, ack->acked_seq);
    lb_put32(buf + 60, lb_crc32c(0, buf, 60));
}

/* Both kinds of cell have a position at 8 and a seq at 16: a right checksum
 * over what no ring can reach is not believed either. */
static int
plausible(const uint8_t *cell)
{
    return lb_get64(cell + 8) % 8 == 0 &&
           lb_get64(cell + 8) < LB_POSITION_MAX &&
           lb_get64(cell + 16) < LB_POSITION_MAX;
}

/* Of the two copies on a page: the valid one with the higher generation, or
 * NULL.  The page may be mapped and change under us: work on a copy. */
static const uint8_t *
newest(const uint8_t *page, uint8_t copy[2][LB_CELL_SIZE])
{
    int i, valid[2];

    for (i = 0; i < 2; i++) {
        memcpy(copy[i], page + i * LB_CELL_STRIDE, LB_CELL_SIZE);
        valid[i] = lb_get64(copy[i]) != 0 && plausible(copy[i]) &&
                   lb_get32(copy[i] + 60) == lb_crc32c(0, copy[i], 60);
    }

    if (valid[0] && valid[1]) {
        return lb_get64(copy[0]) > lb_get64(copy[1]) ? copy[0] : copy[1];
    }

    return valid[0] ? copy[0] : valid[1] ? copy[1] : NULL;
}

int
lb_cell_decode(const uint8_t *page, lb_cell_t *cell)
{
    const uint8_t *p;
    uint8_t copy[2][LB_CELL_SIZE];

    p = newest(page, copy);
    if (p == NULL) {
        return LB_ECORRUPT;
    }

    cell->generation = lb_get64(p);
    cell->committed = lb_get64(p + 8);
    cell->next_seq = lb_get64(p + 16);
    cell->durable = lb_get64(p + 24);
    cell->epoch = lb_get32(p + 32);
    cell->flags = lb_get32(p + 36);
    cell->committed_us = lb_get64(p + 40);
    cell->fill_end = lb_get64(p + 48);

    return 0;
}

int
lb_ack_decode(const uint8_t *page, lb_ack_t *ack)
{
    const uint8_t *p;
    uint8_t copy[2][LB_CELL_SIZE];

    p = newest(page, copy);
    if (p == NULL) {
        return LB_ECORRUPT;
    }

    ack->generation = lb_get64(p);
    ack->acked = lb_get64(p + 8);
    ack->acked_seq = lb_get64(p + 16);

    return 0;
}
