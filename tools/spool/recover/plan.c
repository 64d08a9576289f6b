/*
 * recover: where each ring goes on, and what speaks against it.
 */

#include "recover.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* rings asked about in one request: the answer has to fit */
#define ASK 64

/* where waiting for an INSERT that still runs is given up */
#define PATIENCE 60

/* Takes the seqs of dead letters out of a hole; what is left of it goes to the
 * holes of the ring. */
static void
explain(lb_recover_t *r, lb_recover_ring_t *ring, lb_recover_range_t hole)
{
    size_t i;
    uint64_t at = hole.first, to;
    lb_recover_range_t left;
    const lb_recover_letter_t *l;
    int found;

    while (at <= hole.last) {

        found = 0;
        left.first = at;
        left.last = hole.last;

        for (i = 0; i < r->letters; i++) {
            l = &r->letter[i];
            if (memcmp(l->ring, ring->info.uuid, LB_UUID_LEN) != 0) {
                continue;
            }
            if (l->seqs.first <= at && at <= l->seqs.last) {
                to = l->seqs.last < hole.last ? l->seqs.last : hole.last;
                ring->dead += to - at + 1;
                at = to + 1;
                found = 1;
                break;
            }
            if (l->seqs.first > at && l->seqs.first <= left.last) {
                left.last = l->seqs.first - 1;
            }
        }

        if (found) {
            continue;
        }

        ring->missing += left.last - left.first + 1;
        if (ring->holes < LB_RECOVER_HOLES) {
            ring->hole[ring->holes++] = left;
        } else {
            ring->more_holes = 1;
        }
        at = left.last + 1;
    }
}

/* Where the ring goes on. */
static int
decide(lb_recover_t *r, lb_recover_ring_t *ring)
{
    int i, n, rc;
    uint64_t day;
    lb_recover_range_t holes[LB_RECOVER_HOLES];
    lb_record_t rec;

    if (ring->rows == 0) {
        ring->position = ring->info.acked;
        ring->seq = ring->info.acked_seq;
        return 0;
    }

    if (ring->max >= ring->info.next_seq) {
        ring->impossible =
            "ClickHouse has events of this ring that the ring never had: the "
            "ring is older than that, restored from a backup perhaps, and "
            "would use their seqs again";
        return 0;
    }

    ring->seq = ring->max + 1;

    if (ring->distinct < ring->seq - ring->info.acked_seq) {
        if (lb_recover_ask_holes(r, ring) != 0) {
            return -1;
        }

        n = ring->holes;
        memcpy(holes, ring->hole, sizeof(holes));
        ring->holes = 0;

        for (i = 0; i < n; i++) {
            /* What is missing at the beginning, and is older than any row
             * there is, went with its day. */
            if (i == 0 && holes[0].first == ring->info.acked_seq &&
                lb_recover_find(ring, holes[0].last, &day, &rec) == 0) {
                if (lb_recover_oldest_day(r, &day) != 0) {
                    return -1;
                }
                if (rec.received_us < day) {
                    ring->removed = holes[0].last - holes[0].first + 1;
                    continue;
                }
            }
            explain(r, ring, holes[i]);
        }
    }

    rc = lb_recover_find(ring, ring->seq, &ring->position, &rec);

    if (rc == LB_EEND) {
        /* or the damage at the end, if the seq lies in that */
        if (ring->seq == ring->info.next_seq) {
            ring->position = ring->info.committed;
        }
    } else if (rc != 0) {
        ring->impossible = "the ring cannot be read";
    }

    return 0;
}

/* What the new checkpoint says. */
void
lb_recover_compose(const lb_recover_t *r, lb_ckpt_state_t *st)
{
    int i;
    size_t k;
    uint64_t acked = 0, dead = 0;
    const lb_recover_ring_t *ring;
    const lb_recover_letter_t *l;
    lb_ckpt_ring_t *e;

    memset(st, 0, sizeof(*st));

    for (i = 0; i < r->n; i++) {
        ring = &r->ring[i];
        e = &st->rings[st->nrings++];
        memcpy(e->uuid, ring->info.uuid, LB_UUID_LEN);
        e->slot = ring->info.slot;
        e->acked = e->end = ring->position;
        e->acked_seq = e->end_seq = ring->seq;
        acked += ring->seq;

        for (k = 0; k < r->letters; k++) {
            l = &r->letter[k];
            if (memcmp(l->ring, ring->info.uuid, LB_UUID_LEN) == 0 &&
                l->seqs.last < ring->seq) {
                dead += l->seqs.last - l->seqs.first + 1;
                st->lost_bytes += l->bytes;
            }
        }
    }

    st->dead = dead < acked ? dead : acked;
    st->delivered = acked - st->dead;

    /* above every number there was: no token is used twice */
    st->batch_id = lb_now_us() / 1000;

    /* An INSERT of the flusher's last life may still be on its way, and a
     * replica behind the others: the flusher asks once more, and for long
     * enough, before it sends anything. */
    st->flags = LB_CKPT_DOUBT;
}

int
lb_recover_plan(lb_recover_t *r)
{
    int i, to, tries = 0;
    uint64_t running = 0;

    if (lb_recover_rings(r) != 0 || lb_recover_letters(r) != 0) {
        return -1;
    }

    for (i = 0; i < r->n; i = to) {

        to = i + ASK < r->n ? i + ASK : r->n;

        if (lb_recover_ask_rows(r, i, to, &running) != 0) {
            return -1;
        }

        if (running > 0) {
            if (++tries == PATIENCE) {
                (void)snprintf(r->err.text, sizeof(r->err.text),
                               "an INSERT of this spool still runs: try again "
                               "when it has ended");
                return -1;
            }
            to = 0;
        }
    }

    for (i = 0; i < r->n; i++) {
        if (decide(r, &r->ring[i]) != 0) {
            return -1;
        }
    }

    return 0;
}

/* What stands in the way: 0 nothing, 3 a person has to decide, 1 no way. */
int
lb_recover_doubts(const lb_recover_t *r, char *text, size_t size)
{
    int i, impossible = 0;
    uint64_t missing = 0, acked = 0, rows = 0;

    for (i = 0; i < r->n; i++) {
        impossible += r->ring[i].impossible != NULL;
        missing += r->ring[i].missing;
        acked += r->ring[i].info.acked_seq;
        rows += r->ring[i].rows + r->ring[i].before;
    }

    if (impossible > 0) {
        (void)snprintf(text, size,
                       "%d rings do not fit what ClickHouse has: no "
                       "checkpoint can be made for them",
                       impossible);
        return 1;
    }

    if (missing > 0) {
        (void)snprintf(text, size,
                       "%" PRIu64 " events are missing in the middle of what "
                       "is in the table: with --force they count as delivered",
                       missing);
        return 3;
    }

    if (rows == 0 && acked > 0) {
        (void)snprintf(text, size,
                       "%s has no event of this spool although %" PRIu64
                       " were delivered: is it the right table? With --force "
                       "the rings are believed",
                       r->table, acked);
        return 3;
    }

    if (r->unreadable > 0) {
        (void)snprintf(text, size,
                       "%d rings cannot be read; with --force the checkpoint "
                       "is made without them, and what they hold and was "
                       "delivered comes twice if they can be read again",
                       r->unreadable);
        return 3;
    }

    return 0;
}
