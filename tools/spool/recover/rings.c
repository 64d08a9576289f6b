/*
 * recover: what the spool has, rings and dead letters.
 */

#include "recover.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spool/lb_dead.h"
#include "tools/spool/output.h"

int
lb_recover_rings(lb_recover_t *r)
{
    int i, n, rc;
    char buf[128];
    uint32_t slots[LB_SLOTS_MAX];
    lb_recover_ring_t *ring;

    n = lb_spool_slots(r->spool, slots, &r->err);
    if (n < 0) {
        return -1;
    }

    r->ring = calloc((size_t)n + 1, sizeof(*r->ring));
    if (r->ring == NULL) {
        (void)snprintf(r->err.text, sizeof(r->err.text), "no memory");
        return -1;
    }

    for (i = 0; i < n; i++) {
        ring = &r->ring[r->n];

        if (lb_reader_open(r->spool, slots[i], 0, &ring->reader, &r->err) !=
            0) {
            lb_tool_say("%s", r->err.text);
            r->unreadable++;
            continue;
        }

        rc = lb_reader_info(ring->reader, &ring->info);
        if (rc == 0) {
            rc = lb_reader_scan(ring->reader, &ring->info);
        }

        if (rc < 0) {
            lb_tool_say("ring %u: %s", slots[i],
                        lb_strerror(rc, buf, sizeof(buf)));
            lb_reader_close(ring->reader);
            ring->reader = NULL;
            r->unreadable++;
            continue;
        }

        ring->hinted = rc;
        lb_uuid_format(ring->info.uuid, ring->uuid);
        r->n++;
    }

    return 0;
}

int
lb_recover_letters(lb_recover_t *r)
{
    void *more;
    uint64_t at = 0;
    lb_recover_letter_t *to;
    lb_dead_t *dead;
    lb_dead_letter_t l;

    if (lb_dead_open(r->spool, 0, &dead, &r->err) != 0) {
        return r->err.code == -ENOENT ? 0 : -1;
    }

    while (lb_dead_next(dead, &at, &l)) {

        more = realloc(r->letter, (r->letters + 1) * sizeof(*r->letter));
        if (more == NULL) {
            (void)snprintf(r->err.text, sizeof(r->err.text), "no memory");
            lb_dead_close(dead);
            return -1;
        }

        r->letter = more;
        to = &r->letter[r->letters++];
        memcpy(to->ring, l.ring, LB_UUID_LEN);
        to->seqs.first = l.first_seq;
        to->seqs.last = l.events != 0 && l.events <= UINT64_MAX - l.first_seq
                            ? l.first_seq + l.events - 1
                            : l.first_seq;
        to->bytes = l.kind == LB_DEAD_BITROT ? l.bytes_len : 0;
    }

    lb_dead_close(dead);

    return 0;
}

/* The record that holds a seq, or the one behind it: 0; its position, or that
 * of the damage it lies in.  At the end of the ring: LB_EEND. */
int
lb_recover_find(lb_recover_ring_t *ring, uint64_t seq, uint64_t *position,
                lb_record_t *rec)
{
    int rc;
    uint64_t p = ring->info.acked, next;

    for (*position = p;; p = rec->next) {

        rc = lb_reader_record(ring->reader, p, ring->info.committed, 0, rec);
        *position = p;

        if (rc == LB_ECORRUPT) {
            rc = lb_reader_resync(ring->reader, p, ring->info.committed, &next);
            if (rc == 0) {
                rc = lb_reader_record(ring->reader, next, ring->info.committed,
                                      0, rec);
            }
            if (rc == 0 && rec->first_seq <= seq) {
                *position = next;
            }
        }

        if (rc != 0 || seq < rec->first_seq + rec->events) {
            return rc;
        }
    }
}
