/*
 * What a spool still holds: events that are not acked, dead letters, a batch.
 */

#include "lb_left.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lb_cell.h"
#include "lb_checkpoint.h"
#include "lb_dead.h"
#include "lb_io.h"
#include "lb_recovery.h"
#include "lb_ringfile.h"

/* Events of one ring that are not acked, also those behind the commit cell. */
static int
left_in_ring(lb_spool_t *s, uint32_t slot, lb_ckpt_state_t *ckpt,
             uint64_t *events)
{
    int fd, rc;
    uint8_t pages[2 * LB_PAGE];
    lb_ack_t ack;
    lb_cell_t cell;
    lb_ring_id_t id;
    lb_ckpt_ring_t *e, acked;
    lb_recovered_t found;

    rc = lb_ring_open(s, slot, O_RDONLY, &fd, &id, NULL);
    if (rc != 0) {
        return rc;
    }

    rc = lb_io_read(fd, pages, sizeof(pages), LB_RING_WRITER);
    if (rc == 0) {
        rc = lb_cell_decode(pages, &cell);
    }

    if (rc == 0) {
        memset(&acked, 0, sizeof(acked));

        if (lb_ack_decode(pages + LB_PAGE, &ack) == 0) {
            acked.acked = ack.acked;
            acked.acked_seq = ack.acked_seq;
        }

        e = lb_ckpt_find(ckpt, id.uuid);
        if (e != NULL && e->acked_seq > acked.acked_seq) {
            acked.acked = e->acked;
            acked.acked_seq = e->acked_seq;
        }

        acked.end = acked.acked;
        acked.end_seq = acked.acked_seq;

        /* an upper bound: counts behind the cell of a poisoned ring too */
        cell.flags = 0;

        rc = lb_recover(fd, &id, &cell, &acked, acked.acked, 0, &found);
        *events = found.seq - acked.acked_seq;
    }

    close(fd);

    return rc;
}

void
lb_spool_left(lb_spool_t *s, lb_left_t *left)
{
    int i, n;
    uint32_t slots[LB_SLOTS_MAX];
    uint64_t events;
    lb_dead_t *dead;
    lb_error_t err;
    lb_ckpt_state_t *ckpt;

    memset(left, 0, sizeof(*left));

    n = lb_spool_slots(s, slots, NULL);
    ckpt = calloc(1, sizeof(*ckpt));

    if (n < 0 || ckpt == NULL) {
        left->unknown = 1;
        n = 0;

    } else if (n > 0 && lb_ckpt_peek(s, ckpt, NULL) != 0) {
        left->unknown = 1;
        memset(ckpt, 0, sizeof(*ckpt));
    }

    for (i = 0; i < n; i++) {
        if (left_in_ring(s, slots[i], ckpt, &events) != 0) {
            left->unreadable++;
        } else if (events > 0) {
            left->rings++;
            left->events += events;
        }
    }

    if (ckpt != NULL && (ckpt->flags & LB_CKPT_IN_FLIGHT)) {
        left->in_flight = 1;
    }

    if (lb_dead_open(s, 0, &dead, &err) == 0) {
        left->letters = lb_dead_count_open(dead);
        lb_dead_close(dead);
    } else if (err.code != -ENOENT) {
        left->unknown = 1;
    }

    free(ckpt);
}

int
lb_left_any(const lb_left_t *left)
{
    return left->events != 0 || left->letters != 0 || left->unreadable != 0 ||
           left->in_flight || left->unknown;
}
